"""Mojibake: repaired in a whole record, or left as it is."""

from dataclasses import replace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pipeline.core.records import Message, Passage, Place, Record
from pipeline.reading.mojibake import CODECS, repair_record, repair_text

SAMPLES = {
    "curly quotes": "“It’s the keeper’s log,” she said.",
    "mathematical italics": "a batch of 𝐵 = 64 patches with 𝑥 > 1.3 m",
    "dashes and dots": "dusk – dawn — and so on…",
    "accents": "Zoë naïvely kept the café’s façade",
    "greek": "Δt = 4 µs, λ ≈ 590 nm",
    "chinese": "灯塔看守人相信琥珀色的灯",
    "ligatures": "the ﬁrst ﬂame’s ﬁeld",
    "one accent in a long text": "plain words " * 500 + "and one café " + "plain words " * 500,
}

codecs = st.sampled_from(CODECS)
texts = st.one_of(
    st.text(),
    st.text(st.sampled_from("abc .,\n’‘“”–—…éèüßñçøÅλμ≤≈×÷±°²𝑥𝐵ﬁ中")),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x24F)),
).filter(lambda text: "\x1a" not in text)  # decodes to U+FFFD in sloppy-windows-1252


def damage(text: str, codec: str) -> str:
    """UTF-8 text as read by a tool that takes it for `codec`."""
    return text.encode().decode(codec)


def origins(text: str) -> set[str]:
    """All texts from which one of the code pages could have made `text`."""
    candidates = set()
    for codec in CODECS:
        try:
            candidates.add(text.encode(codec).decode())
        except UnicodeError:
            continue
    return candidates - {text}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
def test_a_damaged_sample_is_restored(text: str, codec: str) -> None:
    assert repair_text(damage(text, codec))[0] == text


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("word", ["café", "São Tomé", "chânvre", "Curaçao", "Müller", "5 µm", "±"])
def test_a_single_accented_letter_is_restored(word: str, codec: str) -> None:
    text = f"The keepers of {word} trim the wick."

    assert repair_text(damage(text, codec))[0] == text


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.sampled_from([chr(c) for c in range(0xA0, 0x180)] + list("abc \n")), min_size=1),
    codecs,
)
@example("é", "sloppy-windows-1252")
def test_damaged_latin_letters_are_restored_for_every_code_page(text: str, codec: str) -> None:
    assert repair_text(damage(text, codec))[0] == text


@settings(max_examples=300, deadline=None)
@given(texts, codecs)
def test_a_damaged_text_is_restored_unless_it_has_two_origins(text: str, codec: str) -> None:
    damaged = damage(text, codec)
    assume(len(origins(damaged)) <= 1)

    repaired, code_page = repair_text(damaged)

    assert repaired == text
    assert (code_page is None) == text.isascii()


@settings(max_examples=300, deadline=None)
@given(texts)
def test_a_text_changes_only_if_a_code_page_turns_another_text_into_it(text: str) -> None:
    repaired, codec = repair_text(text)

    if codec is None:
        assert repaired == text
        assert not origins(text)
    else:
        assert repaired != text
        assert damage(repaired, codec) == text


@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
def test_a_clean_sample_stays_as_it_is(text: str) -> None:
    assert repair_text(text) == (text, None)


def test_a_replacement_character_is_not_repaired() -> None:
    assert repair_text("a \ufffd in the log") == ("a \ufffd in the log", None)


def test_one_clean_word_keeps_a_whole_text_from_a_false_repair() -> None:
    assert repair_text("Ã© is how a café’s sign looks") == ("Ã© is how a café’s sign looks", None)


def test_a_text_damaged_in_some_lines_only_is_left_alone() -> None:
    text = damage("It’s dusk", "mac_roman") + "\n“clean”"

    assert repair_text(text) == (text, None)


def sample_record(phrase: str, **fields: object) -> Record:
    return Record(
        record_id="lamp",
        place=Place("file:///lamps.jsonl", 3),
        paper_id="p",
        question=f"Is {phrase} lit?",
        passages=(Passage(f"Log of {phrase}", phrase), Passage("plain", None)),
        messages=(Message("user", phrase),),
        recorded_answer=f"{phrase}.",
        boilerplate=f"words {phrase}",
        extra={"place": phrase, "year": 1911},
        **fields,  # type: ignore[arg-type]
    )


def test_a_record_is_repaired_in_all_its_texts_and_says_so() -> None:
    damaged = sample_record(damage("the keeper’s lamp", "mac_roman"), repairs=("crlf",))

    assert repair_record(damaged) == sample_record(
        "the keeper’s lamp", repairs=("crlf", "mac_roman")
    )


def test_ids_are_not_repaired_and_do_not_prevent_a_repair() -> None:
    damaged = sample_record(damage("the keeper’s lamp", "mac_roman"), question_id="It’s clean")

    assert repair_record(damaged).repairs == ("mac_roman",)


def test_a_record_with_one_clean_text_is_left_alone() -> None:
    damaged = sample_record(damage("the keeper’s lamp", "mac_roman"))
    mixed = replace(damaged, question="It’s clean")

    assert repair_record(mixed) is mixed


def test_a_clean_record_stays_the_same_object() -> None:
    record = sample_record("the keeper’s lamp")

    assert repair_record(record) is record
