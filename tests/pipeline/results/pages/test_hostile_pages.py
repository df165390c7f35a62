"""Text of papers and models is shown as text and never runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.filesystem import Storage
from pipeline.results.compare import compare, find_sides
from pipeline.results.pages.comparison import comparison_page
from pipeline.results.pages.run_page import write_report
from tests.support.browser import Visit, visit
from tests.support.jobs import job, run, write_jsonl

HACK = "window.hacked = 1"
HOSTILE = (
    f"<script>{HACK}</script>",
    f"</script><script>{HACK}</script>",
    f"<img src=x onerror='{HACK}'>",
    f"<svg onload='{HACK}'><style>* {{ display: none }}</style></svg>",
    f"\"' onmouseover='{HACK}' autofocus onfocus='{HACK}'",
    f"javascript:{HACK}",
    "<!-- --> ]]> <base href='http://192.0.2.1/'> <iframe src='http://192.0.2.1/'></iframe>",
    "{{ 7 * 7 }} {% raw %} ${7 * 7}",
    "moved by \u202eright to left\u202c and \u2066isolated\u2069",
    "nothing \x00 and a bell \x07 and \x1b[31mred",
    '=HYPERLINK("http://192.0.2.1", "click")',
    "long " + "x" * 1_000_000,
)
ELEMENTS = "img, iframe, base, object, embed, [onerror], [onload], [onfocus], [onmouseover]"


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Every hostile text in every field of a record, as the name and the value of a carried column,
    and as a line that is not a record.
    """
    folder = tmp_path_factory.mktemp("hostile")
    lines = [
        {
            "record_id": f"{number} {text}"[:5000],
            "paper_id": text[:5000],
            "question_id": f"Q{number} {text}"[:200],
            "question": text,
            "passages": [{"text": text, "source": text[:100]}, f"A second passage, {text}"],
            "recorded_answer": f"Answer:::\n{text}\nAnswer:::",
            f"{number} column {text}"[:500]: text[:5000],
            "nested": {text[:500]: [text[:500]]},
        }
        for number, text in enumerate(HOSTILE)
    ]
    shard = write_jsonl(folder / "shards" / "records.jsonl", lines)
    with shard.open("a", encoding="utf-8") as file:
        file.writelines(f"{text[:3000]}\n" for text in HOSTILE)
    for number in (1, 2):
        template = folder / f"{number}.md"
        template.write_text(
            f"---\nname: '<img src=x onerror={HACK.replace(' ', '')}>'\nversion: '{number}'\n---\n"
            "{% for passage in passages %}{{ passage.text }}\n\n{% endfor %}{{ question }}\n"
        )
        engine = {"kind": "recorded", "model": f"<script>{HACK}</script>{number}"}
        run(
            job(
                shard.parent,
                folder / "store",
                prompt=str(template),
                engine=engine,
                failure_budget=1.0,
                output={"uri": str(folder / "store"), "carry": "all"},
            )
        )
    return folder / "store"


@pytest.fixture
def report(store, chromium) -> Iterator[Visit]:
    page = write_report(Storage().at(str(store)), job("shards", store))
    with visit(chromium, Path(page.path)) as seen:
        yield seen


def check_harmless(seen: Visit) -> None:
    assert seen.page.evaluate("window.hacked") is None
    assert seen.page.locator(ELEMENTS).count() == 0
    assert seen.page.locator("body").is_visible()
    assert seen.errors == []
    assert seen.requests == [seen.page.url]


def test_hostile_text_is_shown_as_text_behind_every_cell(report):
    page = report.page
    report.view("matrix")
    cells = page.locator("#matrix [role=gridcell]:not(.none)")
    assert cells.count() == len(HOSTILE)
    shown = []
    for at in range(cells.count()):
        cells.nth(at).click()
        page.locator("dialog[open]").wait_for()
        shown.append(page.locator("#detail-body").evaluate("one => one.textContent"))
        page.keyboard.press("Escape")
    check_harmless(report)
    for text in HOSTILE[:8]:
        assert any(text in body for body in shown)
    everything = "".join(shown)
    for seen in ("⟨U+202E⟩", "⟨U+2066⟩", "␀", "␇", "␛[31mred", "more characters"):
        assert seen in everything
    assert "\u202e" not in everything


def test_hostile_lines_are_shown_as_text_among_the_rejects(report):
    rejects = report.page.locator(".rejects").evaluate("one => one.textContent")
    check_harmless(report)
    assert report.figure("rejects") == len(HOSTILE)
    assert f"<script>{HACK}</script>" in rejects


def test_hostile_text_is_searched_for_and_filtered_by_as_text(report):
    page = report.page
    page.fill("[name=text]", "<script>")
    report.until(lambda: int(report.matched().split()[0]) < len(HOSTILE))
    assert int(report.matched().split()[0]) == 2
    report.more()
    page.fill("[name=paper]", "</script><")
    report.until(lambda: int(report.matched().split()[0]) == 1)
    check_harmless(report)


def test_hostile_columns_are_shown_and_filtered_by_as_text(report):
    page = report.page
    report.more()
    names = page.locator("[name=column] option").all_text_contents()
    assert len(names) == 1 + len(HOSTILE) + 1
    chosen = next(name for name in names if name.startswith("1 column"))
    page.select_option("[name=column]", label=chosen)
    page.fill("[name=value]", f"</SCRIPT><script>{HACK}")
    report.until(lambda: int(report.matched().split()[0]) == 1)
    page.locator("#table .value").first.click()
    page.locator("dialog[open]").wait_for()
    body = page.locator("#detail-body").evaluate("one => one.textContent")
    assert f"1 column {HOSTILE[1]}{HOSTILE[1]}" in body
    assert f'{{"{HOSTILE[1]}":["{HOSTILE[1]}"]}}' in body
    page.keyboard.press("Escape")
    page.select_option("[name=column]", label="nested")
    page.fill("[name=value]", "isolated")
    report.until(lambda: int(report.matched().split()[0]) == 1)
    check_harmless(report)


def test_hostile_text_is_compared_as_text(store, chromium):
    location = Storage().at(str(store))
    sides = find_sides(
        location, *(f"<img src=x onerror={HACK.replace(' ', '')}>@{n}" for n in "12")
    )
    path = store / "comparison.html"
    path.write_text(comparison_page(location, compare(location, *sides), sides, "hostile"), "utf-8")
    with visit(chromium, path) as seen:
        seen.page.check("[name=same]")
        rows = seen.page.locator("#changes button")
        seen.until(lambda: rows.count() > 0)
        assert rows.count() == len(HOSTILE)
        for at in range(rows.count()):
            rows.nth(at).click()
            seen.page.locator("dialog[open]").wait_for()
            assert "nested" in seen.page.locator("#detail-body").inner_text()
            seen.page.keyboard.press("Escape")
        for button in seen.page.locator(".number").all():
            button.click()
        check_harmless(seen)
