"""Expressions over an answer and its record."""

from dataclasses import replace

import pytest

from pipeline.answering.checks import chosen_checks, run_checks
from pipeline.core.errors import ConfigError
from pipeline.core.records import Ask, Message
from tests.pipeline.answering.checks.own.looks import (
    SUBJECT,
    found,
    own_check,
    settings,
)
from tests.pipeline.answering.test_loop import GOOD, FakeEngine, answered_by


@pytest.mark.parametrize(
    ("expression", "passed"),
    [
        ("words >= 3 && words < 20", True),
        ("answer.contains('herons')", True),
        ("answer.matches('p[.] [0-9]+')", True),
        ("extra.year > 2021", False),
        ("extra['year'] == 2021 && 'birds' in extra.tags", True),
        ("has(extra.missing)", False),
        ("passages.exists(p, p.contains('Rain'))", True),
        ("size(passages) == 2", True),
        ("question.endsWith('?') && finish_reason == 'stop' && reasoning == ''", True),
    ],
)
def test_an_expression_is_over_the_answer_and_its_record(expression, passed):
    check = own_check({"expression": expression, "level": "fail", "ask": "Again."}, "rule")
    (result,), repairs = run_checks((check,), SUBJECT)
    assert (result.passed, result.evidence) == (passed, f"{str(passed).lower()}: {expression}")
    assert repairs == (() if passed else (Ask("Again."),))


def test_fields_are_those_of_an_answer_that_is_a_json_object():
    answer = '{"year": 2021, "sites": [{"name": "pond"}]}'
    rule = {"expression": "fields.year > 2000 && fields.sites[0].name == 'pond'"}
    assert found(rule, replace(SUBJECT, answer=answer), "rule").passed
    result = found(rule, key="rule")
    assert (result.passed, "no JSON object" in result.evidence) == (False, True)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("words >", r"line 1, column 8: Syntax error"),
        ("wrods > 3", r"no variable or function 'wrods'; did you mean 'words'"),
        ("words > 'a'", r"column 7: found no matching overload"),
        ("words + 1", r"gives int, not true or false"),
        ("answer", r"gives string, not true or false"),
        ("open('/etc/passwd') == ''", r"'open'"),
        ("answer.__class__ == ''", r"checks.rule.expression"),
    ],
)
def test_a_wrong_expression_is_an_error_before_anything_starts(expression, message):
    with pytest.raises(ConfigError, match=message):
        chosen_checks(settings(rule={"expression": expression}))


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("extra.month > 3", "month"),
        ("1 / (words - words) > 1", "divide by zero"),
        ("extra.doi > 3", "overload"),
        ("extra.doi", "gives string, not true or false"),
        ("answer.matches(question + '(')", "regular expression"),
        ("extra.big > 3", "Non-CEL value"),
        ("size(extra) > 3", "Non-CEL value"),
    ],
)
def test_an_error_of_an_expression_fails_the_check_with_the_reason(expression, reason):
    subject = replace(SUBJECT, extra={**SUBJECT.extra, "big": object()})
    result = found({"expression": expression, "ask": "Again."}, subject, "rule")
    assert not result.passed
    assert reason in result.evidence


def test_an_answer_that_fails_an_expression_is_repaired_and_one_that_cannot_be_judged_too():
    rule = {"expression": "words > 3", "level": "fail", "ask": "Say more."}
    engine = FakeEngine("Eleven herons.", GOOD)
    answered = answered_by(engine, **settings(rule=rule))
    assert answered.status == "answered"
    assert engine.requests[1].messages[-1] == Message("user", "Say more.")
    assert [a.failed_checks for a in answered.attempts] == [("rule",), ()]
