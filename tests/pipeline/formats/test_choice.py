"""An answer that is one of a few choices: told in any dress, and never guessed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.schema import Answer
from pipeline.core.errors import ConfigError
from pipeline.formats import format_of
from pipeline.formats.choice import Choice

YES_NO = Choice(("yes", "no", "unclear"))


@pytest.mark.parametrize(
    ("said", "chosen"),
    [
        ("yes", "yes"),
        ("Yes.", "yes"),
        ("**No**", "no"),
        (' "unclear" ', "unclear"),
        ("Answer: yes", "yes"),
        ("Answer:::\nno\nAnswer:::", "no"),
        ("Yes, the code is in the archive.", "yes"),
        ("No. The passages name no archive.", "no"),
        ("**Unclear** — two passages differ.", "unclear"),
        ("no\n\nNothing was said of it.", "no"),
        ("yes<|im_end|>", "yes"),
    ],
)
def test_a_choice_is_told_whatever_stands_around_it(said: str, chosen: str):
    extracted = YES_NO.extract(said)
    assert (extracted.answer, extracted.prose, YES_NO.fault(said)) == (chosen, None, None)


@pytest.mark.parametrize(
    "said",
    [
        "No information is given.",
        "Not stated",
        "It is yes or no.",
        "yes and no",
        "The answer is perhaps",
        "noble",
        "Yesterday, it was.",
        "",
    ],
)
def test_what_is_no_choice_is_a_fault_and_stays_whole(said: str):
    fault = YES_NO.fault(said)
    assert fault is not None
    assert "yes | no | unclear" in fault.ask
    assert YES_NO.extract(said).answer == said


words = st.text(st.sampled_from("abcdefg xyz-/>5"), min_size=1, max_size=12)
lists = st.lists(words.map(str.strip).filter(bool), min_size=2, max_size=6)


def accepted(choices: list[str]) -> list[str] | None:
    try:
        return Answer(choices=choices).choices
    except ValueError:
        return None


@given(
    lists, st.sampled_from(["{}", "{}.", "**{}**", '"{}"', "Answer: {}", " {}\n", "{}, as said."])
)
def test_every_choice_of_every_list_is_told_from_the_others(choices: list[str], dress: str):
    if (taken := accepted(choices)) is None:
        return
    format_ = Choice(tuple(taken))
    for choice in taken:
        assert format_.extract(dress.format(choice)).answer == choice
        assert re.fullmatch(format_.constraint.pattern, choice)


def test_the_words_of_a_job_file_are_taken_as_they_are_written(tmp_path):
    from pipeline.config.loading import load_job

    text = "{name: a, input: {uri: x}, output: {uri: y}, answer: {choices: [yes, No, 1.10, on]}}"
    (tmp_path / "job.yaml").write_text(text)
    assert load_job(tmp_path / "job.yaml").answer.choices == ["yes", "No", "1.10", "on"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("{choices: [yes]}", "a choice needs two choices or more"),
        ("{choices: [Yes, yes]}", "'Yes' is like another choice but for case and signs"),
        ("{choices: [yes, '.']}", "'.': a choice is a few words on one line"),
        ("{choices: [yes, no], frame: none}", "frame and choices: an answer has one format"),
        ("{choices: [yes, no], schema: {}}", "keep one of them"),
    ],
)
def test_choices_that_cannot_be_told_apart_stop_a_job_before_it_starts(tmp_path, answer, message):
    from pipeline.config.loading import load_job

    path = tmp_path / "job.yaml"
    path.write_text(f"{{name: a, input: {{uri: x}}, output: {{uri: y}}, answer: {answer}}}")
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_job(path)


def test_the_format_of_a_job_with_choices_is_a_choice():
    assert format_of(Answer(choices=["a", "b"])) == Choice(("a", "b"))


def test_the_extractive_engine_takes_the_choice_that_it_quotes_else_the_last():
    assert YES_NO.written("The answer was no at the time.") == "no"
    assert YES_NO.written("The passages do not say.") == "unclear"
