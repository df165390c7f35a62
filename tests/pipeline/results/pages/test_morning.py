"""What a person asks in the morning, answered by the page in at most three actions."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.filesystem import Storage
from pipeline.results.pages.run_page import write_report
from tests.support.browser import Visit, visit
from tests.support.export_rows import checks
from tests.support.jobs import job
from tests.support.reading import a_run, claim, readable

QUESTIONS = {
    "Q1": "Which model was trained?",
    "Q2": "Where were the data gathered?",
    "Q3": "Which metrics were used?",
    "Q4": "How many people labelled the data?",
}
MOST_ACTIONS = 3


def answer(paper: int, question: str, **columns: Any) -> dict[str, Any]:
    said = f"Paper {paper} says of {question} that nine herons nested at pond {paper}."
    passages = f"{said} It rained on most days.\n\n{QUESTIONS[question]}"
    defaults = {
        "paper_id": f"p{paper}",
        "question_id": question,
        "question": QUESTIONS[question],
        "answer": said,
        "messages": [{"role": "user", "content": passages}],
        "answers_question": "yes",
        "p_answered": 0.9,
        "finish_reason": "stop",
    }
    return readable(f"p{paper}_{question}", **{**defaults, **columns})


def changes(paper: int, question: str) -> dict[str, Any]:
    """What is special about an answer: question 3 often fails, paper 7 abstains in all."""
    if paper == 7:
        return {"stance": "abstained", "answer": "The passages do not say.", "p_answered": 0.1}
    if question == "Q3" and paper % 2:
        said = {"completion": "Four herons", "prompt_tokens": 9, "cached_tokens": 0}
        tried = {**said, "completion_tokens": 3, "finish_reason": "stop", "seconds": 0.1}
        attempts = [
            {**tried, "failed_checks": ["complete"]},
            {**tried, "failed_checks": ["complete"], "asked": "Your answer breaks off. Finish it."},
        ]
        return {
            "status": "failed",
            "failed_checks": ["complete"],
            "checks": checks("complete"),
            "attempts": attempts,
        }
    if (paper, question) == (4, "Q2"):
        return {"claims": [claim("unsupported", "Paper")]}
    if (paper, question) == (6, "Q4"):
        return {"answers_question": "unsure", "p_answered": 0.5}
    if question == "Q1" and paper < 3:
        return {"finish_reason": "length"}
    return {}


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A run of twelve papers on the day after one of eight of them."""
    folder = tmp_path_factory.mktemp("morning") / "store"
    rows = [answer(p, q, **changes(p, q)) for p in range(1, 13) for q in QUESTIONS]
    a_run(folder, rows[: 8 * len(QUESTIONS)])
    a_run(folder, rows[8 * len(QUESTIONS) :])
    return Path(write_report(Storage().at(str(folder)), job("shards", folder)).path)


class Reader:
    """Does what a person does, and counts it."""

    def __init__(self, seen: Visit) -> None:
        self.seen, self.page, self.actions = seen, seen.page, 0

    def choose(self, name: str, value: str) -> None:
        self.page.select_option(f"[name={name}]", value)
        self.actions += 1

    def write(self, name: str, text: str) -> None:
        self.page.fill(f"[name={name}]", text)
        self.actions += 1

    def click(self, selector: str, text: str | None = None) -> None:
        self.page.locator(selector, has_text=text).first.click()
        self.actions += 1

    def rows(self, count: int) -> list[str]:
        """The table, once it has this many rows."""
        self.seen.until(lambda: self.seen.matched().startswith(f"{count} answer"))
        return self.page.locator("#table .line:not(.head)").all_inner_texts()

    def dialog(self) -> str:
        self.page.locator("dialog[open]").wait_for()
        return self.page.locator("#detail-body").inner_text()


@pytest.fixture
def reader(page, chromium) -> Iterator[Reader]:
    with visit(chromium, page, viewport={"width": 1300, "height": 800}) as seen:
        someone = Reader(seen)
        yield someone
        assert someone.actions <= MOST_ACTIONS
        assert seen.errors == []


def test_how_did_the_night_go(reader):
    heading = reader.page.locator("h1").inner_text()
    assert "answered" in heading
    assert heading.endswith("3 things to look at")
    assert reader.page.locator("#table .value").first.is_visible()


def test_which_papers_failed_and_why(reader):
    reader.choose("state", "failed")
    rows = reader.rows(5)
    assert {row.split()[0] for row in rows} == {"p1", "p3", "p5", "p9", "p11"}
    assert all("complete" in row for row in rows)


def test_what_does_a_paper_say_to_a_question_and_where_does_it_stand(reader):
    reader.write("text", "p12")
    reader.choose("question", "Q2")
    reader.rows(1)
    reader.click("#table .value")
    assert "Paper 12 says of Q2" in reader.dialog()
    source = reader.page.locator("dialog .asked-side mark.supports").inner_text()
    assert source == "Paper 12 says of Q2 that nine herons nested at pond 12."


def test_what_has_this_run_answered(reader):
    reader.click("details.more summary")
    reader.page.check("[name=this_run]")
    reader.actions += 1
    assert {row.split()[0] for row in reader.rows(16)} <= {f"p{n}" for n in range(9, 13)}


def test_which_answers_are_not_in_their_passages(reader):
    reader.click("details.more summary")
    reader.choose("reason", "unsupported")
    (row,) = reader.rows(1)
    assert row.startswith("p4")
    reader.click("#table .value")
    reader.dialog()
    assert reader.page.locator("dialog .said-side mark.unsupported").inner_text() == "Paper"


def test_which_question_fails_far_more_often_than_the_others(reader):
    reader.click(".alerts button", "Q3: 5 of 12")
    assert all(QUESTIONS["Q3"].split()[0] in row for row in reader.rows(5))


def test_which_papers_say_nothing_at_all(reader):
    reader.click(".alerts button", "abstain")
    assert {row.split()[0] for row in reader.rows(4)} == {"p7"}


def test_how_many_answers_to_a_question_abstained_and_which(reader):
    row = reader.page.locator("tr", has_text=QUESTIONS["Q2"])
    assert [cell.split()[0] for cell in row.locator("td").all_inner_texts()] == [
        "12",
        "0",
        "1",
        "0",
    ]
    row.locator("button").click()
    reader.actions += 1
    assert len(reader.rows(1)) == 1


def test_what_was_an_answer_asked_after_it_had_failed(reader):
    reader.choose("state", "failed")
    reader.rows(5)
    reader.click("#table .value")
    assert "Your answer breaks off. Finish it." in reader.dialog()


def test_what_should_i_read_first_and_how_far_am_i(reader):
    reader.page.check("[name=view][value=first]")
    reader.actions += 1
    reasons = reader.page.locator("#first .reason").all_inner_texts()
    assert reasons[:7] == ["failed"] * 5 + ["unsure", "unsupported"]
    reader.click("#first button")
    reader.page.keyboard.press("y")
    assert reader.page.locator("#progress").text_content() == "1 of 48 read"


def test_how_are_the_papers_compared_with_each_other(reader):
    reader.click("details.more summary")
    reader.choose("group", "paper")
    groups = reader.page.locator("#table .group")
    reader.seen.until(lambda: groups.count() == 12)
    assert groups.nth(6).inner_text() == "▸ p7\n4 answers, 4 abstained (100%)"
    assert groups.nth(0).inner_text() == "▸ p1\n4 answers, 1 failed (25%)"


def test_give_me_the_failed_ones_as_a_file(reader):
    reader.choose("state", "failed")
    reader.rows(5)
    with reader.page.expect_download() as waiting:
        reader.click("#save")
    rows = list(csv.DictReader(waiting.value.path().read_text("utf-8-sig").splitlines()))
    assert {row["record_id"] for row in rows} == {f"p{n}_Q3" for n in (1, 3, 5, 9, 11)}
    assert {row["is_whole"] for row in rows} == {"yes"}


def test_what_do_the_papers_say_to_two_questions_side_by_side(reader):
    reader.click("details.more summary")
    reader.choose("shape", "papers")
    lines = reader.page.locator("#table .line:not(.head)")
    reader.seen.until(lambda: lines.count() == 12)
    assert reader.page.locator("#table .heading").count() == 1 + len(QUESTIONS)
    cell = reader.page.locator('#table [data-at="7 2"]')
    assert "Paper 8 says of Q2" in cell.inner_text()
    cell.click()
    reader.actions += 1
    assert "Paper 8 says of Q2" in reader.dialog()
    reader.page.keyboard.press("ArrowRight")
    title = reader.page.locator("#detail-title")
    reader.seen.until(lambda: title.inner_text() == "p9 Q2")
