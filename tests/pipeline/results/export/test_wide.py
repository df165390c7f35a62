"""One row per paper, in every format: its content, and that nothing is lost."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Location, Storage
from pipeline.results.export import files
from pipeline.results.export.files import export_papers
from pipeline.results.export.questions import NO_QUESTION
from pipeline.results.export.wide import COLUMNS, widen
from pipeline.store.schema import ANSWERS
from tests.support.export_rows import HOSTILE, checks, row, store_part
from tests.support.jobs import ROOT

EXTENSIONS = ("parquet", "csv", "xlsx")


@pytest.fixture
def store(tmp_path) -> Location:
    return Storage().at(str(tmp_path / "store"))


def exported(store: Location, extension: str = "parquet") -> tuple[list[str], list[tuple]]:
    """Header and rows of the wide table, read back with another library."""
    path = Path(store.path).parent / f"wide.{extension}"
    rows = export_papers(store, str(path), Storage())
    if extension == "parquet":
        table = pq.read_table(path)
        header = table.column_names
        read = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    elif extension == "csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *read = csv.reader(file)
        read = [tuple(cell or None for cell in cells) for cells in read]
    else:
        header, *read = openpyxl.load_workbook(path)["answers"].iter_rows(values_only=True)
    assert len(read) == rows
    return list(header), list(read)


def cells(store: Location, extension: str = "parquet") -> dict[tuple[str, str], object]:
    """The cells that are not empty, by (paper, column)."""
    header, rows = exported(store, extension)
    return {
        (cells[0], name): cell
        for cells in rows
        for name, cell in zip(header[1:], cells[1:], strict=True)
        if cell is not None
    }


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_every_cell_is_the_newest_answer_of_its_record(store, extension):
    first = [
        row(f"p{p}-Q{q}", paper_id=f"p{p}", question_id=f"Q{q}", answer=f"{p} {q} old")
        for p in range(30)
        for q in range(1, 13)
        if (p + q) % 5
    ]
    store_part(store, first)
    store_part(store, [{**r, "answer": r["answer"][:-3] + "new"} for r in first[::3]])
    store_part(store, [{**r, "generation_key": "k2", "answer": "last"} for r in first[::7]])
    parts = duckdb.read_parquet(f"{store.path}/answers/*.parquet")
    newest = duckdb.sql(
        "SELECT paper_id, question_id, answer FROM parts "
        "QUALIFY row_number() OVER (PARTITION BY record_id ORDER BY written_at DESC) = 1"
    ).fetchall()
    assert parts.shape[0] > len(newest) > 200
    answers = {key: cell for key, cell in cells(store, extension).items() if "answer" in key[1]}
    assert answers == {(paper, f"{question} answer"): text for paper, question, text in newest}


def test_duckdb_reads_the_columns_by_their_names(store):
    store_part(store, [row("r", paper_id="p", question_id="Q1", checks=checks("echo"))])
    exported(store)
    path = Path(store.path).parent / "wide.parquet"
    (read,) = duckdb.sql(
        f'SELECT paper_id, "Q1 answer", "Q1 stance", "Q1 checks" FROM \'{path}\''
    ).fetchall()
    assert read == ("p", "Answer of r.", "answered", ["echo"])


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_papers_are_sorted_by_id_and_questions_in_natural_order(store, extension):
    store_part(
        store,
        [
            row(f"{p}{q}", paper_id=p, question_id=q)
            for p in ("p10", "p2", "P3")
            for q in ("Q10", "Q2", "q3", "Q2b", "CQ1")
        ],
    )
    header, rows = exported(store, extension)
    assert header == [
        "paper_id",
        *(
            f"{q} {column}"
            for q in ("CQ1", "Q2", "Q2b", "q3", "Q10")
            for column in ("answer", "stance", "checks")
        ),
    ]
    assert [cells[0] for cells in rows] == ["P3", "p10", "p2"]


def test_a_failed_answer_has_stance_failed_and_names_its_missed_checks(store):
    missed = {"checks": checks("echo", "format"), "failed_checks": ["echo"]}
    store_part(
        store,
        [
            row("a", paper_id="p", question_id="Q1", status="failed", stance="hedged", **missed),
            row("b", paper_id="p", question_id="Q2", stance="abstained", checks=checks("format")),
        ],
    )
    values = cells(store)
    assert values["p", "Q1 stance"] == "failed"
    assert values["p", "Q1 checks"] == ["echo", "format"]
    assert values["p", "Q2 stance"] == "abstained"
    assert values["p", "Q2 checks"] == ["format"]
    assert cells(store, "csv")["p", "Q1 checks"] == "echo, format"
    assert cells(store, "xlsx")["p", "Q1 checks"] == "echo, format"


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_second_record_of_a_question_has_columns_of_its_own(store, extension):
    store_part(store, [row("r2", paper_id="p", question_id="Q1")])
    store_part(store, [row("r1", paper_id="p", question_id="Q1")])
    store_part(store, [row("r3", paper_id="other", question_id="Q1")])
    values = cells(store, extension)
    assert {key: cell for key, cell in values.items() if "answer" in key[1]} == {
        ("p", "Q1 answer"): "Answer of r1.",
        ("p", "Q1 (2) answer"): "Answer of r2.",
        ("other", "Q1 answer"): "Answer of r3.",
    }


def test_a_question_named_like_the_second_record_of_another_keeps_its_name(store):
    questions = (("a", "Q1"), ("b", "Q1"), ("c", "Q1 (2)"))
    store_part(store, [row(r, paper_id="p", question_id=q) for r, q in questions])
    header, _ = exported(store)
    assert len(set(header)) == len(header)
    values = cells(store)
    assert values["p", "Q1 answer"] == "Answer of a."
    assert values["p", "Q1 (2) answer"] == "Answer of c."
    assert values["p", "Q1 (2) (2) answer"] == "Answer of b."


def test_a_record_without_a_paper_has_a_row_under_its_own_id(store):
    store_part(store, [row("r1", question_id="Q1"), row("r2", paper_id="p", question_id="Q1")])
    assert cells(store)["r1", "Q1 answer"] == "Answer of r1."
    assert cells(store)["p", "Q1 answer"] == "Answer of r2."


def test_a_question_without_an_id_goes_by_its_text_and_one_without_either_comes_last(store):
    same = {"question": "Which lamp?"}
    store_part(
        store,
        [
            row("a", paper_id="p1", **same),
            row("b", paper_id="p2", question_id="", **same),
            row("c", paper_id="p1"),
            row("d", paper_id="p1", question_id="Z1", question="Where?"),
        ],
    )
    header, _ = exported(store)
    assert [name for name in header if "answer" in name] == [
        "Which lamp? answer",
        "Z1 answer",
        f"{NO_QUESTION} answer",
    ]
    values = cells(store)
    assert values["p1", "Which lamp? answer"] == "Answer of a."
    assert values["p2", "Which lamp? answer"] == "Answer of b."
    assert values["p1", f"{NO_QUESTION} answer"] == "Answer of c."


def test_long_questions_with_the_same_beginning_stay_apart(store):
    texts = ["From what you have read: " * 20 + end for end in ("which?", "where?")]
    store_part(store, [row(t[-6:], paper_id="p", question=t) for t in texts])
    header, _ = exported(store)
    assert len(header) == 1 + 2 * 3
    assert all(len(name) < 220 for name in header)
    answers = [cells(store)["p", name] for name in header[1::3]]
    assert answers == ["Answer of where?.", "Answer of which?."]


def test_the_metadata_of_a_parquet_column_describes_its_question(store):
    store_part(store, [row("a", paper_id="p", question_id="Q1", question="Which lamp?")])
    exported(store)
    schema = pq.read_schema(Path(store.path).parent / "wide.parquet")
    metadata = schema.field("Q1 answer").metadata
    assert metadata[b"question"] == b"Which lamp?"
    assert b"question" not in (schema.field("Q1 stance").metadata or {})


def test_a_workbook_lists_the_questions_in_a_second_sheet(store):
    store_part(
        store,
        [
            row("a", paper_id="p1", question_id="Q1", question="Which lamp?"),
            row("b", paper_id="p2", question_id="Q1", question="Which lamp?"),
            row("c", paper_id="p1", question_id="Q2", question="=How many in p1?"),
            row("d", paper_id="p2", question_id="Q2", question="How many in p2?"),
        ],
    )
    exported(store, "xlsx")
    book = openpyxl.load_workbook(Path(store.path).parent / "wide.xlsx")
    assert book.sheetnames == ["answers", "questions"]
    assert list(book["questions"].iter_rows(values_only=True)) == [
        ("column", "question_id", "question", "wording"),
        ("Q1 answer", "Q1", "Which lamp?", "one"),
        ("Q2 answer", "Q2", "=How many in p1?", "several"),
    ]
    assert book["answers"].freeze_panes == "B2"
    assert book["answers"].auto_filter.ref == "A1:G3"


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_stays_text_in_every_column(store, text, extension):
    store_part(store, [row("r", paper_id=text, question_id=text, answer=text)])
    header, ((paper, answer, stance, _),) = exported(store, extension)
    assert stance == "answered"
    if extension == "parquet":
        assert (header[1], paper, answer) == (f"{text} answer", text, text)
    elif extension == "csv":
        harmless = f"'{text}" if text[0] in "=+-@＝\t\r\n" else text
        assert (header[1], paper, answer) == (f"{harmless} answer", harmless, harmless)
    else:
        visible = (
            text.replace("\0", "␀").replace("\x07", "␇").replace("\x1b", "␛").replace("\r", "␍")
        )
        visible = visible.replace("\ufffe\uffff", "��").replace("_x0041_", "_x005F_x0041_")
        assert (header[1], paper, answer) == (f"{visible} answer", visible, visible)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_an_empty_store_gives_a_table_without_rows(store, extension):
    assert exported(store, extension) == (["paper_id"], [])


def test_too_many_questions_are_an_error_before_anything_is_written(store, tmp_path):
    store_part(store, [row(f"r{n}", paper_id="p", question_id=f"Q{n}") for n in range(5462)])
    with pytest.raises(ConfigError, match=r"more than 5,461 questions.* without --wide"):
        export_papers(store, str(tmp_path / "wide.parquet"), Storage())
    assert not (tmp_path / "wide.parquet").exists()
    assert not list(tmp_path.glob(".wide*"))


def test_a_sheet_can_have_all_of_its_columns(store):
    store_part(store, [row(f"r{n}", paper_id="p", question_id=f"Q{n}") for n in range(5461)])
    header, _ = exported(store, "xlsx")
    assert len(header) == 16_384


def test_too_many_papers_for_a_sheet_are_an_error_before_anything_is_written(
    store, tmp_path, monkeypatch
):
    store_part(store, [row(f"r{n}", question_id="Q1") for n in range(4)])
    monkeypatch.setattr("pipeline.results.export.xlsx.MAX_ROWS", 3)
    monkeypatch.setitem(files._TABLE_FORMATS, ".xlsx", lambda *_: pytest.fail("written"))
    with pytest.raises(ConfigError, match=r"4 rows, .* at most 3; export to \.parquet or \.csv"):
        export_papers(store, str(tmp_path / "wide.xlsx"), Storage())
    assert not (tmp_path / "wide.xlsx").exists()
    assert export_papers(store, str(tmp_path / "wide.csv"), Storage()) == 4


def test_jsonl_is_no_wide_format_and_the_error_names_those_that_are(store, tmp_path):
    with pytest.raises(ConfigError, match=r"--wide writes only \.csv, \.parquet, \.xlsx"):
        export_papers(store, str(tmp_path / "wide.jsonl"), Storage())


def test_many_sorted_files_and_tables_give_the_same_rows_as_one(tmp_path):
    rows = [
        row(f"r{n:04}", paper_id=f"p{n * 7919 % 83}", question_id=f"Q{n % 9}") for n in range(3000)
    ]
    tables = [
        pa.Table.from_pylist(rows[at : at + 100], schema=ANSWERS).select(COLUMNS)
        for at in range(0, len(rows), 100)
    ]
    results = []
    for name, file_bytes, table_bytes in (("many", 20_000, 20_000), ("one", 2**26, 2**26)):
        (tmp_path / name).mkdir()
        wide = widen(tables, str(tmp_path / name), file_bytes)
        results.append(list(wide.tables(table_bytes)))
    many, one = results
    assert len(list((tmp_path / "many").iterdir())) > 5 < len(many)
    assert (len(list((tmp_path / "one").iterdir())), len(one)) == (1, 1)
    assert pa.concat_tables(many).equals(one[0])
    answers = [cell for c in one[0].columns[1::3] for cell in c.to_pylist() if cell]
    assert sorted(answers) == sorted(r["answer"] for r in rows)


MEASURED = """
import re, sys, tempfile
import pyarrow as pa
from pipeline.results.export.wide import COLUMNS, widen
from pipeline.results.export.writers import write_parquet
from pipeline.results.export.xlsx import write_xlsx
from pipeline.store.schema import ANSWERS
from tests.support.export_rows import row

answers = int(sys.argv[1])

def stored(n):
    paper = n * 7919 % (answers // 10)  # spreads a paper's answers over the store
    text = f"{n} herons. " * 250
    return row(f"r{n}", paper_id=f"p{paper}", question_id=f"Q{n % 7}", answer=text)

def tables():
    for at in range(0, answers, 1000):
        rows = [stored(n) for n in range(at, at + 1000)]
        yield pa.Table.from_pylist(rows, schema=ANSWERS).select(COLUMNS)

with tempfile.TemporaryDirectory() as folder:
    wide = widen(tables(), folder, 4 * 2**20)
    write_parquet(folder + "/out", wide.schema, wide.tables(4 * 2**20))
    write_xlsx(folder + "/out", wide.joined_schema, wide.joined_tables(4 * 2**20))
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def test_memory_stays_flat_as_the_store_grows():
    """The second store has 50 MB more of answers than the first."""
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", MEASURED, str(answers)],
                check=True,
                capture_output=True,
                text=True,
                cwd=ROOT,
                env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"},
            ).stdout
        )
        for answers in (8_000, 24_000)
    ]
    assert peaks[1] - peaks[0] < 20_000, peaks  # KiB


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_record_without_a_paper_stands_alone_whatever_its_id(store, extension):
    store_part(
        store,
        [
            row(record_id="X1", paper_id="p9", question_id="Q1", answer="white"),
            row(record_id="p9", paper_id=None, question_id="Q1", answer="loud"),
            row(record_id="X2", paper_id="p10", question_id="Q1", answer="ivory"),
        ],
    )
    header, rows = exported(store, extension)
    assert header == ["paper_id", "Q1 answer", "Q1 stance", "Q1 checks"]
    answers = [(cells[0], cells[1]) for cells in rows]
    assert answers == [("p10", "ivory"), ("p9", "white"), ("p9", "loud")]
