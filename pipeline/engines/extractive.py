"""Answers with the sentences of the passages that match the question best, or abstains.

Needs no GPU and no model: BM25 ranks the sentences (Robertson and Zaragoza, "The Probabilistic
Relevance Framework", 2009), as implemented by bm25s.
"""

import re

import bm25s
import sentencex
import Stemmer

from pipeline.core.records import Completion, Passage, Prompt
from pipeline.core.words import count_words
from pipeline.engines.engine import Request
from pipeline.formats.base import WritableFormat
from pipeline.formats.frame import FRAME

QUOTED_SENTENCES = 4
SHARED_STEMS = 2
"""Word stems that a sentence must share with the question to be quoted."""

ABSTENTION = "The passages do not say."

_WHOLE = re.compile(r"[.!?][\"'”’)\]]*$")


class ExtractiveEngine:
    """Quotes up to four whole sentences within the word limit, written as the format wants them."""

    kind = "extractive"
    version = "1"

    def __init__(self, max_words: int, format_: WritableFormat = FRAME) -> None:
        self._max_words = max_words
        self._format = format_
        self._stem = Stemmer.Stemmer("english")

    async def generate(self, request: Request) -> Completion:
        question, passages = _question_and_passages(request.prompt)
        answer = " ".join(self._best(question, _sentences(passages))) or ABSTENTION
        return Completion(self._format.written(answer), "stop")

    def _best(self, question: str, sentences: list[str]) -> list[str]:
        """The sentences that match best, in the order of the passages."""
        (query,) = self._stems([question])
        stems = self._stems(sentences)
        enough = min(SHARED_STEMS, len(set(query)))
        matching = [i for i, s in enumerate(stems) if len(set(query) & set(s)) >= enough > 0]
        if not matching:
            return []
        index = bm25s.BM25()
        index.index(stems, show_progress=False)
        scores = index.get_scores(query)
        quoted: list[int] = []
        words_left = self._max_words
        for at in sorted(matching, key=lambda i: -scores[i])[:QUOTED_SENTENCES]:
            if (words := count_words(sentences[at])) <= words_left:
                quoted.append(at)
                words_left -= words
        return [sentences[at] for at in sorted(quoted)]

    def _stems(self, texts: list[str]) -> list[list[str]]:
        stems: list[list[str]] = bm25s.tokenize(
            texts, stopwords="en", stemmer=self._stem, return_ids=False, show_progress=False
        )
        return stems


def _question_and_passages(prompt: Prompt) -> tuple[str, tuple[Passage, ...]]:
    """The record's own; for a ready prompt, its last paragraph and the paragraphs before it."""
    record = prompt.record
    if record.question is not None:
        return record.question, record.passages
    *context, question = prompt.messages[-1].content.strip().split("\n\n")
    return question, tuple(map(Passage, context))


def _sentences(passages: tuple[Passage, ...]) -> list[str]:
    """Distinct whole sentences, with line breaks replaced by spaces."""
    sentences = (
        " ".join(sentence.split())
        for passage in passages
        for sentence in sentencex.segment("en", passage.text)
    )
    return [sentence for sentence in dict.fromkeys(sentences) if _WHOLE.search(sentence)]
