"""Pages that tests of several files look at: the demo's, the whole corpus's, a large one's."""

from pathlib import Path

import pytest

from pipeline.config.loading import load_job
from pipeline.core.filesystem import Storage
from pipeline.results.compare import compare, find_sides
from pipeline.results.pages.comparison import comparison_page
from pipeline.results.pages.run_page import write_report
from tests.support.jobs import BETTER_PROMPT, ROOT, Corpus, job, run
from tests.support.stores import store_run


@pytest.fixture(scope="session")
def demo_store(tmp_path_factory) -> Path:
    """The demo under two prompts."""
    store = tmp_path_factory.mktemp("demo") / "store"
    for template, words in ((BETTER_PROMPT, 399), ("conf/prompts/context-first.md", 60)):
        asked = [f"output.uri={store}", f"prompt={template}", f"answer.max_words={words}"]
        run(load_job(ROOT / "conf/demo/job.yaml", asked))
    return store


@pytest.fixture(scope="session")
def demo(demo_store) -> Path:
    return page_of(demo_store)


@pytest.fixture(scope="session")
def whole_corpus(corpus: Corpus, tmp_path_factory) -> Path:
    store = tmp_path_factory.mktemp("corpus-run") / "store"
    run(job(corpus.records, store, prompt="verbatim", engine={"kind": "recorded"}))
    return page_of(store)


@pytest.fixture(scope="session")
def hundred_thousand(tmp_path_factory) -> Path:
    store = tmp_path_factory.mktemp("large") / "store"
    store_run(job("shards", store), 100_000)
    return page_of(store)


@pytest.fixture(scope="session")
def comparison(demo_store) -> Path:
    store = Storage().at(str(demo_store))
    sides = find_sides(store, "instructions-first@1", "context-first@1")
    path = demo_store / "comparison.html"
    path.write_text(comparison_page(store, compare(store, *sides), sides, "demo"), encoding="utf-8")
    return path


def page_of(store: Path) -> Path:
    return Path(write_report(Storage().at(str(store)), job("shards", store)).path)
