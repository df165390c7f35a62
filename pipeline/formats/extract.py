"""Extracts the answer from a completion; only a completion without words has none.

Models keep only part of the `Answer:::` frame, repeat it, add a second answer after it, or leave it
out. There is a rule for each of these; if none applies, the whole text is the answer.
"""

import re
from collections.abc import Iterator

import orjson

from pipeline.core.records import ANSWER_MARKER
from pipeline.formats.end_tokens import without_end_tokens

_COLON = "[:：﹕∶]"
_MARKER = re.compile(
    r"[Aa](?<![^\W_][Aa])(?i:nswer)[*_]*\s*"  # a letter first: scans faster
    rf"{_COLON}(?:[ \t]?{_COLON})+(?:[*_\]]|`(?!`))*(?:</\w{{1,6}}>|[ \t]+[*_]+(?=\s|$))?"
)
_TAG = re.compile(r"(?i)</?(?:final[ _-]?)?answer\s*>")
_FRAME_WORDS = (
    r"(?:here|is|the|my|your|final|short|brief|full|complete|concise|direct|correct|corrected|revised"
    r"|improved|updated|best|helpful|unhelpful|this|so|and|end|begin|start|of)"
)
_OPENING = re.compile(rf"(?i)[^\w`~]*(?:<\w{{1,6}}>|`)?(?:{_FRAME_WORDS}[ \t]+){{0,4}}[*_ \t]*")
"""What may stand before a marker on its line and belong to it: signs, and words of this list."""
_BOLD_OPENING = re.compile(rf"(?i)(?<!\S)[*_]{{1,3}}(?:{_FRAME_WORDS}[ \t]+){{1,4}}$")
"""The same behind an answer, on its last line."""
OPENING_WORDS = 4
"""Any words, at most so many, belong to markers if the same stand before several."""
_NO_JSON = r"[^\w{}\[\]\"'`:：]"
_LABEL = re.compile(
    rf"(?i)^{_NO_JSON}*(?:(?:my |the )?(?:final |helpful |unhelpful ))?answer{_NO_JSON}{{0,2}}"
    rf"{_COLON}[*_]*\s*"
)
_FENCED = re.compile(r"(```+|~~~+)[\w+-]*[ \t]*\n(.*?)\n?[ \t]*\1", re.DOTALL)
_SECOND_ANSWER = re.compile(r"(?im)^[ \t*]*(?:unhelpful|helpful) answer\W{0,2}:|%INSTRUCTIONS:")
_COUNT = r"(?:(?:in )?less than \d+ words|word count:? *\d+|\d+ words)"
_PLACEHOLDER = re.compile(
    r"(?i)^\W*(?:please )?(?:provide|write|insert|give) your answer\b[^)\]\n]*[)\]][\s.]*"
    rf"|^\W*[(\[]\s*{_COUNT}\s*[)\]][\s.]*"
    rf"|^\W*{_COUNT}[ \t]*[.:]?[ \t]*(?=\n|$)"
)
_FINISHED = re.compile(r"[.!?…][\"'”’)\]*`]*$")

LEAD_IN_WORDS, GREETING_WORDS = 15, 3
"""Text before a marker only announces the answer if it has at most this many words: the first
number for an unfinished line, the second for any line."""


def extract_answer(completion: str) -> str:
    """The answer without frame, labels, placeholder and second answer; white space is trimmed.

    A JSON document is an answer as it stands, without the fence around it.
    """
    completion = without_end_tokens(completion).strip()
    if (document := _document(completion)) is not None:
        return document
    if ">" in completion:
        completion = _unquoted(_TAG.sub(ANSWER_MARKER, completion))
    text = _first_answer(completion)
    if "::" not in text and ": :" not in text and text.isascii():  # no marker, as in most
        return _bare(text) or _words_only(completion)
    before, *after = map(_bare, _split(text))
    framed = [part for part in after if part]
    if not framed:
        return before or _bare(_without_markers(completion)) or _words_only(completion)
    return _of_frame(before, after, framed[0]) if before else framed[0]


def _of_frame(before: str, after: list[str], framed: str) -> str:
    """Text before a marker is chatter if a closed frame follows, or if it is a lead-in.

    Otherwise it is the answer itself, which the text after the marker repeats.
    """
    if len(after) >= 2 and after[0]:
        return after[0]
    words = len(before.split())
    if _FINISHED.search(before):
        return framed if words <= GREETING_WORDS else before
    return framed if words <= LEAD_IN_WORDS else f"{before}\n\n{framed}"


def _unquoted(text: str) -> str:
    """A text without the signs in front of its lines, if it is a frame and quoted as a whole."""
    lines = text.split("\n")
    if not all(line.startswith(">") for line in lines if line) or not _MARKER.search(text):
        return text
    return "\n".join(line.removeprefix(">").removeprefix(" ") for line in lines)


def _split(text: str) -> list[str]:
    """The parts between markers, without the signs and words that belong to a marker."""
    first, *parts = _between_markers(text)
    if not parts:
        return [first]
    *parts, last = ["\n" + first, *parts]
    lines = [_last_line(part) for part in parts]
    if not any(lines):  # each marker has a line of its own, as mostly
        return [*parts, last]
    return [*(_without_opening(*pair, lines) for pair in zip(parts, lines, strict=True)), last]


def _between_markers(text: str) -> Iterator[str]:
    """What stands between markers. A search for their letters is several times as fast as one for
    the pattern.
    """
    letters, start = text.casefold(), 0
    if len(letters) != len(text):  # as with ß: places differ
        yield from _MARKER.split(text)
        return
    at = letters.find("answer")
    while at >= 0:
        if marker := _MARKER.match(text, at):
            yield text[start:at]
            start = marker.end()
        at = letters.find("answer", max(at + 1, start))
    yield text[start:]


def _last_line(part: str) -> str | None:
    """What stands on a marker's line before it; None if another marker does."""
    _, end, line = part.rpartition("\n")
    return line.strip() if end else None


def _without_opening(part: str, line: str | None, lines: list[str | None]) -> str:
    """What stands before a marker, without what belongs to it; `line` is its last line."""
    if line is None or not (_OPENING.fullmatch(f"{line} ") or _is_repeated(line, lines)):
        return _BOLD_OPENING.sub("", part)
    return part[: part.rindex("\n")]


def _is_repeated(line: str, lines: list[str | None]) -> bool:
    """Whether a few words stand before several markers."""
    if lines.count(line) == 1 or _FINISHED.search(line):
        return False
    return len(line.split()) <= OPENING_WORDS


def _without_markers(text: str) -> str:
    return " ".join(_split(text))


def _first_answer(completion: str) -> str:
    """The text before a second answer or an invented question."""
    lowered = completion.lower()
    if "helpful answer" not in lowered and "%instructions" not in lowered:
        return completion
    start = 0
    for match in _SECOND_ANSWER.finditer(completion):
        if _bare(_without_markers(completion[start : match.start()])):
            return completion[: match.start()]
        start = match.start()
    return completion


def _bare(part: str) -> str:
    """A part without labels and placeholder; empty if no letter or digit is left."""
    text = _without_open_bold(part.strip())
    while (document := _document(text)) is None:
        shorter = _PLACEHOLDER.sub("", _LABEL.sub("", text)).strip()
        if shorter == text:
            return text if any(c.isalnum() for c in text) else ""
        text = shorter
    return document


def _document(text: str) -> str | None:
    """The JSON document that a text is, or that the fence around the whole text contains."""
    fenced = _FENCED.fullmatch(text) if text.startswith(("```", "~~~")) else None
    document = fenced[2].strip() if fenced else text
    if not document.startswith(("{", "[")):
        return None
    try:
        orjson.loads(document)
    except orjson.JSONDecodeError:
        return None
    return document


def _without_open_bold(text: str) -> str:
    """A part without the signs that made the marker after it bold."""
    while (head := text.rstrip("*_")) != text and (not head or head[-1].isspace()):
        text = head.rstrip()
    return text


def _words_only(completion: str) -> str:
    """The last resort: any text that contains words is its own answer."""
    text = _without_markers(completion).strip()
    return text if any(c.isalnum() for c in _LABEL.sub("", text)) else ""
