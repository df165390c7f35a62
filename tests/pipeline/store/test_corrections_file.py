"""Corrections files: CSV as people and spreadsheets write them, and JSON Lines."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import ConfigError
from pipeline.store.corrections import COLUMNS, Correction
from pipeline.store.corrections_file import as_cells, as_csv, as_time, file_rows


def cells(content: str, name: str = "x.csv") -> list[dict[str, str]]:
    rows = list(file_rows(name, content.encode()))
    assert [row.fault for row in rows] == [""] * len(rows)
    return [{n: cell for n, cell in row.cells.items() if cell} for row in rows]


def faults(content: str, name: str = "x.csv") -> list[tuple[int, str]]:
    return [(row.line, row.fault) for row in file_rows(name, content.encode()) if row.fault]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_csv_is_read_as_spreadsheets_write_it(delimiter, end, mark):
    lines = [["record_id", "value", "note"], ["a", "yes", '"one\ntwo ""quoted"""'], ["b", "no", ""]]
    content = mark + "".join(delimiter.join(line) + end for line in lines)
    assert cells(content) == [
        {"record_id": "a", "value": "yes", "note": 'one\ntwo "quoted"'},
        {"record_id": "b", "value": "no"},
    ]


def test_other_columns_are_left_alone_and_missing_ones_are_empty():
    assert cells("question,value,record_id,answer\nWho?,no,a,Nobody.\n") == [
        {"record_id": "a", "value": "no"}
    ]


def test_empty_lines_say_nothing():
    assert cells("record_id,value\n\n,\na,no\n\n") == [{"record_id": "a", "value": "no"}]
    assert cells('\n{"record_id": "a"}\n\n', "x.jsonl") == [{"record_id": "a"}]


def test_the_apostrophe_that_an_export_puts_before_a_formula_is_taken_off():
    assert cells("record_id,value\n'=a,'-b\n'c,'tis\n") == [
        {"record_id": "=a", "value": "-b"},
        {"record_id": "'c", "value": "'tis"},
    ]


def test_a_row_that_is_none_is_named_by_its_line_and_the_next_is_read():
    content = 'record_id,value\na,no\nb,no,and more\n"c\nd",yes\ne,"x" y\nf,no\n'
    assert [line for line, _ in faults(content)] == [3, 6]
    rows = list(file_rows("x.csv", content.encode()))
    assert [row.line for row in rows] == [2, 3, 4, 6, 7]
    assert rows[-1].cells["record_id"] == "f"


def test_a_quote_that_is_not_closed_is_a_fault_where_it_opens():
    ((line, fault),) = faults('record_id,value\na,no\nb,"no\nc,no\n')
    assert line == 3
    assert "not a row" in fault


@pytest.mark.parametrize("line", ["{", "[1]", '"a"', '{"record_id": 7}', '{"value": ["no"]}'])
def test_a_line_that_is_no_object_of_texts_is_a_fault(line):
    content = f'{{"record_id": "a"}}\n{line}\n{{"record_id": "b"}}\n'
    assert [number for number, _ in faults(content, "x.jsonl")] == [2]
    rows = [row for row in file_rows("x.jsonl", content.encode()) if not row.fault]
    assert [row.cells["record_id"] for row in rows] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("x.xlsx", b"", "not an Excel workbook"),
        ("x.ods", b"", "save the sheet as"),
        ("x", b"", "save the sheet as"),
        ("x.csv", b"", "no column record_id"),
        ("x.csv", b"record,value\n", "no column record_id;"),
        ("x.csv", b"record_id,says\n", "no column value;"),
        ("x.csv", b"record_id,value\n\xe4,no\n", "not UTF-8"),
    ],
)
def test_a_file_of_another_kind_is_refused_as_a_whole(name, data, said):
    with pytest.raises(ConfigError, match=said) as caught:
        list(file_rows(name, data))
    assert str(caught.value).startswith(f"{name}: ")


def test_times_are_utc():
    noon = datetime(2026, 11, 29, 12, tzinfo=UTC)
    for text in ("2026-11-29T12:00:00Z", "2026-11-29 12:00", "2026-11-29T13:00:00+01:00"):
        assert as_time(text) == noon
    assert as_time("2026-11-29") == noon.replace(hour=0)
    for text in ("", "yesterday", "29.11.2026", "1764417600"):
        with pytest.raises(ValueError, match="isoformat"):
            as_time(text)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))
corrections = st.builds(
    Correction,
    *[texts.filter(lambda t: not t.startswith("'"))] * (len(COLUMNS) - 2),
    at=st.datetimes(timezones=st.just(UTC)),
    note=texts.filter(lambda t: not t.startswith("'")),
)


@given(st.lists(corrections, max_size=4))
def test_what_is_written_is_read_again(written):
    rows = [dict(row.cells) | {"at": as_time(row.cells["at"])} for row in file_rows(
        "x.csv", as_csv(written).encode()
    )]  # fmt: skip
    assert [Correction(*(row[name] for name in COLUMNS)) for row in rows] == written
    lines = "".join(json.dumps(as_cells(c)) + "\n" for c in written)
    read = [row.cells for row in file_rows("x.jsonl", lines.encode())]
    assert [{name: row[name] for name in COLUMNS} for row in read] == [*map(as_cells, written)]
