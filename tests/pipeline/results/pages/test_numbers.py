"""Every number on the page equals a query of the store."""

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from pipeline.answering.checks import known_checks
from pipeline.config.loading import load_job
from pipeline.core.filesystem import Storage
from pipeline.core.text import plural
from pipeline.results.pages.run_page import write_report
from tests.support.browser import Visit, visit
from tests.support.jobs import ROOT, job, run
from tests.support.stores import store_run

PRICE = {"prompt": 0.25, "cached": 0.05, "completion": 1.5, "currency": "EUR"}
NEWEST = (
    "(SELECT * FROM '{store}/answers/*.parquet' QUALIFY row_number() "
    "OVER (PARTITION BY record_id ORDER BY written_at DESC) = 1)"
)


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Path:
    """A run with tokens, after a smaller one."""
    store = tmp_path_factory.mktemp("generated") / "store"
    config = job("shards", store)
    store_run(config, 300, days_ago=1)
    store_run(config, 2_000)
    return store


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    store = tmp_path_factory.mktemp("numbers") / "store"
    run(load_job(ROOT / "conf/demo/job.yaml", [f"output.uri={store}"]))
    return store


@pytest.fixture(scope="module", autouse=True)
def _job_before_browser(demo) -> None:
    """Runs the job before the browser starts, whose event loop would stop it."""


@pytest.fixture(params=["generated", "demo"])
def report(request, chromium) -> Iterator[tuple[Path, Visit]]:
    store = request.getfixturevalue(request.param)
    priced = job("shards", store, report={"price": PRICE})
    page = Path(write_report(Storage().at(str(store)), priced).path)
    with visit(chromium, page) as seen:
        yield store, seen


def query(store: Path, sql: str) -> list[tuple]:
    (run_id,) = {r["run_id"] for r in runs(store)[-1:]}
    return duckdb.sql(
        sql.replace("NEWEST", NEWEST)
        .replace("{store}", str(store))
        .replace("MINE", f"'{store}/answers/part-{run_id}-*.parquet'")
    ).fetchall()


def runs(store: Path) -> list[dict]:
    return [json.loads(p.read_text()) for p in sorted(store.glob("runs/*/run.json"))]


def test_every_figure_equals_a_query(report):
    store, seen = report
    last = runs(store)[-1]
    shown = seen.figures()
    expected = {
        "answers": query(store, "SELECT count(*) FROM NEWEST")[0][0],
        **query_dict(
            store,
            "SELECT 'reading.' || status, count(*) FROM NEWEST WHERE status = 'failed' GROUP BY 1",
        ),
        **query_dict(
            store,
            "SELECT 'reading.unsupported', count(*) FROM NEWEST "
            "WHERE list_contains([c.kind FOR c IN claims], 'unsupported') HAVING count(*) > 0",
        ),
        **query_dict(
            store,
            "SELECT 'reading.unsure', count(*) FROM NEWEST "
            "WHERE answers_question = 'unsure' HAVING count(*) > 0",
        ),
        **dict(query(store, "SELECT 'counts.' || status, count(*) FROM MINE GROUP BY 1")),
        **dict(
            query(
                store,
                "SELECT 'stances.' || stance, count(*) FROM MINE "
                "WHERE status = 'answered' GROUP BY 1",
            )
        ),
        **dict(
            query(
                store,
                "SELECT 'failed_checks.' || c, count(*) "
                "FROM (SELECT unnest(failed_checks) AS c FROM MINE) GROUP BY 1",
            )
        ),
        **dict(
            query(
                store,
                "SELECT 'passed.' || c.name, avg(c.passed::INT) "
                "FROM (SELECT unnest(checks) AS c FROM MINE) GROUP BY 1",
            )
        ),
        "counts.read": last["counts"]["read"],
        "counts.current": last["counts"]["current"],
        **{f"counts.{n}": c for n, c in last["counts"].items() if n == "current_failed" and c},
        "counts.rejected": last["counts"]["rejected"],
        "timings.total": last["timings"]["total"],
    }
    if list(store.glob("rejects/*.parquet")):
        every = f"FROM '{store}/rejects/*.parquet'"
        ((count,),) = query(store, f"SELECT count(*) {every}")
        expected["rejects"] = expected["counts.rejected"] = count
        expected |= query_dict(store, f"SELECT 'rejects.' || reason, count(*) {every} GROUP BY 1")
    tokens = query(
        store, "SELECT sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens) FROM MINE"
    )
    prompt, cached, completion = tokens[0]
    if prompt:
        expected["sums.prompt_tokens"] = prompt
        expected["sums.cached_tokens"] = cached
        expected["sums.completion_tokens"] = completion
        ((share,),) = query(
            store,
            "SELECT sum(attempts[1].cached_tokens) / sum(attempts[1].prompt_tokens) FROM MINE",
        )
        expected["prefix_cache.realised_share"] = round(share, 4)
    expected["sums.paid"] = ((prompt - cached) * 0.25 + cached * 0.05 + completion * 1.5) / 1e6
    assert {name for name in shown if name.startswith("passed.")} == {
        f"passed.{name}" for name in known_checks()
    }
    assert shown == pytest.approx(expected)


def query_dict(store: Path, sql: str) -> dict:
    return dict(query(store, sql))


def test_the_figures_of_the_run_before_are_beside_them(generated, chromium):
    page = Path(write_report(Storage().at(str(generated)), job("shards", generated)).path)
    before = runs(generated)[0]
    with visit(chromium, page) as seen:
        for name in ("read", "answered", "failed"):
            row = seen.page.locator(f'tr:has([data-figure="counts.{name}"]) td')
            assert row.nth(1).inner_text() == f"{before['counts'][name]:,}"


def test_the_tables_below_the_charts_equal_queries(report):
    store, seen = report
    counts = query(store, "SELECT len(attempts), count(*) FROM MINE GROUP BY 1 ORDER BY 1")
    compared = counts if len(counts) > 1 else []  # there is no chart of one bar
    assert table(seen, "attempts") == [[str(a), str(n)] for a, n in compared]
    words = table(seen, "words")
    assert sum(int(n) for *_, n in words) == query(store, "SELECT count(*) FROM NEWEST")[0][0]
    width = 399 // 20
    for start, status, answers in words:
        if int(start) < 2 * 399 // width * width:
            (counted,) = query(
                store,
                f"SELECT count(*) FROM NEWEST WHERE status = '{status}' "
                f"AND word_count >= {start} AND word_count < {start} + {width}",
            )
            assert int(answers) == counted[0]
    for question, check, count in table(seen, "failures"):
        (counted,) = query(
            store,
            f"SELECT count(*) FROM NEWEST WHERE question_id = '{question}' "
            f"AND list_contains(failed_checks, '{check}')",
        )
        assert int(count) == counted[0]


def table(seen: Visit, chart: str) -> list[list[str]]:
    return seen.page.locator(f"#chart-{chart} tbody tr").evaluate_all(
        "all => all.map(row => [...row.cells].map(cell => cell.textContent))"
    )


def test_the_filtered_answers_equal_queries(report):
    store, seen = report
    page = seen.page
    state = "if(status = 'failed', 'failed', stance)"
    found = query(
        store, f"SELECT {state}, count(*), count(DISTINCT paper_id) FROM NEWEST GROUP BY 1"
    )
    for name, answers, papers in found:
        page.select_option("[name=state]", name)
        expected = f"{plural(answers, 'answer')} of {plural(papers, 'paper')}"
        seen.until(lambda expected=expected: seen.matched() == expected)
