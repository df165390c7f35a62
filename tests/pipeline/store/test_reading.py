"""Reading a store: the reader rule in our code and in others, while parts come and go."""

import os
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import StorageError
from pipeline.core.filesystem import Location, Storage
from pipeline.core.records import Message
from pipeline.store import read_answers
from pipeline.store.compaction import compact
from pipeline.store.history import History, stored_messages
from pipeline.store.ledger import Ledger
from pipeline.store.parts import PartWriter, list_parts, read_batches
from pipeline.store.reader import BY_RECORD, as_digests, key_digest, read_rows
from pipeline.store.schema import ANSWERS
from tests.pipeline.store.test_store import outcomes, sink

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def store(tmp_path) -> Location:
    """Two records answered twice, one of them with another prompt, and one twice in one part."""
    location = Storage().at(str(tmp_path / "store"))
    sink(location).write(outcomes(("a", "k", "First."), ("b", "k", "Only."), ("c", "k", "Was.")))
    sink(location).write(outcomes(("a", "k", "Second."), ("c", "k2", "Now.")))
    sink(location).write(outcomes(("twin", "k", "One."), ("twin", "k", "Other.")))
    return location


EXPECTED = [
    ("a", "Second."),
    ("b", "Only."),
    ("c", "Now."),
    ("c", "Was."),
    ("twin", "Other."),
]


def answers_in(rows: list[dict]) -> list[tuple[str, str]]:
    return sorted((row["record_id"], row["answer"]) for row in rows)


def test_a_dataset_holds_the_rows_that_count_with_all_columns(store):
    dataset = read_answers(store.path)
    assert answers_in(dataset.to_table().to_pylist()) == EXPECTED
    assert dataset.schema.equals(ANSWERS)
    assert dataset.count_rows() == 5


def test_rows_of_some_keys_are_read_without_the_columns_of_other_parts(store, monkeypatch):
    opened = []

    def counted(fs, path, columns):
        opened.append(path)
        return read_batches(fs, path, columns)

    monkeypatch.setattr("pipeline.store.reader.read_batches", counted)
    only = as_digests([key_digest(b"a"), key_digest(b"none")])
    (rows,) = read_rows(store, BY_RECORD, ["answer"], only)
    assert rows.to_pylist() == [{"answer": "Second."}]
    assert len(opened) == 1


def test_columns_and_filters_reach_a_dataset(store):
    dataset = read_answers(store.path)
    table = dataset.to_table(columns=["answer"], filter=pc.field("record_id") == "a")
    assert table.to_pydict() == {"answer": ["Second."]}


def test_a_store_that_is_not_there_yet_is_an_empty_dataset(tmp_path):
    assert read_answers(str(tmp_path / "none")).to_table().equals(ANSWERS.empty_table())


def test_a_dataset_can_be_read_from_an_object_store(moto_s3):
    from tests.test_corpus import _client

    _client(moto_s3).mkdir("answers-of-others")
    uri = "s3://answers-of-others/store"
    location = Storage(moto_s3.storage()).at(uri)
    from pipeline.store.sink import Sink

    for answer in ("First.", "Second."):
        table = outcomes(("a", "k", answer))
        Sink(uri, Storage(moto_s3.storage()), PartWriter("run-1"), 1000).write(table)
    assert len(list_parts(location.join("answers"))) == 2
    rows = read_answers(uri, moto_s3.storage()).to_table().to_pylist()
    assert answers_in(rows) == [("a", "Second.")]


def test_the_rule_in_sql_and_in_pandas_finds_the_same_rows(store):
    """As the README shows them; of equally new rows they may take either."""
    parts = duckdb.read_parquet(f"{store.path}/answers/*.parquet")
    newest = "row_number() OVER (PARTITION BY record_id, generation_key ORDER BY written_at DESC)"
    counting = duckdb.sql("SELECT record_id, answer FROM parts QUALIFY " + newest + " = 1")
    rows = [row for row in counting.fetchall() if row[0] != "twin"]
    assert parts.shape[0] == 7
    assert sorted(rows) == EXPECTED[:-1]
    frame = pd.read_parquet(f"{store.path}/answers").sort_values("written_at")
    newest_rows = frame.drop_duplicates(["record_id", "generation_key"], keep="last")
    assert sorted(zip(newest_rows["record_id"], newest_rows["answer"], strict=True)) == EXPECTED


def test_a_reader_goes_on_if_parts_are_compacted_meanwhile(store):
    reading = read_rows(store)
    rows = next(reading).to_pylist()
    compact(store, NOW)
    assert len(list_parts(store.join("answers"))) == 1
    rows += [row for table in reading for row in table.to_pylist()]
    assert answers_in(rows) == EXPECTED


def test_a_ledger_is_read_again_if_a_part_is_compacted_meanwhile(store, monkeypatch):
    from pipeline.store import ledger

    read, done = ledger.read_parts, []

    def compacted_first(*arguments):
        if not done:
            done.append(compact(store, NOW))
        return read(*arguments)

    monkeypatch.setattr(ledger, "read_parts", compacted_first)
    assert len(Ledger.of(store).answered) == 5
    assert done[0].parts_before == 3


def test_a_listed_part_that_never_exists_is_an_error_that_names_it(store, monkeypatch):
    (first, *_) = list_parts(store.join("answers"))
    missing = first.replace("part-", "part-0")
    from pipeline.store import parts

    real = parts.list_parts
    monkeypatch.setattr(parts, "list_parts", lambda *arguments: [missing, *real(*arguments)])
    with pytest.raises(StorageError, match=Path(missing).name):
        Ledger.of(store)


def test_history_holds_the_last_answer_of_each_record(store):
    history = History.of(store)
    assert len(history.records) == 4
    last, unknown = history.find(["c", "z"])
    assert unknown is None
    assert last is not None
    parts = {"a": last.part, "z": last.part}
    assert stored_messages(store, parts) == {"a": [Message("user", "Q?")]}


def test_history_knows_a_prompt_key_that_ends_in_zeros(tmp_path):
    """NumPy drops zeros at the end of bytes."""
    location = Storage().at(str(tmp_path / "store"))
    table = outcomes(("a", "k", "Yes."))
    key = table.schema.get_field_index("prompt_key")
    sink(location).write(table.set_column(key, "prompt_key", [["ab" * 14 + "0000"]]))
    (last,) = History.of(location).find(["a"])
    assert last.prompt_key == bytes.fromhex("ab" * 14 + "0000")


def test_a_part_s_rows_are_whole_for_any_parquet_reader(store):
    folder = store.path + "/answers"
    assert sum(pq.read_metadata(f"{folder}/{n}").num_rows for n in os.listdir(folder)) == 7
