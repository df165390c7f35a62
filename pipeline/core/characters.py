"""Characters that a page must not show as they are."""

import re

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)


def visible(text: str) -> str:
    """A text whose control characters, and those that turn the direction of writing, are seen."""
    return _INVISIBLE.sub(_named, text)


def _named(sign: re.Match[str]) -> str:
    code = ord(sign[0])
    return chr(0x2400 + code) if code < 0x20 else f"⟨U+{code:04X}⟩"
