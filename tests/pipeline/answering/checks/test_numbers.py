"""Numbers of an answer are its prompt's, or are told as what they are."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.records import Ask
from tests.pipeline.answering.checks.grounded import finding, kinds

HELD = [
    ("They counted 1,200 nests.", "We counted 1200 nests."),
    ("They counted 1 200 nests.", "We counted 1,200 nests."),
    ("The share is 0.85.", "The share is 0,85."),
    ("They counted 12 herons.", "A dozen (that is, twelve) herons were counted."),
    ("They counted 25 herons.", "We counted twenty-five herons."),
    ("A pool of 400,000 images.", "A pool of 400\nthousand images."),
    ("A pool of 3.2 million images.", "A pool of 3,200,000 images."),
    ("The rate is 0.0001.", "The rate is 1 × 10−4."),
    ("The rate is 1e-4.", "The rate is 10(cid:0) 4."),
    ("The rate is 0.001.", "The rate is 0. 001."),
    ("In 2019 they came.", "In 20-\n19 they came."),
    ("It has 64 layers.", "It has 64layers."),
    ("1. Drones\n2. Boats\n3. Nets", "Drones, boats, nets."),
    ("They used 1) drones, 2) boats and 3) nets.", "Drones, boats, nets."),
    ("\n".join(f"{n}. A net." for n in range(1, 400)), "A net."),
    ("They trained ResNet50 and YOLOv5.", "They trained two models."),
    ("See https://example.org/v2/417.", "See the page."),
    ("Values lie in [0,1] or [-1, 1].", "Values are scaled."),
    ("Table cells such as 0.91 and 0.95.", "Precision0.910.95Recall"),
]
DERIVED = [
    ("The accuracy is 0.86.", "The accuracy is 0.857.", "0.86"),
    ("About 5,000 nests.", "We saw 4987 nests.", "5,000"),
    ("The test has 20% of it.", "The ratio of the sets is 8:2.", "20"),
    ("80% is for training, the other 20% for tests.", "We train on 80%.", "20"),
    ("The accuracy is 85%.", "The accuracy is 0.85.", "85"),
    ("30 nests and 12 dens are 42 homes.", "There were 30 nests and 12 dens.", "42"),
]


@pytest.mark.parametrize(("answer", "passage"), HELD)
def test_a_number_is_held_however_it_is_written(answer, passage):
    assert kinds("numbers", answer, passage) == []


@pytest.mark.parametrize(("answer", "passage", "number"), DERIVED)
def test_a_number_that_follows_is_derived_and_passes(answer, passage, number):
    assert kinds("numbers", answer, passage) == [(number, "derived")]
    assert finding("numbers", answer, passage).passed


def test_a_number_of_a_general_remark_passes_as_one():
    found = finding("numbers", "Typically, a rate of 0.001 is used.", "We tuned the rate.")
    assert found.passed
    assert [c.kind for c in found.claims] == ["general"]


def test_a_number_that_is_nowhere_is_named_with_its_sentence_place_and_repair():
    passages = "Herons breed in reeds.", "The survey counted 417 heron nests."
    found = finding("numbers", "Yes. The survey counted 471 heron nests.", *passages)
    (claim,) = found.claims
    assert (found.passed, claim.kind, claim.text) == (False, "unsupported", "471")
    assert claim.message == 1
    assert passages[1][claim.source_start : claim.source_end] == passages[1]
    assert "471; in: The survey counted 471 heron nests." in found.evidence
    assert isinstance(found.repair, Ask)
    assert "471" in found.repair.words


def test_an_answer_without_a_prompt_passes():
    assert finding("numbers", "There were 417 nests.").passed


@given(st.integers(100, 10**9))
def test_a_number_is_held_with_separators_and_its_neighbour_is_not(number):
    passage = f"The reserve has {number} reeds."
    assert kinds("numbers", f"It has {number:,} reeds.", passage) == []
    near = f"{number + 13}"
    assert kinds("numbers", f"It has {near} reeds.", passage) == [(near, "unsupported")]


@pytest.mark.parametrize(
    "text",
    [
        "9" * 20_000,
        "1e" * 6_000,
        "1,2" * 6_000,
        "(1) " * 20_000,
        "10^" * 4_000,
        "1 000 " * 2_000,
    ],
    ids=lambda text: text[:4],
)
def test_long_runs_of_digits_end_soon(text):
    began = time.process_time()
    finding("numbers", text, "7 herons")
    finding("numbers", "There are 8 herons and 8.25 nests.", text)
    assert time.process_time() - began < 5
