"""General remarks: what an answer says of the world at large, where the paper says nothing.

"Typically, a learning rate of 0.001 is used." A sentence is one by its own words, or because it
goes on where one has begun: as an item of a list, or as a further sentence of a paragraph, as long
as it does not speak of the paper.
"""

import re
from collections.abc import Iterator

from pipeline.answering.grounding.sentences import Sentence, sentences_of_answer

_USUAL = (
    r"typical(?:ly)?|usual(?:ly)?|commonly|often|generally|normally|frequently|in general"
    r"|in practice|in many cases|general(?:ly accepted)? (?:practices?|knowledge|principles?)"
    r"|(?:best|standard|common) practices?|it is common|as is common|widely[- ]used"
    r"|(?:some|most|a|one|the most|other|several) (?:common|popular|standard)"
    r"|(?:common|popular) (?:evaluation )?(?:choices?|values?|methods?|techniques?|approach(?:es)?"
    r"|strateg(?:y|ies)"
    r"|ways?|metrics?|criteria|steps?|types?|splits?|ranges?|ratios?|options?|examples?|datasets?"
    r"|practices?|regularization|optimizers?|optimization|preprocessing|hyperparameters?|batch"
    r"|learning|postprocessing|post-processing|data|platforms?|frameworks?|formats?)"
)
_EXAMPLE = r"(?:for (?:example|instance)|e\.g\.|such as|like|say|let['’]s say|suppose|if)"
_MAY = r"(?:can|could|may|might|would|should)"
_IS_USUAL = re.compile(rf"(?<![\w-])(?:{_USUAL})(?![\w-])")
_HYPOTHETICAL = re.compile(
    rf"\b{_EXAMPLE}\b[^.!?]*\b{_MAY}\b|\b{_MAY}\b[^.!?]*\b{_EXAMPLE}(?![\w-])"
)
_OF_PAPER = re.compile(
    r"\b(?:authors?|stud(?:y|ies|ied)|papers?|contexts?|texts?|passages?|articles?|documents?"
    r"|excerpts?|provided|mention\w*|stat(?:es?|ed|ing)|report\w*|section|table|figure|et al"
    r"|they|their|our|does(?: not|n['’]t)|was|were"
    r"|this (?:\w+ )?(?:model|case|work|research|pipeline))\b"
)
"""Patterns for text in lower case, in which they are found much faster."""

_IN_BRACKETS = re.compile(r"\((?:e\.g\.|for example|for instance|such as)[^()]*$")
_ITEM = re.compile(r"\s*(?:[-*•+–]|\(?\d{1,3}[.):]|\*\*)")


_USUAL_PARTS = (
    *("typical", "usual", "common", "often", "general", "normally", "frequently", "practice"),
    *("many cases", "widely", "popular", "standard"),
)
"""Each match of `_USUAL` has one of these."""


def may_generalise(answer: str) -> bool:
    """Whether an answer has any word of a general remark; takes microseconds."""
    lower = answer.lower()
    return any(part in lower for part in _USUAL_PARTS) and is_usual(lower)


def general_sentences(answer: str) -> Iterator[Sentence]:
    """The sentences that are, or go on with, a general remark."""
    led = False  # whether the paragraph that a list follows is a remark
    going = False
    last_line = -1
    for sentence in sentences_of_answer(answer):
        begin = answer.rfind("\n", 0, sentence.start) + 1
        if begin != last_line:
            is_item = bool(_ITEM.match(answer[begin : begin + 12]))
            going = led if is_item else False
            last_line = begin
        lower = sentence.text.lower()
        is_remark = says_so(sentence.text) or (going and not _OF_PAPER.search(lower))
        going = is_remark
        if is_remark:
            yield sentence
        if not is_item:
            led = is_remark


def says_so(sentence: str) -> bool:
    """Whether a sentence is a general remark by its own words."""
    lower = sentence.lower()
    is_remark = _IS_USUAL.search(lower) or _HYPOTHETICAL.search(lower)
    return bool(is_remark) and not _OF_PAPER.search(lower)


def is_usual(text: str) -> bool:
    """Whether a text speaks of what is usual."""
    return bool(_IS_USUAL.search(text.lower()))


def is_general_at(answer: str, at: int) -> bool:
    """Whether an offset of an answer lies in a general remark, or in a made-up example."""
    example = _IN_BRACKETS.search(answer, max(0, at - 80), at)
    if example:
        return True
    return any(sentence.start <= at < sentence.end for sentence in general_sentences(answer))
