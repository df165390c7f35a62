"""How long answers were, by record and question: what the next ones are expected to take."""

import pickle
from datetime import UTC, datetime, timedelta
from itertools import count

import pyarrow as pa
import pytest

from pipeline.config.bucket import Bucket
from pipeline.core.filesystem import Location, Storage
from pipeline.store import lengths
from pipeline.store.lengths import OWN_SHARE, PRIOR_ANSWERS, Lengths, question_key
from pipeline.store.parts import write_part
from pipeline.store.schema import ANSWERS

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
PART = count()


@pytest.fixture
def store(tmp_path) -> Location:
    (tmp_path / "answers").mkdir()
    return Storage().at(str(tmp_path))


def write(store: Location, *rows: dict[str, object], minutes: int = 0) -> None:
    """One part; its name sorts behind those that were written before."""
    cells = {"model": "m", "written_at": NOON + timedelta(minutes=minutes)}
    table = pa.Table.from_pylist([{**cells, **row} for row in rows], ANSWERS)
    write_part(table, store.join("answers", f"part-{next(PART):04}.parquet").path)


def answer(record: str, tokens: int, question: str | None = None, **cells: object) -> dict:
    return {
        "record_id": record,
        "completion_tokens": tokens,
        "question_id": question,
        "question": "Why?",
        **cells,
    }


def found(store: Location, model: str = "m") -> Lengths:
    of_model = Lengths.of(store, model)
    assert of_model
    return of_model


def test_a_store_without_answers_of_the_model_tells_nothing(store, tmp_path):
    assert Lengths.of(Storage().at(str(tmp_path / "none")), "m") is None
    write(store, answer("a", 0), answer("b", 70, model="other"))
    assert Lengths.of(store, "m") is None
    assert found(store, "other").mean == 70


def test_a_question_is_shrunk_to_the_mean_of_all(store):
    write(store, *(answer(f"a{n}", 100, "short") for n in range(30)))
    write(store, *(answer(f"b{n}", 900, "long") for n in range(10)))
    mean = (30 * 100 + 10 * 900) / 40
    long = (10 * 900 + PRIOR_ANSWERS * mean) / (10 + PRIOR_ANSWERS)
    short = (30 * 100 + PRIOR_ANSWERS * mean) / (30 + PRIOR_ANSWERS)
    assert found(store).expected(["new"] * 3, ["long", "short", "unheard"]) == [
        round(long),
        round(short),
        round(mean),
    ]


def test_a_records_own_newest_answer_counts_beside_its_question(store):
    write(store, answer("a", 4000, "q"), answer("b", 200, "q"), minutes=5)
    write(store, answer("a", 50, "q"), minutes=1)
    (again, new) = found(store).expected(["a", "new"], ["q", "q"])
    assert again == pytest.approx(OWN_SHARE * 4000 + (1 - OWN_SHARE) * new, abs=1)


def test_a_question_without_an_id_is_known_by_its_words(store):
    write(store, *(answer(f"a{n}", 2000, question="Why not?") for n in range(9)))
    write(store, *(answer(f"b{n}", 10, "") for n in range(9)))
    keys = [question_key(None, "Why not?"), question_key("", "Why?")]
    long, short = found(store).expected(["new", "new"], keys)
    assert long > 1000 > short


def test_only_the_newest_parts_are_read(store, monkeypatch):
    monkeypatch.setattr(lengths, "MOST_ROWS", 5)
    for tokens in (10, 20, 30):
        write(store, *(answer(f"{tokens}-{n}", tokens) for n in range(3)))
    assert found(store).mean == pytest.approx((3 * 30 + 2 * 20) / 5)


def test_a_bucket_sees_its_own_answers(store):
    papers = [f"paper-{n}" for n in range(40)]
    write(store, *(answer(p, n + 1, paper_id=p) for n, p in enumerate(papers)))
    one, other = (Lengths.of(store, "m", Bucket.parse(f"{n}/2")) for n in (1, 2))
    assert one
    assert other
    assert len(one.records.texts) + len(other.records.texts) == 40
    assert not set(one.records.texts) & set(other.records.texts)


def test_a_store_of_an_earlier_release_may_lack_columns(store):
    table = pa.Table.from_pylist([answer("a", 70, model="m", written_at=NOON)], ANSWERS)
    path = store.join("answers", "part-old.parquet").path
    write_part(table.drop_columns(["question_id"]), path)
    assert found(store).expected(["a"], ["Why?"]) == [70]


def test_a_hundred_thousand_answers_travel_in_little_memory():
    from tests.support.lengths import lengths_of

    many = [str(n) for n in range(100_000)]
    assert len(pickle.dumps(lengths_of(many, many, [700] * len(many)))) < 3 * 2**20
