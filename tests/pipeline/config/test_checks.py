"""The section `checks`: names, settings, overrides."""

import re
from pathlib import Path

import pytest

from pipeline.answering.checks import chosen_checks, known_checks
from pipeline.config.loading import load_job
from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError
from tests.pipeline.answering.checks.own.looks import (
    CITES,
    settings,
    write,
)
from tests.support.jobs import job


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_two_checks_of_one_name_and_a_name_of_ours_are_errors():
    with pytest.raises(ValueError, match=r"a/cites.py and b/cites.py have the same name, cites"):
        job("in", "store", checks={"a/cites.py": "fail", "b/cites.py": "fail"})
    with pytest.raises(ValueError, match=r"cites.py and cites have the same name, cites"):
        job("in", "store", checks={"cites.py": "fail", "cites": {"pattern": "x"}})
    for key, setting in (("echo.py", "fail"), ("echo", {"pattern": "x"})):
        write(CITES, "echo.py")
        with pytest.raises(ConfigError, match="echo is a check of ours"):
            chosen_checks(settings(**{key: setting}))
    for key in ("engine_error", "two words", "a/.py", ".py", "a.b", "x" * 101):
        with pytest.raises(ValueError, match=re.escape(key)):
            job("in", "store", checks={key: {"pattern": "x"}})


def in_file(text: str, *overrides: str) -> Job:
    Path("job.yaml").write_text(f"name: a\ninput: {{uri: in}}\noutput: {{uri: out}}\n{text}")
    return load_job("job.yaml", overrides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "checks:\n  page:\n    pattern: x\n    mst: match\n",
            r"^job.yaml:7: checks.page.mst: unknown key; did you mean 'must'",
        ),
        ("checks: {page: {pattern: x, must: maybe}}", r"job.yaml:4: checks.page.must: .*'maybe'"),
        ("checks: {page: {pattern: ''}}", r"job.yaml:4: checks.page.pattern: "),
        ("checks: {page: {expression: a, pattern: b}}", r"checks.page.expression: unknown key"),
        ("checks: {page: {expression: a, least: 3}}", r"checks.page.least: unknown key"),
        ("checks: {echo: {level: warn}}", r"job.yaml:4: checks.echo.level: "),
        ("checks: {echo: loud}", r"job.yaml:4: checks.echo: .* \(it is 'loud'\)"),
        ("checks: {echo: [fail]}", r"job.yaml:4: checks.echo: "),
    ],
)
def test_a_wrong_setting_is_an_error_with_its_line(text, message):
    with pytest.raises(ConfigError, match=message):
        in_file(text)


def test_an_override_may_name_a_file():
    checks = in_file("checks: {conf/cites.py: fail}", "checks.conf/cites.py=off").checks
    assert checks == {"conf/cites.py": "off"}
    checks = in_file("checks: {conf/cites.py: {most: 1}}", "checks.conf/cites.py.most=2").checks
    assert checks["conf/cites.py"].parameters == {"most": 2}


def test_off_without_quotes_turns_off_whatever_has_a_level():
    text = "checks: {echo: off, page: {pattern: x, level: off}, word_count: {level: off}}"
    names = {c.name for c in chosen_checks(in_file(text).checks)}
    assert names == known_checks().keys() - {"echo", "word_count"}


def test_a_job_with_checks_of_every_kind_is_read_back_from_its_run_file():
    text = (
        "checks: {echo: off, a: {pattern: x}, b: {expression: 'true'}, "
        "word_count: {level: fail, most: 3}, c.py: fail}"
    )
    job_ = in_file(text)
    assert Job.model_validate(job_.model_dump(mode="json")) == job_
