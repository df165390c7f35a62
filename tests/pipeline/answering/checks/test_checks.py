from dataclasses import replace

import pytest

from pipeline.answering.checks import chosen_checks, known_checks, run_checks
from pipeline.answering.checks.base import Finding, Subject
from pipeline.answering.checks.echo import PHRASE_WORDS
from pipeline.core.errors import ConfigError
from tests.pipeline.answering.checks.grounded import subject as a_subject
from tests.pipeline.answering.checks.look import PROMPT_WORDS, look


def test_every_file_of_the_folder_is_a_check():
    assert list(known_checks()) == [
        "complete",
        "echo",
        "empty",
        "format",
        "general",
        "links",
        "names",
        "numbers",
        "quotes",
        "references",
        "repetition",
        "word_count",
    ]


def test_the_job_file_sets_levels_and_off_drops_a_check():
    chosen = {c.name: c.level for c in chosen_checks({"format": "fail", "echo": "off"})}
    assert chosen["format"] == "fail"
    assert "echo" not in chosen
    assert chosen["empty"] == "fail"


def test_format_fails_no_answer_by_default():
    assert known_checks()["format"].level == "label"


def test_an_unknown_check_stops_the_job_with_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean 'word_count'"):
        chosen_checks({"wordcount": "fail"})


@pytest.mark.parametrize(("words", "passed"), [(9, True), (10, True), (11, False)])
def test_an_answer_may_have_as_many_words_as_allowed_and_no_more(words, passed):
    result = look("word_count", "w\u00e4 " * (words - 1) + "end\u2014of-it.", max_words=10)
    assert (result.passed, result.evidence) == (passed, f"{words} words, at most 10")


@pytest.mark.parametrize(
    ("completion", "passed"),
    [
        ("Answer:::\nHerons.\nAnswer:::", True),
        ("  Answer::: Herons. Answer:::\n", True),
        ("Herons.", False),
        ("Answer:::\nHerons.", False),
        ("Well: Answer:::\nHerons.\nAnswer:::", False),
        ("Answer:::\nHerons.\nAnswer:::\nMore.", False),
        ("Answer:::\nHerons.\nAnswer:::\nEgrets.\nAnswer:::", False),
        ("Answer:::\n\nAnswer:::", False),
        ("", False),
    ],
)
def test_format_is_one_answer_between_two_markers(completion, passed):
    assert look("format", completion).passed is passed


def test_an_empty_answer_fails_with_the_completion_as_evidence():
    assert look("empty", "Answer:::\nAnswer:::", "").evidence == (
        "nothing but the frame: Answer::: Answer:::"
    )
    assert not look("empty", "", "").passed
    assert look("empty", "x").passed


@pytest.mark.parametrize(
    "answer",
    [
        "Herons. Answer::: Egrets.",
        "Herons. Answer：：： Egrets.",
        "(provide your answer to the query here)",
        "[your answer]",
        "%Query herons",
        "I shall state only what the passages say and keep their numbers.",
    ],
)
def test_an_answer_that_repeats_the_prompt_is_an_echo(answer):
    assert not look("echo", answer).passed


@pytest.mark.parametrize("start", range(len(PROMPT_WORDS.split()) - PHRASE_WORDS + 1))
def test_so_many_words_of_the_prompt_are_an_echo_wherever_they_stand(start):
    phrase = PROMPT_WORDS.split()[start : start + PHRASE_WORDS]
    for before in range(2 * PHRASE_WORDS):
        for words, passes in ((phrase, False), (phrase[1:], True), (phrase[:-1], True)):
            answer = " ".join([*["herons"] * before, *words, "egrets"])
            assert look("echo", answer).passed is passes


def test_a_quote_from_the_passages_is_not_an_echo():
    assert look("echo", "At pond 4 we counted seven herons on their nests in May.").passed


@pytest.mark.parametrize("name", list(known_checks()))
@pytest.mark.parametrize("text", ["", " ", "\x00", "a" * 300_000, "(" * 5_000, "x " * 50_000])
def test_no_check_chokes_on_hostile_text(name, text):
    assert isinstance(look(name, text).passed, bool)
    assert len(look(name, text).evidence) < 1000


def test_a_fault_of_a_check_costs_the_check_alone():
    def faulty(subject: Subject) -> Finding:
        return Finding(True, str(1 / (len(subject.answer) - len(subject.answer))))

    (check,) = (c for c in chosen_checks({}) if c.name == "numbers")
    results, _ = run_checks(
        (replace(check, test=faulty),), a_subject("Twelve herons nested.", "Herons nested.")
    )
    assert [(r.passed, r.level) for r in results] == [(False, "label")]
    assert results[0].evidence == "a fault of the check itself: ZeroDivisionError: division by zero"
