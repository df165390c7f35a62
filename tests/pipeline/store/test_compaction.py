"""Compaction keeps the same rows in fewer parts, even if it is killed or parts are being read."""

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from threading import Event, Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.arrow import rejects_table
from pipeline.core.filesystem import Location, Storage
from pipeline.core.records import Place, Reject
from pipeline.store import read_answers
from pipeline.store.compaction import compact
from pipeline.store.ledger import Ledger
from pipeline.store.parts import list_parts
from pipeline.store.reader import read_rows
from pipeline.store.schema import OUTCOMES
from tests.pipeline.store.test_store import outcomes, sink
from tests.support.jobs import ROOT

NOW = datetime(2026, 11, 24, tzinfo=UTC)
PARTS = 6


@pytest.fixture
def store(tmp_path) -> Location:
    """Six parts of ten rows, the last two of which supersede the first two; and some rejects."""
    location = Storage().at(str(tmp_path / "store"))
    for part in range(PARTS):
        answers = [(f"r{part % 4}-{n}", "k", f"Answer {part}.") for n in range(10)]
        sink(location).write(outcomes(*answers))
        reject = Reject("r", "not_utf8", "byte 3", Place("file:///x", part), b"\xff")
        sink(location).write(rejects_table([reject], OUTCOMES))
    return location


def all_rows(store: Location) -> list[tuple]:
    return sorted(
        (row["record_id"], row["answer"], row["run_id"], row["written_at"])
        for path in list_parts(store.join("answers"))
        for row in pq.read_table(path).to_pylist()
    )


def counting(store: Location) -> list[tuple[str, str]]:
    rows = [row for table in read_rows(store) for row in table.to_pylist()]
    return sorted((row["record_id"], row["answer"]) for row in rows)


def test_many_parts_become_one_with_the_same_rows_sorted_by_paper_and_question(store):
    before = all_rows(store)
    done = compact(store, NOW)
    (part,) = list_parts(store.join("answers"))
    assert all_rows(store) == before
    assert (done.parts_before, done.parts_after, done.rows) == (12, 2, 66)
    table = pq.read_table(part)
    keys = list(zip(table["paper_id"].to_pylist(), table["question_id"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert len(list_parts(store.join("rejects"))) == 1
    assert len(Ledger.of(store).rejects) == PARTS


def test_compacted_parts_are_left_alone(store):
    compact(store, NOW)
    parts = list_parts(store.join("answers"))
    assert compact(store, NOW).parts_before == 0
    assert list_parts(store.join("answers")) == parts


def test_superseded_rows_are_dropped_only_when_asked(store):
    rows = counting(store)
    assert compact(store, NOW).superseded_dropped == 0
    assert len(all_rows(store)) == 60
    assert compact(store, NOW, drop_superseded=True).superseded_dropped == 20
    assert len(all_rows(store)) == 40
    assert counting(store) == rows


def test_parts_are_grouped_up_to_a_size_and_large_ones_left_alone(store):
    sizes = store.join("answers").files()
    target = round(2.5 * max(sizes.values()))
    compact(store, NOW, target_bytes=target)
    assert 2 <= len(list_parts(store.join("answers"))) <= 3
    assert len(all_rows(store)) == 60


KILLED = """
import os, sys
from datetime import UTC, datetime
from pipeline.core.filesystem import Location, Storage
from pipeline.store import compaction
from fsspec.implementations.local import LocalFileSystem

def until_killed(call):
    def step(*arguments, **named):
        global steps
        if steps == 0:
            os._exit(9)
        steps -= 1
        return call(*arguments, **named)
    return step

compaction.read_part = until_killed(compaction.read_part)
Location.adopt = until_killed(Location.adopt)
LocalFileSystem.rm_file = until_killed(LocalFileSystem.rm_file)
os.replace = until_killed(os.replace)
for steps, store in enumerate(sys.argv[1:]):
    child = os.fork()
    if not child:
        compaction.compact(Storage().at(store), datetime.now(UTC), drop_superseded=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
"""Compacts each store in a process of its own, which exits before the first step, before the
second, and so on; prints how each process ended."""

STEPS = 2 * PARTS + 2 + 2 * PARTS + 2
"""Every read and, for each of the two folders, the draft and its appearance; every deletion."""


def test_a_kill_at_any_step_costs_nothing(store, tmp_path):
    rows = counting(store)
    stores = [Storage().at(str(tmp_path / f"step-{step}")) for step in range(STEPS + 1)]
    for left in stores:
        shutil.copytree(store.path, left.path)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *(left.path for left in stores)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert killed.stdout.split() == [b"9"] * STEPS + [b"0"]
    for left in stores:
        assert counting(left) == rows
        dataset = read_answers(left.path).to_table(columns=["record_id", "answer"]).to_pylist()
        assert sorted((row["record_id"], row["answer"]) for row in dataset) == rows
        assert len(Ledger.of(left).answered) == len(rows)
        compact(left, NOW, drop_superseded=True)
        assert len(list_parts(left.join("answers"))) == 1
        assert len(all_rows(left)) == len(rows)  # no copies stay of what was killed


def test_a_reader_in_a_loop_sees_the_same_rows_throughout(store):
    rows, over, matches = counting(store), Event(), []

    def read() -> None:
        while not over.is_set():
            matches.append(counting(store) == rows)

    reader = Thread(target=read)
    reader.start()
    for _ in range(5):
        compact(store, NOW, drop_superseded=True)
        for n in range(3):
            answers = outcomes(*[(record_id, "k", answer) for record_id, answer in rows[n::7]])
            sink(store).write(answers)
    over.set()
    reader.join()
    assert len(matches) >= 5
    assert all(matches)


def test_two_compactions_at_once_lose_nothing(store):
    rows = counting(store)
    errors: list[Exception] = []

    def compact_once() -> None:
        try:
            compact(store, NOW)
        except Exception as error:
            errors.append(error)

    threads = [Thread(target=compact_once) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counting(store) == rows
    compact(store, NOW, drop_superseded=True)
    assert len(all_rows(store)) == len(rows)


def test_two_rows_of_one_record_in_one_part_are_not_copies(tmp_path):
    location = Storage().at(str(tmp_path / "store"))
    table = outcomes(("twin", "k", "One."), ("twin", "k", "Other."))
    at = table.schema.get_field_index("source_row")
    sink(location).write(table.set_column(at, "source_row", pa.array([4, 9])))
    sink(location).write(outcomes(("b", "k", "Yes.")))
    assert compact(location, NOW).copies_dropped == 0
    assert len(all_rows(location)) == 3
