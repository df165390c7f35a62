"""The decoder's expression: every completion that it allows passes the two checks."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answering.checks import chosen_checks, run_checks
from pipeline.answering.checks.base import Subject
from pipeline.config.schema import Answer
from pipeline.core.records import Completion, FinishReason, Split
from pipeline.core.words import count_words
from pipeline.formats import format_of
from pipeline.formats.base import WritableFormat
from pipeline.formats.extract import extract_answer
from pipeline.formats.frame import FRAME, Frame
from pipeline.prompting.template import load_prompt, render
from tests.support.jobs import record

MOST = 6
FRAME_OF_FEW = Frame(max_words=MOST)
REGEX = FRAME_OF_FEW.constraint.pattern

NO_BREAK, EM_SPACE, LINE_SEPARATOR, NEXT_LINE, UNIT = "\xa0", "\u2003", "\u2028", "\x85", "\x1f"


def framed(answer: str) -> str:
    return f"Answer:::\n{answer}\nAnswer:::"


def fits(completion: str) -> bool:
    return re.fullmatch(REGEX, completion) is not None


@given(st.from_regex(re.compile(REGEX), fullmatch=True))
@settings(max_examples=300, deadline=None)
def test_every_completion_it_allows_keeps_format_and_word_limit(completion):
    checks = tuple(c for c in chosen_checks({}) if c.name in ("format", "word_count"))
    ended = FRAME.closed(Completion(completion, "stop"))
    subject = Subject(ended, extract_answer(ended.text), "", MOST)
    results, _ = run_checks(checks, subject)
    assert [r.passed for r in results] == [True, True]


@given(st.from_regex(re.compile(REGEX), fullmatch=True), st.sampled_from(["stop", "length"]))
@settings(max_examples=100, deadline=None)
def test_the_frame_is_closed_once_and_only_where_the_model_ended_its_turn(
    completion: str, reason: FinishReason
):
    ended = FRAME.closed(Completion(completion, reason))
    assert ended.text.removeprefix(completion) in ("", "\nAnswer:::")
    assert ended.text.endswith("\nAnswer:::") or reason == "length"
    assert FRAME.closed(ended) == ended


@pytest.mark.parametrize(
    ("split", "lacking"),
    [
        (Split("Answer::: is the marker", "Answer:::\nMany."), "\nAnswer:::"),
        (Split("Answer:::\nMany, or", "", is_closed=False), ""),
    ],
)
def test_the_frame_is_that_of_the_answer_and_not_of_the_thought(split: Split, lacking: str):
    thought = Completion(f"<think>{split.reasoning}</think>{split.content}", "stop", split=split)
    ended = FRAME.closed(thought)
    assert (ended.text, ended.content) == (thought.text + lacking, thought.content + lacking)
    assert ended.reasoning == split.reasoning


answers = st.text(st.sampled_from("abT3 海胆数了のカー。、「」，:：.-(\n"), max_size=24)


@given(answers)
@settings(max_examples=1000, deadline=None)
def test_an_answer_that_it_allows_has_no_more_words_than_the_check_counts(answer):
    if fits(framed(answer)):
        assert count_words(answer) <= MOST


@given(st.lists(st.sampled_from("潜水员数了海胆"), min_size=1, max_size=2 * MOST).map("".join))
def test_ideographs_are_counted_as_the_check_counts_them(answer):
    assert fits(framed(answer)) == (count_words(answer) <= MOST)


@pytest.mark.parametrize(
    "answer", ["海胆は、四十。", "数了 3 次", "one 二 three", "海胆 3 四十五六七"]
)
def test_the_decoder_reads_the_expression_as_python_does(answer):
    llguidance = pytest.importorskip("llguidance")
    matcher = llguidance.LLMatcher(
        llguidance.LLTokenizer("byte"), llguidance.LLMatcher.grammar_from_regex(REGEX)
    )
    tokens = list(framed(answer).encode())
    accepted = matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()
    assert accepted == fits(framed(answer))


@given(st.from_regex(re.compile(REGEX), fullmatch=True))
@settings(max_examples=200, deadline=None)
def test_no_word_in_it_reads_as_a_marker(completion):
    answer = completion.removeprefix("Answer:::").removesuffix("Answer:::")
    assert "::" not in answer


@pytest.mark.parametrize(
    "answer",
    [
        "Yes.",
        "It has 64: https://example.org/a:b?c=d (1:2).",
        "- one\n- two\n\n- three",
        "naïve 𝐵 ≥ 3 µm 😀",
        "海胆は、四十。",
        "「海胆」: 四十",
        "Marsh 数了 3 次。",
    ],
)
def test_natural_answers_are_allowed(answer):
    assert fits(framed(answer))


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " ",
        "one two three four five six seven",
        "one\n\n\n\n\ntwo",
        "one Answer::: two",
        "std::vector",
        "Answer：：",
        "潜水员数了海胆",
        "一二三四五 six 七",
        "数了3次",  # a word of another script needs a space before it
        "x" * 200,
        *(f"one{space}two" for space in (NO_BREAK, EM_SPACE, LINE_SEPARATOR, NEXT_LINE, UNIT)),
    ],
)
def test_answers_that_break_the_checks_or_never_end_are_not(answer):
    assert not fits(framed(answer))


def test_words_are_counted_as_the_check_counts_them():
    assert fits(framed(" ".join(["wä"] * MOST)))
    assert not fits(framed(" ".join(["wä"] * (MOST + 1))))


def test_a_limit_of_one_word_allows_one_word():
    assert re.fullmatch(Frame(max_words=1).constraint.pattern, framed("No."))
    assert not re.fullmatch(Frame(max_words=1).constraint.pattern, framed("No way."))


def test_no_sign_behind_a_letter_is_a_word():
    one = Frame(max_words=1).constraint.pattern
    characters = (chr(c) for c in range(0x30000) if not 0xD800 <= c < 0xE000)
    allowed = [c for c in characters if re.fullmatch(one, framed(f"海{c}"))]
    assert len(allowed) > 100
    assert {c for c in allowed if count_words(f"海{c}") != 1} == set()


# Frames of one's own.

PAIRS = [("<answer>", "</answer>"), ("###", "###"), ("ANTWORT:", "ENDE"), ("[[", "]]"), ("§", "§")]


def own(pair: tuple[str, str]) -> WritableFormat:
    format_ = format_of(Answer(frame={"begin": pair[0], "end": pair[1]}, max_words=MOST))
    assert isinstance(format_, WritableFormat)
    return format_


@pytest.mark.parametrize("pair", PAIRS)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_whatever_an_enforced_frame_of_ones_own_allows_is_a_framed_answer(
    pair, data: st.DataObject
):
    format_ = own(pair)
    text = data.draw(st.from_regex(re.compile(format_.constraint.pattern), fullmatch=True))
    ended = format_.closed(Completion(text, "stop"))
    assert format_.fault(ended.text) is None
    answer = format_.extract(ended.text).answer
    assert answer in ended.text
    assert answer
    assert count_words(answer) <= MOST


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("answer", ["Four.", "p < 0.05, [1] § 3", "one\n\ntwo"])
def test_what_is_written_in_a_frame_comes_back(pair, answer: str):
    format_ = own(pair)
    assert format_.extract(format_.written(answer)).answer == answer
    assert format_.fault(format_.written(answer)) is None


@pytest.mark.parametrize(
    ("said", "answer", "why"),
    [
        ("<answer>Four.</answer>", "Four.", None),
        ("Well. <answer>Four.</answer>", "Four.", "text before the first <answer>: Well."),
        ("<answer>Four.", "Four.", "no closing </answer>"),
        ("Four.", "Four.", "no <answer>"),
        ("<answer>Four.</answer> Done.", "Four.", "text after the closing </answer>: Done."),
        ("<answer></answer>", "", "nothing between the markers"),
    ],
)
def test_a_frame_that_is_not_kept_is_named_and_loses_no_answer(said, answer, why):
    format_ = own(("<answer>", "</answer>"))
    fault = format_.fault(said)
    assert (fault.why if fault else None) == why
    assert format_.extract(said).answer == answer


def test_without_a_frame_everything_is_the_answer():
    format_ = format_of(Answer(frame="none", max_words=MOST))
    assert format_.extract(" Answer::: is a marker.\n").answer == "Answer::: is a marker."
    assert format_.fault("Anything.") is None
    assert re.fullmatch(format_.constraint.pattern, "one two three four five six")
    assert not re.fullmatch(format_.constraint.pattern, "one two three four five six seven")


def test_a_template_says_what_the_job_asks_for(tmp_path):
    template = "---\nname: t\nversion: 1\n---\n{{ answer_format }} / {{ max_words }}"
    (tmp_path / "t.md").write_text(template)
    said = {
        key: render(load_prompt(str(tmp_path / "t.md"), Answer(**answer)), record())[0][0].content
        for key, answer in {
            "default": {},
            "own": {"frame": {"begin": "[[", "end": "]]"}},
            "none": {"frame": "none", "max_words": 9},
            "choice": {"choices": ["yes", "no"]},
        }.items()
    }
    assert said == {
        "default": "Write the answer once, between two lines that each hold only the marker "
        "Answer::: / 399",
        "own": "Write the answer once, between a line that holds only [[ and a line that holds "
        "only ]] / 399",
        "none": "Write the answer and nothing else / 9",
        "choice": "Answer with exactly one of these, and nothing else: yes | no / 0",
    }


@pytest.mark.parametrize("template", ["context-first", "instructions-first"])
@pytest.mark.parametrize("answer", [{"choices": ["yes", "no"]}, {"frame": "none"}])
def test_our_templates_ask_for_the_format_of_the_job(template: str, answer):
    source = load_prompt(f"conf/prompts/{template}.md", Answer(**answer))
    text = "\n".join(m.content for m in render(source, record())[0])
    assert source.words.answer_format in text
    assert "Answer:::" not in text
    assert ("words" in text) == ("choices" not in answer)
