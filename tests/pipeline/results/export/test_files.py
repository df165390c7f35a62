"""One row per record as a workbook, within Excel's limits; a file appears whole or not at all."""

import csv
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import openpyxl
import pyarrow as pa
import pytest
from openpyxl.utils import get_column_letter

from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Location, Storage
from pipeline.results.export.files import export_papers, export_records
from pipeline.results.export.xlsx import truncated, without_controls, write_xlsx
from tests.support.export_rows import HOSTILE, checks, row, store_part


@pytest.fixture
def store(tmp_path) -> Location:
    location = Storage().at(str(tmp_path / "store"))
    store_part(location, [row("a", word_count=3), row("b", checks=checks("echo"))])
    return location


def written_cells(path: Path, *texts: str) -> list[openpyxl.cell.Cell]:
    """The texts as cells of a sheet with one column."""
    write_xlsx(str(path), pa.schema([("text", pa.string())]), [pa.table({"text": [*texts]})])
    return [cells[0] for cells in openpyxl.load_workbook(path)["answers"].iter_rows(min_row=2)]


def test_a_workbook_of_records_has_the_columns_and_cells_of_csv(store, tmp_path):
    for ending in ("csv", "xlsx"):
        assert export_records(store, str(tmp_path / f"long.{ending}"), Storage()) == 2
    with (tmp_path / "long.csv").open(encoding="utf-8-sig", newline="") as file:
        expected = list(csv.reader(file))
    book = openpyxl.load_workbook(tmp_path / "long.xlsx")
    assert book.sheetnames == ["answers"]
    sheet = book["answers"]
    cells = [["" if c is None else str(c) for c in r] for r in sheet.iter_rows(values_only=True)]
    time = cells[0].index("written_at")
    for line, cells_of_line in zip(expected[1:], cells[1:], strict=True):
        moment, written = (datetime.fromisoformat(r[time]) for r in (line, cells_of_line))
        assert written.tzinfo is None
        assert abs(written - moment.replace(tzinfo=None)) <= timedelta(milliseconds=1)
        cells_of_line[time] = line[time]
    assert cells == expected
    column = cells[0].index("word_count")
    assert sheet.cell(2, column + 1).value == 3
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == (
        "A2",
        f"A1:{get_column_letter(len(cells[0]))}3",
    )


def test_text_never_becomes_a_formula_a_link_or_a_number(tmp_path):
    cells = written_cells(tmp_path / "x.xlsx", *HOSTILE.values())
    assert {cell.data_type for cell in cells} == {"s"}
    assert not any(cell.hyperlink for cell in cells)
    with zipfile.ZipFile(tmp_path / "x.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert sheet.count("<c ") == 1 + len(HOSTILE)


def test_only_text_that_would_become_a_formula_when_edited_is_quoted(tmp_path):
    cells = written_cells(tmp_path / "x.xlsx", *"=+-@＝", "plain", "a=b")
    assert [bool(cell.quotePrefix) for cell in cells] == [True] * 5 + [False] * 2


def test_a_text_too_long_for_a_cell_says_how_much_is_missing(tmp_path):
    text = "heron " * 170_000
    (cell,) = written_cells(tmp_path / "x.xlsx", text)
    start, _, note = cell.value.partition("… [")
    assert text.startswith(start)
    assert note == f"{len(text) - len(start):,} more characters; an export to .parquet has all]"
    assert 32_700 < len(cell.value) <= 32_767


@pytest.mark.parametrize("text", ["🦩" * 16_383, "x" * 32_767, "🦩" * 16_384, "x" + "🦩" * 20_000])
def test_the_limit_counts_utf16_units_and_splits_no_surrogate_pair(text):
    units = len(text.encode("utf-16-le")) // 2
    cell = truncated(text)
    assert (cell == text) == (units <= 32_767)
    assert len(cell.encode("utf-16-le")) // 2 <= 32_767


def test_every_character_that_xml_forbids_becomes_visible():
    text = "".join(map(chr, range(33)))
    assert len(without_controls(text)) == len(text)
    assert [c for c in without_controls(text) if c < " "] == ["\t", "\n"]
    assert without_controls("as it is \x85\u2028") == "as it is \x85\u2028"


def test_too_many_records_for_a_sheet_are_an_error_before_anything_is_read(
    store, tmp_path, monkeypatch
):
    monkeypatch.setattr("pipeline.results.export.xlsx.MAX_ROWS", 1)
    monkeypatch.setattr("pipeline.results.export.files.read_rows", lambda *_: pytest.fail("read"))
    with pytest.raises(ConfigError, match=r"2 rows, .* at most 1; export to \.parquet"):
        export_records(store, str(tmp_path / "long.xlsx"), Storage())
    assert not (tmp_path / "long.xlsx").exists()


def test_records_added_while_a_sheet_is_written_are_not_lost_silently(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.results.export.xlsx.MAX_ROWS", 2)
    with pytest.raises(ConfigError, match="3 rows"):
        written_cells(tmp_path / "x.xlsx", "a", "b", "c")


@pytest.mark.parametrize("export", [export_records, export_papers])
def test_a_failed_export_leaves_the_earlier_file_in_place(store, tmp_path, monkeypatch, export):
    target = tmp_path / "out.xlsx"
    export(store, str(target), Storage())
    before = target.read_bytes()
    monkeypatch.setattr("pipeline.results.export.xlsx.without_controls", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(store, str(target), Storage())
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if "out" in p.name] == ["out.xlsx"]
