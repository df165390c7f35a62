"""Thoughts are told from answers in the formats of many families, and nothing else is cut."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answering.reasoning import leave_whole, split_completion, split_text, splitter_of
from pipeline.answering.thought_marks import FORMATS as TABLE
from pipeline.answering.thought_marks import HINTS
from pipeline.core.records import Completion, Split
from pipeline.formats.extract import extract_answer
from tests.support.timing import least_seconds
from tests.support.transcripts import FORMATS, Format

THOUGHT = "The user asks for the lamp. Fog is in passage two.\n\nSo it is amber, not white."
ANSWER = "The keepers trust the amber lamp.\n\nThey light it at dusk [2]."
FRAMED = f"Answer:::\n{ANSWER}\nAnswer:::"

formats = pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.name)


def answer_of(text: str) -> str:
    return extract_answer(split_text(text).content)


@formats
@pytest.mark.parametrize("answer", [ANSWER, FRAMED, '{"lamp": "amber"}'])
def test_each_family_is_split_into_its_thought_and_its_answer(format_: Format, answer: str) -> None:
    text = format_.text(THOUGHT, answer)
    split = split_text(text)
    assert (split.reasoning, split.is_closed) == (THOUGHT, True)
    assert split.content.startswith(answer)
    assert answer_of(text) == extract_answer(answer)


@formats
def test_an_empty_thought_is_no_thought(format_: Format) -> None:
    assert split_text(format_.text("\n\n", ANSWER)).reasoning == ""
    assert answer_of(format_.text("\n\n", ANSWER)) == ANSWER


@formats
def test_a_thought_that_is_not_closed_has_no_answer(format_: Format) -> None:
    if format_.before:
        assert split_text(format_.before + THOUGHT) == Split(THOUGHT, "", is_closed=False)


@formats
def test_a_thought_that_nothing_follows_is_closed(format_: Format) -> None:
    assert split_text(format_.before + THOUGHT + format_.between) == Split(THOUGHT, "")


# Generated transcripts. The two parts share no word, so that a leak shows.

QUOTED = ["`</think>`", '"</think>"', "`<think>`", "“</think>”", "`<|channel|>final<|message|>`"]
NAMED = ["the tags <think> and </think> there", "no </think> tag here"]


def sentences(*words: str) -> st.SearchStrategy[str]:
    word = st.sampled_from(words)
    said = st.lists(word, min_size=2, max_size=6).map(" ".join)
    sentence = st.tuples(said, st.sampled_from([".", "!", "?", ":"])).map("".join)
    breaks = st.sampled_from([" ", "\n", "\n\n", "\n- "])
    return st.lists(st.tuples(sentence, breaks), min_size=1, max_size=4).map(
        lambda pairs: f"So {''.join(map(''.join, pairs))}".strip().rstrip(":") + "."
    )


thoughts = sentences("hum", "mull", "wonder", "fog 5", "(perhaps)", '"amber"', *QUOTED)
answers = sentences("keepers", "lamp", "dusk", "**amber**", "[2]", "x < y", *QUOTED, *NAMED)
THOUGHT_WORDS = ("hum", "mull", "wonder", "fog", "perhaps")


def check_cut(format_: Format, thought: str, answer: str, at: int) -> None:
    """Checks what is told of the first `at` characters of a completion."""
    opened = len(format_.before)
    closed = opened + len(thought) + len(format_.between)
    whole = format_.text(thought, answer)
    split = split_text(whole[:at])
    assert not any(word in split.content for word in THOUGHT_WORDS)
    if opened < at <= opened + len(thought):
        assert (split.content, split.is_closed) == ("", False)
    elif at >= closed:
        assert split.reasoning == thought
        assert split.content in whole[closed:]
        assert split.content.startswith(answer[: at - closed].strip())


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(FORMATS), thoughts, answers, st.randoms(use_true_random=False))
def test_wherever_a_completion_is_cut_no_word_of_the_thought_is_in_the_answer(
    format_: Format, thought: str, answer: str, random: Random
) -> None:
    closed = len(format_.before) + len(thought) + len(format_.between)
    first = 0 if format_.before else closed  # before that, nothing tells that it is a thought
    for at in random.choices(range(first, len(format_.text(thought, answer)) + 1), k=20):
        check_cut(format_, thought, answer, at)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([f for f in FORMATS if "think" in f.between]), st.lists(thoughts), answers)
def test_several_thoughts_are_all_kept_out_of_the_answer(
    format_: Format, more: list[str], answer: str
) -> None:
    text = format_.text("So hum.", answer)
    for thought in more:
        text += f"\n\n<think>\n{thought}\n</think>\n\nAnd {answer}"
    split = split_text(text)
    assert split.is_closed
    assert not any(word in split.content for word in THOUGHT_WORDS)
    assert split.content.count(answer) >= 1 + len(more)


ORDINARY = (
    *("think", "thinking", "<b>", "</b>", "x < y", "a > b", "[1]", "THINK", "|"),
    *("analysis of", "final", "assistant", "the assistant", "channel", "Here is my answer:", "\n"),
    *("response:", "thought process:", "<thinks>", "</ think>", "< think >", "<i>think</i>", "```"),
    *("Here is my thought", "process:", "|>", "<|", "<unused1>", "message|>", "to=self", "◁", "▷"),
)


@settings(max_examples=500, deadline=None)
@given(
    (st.lists(st.sampled_from(ORDINARY)).map(" ".join) | st.text(max_size=60)).map("So {}".format)
)
def test_a_text_without_marks_is_never_split(text: str) -> None:
    assert split_text(text) == Split("", text)


@pytest.mark.parametrize(
    "text",
    [
        "Models wrap their thoughts in <think> and </think> tags, and the answer follows.",
        "The model writes `</think>` when it is done. Then it answers.",
        "R1 has this form:\n```\n<think>\nreasons\n</think>\nanswer\n```\nand so do others.",
        "R1 has this form:\n\n    <think>\n    reasons\n    </think>\n\nand so do others.",
        "The template is:\n<think>\nreasons\n</think>\nanswer",
        "The template is <think>reasons</think> and then the answer.",
        "<think> is the tag with which R1 opens its thoughts.",
        "<think> and </think> are the tags of R1.",
        "The thought ends with </think>.",
        "The thought ends with </think>",
        "Each thought ends at </think> and the answer comes next.",
        'They end it by "</think>" in the transcript.',
        "They wrap it as “<think>…</think>”, the authors say.",
        "In R1, <think>…</think> holds the thought.",
        "Qwen3 (which writes <think>) and QwQ (</think> alone) differ.",
        "- <think>: opens\n- </think>: closes",
        "1. <think> opens it\n2. </think> closes it",
        "| tag | use |\n|---|---|\n| <think> | opens |\n| </think> | closes |",
        "模型用<think>和</think>标签包住思考。",
        "思考以</think>结束，然后是答案。",
        "The [THINK] token opens a thought and [/THINK] closes it.",
        "gpt-oss opens with <|channel|>analysis<|message|> and ends with <|end|>.",
        "It writes <|start|>assistant<|channel|>final<|message|> before its answer.",
        "The tokens `<|start|>assistant<|channel|>final<|message|>` begin the answer.",
        "Without its tokens it reads analysis… and assistantfinal in one go.",
        "analysis of the log shows forty urchins.",
        "analysis: forty urchins",
        "commentary\n\nForty urchins.",
        "They agreed. Here is my response: yes. Here is my thought process: none.",
        "They light it at dusk.<|end|>",
        "They light it at dusk.<|eom|>",
    ],
)
def test_an_answer_that_speaks_of_marks_is_not_cut(text: str) -> None:
    assert split_text(text) == Split("", text)
    assert split_text(f"<think>\n{THOUGHT}\n</think>\n\n{text}") == Split(THOUGHT, text)
    assert split_text(f"{THOUGHT}\n</think>\n\n{text}") == Split(THOUGHT, text)


@pytest.mark.parametrize(
    "spoken",
    [
        "I must not write `</think>` yet.",
        'I must not write "</think>" yet.',
        "The tags are <think> and </think>.",
        "I close it with </think>, later.",
        "Use <think>…</think> for it. Fine.",
        "They paste:\n```\n<think>\nold\n</think>\n```",
        "They paste:\n<think>\nold\n</think>\nand ask.",
        "First <|channel|>analysis<|message|>, then assistantfinal.",
    ],
)
def test_a_thought_that_speaks_of_marks_goes_on(spoken: str) -> None:
    thought = f"{spoken}\nSo it is amber."
    assert split_text(f"<think>\n{thought}\n</think>\n\n{ANSWER}") == Split(thought, ANSWER)


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        # tags on one line, or glued, or in other places than usual
        ("<think>Fog. Amber.</think>They trust it.", "Fog. Amber.", "They trust it."),
        ("Fog. Amber.</think>They trust it.", "Fog. Amber.", "They trust it."),
        ("Fog. Amber. </think> They trust it.", "Fog. Amber.", "They trust it."),
        ("fog, or amber</think>They trust it.", "fog, or amber", "They trust it."),
        ("fog, or amber </think>\n\nThey trust it.", "fog, or amber", "They trust it."),
        ("<think> amber </think> they trust it", "amber", "they trust it"),
        ('<think>It says "amber"</think>"Amber" it is.', 'It says "amber"', '"Amber" it is.'),
        ("Fog. Amber.</think>| a |\n|---|", "Fog. Amber.", "| a |\n|---|"),
        ("<|im_start|>assistant\n<think>\nFog.\n</think>\nAmber.", "Fog.", "Amber."),
        ("Answer:::\n<think>Fog.</think>\nAmber.", "Fog.", "Answer:::\n\nAmber."),
        (
            "<thinking>Fog.</thinking>\n<answer>Amber.</answer>\nBye.",
            "Fog.",
            "<answer>Amber.</answer>\nBye.",
        ),
        (  # a block of code that the thought leaves open
            "<think>\n```py\nx\n</think>\nSo:\n```py\ny\n```",
            "```py\nx",
            "So:\n```py\ny\n```",
        ),
        # nothing thought
        ("thought\nAmber.", "", "Amber."),
        ("</think>\n\nAmber.", "", "Amber."),
        ("<think></think>\nAmber.", "", "Amber."),
        ("<|START_RESPONSE|>Amber.", "", "Amber."),
        ("<|channel|>final<|message|>Amber.<|return|>", "", "Amber."),
        ("assistantfinalAmber.", "", "Amber."),
        # marks written twice, or in each other's place
        ("<think>\n<think>\nFog.\n</think>\nAmber.", "Fog.", "Amber."),
        ("<think>\nFog.\n</think>\n\n</think>\n\nAmber.", "Fog.", "Amber."),
        ("<think>\nFog.\n<answer>\nAmber.\n</answer>", "Fog.", "Amber."),
        ("<|begin_of_thought|>Fog.<|begin_of_solution|>Amber.", "Fog.", "Amber."),
        # several thoughts, and words before the first
        ("Sure!\n<think>\nFog.\n</think>\nAmber.", "Fog.", "Sure!\n\nAmber."),
        ("<think>A.</think>B.\n<think>C</think>\nD.", "A.\n\nC", "B.\n\nD."),
        ("A.\n</think>\nB.\n<think>C</think>\nD.", "A.\n\nC", "B.\n\nD."),
    ],
)
def test_marks_in_unusual_places(text: str, reasoning: str, content: str) -> None:
    assert split_text(text) == Split(reasoning, content)


def harmony(*messages: tuple[str, str], end: str = "<|return|>") -> str:
    """Messages of channels, the first as a completion begins."""
    texts = (f"<|channel|>{channel}<|message|>{words}" for channel, words in messages)
    return "<|end|><|start|>assistant".join(texts) + end


CALL = "commentary to=functions.look <|constrain|>json"


@pytest.mark.parametrize(
    ("text", "split"),
    [
        (harmony(("analysis", "A."), ("analysis", "B."), ("final", "C.")), Split("A.\n\nB.", "C.")),
        (
            harmony(("analysis", "A."), ("commentary", "B."), ("final", "C.")),
            Split("A.\n\nB.", "C."),
        ),
        (harmony(("commentary", "B."), ("final", "C.")), Split("B.", "C.")),
        (harmony(("analysis", "A."), (CALL, "{}"), ("final", "C.")), Split("A.\n\n{}", "C.")),
        (harmony(("analysis", "A."), ("commentary", "B.")), Split("A.", "B.")),
        (
            harmony(("analysis", "A."), (CALL, "{}"), end="<|call|>"),
            Split("A.\n\n{}", "", is_closed=False),
        ),
        (
            harmony(("analysis", "A."), end="<|end|><|start|>assistant<|chan"),
            Split("A.", "", is_closed=False),
        ),
        (harmony(("final <|constrain|>json", "{}")), Split("", "{}")),
        ("<|channel|>analysis<|message|>A.<|channel|>final<|message|>C.", Split("A.", "C.")),
        (
            "<|channel|>analysis<|message|>A.\nassistant<|channel|>final<|message|>C.",
            Split("A.", "C."),
        ),
        ("analysisWe ask.assistantanalysisMore.assistantfinalC.", Split("We ask.\n\nMore.", "C.")),
        ("analysisWe ask.assistantcommentaryB.assistantfinalC.", Split("We ask.\n\nB.", "C.")),
        (
            "analysisWe ask.assistantcommentary to=functions.look json{}assistantfinalC.",
            Split("We ask.\n\nto=functions.look json{}", "C."),
        ),
        ("We ask.assistantfinalC.", Split("We ask.", "C.")),
        ("analysisWe ask.assistantfinal", Split("We ask.", "")),
        ("analysisWe ask", Split("We ask", "", is_closed=False)),
    ],
)
def test_only_the_final_channel_is_an_answer_or_the_commentary_if_nothing_is(
    text: str, split: Split
) -> None:
    assert split_text(text) == split


@pytest.mark.parametrize("cut", ["<t", "<think", "<|channel|>anal", "[THI", "◁thi", "<seed:"])
def test_a_completion_that_is_cut_in_its_opening_mark_has_no_answer(cut: str) -> None:
    assert split_text(cut) == Split("", "", is_closed=False)


def test_a_split_of_the_engine_stands_and_off_leaves_every_completion_whole() -> None:
    text = "<think>Fog.</think>Amber."
    of_engine = Completion(text, "stop", split=Split("Fog, by the engine.", "Amber."))
    assert split_completion(of_engine) is of_engine
    assert split_completion(Completion(text, "stop")).split == Split("Fog.", "Amber.")
    assert splitter_of("auto") is splitter_of("qwen3") is split_completion
    assert splitter_of("off") is leave_whole
    for completion in (of_engine, Completion(text, "stop")):
        assert leave_whole(completion) == Completion(text, "stop")


def test_each_mark_has_a_hint_of_those_that_a_text_is_first_searched_for() -> None:
    for format_ in TABLE:
        alone = format_.closings if format_.closes_alone else ()
        for spelling in (*format_.openings, *alone, *format_.answers):
            opens = spelling in format_.openings
            assert any(hint in spelling for hint in HINTS) or (opens and not format_.openings)


def test_a_text_without_marks_costs_a_few_microseconds() -> None:
    text = ("The keepers light the amber lamp, and they trust it [1]. p < 0.05. " * 40)[:2000]
    seconds = least_seconds(lambda: [split_text(text) for _ in range(200)], tries=20) / 200
    print(f"{seconds * 1e6:.1f} µs for {len(text)} characters")
    assert seconds < 50e-6  # some 6 on an idle machine


@pytest.mark.parametrize(
    "piece",
    [
        *("<think>a</think>b\n", "x <think> y ", "x.\n<think> is\n", "<think>\n", "a `</think>` b"),
        *("x </think> y ", "```\n<think>\n```\n", "x assistantfinal ", "assistant ", "<answer>\n"),
        *("<|start|>assistant<|channel|>final<|message|>", "<|end|>", " ", "```\n", '"</think>"'),
        *("<|end|>" + " " * 40, "<|channel|>", "Here is my thought process: ", "<|open|>think"),
        *("```a\n", "```a\n~~~\n"),
    ],
)
def test_the_time_grows_no_faster_than_the_text(piece: str) -> None:
    def seconds(times: int) -> float:
        opened, text = f"<think>{piece * times}", piece * times
        return least_seconds(lambda: (split_text(opened), split_text(text)), tries=3)

    assert seconds(8_000) < 20 * seconds(1_000) + 0.1
