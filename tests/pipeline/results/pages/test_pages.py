"""Pages in a real browser: the demo's, the whole corpus's, and one of 100,000 answers."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.config.loading import load_job
from pipeline.core.filesystem import Storage
from pipeline.results.compare import compare, find_sides
from pipeline.results.pages.comparison import comparison_page
from pipeline.results.pages.run_page import write_report
from tests.support.browser import Visit, visit
from tests.support.jobs import BETTER_PROMPT, ROOT, Corpus, job, run
from tests.support.stores import store_run

SECONDS, MEGABYTES = 2.0, 8.0

CELL = "[role=gridcell]:not(.none)"


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
    path.write_text(comparison_page(compare(store, *sides), sides, "demo"), encoding="utf-8")
    return path


def page_of(store: Path) -> Path:
    return Path(write_report(Storage().at(str(store)), job("shards", store)).path)


@pytest.fixture(scope="module", autouse=True)
def _jobs_before_browser(demo, request) -> None:
    """Runs the jobs before the browser starts, whose event loop would stop them."""
    with suppress(pytest.skip.Exception):  # without a corpus only its tests are skipped
        request.getfixturevalue("whole_corpus")


@pytest.fixture(params=["demo", "whole_corpus", "hundred_thousand"])
def report(request, chromium) -> Iterator[Visit]:
    with visit(chromium, request.getfixturevalue(request.param)) as seen:
        yield seen


@pytest.fixture
def opened(demo, chromium) -> Iterator[Visit]:
    with visit(chromium, demo) as seen:
        yield seen


def cell(seen: Visit, row: int, column: int):
    return seen.page.locator(f'[data-at="{row} {column}"]')


def test_a_page_opens_fast_with_no_requests_and_no_errors(report):
    assert report.seconds < SECONDS
    assert Path(report.page.url.removeprefix("file://")).stat().st_size < MEGABYTES * 1e6
    assert report.requests == [report.page.url]
    assert report.errors == []


def test_the_matrix_scrolls_to_its_end_and_creates_only_cells_in_view(report):
    page = report.page
    rows = int(page.locator("#matrix").get_attribute("aria-rowcount")) - 1
    page.locator("#matrix").evaluate("one => one.scrollTop = one.scrollHeight")
    last = page.locator(f'[data-at^="{rows - 1} "]').first
    last.wait_for()
    assert page.locator("[role=gridcell]").count() < 60 * 30


def test_a_cell_opens_its_answer_with_attempts_checks_and_prompt(report):
    report.page.locator(CELL).first.click()
    sheet = report.page.locator("dialog[open]")
    sheet.wait_for()
    assert sheet.locator(".question").inner_text()
    assert sheet.locator(".badge").count() or "sample" in sheet.inner_text()
    assert report.errors == []


def test_a_filter_leaves_only_matching_answers(report):
    page = report.page
    page.select_option("[name=stance]", "failed")
    every = report.figure("answers")
    report.until(lambda: number(report.matched()) < every)
    shown = page.locator(f"{CELL}:not(.other)")
    assert set(shown.evaluate_all("all => all.map(one => one.classList[1])")) <= {"failed"}
    assert number(report.matched()) == report.figure("counts.failed")
    page.click("#filters [type=reset]")
    report.until(lambda: number(report.matched()) == every)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_problem(demo, chromium, scheme):
    with visit(chromium, demo, color_scheme=scheme) as seen:
        assert seen.faults() == []
        seen.page.locator(CELL).first.click()
        seen.page.locator("dialog[open]").wait_for()
        assert seen.faults() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_problem_in_a_comparison(comparison, chromium, scheme):
    with visit(chromium, comparison, color_scheme=scheme) as seen:
        assert seen.faults() == []


def test_a_narrow_page_does_not_scroll_sideways(demo, chromium):
    with visit(chromium, demo, viewport={"width": 360, "height": 700}) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_keyboard_reaches_every_control_and_every_answer(opened):
    page = opened.page
    controls = page.locator("main input, main select, main button, main summary, .scroll").count()
    met = set()
    for _ in range(controls + 20):
        page.keyboard.press("Tab")
        met.add(page.evaluate(TAG))
    for tag in ("INPUT paper", "SELECT question", "SELECT check", "SELECT stance", "INPUT text"):
        assert tag in met
    assert any(tag.startswith("gridcell") for tag in met)
    assert sum(tag.startswith("SUMMARY") for tag in met) == page.locator("summary").count()


TAG = """() => {
    const one = document.activeElement;
    const summary = [...document.querySelectorAll('summary')].indexOf(one);
    return one.getAttribute('role') === 'gridcell' ? `gridcell ${one.dataset.at}`
        : one.tagName === 'SUMMARY' ? `SUMMARY ${summary}`
        : `${one.tagName} ${one.name ?? one.className}`;
}"""


def test_arrow_keys_move_in_the_matrix_enter_opens_and_escape_returns(opened):
    page = opened.page
    page.locator('[role=gridcell][tabindex="0"]').focus()
    for key, at in (("ArrowDown", "1 0"), ("ArrowRight", "1 1"), ("Home", "1 0")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.dataset.at") == at
    page.keyboard.press("Control+End")
    rows = int(page.locator("#matrix").get_attribute("aria-rowcount")) - 1
    columns = int(page.locator("#matrix").get_attribute("aria-colcount")) - 1
    assert page.evaluate("document.activeElement.dataset.at") == f"{rows - 1} {columns - 1}"
    page.keyboard.press("Control+Home")
    cell(opened, 0, 0).wait_for()
    while "none" in page.evaluate("document.activeElement.className").split():
        page.keyboard.press("ArrowRight")
    at = page.evaluate("document.activeElement.dataset.at")
    page.keyboard.press("Enter")
    page.locator("dialog[open]").wait_for()
    page.keyboard.press("Escape")
    page.locator("dialog:not([open])").wait_for(state="attached")
    assert page.evaluate("document.activeElement.dataset.at") == at


def test_next_goes_through_the_filtered_answers(opened):
    page = opened.page
    page.select_option("[name=stance]", "abstained")
    page.locator(f"{CELL}:not(.other)").first.click()
    title, badge = page.locator("#detail-title"), page.locator("dialog .badge").first
    titles: list[str] = []
    for _ in range(5):
        opened.until(lambda: title.inner_text() not in titles)
        titles.append(title.inner_text())
        assert badge.inner_text() == "abstained"
        page.click("#detail-next")


def test_search_finds_answers_and_their_supporting_sentences_are_marked(opened):
    page = opened.page
    page.fill("[name=text]", "AdamW")
    opened.until(lambda: number(opened.matched()) < 76)
    assert 0 < number(opened.matched()) < 20
    page.locator(f"{CELL}:not(.other)").first.click()
    sheet = page.locator("dialog[open]")
    sheet.wait_for()
    answer = " ".join(sheet.locator(".answer").inner_text().split())
    assert "adamw" in answer.lower()
    marks = [" ".join(text.split()) for text in sheet.locator("mark").all_inner_texts()]
    assert marks
    assert all(mark in answer for mark in marks)  # this engine quotes whole sentences


def test_every_number_of_a_comparison_lists_its_rows(comparison, chromium):
    with visit(chromium, comparison) as seen:
        buttons = seen.page.locator(".number")
        assert buttons.count() > 5
        for at in range(buttons.count()):
            buttons.nth(at).click()
            assert number(seen.matched()) == int(buttons.nth(at).get_attribute("data-rows"))
        assert seen.errors == []


def test_a_comparison_marks_the_words_that_changed(comparison, chromium):
    with visit(chromium, comparison) as seen:
        seen.page.locator("#changes button").first.click()
        seen.page.locator("dialog[open] .sides").wait_for()
        assert seen.page.locator("dialog del").count() > 0
        assert seen.page.locator("dialog ins").count() > 0


def test_the_page_needs_no_script_for_its_figures_and_charts(demo, chromium):
    page = chromium.new_page(java_script_enabled=False)
    page.goto(demo.as_uri())
    assert page.locator('[data-figure="counts.answered"]').count() == 1
    assert page.locator("figure svg").count() >= 3
    page.close()


def test_every_paper_is_printed(demo, chromium):
    with visit(chromium, demo) as seen:
        papers = int(seen.page.locator("#matrix").get_attribute("aria-rowcount")) - 1
        seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert seen.page.locator("#matrix [role=rowheader]").count() == papers


def number(words: str) -> int:
    return int(words.split()[0].replace(",", ""))
