"""An endpoint that enforces limits by token buckets, and says so as OpenAI's does."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from aiohttp import web

from tests.support.scripted import GOOD, USAGE, completion, endpoint, pond_of

TOKENS = int(USAGE["total_tokens"])
"""What each request takes, as the usage says that comes back with its answer."""


@dataclass
class _Bucket:
    """Holds `burst` seconds of its rate; what is refused takes nothing."""

    unit: str
    per_minute: float
    burst: float
    level: float = 0.0
    at: float = 0.0

    def __post_init__(self) -> None:
        self.level, self.at = self.capacity, time.monotonic()

    @property
    def rate(self) -> float:
        return self.per_minute / 60

    @property
    def capacity(self) -> float:
        return self.rate * self.burst

    def fill(self) -> None:
        now = time.monotonic()
        self.level = min(self.level + (now - self.at) * self.rate, self.capacity)
        self.at = now

    def headers(self) -> dict[str, str]:
        used = self.capacity - self.level
        return {
            f"x-ratelimit-limit-{self.unit}": f"{self.per_minute:.0f}",
            f"x-ratelimit-remaining-{self.unit}": f"{max(self.per_minute - used, 0):.0f}",
            f"x-ratelimit-reset-{self.unit}": f"{used / self.rate * 1000:.0f}ms",
        }


@dataclass
class Limited:
    """What was asked of the endpoint: when each request was answered, and how many were not."""

    url: str = ""
    admitted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    most_in_flight: int = 0

    @property
    def refused_share(self) -> float:
        return len(self.refused) / max(len(self.refused) + len(self.admitted), 1)

    def rate(self, skip: float = 0.0) -> float:
        """Requests admitted a second, without the first seconds, up to the last one."""
        begin, end = self.admitted[0] + skip, self.admitted[-1]
        return sum(at > begin for at in self.admitted) / (end - begin)

    def longest_gap(self) -> float:
        return max(after - before for before, after in pairwise(self.admitted))


@contextmanager
def limited(
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    burst: float = 1.5,
    seconds: float = 0.3,
    says: Literal["limits", "wait", "nothing"] = "limits",
    tokens: int = TOKENS,
) -> Iterator[Limited]:
    """An endpoint with these limits, each for `burst` seconds at once, whose answers take so long.

    It `says` its limits and how long to wait, only how long to wait, or nothing but 429. It counts
    so many `tokens` for a request, whatever the usage says that comes back.
    """
    given = {"requests": requests_per_minute, "tokens": tokens_per_minute}
    buckets = [_Bucket(unit, limit, burst) for unit, limit in given.items() if limit]
    costs = {"requests": 1, "tokens": tokens}
    seen, in_flight = Limited(), 0

    async def answer(_: web.Request, body: bytes) -> web.Response:
        nonlocal in_flight
        for bucket in buckets:
            bucket.fill()
        lacking = [b for b in buckets if b.level < costs[b.unit]]
        headers = {n: v for b in buckets for n, v in b.headers().items()}
        shown = headers if says == "limits" else {}
        if lacking:
            seen.refused.append(time.monotonic())
            wait = max((costs[b.unit] - b.level) / b.rate for b in lacking)
            waits = {} if says == "nothing" else {"retry-after-ms": f"{wait * 1000:.0f}"}
            error = {"message": "Rate limit reached", "code": "rate_limit_exceeded"}
            return web.json_response({"error": error}, status=429, headers={**shown, **waits})
        for bucket in buckets:
            bucket.level -= costs[bucket.unit]
        seen.admitted.append(time.monotonic())
        in_flight += 1
        seen.most_in_flight = max(seen.most_in_flight, in_flight)
        await asyncio.sleep(seconds)
        in_flight -= 1
        response = completion(body, GOOD.format(pond_of(body) + 3))
        response.headers.update(shown)
        return response

    with endpoint(answer) as url:
        seen.url = url
        yield seen
