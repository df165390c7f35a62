"""What a page asks people to look at."""

import pytest

from pipeline.results.pages.alerts import alerts
from pipeline.results.pages.overview import Overview, build_overview
from tests.support.overview_rows import overview_rows

QUIET = {"rejects": {}}


def store_of(*answers: tuple[str, str, dict[str, str]]) -> Overview:
    """Paper, question and what else is known of each answer."""
    rows = (
        {"record_id": str(n), "paper_id": paper, "question_id": question, **of}
        for n, (paper, question, of) in enumerate(answers)
    )
    return build_overview([overview_rows(rows)], "run")


def texts(overview: Overview, run=QUIET, earlier=()) -> list[str]:
    return [alert.text for alert in alerts(run, earlier, overview)]


def answers(question: str, failed: int, of: int) -> list[tuple[str, str, dict[str, str]]]:
    return [(f"p{n}", question, {"status": "failed"} if n < failed else {}) for n in range(of)]


def test_nothing_stands_out_where_all_is_well():
    assert texts(store_of(*answers("Q1", 0, 50), *answers("Q2", 0, 50))) == []


def test_a_question_that_fails_far_more_often_than_others_leads_to_its_failures():
    overview = store_of(*answers("Q1", 2, 100), *answers("Q2", 40, 100), *answers("Q3", 3, 100))
    (alert,) = alerts(QUIET, (), overview)
    assert alert.text == "Q2: 40 of 100 answers failed (40%), 2.5% of those to other questions"
    assert alert.filter == {"question": "Q2", "state": "failed"}


@pytest.mark.parametrize(("failed", "of"), [(1, 2), (2, 4), (4, 100), (6, 100)])
def test_a_few_failures_may_be_chance(failed, of):
    assert texts(store_of(*answers("Q1", failed, of), *answers("Q2", 3, 100))) == []


def test_papers_that_only_abstain_are_named():
    abstains = {"stance": "abstained"}
    overview = store_of(
        *(("silent", f"Q{n}", abstains) for n in range(3)),
        *(("two", f"Q{n}", abstains) for n in range(2)),
        *(("mixed", f"Q{n}", abstains) for n in range(3)),
        ("mixed", "Q9", {}),
    )
    (alert,) = alerts(QUIET, (), overview)
    assert alert.text == "1 paper abstains in every answer: silent"
    assert alert.filter == {"abstaining": True}


def test_a_model_that_stops_at_its_limit_is_named():
    cut = {"finish_reason": "length", "model": "long"}
    overview = store_of(*(("p", "Q", cut) for _ in range(3)), *answers("Q", 0, 10))
    (alert,) = alerts(QUIET, (), overview)
    assert alert.text == "long: 3 answers (100%) ended at sampling.max_tokens"
    assert alert.filter == {"finish": "length", "model": "long"}


def test_a_reason_for_rejects_that_no_run_before_had_leads_to_the_rejects():
    run = {"rejects": {"truncated": 4, "not_utf8": 2}}
    before = [{"rejects": {"truncated": 1}}]
    (alert,) = alerts(run, before, Overview("run"))
    assert alert.text == "2 records rejected as not utf8, as none before"
    assert alert.anchor == "rejects-title"
    assert texts(Overview("run"), run) == []  # in a first run every reason is new


@pytest.mark.parametrize(("realised", "told"), [(0.3, True), (0.58, False), (None, False)])
def test_a_cache_that_held_far_less_than_planned_is_told(realised, told):
    run = {"prefix_cache": {"realised_share": realised, "predicted_share": 0.6}}
    assert texts(Overview("run"), run) == (
        ["30% of the prompt tokens came from the prefix cache, 60% were expected"] if told else []
    )
