"""An endpoint that answers questions about ponds, and gives verdicts on its answers."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from pipeline.config.schema import Job
from tests.support.jobs import job
from tests.support.scripted import GOOD, USAGE, endpoint

TURN = re.compile(r"that answer|of that\?|JUDGE")
"""What the turns of judges say here, and no prompt."""


@dataclass
class Model:
    """What it was asked: the conversations that wanted an answer, and those that wanted a verdict.

    `verdict` says what it says to the judge about a pond: words, or a status for an error.
    """

    url: str = ""
    answered: list[dict[str, Any]] = field(default_factory=list)
    judged: list[dict[str, Any]] = field(default_factory=list)
    verdict: Callable[[int], str | int] = lambda _: "Yes."

    def forget(self) -> None:
        self.answered.clear()
        self.judged.clear()


@contextmanager
def judging_model() -> Iterator[Model]:
    model = Model()

    async def answer(_: web.Request, data: bytes) -> web.Response:
        body = json.loads(data)
        pond = int(re.findall(r"nested at pond (\d+)\?", data.decode())[0])
        if TURN.search(body["messages"][-1]["content"]):
            model.judged.append(body)
            return _response(body, model.verdict(pond))
        model.answered.append(body)
        return _response(body, GOOD.format(pond + 3))

    with endpoint(answer) as url:
        model.url = url
        yield model


def _response(body: dict[str, Any], said: str | int) -> web.Response:
    if isinstance(said, int):
        return web.json_response({"error": {"message": "no"}}, status=said)
    message = {"role": "assistant", "content": said}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    response = {"id": "c", "object": "chat.completion", "created": 0, "model": body["model"]}
    return web.json_response({**response, "choices": [choice], "usage": USAGE})


def judged_job(url: str, uri: object, store: object, model: str = "first", **sections: Any) -> Job:
    """A job for the endpoint, with a judge unless `judge` is None."""
    options = {"base_url": f"{url}/v1", "max_retries": 0}
    engine = {"kind": "openai", "model": model, "options": options}
    settings = {"engine": engine, "failure_budget": 1.0, "judge": {}, **sections}
    return job(str(uri), str(store), settings.pop("rows_per_file", 4), **settings)
