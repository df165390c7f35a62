"""Answers with the passages' own best-matching sentences, or says that it does not know.

Needs no GPU and no model: sentences are ranked against the question by BM25 (Robertson and
Zaragoza, "The Probabilistic Relevance Framework", 2009), in the implementation of bm25s.
"""

import re

import bm25s
import sentencex
import Stemmer

from pipeline.core.records import ANSWER_MARKER, Completion, Passage, Prompt, count_words
from pipeline.engines.engine import Request

QUOTED_SENTENCES = 4
SHARED_STEMS = 2
"""How many of the question's word stems a sentence has to share before it is quoted."""

ABSTENTION = "The passages do not say."

_WHOLE = re.compile(r"[.!?][\"'”’)\]]*$")


class ExtractiveEngine:
    """Quotes up to four whole sentences in the `Answer:::` frame, within the word limit."""

    kind = "extractive"
    version = "1"

    def __init__(self, max_words: int) -> None:
        self._max_words = max_words
        self._stem = Stemmer.Stemmer("english")

    async def generate(self, request: Request) -> Completion:
        question, passages = _question_and_passages(request.prompt)
        answer = " ".join(self._quoted(question, _sentences(passages))) or ABSTENTION
        return Completion(f"{ANSWER_MARKER}\n{answer}\n{ANSWER_MARKER}", "stop")

    def _quoted(self, question: str, sentences: list[str]) -> list[str]:
        """The sentences that match best, in the order in which the passages have them."""
        (asked,) = self._stems([question])
        stems = self._stems(sentences)
        enough = min(SHARED_STEMS, len(set(asked)))
        matching = [i for i, s in enumerate(stems) if len(set(asked) & set(s)) >= enough > 0]
        if not matching:
            return []
        index = bm25s.BM25()
        index.index(stems, show_progress=False)
        scores = index.get_scores(asked)
        chosen: list[int] = []
        room = self._max_words
        for at in sorted(matching, key=lambda i: -scores[i])[:QUOTED_SENTENCES]:
            if (words := count_words(sentences[at])) <= room:
                chosen.append(at)
                room -= words
        return [sentences[at] for at in sorted(chosen)]

    def _stems(self, texts: list[str]) -> list[list[str]]:
        stems: list[list[str]] = bm25s.tokenize(
            texts, stopwords="en", stemmer=self._stem, return_ids=False, show_progress=False
        )
        return stems


def _question_and_passages(prompt: Prompt) -> tuple[str, tuple[Passage, ...]]:
    """The record's own; of a ready prompt the last paragraph asks and the others are read."""
    record = prompt.record
    if record.question is not None:
        return record.question, record.passages
    *context, question = prompt.messages[-1].content.strip().split("\n\n")
    return question, tuple(map(Passage, context))


def _sentences(passages: tuple[Passage, ...]) -> list[str]:
    """Whole sentences, each once, with their line ends closed up."""
    found = (
        " ".join(sentence.split())
        for passage in passages
        for sentence in sentencex.segment("en", passage.text)
    )
    return [sentence for sentence in dict.fromkeys(found) if _WHOLE.search(sentence)]
