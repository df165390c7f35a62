"""CSV files: read right by a spreadsheet, which runs none of their cells."""

import codecs
import csv
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.results.export.writers import RowWriter, write_csv, write_raw_csv

NUMBERS = ("-5", "+3.2", "-1e5", "-.5", "+1,200.50", "-1.5E-3", "-12%", "-1.200,5")
FORMULAS = (
    "=1+1",
    "+1+1",
    "-1-1",
    "-5\n=1",
    "-A1",
    "@SUM(A1)",
    "-",
    "+",
    "-1e",
    "-5 ",
    "\t=1",
    "＝1",
)
PLAIN = ("5", "a=1", "'=1", "", "ökologisch", "1-5", "3e5", "e-5", "𝑥", 'a,b;c\n"d"')

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.from_regex(
    r"[=+\-@][\d.,eE+\-%A()|!' ]{0,8}", fullmatch=True
)


def written(path: Path, write: RowWriter, *cells: str) -> list[str]:
    """What the cells of a column `x` have become."""
    schema = pa.schema([("x", pa.string()), ("y", pa.int64())])
    table = pa.table({"x": list(cells), "y": [-1] * len(cells)}, schema=schema)
    assert write(str(path), schema, [table]) == len(cells)
    data = path.read_bytes()
    assert data.startswith(codecs.BOM_UTF8)
    assert not data[3:].startswith(codecs.BOM_UTF8)
    with path.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["x", "y"]
    assert {y for _, y in rows} == {"-1"}
    return [x for x, _ in rows]


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("csv") / "out.csv"


@pytest.mark.parametrize("text", NUMBERS + PLAIN)
def test_a_number_with_a_sign_and_plain_text_stay_as_they_are(path, text):
    assert written(path, write_csv, text) == [text]


@pytest.mark.parametrize("text", FORMULAS)
def test_what_could_run_as_a_formula_is_prefixed_with_an_apostrophe(path, text):
    assert written(path, write_csv, text) == [f"'{text}"]


@pytest.mark.parametrize("text", FORMULAS + NUMBERS + PLAIN)
def test_a_raw_file_holds_every_text_as_it_is(path, text):
    assert written(path, write_raw_csv, text) == [text]


@settings(max_examples=300, deadline=None)
@given(texts)
@example("-5")
@example("-1,2,3")
def test_a_cell_that_begins_like_a_formula_is_a_number_or_prefixed(path, text):
    (cell,) = written(path, write_csv, text)

    assert cell in (text, f"'{text}")
    if cell == text and text[:1] in ("=", "@", "+", "-", "\t", "\r", "\n"):
        assert set(text) <= set("+-0123456789.,eE%")
        assert not set(text[1:].lower().partition("e")[0]) & {"+", "-"}
