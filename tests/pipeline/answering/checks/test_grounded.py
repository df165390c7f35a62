"""Checks that compare an answer with its prompt take any text, in time in proportion to it."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answering.answers_question import estimate
from pipeline.answering.checks import known_checks
from pipeline.answering.grounding.number_words import numbers_in_words
from pipeline.answering.stance import stance_of
from tests.pipeline.answering.checks.grounded import QUESTION, judged, subject

CHECKS = ("links", "names", "numbers", "quotes", "references")
PASSAGES = "Herons were counted at https://github.com/heron-lab/nests with a ResNet-50. " * 60
PIECES = st.sampled_from(
    ("https://", "a.org/", "10.1234/", "arXiv", "(", ")", "[", "]", "…", "...", "-", "_", "\n", " ")
)
MARKS = st.sampled_from(('"', "“", "”", "'", "’", "`"))
NUMBERS = st.sampled_from(
    (
        *("second", "single", "twenty", "and", "hundred", "million", "half", "third", "fold", "%"),
        *("±", "0", "-5", "5", "1,000", "9" * 400, "1e999", "×10⁵", "½", "٣", "2019", "19", "7."),
    )
)
WORDS = st.sampled_from(("ResNet", "50", "herons were counted", "is a", "such as", "not", "Keras"))
LONG = 20_000
HOSTILE = {
    "quotation marks": "'a " * LONG,
    "pairs of marks": '"a ' * LONG,
    "brackets": '"' + "[a " * LONG + '"',
    "hyphens": "A" + "-a" * LONG,
    "a path": "http://" + "a/" * LONG,
    "a host": "a." * LONG,
    "identifiers": "10.1234/" * LONG,
    "one word": "X" * LONG,
    "names": "AbCd " * 4000,
}


@settings(deadline=None)
@given(st.lists(PIECES | MARKS | NUMBERS | WORDS | st.text(max_size=8), max_size=40).map("".join))
def test_any_text_is_judged_and_each_claim_is_a_piece_of_it(answer):
    for check in CHECKS:
        judged(check, answer, PASSAGES)


@settings(deadline=None)
@given(st.lists(NUMBERS | st.just(" ") | WORDS, max_size=30).map("".join), st.booleans())
def test_numbers_in_any_order_are_judged_beside_those_of_any_prompt(text, is_answer):
    answer, passages = (text, "We saw 5 herons and −5.") if is_answer else ("5 herons, 20%.", text)
    assert all(number >= 0 for number in numbers_in_words(text))
    for check in known_checks().values():
        check.test(subject(answer, passages))
    assert 0 <= estimate(answer, stance_of(answer), QUESTION, passages).probability <= 1


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_takes_no_more_than_seconds(name):
    start = time.process_time()
    for check in CHECKS:
        judged(check, HOSTILE[name], PASSAGES)
    assert time.process_time() - start < 5
