"""Carried columns are columns again in every format, with their types, and none is lost."""

import csv
import itertools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import ConfigError, StorageError
from pipeline.core.filesystem import Location, Storage
from pipeline.results.export import files
from pipeline.results.export.columns import OURS, SPREAD, Layout, carried_kinds, headers_of
from pipeline.results.export.files import Wanted, export_papers, export_records
from pipeline.results.export.kinds import Kind, common, kind_of
from pipeline.store.schema import ANSWERS
from tests.support.export_rows import HOSTILE, row, store_part

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
texts |= st.sampled_from([*HOSTILE.values(), "status", "extra.status", "answer", "paper_id"])
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts
scalars |= st.floats(allow_nan=False, allow_infinity=False)
nested = st.lists(scalars, max_size=3) | st.dictionaries(texts, scalars, max_size=2)
rows_of_columns = st.lists(st.dictionaries(texts, scalars | nested, max_size=4), min_size=1)


@pytest.fixture
def store(tmp_path) -> Location:
    return Storage().at(str(tmp_path / "store"))


def carrying(record_id: str, extra: dict[str, Any], **columns: Any) -> dict[str, Any]:
    return row(record_id, extra=orjson.dumps(extra).decode() if extra else None, **columns)


def table(store: Location, wide: bool = False, **wanted: Any) -> pa.Table:
    path = f"{store.path}.parquet"
    (export_papers if wide else export_records)(store, path, Storage(), Wanted(**wanted))
    return pq.read_table(path)


def of_kind(store: Location, *values: Any) -> pa.ChunkedArray:
    store_part(store, [carrying(f"r{n}", {"x": value}) for n, value in enumerate(values)])
    return table(store)["x"]


@pytest.mark.parametrize(
    ("values", "type_", "cells"),
    [
        ((True, None, False), pa.bool_(), None),
        ((1, None, -(2**63)), pa.int64(), None),
        ((1, 2.5), pa.float64(), [1.0, 2.5]),
        (("a", None, ""), pa.string(), None),
        ((None, None), pa.string(), None),
        ((["a", None], [], None), pa.list_(pa.string()), None),
        (([1], [2.5]), pa.list_(pa.float64()), [[1.0], [2.5]]),
        ((1, "1b", None), pa.string(), ["1", "1b", None]),
        ((2**53 + 1, 0.5), pa.string(), ["9007199254740993", "0.5"]),
        ((2**64 - 1, 1), pa.string(), ["18446744073709551615", "1"]),
        ((True, 1), pa.string(), ["true", "1"]),
        (({"a": 1}, None), pa.string(), ['{"a":1}', None]),
        (([1, "a"],), pa.string(), ['[1,"a"]']),
        (([[1]],), pa.string(), ["[[1]]"]),
        ((["a"], "a"), pa.string(), ['["a"]', "a"]),
    ],
)
def test_a_column_has_the_type_that_holds_all_its_values(store, values, type_, cells):
    column = of_kind(store, *values)
    assert column.type == type_
    assert column.to_pylist() == (cells or list(values))


@given(st.lists(scalars | nested, min_size=1, max_size=5))
def test_the_order_of_values_does_not_decide_the_kind_of_a_column(values):
    kinds = set()
    for ordered in itertools.islice(itertools.permutations(map(kind_of, values)), 24):
        kind = Kind("null")
        for other in ordered:
            kind = common(kind, other)
        kinds.add(kind)
    assert len(kinds) == 1


def test_own_columns_come_first_in_the_order_of_the_job_then_question_answer_and_status(store):
    store_part(store, [carrying("a", {"year": 1998, "doi": "x", "title": "Eels"})])
    names = table(store, carry=("doi", "title")).column_names
    assert names[:7] == ["doi", "title", "year", "question", "answer", "status", "generation_key"]
    assert names[3:] == list(OURS)
    assert sorted([*OURS, *SPREAD]) == sorted(ANSWERS.names)


def test_a_column_named_like_one_of_ours_has_the_name_that_templates_know(store):
    extra = {"status": "new", "extra.status": "both", "extra": 1}
    store_part(store, [carrying("a", extra)])
    exported = table(store)
    names = ["extra.extra.status", "extra.status", "extra.extra"]
    assert exported.column_names[:3] == names
    assert [exported[name].to_pylist() for name in (*names, "status")] == [
        ["new"],
        ["both"],
        [1],
        ["answered"],
    ]


@given(st.lists(texts, unique=True, max_size=8))
def test_headers_are_all_different_and_none_is_ours(names):
    headers = headers_of(names, ANSWERS.names)
    assert list(headers) == names
    assert len({*headers.values()}) == len(names)
    assert not {*headers.values()} & {*ANSWERS.names}


def test_named_columns_are_the_only_ones_and_in_that_order(store):
    store_part(store, [carrying("a", {"doi": "x", "year": 1998})])
    assert table(store, columns=["answer", "doi", "answer"]).column_names == ["answer", "doi"]
    assert table(store, columns=["extra"])["extra"].to_pylist() == ['{"doi":"x","year":1998}']


@pytest.mark.parametrize("export", [export_records, export_papers])
def test_an_unknown_column_is_an_error_that_names_the_nearest(store, tmp_path, export):
    store_part(store, [carrying("a", {"title": "x"}, paper_id="p")])
    with pytest.raises(ConfigError, match=r"--columns titel: no such column; did you mean 'title'"):
        export(store, str(tmp_path / "x.csv"), Storage(), Wanted(columns=["titel"]))
    assert not (tmp_path / "x.csv").exists()


def test_names_of_columns_control_no_terminal(store, tmp_path):
    store_part(store, [carrying("a", {"\x1b[2J": 1})])
    with pytest.raises(ConfigError) as caught:
        export_records(store, str(tmp_path / "x.csv"), Storage(), Wanted(columns=["zzzzz"]))
    assert "\x1b" not in str(caught.value)
    assert "\\x1b[2J" in str(caught.value)


@pytest.mark.parametrize("later", [{"x": "one"}, {"x": 1, "y": 2}])
def test_what_is_stored_while_it_is_exported_is_an_error_not_a_loss(
    store, tmp_path, monkeypatch, later
):
    def then_stored(*given):
        kinds = carried_kinds(*given)
        store_part(store, [carrying("b", later)])
        return kinds

    store_part(store, [carrying("a", {"x": 1})])
    monkeypatch.setattr(files, "carried_kinds", then_stored)
    with pytest.raises(StorageError, match="export again"):
        export_records(store, str(tmp_path / "x.csv"), Storage())
    assert not (tmp_path / "x.csv").exists()


def test_cells_of_a_sheet_are_numbers_booleans_and_texts_that_keep_every_digit(store, tmp_path):
    extra = {"n": 3, "f": 0.5, "b": True, "t": "=1", "l": ["a", 1], "big": 2**60}
    store_part(store, [carrying("a", extra)])
    export_records(store, str(tmp_path / "x.xlsx"), Storage(), Wanted(columns=list(extra)))
    with zipfile.ZipFile(tmp_path / "x.xlsx") as book:
        assert b"<f>" not in book.read("xl/worksheets/sheet1.xml")
    sheet = openpyxl.load_workbook(tmp_path / "x.xlsx")["answers"]
    cells = [cell.value for cell in sheet[2]]
    assert cells == [3, 0.5, True, "=1", '["a",1]', str(2**60)]
    assert [cell.data_type for cell in sheet[2]] == ["n", "n", "b", "s", "s", "s"]
    assert sheet["D2"].alignment.wrap_text
    assert sheet.freeze_panes == "A2"


def test_a_time_is_a_time_in_a_sheet(store, tmp_path):
    store_part(store, [row("a")])
    export_records(store, str(tmp_path / "x.xlsx"), Storage(), Wanted(columns=["written_at"]))
    cell = openpyxl.load_workbook(tmp_path / "x.xlsx")["answers"]["A2"]
    assert cell.is_date
    assert cell.number_format == "yyyy-mm-dd hh:mm:ss"


def numbered(columns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [carrying(f"r{n:03}", extra) for n, extra in enumerate(columns)]


def cells_of(column: list[Any]) -> Iterator[Any]:
    """Values as a text column has them."""
    for value in column:
        is_text = value is None or isinstance(value, str)
        yield value if is_text else orjson.dumps(value).decode()


@settings(max_examples=60, deadline=None)
@given(rows_of_columns)
def test_any_columns_come_back_from_every_format(tmp_path_factory, columns):
    folder = tmp_path_factory.mktemp("any")
    store = Storage().at(str(folder / "store"))
    store_part(store, numbered(columns))
    names = list(dict.fromkeys(name for extra in columns for name in extra))
    headers = headers_of(names, ANSWERS.names)
    for ending in ("parquet", "jsonl", "csv", "xlsx"):
        assert export_records(store, str(folder / f"x.{ending}"), Storage()) == len(columns)
    exported = pq.read_table(folder / "x.parquet")
    lines = [orjson.loads(line) for line in (folder / "x.jsonl").read_bytes().splitlines()]
    assert [list(line) for line in lines] == [[*headers.values(), *OURS]] * len(columns)
    for name, header in headers.items():
        wanted = [extra.get(name) for extra in columns]
        assert [repr(line[header]) for line in lines] == list(map(repr, wanted))
        read = exported[header]
        is_text = read.type == pa.string()
        assert read.to_pylist() == (list(cells_of(wanted)) if is_text else wanted)
    book = openpyxl.load_workbook(folder / "x.xlsx")["answers"]
    assert (book.max_row, book.max_column) == (1 + len(columns), len(headers) + len(OURS))
    with (folder / "x.csv").open(encoding="utf-8-sig", newline="") as file:
        assert len(list(csv.reader(file))) == 1 + len(columns) or "\0" in str(columns)


@settings(max_examples=40, deadline=None)
@given(rows_of_columns)
def test_any_columns_come_back_from_a_wide_table(tmp_path_factory, columns):
    folder = tmp_path_factory.mktemp("wide")
    store = Storage().at(str(folder / "store"))
    rows = [
        {**one, "paper_id": f"p{n // 3}", "question_id": f"Q{n % 3}"}
        for n, one in enumerate(numbered(columns))
    ]
    store_part(store, rows)
    exported = table(store, wide=True)
    assert len({*exported.column_names}) == len(exported.column_names)
    cells = [cell for column in exported.columns for cell in column.to_pylist()]
    for extra in columns:
        # A null says what no value says: beside a paper's one value it takes no cell of its own.
        for value in (v for v in extra.values() if v is not None):
            assert value in cells or next(cells_of([value])) in cells


def test_what_a_paper_s_records_share_stands_once_and_what_differs_beside_each_answer(store):
    store_part(
        store,
        [
            carrying(f"{paper}{q}", {"doi": paper, "page": n, "kind": kind}, paper_id=paper, **q_)
            for n, (paper, q) in enumerate(itertools.product(("p1", "p2"), ("Q1", "Q2")))
            for q_, kind in [({"question_id": q}, "book" if n else None)]
        ],
    )
    exported = table(store, wide=True, carry=("page", "doi"))
    of_question = ("answer", "stance", "checks", "page")
    assert exported.column_names == [
        *("paper_id", "doi", "kind"),
        *(f"{q} {name}" for q in ("Q1", "Q2") for name in of_question),
    ]
    assert exported.select(["doi", "kind", "Q1 page", "Q2 page"]).to_pylist() == [
        {"doi": "p1", "kind": "book", "Q1 page": 0, "Q2 page": 1},
        {"doi": "p2", "kind": "book", "Q1 page": 2, "Q2 page": 3},
    ]
    some = table(store, wide=True, columns=["doi", "page", "answer"])
    assert some.column_names == [
        *("paper_id", "doi"),
        *("Q1 page", "Q1 answer", "Q2 page", "Q2 answer"),
    ]


def test_carried_names_that_are_those_of_a_wide_table_stay_apart(store):
    extra = {"paper_id": 1, "Q1 answer": 2, "answer": 3, "checks": ["own"]}
    store_part(store, [carrying("a", extra, paper_id="p", question_id="Q1")])
    (cells,) = table(store, wide=True).to_pylist()
    assert cells == {
        "paper_id": "p",
        "extra.paper_id": 1,
        "Q1 answer (2)": 2,
        "extra.answer": 3,
        "extra.checks": ["own"],
        "Q1 answer": "Answer of a.",
        "Q1 stance": "answered",
        "Q1 checks": [],
    }


def test_questions_named_by_their_text_stand_as_the_input_has_them(store):
    asked = ("Which lamp?", "Where?", "And when?")
    store_part(
        store,
        [
            row(
                f"{p}{n}",
                paper_id=f"p{p}",
                question=q,
                source_uri="file:///a",
                source_row=3 * p + n,
            )
            for p in (1, 0)
            for n, q in enumerate(asked)
        ],
    )
    names = table(store, wide=True).column_names
    assert names[1::3] == [f"{question} answer" for question in asked]


def test_a_note_on_a_header_has_the_whole_question(store, tmp_path):
    long = "From all that you have read: " * 20 + "which lamp?"
    store_part(
        store,
        [
            row("a", paper_id="p", question_id="Q1", question="<b>Which</b> lamp?"),
            row("b", paper_id="p", question=long),
            row("c", paper_id="p", question="Where?"),
        ],
    )
    export_papers(store, str(tmp_path / "x.xlsx"), Storage())
    header = openpyxl.load_workbook(tmp_path / "x.xlsx")["answers"][1]
    notes = {cell.value: cell.comment.text for cell in header if cell.comment}
    short = next(cell.value for cell in header if cell.value.startswith("From") and cell.comment)
    assert len(short) < 220
    assert notes == {"Q1 answer": "<b>Which</b> lamp?", short: long}


@pytest.mark.parametrize("ending", ["csv", "parquet", "xlsx", "jsonl"])
def test_an_export_to_an_object_store_is_the_file_that_a_disk_gets(
    store, tmp_path, rclone_s3, ending
):
    store_part(store, [carrying("a", {"doi": "x"})])
    storage = Storage(rclone_s3.storage())
    storage.at("s3://exports").fs.makedirs("exports", exist_ok=True)
    target = f"s3://exports/out.{ending}"
    assert export_records(store, target, storage) == 1
    export_records(store, str(tmp_path / f"out.{ending}"), storage)
    stored = Path(rclone_s3.folder / f"exports/out.{ending}").read_bytes()
    if ending == "xlsx":  # which says when it was made
        assert stored[:2] == b"PK"
    else:
        assert stored == (tmp_path / f"out.{ending}").read_bytes()


def test_an_export_that_fails_leaves_what_an_object_store_has(store, rclone_s3, monkeypatch):
    storage = Storage(rclone_s3.storage())
    storage.at("s3://exports").fs.makedirs("exports", exist_ok=True)
    store_part(store, [carrying("a", {"doi": "x"})])
    export_records(store, "s3://exports/kept.csv", storage)
    before = (rclone_s3.folder / "exports/kept.csv").read_bytes()
    monkeypatch.setattr(Layout, "table", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_records(store, "s3://exports/kept.csv", storage)
    assert (rclone_s3.folder / "exports/kept.csv").read_bytes() == before
