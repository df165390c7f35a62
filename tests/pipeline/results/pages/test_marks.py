"""Reading on the page, in a real browser: mark, reload, download a corrections file."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.filesystem import Storage
from pipeline.results.pages.run_page import write_report
from pipeline.store.corrections import COLUMNS as CORRECTION_COLUMNS
from pipeline.store.corrections import answer_sha256, read_corrections
from pipeline.store.corrections_file import FileRow, as_time, file_rows
from pipeline.store.reader import BY_RECORD, read_rows
from tests.support.browser import Visit, visit
from tests.support.export_rows import HOSTILE, checks
from tests.support.jobs import job, job_file
from tests.support.reading import a_run, claim, judgement, readable

NO_STORAGE = """Object.defineProperty(window, "localStorage", {
    get() { throw new DOMException("denied", "SecurityError"); },
});"""
FULL_STORAGE = """Storage.prototype.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
};"""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Answers with each reason to read them, with hostile ids and texts, and others without."""
    folder = tmp_path_factory.mktemp("marks") / "store"
    urgent = [
        readable("rest", answers_question="yes", p_answered=0.95),
        readable("differs", answers_question="yes", judgements=[judgement("j", "no")]),
        readable("invents", claims=[claim("unsupported")]),
        readable("unsure", answers_question="unsure", p_answered=0.5),
        readable("fails", status="failed", failed_checks=["echo"]),
    ]
    hostile = [
        readable(f"{text}{'' if text == '=1' else name}", answer=text, paper_id=text, question=text)
        for name, text in {**HOSTILE, "delete": "\x7f", "quoted": "'=1", "bare": "=1"}.items()
    ]
    a_run(folder, [*urgent, *hostile])
    return folder


@pytest.fixture(scope="module")
def page(store) -> Path:
    return Path(write_report(Storage().at(str(store)), job("shards", store)).path)


@pytest.fixture
def seen(page, chromium) -> Iterator[Visit]:
    with visit(chromium, page) as visited:
        yield visited


def entries(seen: Visit):
    return seen.page.locator("#first li button")


def open_entry(seen: Visit, number: int) -> None:
    if not seen.page.locator("#first").is_visible():
        seen.view("first")
    entries(seen).nth(number).click()
    seen.page.locator("dialog[open] .mark").wait_for()


def said(seen: Visit) -> list[str]:
    return seen.page.locator("#first .said").all_inner_texts()


def progress(seen: Visit) -> str:
    return seen.page.locator("#progress").inner_text()


def named(seen: Visit, name: str = "ana") -> None:
    seen.page.locator("#marks [name=annotator]").fill(name)
    seen.page.keyboard.press("Tab")


def downloaded(seen: Visit) -> list[FileRow]:
    with seen.page.expect_download() as waiting:
        seen.page.click("#marks button")
    return list(file_rows(waiting.value.suggested_filename, waiting.value.path().read_bytes()))


def test_the_list_has_the_most_urgent_answers_first_with_their_reasons(seen):
    reasons = seen.page.locator("#first li").evaluate_all(
        "all => all.map(li => [...li.querySelectorAll('.reason')].map(one => one.textContent))"
    )
    seen.view("first")
    assert reasons[:5] == [["failed"], ["unsure"], ["unsupported"], ["differing"], []]
    assert set(map(tuple, reasons[5:])) == {()}
    assert "fails" in entries(seen).first.inner_text()
    figures = {name: n for name, n in seen.figures().items() if name.startswith("reading.")}
    assert figures == {
        f"reading.{reason}": 1 for reason in ("failed", "unsure", "unsupported", "differing")
    }


def test_keys_mark_an_answer_and_a_reload_loses_nothing(seen):
    open_entry(seen, 0)
    for key, step in (("y", "ArrowRight"), ("n", "ArrowRight"), ("U", "Escape")):
        seen.page.keyboard.press(key)
        seen.page.keyboard.press(step)
    assert said(seen)[:4] == ["yes", "no", "unsure", ""]
    open_entry(seen, 1)
    seen.page.locator(".mark [name=note]").fill("yes and no, never now")
    seen.page.keyboard.press("Escape")
    count = entries(seen).count()
    assert progress(seen) == f"3 of {count} read"
    seen.page.reload()
    seen.until(lambda: progress(seen) == f"3 of {count} read")
    assert said(seen)[:4] == ["yes", "no", "unsure", ""]
    open_entry(seen, 1)
    assert seen.page.locator(".mark [name=note]").input_value() == "yes and no, never now"
    assert seen.page.locator('.mark [aria-pressed="true"]').get_attribute("value") == "no"
    assert seen.errors == []


def test_keys_go_on_after_a_click_on_a_button_that_the_next_answer_replaces(seen):
    open_entry(seen, 0)
    seen.page.locator(".mark [value=yes]").click()
    for key in ("ArrowRight", "n", "ArrowRight", "u"):
        seen.page.keyboard.press(key)
    assert said(seen)[:3] == ["yes", "no", "unsure"]


def test_a_mark_can_be_changed_and_taken_back(seen):
    open_entry(seen, 0)
    seen.page.keyboard.press("y")
    seen.page.keyboard.press("n")
    assert said(seen)[0] == "no"
    seen.page.locator(".mark button", has_text="clear").click()
    assert said(seen)[0] == ""
    assert progress(seen).startswith("0 of ")


def test_an_answer_of_the_table_is_marked_too(seen):
    count = entries(seen).count()
    seen.more()
    seen.page.locator("[name=paper]").fill("paper of rest")
    seen.until(lambda: seen.matched() == "1 answer of 1 paper")
    seen.page.locator("#table .value").first.click()
    seen.page.locator("dialog[open] .mark").wait_for()
    seen.page.keyboard.press("y")
    assert progress(seen) == f"1 of {count} read"  # it is on the list


def test_every_hostile_answer_round_trips_through_the_downloaded_file(seen, store):
    named(seen, "=ana")
    notes = [*HOSTILE.values(), "'=1", "''+1", "a\nb", "plain"]
    count = entries(seen).count()
    expected_notes = []
    for number in range(count):
        open_entry(seen, number)
        seen.page.keyboard.press("y")
        note = seen.page.locator(".mark [name=note]")
        note.fill(notes[number % len(notes)])
        expected_notes.append(note.input_value())
        seen.page.keyboard.press("Escape")
    rows = downloaded(seen)
    assert [row.fault for row in rows] == [""] * count
    answers = rows_of(store)
    assert {
        (r.cells["record_id"], r.cells["generation_key"], r.cells["answer_sha256"]) for r in rows
    } == {
        (row["record_id"], row["generation_key"], answer_sha256(row["answer"])) for row in answers
    }
    assert [row.cells["note"] for row in rows] == expected_notes
    assert {row.cells["annotator"] for row in rows} == {"=ana"}
    assert {(row.cells["field"], row.cells["value"]) for row in rows} == {
        ("answers_question", "yes")
    }
    assert all(as_time(row.cells["at"]).tzinfo for row in rows)
    assert seen.errors == []


def test_no_cell_of_the_downloaded_file_runs_as_a_formula(seen):
    named(seen, "@SUM(A1)")
    for number in range(entries(seen).count()):
        open_entry(seen, number)
        seen.page.keyboard.press("n")
        seen.page.locator(".mark [name=note]").fill('=HYPERLINK("http://x/")')
        seen.page.keyboard.press("Escape")
    with seen.page.expect_download() as waiting:
        seen.page.click("#marks button")
    text = waiting.value.path().read_text("utf-8-sig")
    assert text.splitlines()[0] == ",".join(f'"{name}"' for name in CORRECTION_COLUMNS)
    assert not {cell[0] for cell in text.split('"')[1::2] if cell} & set("=+-@\t\r＝＋－＠")


def test_the_name_is_asked_for_once(seen):
    open_entry(seen, 0)
    asked = seen.page.locator(".mark [name=annotator]")
    assert asked.is_visible()
    seen.page.keyboard.press("y")
    seen.page.keyboard.press("Escape")
    seen.page.click("#marks button")
    assert "Write your name" in seen.page.locator("#marks [role=status]").inner_text()
    named(seen)
    assert {row.cells["annotator"] for row in downloaded(seen)} == {"ana"}
    open_entry(seen, 1)
    assert not asked.is_visible()


def test_a_note_alone_is_kept_and_left_out_of_the_file(seen):
    named(seen)
    for number, key in enumerate(("", "n")):
        open_entry(seen, number)
        seen.page.keyboard.press(key) if key else None
        seen.page.locator(".mark [name=note]").fill("see page 2")
        seen.page.keyboard.press("Escape")
    assert [row.cells["value"] for row in downloaded(seen)] == ["no"]
    assert "1 note without" in seen.page.locator("#marks [role=status]").inner_text()


def test_two_tabs_keep_each_others_marks(chromium, page):
    context = chromium.new_context()
    seen, other = (Visit(context.new_page()) for _ in range(2))
    for visited in (seen, other):
        visited.page.goto(page.as_uri())
        visited.until(lambda visited=visited: visited.matched() != "")
    for visited, number, key in ((seen, 0, "y"), (other, 1, "n"), (seen, 2, "u")):
        open_entry(visited, number)
        visited.page.keyboard.press(key)
        visited.page.keyboard.press("Escape")
    for visited in (seen, other):
        visited.until(lambda visited=visited: said(visited)[:3] == ["yes", "no", "unsure"])
    context.close()


@pytest.mark.parametrize("before", [NO_STORAGE, FULL_STORAGE], ids=["none", "full"])
def test_a_browser_that_keeps_nothing_says_so_and_still_downloads(page, chromium, before):
    with visit(chromium, page, before=before) as seen:
        assert seen.page.locator("#kept").is_visible()
        open_entry(seen, 0)
        seen.page.keyboard.press("y")
        seen.page.keyboard.press("Escape")
        assert said(seen)[0] == "yes"
        named(seen)
        assert [row.cells["value"] for row in downloaded(seen)] == ["yes"]
        assert seen.errors == []


def test_a_browser_that_keeps_marks_does_not_say_that_it_does_not(seen):
    assert not seen.page.locator("#kept").is_visible()


def test_marks_of_one_run_are_not_those_of_another(seen, page, store):
    a_run(store, [readable("later")])
    later = Path(write_report(Storage().at(str(store)), job("shards", store)).path)
    assert later != page
    open_entry(seen, 0)
    seen.page.keyboard.press("y")
    seen.page.goto(later.as_uri())
    seen.until(lambda: progress(seen).startswith("0 of "))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_while_an_answer_is_marked(page, chromium, scheme):
    with visit(chromium, page, color_scheme=scheme) as seen:
        open_entry(seen, 0)
        seen.page.keyboard.press("n")
        assert seen.faults() == []
        seen.page.keyboard.press("Escape")
        assert seen.faults() == []


def test_a_narrow_page_does_not_scroll_sideways(page, chromium):
    with visit(chromium, page, viewport={"width": 360, "height": 700}) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360


def rows_of(store: Path) -> list[dict[str, Any]]:
    columns = ("record_id", "generation_key", "answer")
    tables = read_rows(Storage().at(str(store)), BY_RECORD, columns)
    return [row for rows in tables for row in rows.to_pylist()]


def test_long_texts_shorten_the_list_and_the_page_stays_small(tmp_path, chromium):
    rng = random.Random(1)
    texts = [rng.randbytes(20_000).hex() for _ in range(2 * 60)]
    failed = {"status": "failed", "failed_checks": ["echo"]}
    rows = [
        readable(f"r{n}", answer=a, messages=[{"role": "user", "content": b}], **failed)
        for n, (a, b) in enumerate(zip(texts[::2], texts[1::2], strict=True))
    ]
    a_run(tmp_path / "store", rows)
    config = job("shards", tmp_path / "store")
    page = Path(write_report(Storage().at(config.output.uri), config).path)
    assert page.stat().st_size < 8e6
    with visit(chromium, page) as seen:
        assert 0 < entries(seen).count() < 50
        open_entry(seen, entries(seen).count() - 1)
        assert len(seen.page.locator("dialog .answer").inner_text()) == 40_000


def test_what_was_marked_is_taken_in_and_flags_that_were_read_give_precision(
    tmp_path, chromium, command
):
    store, file = tmp_path / "store", tmp_path / "corrections-downloaded.csv"
    flagged = readable("flagged", checks=checks("echo"), claims=[claim("unsupported")])
    a_run(store, [flagged, readable("-2+3", answer="=1+1")])
    config = job("shards", store)
    task = job_file(tmp_path / "job.yaml", config)
    page = Path(write_report(Storage().at(str(store)), config).path)
    with visit(chromium, page) as seen:
        assert seen.page.locator("#precision").count() == 0
        named(seen, "+ana")
        for number in range(2):
            open_entry(seen, number)
            seen.page.keyboard.press("n")
            seen.page.locator(".mark [name=note]").fill("@no")
            seen.page.keyboard.press("Escape")
        with seen.page.expect_download() as waiting:
            seen.page.click("#marks button")
        waiting.value.save_as(file)
    done = command("correct", task, file, "--json")
    assert (done.returncode, json.loads(done.stdout)["added"]) == (0, 2)
    corrections = read_corrections(Storage().at(str(store)))
    assert {(c.record_id, c.value, c.annotator, c.note) for c in corrections} == {
        ("flagged", "no", "+ana", "@no"),
        ("-2+3", "no", "+ana", "@no"),
    }
    flags = tmp_path / "flags.csv"
    flags.write_text("record_id,field,value,annotator\nflagged,check:echo,missed,ana\n")
    assert command("correct", task, flags).returncode == 0
    agreed = command("agreement", task, "--json")
    (of_echo,) = json.loads(agreed.stdout)["checks"]
    assert (of_echo["check"], of_echo["right"], of_echo["read"]) == ("echo", 1, 1)
    assert "check, read by people" in agreed.stderr
    page = Path(write_report(Storage().at(str(store)), config).path)
    with visit(chromium, page) as seen:
        assert seen.figure("read.echo") == seen.figure("precision.echo") == 1
        cells = seen.page.locator("#precision tbody tr").first.locator("th, td").all_inner_texts()
        assert cells == ["echo", "1", "1", "100.0%", "20.7% to 100.0%"]
        assert seen.faults() == []
