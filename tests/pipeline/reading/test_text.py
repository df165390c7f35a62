"""Text files: prompt and recorded answer, separated by the grammar of the job file."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.config.schema import TextGrammar
from pipeline.core.records import PLAIN, Fault, Message, Passage, Place, Record
from pipeline.reading.mojibake import repair_text
from pipeline.reading.text import record_id_of, text_record
from tests.support.hostile import text_file

GRAMMAR = TextGrammar()
PLACE = Place("file:///logs/lamps-1911_CQ7.txt", 0)
FIXED_PARTS = (GRAMMAR.before_instructions, GRAMMAR.before_question, GRAMMAR.after_question)

FRAGMENTS = (
    "Fog", " ", "\n", "\n\n", "\r", "\0", "\f", '"', '"\n\n', "%Query", 'Query: "', "Question:",
    "Question: %INSTRUCTIONS:", "Provide your answer as follows:", "Answer:::", "Helpful Answer:",
    GRAMMAR.preamble, "é", "λ", "’", "(cid:12)",
)  # fmt: skip
any_text = st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS)).map("".join))
part = any_text.filter(lambda text: not any(fixed in text for fixed in FIXED_PARTS))


def parse(text: str, grammar: TextGrammar = GRAMMAR) -> Record:
    return text_record(text.encode(), PLACE, grammar)


def parts(record: Record) -> tuple[str, str, str | None, str | None]:
    """Context, instructions, question and recorded answer."""
    return (
        record.passages[0].text,
        record.extra["instructions"],
        record.question,
        record.recorded_answer,
    )


def parsed(data: bytes) -> Record | Fault:
    try:
        return text_record(data, PLACE, GRAMMAR)
    except Fault as fault:
        return fault


def reason_of(data: bytes) -> str:
    fault = parsed(data)
    assert isinstance(fault, Fault)
    assert fault.detail
    return fault.reason


@settings(max_examples=300, deadline=None)
@given(context=part, instructions=part, question=part, answer=any_text)
def test_any_parts_are_restored_by_the_grammar(
    context: str, instructions: str, question: str, answer: str
) -> None:
    text = text_file(context, question, answer, instructions)
    assume(repair_text(text)[1] is None)

    record = parse(text)

    assert parts(record) == (context, instructions, question, answer)
    assert record.messages[0].content + answer == text
    assert record.repairs == ()


@settings(max_examples=100, deadline=None)
@given(context=part, instructions=part, question=part, answer=any_text)
def test_rewritten_line_ends_change_no_part(
    context: str, instructions: str, question: str, answer: str
) -> None:
    text = text_file(context, question, answer, instructions)
    assume("\r" not in text and repair_text(text)[1] is None)

    record = parse(text.replace("\n", "\r\n"))

    assert parts(record) == (context, instructions, question, answer)
    assert record.repairs == ("crlf",)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(), any_text.map(lambda t: f"{GRAMMAR.preamble}\n\n{t}".encode())))
def test_any_bytes_become_a_record_or_a_fault(data: bytes) -> None:
    outcome = parsed(data)

    if isinstance(outcome, Fault):
        assert outcome.reason in ("not_utf8", "unparsable_text")
        assert outcome.detail
    else:
        assert all(fixed.encode() in data for fixed in FIXED_PARTS)
        assert outcome.record_id == "lamps-1911_CQ7"


def test_the_first_complete_question_block_counts() -> None:
    invented = text_file(question="Who rings the bell?").removeprefix(GRAMMAR.preamble)
    record = parse(text_file(question="Which lamp?", answer=f" Amber.{invented}"))

    assert record.question == "Which lamp?"
    assert record.recorded_answer == f" Amber.{invented}"


def test_a_quoted_opening_part_belongs_to_the_context() -> None:
    quoted = f"A form reads:\n\n{GRAMMAR.before_instructions}in ink{GRAMMAR.before_question}name"
    record = parse(text_file(context=quoted, question="Which lamp?"))

    assert record.passages == (Passage(quoted),)
    assert record.question == "Which lamp?"


def test_a_quoted_closing_part_belongs_to_the_context() -> None:
    quoted = f"The form ends:{GRAMMAR.after_question} amber"
    record = parse(text_file(context=quoted, question="Which lamp?"))

    assert record.passages == (Passage(quoted),)
    assert record.question == "Which lamp?"


def test_the_message_is_the_prompt_without_the_answer() -> None:
    record = parse(text_file(answer=" Amber."))

    assert record.messages == (Message(PLAIN, text_file(answer="")),)
    assert record.messages[0].content.endswith("Helpful Answer:")


def test_boilerplate_is_the_prompt_without_passages_and_question() -> None:
    boilerplate = parse(
        text_file(context="Fog rolls in.", question="Which lamp?", instructions="Be brief.")
    ).boilerplate

    assert all(
        p in boilerplate for p in (GRAMMAR.preamble, "Be brief.", "Provide your answer as follows")
    )
    assert "Fog rolls in." not in boilerplate
    assert "Which lamp?" not in boilerplate


def test_an_empty_context_can_share_the_preamble_s_blank_line() -> None:
    text = text_file(context="")

    assert parse(text).passages == (Passage(""),)
    assert parse(text.replace("\n\n\n\n", "\n\n", 1)).passages == (Passage(""),)


def test_an_empty_answer_is_an_answer() -> None:
    assert parse(text_file(answer="")).recorded_answer == ""


def test_control_characters_in_the_context_stay() -> None:
    context = "NUL \0, form feed \f, lone return \r, vertical tab \v"

    assert parse(text_file(context=context)).passages == (Passage(context),)


def test_some_crlf_among_lone_line_feeds_stay() -> None:
    record = parse(text_file(context="one\r\ntwo\nthree"))

    assert record.passages == (Passage("one\r\ntwo\nthree"),)
    assert record.repairs == ()


def test_a_byte_order_mark_is_not_part_of_the_prompt() -> None:
    record = parse("\ufeff" + text_file())

    assert record.messages[0].content.startswith(GRAMMAR.preamble)


def test_mojibake_is_repaired_and_named() -> None:
    context = "The keeper’s log — amber — names “Zoë”."
    record = parse(text_file(context=context).encode().decode("mac_roman"))

    assert record.passages == (Passage(context),)
    assert record.repairs == ("mac_roman",)


def test_mojibake_and_rewritten_line_ends_are_both_repaired() -> None:
    text = text_file(context="It’s dusk.").encode().decode("mac_roman").replace("\n", "\r\n")
    record = parse(text)

    assert record.passages == (Passage("It’s dusk."),)
    assert record.repairs == ("mac_roman", "crlf")


def test_the_name_gives_paper_and_question() -> None:
    record = parse(text_file())

    assert (record.record_id, record.paper_id, record.question_id) == (
        "lamps-1911_CQ7",
        "lamps-1911",
        "CQ7",
    )


def test_a_name_of_another_form_is_only_an_id() -> None:
    record = text_record(text_file().encode(), Place("file:///logs/lamps_of_1911.txt", 0), GRAMMAR)

    assert (record.record_id, record.paper_id, record.question_id) == ("lamps_of_1911", None, None)


def test_the_last_question_number_of_a_name_counts() -> None:
    record = text_record(text_file().encode(), Place("s3://b/reef_CQ1_CQ22.txt", 0), GRAMMAR)

    assert (record.paper_id, record.question_id) == ("reef_CQ1", "CQ22")


@pytest.mark.parametrize(
    "name",
    [
        "reef_CQ1.txt",
        "reef_CQ1.txt.gz",
        "reef_CQ1.txt.zst",
        "reef_CQ1.txt.zstd",
        "reef_CQ1.TXT",
        "reef_CQ1.txt.GZ",
        "reef_CQ1",
    ],
)
def test_an_id_is_the_name_without_its_extensions(name: str) -> None:
    assert record_id_of(f"s3://bucket/deep/{name}") == "reef_CQ1"


def test_dots_and_brackets_of_a_name_stay_in_its_id() -> None:
    assert record_id_of("file:///x/v1.2 [draft] *a*_CQ1.txt") == "v1.2 [draft] *a*_CQ1"


def test_another_grammar_parses_other_records_and_not_these() -> None:
    grammar = TextGrammar(
        preamble="Read, then answer — briefly.",
        before_instructions="TASK\n",
        before_question="\n\nASKED: ",
        after_question="\n\nANSWER:",
    )
    text = text_file("Fog.", "Which lamp?", " Amber.", "In a word.", grammar)

    assert parts(parse(text, grammar)) == ("Fog.", "In a word.", "Which lamp?", " Amber.")
    assert reason_of(text.encode()) == "unparsable_text"


def test_one_byte_that_is_not_utf8_makes_a_file_a_reject() -> None:
    assert reason_of(text_file().encode() + b"\xff") == "not_utf8"


@pytest.mark.parametrize("lacking", ["preamble", *TextGrammar.model_fields])
def test_a_text_without_one_of_the_fixed_parts_cannot_be_parsed(lacking: str) -> None:
    text = text_file().replace(getattr(GRAMMAR, lacking), "")

    assert reason_of(text.encode()) == "unparsable_text"


def test_a_hostile_text_is_parsed_in_linear_time() -> None:
    halves = f"{GRAMMAR.after_question}\n\n{GRAMMAR.before_instructions}" * 20_000

    assert reason_of(f"{GRAMMAR.preamble}\n\n{halves}".encode()) == "unparsable_text"
