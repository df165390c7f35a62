"""A run ends at its budget, and counts what it spends over all of its starts."""

from collections import Counter
from pathlib import Path

import pytest

from tests.support.jobs import counts, job, rows, run, stored, write_jsonl
from tests.support.scripted import thinking

RECORDS, BATCH = 60, 10
PRICES = {"currency": "EUR", "prompt": 1e4, "cached": 1e3, "completion": 1e5}
"""Of a million tokens, so that an answer of the endpoint costs 0.64 for its prompt, and 0.1 for
each token of its completion."""


def tokens(pond: int) -> int:
    return 5 + pond % 11


def cost_of(ponds) -> float:
    return sum(0.64 + tokens(pond) / 10 for pond in ponds)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("in")
    write_jsonl(folder / "a.jsonl", rows(range(RECORDS)))
    return folder


@pytest.fixture(scope="module")
def endpoint():
    with thinking(tokens) as answered:
        yield answered


def task(endpoint, shards, store, budget, **sections):
    return job(
        shards,
        store,
        BATCH,
        engine={"kind": "openai", "model": "m", "options": {"base_url": f"{endpoint.url}/v1"}},
        report={"price": PRICES},
        budget=budget,
        answer={"max_words": 30},
        failure_budget=1.0,
        **sections,
    )


def test_a_run_ends_at_its_budget_and_the_next_one_goes_on(endpoint, shards, tmp_path):
    endpoint.times.clear()
    first = run(task(endpoint, shards, tmp_path, 30.0))
    assert (first["status"], first["stopped_by"]) == ("stopped", "budget")
    paid = cost_of(pond for pond, _ in endpoint.times)
    assert first["cost"]["total"] == pytest.approx(paid)
    assert 30 - 2.2 < paid <= 30 + 2.2  # one record, at most
    assert first["cost"]["currency"] == "EUR"
    second = run(task(endpoint, shards, tmp_path, 1e3))
    assert second["status"] == "done"
    assert counts(second)["current"] == counts(first)["answered"]
    ids = Counter(stored(tmp_path)["record_id"].to_pylist())
    assert len(ids) == RECORDS
    assert set(ids.values()) == {1}
    assert second["cost"]["total"] == pytest.approx(cost_of(range(RECORDS)) - paid)
