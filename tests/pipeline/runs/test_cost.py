"""A run ends at its budget, and counts what it spends over all of its starts."""

import json
from collections import Counter
from pathlib import Path

import pytest

from pipeline.cluster.coordinator import Coordinator
from pipeline.store.ending import what_it_cost, why_it_ended
from pipeline.store.run_file import RunFile
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


def paid(endpoint) -> float:
    return cost_of(pond for pond, _ in endpoint.times)


DEAREST = cost_of([10])
"""Of a single answer."""


def is_once(store: Path) -> bool:
    """Whether every record has one row."""
    ids = Counter(stored(store)["record_id"].to_pylist())
    return len(ids) == RECORDS and set(ids.values()) == {1}


def test_a_run_ends_at_its_budget_and_the_next_one_goes_on(endpoint, shards, tmp_path):
    endpoint.times.clear()
    first = run(task(endpoint, shards, tmp_path, 30.0))
    assert (first["status"], first["stopped_by"]) == ("stopped", "budget")
    assert first["left"] == RECORDS - first["counts"]["answered"] > 0
    spent = paid(endpoint)
    assert first["cost"]["total"] == pytest.approx(spent)
    assert 30 - DEAREST < spent <= 30 + DEAREST
    assert why_it_ended(first) == "stopped at its budget"
    assert what_it_cost(first) == f"cost {spent:.2f} of 30 EUR"
    second = run(task(endpoint, shards, tmp_path, 1e3))
    assert second["status"] == "done"
    assert counts(second)["current"] == counts(first)["answered"]
    assert is_once(tmp_path)
    assert second["cost"]["total"] == pytest.approx(cost_of(range(RECORDS)) - spent)


def test_the_starts_of_a_run_share_its_budget_and_a_higher_one_lets_it_go_on(
    endpoint, shards, tmp_path
):
    endpoint.times.clear()
    run(task(endpoint, shards, tmp_path, 20.0), run_id="night")
    spent = paid(endpoint)
    again = run(task(endpoint, shards, tmp_path, 20.0), run_id="night")
    assert (again["stopped_by"], again["cost"]["earlier_starts"]) == (
        "budget",
        pytest.approx(spent),
    )
    assert paid(endpoint) <= 20 + DEAREST
    last = run(task(endpoint, shards, tmp_path, 500.0), run_id="night")
    assert last["status"] == "done"
    assert last["cost"]["total"] == pytest.approx(cost_of(range(RECORDS)))
    assert is_once(tmp_path)


def test_a_start_that_was_killed_may_have_spent_all_that_its_file_allowed(
    endpoint, shards, tmp_path
):
    ended = run(task(endpoint, shards, tmp_path, 20.0), run_id="night")
    file = tmp_path / "runs/night/run.json"
    killed = {**ended, "status": "running", "cost": {**ended["cost"], "total": 7.0, "allowed": 9.0}}
    file.write_text(json.dumps(killed))
    endpoint.times.clear()
    again = run(task(endpoint, shards, tmp_path, 20.0), run_id="night")
    assert again["cost"]["earlier_starts"] == 9.0
    assert 11 - DEAREST < paid(endpoint) <= 11 + DEAREST


def test_the_file_says_what_may_be_spent_before_it_is_spent(
    endpoint, shards, tmp_path, monkeypatch
):
    """As it stands in the store at any moment, for the next start after a kill."""
    allowed, real = [0.0], RunFile.write

    def write(self: RunFile, content: dict) -> None:
        real(self, content)
        allowed[0] = max(allowed[0], content["cost"].get("allowed", 0.0))

    seen = []
    real_reserve = Coordinator.reserve

    def reserve(self: Coordinator, *arguments):
        granted = real_reserve(self, *arguments)
        spending = self.counts().spending
        seen.append((spending.total + spending.reserved, allowed[0]))
        return granted

    monkeypatch.setattr(RunFile, "write", write)
    monkeypatch.setattr(Coordinator, "reserve", reserve)
    run(task(endpoint, shards, tmp_path, 200.0))
    assert len(seen) > 5
    assert all(spent <= may + 1e-9 for spent, may in seen)


def test_a_run_without_a_budget_says_what_it_costs(endpoint, shards, tmp_path):
    document = run(task(endpoint, shards, tmp_path, None))
    assert document["cost"]["total"] == pytest.approx(cost_of(range(RECORDS)))
    assert document["cost"]["budget"] is None
    assert what_it_cost(document) == f"cost {cost_of(range(RECORDS)):.2f} EUR"


def test_a_budget_without_a_price_is_an_error(shards, tmp_path):
    with pytest.raises(ValueError, match=r"nothing has a price; set report\.price\.prompt and"):
        job(shards, tmp_path, engine={"kind": "openai", "model": "m"}, budget=5)


def test_a_budget_changes_no_generation_key(endpoint, shards, tmp_path):
    keys = {
        tuple(sorted(stored(tmp_path / str(budget))["generation_key"].to_pylist()))
        for budget in (None, 1e3)
        if run(task(endpoint, shards, tmp_path / str(budget), budget))
    }
    assert len(keys) == 1
