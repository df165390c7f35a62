"""Words are counted as `str.split` finds them, and by Unicode's boundaries without spaces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.words import count_words, has_spaced_words, unspaced_ranges
from tests.support.timing import least_seconds

SPACED = st.characters(exclude_categories=["Cs", "Lo", "Lm", "Nl"])
UNSPACED = st.sampled_from("潜水员数了四十只海胆ひらがなねこ")


def is_unspaced(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in unspaced_ranges())


@given(
    st.text(st.one_of(st.characters(codec="latin-1"), SPACED.filter(lambda c: not is_unspaced(c))))
)
def test_text_with_spaces_has_the_words_that_split_finds(text):
    assert count_words(text) == len(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "The crew’s “amber” lamp – at 3.5 m – isn't e.g. lit…",
        "Лампа светит. Ο φάρος. المصباح. פנס. दीपक जलता है। 등대는 밝다. Đèn hải đăng",
        "😀 10⁻⁴ ±3 µm ½ №5 ™",
    ],
)
def test_scripts_that_write_spaces_are_split_at_them(text):
    assert count_words(text) == len(text.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("潜水员数了海胆。", 7),
        ("潜水员，数了（海胆）！", 7),
        ("根据 Marsh 的 3 次计数", 8),
        ("根据Marsh的3次计数", 8),
        ("T细胞", 3),
        ("「海胆」 ...", 3),  # signs that stand alone are a word, as for `str.split`
        ("ねこがいる", 5),
        ("コーヒー", 1),
        ("コーヒーをのむ", 4),
        ("か\u3099", 1),  # a letter and the mark that voices it
        ("\uff76\uff9e", 1),
        ("ภาษาไทย", 7),
        ("ພາສາ", 4),
        ("大韓民國은 넓다", 6),
        ("", 0),
        (" \u3000\n", 0),
    ],
)
def test_scripts_without_spaces_are_counted_by_boundaries(text, words):
    assert count_words(text) == words


@given(st.lists(UNSPACED, min_size=1))
def test_every_ideograph_and_hiragana_is_a_word(letters):
    assert count_words("".join(letters)) == len(letters)


@given(st.text(), st.text())
def test_white_space_between_two_texts_keeps_their_words(one, other):
    assert count_words(f"{one} {other}") == count_words(one) + count_words(other)


@given(st.text())
def test_a_text_has_words_if_it_shows_anything(text):
    assert (count_words(text) == 0) == (not text.split()) or not has_spaced_words(text)


def test_every_letter_of_these_scripts_is_noticed():
    letters = (chr(c) for first, last in unspaced_ranges() for c in range(first, last + 1))
    missed = {c for c in letters if has_spaced_words(c)}
    assert all("\u2e80" <= c <= "\u2fd5" or c in "˪˫" for c in missed)


def test_counting_takes_little_longer_than_splitting():
    text = "The keepers’ lamp is amber, and it is lit at dusk. " * 2_000

    splitting = least_seconds(text.split, tries=20)
    assert least_seconds(lambda: count_words(text), tries=20) < 2 * splitting
