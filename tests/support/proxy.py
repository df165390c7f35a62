"""A proxy before a real server that forwards, delays, refuses or cuts off.

It causes faults that no server produces on command; everything it forwards is the server's own.
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
"""Decides on a request and its body: a response of the proxy's own, "cut" to cut off the server's
response in the middle, or None to forward it."""

_CONNECTION_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-encoding", "date"}


async def no_fault(request: web.Request, body: bytes) -> None:
    return None


@dataclass
class Proxy:
    """Serves on its own port from `start` to `close`; `fault` may change between requests."""

    target: str
    fault: Fault = no_fault
    port: int = field(default_factory=free_port)
    concurrent: int = 0
    most_concurrent: int = 0
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
        app.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def _stop(self) -> None:
        await self._session.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._runner.cleanup(), 5)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        self.concurrent += 1
        self.most_concurrent = max(self.most_concurrent, self.concurrent)
        try:
            body = await request.read()
            self.bodies.append(body)
            verdict = await self.fault(request, body)
            if isinstance(verdict, web.Response):
                return verdict
            url = URL(
                self.target + request.raw_path, encoded=True
            )  # the signature covers the path as sent
            async with self._session.request(
                *(request.method, url),
                headers=request.headers,
                data=body,
                allow_redirects=False,
                skip_auto_headers=["Content-Type"],  # which a signature may cover, too
            ) as reply:
                return await self._reply(request, reply, cut=verdict == "cut")
        finally:
            self.concurrent -= 1

    async def _reply(
        self, request: web.Request, reply: ClientResponse, cut: bool
    ) -> web.StreamResponse:
        headers = {k: v for k, v in reply.headers.items() if k.lower() not in _CONNECTION_HEADERS}
        data = await reply.read()
        if request.method != "HEAD":
            headers["Content-Length"] = str(len(data))
        answer = web.StreamResponse(status=reply.status, headers=headers)
        await answer.prepare(request)
        if cut and request.transport:
            await answer.write(data[: len(data) // 2])
            request.transport.abort()
        elif data:
            await answer.write(data)
        return answer
