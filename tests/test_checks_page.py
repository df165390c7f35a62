"""The worked examples of docs/checks.md do what the page says."""

import json
import re
from pathlib import Path

import pytest

from pipeline.answering.checks import chosen_checks, known_checks, run_checks
from pipeline.answering.checks.base import Subject
from pipeline.answering.checks.own.expression import VARIABLES
from pipeline.config.loading import load_job
from pipeline.core.records import Completion
from tests.support.jobs import ROOT, job, run, stored
from tests.test_docs import DOCS, spans, table_rows

PAGE = DOCS / "checks.md"
BLOCKS = dict(
    re.findall(r"^```(\w+)\n(.+?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with the files of the page."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "mine/records.jsonl").write_text(BLOCKS["json"], encoding="utf-8")
    (tmp_path / "mine/job.yaml").write_text(BLOCKS["yaml"], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_job_of_the_page_finds_what_its_table_says(here):
    run(load_job("mine/job.yaml"))
    found = {
        (row["record_id"], c["name"], "yes" if c["passed"] else "no", c["evidence"])
        for row in stored(here / "mine/output").to_pylist()
        for c in row["checks"]
        if c["name"] == "word_count" or c["name"] not in known_checks()
    }
    shown = {
        tuple(row) for row in table_rows(PAGE) if row[0] in {r["record_id"] for r in records()}
    }
    assert len(shown) == 12
    assert found == shown


def records() -> list[dict]:
    return [json.loads(line) for line in BLOCKS["json"].splitlines()]


def test_the_file_on_the_page_is_the_one_in_conf():
    assert BLOCKS["python"] == (ROOT / "conf/checks/cites.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("expression", BLOCKS["cel"].splitlines())
def test_each_expression_on_the_page_is_one(expression):
    checks = chosen_checks(job("in", "out", checks={"rule": {"expression": expression}}).checks)
    subject = Subject(Completion("", None), '{"year": 2021, "sites": [{"name": "a"}]}', "", 9)
    (result,), _ = run_checks(checks[-1:], subject)
    assert result.evidence == f"{str(result.passed).lower()}: {expression}"


def test_variables_parameters_and_what_a_subject_has_are_on_the_page():
    named = {name for row in table_rows(PAGE) for cell in row[:2] for name in spans(cell)}
    ours = {"of", "copied", "with_whole"}
    public = {name for name in dir(Subject) if not name.startswith("_")} - ours
    assert {*VARIABLES, *public, *Subject.__dataclass_fields__, "most", "least"} - named == set()
