"""An endpoint of OpenAI's protocol with scripted answers and token counts."""

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
"""Returned with every answer."""


@contextmanager
def scripted(slow_seconds: float = 0.0) -> Iterator[str]:
    """The URL of the endpoint, while the block lasts.

    The first answer about every odd pond takes `slow_seconds`. The first answers about ponds 0, 5,
    10, … break off; those about ponds 0, 20, 40, … always do.
    """
    requests: Counter[int] = Counter()

    async def answer(_: web.Request, body: bytes) -> web.Response:
        model = json.loads(body)["model"]
        (pond,) = {int(n) for n in re.findall(r"nested at pond (\d+)\?", body.decode())}
        requests[pond] += 1
        if pond % 2 and requests[pond] == 1:
            await asyncio.sleep(slow_seconds)
        breaks_off = pond % 20 == 0 or (pond % 5 == 0 and requests[pond] == 1)
        words = (CUT_OFF if breaks_off else GOOD).format(pond + 3)
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": words},
        }
        response = {"id": "c", "object": "chat.completion", "created": 0, "model": model}
        return web.json_response({**response, "choices": [choice], "usage": USAGE})

    proxy = Proxy("http://127.0.0.1:9").start()
    proxy.fault = answer
    try:
        yield proxy.url
    finally:
        proxy.close()


def scripted_job(url: str, uri: object, store: object, rows_per_file: int, name: str) -> Job:
    engine = {"kind": "openai", "model": "scripted", "options": {"base_url": f"{url}/v1"}}
    plain = job(str(uri), str(store), rows_per_file, engine=engine, failure_budget=1.0)
    return plain.model_copy(update={"name": name})
