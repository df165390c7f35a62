"""The long form as a workbook, Excel's limits, and a file that appears whole or not at all."""

import csv
import zipfile
from pathlib import Path

import openpyxl
import pyarrow as pa
import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Location, Storage
from pipeline.results.export.files import export_papers, export_records
from pipeline.results.export.xlsx import cut, shown, write_xlsx
from tests.support.export_rows import HOSTILE, checks, row, store_part


@pytest.fixture
def store(tmp_path) -> Location:
    location = Storage().at(str(tmp_path / "store"))
    store_part(location, [row("a", word_count=3), row("b", checks=checks("echo"))])
    return location


def written(path: Path, *texts: str) -> list[openpyxl.cell.Cell]:
    """The cells of a sheet that has one column."""
    write_xlsx(str(path), pa.schema([("text", pa.string())]), [pa.table({"text": [*texts]})])
    return [cells[0] for cells in openpyxl.load_workbook(path)["answers"].iter_rows(min_row=2)]


def test_a_workbook_of_records_has_the_columns_and_cells_of_csv(store, tmp_path):
    for ending in ("csv", "xlsx"):
        assert export_records(store, str(tmp_path / f"long.{ending}"), Storage()) == 2
    with (tmp_path / "long.csv").open(encoding="utf-8", newline="") as file:
        expected = list(csv.reader(file))
    book = openpyxl.load_workbook(tmp_path / "long.xlsx")
    assert book.sheetnames == ["answers"]
    sheet = book["answers"]
    found = [["" if c is None else str(c) for c in r] for r in sheet.iter_rows(values_only=True)]
    assert found == expected
    count = found[0].index("word_count")
    assert sheet.cell(2, count + 1).value == 3
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("A2", "A1:AE3")


def test_no_cell_is_a_formula_a_link_or_a_number_that_was_a_text(tmp_path):
    found = written(tmp_path / "x.xlsx", *HOSTILE.values())
    assert {cell.data_type for cell in found} == {"s"}
    assert not any(cell.hyperlink for cell in found)
    with zipfile.ZipFile(tmp_path / "x.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert sheet.count("<c ") == 1 + len(HOSTILE)


def test_what_would_be_a_formula_once_edited_is_quoted_and_other_text_is_not(tmp_path):
    found = written(tmp_path / "x.xlsx", *"=+-@＝", "plain", "a=b")
    assert [bool(cell.quotePrefix) for cell in found] == [True] * 5 + [False] * 2


def test_a_text_that_no_cell_holds_says_how_much_more_there_is(tmp_path):
    text = "heron " * 170_000
    (cell,) = written(tmp_path / "x.xlsx", text)
    kept, _, said = cell.value.partition("… [")
    assert text.startswith(kept)
    assert said == f"{len(text) - len(kept):,} more characters; an export to .parquet has all]"
    assert 32_700 < len(cell.value) <= 32_767


@pytest.mark.parametrize("text", ["🦩" * 16_383, "x" * 32_767, "🦩" * 16_384, "x" + "🦩" * 20_000])
def test_the_limit_counts_as_excel_does_and_cuts_no_sign_in_two(text):
    units = len(text.encode("utf-16-le")) // 2
    kept = cut(text)
    assert (kept == text) == (units <= 32_767)
    assert len(kept.encode("utf-16-le")) // 2 <= 32_767


def test_every_sign_that_xml_cannot_hold_is_shown():
    text = "".join(map(chr, range(33)))
    assert len(shown(text)) == len(text)
    assert [c for c in shown(text) if c < " "] == ["\t", "\n"]
    assert shown("as it is \x85\u2028") == "as it is \x85\u2028"


def test_more_records_than_a_sheet_has_rows_end_before_the_first_is_written(
    store, tmp_path, monkeypatch
):
    monkeypatch.setattr("pipeline.results.export.xlsx.MOST_ROWS", 1)
    monkeypatch.setattr("pipeline.results.export.files.read_rows", lambda *_: pytest.fail("read"))
    with pytest.raises(ConfigError, match=r"2 rows, and a sheet holds 1; export to \.parquet"):
        export_records(store, str(tmp_path / "long.xlsx"), Storage())
    assert not (tmp_path / "long.xlsx").exists()


def test_records_that_come_while_a_sheet_is_written_are_no_silent_loss(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.results.export.xlsx.MOST_ROWS", 2)
    with pytest.raises(ConfigError, match="3 rows"):
        written(tmp_path / "x.xlsx", "a", "b", "c")


@pytest.mark.parametrize("export", [export_records, export_papers])
def test_a_file_that_could_not_be_written_whole_leaves_the_one_that_was_there(
    store, tmp_path, monkeypatch, export
):
    target = tmp_path / "out.xlsx"
    export(store, str(target), Storage())
    before = target.read_bytes()
    monkeypatch.setattr("pipeline.results.export.xlsx.shown", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(store, str(target), Storage())
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if "out" in p.name] == ["out.xlsx"]
