"""A quotation stands in the prompt word by word, but for what a PDF's text does to words."""

import random

import pytest

from pipeline.answering.checks import known_checks
from tests.pipeline.answering.checks.grounded import QUESTION, judged, only_claim, source_of

SAID = "Herons were counted at dawn from a tower with a classification network"
PASSAGES = f"The pond is small. {SAID}, while it rained. Egrets were left aside."
VOCABULARY = (
    "heron egret pond reed tower drone camera nest colony survey dawn island marsh shore flock "
    "wing ringing egg chick season weather observer telescope count model image label pixel"
)


def test_check_quotes_is_a_label_by_default():
    assert known_checks()["quotes"].level == "label"


@pytest.mark.parametrize(
    "marks", ["“{}”", '"{}"', "‘{}’", "'{}'", "«{}»", "« {} »", "„{}“", "`{}`", '"{}."', "「{}」"]
)
def test_the_words_between_marks_of_any_kind_are_looked_for(marks):
    assert judged("quotes", "It says: " + marks.format(SAID), PASSAGES).passed
    other = marks.format(SAID.replace("tower", "helicopter"))
    assert not judged("quotes", f"It says: {other}", PASSAGES).passed


@pytest.mark.parametrize(
    "held",
    [
        "Herons were counted at dawn from a tower with a classi-\nfication network",
        "Herons were counted at dawn from a tower with a classiﬁcation network",
        "Herons were counted at dawn from a tower with a classi cation network",
        "Herons  were  counted\nat dawn\nfrom a tower with a classification network",
        "Herons were counted (Marsh, 2020) at dawn from a tower [3] with a classification network",
        "Herons were coun-\n2.3 Ponds and reeds of the area\nted at dawn from a tower with a "
        "classification network",
        "dawn from a tower with a classification network\nTable 2\nHerons were counted at",
        "HERONS WERE COUNTED AT DAWN FROM A TOWER WITH A CLASSIFICATION NETWORK",
    ],
)
def test_damage_of_a_layout_makes_no_difference(held):
    assert judged("quotes", f'It says "{SAID}".', f"Ponds are small. {held}. It rained.").passed


@pytest.mark.parametrize(
    "quoted",
    [
        "Herons were counted at dawn ... with a classification network",
        "Herons were counted … with a classification network",
        "[The birds] were counted at dawn from a tower",
        "[H]erons were counted [...] from a tower with a classification network",
        "Herons are counted at dawn from the tower with a classification network",
        "herons counted at dawn from a tower with classification networks",
    ],
)
def test_ellipses_brackets_little_words_and_inflection_are_allowed(quoted):
    assert judged("quotes", f"It says “{quoted}”.", PASSAGES).passed


@pytest.mark.parametrize(
    "quoted",
    [
        "Herons were counted at dusk from a tower with a classification network",
        "Herons were counted at dawn from a tower with a segmentation network",
        "Herons and bitterns were counted at dawn from a tower with a classification network",
        "Herons were counted at dawn from 3 towers with a classification network",
        "A tower is the best place to count any bird",
    ],
)
def test_one_other_content_word_is_a_fault(quoted):
    finding = judged("quotes", f'It says "{quoted}".', PASSAGES)
    assert only_claim(finding).text == quoted
    assert source_of(only_claim(finding), PASSAGES)
    assert finding.repair


@pytest.mark.parametrize(
    "answer",
    [
        f'You ask "{QUESTION[:-1]}".',
        'I was told "You answer by the passages".',
        'They call it "nest cam two".',
        "It's the herons' pond, and it isn't the egrets' pond that they've counted.",
        'The pond is 5" deep and the tower 30" wide, as they say.',
    ],
)
def test_the_question_terms_and_other_uses_of_marks_are_no_faults(answer):
    assert not judged("quotes", answer, PASSAGES).claims


@pytest.mark.parametrize("seed", range(60))
def test_a_quoted_word_that_was_changed_is_found(seed):
    rng = random.Random(seed)
    sentence = [rng.choice(VOCABULARY.split()) for _ in range(rng.randint(6, 14))]
    passages = f"We went out early. The {' '.join(sentence)}. Nobody was there."
    assert judged("quotes", f'It says "{" ".join(sentence)}".', passages).passed
    at = rng.randrange(len(sentence))
    sentence[at] = rng.choice(["locomotive", "parliament", "chocolate", "violin", "77"])
    assert not judged("quotes", f'It says "{" ".join(sentence)}".', passages).passed
