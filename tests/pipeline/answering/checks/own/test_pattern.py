"""Patterns that an answer must or must not match."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.answering.checks import chosen_checks, run_checks
from pipeline.core.errors import ConfigError
from pipeline.core.records import Ask
from tests.pipeline.answering.checks.own.looks import (
    SUBJECT,
    found,
    own_check,
    settings,
)

PAGE = {"pattern": r"p\. \d+", "level": "fail", "ask": "Name the page."}


@pytest.mark.parametrize(
    ("must", "answer", "passed", "evidence"),
    [
        ("match", "See p. 4.", True, "matches: p. 4"),
        ("match", "See page 4.", False, r"no match of p\. \d+"),
        ("not_match", "See p. 4.", False, "matches: p. 4"),
        ("not_match", "See page 4.", True, r"no match of p\. \d+"),
    ],
)
def test_a_pattern_must_or_must_not_match(must, answer, passed, evidence):
    check = own_check({**PAGE, "must": must}, "page")
    (result,), repairs = run_checks((check,), replace(SUBJECT, answer=answer))
    assert (result.passed, result.evidence) == (passed, evidence)
    assert repairs == (() if passed else (Ask("Name the page."),))


@pytest.mark.parametrize("pattern", ["(", "a**", r"(?<=a)b", r"(a)\1", "[z-a]", "a{9999}"])
def test_a_wrong_pattern_is_an_error_before_anything_starts(pattern):
    with pytest.raises(ConfigError, match=r"checks.page.pattern: .*RE2"):
        chosen_checks(settings(page={"pattern": pattern}))


@pytest.mark.parametrize(
    "pattern", [r"(a+)+$", r"(a|aa)+$", r"(a*)*b", r"(.*)(.*)(.*)(.*)c", "a?" * 30 + "a" * 30 + "$"]
)
@pytest.mark.parametrize("text", ["a" * 50_000 + "!", "a\U0001f600" * 20_000 + "!"])
def test_a_pattern_that_would_take_for_ever_ends_in_time(pattern, text):
    check = own_check({"pattern": pattern}, "page")
    began = time.thread_time()
    run_checks((check,), replace(SUBJECT, answer=text))
    assert time.thread_time() - began < 2


@hypothesis_settings(deadline=None)
@given(st.text(max_size=200))
def test_a_pattern_takes_any_answer(text):
    assert found({"pattern": "(?s)^.*$"}, replace(SUBJECT, answer=text), "page").passed
