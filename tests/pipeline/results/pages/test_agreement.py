"""The page's section on agreement: only with two raters, and names of models are text."""

import re
from pathlib import Path

import pytest

from pipeline.core.filesystem import Location, Storage
from pipeline.results.pages import agreement
from pipeline.results.pages.agreement import agreement_section
from pipeline.results.pages.run_page import write_report
from pipeline.store.corrections import add_corrections
from tests.support.answers import answer_row, write_answers
from tests.support.browser import visit
from tests.support.corrections import correction
from tests.support.jobs import job, rows, run, write_jsonl

HOSTILE = [
    '</script><script>alert("1")</script>',
    "<img src=x onerror=alert(1)>",
    "{{ 7 * 7 }} \x00 \x1b[2J \u202e \ud7ff",
    "heron " + "x" * 5000 + "1",
    "heron " + "x" * 5000 + "2",
]


@pytest.fixture
def hostile(tmp_path) -> Location:
    """Models of hostile names that answer, hedge or abstain."""
    stances = ("answered", "hedged", "abstained")
    return write_answers(
        tmp_path / "store",
        [
            answer_row(f"p{n // 4}_Q{n % 4}", model=model, stance=stances[(n + m) % (2 + m % 2)])
            for n in range(24)
            for m, model in enumerate(HOSTILE)
        ],
    )


def test_every_pair_is_in_the_heat_map_twice_and_once_among_its_numbers(hostile):
    section = agreement_section(hostile)
    heat_map, by_question = section.charts
    assert len(heat_map.rows) == 10
    kappas = re.findall(r"<text[^>]*>[−-]?[01]\.\d\d</text>", heat_map.svg)
    assert len(kappas) == 2 * sum(row[2] != "–" for row in heat_map.rows)
    assert [row[0] for row in by_question.rows] == ["Q0", "Q1", "Q2", "Q3"]
    assert [row[0][:1] for row in section.raters] == ["1", "2", "3", "4", "5"]


def test_the_section_names_its_conversion_and_its_majority(hostile):
    said = " ".join(agreement_section(hostile).lines)
    assert "hedged and abstained are no" in said
    assert "The majority of models says" in said
    assert "All 5 models" in said


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The page about a run of a store with the answers of models of hostile names."""
    folder = tmp_path_factory.mktemp("models")
    shards = write_jsonl(folder / "shards/a.jsonl", rows(range(24))).parent
    for model in HOSTILE:
        a_job = job(shards, folder / "store", engine={"kind": "recorded", "model": model})
        run(a_job)
    return Path(write_report(Storage().at(str(folder / "store")), a_job).path)


def test_names_of_models_are_text_on_the_page(page):
    html = page.read_text(encoding="utf-8")
    assert 'id="agreement-title"' in html
    assert "&lt;img src=x onerror" in html
    for name in HOSTILE[:2]:
        assert name not in html


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_section_runs_nothing_loads_nothing_and_can_be_read_by_all(page, chromium, scheme):
    small = {"width": 360, "height": 700}
    with visit(chromium, page, color_scheme=scheme, viewport=small) as seen:
        assert seen.page.locator("#chart-agreement svg").count() == 1
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360
        assert seen.requests == [seen.page.url]
        assert (seen.errors, seen.faults()) == ([], [])


def test_a_store_of_one_model_has_no_section_and_is_not_read_for_it(tmp_path, monkeypatch):
    store = write_answers(tmp_path / "store", [answer_row("p_1"), answer_row("p_2")])
    monkeypatch.setattr(agreement, "read_ratings", None)
    assert agreement_section(store) is None


@pytest.mark.parametrize("judgements", [[{"rater": "j", "value": "no"}], None])
def test_a_judge_or_a_person_beside_one_model_makes_a_section(tmp_path, judgements):
    store = write_answers(tmp_path / "store", [answer_row("p_1", judgements=judgements)])
    if not judgements:
        assert agreement_section(store) is None
        add_corrections(store, [correction("p_1", "no")])
    section = agreement_section(store)
    assert len(section.raters) == 2
    assert section.charts[0].rows[0][-1] == "1"


def test_corrections_that_are_all_stale_make_no_section(tmp_path):
    store = write_answers(tmp_path / "store", [answer_row("p_1")])
    add_corrections(store, [correction("p_1", "no", answer="Nine.")])
    assert agreement_section(store) is None
