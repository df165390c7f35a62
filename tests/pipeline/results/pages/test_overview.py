from collections.abc import Iterator
from statistics import mean

import pyarrow as pa

from pipeline.core.arrow import set_column
from pipeline.results.pages.answers import sample_records
from pipeline.results.pages.overview import (
    MAX_QUESTIONS,
    OTHER_QUESTIONS,
    Cell,
    CellKind,
    Overview,
    build_overview,
    in_sample,
)
from tests.support.jobs import job

ROW = {
    "question": "?",
    "status": "answered",
    "stance": "answered",
    "checks": [{"name": "format", "passed": False}],
    "failed_checks": [],
    "attempts": [{"seconds": 1.0}],
    "word_count": 3,
    "answer": "Ten herons.",
    "answers_question": "yes",
    "p_answered": 0.9,
    "finish_reason": "stop",
    "model": "m",
    "extra": None,
    "prompt_tokens": 5,
    "cached_tokens": 0,
    "completion_tokens": 2,
    "run_id": "run",
}


def tables(papers: int, questions: int) -> Iterator[pa.Table]:
    for paper in range(papers):
        rows = [
            {
                **ROW,
                "record_id": f"{paper}-{q}",
                "paper_id": f"paper {paper}",
                "question_id": f"Q{q}",
            }
            for q in range(questions)
        ]
        table = pa.Table.from_pylist(rows)
        yield table.append_column(
            "written_at", pa.array([0] * len(rows), pa.timestamp("us", "UTC"))
        )


def test_an_overview_too_large_for_a_page_samples_whole_papers_and_counts_all():
    overview = build_overview(tables(400, 4), "run", max_cells=300)
    assert overview.answers == 1600
    assert overview.cells == sum(map(len, overview.papers.values())) <= 300
    assert all(len(cells) == 4 for cells in overview.papers.values())
    assert set(overview.papers) == {
        f"paper {n}" for n in range(400) if in_sample(f"paper {n}", overview.share)
    }


def test_the_sample_does_not_depend_on_the_order_of_papers():
    forwards = build_overview(tables(300, 2), "run", max_cells=100)
    backwards = build_overview(reversed(list(tables(300, 2))), "run", max_cells=100)
    assert set(forwards.papers) == set(backwards.papers)


def test_a_sample_is_fair():
    shares = [mean(in_sample(f"{kind} {n}", 8) for n in range(8_000)) for kind in ("a", "b")]
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


def test_an_empty_store_has_an_empty_overview():
    assert build_overview([], "run") == Overview("run")
