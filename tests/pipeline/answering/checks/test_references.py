"""Works that an answer cites are its prompt's; what it says of the world at large is marked."""

import time

import pytest

from tests.pipeline.answering.checks.grounded import finding, kinds

HELD = [
    ("It follows Ash et al. (2019).", "It follows the method of (Ash et al., 2019)."),
    ("It follows (Ash and Fir, 2019).", "As Ash and Fir (2017, 2019) say."),
    ("It follows Vélez et al. (2022).", "It follows (V´elez et al., 2022)."),
    ("It follows Ashworth (2020).", "It follows (Ash-\nworth, 2020)."),
    ("Similarly, Ash et al. (2019) count.", "Ash et al. (2019) count."),
    ("It is known [12].", "It is known [10-14]."),
    ("It holds [640, 640, 3] values.", "It holds 640 values [640, 640, 3]."),
    ("The camera ran in May 2019 and (Python, 3.7).", "It ran."),
    (
        "References:\n- Ash, B., 2019. Counting herons by drone.",
        "Ash, B., 2019. Counting herons by drone.",
    ),
]
MISSING = [
    ("It follows Ash et al. (2018).", "Ash et al., 2019", "Ash et al. (2018"),
    ("It follows (Elm et al., 2019).", "Ash et al., 2019", "Elm et al., 2019"),
    ("It follows (Ash and Elm, 2019).", "Ash and Fir, 2019", "Ash and Elm, 2019"),
    ("It is known [15].", "It is known [10-14].", "[15]"),
    (
        "Yes.\n\nReferences:\n1. Ash, B. (2019). Otters seen from boats. Rivers, 3, 1-9.",
        "Ash et al., 2019",
        "Ash, B. (2019). Otters seen from boats. Rivers, 3, 1-9.",
    ),
]


@pytest.mark.parametrize(("answer", "passage"), HELD)
def test_a_work_is_held_however_it_is_cited(answer, passage):
    assert kinds("references", answer, passage) == []


@pytest.mark.parametrize(("answer", "passage", "item"), MISSING)
def test_a_work_that_is_nowhere_is_unsupported(answer, passage, item):
    assert kinds("references", answer, passage) == [(item, "unsupported")]
    assert not finding("references", answer, passage).passed


@pytest.mark.parametrize("text", ["A, " * 4_000 + "2019", "Ash 2019 " * 2_000, "[1, " * 4_000])
def test_long_lists_of_names_end_soon(text):
    began = time.process_time()
    finding("references", text, "Ash et al., 2019")
    assert time.process_time() - began < 5


def test_a_general_remark_is_found_unless_the_prompt_makes_it():
    remark = "Typically, herons nest in tall trees near water."
    passage = "The study has herons."
    assert kinds("general", f"It is not said. {remark}", passage) == [(remark, "general")]
    assert not finding("general", remark, passage).passed
    assert finding("general", remark, "Herons typically nest in tall trees near water.").passed
    assert finding(
        "general", "The authors mention that herons typically nest here.", passage
    ).passed
