"""Which corrections count: the newest of each person, about the text that counts."""

import random

import pytest

from pipeline.results.corrections.standing import NONE, consensus, stand, standing
from pipeline.store.corrections import add_corrections, answer_sha256
from tests.support.answers import NOW, answer_row, write_answers
from tests.support.corrections import correction

TEXTS = {("a", "key of heron"): answer_sha256("Ten herons.")}


def counting(*corrections) -> dict[str, list[str]]:
    """What counts of answer `a`, by field."""
    ordered = sorted(corrections, key=lambda c: c.at)
    found = stand(ordered, TEXTS).counting.get(("a", "key of heron"), {})
    return {field: [f"{c.annotator} {c.value}" for c in said] for field, said in found.items()}


def test_the_newest_of_each_person_counts_field_by_field():
    assert counting(
        correction("a", "yes", minutes=3),
        correction("a", "no", minutes=1),
        correction("a", "unsure", annotator="ben", minutes=2),
        correction("a", "hedged", field="stance"),
    ) == {"answers_question": ["ben unsure", "ana yes"], "stance": ["ana hedged"]}


def test_a_correction_of_another_text_is_stale_and_the_one_before_counts_on():
    about_another = correction("a", "yes", answer="Nine herons.", minutes=9)
    assert counting(correction("a", "no"), about_another) == {"answers_question": ["ana no"]}
    assert stand([correction("a"), about_another], TEXTS).stale == [about_another]


@pytest.mark.parametrize("gone", [{"generation_key": "another"}, {}])
def test_a_correction_of_an_answer_that_is_not_there_is_stale(gone):
    of_nothing = correction("a" if gone else "z", **gone)
    assert stand([of_nothing], TEXTS).stale == [of_nothing]


@pytest.mark.parametrize("seed", range(20))
def test_none_is_lost_or_counts_twice(seed):
    """Each counts, is stale, or has a newer one of the same person on the same field."""
    drawn = random.Random(seed)
    said = sorted(
        {
            correction(
                drawn.choice("ab"),
                drawn.choice(["yes", "no"]),
                drawn.choice(["ana", "ben"]),
                drawn.choice(["answers_question", "check:echo"]),
                drawn.choice(["Ten herons.", "Nine."]),
                minutes,
            )
            for minutes in range(30)
        },
        key=lambda c: c.at,
    )
    found = stand(said, TEXTS)
    counts = {c for fields in found.counting.values() for cs in fields.values() for c in cs}
    for c in said:
        newer = {
            other
            for other in counts
            if other[:4] == c[:4] and other.annotator == c.annotator and other.at > c.at
        }
        assert (c in counts) + (c in found.stale) + bool(newer) == 1


def test_of_several_people_most_count_and_a_tie_is_unsure():
    def said(*values, field="answers_question"):
        return consensus(
            [correction("a", v, n, field) for n, v in zip("abcd", values, strict=False)]
        )

    assert said("no") == said("no", "yes", "no") == "no"
    assert said("yes", "no") == said("yes", "no", "no", "yes") == "unsure"
    assert said("passed", "missed", field="check:echo") == "unsure"
    assert said("Ten.", "Ten", field="answer") == "Ten"


def test_the_answer_that_counts_is_the_newest_of_the_store(tmp_path):
    store = write_answers(tmp_path, [answer_row("a_1"), answer_row("b_1")])
    assert standing(store) == NONE
    old, other = correction("a_1"), correction("b_1")
    add_corrections(store, [old, other])
    assert standing(store).stale == []
    write_answers(tmp_path, [answer_row("a_1", "Nine.", written_at=NOW.replace(hour=4))])
    assert standing(store).stale == [old]
    write_answers(tmp_path, [answer_row("a_1", written_at=NOW.replace(hour=5))])
    assert standing(store).stale == []
