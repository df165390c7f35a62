"""Tells whether an answer answers, hedges, or says that it does not know.

Goes by the answer's own words. An opening that *denies* (the passages do not say) abstains, unless
a later sentence *concedes* something after all, which makes it hedged. An opening that only
*infers* is hedged too. An answer that opens with a statement answers.

Denials are known in English and, in their common forms, in ten other languages; concessions and
inferences in English alone.
"""

import re
from collections.abc import Iterator
from itertools import chain

from pipeline.answering import denials
from pipeline.core.records import Stance

_SENTENCE = re.compile(r"[.!?]\s+|\n+|[。！？]\s*")

_REPORTS = (
    r"(?:mention|state|specif|provid|contain|includ|describ|discuss|indicat|address|detail|explain"
    r"|explicit|inform|giv|list|availab|disclos|elaborat|clear|reveal|say|cover|refer|present|offer"
    r"|clarif|outlin|find|found|name|known|report|answer|determin|delve|identif|appear|focus)"
)
_TEXT = (
    r"(?:passages?|contexts?|texts?|papers?|excerpts?|documents?|sources?|articles?|stud(?:y|ies)"
    r"|publications?|references?|sections?|authors?)"
)
_DENIES = re.compile(
    rf"(?i)\b(?:not|cannot|never|nor|\w+n['’]t)\b(?:\W+\w+){{0,6}}?\W+{_REPORTS}"
    rf"|\bno\b(?:\W+\w+){{0,5}}?\W+(?:{_REPORTS}|evidence|reference|link)"
    rf"|\b{_TEXT} (?:\w+ no\b|(?:\w+ )?lack(?:s|ing)?\b)"
    rf"|\bwithout\b(?:\W+\w+){{0,4}}?\W+{_REPORTS}"
    rf"|\black(?:s|ing)?\b(?:\W+\w+){{0,4}}?\W+{_REPORTS}"
    r"|\b(?:unspecified|unstated|undisclosed|unclear|unable|insufficient)\b"
    r"|\b(?:is|are|was|were|remains?|as|or) (?:unknown|absent)\b"
    r"|\b(?:do|does|did|could|can)(?: not|n['’]t)? (?:know|tell|say)\b"
    r"|\bnot (?:enough|possible|sure|certain|applicable)\b"
    rf"|\bnone of \w+(?:\W+\w+){{0,3}}?\W+{_TEXT}"
    rf"|\bnone of\b(?:\W+\w+){{0,12}}?\W+{_REPORTS}\w* in (?:\w+ ){{1,3}}?{_TEXT}"
)
_ASIDE = re.compile(
    r"(?i)^\W*(?:(?:the|this)(?: provided| given)? (?:context|text|passages?|excerpts?|paper)"
    r"|(?:while )?it)(?: \w+)?"
    r" (?:focus\w*|appears?|seems?|discuss\w*|mentions)\b"
)
_CONCEDES = re.compile(
    r"(?i)\b(?:however|but|although|though|nevertheless|nonetheless|instead)\b[^.!?]{0,60}?"
    r"\b(?:do(?:es)?|mentions?|stat\w+|describ\w+|discuss\w*|indicat\w+|used?|uses|provid\w+"
    r"|are|is|was|were)\b"
    r"(?!\W+(?:not?|n['’]t)\b)"
)
_INFERS = re.compile(
    r"(?i)\b(?:infer(?:red|s|ence)?|implie[sd]|imply(?:ing)?|presum\w+|assum(?:e|ed)|speculat\w+"
    r"|likely|probabl[ey]|possibly|perhaps|might|suggest(?:s|ing|ed)?|it (?:appears|seems)"
    r"|(?:appears?|seems?) to have)\b"
)


def stance_of(answer: str) -> Stance:
    """The stance of an answer, going by its words; an empty answer abstains."""
    if denials.is_none(answer):
        return "abstained"
    sentences = _sentences(answer)
    asides: list[str] = []
    for opening in sentences:
        # "The text focuses on …" neither answers nor denies; the next sentence does.
        denies = _denies(opening)
        if denies or not _ASIDE.search(opening):
            break
        asides.append(opening)
    else:
        return "answered" if asides else "abstained"
    if not denies:
        return "hedged" if _INFERS.search(opening) else "answered"
    others = (s for s in chain(asides, sentences) if not _denies(s))
    conceded = any(_CONCEDES.search(s) or _INFERS.search(s) for s in others)
    return "hedged" if conceded else "abstained"


def _denies(sentence: str) -> bool:
    return bool(_DENIES.search(sentence)) or denials.denies(sentence)


def _sentences(text: str) -> Iterator[str]:
    """Sentences and lines that contain a letter or digit."""
    return (s for s in _SENTENCE.split(text) if any(map(str.isalnum, s)))
