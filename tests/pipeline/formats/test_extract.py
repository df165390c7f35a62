"""Extraction drops the frame of an answer and never its words."""

import json
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.formats.end_tokens import END_TOKENS
from pipeline.formats.extract import _MARKER, LEAD_IN_WORDS, _between_markers, extract_answer
from tests.support.timing import least_seconds

ANSWER = "The divers counted forty urchins."
SECOND = "They also counted nine crabs."
PLACEHOLDER = "(provide your answer to query in less than 400 words)"
LONG = "The divers " + "slowly and carefully " * LEAD_IN_WORDS + "counted"


@pytest.mark.parametrize(
    "completion",
    [
        # the whole frame, in the forms that models give it
        f"Answer:::\n{ANSWER}\n\nAnswer:::",
        f" Answer:::\nAnswer: {ANSWER}\n\nAnswer:::\n\n",
        f"Answer::: {ANSWER} Answer:::",
        f"answer:::\n{ANSWER}\nANSWER:::",
        f"Answer ::: {ANSWER} Answer ::::",
        f"Answer::\n{ANSWER}\nAnswer::",
        # bold
        f"**Answer:::**\n{ANSWER}\n**Answer:::**",
        f"**Answer:::**\n**Answer:** {ANSWER}\n\n**Answer:::**",
        f"**Answer:::** {ANSWER}",
        f"**Answer:** {ANSWER}",
        f"**Helpful Answer**: {ANSWER}",
        # one end of it
        f"Answer:::\n{ANSWER}",
        f"{ANSWER}\n\nAnswer:::",
        # markers repeated
        f"Answer:::\n\nAnswer:::\n{ANSWER}\nAnswer:::\nAnswer:::",
        f"{ANSWER}\nAnswer:::\nAnswer:::\nAnswer:::",
        # none
        ANSWER,
        f"\n\n  {ANSWER}\n ",
        # a label only
        f"Answer: {ANSWER}",
        f"Helpful Answer: {ANSWER}",
        f"Unhelpful Answer: {ANSWER}",
        f"Answer: Answer: {ANSWER}",
        # the placeholder echoed
        f"Answer:::\nAnswer: {PLACEHOLDER}\n\nAnswer:::\n\n{ANSWER}",
        f"Answer: {PLACEHOLDER} {ANSWER}",
        f"Answer:::\nAnswer: {PLACEHOLDER}\n{ANSWER}\nAnswer:::",
        f"{PLACEHOLDER}\n{ANSWER}",
        f"Answer: (In less than 400 words)\n{ANSWER}",
        f"[insert your answer here] {ANSWER}",
        # a lead-in line
        f"Here is what the log says:\nAnswer:::\n{ANSWER}\nAnswer:::",
        f"Here is what the log says:\n\nAnswer:::\n{ANSWER}",
        f"Sure!\nAnswer:::\n{ANSWER}\nAnswer:::",
        f"Sure!\nAnswer:::\n{ANSWER}",
        # a second answer behind it
        f"{ANSWER}\n\nUnhelpful Answer: {SECOND}",
        f"{ANSWER}\n\n**Unhelpful Answer:** {SECOND}",
        f"{ANSWER}\nHelpful Answer: {SECOND}\nUnhelpful Answer: {SECOND}",
        f"Answer:::\n{ANSWER}\nAnswer:::\n\nUnhelpful Answer:\n{SECOND}",
        f"Answer:::\nAnswer: {ANSWER}\n\nAnswer:::\nAnswer: {SECOND}\nAnswer:::",
        f"Unhelpful Answer: {ANSWER}\nUnhelpful Answer: {SECOND}",
        # an invented question behind it
        f"{ANSWER}\n\n%INSTRUCTIONS:\nRead on.",
        f"Answer:::\n{ANSWER}\nAnswer:::\n\n%INSTRUCTIONS:\nRead on.",
    ],
)
def test_every_shape_of_frame_leaves_the_answer(completion: str) -> None:
    assert extract_answer(completion) == ANSWER


@pytest.mark.parametrize(
    "completion",
    [
        "",
        " \n\t",
        "Answer:::",
        "Answer:::\n\nAnswer:::",
        "Answer:",
        "Helpful Answer: ",
        "**Answer:**",
    ],
)
def test_a_completion_without_words_has_no_answer(completion: str) -> None:
    assert extract_answer(completion) == ""


@pytest.mark.parametrize(
    "completion", [PLACEHOLDER, f"Answer:::\nAnswer: {PLACEHOLDER}\nAnswer:::"]
)
def test_a_placeholder_alone_is_kept_for_the_checks_to_see(completion: str) -> None:
    assert PLACEHOLDER in extract_answer(completion)


@pytest.mark.parametrize(
    "answer",
    [
        "1000 words were annotated by each diver.",
        "250 words",
        "Less than 100 words of the log are legible.",
        "Give your answer in the log, the captain said, and so they did.",
        "Answering machines recorded the calls.",
        "The answer: forty.",
    ],
)
def test_an_answer_that_looks_like_a_frame_keeps_its_words(answer: str) -> None:
    assert extract_answer(answer) == answer
    assert extract_answer(f"Answer:::\n{answer}\nAnswer:::") == answer


@pytest.mark.parametrize("answer", ["3.5", "Ja", "潜水员", "Δ", "No", "x"])
def test_an_answer_of_one_word_is_an_answer(answer: str) -> None:
    assert extract_answer(f"Answer:::\n{answer}\nAnswer:::") == answer


@pytest.mark.parametrize(
    "completion",
    [
        "Forty urchins\nAnswer:::\n----\nAnswer:",
        "----\nAnswer:\nHelpful Answer: Forty urchins",
        "****\nHelpful Answer:\nUnhelpful Answer:\nForty urchins",
    ],
)
def test_a_label_below_a_rule_is_not_the_answer(completion: str) -> None:
    assert extract_answer(completion) == "Forty urchins"


def test_lines_and_lists_within_an_answer_stay() -> None:
    answer = "Two:\n\n1. urchins\n2. crabs\n\n| a | b |\n|---|---|"

    assert extract_answer(f"Answer:::\n{answer}\nAnswer:::") == answer


def test_a_marker_between_an_answer_and_its_repetition_ends_it() -> None:
    assert extract_answer(f"{ANSWER}\nAnswer:::\n{SECOND}") == ANSWER


def test_a_closed_frame_outweighs_the_chatter_before_it() -> None:
    assert extract_answer(f"I read the log twice.\nAnswer:::\n{ANSWER}\nAnswer:::") == ANSWER


def test_an_answer_interrupted_by_a_marker_is_kept_whole() -> None:
    assert extract_answer(f"{LONG}\nAnswer:::\n{SECOND}") == f"{LONG}\n\n{SECOND}"


def test_the_word_answer_within_a_sentence_is_not_a_label() -> None:
    answer = "They had an answer: count again. Their answer was forty."

    assert extract_answer(answer) == answer


JSON = '{"answer": "Forty: see Answer::: of the log.", "counts": [40, null]}'


@pytest.mark.parametrize("document", [JSON, "[]", '[{"answer": 1}]', '{\n  "answer": "forty"\n}'])
@pytest.mark.parametrize(
    "form",
    ["{}", " {}\n", "```json\n{}\n```", "```\n{}\n```\n", "~~~json\n{}\n~~~", "{}<|im_end|>"],
)
def test_a_json_document_stays_as_it_is(document: str, form: str) -> None:
    assert extract_answer(form.format(document)) == document


@pytest.mark.parametrize("form", ["Answer:::\n{}\nAnswer:::", "Answer: {}", "<answer>{}</answer>"])
def test_a_json_document_in_a_frame_stays_as_it_is(form: str) -> None:
    document = '{"answer": "forty", "Unhelpful answer:": "(400 words)"}'

    assert extract_answer(form.replace("{}", document)) == document
    assert extract_answer(form.replace("{}", f"```json\n{document}\n```")) == document


@pytest.mark.parametrize(
    "completion",
    [
        '{"answer": "The divers coun',
        "{'answer': 'forty'}",
        '```json\n{"answer": "forty",}\n```',
        '"answer": "forty"',
        "```\nanswer: forty\n```",
    ],
)
def test_what_is_nearly_json_is_not_cut_either(completion: str) -> None:
    assert extract_answer(completion) == completion


def test_a_fence_around_a_part_of_an_answer_stays() -> None:
    answer = 'They print:\n```json\n{"answer": 40}\n```'

    assert extract_answer(answer) == answer


@given(
    st.recursive(
        st.none() | st.integers(-9, 9) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["answer", "a"]), inner),
    ).filter(lambda value: isinstance(value, (list, dict))),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_any_json_document_stays_byte_for_byte(value, indent, fenced: bool) -> None:
    document = json.dumps(value, indent=indent, ensure_ascii=False)

    assert extract_answer(f"```json\n{document}\n```" if fenced else document) == document


openings = st.sampled_from(
    ["", "Final ", "My final ", "The ", "### ", "## **", "**", "> ", "- ", "* ", "• ", "__",
     "Here is my ", "Short ", "Helpful ", "**Final ", "<b>", "`", "[", "✅ "]
)  # fmt: skip
spellings = st.sampled_from(
    ["Answer:::", "answer:::", "ANSWER:::", "Answer :::", "Answer::", "Answer : : :",
     "Answer：：：", "Answer ：： ：", "Answer:：:", "Answer﹕﹕﹕", "Answer**:::"]
)  # fmt: skip
endings = st.sampled_from(["", "**", "__", " ", "</b>", "`", "]"])
marker_lines = st.tuples(openings, spellings, endings).map("".join)
tokens = st.lists(st.sampled_from(END_TOKENS), max_size=3).map("\n".join)
bodies = st.sampled_from(
    [ANSWER, "Forty.", "full of urchins", "- urchins\n- crabs", "| a | b |\n|---|---|\n| c | d |",
     "The end of the reef: 3:::1", "海胆。", "x"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(marker_lines, marker_lines, bodies, tokens, st.sampled_from(["both", "first", "last"]))
def test_a_marker_in_any_spelling_takes_no_word_of_the_answer(
    first: str, last: str, body: str, token: str, ends: str
) -> None:
    lines = {"both": [first, body, last], "first": [first, body], "last": [body, last]}[ends]

    assert extract_answer("\n".join(lines) + token) == body


@pytest.mark.parametrize(
    "completion",
    [
        f"<answer>{ANSWER}</answer>",
        f"<answer>\n{ANSWER}\n</answer>\n",
        f"I read the log twice, and counted.\n<answer>{ANSWER}</answer>\nThat is all.",
        f"<Answer>{ANSWER}</ANSWER>",
        f"<answer>{ANSWER}",
        f"{ANSWER}</answer>",
        f"> Answer:::\n> {ANSWER}\n> Answer:::",
        f"Final Answer: {ANSWER}",
        f"<final_answer>{ANSWER}</final_answer>",
        f"**Final Answer:::** {ANSWER} **Final Answer:::**",
        f"The model's Answer:::\n{ANSWER}\nThe model's Answer:::",
        f"**Final answer:** {ANSWER}",
        f"Answer：{ANSWER}",
    ],
)
def test_tags_quotation_signs_and_labels_leave_the_answer(completion: str) -> None:
    assert extract_answer(completion) == ANSWER


@pytest.mark.parametrize("token", END_TOKENS)
def test_an_end_token_goes_at_the_end_alone(token: str) -> None:
    assert extract_answer(f"{ANSWER}{token}") == ANSWER
    assert extract_answer(f"{ANSWER} {token}\n{token}\n") == ANSWER
    assert extract_answer(f"The token {token} ends it.") == f"The token {token} ends it."
    assert extract_answer(token) == ""


@pytest.mark.parametrize("answer", ["the end", "full", "So is this", "Yes", "> 40"])
def test_an_answer_of_words_that_frames_have_is_kept(answer: str) -> None:
    assert extract_answer(f"Answer::: {answer} Answer:::") == answer
    assert extract_answer(f"Answer:::\n{answer}\nAnswer:::") == answer


def test_words_struck_out_stay() -> None:
    assert extract_answer("They counted <s>thirty</s>") == "They counted <s>thirty</s>"


@settings(max_examples=300, deadline=None)
@given(marker_lines, bodies, tokens)
def test_extraction_twice_is_extraction_once(marker: str, body: str, token: str) -> None:
    answer = extract_answer(f"{marker}\n{body}\n{marker}{token}")

    assert extract_answer(answer) == answer


words = st.sampled_from(["urchin", "forty", "Ärger", "x1", "潜水", "tide.", "reef,", "(bay)"])
markers = st.sampled_from(
    ["Answer:::", "**Answer:::**", "answer::", "Answer :::", "Answer:", "**Answer:**",
     "Helpful Answer:", "Unhelpful Answer:", PLACEHOLDER, "(400 words)"]
)  # fmt: skip
blanks = st.sampled_from([" ", "\n", "\n\n", " \n\t", ""])
pieces = st.one_of(words, markers, blanks, st.just("***"), st.just("---"))
assembled = st.lists(pieces, max_size=14).flatmap(
    lambda chosen: st.sampled_from([" ", "\n", "\n\n"]).map(lambda glue: glue.join(chosen))
)
WORD = re.compile(r"urchin|forty|Ärger|x1|潜水|tide|reef|bay")


@settings(max_examples=600, deadline=None)
@given(assembled)
def test_a_completion_that_holds_a_word_never_comes_out_empty(completion: str) -> None:
    if WORD.search(completion):
        assert WORD.search(extract_answer(completion))


@settings(max_examples=300, deadline=None)
@given(st.one_of(assembled, st.text()))
def test_an_answer_is_a_part_of_its_completion_up_to_white_space(completion: str) -> None:
    remaining = iter("".join(completion.split()))

    # In order, as `in` consumes the iterator up to the character that it finds.
    assert all(c in remaining for c in "".join(extract_answer(completion).split()))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(words, blanks), max_size=14).map(" ".join))
def test_an_answer_without_a_frame_is_itself(completion: str) -> None:
    assert extract_answer(completion) == completion.strip()


@settings(max_examples=300, deadline=None)
@given(assembled)
def test_an_extracted_answer_is_its_own_answer(completion: str) -> None:
    answer = extract_answer(completion)
    assume(not re.search("(?i)answer|words", answer))  # the last resort keeps frame and placeholder

    assert extract_answer(answer) == answer


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.text(st.sampled_from("Answer:* \n(%")), st.text(max_size=3)))
def test_any_text_has_an_answer_without_white_space_around_it(completion: str) -> None:
    answer = extract_answer(completion)
    assume(answer or not completion.rstrip().endswith(END_TOKENS))
    frame = re.compile(r"(?i)\b(?:my|the|final|helpful|unhelpful)\b|answer")

    assert answer == answer.strip()
    assert bool(answer) or not any(c.isalnum() for c in frame.sub("", completion))


@pytest.mark.parametrize(
    "piece",
    [
        *("Unhelpful Answer:\n", "Answer: ", "Answer:::\n", "<answer>", "Answer：：：", "</s>"),
        *("(", "** ", "less than 9 words ", "the final ", "```\n", "[", "> - "),
    ],
)
def test_a_model_that_repeats_itself_takes_little_time(piece: str) -> None:
    about_4000_tokens = piece * 800
    assert least_seconds(lambda: extract_answer(about_4000_tokens), tries=2) < 2


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        spellings
        | st.sampled_from(
            ["banswer:::", "Anſwer:::", "ß", "Aanswer:::", "answer", "An", "İ", "ſ", "\n", " "]
        )
    ).map("".join)
)
def test_markers_are_found_by_their_letters_as_by_their_pattern(text: str) -> None:
    assert list(_between_markers(text)) == _MARKER.split(text)
