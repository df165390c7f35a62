"""The stance of an answer, read from its own words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answering.stance import stance_of


@pytest.mark.parametrize(
    "answer",
    [
        "The crew sorted the shells with a random forest of 300 trees.",
        "Salt content was logged every ten minutes by two buoys.",
        "Yes, the recordings are in the harbour's public archive.",
        "No.",
        "The authors did not use dropout.",
        "No data augmentation was applied.",
        "They trained without early stopping.",
        "The text focuses on mangroves. The seedlings were counted by drone.",
        "40",
    ],
)
def test_a_statement_answers(answer: str) -> None:
    assert stance_of(answer) == "answered"


@pytest.mark.parametrize(
    "answer",
    [
        "I don't know.",
        "I do not know the answer.",
        "The context does not say which optimiser was used.",
        "The context doesn’t mention any lens.",
        "There is no mention of a validation set in the text.",
        "The passages give no learning rate.",
        "The number of nests is not reported.",
        "It is unclear which lens was used.",
        "None of the passages describes the hardware.",
        "Sorry, I cannot answer this from the given text.",
        "The passages discuss mangroves. They do not mention any software.",
    ],
)
def test_a_denial_abstains(answer: str) -> None:
    assert stance_of(answer) == "abstained"


@pytest.mark.parametrize(
    "answer",
    [
        "The optimiser was probably Adam.",
        "It can be inferred that the nets were checked at dawn.",
        "The text suggests that the team used a recurrent network.",
        "The authors appear to have used a thermal camera.",
        "The camera is not named. However, the passages mention a resolution of 12 megapixels.",
        "The context does not mention dropout. It is likely that none was used.",
    ],
)
def test_an_inference_or_a_concession_hedges(answer: str) -> None:
    assert stance_of(answer) == "hedged"


@pytest.mark.parametrize("answer", ["", " \n\t", "...", "***"])
def test_an_answer_without_words_abstains(answer: str) -> None:
    assert stance_of(answer) == "abstained"


def test_a_denial_after_a_statement_takes_nothing_back() -> None:
    assert stance_of("Two buoys were used. Their maker is not mentioned.") == "answered"


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_has_a_stance(answer: str) -> None:
    assert stance_of(answer) in ("answered", "hedged", "abstained")
