"""What the headers of endpoints say of their limits."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from pipeline.engines.rate_headers import duration, limits_of, retry_after


def openai(unit: str, limit: str, remaining: str, reset: str) -> dict[str, str]:
    parts = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"x-ratelimit-{part}-{unit}": value for part, value in parts.items()}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("1s", 1), ("6m0s", 360), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("2m59.56s", 179.56)),
        *(("8.64", 8.64), ("0s", 0), ("", None), ("soon", None), ("5 s", None)),
    ],
)
def test_durations(text, seconds):
    assert duration(text) == seconds


def test_a_time_is_a_duration_from_now():
    at = datetime.now(UTC) + timedelta(seconds=30)
    assert duration(at.isoformat()) == pytest.approx(30, abs=1)


@pytest.mark.parametrize(
    ("headers", "limits"),
    [
        ({}, {}),
        ({"x-ratelimit-limit-requests": "many"}, {}),
        ({"x-ratelimit-limit-requests": "60"}, {"requests": 60}),
        (openai("requests", "60", "59", "1s"), {"requests": 60}),
        (openai("tokens", "150000", "149984", "6m0s"), {"tokens": 150_000}),
        (openai("requests", "10000", "9999", "8.64s"), {"requests": 10_000 / 1440}),
        (openai("requests", "14400", "14370", "2m59.56s"), {"requests": 10}),
        (openai("requests", "1000", "999", "60s"), {"requests": 1000}),
        (
            {**openai("requests", "5", "5", "0s"), **openai("tokens", "9000", "1", "59s")},
            {"requests": 5, "tokens": 9000},
        ),
        ({"anthropic-ratelimit-tokens-limit": "80000"}, {"tokens": 80_000}),
        ({"ratelimit-limit": "100, 100;w=60"}, {"requests": 100}),
        ({"ratelimit-policy": '"burst";q=50;w=30, "daily";q=1000;w=86400'}, {"requests": 100}),
        ({"ratelimit-limit": "100"}, {}),
    ],
)
def test_limits_are_those_of_a_minute(headers, limits):
    assert limits_of(headers) == pytest.approx(limits)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2),
        ({"retry-after": "2", "retry-after-ms": "150"}, 0.15),
        ({"retry-after": "never"}, None),
        ({"retry-after": format_datetime(datetime.now(UTC) - timedelta(hours=1))}, 0),
    ],
)
def test_a_refusal_says_how_long_to_wait(headers, seconds):
    assert retry_after(headers) == seconds
