"""Tells whether an answer answers, hedges, or says that it does not know.

Goes by the answer's own words, sentence by sentence. An opening that *denies* (the passages do not
say) abstains, unless it or a later sentence *concedes* something after all, which makes it hedged.
An opening that only *infers*, or that *generalises* (what is usual, not what was done), is hedged
too. An answer that opens with a statement answers. That something does not exist or is not public
is a statement about the world, and no denial.

Denials are known in English and, in their common forms, in ten other languages; all else in English
alone.
"""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Literal, NamedTuple, Self, TypeAlias

from pipeline.answering import denials
from pipeline.core.records import Stance

SentenceKind: TypeAlias = Literal["denies", "generalises", "infers", "states"]

_SENTENCE = re.compile(r"\.\s+|!\s+|\?\s+|\n\n*|。\s*|！\s*|？\s*")
"""Each alternative begins with a sign of its own, so that `re` jumps from sign to sign."""

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
_THINGS = (
    r"(?:codes?|data\w*|software|scripts?|programs?|repositor(?:y|ies)|weights|recordings?|models?"
    r"|materials?|images?)"
)
_WITHHELD = r"(?:availab\w+|shared|released|published|public|open|accessible|deposited|archived)\b"
_OF_THE_WORLD = re.compile(
    r"\b(?:"
    rf"(?:not|\w+n['’]t)(?: \w+){{0,2}}? (?:publicly|openly|freely) {_WITHHELD}"
    rf"|{_THINGS}(?: itself| used)? (?:is|are|was|were|has|have)(?: not|n['’]t)"
    rf"(?: yet| been| currently| made)* {_WITHHELD}"
    rf"|no (?:\w+ )?{_THINGS} (?:is|are|was|were|has been|have been) (?:\w+ )?{_WITHHELD}"
    r"|(?:no|not have|n['’]t have) (?:the )?permission to share"
    r"|(?:can ?not|can['’]t|not) (?:be shared|share (?:the|their|its|any) )"
    r")"
    rf"(?![^.!?]*\b(?:in|from|within|by|of|on) (?:\w+ ){{1,3}}?{_TEXT})"
)
_INFORMATION = re.compile(r"\b(?:information|details?|mention\w*|specif\w+)\b")
_ASIDE = re.compile(
    r"^\W*(?:the|your|this) (?:query|question) (?:asks|pertains|concerns|seeks|refers|is about)\b"
    r"|^\W*(?:(?:the|this)(?: provided| given)? (?:context|text|passages?|excerpts?|paper)"
    r"|(?:while )?it)(?: \w+)?"
    r" (?:focus\w*|appears?|seems?|discuss\w*|mentions)\b"
)
_CONCEDES = re.compile(
    r"\b(?:however|but|although|though|nevertheless|nonetheless|instead)\b[^.!?]{0,60}?"
    r"\b(?:do(?:es)?|mentions?|stat\w+|describ\w+|discuss\w*|indicat\w+|used?|uses|provid\w+"
    r"|are|is|was|were)\b"
    r"(?!\W+(?:not?|n['’]t)\b)"
    rf"|\b(?:it|they|{_TEXT}) (?:do(?:es)?|did) (?:mention|state|describe|note|report|say|give"
    r"|list|indicate)s?\b"
)
_INFERS = re.compile(
    r"\b(?:infer(?:red|s|ence)?|implie[sd]|imply(?:ing)?|presum\w+|assum(?:e|ed)|speculat\w+"
    r"|likely|probabl[ey]|possibly|perhaps|might|suggest(?:s|ing|ed)?|it (?:appears|seems)"
    r"|(?:appears?|seems?) to have)\b"
)
_GENERALISES = re.compile(
    r"\b(?:(?:typical|usual|general|common|normal)ly|often|in general|generally speaking"
    r"|(?:can|may|could) (?:\w+ )?be (?:appli|us|employ|perform|taken|consider|implement|involv)\w*"
    r"|(?:may|can|might) (?:include|involve|help)"
    r"|it is (?:important|essential|recommended|advisable)|common (?:\w+ ){1,3}(?:include|are))\b"
)
_BUT = re.compile(r"[,;:–—-]\s*(?:but|although|though|yet|only|except)\b")
"""Patterns for text in lower case, in which they are found much faster."""

_RUN = re.compile(r"[^\W_]+")
_SIGNS_AS_SPACES = bytes(n if chr(n).isalnum() else 0x20 for n in range(0x80)).ljust(0x100)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DENYING = _words(
    "not nothing cannot never nor no without lack lacks lacking unspecified unstated undisclosed "
    "unclear unable insufficient unknown absent know tell say none"
)
_GENERALISING = _words(
    "typically usually generally commonly normally often general can may could might important "
    "essential recommended advisable common"
)
_INFERRING = _words(
    "infer inferred infers inference implies implied imply implying assume assumed likely probable "
    "probably possibly perhaps might suggest suggests suggesting suggested appear appears seem "
    "seems"
)
_CONCEDING = _words("however but although though nevertheless nonetheless instead do does did")
"""Words of which each match of a pattern has one, but for the beginnings that are looked for beside
them: most sentences have none, and are not searched."""


class Sentence(NamedTuple):
    """A sentence in lower case, and its runs of letters and digits."""

    text: str
    words: list[str]

    @classmethod
    def of(cls, text: str) -> Self:
        if text.isascii():  # which takes a fifth of the time
            return cls(text, text.encode().translate(_SIGNS_AS_SPACES).decode().split())
        return cls(text, _RUN.findall(text))

    def has_any(self, words: frozenset[str]) -> bool:
        return not words.isdisjoint(self.words)


def stance_of(answer: str) -> Stance:
    """The stance of an answer, going by its words; an empty answer abstains."""
    if denials.is_none(answer):
        return "abstained"
    sentences = sentences_of(answer.lower())
    asides: list[Sentence] = []
    for opening in sentences:
        # "The text focuses on …" neither answers nor denies; the next sentence does.
        if (kind := kind_of(opening)) == "denies" or not _ASIDE.search(opening.text):
            break
        asides.append(opening)
    else:
        return "answered" if asides else "abstained"
    if kind != "denies":
        return "answered" if kind == "states" else "hedged"
    clauses = _BUT.split(opening.text)[1:]
    if any(_tells(clause) for clause in clauses):
        return "hedged"
    others = chain(asides, sentences)
    return "hedged" if any(concedes(s, kind_of(s)) for s in others) else "abstained"


def kind_of(sentence: Sentence) -> SentenceKind:
    """What a sentence does."""
    if _says_nothing(sentence):
        return "denies"
    text = sentence.text
    if sentence.has_any(_GENERALISING) and _GENERALISES.search(text):
        return "generalises"
    may_infer = sentence.has_any(_INFERRING) or "presum" in text or "speculat" in text
    return "infers" if may_infer and _INFERS.search(text) else "states"


def concedes(sentence: Sentence, kind: SentenceKind) -> bool:
    """Whether a sentence behind a denial tells something of the paper after all."""
    if kind != "states":
        return kind == "infers"
    return sentence.has_any(_CONCEDING) and bool(_CONCEDES.search(sentence.text))


def denies(sentence: str) -> bool:
    """Whether a sentence says that something is not: not in the passages, or not in the world."""
    return _denies(Sentence.of(sentence.lower()))


def sentences_of(text: str) -> Iterator[Sentence]:
    """Sentences and lines of a text in lower case that contain a letter or digit."""
    return (s for s in map(Sentence.of, _pieces(text)) if s.words)


def _pieces(text: str) -> Iterator[str]:
    """What stands between the ends of sentences, which are looked for one at a time."""
    start = 0
    for end in _SENTENCE.finditer(text):
        yield text[start : end.start()]
        start = end.end()
    yield text[start:]


def _denies(sentence: Sentence) -> bool:
    text = sentence.text
    may_deny = sentence.has_any(_DENYING) or "n't" in text or "n’t" in text
    return bool(may_deny and _DENIES.search(text)) or denials.denies(text, sentence.words)


def _says_nothing(sentence: Sentence) -> bool:
    """Whether a sentence denies that the passages tell something."""
    if not _denies(sentence):
        return False
    if _INFORMATION.search(sentence.text):
        return True
    rest = _OF_THE_WORLD.sub(" ", sentence.text)
    return rest == sentence.text or bool(_DENIES.search(rest))


def _tells(clause: str) -> bool:
    """Whether what stands behind a "but" is more than another denial or what the text is about."""
    if len(clause.split()) <= 2 or _ASIDE.search(clause):
        return False
    return not _says_nothing(Sentence.of(clause))
