"""Mojibake: repaired in a whole record on proof, or left as it is."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.records import Message, Passage, Place, Record
from pipeline.reading.mojibake import CODECS, repair_record, repair_text
from pipeline.reading.rows import row_record
from tests.support.sentences import accented, ordinary

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

PLACE = Place("file:///lamps.jsonl", 3)

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
@given(texts, codecs)
def test_a_repair_of_damaged_text_gives_one_of_its_origins(text: str, codec: str) -> None:
    damaged = damage(text, codec)

    assert repair_text(damaged)[0] in {damaged} | origins(damaged)


@settings(max_examples=300, deadline=None)
@given(texts)
def test_a_text_changes_only_if_a_code_page_turns_another_text_into_it(text: str) -> None:
    repaired, codec = repair_text(text)

    if codec is None:
        assert repaired == text
    else:
        assert repaired != text
        assert damage(repaired, codec) == text


def is_decodable(text: str) -> bool:
    return bool(origins(text))


def test_no_ordinary_sentence_is_repaired_though_most_happen_to_be_utf8() -> None:
    sentences = list(ordinary(100_000))

    assert sum(map(is_decodable, sentences)) > 80_000
    assert [s for s in sentences if repair_text(s) != (s, None)] == []


@settings(max_examples=300, deadline=None)
@given(st.integers(min_value=1))
def test_no_record_of_ordinary_sentences_is_repaired(seed: int) -> None:
    question, *passages = ordinary(3, seed)

    assert row_record({"question": question, "passages": passages}, PLACE).repairs == ()


@pytest.mark.parametrize(
    ("signs", "share"), [(1, 0.96), (2, 0.998), (3, 1.0), (5, 1.0)], ids="{} signs".format
)
@pytest.mark.parametrize("codec", CODECS)
def test_nearly_all_damaged_sentences_come_back(codec: str, signs: int, share: float) -> None:
    sentences = list(accented(5_000, signs))
    repaired = [repair_text(damage(s, codec))[0] for s in sentences]

    came_back = sum(map(str.__eq__, repaired, sentences))
    unchanged = sum(r == damage(s, codec) for r, s in zip(repaired, sentences, strict=True))
    assert came_back >= share * len(sentences)
    assert came_back + unchanged == len(sentences)


@pytest.mark.parametrize(
    ("question", "passage"),
    [
        ("How wide is the pore in Å²?", "The pore is 310 Å² wide at its mouth."),
        ("Why does √π stand there?", "The sum comes to √π for every lamp."),
        ("Is l’âge known?", "Nothing else is said of l’âge here."),
        ("Who sells NESTLÉ® here?", "NESTLÉ® and the words NESTLÉ’S FINEST."),
    ],
)
def test_pairs_of_signs_that_happen_to_be_utf8_prove_nothing(question: str, passage: str) -> None:
    record = row_record({"question": question, "passages": [passage] * 20}, PLACE)

    assert (record.question, record.repairs) == (question, ())


@pytest.mark.parametrize(
    "damaged",
    ["m¬≤", "10 ¬∞C", "5 ¬µm", "15 √ó 15", "V¬¥elez", "Ara√∫jo", "it‚Äôs", "RÂ²", "25 Â°C"],
)
def test_one_sequence_that_nobody_writes_is_proof(damaged: str) -> None:
    assert repair_text(f"The log says {damaged} and no more.")[1] is not None


def test_sequences_that_cannot_be_damage_outweigh_one_that_could_be() -> None:
    assert repair_text("RÂ² of 5 Å² for NESTLÉ® and l’âge") == (
        "RÂ² of 5 Å² for NESTLÉ® and l’âge",
        None,
    )


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
        place=PLACE,
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
