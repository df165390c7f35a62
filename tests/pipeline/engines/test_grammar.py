"""The decoder's expression: every completion that it allows passes the two checks."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answering.checks import chosen_checks, run_checks
from pipeline.answering.checks.base import Subject
from pipeline.answering.extract import extract_answer
from pipeline.core.records import Completion
from pipeline.engines.grammar import answer_regex

MOST = 6
REGEX = answer_regex(MOST)

NO_BREAK, EM_SPACE, LINE_SEPARATOR, NEXT_LINE, UNIT = "\xa0", "\u2003", "\u2028", "\x85", "\x1f"


def framed(answer: str) -> str:
    return f"Answer:::\n{answer}\nAnswer:::"


def fits(completion: str) -> bool:
    return re.fullmatch(REGEX, completion) is not None


@given(st.from_regex(re.compile(REGEX), fullmatch=True))
@settings(max_examples=300, deadline=None)
def test_every_completion_it_allows_keeps_format_and_word_limit(completion):
    checks = tuple(c for c in chosen_checks({}) if c.name in ("format", "word_count"))
    subject = Subject(Completion(completion, "stop"), extract_answer(completion), "", MOST)
    results, _ = run_checks(checks, subject)
    assert [r.passed for r in results] == [True, True]


@given(st.from_regex(re.compile(REGEX), fullmatch=True))
@settings(max_examples=200, deadline=None)
def test_no_word_in_it_reads_as_a_marker(completion):
    answer = completion.removeprefix("Answer:::").removesuffix("Answer:::")
    assert "::" not in answer


@pytest.mark.parametrize(
    "answer",
    [
        "Yes.",
        "It has 64: https://example.org/a:b?c=d (1:2).",
        "- one\n- two\n\n- three",
        "naïve 𝐵 ≥ 3 µm 日本語の答え",
    ],
)
def test_natural_answers_are_allowed(answer):
    assert fits(framed(answer))


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " ",
        "one two three four five six seven",
        "one\n\n\n\n\ntwo",
        "one Answer::: two",
        "std::vector",
        "x" * 200,
        *(f"one{space}two" for space in (NO_BREAK, EM_SPACE, LINE_SEPARATOR, NEXT_LINE, UNIT)),
    ],
)
def test_answers_that_break_the_checks_or_never_end_are_not(answer):
    assert not fits(framed(answer))


def test_words_are_counted_as_the_check_counts_them():
    assert fits(framed(" ".join(["wä"] * MOST)))
    assert not fits(framed(" ".join(["wä"] * (MOST + 1))))


def test_a_limit_of_one_word_allows_one_word():
    assert re.fullmatch(answer_regex(1), framed("No."))
    assert not re.fullmatch(answer_regex(1), framed("No way."))
