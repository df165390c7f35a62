"""Stored rows for tests of export, made without a run."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from pipeline.core.filesystem import Location
from pipeline.store.parts import PartWriter
from pipeline.store.schema import ANSWERS

HOSTILE = {
    "formula": '=HYPERLINK("http://x/","log in")',
    "plus": "+1+1",
    "minus": "-2+3",
    "at": "@SUM(A1)",
    "full width": "＝1+1",
    "tab": "\t=1",
    "return": "\r=1",
    "line": "\n=1",
    "number": "007",
    "address": "https://example.org/",
    "markup": "</script><b>&amp;</t></is></c>",
    "rich": "<r><t>x</t></r><c r='Z9'/></r>",
    "escape": "_x0041_",
    "bidi": "\u202egnp.exe\u2066",
    "astral": "𝔸🦩" * 40,
    "signs": "NUL \0, bell \x07, \x1b[2J, \ufffe\uffff, C1 \x85",
    "quotes": "a \"b\", 'c';\nd",
    "blanks": "  around  ",
}
"""Texts that a file format or a spreadsheet may misread."""


def checks(*missed: str) -> list[dict[str, Any]]:
    """Results of three checks, of which an answer missed some; `format` is at level `label`."""
    return [
        {
            "name": name,
            "passed": name not in missed,
            "level": "label" if name == "format" else "fail",
            "evidence": "",
        }
        for name in ("complete", "echo", "format")
    ]


def row(record_id: str, **columns: Any) -> dict[str, Any]:
    return {
        "generation_key": "k",
        "record_id": record_id,
        "status": "answered",
        "stance": "answered",
        "answer": f"Answer of {record_id}.",
        "failed_checks": [],
        "checks": checks(),
        **columns,
    }


def store_part(store: Location, rows: Iterable[Mapping[str, Any]]) -> None:
    """Stores rows as one part; they are newer than those stored before."""
    table = pa.Table.from_pylist(list(rows), schema=ANSWERS)
    writer = PartWriter("run-1")
    writer.write(writer.new_part(store.join("answers")), table, ANSWERS)
