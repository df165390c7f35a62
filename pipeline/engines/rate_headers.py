"""What the headers of a response say of an endpoint's limits, and how long a refused request waits.

Endpoints of OpenAI's protocol say `x-ratelimit-limit-requests`, `-remaining-` and `-reset-`, the
same for tokens; Anthropic's say `anthropic-ratelimit-requests-limit` and so on; others follow the
IETF's draft (`ratelimit-policy`, or `ratelimit-limit` with a window).
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

DAY = 86_400.0

_PART = re.compile(r"([\d.]+)(ms|us|µs|ns|d|h|m|s)")
_SECONDS = {"d": DAY, "h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_WINDOW = re.compile(r"(?:\bq=)?(\d+)\s*;(?:[^,]*;)?\s*w=(\d+)")
"""A quota and its seconds, as `100;w=60` or `"default";q=100;w=60`."""


def limits_of(headers: Mapping[str, str]) -> dict[str, float]:
    """The requests and tokens a minute that the headers name, as far as they name any."""
    found = {}
    for unit in ("requests", "tokens"):
        values = _values(headers, unit)
        if values and (limit := _number(values[0])):
            found[unit] = limit * 60 / _period(limit, _number(values[1]), values[2])
    if not found and (window := _WINDOW.search(_policy(headers))):
        quota, seconds = float(window[1]), float(window[2])
        if quota and seconds:
            found["requests"] = quota * 60 / seconds
    return found


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds after which a refused request may be sent again; None if the headers do not say."""
    if (milliseconds := _number(headers.get("retry-after-ms", ""))) is not None:
        return milliseconds / 1000
    said = headers.get("retry-after", "")
    if (seconds := _number(said)) is not None:
        return seconds
    with suppress(ValueError, TypeError):
        return max((parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds(), 0.0)
    return None


def duration(text: str) -> float | None:
    """Seconds of a duration such as `6m0s`, `20ms` or `1.5`, or until a time in RFC 3339."""
    if (seconds := _number(text)) is not None:
        return seconds
    if text and not _PART.sub("", text):
        return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    with suppress(ValueError, TypeError):
        return max((datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds(), 0.0)
    return None


def _values(headers: Mapping[str, str], unit: str) -> tuple[str, str, str] | None:
    """Limit, what remains of it, and when it is whole again."""
    for name in ("x-ratelimit-{}-" + unit, "anthropic-ratelimit-" + unit + "-{}"):
        parts = [headers.get(name.format(part), "") for part in ("limit", "remaining", "reset")]
        if parts[0]:
            return parts[0], parts[1], parts[2]
    return None


def _period(limit: float, remaining: float | None, reset: str) -> float:
    """Seconds in which the limit comes in: a minute, or a day for the free tiers of some.

    No header says which. What is used comes in evenly: the time until it is whole again tells.
    """
    used, seconds = limit - (limit if remaining is None else remaining), duration(reset)
    if used > 0 and seconds and 0.8 * DAY < seconds * limit / used < 1.2 * DAY:
        return DAY
    return 60.0


def _policy(headers: Mapping[str, str]) -> str:
    return headers.get("ratelimit-policy") or headers.get("ratelimit-limit") or ""


def _number(text: str | None) -> float | None:
    with suppress(ValueError):
        number = float(text or "")
        return number if 0 <= number < 1e15 else None
    return None
