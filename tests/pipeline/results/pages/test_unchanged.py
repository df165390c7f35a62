"""A run that changes nothing has a short page, which leads to the one with the answers."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config.schema import Job
from pipeline.core.filesystem import Storage
from pipeline.results.pages.run_page import write_report, write_report_at_end
from pipeline.results.pages.shown import HEAD_BYTES, Shown, state_of
from pipeline.store.compaction import compact
from pipeline.store.corrections import add_corrections
from tests.pipeline.store.test_compaction import NOW
from tests.support.corrections import correction
from tests.support.jobs import job, rows, run, write_jsonl


@pytest.fixture
def task(tmp_path) -> Job:
    write_jsonl(tmp_path / "shards" / "a.jsonl", rows(range(6)))
    return job(tmp_path / "shards", tmp_path / "store", rows_per_file=2)


def ended(task: Job) -> Path:
    """The page of another run of the job."""
    store = Storage().at(task.output.uri)
    return Path(write_report_at_end(store, task, run(task)["run_id"]).path)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def has_answers(page: Path) -> bool:
    return 'id="data-rows"' in text_of(page)


def leads_to(page: Path) -> Path:
    (link,) = re.findall(r'href="(\.\./[^"]+)"', text_of(page))
    return (page.parent / link).resolve()


def test_runs_without_work_lead_to_the_page_with_the_answers(task):
    first, second, third = (ended(task) for _ in range(3))
    assert has_answers(first)
    assert not has_answers(second)
    assert not has_answers(third)
    assert leads_to(second) == leads_to(third) == first
    assert 'data-figure="counts.current" data-value="6"' in text_of(third)


def edited_input(task: Job, store: Path) -> None:
    write_jsonl(store.parent / "shards" / "b.jsonl", rows([7]))


def compacted(task: Job, store: Path) -> None:
    assert compact(Storage().at(str(store)), NOW)


def corrected(task: Job, store: Path) -> None:
    add_corrections(Storage().at(str(store)), [correction("r1")])


def page_deleted(task: Job, store: Path) -> None:
    for page in store.glob("runs/*/report.html"):
        page.unlink()


def page_of_an_earlier_release(task: Job, store: Path) -> None:
    for page in store.glob("runs/*/report.html"):
        page.write_text(text_of(page).replace("overnight-answers", "generator"))


@pytest.mark.parametrize(
    "change", [edited_input, compacted, corrected, page_deleted, page_of_an_earlier_release]
)
def test_whatever_happens_to_the_store_brings_the_answers_back(task, tmp_path, change: Callable):
    ended(task)
    change(task, tmp_path / "store")
    assert has_answers(ended(task))


def test_a_short_page_does_not_refer_to_one_that_is_gone(task):
    first, _ = ended(task), ended(task)
    first.unlink()
    assert has_answers(ended(task))


def test_report_writes_the_answers_into_the_page_of_such_a_run(task):
    ended(task)
    page = ended(task)
    assert not has_answers(page)
    assert Path(write_report(Storage().at(task.output.uri), task).path) == page
    assert has_answers(page)


def test_the_head_of_a_page_says_what_it_shows(task):
    page = ended(task)
    store, run_id = Storage().at(task.output.uri), page.parent.name
    assert "overnight-answers" in text_of(page)[: HEAD_BYTES // 2]
    shown = Shown.on_page(store, run_id)
    assert shown == Shown(state_of(store), run_id)
    assert Shown.on_page(store, "no-such-run") is None
