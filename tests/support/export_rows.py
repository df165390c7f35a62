"""Stored rows for tests of export, without a run to make them."""

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
"""Texts that a file format or a spreadsheet may take for something else."""


def checks(*missed: str) -> list[dict[str, Any]]:
    """Of three checks, those that an answer missed; `format` is at level `label`."""
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
    """One part; its rows are newer than those stored before."""
    table = pa.Table.from_pylist(list(rows), schema=ANSWERS)
    PartWriter("run-1").write(store.join("answers"), table, ANSWERS)
