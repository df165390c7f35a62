"""Loops fail, in any script and with small changes; what is alike for a reason does not."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.answering.checks.look import look
from tests.support.timing import least_seconds

SENTENCE = "The nests were counted from the tower on each day of May. "
ANSWER = (
    "The crew counted herons from a tower beside the pond. They began at dawn, when the birds "
    "leave for the reeds, and stopped when the last had come back. Boats were not used."
)


def passes(answer: str, **fields) -> bool:
    return look("repetition", answer, **fields).passed


def test_a_loop_is_found_and_quoted():
    result = look("repetition", SENTENCE * 4)
    assert not result.passed
    assert result.evidence.startswith("4 times: The nests were counted from the tower")


@pytest.mark.parametrize(
    "answer",
    [
        "one two three four " * 10,
        "0" * 300,
        "la" * 100,
        "ha ha " * 60,
        "🐦" * 80,
        "!" * 300,
        "塔から巣を数えた。" * 12,
        "他们从塔上数鸟巢，" * 6,
        "นับรังนก" * 30,
        "- Herons nest in the reeds beside the pond.\n" * 8,
        "| pond | herons |\n" * 20,
    ],
)
def test_a_loop_needs_no_spaces_and_no_letters(answer):
    assert not passes(answer)
    assert not passes(f"They counted. {answer}")


def test_a_loop_behind_an_answer_is_a_loop():
    assert not passes(f"{ANSWER} {ANSWER[::-1]} {'And so on and on. ' * 15}")
    assert not passes(f"{'And so on and on. ' * 15} {ANSWER} {ANSWER[::-1]}")


def test_an_engine_that_stopped_a_loop_is_believed():
    assert not passes(ANSWER, finish_reason="repetition")
    assert passes(ANSWER, finish_reason="stop")


@pytest.mark.parametrize("number", ["{}. ", "{}) ", "{}.", "**{}.** ", "  {}: "])
def test_a_loop_that_counts_its_turns_is_a_loop(number):
    lines = (f"{number.format(n)}{SENTENCE.strip()}" for n in range(1, 13))
    assert not passes("\n".join(lines))


def test_the_same_with_small_changes_over_and_over_is_a_loop():
    chance = random.Random(3)
    sentences = (
        f"The {chance.choice(['nests', 'eggs'])} were counted from the tower in the month of "
        f"{chance.choice(['May', 'June', 'July'])}."
        for _ in range(40)
    )
    assert not passes(" ".join(sentences))


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "No. No. No. No.",
        "ha ha ha",
        "1000000000000 or 0.00000000001",
        " ".join(f"Pond {n} held {n * 7} herons and {n * 3} egrets in May." for n in range(20)),
        # tables, whose rows may differ in a number only
        "| Pond | May | June |\n|---|---|---|\n"
        + "\n".join(f"| P{n} | yes | no |" for n in range(40)),
        "| Pond |" + " May |" * 12 + "\n|" + "---|" * 13 + "\n"
        + "\n".join(f"| P{n} |" + " yes |" * 12 for n in range(20)),
        "\n".join(f"P{n},yes,no,yes,no,yes,yes,no,0,0,0,0,1" for n in range(60)),
        "\n".join(f"P{n}\t0\t0\t1\t0\t0\t1\t0\t0\t1" for n in range(60)),
        f"Herons:\n{'-' * 150}\n{ANSWER}",
        # lists
        "\n".join(f"- Pond {n}: herons yes, egrets no" for n in range(40)),
        "\n".join(f"{n}. Pond {n} was counted from the tower in May, twice." for n in range(40)),
        "\n".join(f"{n}. yes" for n in range(40)),
        # a bibliography
        "\n".join(
            f"[{n}] Marsh, A. {'Egret' if n % 2 else 'Heron'} counts of {1980 + n}. In Proceedings "
            f"of the International Conference on the Counting of Wading Birds, pages {n}-{n + 9}."
            for n in range(20)
        ),
        # prose that comes back to its terms
        " ".join(
            f"{name} turns each picture of a nest at random. This helps the model to recognize "
            f"nests that are {what}."
            for name, what in [
                ("Rotation", "seen from another side of the tower"),
                ("Scaling", "further away, or much closer, than those of the training data"),
                ("Cropping", "partly hidden by reeds or leaves"),
                ("Noise", "blurred, for instance by rain on the lens"),
                ("Colour jitter", "in the evening's light"),
            ]
        ),
    ],
)  # fmt: skip
def test_what_is_alike_for_a_reason_is_no_loop(answer):
    assert passes(answer)
    assert passes(f"{ANSWER}\n\n{answer}")


@settings(max_examples=200, deadline=None)
@given(
    st.text(min_size=1, max_size=300).filter(lambda t: any(map(str.isalnum, t))),
    st.text(max_size=400),
    st.text(max_size=400),
)
def test_whatever_comes_back_to_back_often_enough_is_found(block, before, after):
    times = max(4, -(-200 // len(block.encode(errors="replace"))))
    assert not passes(before + "\n" + block * times + "\n" + after)


@settings(max_examples=100, deadline=None)
@given(st.integers(), st.integers(1, 60), st.sampled_from(["ACGT", "01", "0123456789", "αβγδ"]))
def test_rows_of_letters_and_digits_by_chance_are_no_loop(seed, rows, letters):
    chance = random.Random(seed)
    lines = (" ".join(chance.choices(letters, k=30)) for _ in range(rows))
    assert passes("\n".join(lines))


@pytest.mark.parametrize(
    "answer",
    [
        " ".join(f"{n * 7919 % 1000} herons" for n in range(180)),
        "\n".join(f"{n}. Pond {n} was counted from the tower in May, twice." for n in range(40)),
        "| P | yes | no |\n" * 120,
        "".join(random.Random(5).choices("ACGT", k=2_000)),
    ],
)
def test_an_answer_of_2000_characters_takes_less_than_a_millisecond(answer):
    assert least_seconds(lambda: passes(answer), tries=20) < 1e-3


@pytest.mark.parametrize("piece", ["a", "ab", "a" * 40 + "b", "x ", "(", "😀"])
def test_a_long_text_takes_time_in_proportion_to_its_length(piece):
    chance = random.Random(7)
    mixed = "".join(piece * chance.randint(1, 3) + chance.choice("xyz") for _ in range(40_000))
    long, mixed = (piece * 300_000)[:300_000], mixed[:300_000]
    assert least_seconds(lambda: (passes(long), passes(mixed)), tries=2) < 2
