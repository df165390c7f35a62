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
    r"\b(?:"
    rf"(?:not|nothing|cannot|never|nor|\w+n['’]t)\b(?:\W+\w+){{0,6}}?\W+{_REPORTS}"
    rf"|no\b(?:\W+\w+){{0,5}}?\W+(?:{_REPORTS}|evidence|reference|link)"
    rf"|{_TEXT} (?:\w+ no\b|(?:\w+ )?lack(?:s|ing)?\b)"
    rf"|without\b(?:\W+\w+){{0,4}}?\W+{_REPORTS}"
    rf"|lack(?:s|ing)?\b(?:\W+\w+){{0,4}}?\W+{_REPORTS}"
    r"|(?:unspecified|unstated|undisclosed|unclear|unable|insufficient)\b"
    r"|(?:is|are|was|were|remains?|as|or) (?:unknown|absent)\b"
    r"|(?:do|does|did|could|can)(?: not|n['’]t)? (?:know|tell|say)\b"
    rf"|not in (?:the|this|these) (?:\w+ )?{_TEXT}"
    r"|not (?:enough|possible|sure|certain|applicable)\b"
    rf"|none of \w+(?:\W+\w+){{0,3}}?\W+{_TEXT}"
    rf"|none of\b(?:\W+\w+){{0,12}}?\W+{_REPORTS}\w* in (?:\w+ ){{1,3}}?{_TEXT}"
    r")"
)
_ASIDE = re.compile(
    r"^\W*(?:(?:the|this)(?: provided| given)? (?:context|text|passages?|excerpts?|paper)"
    r"|(?:while )?it)(?: \w+)?"
    r" (?:focus\w*|appears?|seems?|discuss\w*|mentions)\b"
)
_CONCEDES = re.compile(
    r"\b(?:however|but|although|though|nevertheless|nonetheless|instead)\b[^.!?]{0,60}?"
    r"\b(?:do(?:es)?|mentions?|stat\w+|describ\w+|discuss\w*|indicat\w+|used?|uses|provid\w+"
    r"|are|is|was|were)\b"
    r"(?!\W+(?:not?|n['’]t)\b)"
)
_INFERS = re.compile(
    r"\b(?:infer(?:red|s|ence)?|implie[sd]|imply(?:ing)?|presum\w+|assum(?:e|ed)|speculat\w+"
    r"|likely|probabl[ey]|possibly|perhaps|might|suggest(?:s|ing|ed)?|it (?:appears|seems)"
    r"|(?:appears?|seems?) to have)\b"
)
"""Patterns for text in lower case, in which they are found much faster."""


def stance_of(answer: str) -> Stance:
    """The stance of an answer, going by its words; an empty answer abstains."""
    if denials.is_none(answer):
        return "abstained"
    sentences = _sentences(answer.lower())
    asides: list[str] = []
    for opening in sentences:
        # "The text focuses on …" neither answers nor denies; the next sentence does.
        is_denial = denies(opening)
        if is_denial or not _ASIDE.search(opening):
            break
        asides.append(opening)
    else:
        return "answered" if asides else "abstained"
    if not is_denial:
        return "hedged" if _INFERS.search(opening) else "answered"
    others = (s for s in chain(asides, sentences) if not _DENIES.search(s))
    conceded = any(_CONCEDES.search(s) or _INFERS.search(s) for s in others)
    return "hedged" if conceded else "abstained"


def denies(sentence: str) -> bool:
    """Whether a sentence says that the passages do not say something."""
    lower = sentence.lower()
    return bool(_DENIES.search(lower)) or denials.denies(lower)


def _sentences(text: str) -> Iterator[str]:
    """Sentences and lines that contain a letter or digit."""
    return (s for s in _SENTENCE.split(text) if any(map(str.isalnum, s)))
