"""The answer in a completion. A completion that says anything never comes out empty.

Models keep the `Answer:::` frame in part, repeat it, answer a second time behind it, or leave it
out; each of these has a rule here, and where none fits the whole text is the answer.
"""

import re

_MARKER = re.compile(r"[Aa](?<!\w[Aa])(?i:nswer)\s*:{2,}\**")  # begins so that a scan is fast
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
"""An unfinished line of so few words announces the answer, and so does any of very few."""


def extract_answer(completion: str) -> str:
    """The answer without frame, labels, placeholder or a second answer; white space trimmed."""
    text = _first_answer(completion)
    if "::" not in text:  # no marker, as in most completions
        return _bare(text) or _words_only(completion)
    before, *behind = (_bare(part) for part in _MARKER.split(text))
    framed = [part for part in behind if part]
    if not framed:
        return before or _bare(_MARKER.sub(" ", completion)) or _words_only(completion)
    if not before:
        return framed[0]
    # Text before the marker is chatter when a closed frame follows, or a few unfinished words.
    # Otherwise it is the answer itself, and what follows the marker says it again.
    if len(behind) >= 2 and behind[0]:
        return behind[0]
    words = len(before.split())
    if _FINISHED.search(before):
        return framed[0] if words <= GREETING_WORDS else before
    return framed[0] if words <= LEAD_IN_WORDS else f"{before}\n\n{framed[0]}"


def _first_answer(completion: str) -> str:
    """The text up to where a second answer or an invented question begins."""
    lowered = completion.lower()
    if "helpful answer" not in lowered and "%instructions" not in lowered:
        return completion
    start = 0
    for found in _SECOND_ANSWER.finditer(completion):
        if _bare(_MARKER.sub(" ", completion[start : found.start()])):
            return completion[: found.start()]
        start = found.start()
    return completion


def _bare(part: str) -> str:
    """A part without labels and placeholder; empty where nothing but signs is left."""
    text = _without_open_bold(part.strip())
    while (shorter := _PLACEHOLDER.sub("", _LABEL.sub("", text)).strip()) != text:
        text = shorter
    return text if any(c.isalnum() for c in text) else ""


def _without_open_bold(text: str) -> str:
    """A part without the asterisks that made the marker behind it bold."""
    while (head := text.rstrip("*")) != text and (not head or head[-1].isspace()):
        text = head.rstrip()
    return text


def _words_only(completion: str) -> str:
    """The last resort: what holds words, whatever they look like, is its own answer."""
    text = _MARKER.sub(" ", completion).strip()
    return text if any(c.isalnum() for c in _LABEL.sub("", text)) else ""
