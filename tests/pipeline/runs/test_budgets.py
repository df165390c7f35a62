"""A run that lost more records than its job allows says so, with its numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.accounting import Totals
from pipeline.runs.budgets import overruns
from pipeline.runs.notify import _summary_line
from pipeline.runs.recorder import EXIT_CODES
from tests.support.jobs import counts, job, plan, rows, run, write_jsonl

WRONG = {"doi": "10.1/x", "title": "Kelp", "query": "Who?", "contexts": ["The keeper."]}


def totals(**standings: int) -> Totals:
    made = Totals()
    made.standings.update(standings)
    made.sums["read"] = sum(standings.values())
    return made


def overruns_of(made: Totals, limit: int | None = None, **budgets: float) -> list[str]:
    return list(overruns(job("in", "store", **budgets), made, limit))


def test_an_exceeded_budget_names_its_numbers():
    made = totals(answered=1269, failed=41, rejected=3)
    assert overruns_of(made, failure_budget=0.02) == [
        "41 of 1,310 records failed, 3.1%; failure_budget is 0.02"
    ]
    made = totals(answered=1, rejected=2, rejected_before=1)
    made.details.update({"no field": 2, "other": 1})
    assert overruns_of(made) == [
        "3 of 4 records were rejected, 75.0%; reject_budget is 0.5: no field"
    ]


counts_of = st.integers(0, 50)


@given(counts_of, counts_of, counts_of, counts_of, st.floats(0, 1), st.floats(0, 1))
def test_a_budget_is_exceeded_by_a_larger_share_alone(
    answered, failed, current, rejected, failure_budget, reject_budget
):
    made = totals(answered=answered, failed=failed, current=current, rejected=rejected)
    said = overruns_of(made, failure_budget=failure_budget, reject_budget=reject_budget)
    expected = [
        failed > failure_budget * (answered + failed) and "failure_budget",
        rejected > reject_budget * (answered + failed + current + rejected) and "reject_budget",
    ]
    assert [line.split("; ")[1].split(" ")[0] for line in said] == list(filter(None, expected))


def test_a_limit_that_was_reached_says_nothing_of_the_rest():
    made = totals(answered=5, rejected=7)
    assert overruns_of(made, limit=5) == []
    assert len(overruns_of(made, limit=6)) == 1


@pytest.fixture
def wrong_names(tmp_path):
    """A job whose 20 records have other names for their fields, all but five."""
    write_jsonl(tmp_path / "in/a.jsonl", [*[WRONG] * 15, *rows(range(5))])
    return job(tmp_path / "in", tmp_path / "store")


def test_an_input_of_rejects_is_no_success_and_says_what_the_records_have(wrong_names):
    line = (
        '15 of 20 records were rejected, 75.0%; reject_budget is 0.5: no "question"; the record '
        "has doi, title, query, contexts; if one of these is it, name it: input.fields.question"
    )
    assert list(overruns(wrong_names, plan(wrong_names).totals, None)) == [line]
    for _ in range(2):  # a reject that is stored already is one still
        document = run(wrong_names)
        assert (document["status"], document["error"]) == ("over_budget", line)
        assert EXIT_CODES[document["status"]] == 1
        assert line in _summary_line(document)
    assert document["reject_details"] == {line.split(": ", 1)[1]: 15}
    assert counts(document) == {"read": 20, "current": 5, "rejected": 15}


def test_a_job_that_expects_rejects_allows_them(wrong_names):
    allowed = wrong_names.model_copy(update={"reject_budget": 0.8})
    assert (run(allowed)["status"], run(allowed)["error"]) == ("done", None)
