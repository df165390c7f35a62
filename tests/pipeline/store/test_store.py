import asyncio
import json
import os
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answering.checks import chosen_checks
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.loop import AnsweringLoop
from pipeline.core.arrow import rejects_table
from pipeline.core.errors import StorageError
from pipeline.core.filesystem import Location, Storage
from pipeline.core.records import Message, Place, Prompt, Reject
from pipeline.engines.recorded import RecordedEngine
from pipeline.store.ledger import Ledger, answer_digest, contains, reject_digest
from pipeline.store.parts import PartWriter, list_parts
from pipeline.store.reader import BY_RECORD, as_digests, newest, read_rows
from pipeline.store.runs import all_runs
from pipeline.store.schema import ANSWERS, OUTCOMES, REJECTS, answers_table
from pipeline.store.sink import Sink
from tests.support.jobs import record


def outcomes(*answers: tuple[str, str, str], key: str = "k") -> pa.Table:
    """Outcome rows from (record_id, generation_key, answer)."""
    loop = AnsweringLoop(RecordedEngine(), Evaluator(chosen_checks({}), 399), attempts=1)
    answered = [
        asyncio.run(
            loop.answer(
                Prompt(
                    record(record_id=record_id, recorded_answer=answer),
                    (Message("user", "Q?"),),
                    "",
                    "ab" * 16,
                    generation_key,
                )
            )
        )
        for record_id, generation_key, answer in answers
    ]
    return answers_table(answered, {"engine": "recorded", "model_revision": None})


@pytest.fixture
def store(tmp_path) -> Location:
    return Storage().at(str(tmp_path / "store"))


def sink(store: Location, run_id: str = "run-1") -> Sink:
    return Sink(store.path, Storage(), PartWriter(run_id), rows_per_file=1000)


def test_a_part_has_the_columns_of_the_contract_in_order(store):
    sink(store).write(outcomes(("a", "k", "Yes.")))
    (part,) = list_parts(store.join("answers"))
    assert pq.read_schema(part).equals(ANSWERS)
    assert ANSWERS.names[:4] == ["generation_key", "record_id", "paper_id", "question_id"]
    assert [str(ANSWERS.field(n).type) for n in ("word_count", "source_row", "written_at")] == [
        "int32",
        "int64",
        "timestamp[us, tz=UTC]",
    ]


def test_parts_are_zstd(store):
    sink(store).write(outcomes(("a", "k", "Yes.")))
    (part,) = list_parts(store.join("answers"))
    assert pq.ParquetFile(part).metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_row_is_stamped_with_run_and_time_when_it_is_written(store):
    before = datetime.now(UTC)
    sink(store, "run-7").write(outcomes(("a", "k", "Yes.")))
    (row,) = next(read_rows(store)).to_pylist()
    assert row["run_id"] == "run-7"
    assert before <= row["written_at"] <= datetime.now(UTC)


def test_a_failed_answer_keeps_its_text_attempts_and_evidence(store):
    sink(store).write(outcomes(("a", "k", "It was the")))
    (row,) = next(read_rows(store)).to_pylist()
    assert (row["status"], row["failed_checks"], row["answer"]) == (
        "failed",
        ["complete"],
        "It was the",
    )
    assert row["attempts"][0]["completion"] == "It was the"
    assert {c["name"]: c["passed"] for c in row["checks"]}["complete"] is False


def test_a_failed_check_at_level_label_fails_nothing(store):
    sink(store).write(outcomes(("a", "k", "No frame here.")))
    (row,) = next(read_rows(store)).to_pylist()
    assert (row["status"], row["failed_checks"]) == ("answered", [])
    assert {c["name"]: c["passed"] for c in row["checks"]}["format"] is False


def test_rejects_have_their_own_folder_and_columns(store):
    reject = Reject("r", "not_utf8", "byte 3", Place("file:///x", 4), b"\xff")
    totals = sink(store).write(rejects_table([reject], OUTCOMES))
    (part,) = list_parts(store.join("rejects"))
    assert pq.read_schema(part).equals(REJECTS)
    assert list_parts(store.join("answers")) == []
    assert (totals.states["rejected"], totals.reasons["not_utf8"]) == (1, 1)


def test_of_rows_with_one_key_the_newest_counts(store):
    for answer in ("First.", "Second.", "Third."):
        sink(store).write(outcomes(("a", "k", answer), ("b", "k", answer)))
    counting = [row for table in read_rows(store) for row in table.to_pylist()]
    assert sorted((r["record_id"], r["answer"]) for r in counting) == [
        ("a", "Third."),
        ("b", "Third."),
    ]


def test_another_generation_of_a_record_counts_beside_the_first(store):
    sink(store).write(outcomes(("a", "k1", "One.")))
    sink(store).write(outcomes(("a", "k2", "Two.")))
    assert sum(t.num_rows for t in read_rows(store)) == 2
    (latest,) = [row for table in read_rows(store, BY_RECORD) for row in table.to_pylist()]
    assert latest["answer"] == "Two."


def test_a_store_that_does_not_exist_yet_is_empty(store):
    assert list(read_rows(store)) == []
    assert len(Ledger.of(store).answered) == 0


def test_the_ledger_holds_what_counts_and_knows_what_failed(store):
    sink(store).write(outcomes(("good", "k", "Yes."), ("bad", "k", "It was the")))
    sink(store).write(outcomes(("mended", "k", "It was the")))
    sink(store).write(outcomes(("mended", "k", "It was a heron.")))
    ledger = Ledger.of(store)
    digests = [answer_digest(r, "k") for r in ("good", "bad", "mended", "new")]
    assert contains(ledger.answered, digests) == [True, False, True, False]
    assert contains(ledger.failed, digests) == [False, True, False, False]
    assert ledger.answered.itemsize == 16


def test_the_ledger_knows_rejects_by_place_and_payload(store):
    reject = Reject("r", "not_utf8", "byte 3", Place("file:///x", 4), b"\xff")
    sink(store).write(rejects_table([reject], OUTCOMES))
    digests = [
        reject_digest("file:///x", 4, b"\xff"),
        reject_digest("file:///x", 5, b"\xff"),
        reject_digest("file:///x", 4, b"\xfe"),
    ]
    assert contains(Ledger.of(store).rejects, digests) == [True, False, False]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=40))
def test_newest_agrees_with_a_dictionary(rows):
    keys = as_digests(bytes([k]) * 15 + b"\x00" for k, _ in rows)
    times = np.array([t for _, t in rows], dtype=np.int64)
    expected: dict[int, int] = {}
    for at, (key, time) in enumerate(rows):
        if key not in expected or time >= rows[expected[key]][1]:
            expected[key] = at
    assert sorted(newest(keys, times).tolist()) == sorted(expected.values())


@settings(max_examples=100, deadline=None)
@given(st.sets(st.binary(min_size=16, max_size=16)), st.lists(st.binary(min_size=16, max_size=16)))
def test_contains_agrees_with_a_set(digests, others):
    wanted = [*sorted(digests)[:3], *others]
    assert contains(np.sort(as_digests(digests)), wanted) == [w in digests for w in wanted]


def test_a_part_appears_whole_or_not_at_all(store, monkeypatch):
    def killed(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(StorageError, match="the disk is gone"):
        sink(store).write(outcomes(("a", "k", "Yes.")))
    assert list_parts(store.join("answers")) == []
    assert os.listdir(store.path + "/answers") == []


def test_a_draft_that_a_kill_left_behind_is_not_a_part(store):
    sink(store).write(outcomes(("a", "k", "Yes.")))
    (part,) = list_parts(store.join("answers"))
    folder, name = os.path.split(part)
    with open(os.path.join(folder, f".{name}.0123.tmp"), "wb") as draft:
        draft.write(b"PAR1 half a file")
    assert sum(t.num_rows for t in read_rows(store)) == 1
    assert pq.read_table(folder).num_rows == 1  # nor do other readers see it


def test_a_damaged_part_is_named(store):
    sink(store).write(outcomes(("a", "k", "Yes.")))
    (part,) = list_parts(store.join("answers"))
    with open(part, "r+b") as file:
        file.truncate(100)
    with pytest.raises(StorageError, match=r"part-run-1-\w+\.parquet"):
        list(read_rows(store))


def test_a_part_is_stamped_only_in_its_own_columns(store):
    writer = PartWriter("run-2")
    part = writer.new_part(store.join("answers"))
    writer.write(part, outcomes(("a", "k", "Yes.")), ANSWERS)
    (table,) = read_rows(store)
    assert table.column_names == ANSWERS.names


@pytest.mark.parametrize("second", [1_000.0, None])
def test_the_latest_start_of_a_run_counts_though_it_is_as_old_as_the_first(tmp_path, second):
    """Object stores give times in whole seconds."""
    store = Storage().at(str(tmp_path))
    for name in ("started", "run", "started-2", "run-2"):
        content = {"run_id": name, "started_at": name, "job": {}}
        store.join("runs", "a", f"{name}.json").write_whole(json.dumps(content).encode())
        if second:
            os.utime(tmp_path / f"runs/a/{name}.json", (second, second))
        (newest,) = all_runs(store)
        assert newest["run_id"] == name
