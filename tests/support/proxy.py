"""A proxy between a client and a real server that lets through, delays, refuses or breaks off.

It stands for what no server does on command; what it lets through is the server's own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import Literal, TypeAlias

from aiohttp import ClientResponse, ClientSession, web
from yarl import URL

from tests.support.jobs import free_port

Fault: TypeAlias = Callable[[web.Request, bytes], Awaitable[web.Response | Literal["cut"] | None]]
"""What becomes of a request with its body: an answer of the proxy's own, the server's cut off in
the middle, or None to go on."""

_OF_A_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-encoding", "date"}


async def none(request: web.Request, body: bytes) -> None:
    return None


@dataclass
class Proxy:
    """Serves on a port of its own from `start` to `close`; `fault` may change between requests."""

    target: str
    fault: Fault = none
    port: int = field(default_factory=free_port)
    at_once: int = 0
    most_at_once: int = 0
    bodies: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "Proxy":
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)
        return self

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._session = ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def _stop(self) -> None:
        await self._session.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._runner.cleanup(), 5)

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            body = await request.read()
            self.bodies.append(body)
            verdict = await self.fault(request, body)
            if isinstance(verdict, web.Response):
                return verdict
            url = URL(self.target + request.raw_path, encoded=True)  # as it was signed
            async with self._session.request(
                request.method, url, headers=request.headers, data=body, allow_redirects=False
            ) as reply:
                return await self._hand_on(request, reply, cut=verdict == "cut")
        finally:
            self.at_once -= 1

    async def _hand_on(
        self, request: web.Request, reply: ClientResponse, cut: bool
    ) -> web.StreamResponse:
        kept = {k: v for k, v in reply.headers.items() if k.lower() not in _OF_A_CONNECTION}
        data = await reply.read()
        if request.method != "HEAD":
            kept["Content-Length"] = str(len(data))
        answer = web.StreamResponse(status=reply.status, headers=kept)
        await answer.prepare(request)
        if cut and request.transport:
            await answer.write(data[: len(data) // 2])
            request.transport.abort()
        elif data:
            await answer.write(data)
        return answer
