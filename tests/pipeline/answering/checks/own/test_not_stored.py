"""What a recheck does not know passes no check."""

import re

import pytest

from pipeline.answering.checks.base import NotStored, StoredColumns
from pipeline.core.records import CheckResult
from tests.pipeline.answering.checks.own.looks import (
    BODY,
    RUN,
    STORED,
    found,
    write,
)


@pytest.mark.parametrize(
    "look",
    [
        "subject.passages[0]",
        "len(subject.passages)",
        "bool(subject.passages)",
        "[p for p in subject.passages]",
        "'x' in subject.passages",
        "subject.extra['year']",
        "subject.extra.get('year')",
        "'year' in subject.extra",
        "dict(subject.extra)",
        "list(subject.extra.values())",
        "bool(subject.extra)",
    ],
)
def test_no_look_at_what_is_not_stored_passes(look):
    write(f"{RUN}    try:\n        {look}\n    except Exception:\n        pass\n{BODY}", "cites.py")
    assert found("fail").passed
    result = found("fail", STORED)
    assert not result.passed
    assert re.match("(passages|column year|the columns .*): not in the store", result.evidence)


@pytest.mark.parametrize(
    "expression",
    [
        "size(passages) >= 0",
        "!has(extra.year)",
        "extra['year'] > 1",
        "!('year' in extra)",
        "extra . year > 3",
        "extra.doi != '' || has(extra.year)",
    ],
)
def test_no_expression_over_what_is_not_stored_passes(expression):
    result = found({"expression": expression}, STORED, "rule")
    assert not result.passed
    assert "not in the store" in result.evidence


def test_what_is_stored_is_known_and_what_was_carried_and_is_absent_too():
    write(f"{RUN}    return Finding(subject.extra.get('journal') is None, subject.extra['doi'])\n")
    assert found("fail", STORED) == CheckResult("cites", True, "fail", "10.1000/pond")
    rule = {"expression": "extra.doi.startsWith('10.') && !has(extra.journal)"}
    assert found(rule, STORED, "rule").passed
    everything = StoredColumns({"doi": "x"}, is_all=True)
    assert dict(everything) == {"doi": "x"}
    assert everything.get("year") is None
    with pytest.raises(NotStored):
        StoredColumns({})["doi"]
