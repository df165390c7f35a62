import random
from collections import Counter
from collections.abc import Iterator
from statistics import mean
from typing import Any

import pyarrow as pa
import pytest

from pipeline.core.arrow import set_column
from pipeline.results.pages.answers import sample_records
from pipeline.results.pages.overview import (
    MAX_QUESTIONS,
    OTHER_QUESTIONS,
    Overview,
    build_overview,
)
from pipeline.results.pages.paper_sample import Cell, CellKind, stable_hash
from tests.support.jobs import job
from tests.support.overview_rows import overview_rows


def tables(papers: int, questions: int) -> Iterator[pa.Table]:
    for paper in range(papers):
        of = {"paper_id": f"paper {paper}"}
        rows = (
            {**of, "record_id": f"{paper}-{q}", "question_id": f"Q{q}"} for q in range(questions)
        )
        yield overview_rows(rows)


def test_an_overview_too_large_for_a_page_samples_whole_papers_and_counts_all():
    overview = build_overview(tables(400, 4), "run", max_cells=300)
    assert overview.answers == 1600
    assert overview.sample.cells == sum(map(len, overview.papers.values())) <= 300
    assert all(len(cells) == 4 for cells in overview.papers.values())
    assert set(overview.papers) == {
        f"paper {n}" for n in range(400) if stable_hash(f"paper {n}") % overview.sample.share == 0
    }


def test_the_sample_does_not_depend_on_the_order_of_papers():
    forwards = build_overview(tables(300, 2), "run", max_cells=100)
    backwards = build_overview(reversed(list(tables(300, 2))), "run", max_cells=100)
    assert set(forwards.papers) == set(backwards.papers)


def test_a_sample_is_fair():
    shares = [
        mean(stable_hash(f"{kind} {n}") % 8 == 0 for n in range(8_000)) for kind in ("a", "b")
    ]
    assert all(abs(share - 1 / 8) < 0.015 for share in shares)


def test_questions_beyond_the_limit_share_a_column():
    overview = build_overview(tables(1, MAX_QUESTIONS + 50), "run")
    assert len(overview.questions) == MAX_QUESTIONS + 1
    assert sum(c.question == OTHER_QUESTIONS for c in overview.papers["paper 0"]) == 50


def test_a_question_without_an_id_goes_by_its_text():
    (table,) = tables(1, 2)
    table = set_column(table, "question_id", [None, None])
    overview = build_overview([table], "run")
    assert overview.questions == {"?": "?"}


def test_whole_papers_and_failed_answers_of_others_open():
    kinds = {status: CellKind(status, "answered", (), True) for status in ("answered", "failed")}
    papers = {
        f"paper {p}": [
            Cell(f"{p}-{n}", "Q", kinds["failed" if n == 0 else "answered"]) for n in range(100)
        ]
        for p in range(200)
    }
    sampled = set(sample_records(papers))
    counts = [sum(c.record_id in sampled for c in cells) for cells in papers.values()]
    assert sorted(set(counts)) == [1, 100]
    assert counts.count(100) == 80


def test_a_page_knows_the_price_of_its_tokens():
    price = job("shards", "store", report={"price": {"prompt": 2, "cached": 1, "completion": 10}})
    assert price.report.price.of_tokens(1_000_000, 250_000, 100_000) == 1.5 + 0.25 + 1.0
    assert job("shards", "store").report.price.of_tokens(1, 0, 1) is None


@pytest.mark.parametrize("character", ["a", "ñ", "𝐷"])
def test_an_excerpt_says_that_there_is_more(character):
    texts = [character * length for length in (0, 239, 240, 241, 1000)]
    rows = overview_rows({"record_id": str(n), "answer": text} for n, text in enumerate(texts))
    found = [
        cell.excerpt for cells in build_overview([rows], "run").papers.values() for cell in cells
    ]
    assert found == [*texts[:3], *[character * 239 + "…"] * 2]


def test_an_empty_store_has_an_empty_overview():
    assert build_overview([], "run") == Overview("run")


def any_row(rng: random.Random, number: int) -> dict[str, Any]:
    return {
        "record_id": f"r{number}",
        "paper_id": rng.choice(["a", "b", "", None]),
        "question_id": rng.choice(["Q1", "Q2", "", None]),
        "question": rng.choice(["Why?", "How?", "", None]),
        "status": rng.choice(["answered", "failed"]),
        "stance": rng.choice(["answered", "abstained"]),
        "failed_checks": rng.choice([[], ["format"], ["format", "empty"]]),
        "checks": rng.choice([[], [{"name": "links", "passed": rng.random() < 0.5}]]),
        "attempts": [{"seconds": 1.0}] * rng.randint(1, 3),
        "finish_reason": rng.choice(["stop", "length", None]),
        "model": rng.choice(["m", None]),
        "word_count": rng.randint(0, 2),
        "run_id": rng.choice(["run", "before"]),
    }


@pytest.mark.parametrize("seed", range(20))
def test_its_figures_are_those_of_counting_row_by_row(seed):
    rng = random.Random(seed)
    rows = [any_row(rng, number) for number in range(rng.randint(1, 60))]
    size = rng.randint(1, 20)
    batches = [overview_rows(rows[at : at + size]) for at in range(0, len(rows), size)]
    overview = build_overview(batches, "run")

    def question(row: dict[str, Any]) -> str:
        return row["question_id"] or row["question"] or ""

    def paper(row: dict[str, Any]) -> str:
        return row["paper_id"] or row["record_id"] + "\0"

    mine = [row for row in rows if row["run_id"] == "run"]
    assert overview.answers == len(rows)
    assert overview.words == Counter((row["status"], row["word_count"]) for row in rows)
    assert overview.failures == Counter((question(r), c) for r in rows for c in r["failed_checks"])
    assert overview.attempts == Counter(len(row["attempts"]) for row in mine)
    assert [usage.records for usage in overview.usage.values()] == [len(mine)] * bool(mine)
    for name, counts in overview.by_question.items():
        of = [row for row in rows if question(row) == name]
        states = Counter("failed" if r["status"] == "failed" else r["stance"] for r in of)
        assert (counts.answers, counts.failed) == (len(of), states["failed"])
        assert counts.states == states
        assert counts.at_limit == sum(row["finish_reason"] == "length" for row in of)
    by_model = {name: counts.answers for name, counts in overview.by_model.items()}
    assert by_model == Counter(row["model"] or "" for row in rows)
    for name, answers in overview.abstaining.items():
        stances = [row["stance"] for row in rows if paper(row) == name]
        assert answers == (len(stances) if set(stances) == {"abstained"} else -1)
    papers = list(dict.fromkeys(map(paper, rows)))
    assert list(overview.papers) == papers
    found = {cell.record_id: cell for cells in overview.papers.values() for cell in cells}
    for row in rows:
        cell = found.pop(row["record_id"])
        assert (cell.question, cell.words) == (question(row), row["word_count"])
        assert cell.kind == CellKind(
            row["status"],
            row["stance"],
            tuple(check["name"] for check in row["checks"] if not check["passed"]),
            row["run_id"] == "run",
            "yes",
            row["finish_reason"],
            row["model"],
        )
    assert found == {}
