"""Links, names and quotes take any text, in time that is in proportion to it."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.answering.checks.grounded import judged

CHECKS = ("links", "names", "quotes")
PASSAGES = "Herons were counted at https://github.com/heron-lab/nests with a ResNet-50. " * 60
PIECES = st.sampled_from(
    ("https://", "a.org/", "10.1234/", "arXiv", "(", ")", "[", "]", "…", "...", "-", "_", "\n", " ")
)
MARKS = st.sampled_from(('"', "“", "”", "'", "’", "`"))
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
@given(st.lists(PIECES | MARKS | WORDS | st.text(max_size=8), max_size=40).map("".join))
def test_any_text_is_judged_and_each_claim_is_a_piece_of_it(answer):
    for check in CHECKS:
        judged(check, answer, PASSAGES)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_takes_no_more_than_seconds(name):
    start = time.process_time()
    for check in CHECKS:
        judged(check, HOSTILE[name], PASSAGES)
    assert time.process_time() - start < 5
