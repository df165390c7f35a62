"""The recipes of docs/generation.md are job files that would start, and their sums are right."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.loading import load_job
from pipeline.engines import check_engine
from tests.support.structure import ROOT

PAGE = (ROOT / "docs/generation.md").read_text(encoding="utf-8")
RECIPES = PAGE[PAGE.index("\n## Recipes\n") :]
AROUND = "name: recipe\ninput: {uri: shards}\noutput: {uri: store}\n"

NUMBER = r"[\d,]*\d(?:\.\d+)?(?:e\d+)?"
SUM = re.compile(rf"({NUMBER}(?:\s[×÷-]\s{NUMBER})+)\s=\s({NUMBER})")


def recipes() -> Iterator[tuple[str, str]]:
    """The title of each recipe, and its part of a job file."""
    for part in re.split(r"^(?=\*\*)", RECIPES, flags=re.MULTILINE)[1:]:
        title = re.match(r"\*\*(.+?)\.\*\*", part)
        block = re.search(r"^```yaml\n(.+?)^```", part, re.MULTILINE | re.DOTALL)
        assert title, part
        assert block, part
        yield title[1], block[1]


def test_there_is_a_recipe_for_each_of_what_people_run():
    titles = " ".join(title for title, _ in recipes())
    for wanted in ("8 billion", "70 billion", "405 billion", "experts", "LoRA", "gated", "Two"):
        assert wanted in titles


@pytest.mark.parametrize(("title", "text"), list(recipes()), ids=[title for title, _ in recipes()])
def test_a_recipe_is_a_job_that_would_start(title: str, text: str, tmp_path: Path):
    path = tmp_path / "job.yaml"
    path.write_text(AROUND + text, encoding="utf-8")
    job = load_job(path, ())
    check_engine(job)
    named = re.search(r" on (\d+)$", title)
    assert named is None or job.engine.gpus == int(named[1])


def sums() -> list[tuple[str, str]]:
    return SUM.findall(RECIPES)


def value(text: str) -> float:
    plain = " ".join(text.replace(",", "").split()).replace("×", "*").replace("÷", "/")
    assert re.fullmatch(r"[\d.e]+( [*/-] [\d.e]+)*", plain)
    return float(eval(plain))  # noqa: S307  numbers and signs only, as the line above has seen


@pytest.mark.parametrize(("terms", "result"), sums(), ids=[result for _, result in sums()])
def test_a_sum_of_the_recipes_is_right_to_its_last_digit(terms: str, result: str):
    decimals = len(result.partition(".")[2])
    assert value(terms) == pytest.approx(value(result), abs=0.51 * 10**-decimals)


def test_the_sums_are_found():
    assert len(sums()) > 25
