"""Every link of the answer stands in its prompt: URLs, bare hosts with a path, DOIs, arXiv ids.

Text of a PDF breaks links at line ends, loses their `_` and `-`, and scatters them over columns: so
a link is compared by its letters and digits alone, without scheme and resolver, and stands in the
prompt too if it stands there in two pieces near to each other. Derived are another address of a
record that the prompt holds, a site without a path that it knows by name, and a link whose host
alone is cut off there.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from rapidfuzz import fuzz, process

from pipeline.answering.checks.base import Finding, Subject
from pipeline.answering.grounding.letters import Letters, fold
from pipeline.answering.grounding.nearest import claim_at
from pipeline.answering.grounding.told import finding
from pipeline.core.records import Claim, ClaimKind, Level

LEVEL: Level = "label"
OF_PROSE = True

NEAR, FEWEST_FIRST, FEWEST_SECOND = 400, 4, 8
"""A link in two pieces: how far they stand apart, and how long they are, in letters and digits."""

NAME = 4
"""Letters of a site's name that tell it from a word, at least."""

ALIKE = 60
"""In percent: how far a link of the prompt is like the one that an answer gives, at least."""

_SIGNS = (
    r"[^\s<>\"“”„«»`|{}\[\]()*,;，。]|[,;(*](?=[\w(/-])|(?<=\()[^\s()]*\)|(?<=\w)\)(?=[\w/.-]\w)"
)
_LINK = re.compile(
    r"(?:https?:/{1,2}|(?<![\w.@/])www\.)(?:SIGN)+"
    r"|(?<![\w.@/])(?:[a-z\d][a-z\d-]*\.)+[a-z]{2,}(?::\d+)?/(?:SIGN)+"
    r"|(?<![\w./])10\.\d{4,9}/(?:SIGN)+"
    r"|\barxiv(?:\.org)?\W{0,3}(?:preprint\W{1,9})?(?:arxiv\W{0,3})?\d{4}\.\d{4,5}".replace(
        "SIGN", _SIGNS
    ),
    re.IGNORECASE,
)
_MAY_HOLD = re.compile(r"[a-z\d]/\w|://|www\.|rXiv|rxiv|\.[A-Z]{2,}/")
_TRAILING = ".,:;!?'’‘…*_~)]}>\\-"
_SCHEME = re.compile(r"(?i)^(?:https?:/{1,2})?(?:www\.)?")
_DOI = re.compile(r"(?i)10\.\d{4,9}/.+")
_ARXIV = re.compile(r"(?i)^arxiv.*?(\d{4}\.\d{4,5})")
_ZENODO = re.compile(r"(?i)(?:(?P<page>zenodo\.org/records?/)|10\.5281/zenodo\.)(?P<id>\d+)")
_ENDING = re.compile(r"(?i)(?:\.git|/index\.\w+|\.html?)$")


class Link(NamedTuple):
    """A link, its offsets, and what identifies it: no scheme, no resolver of DOIs."""

    text: str
    start: int
    end: int
    key: str


def test(subject: Subject) -> Finding:
    links = {link.text: link for link in links_of(subject.answer)} if subject.messages else {}
    kinds = ((link, _kind(link, subject.ground.letters)) for link in links.values())
    missing = [(link, kind) for link, kind in kinds if kind]
    known = list(links_of(subject.ground.text)) if missing else []
    claims = tuple(_claim(subject, kind, link, known) for link, kind in missing)
    return finding(subject, claims, "links")


def links_of(text: str) -> Iterator[Link]:
    """The links of a text, without the signs around them."""
    if not _MAY_HOLD.search(text):
        return
    for found in _LINK.finditer(text):
        link = found[0].rstrip(_TRAILING)
        if link.count("(") > link.count(")") and found[0].startswith(")", len(link)):
            link += ")"
        if key := _key(link):
            yield Link(link, found.start(), found.start() + len(link), key)


def _key(link: str) -> str:
    if arxiv := _ARXIV.match(_SCHEME.sub("", link)):
        return arxiv[1]
    if doi := _DOI.search(link):
        return doi[0]
    return _ENDING.sub("", _SCHEME.sub("", link))


def _kind(link: Link, ground: Letters) -> ClaimKind | None:
    """None for a link that stands in the prompt."""
    key = fold(link.key)
    if ground.holds(key) or _is_in_two_pieces(key, ground):
        return None
    is_derived = (
        _is_other_address(link.key, ground)
        or _is_known_site(link.key, ground)
        or _is_cut_off(link.key, ground)
    )
    return "derived" if is_derived else "unsupported"


def _is_in_two_pieces(key: str, ground: Letters) -> bool:
    """Whether a link stands in the prompt in two pieces of whole runs, near to each other.

    The second piece is no mere word, which a prompt may hold by chance.
    """
    for cut in range(FEWEST_FIRST, len(key) - FEWEST_SECOND + 1):
        second = ground.find_runs(key[cut:])
        if second < 0 or len(ground.runs_around(second, second + len(key) - cut, 0)) < 2:
            continue
        around = ground.text[max(0, second - NEAR) : second + NEAR]
        if key[:cut] in around and ground.find_runs(key[:cut]) >= 0:
            return True
    return False


def _is_other_address(key: str, ground: Letters) -> bool:
    """Whether a record of Zenodo stands in the prompt by its DOI instead of its page, or so."""
    record = _ZENODO.fullmatch(key)
    if record is None:
        return False
    forms = ("zenodo",) if record["page"] else ("zenodoorgrecord", "zenodoorgrecords")
    return any(ground.holds(form + record["id"]) for form in forms)


def _is_known_site(key: str, ground: Letters) -> bool:
    """Whether a site without a path has a name that the prompt says."""
    host, _, path = key.partition("/")
    *labels, domain = host.split(".")
    names = [name for name in map(fold, labels) if len(name) >= NAME]
    return not path and domain.isalpha() and bool(names) and all(map(ground.holds, names))


def _is_cut_off(key: str, ground: Letters) -> bool:
    """Whether the prompt holds a link from within its host on, as a passage that is cut does."""
    host, _, path = key.partition("/")
    name, _, domain = host.rpartition(".")
    label, rest = fold(name.rpartition(".")[2]), fold(domain + path)
    return "/" in path and any(
        ground.find_runs(label[at:] + rest) >= 0 for at in range(1, len(label))
    )


def _claim(subject: Subject, kind: ClaimKind, link: Link, known: list[Link]) -> Claim:
    """The claim with the link of the prompt that is most like it, or else the nearest sentence."""
    nearest = process.extractOne(
        link.key, [other.key for other in known], scorer=fuzz.ratio, score_cutoff=ALIKE
    )
    if nearest is None:
        return claim_at(subject, kind, link.start, link.end)
    spot = subject.ground.spot(*known[nearest[2]][1:3])
    return Claim(kind, link.text, link.start, link.end, *spot)
