"""An endpoint of OpenAI's protocol that says what a script has it say, with counts of its own."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from pipeline.config.schema import Job
from tests.support.jobs import job
from tests.support.proxy import Proxy

GOOD = "Answer:::\nThey counted {} herons on their nests at the pond.\nAnswer:::"
CUT_OFF = "Answer:::\nThey counted {} herons at the"
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "total_tokens": 110,
    "prompt_tokens_details": {"cached_tokens": 40},
}
"""Of every attempt."""


@contextmanager
def scripted(slow_seconds: float = 0.0) -> Iterator[str]:
    """The address of an endpoint; the first answer about every second pond takes `slow_seconds`.

    The answers about ponds 0, 5, 10, … break off the first time that they are asked for, those
    about ponds 0, 20, 40, … every time.
    """
    asked: Counter[int] = Counter()

    async def answer(_: web.Request, body: bytes) -> web.Response:
        said = json.loads(body)
        (pond,) = {int(n) for n in re.findall(r"nested at pond (\d+)\?", body.decode())}
        asked[pond] += 1
        if pond % 2 and asked[pond] == 1:
            await asyncio.sleep(slow_seconds)
        breaks_off = pond % 20 == 0 or (pond % 5 == 0 and asked[pond] == 1)
        words = (CUT_OFF if breaks_off else GOOD).format(pond + 3)
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": words},
        }
        held = {"id": "c", "object": "chat.completion", "created": 0, "model": said["model"]}
        return web.json_response({**held, "choices": [choice], "usage": USAGE})

    proxy = Proxy("http://127.0.0.1:9").start()
    proxy.fault = answer
    try:
        yield proxy.url
    finally:
        proxy.close()


def scripted_job(url: str, uri: object, store: object, rows_per_file: int, name: str) -> Job:
    engine = {"kind": "openai", "model": "scripted", "options": {"base_url": f"{url}/v1"}}
    night = job(str(uri), str(store), rows_per_file, engine=engine, failure_budget=1.0)
    return night.model_copy(update={"name": name})
