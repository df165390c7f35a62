"""When a request to an endpoint may go, and to which endpoint, as an engine sees it."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeAlias

from pipeline.config.schema import Job
from pipeline.engines.engine import Request
from pipeline.engines.token_budget import CHARACTERS_PER_TOKEN, answer_tokens

Limits: TypeAlias = Mapping[str, float]
"""The `requests` and `tokens` a minute that an endpoint allows, as far as they are known."""

Expected: TypeAlias = Callable[[], float]
"""About how many tokens a request takes, as well as that is known by now."""

REFUSED_SECONDS = 1.0
"""A wait after a refusal that names none."""


class Pacer(Protocol):
    """Holds requests back, so that all replicas together keep the limits of their endpoints.

    Every turn ends with one of `answered`, `refused` and `failed`.
    """

    async def turn(
        self, expected: Expected, tried: Collection[str] = (), again: bool = False
    ) -> tuple[str, float]:
        """Waits until a request may go; returns the endpoint's address, and the tokens expected.

        An endpoint that was `tried` for this request comes last. One that goes `again`, because it
        was refused, goes before others.
        """
        ...

    def answered(self, address: str, tokens: float, spent: float, learnt: Limits) -> None:
        """The endpoint has answered; `tokens` were expected, and so many spent."""
        ...

    def refused(
        self, address: str, tokens: float, sent_at: float, seconds: float | None, learnt: Limits
    ) -> None:
        """The endpoint has refused a request for its rate, and asks to wait, if it says so."""
        ...

    def failed(self, address: str, tokens: float, is_lost: bool = False) -> None:
        """The request came to nothing; the endpoint is lost if it cannot be reached."""
        ...


class Unpaced:
    """Lets every request go at once, to the first endpoint that was not tried for it.

    For a few requests outside of a run, which share no limit.
    """

    def __init__(self, addresses: Sequence[str], limits: Limits) -> None:
        self._addresses = addresses
        self._seconds = 0.0

    async def turn(
        self, expected: Expected, tried: Collection[str] = (), again: bool = False
    ) -> tuple[str, float]:
        await asyncio.sleep(self._seconds if again else 0)
        untried = [address for address in self._addresses if address not in tried]
        return (untried or self._addresses)[0], expected()

    def answered(self, address: str, tokens: float, spent: float, learnt: Limits) -> None:
        """Nothing is kept."""

    def refused(
        self, address: str, tokens: float, sent_at: float, seconds: float | None, learnt: Limits
    ) -> None:
        self._seconds = REFUSED_SECONDS if seconds is None else seconds

    def failed(self, address: str, tokens: float, is_lost: bool = False) -> None:
        """Nothing is kept."""


Pacing: TypeAlias = Callable[[Sequence[str], Limits], Pacer]
"""What makes a pacer of the addresses of endpoints and of the limits that the job gives each."""


class TokenEstimate:
    """About how many tokens a request takes: its prompt by characters, and its completion as the
    mean of those so far, or before the first by the limit.
    """

    def __init__(self, job: Job) -> None:
        self._expected = answer_tokens(job)
        self._completions = self._tokens = 0

    def of(self, request: Request, limit: int | None) -> float:
        prompt = sum(len(message.content) for message in request.messages) / CHARACTERS_PER_TOKEN
        if not self._completions:
            return prompt + (limit or self._expected)
        mean = self._tokens / self._completions
        return prompt + (min(mean, limit) if limit else mean)

    def learn(self, completion_tokens: int) -> None:
        self._completions += 1
        self._tokens += completion_tokens
