"""`input.bucket`: slices of the keys, for runs that need no coordinator."""

import random
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.bucket import WHOLE, Bucket
from pipeline.core.filesystem import Storage
from pipeline.store.compaction import compact
from pipeline.store.ledger import Ledger
from pipeline.store.parts import list_parts
from pipeline.store.reader import DIGEST_BYTES, Digests
from pipeline.store.runs import active_runs, all_runs
from tests.bench.ledger import write_store
from tests.support.jobs import counts, job, rows, run, write_jsonl

KEYS, OF = 250_000, 64


def digests_of(ledger: Ledger) -> Digests:
    return np.concatenate([ledger.answered, ledger.failed])


def every(of: int) -> list[Bucket]:
    return [Bucket(number, of) for number in range(1, of + 1)]


@pytest.mark.parametrize("of", [1, 2, 3, 7, 64, 1000])
def test_every_key_is_in_one_bucket(of):
    keys = [f"paper-{n}" for n in range(500)] + ["", "ü", "\ud800", "x" * 10_000]
    for key in keys:
        assert [b.holds(key) for b in every(of)].count(True) == 1


def test_buckets_overlap_if_they_share_keys():
    some = random.Random(7)
    keys = [f"paper-{n}" for n in range(4000)]
    for _ in range(200):
        a, b = (Bucket(some.randint(1, of), of) for of in some.choices([1, 2, 3, 4, 6, 8, 12], k=2))
        shared = any(a.holds(key) and b.holds(key) for key in keys)
        assert a.overlaps(b) == b.overlaps(a) == shared


def test_a_bucket_is_the_sum_of_its_halves():
    for key in (f"paper-{n}" for n in range(2000)):
        assert Bucket(2, 4).holds(key) == (Bucket(3, 8).holds(key) or Bucket(4, 8).holds(key))


def test_a_parts_bucket_is_read_from_the_end_of_its_name_alone():
    part = "/out-b1of2-v2/answers/part-a-b2of64-7-{}0123456789ab.parquet"
    assert Bucket.of_part(part.format("b3of64-")) == Bucket(3, 64)
    assert Bucket.of_part(part.format("")) == WHOLE


def test_a_mask_marks_the_keys_that_the_bucket_holds():
    keys = pa.chunked_array([["a", "b", "a"], ["c"], []], pa.string())
    for bucket in every(3):
        assert bucket.mask(keys).to_pylist() == [bucket.holds(k) for k in keys.to_pylist()]
    assert Bucket(1, 2).mask(pa.chunked_array([[]], pa.string())).to_pylist() == []


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "a/b", "1", "1/4/2", " 1/4", "-1/4", ""])
def test_anything_but_a_number_of_a_total_is_refused(text):
    with pytest.raises(ValueError, match="3/64"):
        Bucket.parse(text)


def test_the_ledgers_of_64_buckets_are_the_whole_ledger_in_slices(tmp_path):
    """One million keys: no overlap, none missing, no slice above a fiftieth of the whole."""
    write_store(tmp_path / "store", KEYS)
    store = Storage().at(str(tmp_path / "store"))
    whole = Ledger.of(store)
    assert len(digests_of(whole)) == KEYS
    slices, largest = [], 0
    for bucket in every(OF):
        slice_ = digests_of(Ledger.of(store, bucket=bucket))
        slices.append(slice_)
        largest = max(largest, slice_.nbytes)
    together = np.sort(np.concatenate(slices))
    assert np.array_equal(together, np.sort(digests_of(whole)))
    assert len(np.unique(together)) == KEYS
    all_bytes = KEYS * DIGEST_BYTES
    assert largest <= all_bytes / 50
    print(f"the largest slice is 1/{all_bytes / largest:.1f} of {all_bytes:,} bytes")


@pytest.fixture
def shards(tmp_path):
    """Ten papers of six questions in two shards, and two lines that are not records."""
    write_jsonl(tmp_path / "shards/a.jsonl", [*rows(range(30)), {"record_id": "empty"}])
    write_jsonl(tmp_path / "shards/b.jsonl", rows(range(30, 60)))
    (tmp_path / "shards/c.jsonl").write_bytes(b"no JSON\n")
    return tmp_path / "shards"


def sliced(shards, store, bucket: object):
    return job(shards, store, input={"uri": str(shards), "bucket": str(bucket)})


def test_runs_over_all_buckets_do_what_one_run_over_the_whole_does(shards, tmp_path):
    store = tmp_path / "store"
    each = [counts(run(sliced(shards, store, bucket))) for bucket in every(3)]
    total = Counter[str]()
    for done in each:
        assert 0 < done["read"] < 62
        total.update(done)
    assert total == {"read": 62, "answered": 60, "rejected": 2}
    papers = {}
    for part in list_parts(Storage().at(str(store)).join("answers")):
        table = pq.read_table(part)
        for paper in table["paper_id"].to_pylist():
            papers.setdefault(paper, set()).add(str(Bucket.of_part(part)))
    assert len(papers) == 10
    assert all(len(buckets) == 1 for buckets in papers.values())
    whole = run(sliced(shards, store, "1/1"))
    assert counts(whole) == {"read": 62, "current": 60, "rejected": 2}
    again = run(sliced(shards, store, "2/3"))
    assert counts(again)["read"] == each[1]["read"]
    assert "answered" not in counts(again)
    rejects = list_parts(Storage().at(str(store)).join("rejects"))
    assert sum(pq.read_table(part).num_rows for part in rejects) == 2  # none is written twice


def test_a_ledger_opens_no_part_of_another_bucket(shards, tmp_path):
    store = Storage().at(str(tmp_path / "store"))
    for bucket in every(3):
        run(sliced(shards, store.path, bucket))
    answers = store.join("answers")
    named = {str(b): list_parts(answers, b) for b in every(3)}
    assert sum(map(len, named.values())) == len(list_parts(answers))
    before = {str(b): Ledger.of(store, bucket=b).answered.tolist() for b in every(3)}
    compact(store, datetime.now(UTC))
    assert [len(list_parts(answers, b)) for b in every(3)] == [1, 1, 1]
    assert {str(b): Ledger.of(store, bucket=b).answered.tolist() for b in every(3)} == before
    assert len(Ledger.of(store, bucket=WHOLE).answered) == 60


def test_only_a_run_with_keys_in_common_counts_as_running(shards, tmp_path):
    store = Storage().at(str(tmp_path / "store"))
    run(sliced(shards, store.path, "2/3"), run_id="b2")
    path = tmp_path / "store/runs/b2/run.json"
    path.write_text(path.read_text().replace('"status": "done"', '"status": "running"'))
    (document,) = all_runs(store)
    assert document["job"]["input"]["bucket"] == "2/3"
    assert active_runs(store) == active_runs(store, Bucket(4, 6)) == ["b2"]
    assert active_runs(store, Bucket(1, 3)) == []
