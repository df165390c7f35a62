"""Extracts the answer from a completion; only a completion without words has none.

Models keep only part of the `Answer:::` frame, repeat it, add a second answer after it, or leave it
out. There is a rule for each of these; if none applies, the whole text is the answer.
"""

import re

_MARKER = re.compile(r"[Aa](?<!\w[Aa])(?i:nswer)\s*:{2,}\**")  # a letter first: scans faster
_LABEL = re.compile(r"(?i)^\W*(?:(?:un)?helpful )?answer\W{0,2}:\**\s*")
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
    """The answer without frame, labels, placeholder and second answer; white space is trimmed."""
    text = _first_answer(completion)
    if "::" not in text:  # no marker, as in most completions
        return _bare(text) or _words_only(completion)
    before, *after = (_bare(part) for part in _MARKER.split(text))
    framed = [part for part in after if part]
    if not framed:
        return before or _bare(_MARKER.sub(" ", completion)) or _words_only(completion)
    if not before:
        return framed[0]
    # Text before the marker is chatter if a closed frame follows, or if it is a lead-in.
    # Otherwise it is the answer itself, which the text after the marker repeats.
    if len(after) >= 2 and after[0]:
        return after[0]
    words = len(before.split())
    if _FINISHED.search(before):
        return framed[0] if words <= GREETING_WORDS else before
    return framed[0] if words <= LEAD_IN_WORDS else f"{before}\n\n{framed[0]}"


def _first_answer(completion: str) -> str:
    """The text before a second answer or an invented question."""
    lowered = completion.lower()
    if "helpful answer" not in lowered and "%instructions" not in lowered:
        return completion
    start = 0
    for match in _SECOND_ANSWER.finditer(completion):
        if _bare(_MARKER.sub(" ", completion[start : match.start()])):
            return completion[: match.start()]
        start = match.start()
    return completion


def _bare(part: str) -> str:
    """A part without labels and placeholder; empty if no letter or digit is left."""
    text = _without_open_bold(part.strip())
    while (shorter := _PLACEHOLDER.sub("", _LABEL.sub("", text)).strip()) != text:
        text = shorter
    return text if any(c.isalnum() for c in text) else ""


def _without_open_bold(text: str) -> str:
    """A part without the asterisks that made the marker after it bold."""
    while (head := text.rstrip("*")) != text and (not head or head[-1].isspace()):
        text = head.rstrip()
    return text


def _words_only(completion: str) -> str:
    """The last resort: any text that contains words is its own answer."""
    text = _MARKER.sub(" ", completion).strip()
    return text if any(c.isalnum() for c in _LABEL.sub("", text)) else ""
