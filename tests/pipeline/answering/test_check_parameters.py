"""Parameters of our own checks."""

import pytest

from pipeline.answering.checks import chosen_checks, run_checks
from pipeline.answering.checks.base import Subject
from pipeline.core.errors import ConfigError
from pipeline.core.records import Ask, Completion
from tests.pipeline.answering.checks.own.looks import (
    settings,
)


@pytest.mark.parametrize(
    ("parameters", "words", "passed", "ask"),
    [
        ({"most": 3}, 3, True, None),
        ({"most": 3}, 4, False, "at most 3"),
        ({"least": 3}, 2, False, "at least 3"),
        ({"least": 3}, 10, True, None),
        ({"least": 3}, 11, False, "at most 10"),
        ({}, 10, True, None),
        ({"least": 0, "most": 20}, 20, True, None),
    ],
)
def test_word_count_has_an_upper_and_a_lower_limit(parameters, words, passed, ask):
    checks = [c for c in chosen_checks(settings(word_count=parameters)) if c.name == "word_count"]
    subject = Subject(Completion("", "stop"), "word " * words, "", 10)
    (result,), repairs = run_checks(tuple(checks), subject)
    assert (result.passed, result.level) == (passed, "fail")
    if ask:
        assert repairs == (Ask(f"Your answer has {words} words; answer again in {ask}."),)


@pytest.mark.parametrize(
    ("key", "setting", "message"),
    [
        ("word_count", {"mots": 3}, "checks.word_count.mots: no such parameter; did you .* 'most'"),
        ("word_count", {"most": "3"}, r"checks.word_count.most: .* \(it is '3'\)"),
        ("word_count", {"most": -1}, "checks.word_count.most: "),
        ("echo", {"most": 3}, "checks.echo.most: no such parameter; it takes none"),
        ("wordcount", {"most": 3}, "checks.wordcount: no such check; did you mean 'word_count'"),
    ],
)
def test_an_unknown_parameter_is_an_error_with_the_nearest(key, setting, message):
    with pytest.raises(ConfigError, match=message):
        chosen_checks(settings(**{key: setting}))
