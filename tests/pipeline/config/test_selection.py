import pytest

from pipeline.answering.checks import known_checks
from pipeline.config.schema import Input
from pipeline.config.selection import EVERYTHING, select
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Storage
from pipeline.core.records import Place, Reject
from pipeline.reading.shards import list_shards
from pipeline.reading.source import BLOCK_RECORDS, read_tables
from tests.support.jobs import record, rows, write_jsonl


def test_without_options_everything_is_selected():
    assert select() == EVERYTHING
    assert EVERYTHING.covers(record(3))


def test_values_of_one_field_are_alternatives_and_all_fields_must_match():
    chosen = select(only=["paper_id=paper-0", "paper_id=paper-1", "question_id=Q2"])
    covered = [n for n in range(30) if chosen.covers(record(n))]
    assert covered == [2, 8]


def test_a_value_may_hold_an_equals_sign():
    assert select(only=["record_id=a=b"]).covers(record(record_id="a=b"))


def test_a_reject_is_selected_by_its_id_alone():
    reject = Reject("a", "not_utf8", "byte 3", Place("file:///x", 0))
    assert select(only=["record_id=a"]).covers(reject)
    assert not select(only=["paper_id=a"]).covers(reject)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["=p1"]}, "--only =p1: write <column>=<value>"),
        ({"only": ["paper_id"]}, "--only paper_id: write"),
        ({"limit": 0}, "--limit 0"),
        ({"retry": ["failed:word_cuont"]}, "no such check; did you mean 'word_count'?"),
        ({"retry": ["answered"]}, "--retry answered: not one of failed, failed:<check>, rejected"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ConfigError) as caught:
        select(**options, known_checks=known_checks())
    assert message in str(caught.value)


def test_a_retry_may_name_known_checks_and_engine_error():
    retry = ["failed:echo", "failed:engine_error", "rejected"]
    chosen = select(retry=retry, known_checks=["echo"])
    assert chosen.retry_checks == {"echo", "engine_error"}
    assert chosen.retry_rejected
    assert not chosen.retry_failed


def test_reading_stops_when_there_is_enough_and_counts_what_was_read(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.reading.source.BLOCK_SECONDS", float("inf"))
    write_jsonl(tmp_path / "a.jsonl", rows(range(5 * BLOCK_RECORDS)))
    spec = Input(uri=str(tmp_path))
    shards = list_shards(spec.uri, Storage()).shards
    enough = iter([False, False, True])
    tables = list(read_tables(shards, spec, Storage(), enough=lambda: next(enough)))
    assert sum(table["read"].drop_null()[0].as_py() for table in tables) == 2 * BLOCK_RECORDS


def test_records_outside_the_selection_do_not_count_as_read(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", rows(range(30)))
    spec = Input(uri=str(tmp_path))
    shards = list_shards(spec.uri, Storage()).shards
    (table,) = read_tables(shards, spec, Storage(), select(only=["paper_id=paper-2"]))
    assert table["read"].drop_null().to_pylist() == [6]
    assert set(table["paper_id"].drop_null().to_pylist()) == {"paper-2"}
