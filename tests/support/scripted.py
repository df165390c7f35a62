"""An endpoint of OpenAI's protocol with scripted answers and token counts."""

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from pipeline.config.schema import Job
from tests.support.jobs import job
from tests.support.proxy import Fault, Proxy

GOOD = "Answer:::\nThey counted {} herons on their nests at the pond.\nAnswer:::"
CUT_OFF = "Answer:::\nThey counted {} herons at the"
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "total_tokens": 110,
    "prompt_tokens_details": {"cached_tokens": 40},
}
"""Returned with every answer."""


@dataclass
class Answered:
    """The ponds that an endpoint has answered about, with the time of each answer."""

    url: str
    times: list[tuple[int, float]] = field(default_factory=list)


@contextmanager
def endpoint(answer: Fault) -> Iterator[str]:
    """The URL of an endpoint that answers every request in this way, while the block lasts."""
    proxy = Proxy("http://127.0.0.1:9").start()
    proxy.fault = answer
    try:
        yield proxy.url
    finally:
        proxy.close()


@contextmanager
def steady(seconds: float) -> Iterator[Answered]:
    """An endpoint whose answers take between half and one and a half times `seconds`."""
    times: list[tuple[int, float]] = []

    async def answer(_: web.Request, body: bytes) -> web.Response:
        pond = pond_of(body)
        await asyncio.sleep(seconds * random.Random(pond).uniform(0.5, 1.5))
        times.append((pond, time.time()))
        return completion(body, GOOD.format(pond + 3))

    with endpoint(answer) as url:
        yield Answered(url, times)


@contextmanager
def thinking(tokens: Callable[[int], int]) -> Iterator[Answered]:
    """An endpoint whose answer about a pond takes that many tokens, and no time."""
    times: list[tuple[int, float]] = []

    async def answer(_: web.Request, body: bytes) -> web.Response:
        pond = pond_of(body)
        times.append((pond, time.time()))
        return completion(body, GOOD.format(pond + 3), tokens(pond))

    with endpoint(answer) as url:
        yield Answered(url, times)


@dataclass
class Pace:
    """How an endpoint answers, which may change between runs: seconds a token, and the length of
    answers beside what they usually have.
    """

    seconds_per_token: float
    length: float = 1.0


@contextmanager
def uneven(pace: Pace) -> Iterator[str]:
    """The URL of an endpoint whose answers differ in length, take time by it, and break off now and
    then, so that they are repaired.
    """
    requests: Counter[int] = Counter()

    async def answer(_: web.Request, body: bytes) -> web.Response:
        pond = pond_of(body)
        requests[pond] += 1
        chance = random.Random(pond * 100 + requests[pond])
        tokens = max(round(40 * pace.length * chance.lognormvariate(0, 0.5)), 1)
        await asyncio.sleep(tokens * pace.seconds_per_token)
        breaks_off = requests[pond] == 1 and chance.random() < 0.08
        return completion(body, (CUT_OFF if breaks_off else GOOD).format(pond + 3), tokens)

    with endpoint(answer) as url:
        yield url


@contextmanager
def scripted(slow_seconds: float = 0.0) -> Iterator[str]:
    """The URL of the endpoint, while the block lasts.

    The first answer about every odd pond takes `slow_seconds`. The first answers about ponds 0, 5,
    10, … break off; those about ponds 0, 20, 40, … always do.
    """
    requests: Counter[int] = Counter()

    async def answer(_: web.Request, body: bytes) -> web.Response:
        pond = pond_of(body)
        requests[pond] += 1
        if pond % 2 and requests[pond] == 1:
            await asyncio.sleep(slow_seconds)
        breaks_off = pond % 20 == 0 or (pond % 5 == 0 and requests[pond] == 1)
        words = (CUT_OFF if breaks_off else GOOD).format(pond + 3)
        return completion(body, words)

    with endpoint(answer) as url:
        yield url


def pond_of(body: bytes) -> int:
    (pond,) = {int(n) for n in re.findall(r"nested at pond (\d+)\?", body.decode())}
    return pond


def completion(body: bytes, words: str, tokens: int = 10) -> web.Response:
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": words},
    }
    response = {"id": "c", "object": "chat.completion", "created": 0}
    model = json.loads(body)["model"]
    usage = {**USAGE, "completion_tokens": tokens, "total_tokens": 100 + tokens}
    return web.json_response({**response, "model": model, "choices": [choice], "usage": usage})


def scripted_job(url: str, uri: object, store: object, rows_per_file: int, name: str) -> Job:
    engine = {"kind": "openai", "model": "scripted", "options": {"base_url": f"{url}/v1"}}
    plain = job(str(uri), str(store), rows_per_file, engine=engine, failure_budget=1.0)
    return plain.model_copy(update={"name": name})
