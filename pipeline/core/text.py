"""The words of a text that carry what it says: its content words, as stems."""

import re
from collections.abc import Callable, Iterator, Sequence

import Stemmer
from bm25s.stopwords import STOPWORDS_EN

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_stem: Callable[[Sequence[str]], Iterator[str]] = Stemmer.Stemmer("english").stemWords


def words_of(text: str) -> list[str]:
    """Runs of letters in small letters, in their order."""
    return _WORD.findall(text.lower())


def content_words(text: str) -> frozenset[str]:
    """Stems of the words that are no stop words, by Porter's second stemmer for English."""
    return frozenset(_stem([word for word in words_of(text) if word not in STOPWORDS_EN]))
