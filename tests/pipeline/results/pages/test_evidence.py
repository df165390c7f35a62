import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.text import content_words
from pipeline.results.pages.evidence import sentences_of, supporting

PASSAGE = (
    "Herons nested at nine ponds along the river. Rain fell on most days of the survey. "
    "A network of four layers was trained on 2,000 pictures of their nests."
)


def supported(answer: str, passage: str = PASSAGE) -> list[str]:
    sentences = sentences_of(passage)
    numbers = supporting(answer, [content_words(sentence) for sentence in sentences])
    return [sentences[number].strip() for number in sorted(numbers)]


def test_a_sentence_supports_its_quotation():
    for sentence in sentences_of(PASSAGE):
        assert supported(sentence) == [sentence.strip()]


def test_a_sentence_supports_its_paraphrase():
    (sentence,) = supported("They trained a four-layer network on pictures of nests.")
    assert sentence.startswith("A network of four layers")


@pytest.mark.parametrize(
    "answer", ["", "I do not know.", "Storks winter in the Sahel region.", "Yes."]
)
def test_an_answer_that_the_passages_do_not_give_has_no_support(answer):
    assert supported(answer) == []


def test_a_prompt_without_words_supports_nothing():
    assert supported("Herons nested at nine ponds.", "") == []
    assert supported("Herons nested at nine ponds.", "— … —") == []


@given(st.text())
def test_sentences_joined_are_the_text_again(text):
    assert "".join(sentences_of(text)) == text
