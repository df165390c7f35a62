"""Names of papers and questions, in the order in which people count."""

import re

_NUMBERS = re.compile(r"([0-9]+)")


def natural(name: str) -> tuple[list[str], str]:
    """Sorts `Q2` before `Q10`, and capitals beside small letters; numbers may be of any length."""
    parts = _NUMBERS.split(name.casefold())
    numbers = (digits.lstrip("0") for digits in parts[1::2])
    parts[1::2] = [f"{len(digits):05}{digits}" for digits in numbers]
    return parts, name
