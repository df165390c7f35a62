"""Reading sheets, filled in as a person would, and taken in again."""

import csv
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Location, Storage
from pipeline.results.corrections.standing import standing
from pipeline.results.corrections.taking_in import TakenIn, take_in
from pipeline.results.review.precision import precision_by_check
from pipeline.results.review.sheet import MAX_CHARACTERS, SCHEMA, write_sheet
from pipeline.store.corrections import answer_sha256, read_corrections
from pipeline.store.corrections_file import file_rows
from tests.support.export_rows import HOSTILE, checks
from tests.support.reading import claim, readable, store_of

ENDINGS = (".csv", ".xlsx")
LOST_BY_A_WORKBOOK = ("return", "signs")
"""Control characters, which a cell of a workbook cannot hold."""

FILLED_AT = datetime(2026, 11, 29, 12, tzinfo=UTC)


def flagged(record_id: str, *missed: str, **columns: Any) -> dict[str, Any]:
    claims = [claim("unsupported", f"{name} of {record_id}", name) for name in missed]
    return readable(record_id, checks=checks(*missed), claims=claims, **columns)


@pytest.fixture
def store(tmp_path) -> Location:
    plain = [flagged(f"r{n}", *(["echo"] if n % 2 else [])) for n in range(30)]
    both = [flagged(f"both{n}", "echo", "format") for n in range(10)]
    return store_of(tmp_path / "store", [*plain, *both])


def sheet(store: Location, path: Path, wanted: int = 12, seed: int = 3) -> list[dict[str, str]]:
    write_sheet(store, str(path), Storage(), wanted, seed)
    return table(path)


def table(path: Path) -> list[dict[str, str]]:
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    rows = openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True)
    header, *cells = ([str(c if c is not None else "") for c in row] for row in rows)
    return [dict(zip(header, row, strict=True)) for row in cells]


def fill_in(path: Path, says: dict[int, dict[str, Any]]) -> None:
    """Writes into cells of rows, by number from 0, and saves the file."""
    if path.suffix == ".csv":
        rows = table(path)
        for number, cells in says.items():
            rows[number].update(cells)
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, SCHEMA.names)
            writer.writeheader()
            writer.writerows(rows)
        return
    book = openpyxl.load_workbook(path)
    for number, cells in says.items():
        for name, value in cells.items():
            book.worksheets[0].cell(number + 2, SCHEMA.names.index(name) + 1, value)
    book.save(path)


def taken_in(store: Location, path: Path) -> TakenIn:
    rows = file_rows(path.name, path.read_bytes())
    return take_in(store, rows, set(), FILLED_AT)


@pytest.fixture(params=ENDINGS)
def path(request, tmp_path) -> Path:
    return tmp_path / f"sheet{request.param}"


def test_an_answer_has_a_row_for_its_question_and_one_for_each_check_that_flagged_it(store, path):
    fields: dict[str, list[str]] = {}
    for row in sheet(store, path, wanted=100):
        fields.setdefault(row["record_id"], []).append(row["field"])
    assert len(fields) == 40
    for record_id, named in fields.items():
        flags = ["check:echo", "check:format"] if record_id.startswith("both") else ["check:echo"]
        is_flagged = record_id.startswith("both") or int(record_id[1:]) % 2
        assert named == ["answers_question", *(flags if is_flagged else [])]


def test_a_row_shows_what_it_takes_to_judge(store, path):
    for row in sheet(store, path):
        assert row["answer"] == f"Answer of {row['record_id']}."
        assert row["answer_sha256"] == answer_sha256(row["answer"])
        assert row["paper"] == f"paper of {row['record_id']}"
        assert row["question"] in row["prompt"]
        assert (row["value"], row["annotator"], row["at"], row["note"]) == ("",) * 4
        if row["field"].startswith("check:"):
            assert f"{row['field'][6:]} of {row['record_id']}" in row["flagged"]
            assert "missed" in row["allowed"]
        else:
            assert row["allowed"] == "yes / no / unsure"


def test_the_weights_of_answers_sum_to_the_population(store, path):
    rows = sheet(store, path)
    weights = {row["record_id"]: float(row["weight"]) for row in rows}
    assert len(weights) == 12
    assert sum(weights.values()) == pytest.approx(40)


def test_the_same_seed_makes_the_same_sheet(store, path, tmp_path):
    again = tmp_path / f"again{path.suffix}"
    assert sheet(store, path) == sheet(store, again)
    assert sheet(store, path) != sheet(store, again, seed=4)


def test_a_sheet_that_is_left_empty_corrects_nothing(store, path):
    rows = sheet(store, path)
    taken = taken_in(store, path)
    assert (taken.blank, len(taken.added), taken.rejects) == (len(rows), 0, [])


def test_a_filled_in_sheet_gives_corrections_of_exactly_the_answers_it_shows(store, path):
    rows = sheet(store, path)
    says = {
        number: {
            "value": "Yes" if row["field"] == "answers_question" else "missed",
            "annotator": "ana",
            "note": f"=row {number}" if path.suffix == ".csv" else f"row {number}",
            "at": "2026-11-29T10:00:00Z" if number % 2 else "",
        }
        for number, row in enumerate(rows)
        if number % 3
    }
    fill_in(path, says)
    taken = taken_in(store, path)
    assert taken.rejects == []
    assert taken.stale == []
    assert {(c.record_id, c.field, c.value, c.note) for c in read_corrections(store)} == {
        (rows[n]["record_id"], rows[n]["field"], cells["value"].lower(), cells["note"])
        for n, cells in says.items()
    }


def test_a_filled_in_sheet_gives_each_checks_precision(store, path):
    rows = sheet(store, path, wanted=100)
    verdicts = {"check:echo": ["missed"] * 3 + ["passed", "unsure"], "check:format": ["passed"]}
    read: Counter[str] = Counter()
    says = {}
    for number, row in enumerate(rows):
        values, at = verdicts.get(row["field"], []), read[row["field"]]
        if at < 20 and values:
            read[row["field"]] += 1
            says[number] = {"value": values[at % len(values)], "annotator": "ana"}
    fill_in(path, says)
    assert taken_in(store, path).rejects == []
    echo, format_ = precision_by_check(store, standing(store))
    assert (echo.check, echo.right, echo.read, echo.unsure) == ("echo", 12, 16, 4)
    assert (echo.low, echo.high) == pytest.approx(wilson(12, 16))
    assert (format_.check, format_.right, format_.read) == ("format", 0, 10)
    assert (format_.low, format_.high) == pytest.approx(wilson(0, 10), abs=1e-9)


def wilson(right: int, read: int) -> tuple[float, float]:
    """Wilson's interval as he wrote it, for z = 1.96 to the digits of 95%."""
    z, p = 1.959963984540054, right / read
    middle = (p + z * z / (2 * read)) / (1 + z * z / read)
    half = z / (1 + z * z / read) * (p * (1 - p) / read + z * z / (4 * read * read)) ** 0.5
    return middle - half, middle + half


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_ids_and_texts_come_back_as_they_were(tmp_path, path, name):
    if path.suffix == ".xlsx" and name in LOST_BY_A_WORKBOOK:
        expected = []
    else:
        expected = [(HOSTILE[name], "no")]
    text = HOSTILE[name]
    store = store_of(tmp_path / "store", [readable(text, answer=text, paper_id=text)])
    write_sheet(store, str(path), Storage(), 1, 0)
    fill_in(path, {0: {"value": "no", "annotator": "ana"}})
    taken = taken_in(store, path)
    assert [(c.record_id, c.value) for c in taken.added] == expected
    assert len(taken.rejects) == 1 - len(expected)


def test_no_cell_of_a_csv_runs_as_a_formula(tmp_path):
    path = tmp_path / "sheet.csv"
    rows = [readable(t, answer=t, paper_id=t, question=t, model=t) for t in HOSTILE.values()]
    for row in sheet(store_of(tmp_path / "store", rows), path, wanted=100):
        assert not {cell[0] for cell in row.values() if cell} & set("=+-@\t\r＝＋－＠")


def test_a_text_too_long_for_a_cell_says_so_and_its_correction_is_still_of_all_of_it(
    tmp_path, path
):
    answer = "heron " * 100_000
    store = store_of(tmp_path / "store", [readable("long", answer=answer)])
    (row,) = sheet(store, path)
    assert MAX_CHARACTERS < len(row["answer"]) < MAX_CHARACTERS + 100
    assert row["answer"].endswith("570,000 more characters")
    fill_in(path, {0: {"value": "yes", "annotator": "ana"}})
    (added,) = taken_in(store, path).added
    assert added.answer_sha256 == answer_sha256(answer)
    assert not standing(store).stale


@pytest.mark.parametrize("name", ["sheet.parquet", "sheet.jsonl", "sheet"])
def test_other_formats_are_refused(store, tmp_path, name):
    with pytest.raises(ConfigError, match=r"--review writes only \.csv, \.xlsx"):
        write_sheet(store, str(tmp_path / name), Storage(), 5, 0)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no zip", b"record_id,value\n"])
def test_a_file_that_is_no_workbook_is_refused_in_one_line(data):
    with pytest.raises(ConfigError, match="not an Excel workbook"):
        list(file_rows("sheet.xlsx", data))
