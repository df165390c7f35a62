"""Tells whether an answer answers, hedges, or says that it does not know.

Goes by the answer's own words. An opening that *denies* (the passages do not say) abstains, unless
a later sentence *concedes* something after all, which makes it hedged. An opening that only
*infers* is hedged too. An answer that opens with a statement answers.
"""

import re
from collections.abc import Iterator
from itertools import chain

from pipeline.core.records import Stance

_SENTENCE = re.compile(r"[.!?]\s+|\n+")

_REPORTS = (
    r"(?:mention|state|specif|provid|contain|includ|describ|discuss|indicat|address|detail|explain"
    r"|explicit|inform|giv|list|availab|disclos|elaborat|clear|reveal|say|cover|refer|present|offer"
    r"|clarif|outlin|find|found|name|known|report|answer|determin|delve|identif|appear|focus)"
)
_DENIES = re.compile(
    rf"(?i)\b(?:not|cannot|never|nor|\w+n['’]t)\b(?:\W+\w+){{0,6}}?\W+{_REPORTS}"
    rf"|\bno\b(?:\W+\w+){{0,5}}?\W+(?:{_REPORTS}|evidence|reference|link)"
    r"|\b(?:passages?|context|text|paper|excerpts?) \w+ no\b"
    rf"|\bwithout\b(?:\W+\w+){{0,4}}?\W+{_REPORTS}"
    r"|\b(?:lacks?|lacking|absent|unspecified|unstated|undisclosed|unclear|unknown|unable|insufficient)\b"
    r"|\b(?:do|does|did|could|can)(?: not|n['’]t)? (?:know|tell|say)\b"
    r"|\bnot (?:enough|possible|sure|certain|applicable)\b|\bnone of the\b"
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
    sentences = _sentences(answer)
    asides: list[str] = []
    for opening in sentences:
        # "The text focuses on …" neither answers nor denies; the next sentence does.
        denies = _DENIES.search(opening)
        if denies or not _ASIDE.search(opening):
            break
        asides.append(opening)
    else:
        return "answered" if asides else "abstained"
    if not denies:
        return "hedged" if _INFERS.search(opening) else "answered"
    others = (s for s in chain(asides, sentences) if not _DENIES.search(s))
    conceded = any(_CONCEDES.search(s) or _INFERS.search(s) for s in others)
    return "hedged" if conceded else "abstained"


def _sentences(text: str) -> Iterator[str]:
    """Sentences and lines that contain a letter or digit."""
    return (s for s in _SENTENCE.split(text) if any(map(str.isalnum, s)))
