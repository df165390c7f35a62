from collections.abc import Iterator
from statistics import mean

import pyarrow as pa

from pipeline.core.arrow import set_column
from pipeline.results.pages.answers import wanted
from pipeline.results.pages.matrix import (
    MOST_QUESTIONS,
    OTHERS,
    Cell,
    Kind,
    Matrix,
    gathered,
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


def test_a_matrix_too_large_for_a_page_keeps_whole_papers_and_counts_all():
    found = gathered(tables(400, 4), "run", most_cells=300)
    assert found.answers == 1600
    assert found.cells == sum(map(len, found.papers.values())) <= 300
    assert all(len(cells) == 4 for cells in found.papers.values())
    assert set(found.papers) == {
        f"paper {n}" for n in range(400) if in_sample(f"paper {n}", found.share)
    }


def test_the_sample_is_the_same_in_whatever_order_papers_come():
    forwards = gathered(tables(300, 2), "run", most_cells=100)
    backwards = gathered(reversed(list(tables(300, 2))), "run", most_cells=100)
    assert set(forwards.papers) == set(backwards.papers)


def test_a_sample_is_fair():
    shares = [mean(in_sample(f"{kind} {n}", 8) for n in range(8_000)) for kind in ("a", "b")]
    assert all(abs(share - 1 / 8) < 0.015 for share in shares)


def test_questions_beyond_the_most_share_a_column():
    found = gathered(tables(1, MOST_QUESTIONS + 50), "run")
    assert len(found.questions) == MOST_QUESTIONS + 1
    assert sum(c.question == OTHERS for c in found.papers["paper 0"]) == 50


def test_a_question_without_an_id_is_known_by_its_text():
    (table,) = tables(1, 2)
    table = set_column(table, "question_id", [None, None])
    found = gathered([table], "run")
    assert found.questions == {"?": "?"}


def test_what_opens_is_whole_papers_and_failed_answers_of_others():
    kinds = {status: Kind(status, "answered", (), True) for status in ("answered", "failed")}
    papers = {
        f"paper {p}": [
            Cell(f"{p}-{n}", "Q", kinds["failed" if n == 0 else "answered"]) for n in range(100)
        ]
        for p in range(200)
    }
    chosen = set(wanted(papers))
    held = [sum(c.record_id in chosen for c in cells) for cells in papers.values()]
    assert sorted(set(held)) == [1, 100]
    assert held.count(100) == 80


def test_a_page_knows_the_price_of_its_tokens():
    price = job("shards", "store", report={"price": {"prompt": 2, "cached": 1, "completion": 10}})
    assert price.report.price.of_tokens(1_000_000, 250_000, 100_000) == 1.5 + 0.25 + 1.0
    assert job("shards", "store").report.price.of_tokens(1, 0, 1) is None


def test_an_empty_store_has_an_empty_matrix():
    assert gathered([], "run") == Matrix("run")
