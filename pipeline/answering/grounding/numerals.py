"""Numbers as texts write them, and the keys under which two ways to write one are the same.

A key is a number's plain decimal digits, such as `1200`, `0.85` or `2.4.1` for a version. A key is
text all along: a long run of digits is no number that a float could hold. Where a number can be
read in two ways (`1.200`), it has both keys.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.answering.grounding.number_words import SCALES

SPACE = "[ \u00a0\u2009\u202f]"
DIGITS = rf"\d{{1,3}}(?:{SPACE}\d{{3}})+(?![.,]?\d)|\d+(?:[.,]\d+)*"
_MINUS = "[-−–‐‑]"
_POWER = rf"(?:\^|\*\*)?{SPACE}?[({{]?{SPACE}?(?P<sign>{_MINUS}|\+)?{SPACE}?(?P<power>\d{{1,2}})"
_TIMES = rf"{SPACE}?(?:[×xX*·⋅]|\\times){SPACE}?"
NUMERAL = re.compile(
    rf"(?P<digits>{DIGITS})"
    rf"(?:(?:{_TIMES}10|(?P<e>[eE])(?=[-−–+]?\d)){_POWER}(?![\d.]))?"
    rf"(?:\s?-?(?P<scale>hundred|thousand|million|billion|trillion|[kKMB](?![\w/]))s?)?"
)
PERCENT = re.compile(r"\s?(?:%|per ?cent\b)")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")

LARGEST_POWER = 30
"""Powers of ten beyond this are no number of a paper."""


class Numeral(NamedTuple):
    """A number in a text: its characters, their offsets, and its keys.

    `parts` are the keys of mantissa and exponent, which a PDF sets apart.
    """

    text: str
    start: int
    end: int
    keys: frozenset[str]
    parts: frozenset[str] = frozenset()


def numerals_in(text: str) -> Iterator[Numeral]:
    """Every number that is written in digits, powers of ten and scale words included."""
    for match in NUMERAL.finditer(text):
        yield Numeral(match[0], match.start(), match.end(), *_keys(match))


def with_plain_powers(text: str) -> str:
    """A text with raised digits as plain ones behind `^`; offsets move."""
    return _SUPERSCRIPT.sub(lambda raised: "^" + raised[0].translate(_SUPERSCRIPTS), text)


def keys_of(digits: str) -> frozenset[str]:
    """The keys of digits with separators: `1,200` is 1200, or 1.2 where a comma is a point."""
    parts = re.split(r"[^0-9]+", digits)
    if len(parts) == 1:
        return frozenset({_plain(digits)})
    marks = set(re.sub(r"\d", "", digits))
    if len(marks) == 2 or not marks <= {".", ","}:
        whole = "".join(parts[:-1]) if marks <= {".", ","} else "".join(parts)
        fraction = parts[-1] if marks <= {".", ","} else ""
        return frozenset({_plain(whole, fraction)})
    keys = set()
    if len(parts[0]) <= 3 and all(len(part) == 3 for part in parts[1:]) and parts[0] != "0":
        keys.add(_plain("".join(parts)))
    if len(parts) == 2:
        keys.add(_plain(*parts))
    return frozenset(keys or {".".join(parts)})


def shifted(key: str, power: int) -> str:
    """A key times ten to a power; the key itself where that is no number of a paper."""
    if abs(power) > LARGEST_POWER or key.count(".") > 1:
        return key
    whole, _, fraction = key.partition(".")
    if power >= 0:
        fraction = fraction.ljust(power, "0")
        return _plain(whole + fraction[:power], fraction[power:])
    whole = whole.rjust(1 - power, "0")
    return _plain(whole[:power], whole[power:] + fraction)


def value_of(key: str) -> float | None:
    """The number of a key; None for a version, and for more digits than a float tells apart."""
    return float(key) if len(key) <= 15 and key.count(".") <= 1 else None


def decimals_of(key: str) -> int:
    return len(key.partition(".")[2])


def _plain(whole: str, fraction: str = "") -> str:
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _keys(match: re.Match[str]) -> tuple[frozenset[str], frozenset[str]]:
    """The keys of a number, and of its parts if it is one times a power of ten."""
    keys, parts = keys_of(match["digits"]), frozenset[str]()
    if power := match["power"]:
        parts = frozenset({min(keys, key=len), _plain(power)})
        sign = -1 if match["sign"] and match["sign"] != "+" else 1
        keys = frozenset(shifted(key, sign * int(power)) for key in keys)
    if scale := match["scale"]:
        scaled = frozenset(shifted(key, SCALES[scale.lower()]) for key in keys)
        keys = scaled if len(scale) > 1 else scaled | keys
    return keys, parts
