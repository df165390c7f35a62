from datetime import date, datetime
from decimal import Decimal

import pytest

from pipeline.answering.checks import known_checks
from pipeline.config.schema import Fields, Input
from pipeline.config.selection import EVERYTHING, select
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Storage
from pipeline.core.records import Place, Reject
from pipeline.reading.shards import list_shards
from pipeline.reading.source import BLOCK_RECORDS, read_blocks
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


EXTRA = {
    "doi": "10.5555/x",
    "zip": "007",
    "year": 2024,
    "score": 2.0,
    "share": 0.1,
    "big": 10**25,
    "price": Decimal("1.50"),
    "open": True,
    "note": None,
    "blank": "",
    "seen": date(2024, 5, 1),
    "at": datetime.fromisoformat("2024-05-01T12:30:00"),
    "raw": b"amber",
    "meta": {"year": 1911, "a.b": "own"},
    "meta.place": "bay",
    "tags": ["fog"],
}


@pytest.mark.parametrize(
    "pair",
    [
        "doi=10.5555/x", "zip=007", "year=2024", "year=2024.0", "score=2.0", "score=2", "share=0.1",
        "share=0.10", f"big={10**25}", "price=1.5", "open=true", "open=True", "note=", "blank=",
        "seen=2024-05-01", "at=2024-05-01T12:30:00", "at=2024-05-01 12:30:00", "raw=amber",
        "meta.year=1911", "meta.a.b=own", "meta.place=bay", "question=Which lamp?", "id=mine",
    ],
)  # fmt: skip
def test_any_column_selects_by_its_value_as_it_is_typed(pair):
    item = record(record_id="mine", question="Which lamp?", extra=EXTRA)

    assert select(only=[pair]).covers(item)
    assert not select(only=[pair + "x"]).covers(item)
    assert not select(only=[pair]).covers(record(question="?", extra={}))


@pytest.mark.parametrize(
    "pair", ["zip=7", "year=02x", "open=1", "tags=fog", "meta=", "nothing=", "note=None", "score="]
)
def test_a_value_that_is_written_in_another_way_selects_nothing(pair):
    assert not select(only=[pair]).covers(record(extra=EXTRA))


def test_our_names_select_by_our_fields_and_mapped_ones_by_theirs():
    item = record(paper_id="p", record_id="r", extra={"paper_id": "x", "id": 3, "doi": "p"})

    assert select(only=["paper_id=p"]).covers(item)
    assert not select(only=["paper_id=x"]).covers(item)
    assert select(only=["id=3"]).covers(item)
    assert not select(only=["id=r"]).covers(item)
    mapped = select(only=["query=Which?"]).under(Fields(question="query"))
    assert mapped.covers(record(question="Which?"))
    assert not mapped.covers(record(question="When?"))


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
    blocks = list(read_blocks(shards, spec, Storage(), enough=lambda: next(enough)))
    assert sum(block.read for block in blocks) == 2 * BLOCK_RECORDS


def test_records_outside_the_selection_do_not_count_as_read(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", rows(range(30)))
    spec = Input(uri=str(tmp_path))
    shards = list_shards(spec.uri, Storage()).shards
    (block,) = read_blocks(shards, spec, Storage(), select(only=["paper_id=paper-2"]))
    assert block.read == 6
    assert {record.paper_id for record in block.records} == {"paper-2"}
