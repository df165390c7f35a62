"""Keeps an engine running that may die or hang, and finds the record that kills it.

A dead engine is restarted, and its pending requests are sent again. Innocent records cost that one
retry. The record at fault is found by isolations, during which the engine gets nothing else:

- *Probe.* A record that has not produced a token is sent alone, for a single token: the first
  ones, as many as the engine computes at a time. The others were not begun.
- *Halves.* Records that have, and were in the engine at two deaths, are sent by halves, and the
  half that dies is halved again (group testing: Dorfman, "The Detection of Defective Members of
  Large Populations", 1943).

Only a record that was alone in the engine when it died is failed. It explains the earlier deaths,
so all others go back to the queue. An engine that keeps dying without answering anything in between
is broken, whichever records it dies on.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Protocol

from pipeline.core.errors import EngineError, describe
from pipeline.core.records import Completion
from pipeline.engines.engine import GenerationError, Request

MAX_CULPRITS_IN_A_ROW = 3
"""Records failed with no answer in between, after which the engine itself is at fault."""

RESTART_DELAYS = (0.0, 10.0, 30.0)
"""Seconds before each attempt at a restart: a driver may hold on to GPU memory for a while."""

CHECKS_PER_STALL = 10
"""How often a stall is looked for within the time that makes one."""


class EngineDied(Exception):
    """Raised for every pending request of an engine that died; the message gives the reason."""


class EngineProcess(Protocol):
    """An engine that can be started, killed and started again; `start` and `kill` block."""

    def start(self) -> None:
        """Raises `EngineError` with the reason."""

    def kill(self) -> None:
        """Ends all that is left of it; does nothing if it is dead."""

    async def generate(self, request: Request, on_tokens: Callable[[], None]) -> Completion:
        """Calls `on_tokens` when the request produces tokens, at its first one above all.

        Raises `EngineDied` if the engine dies, and `GenerationError` if this request alone fails.
        """


@dataclass(slots=True, eq=False)
class PendingRequest:
    """A request until its completion, across restarts of the engine."""

    request: Request
    rank: tuple[int, int]  # retries first, then in order of arrival
    completion: asyncio.Future[Completion]
    deaths: int = 0
    has_tokens: bool = False  # has produced a token, before a restart or since
    task: asyncio.Task[None] | None = None

    def __lt__(self, other: "PendingRequest") -> bool:
        return self.rank < other.rank

    def succeed(self, completion: Completion) -> None:
        if not self.completion.done():  # the caller may have been cancelled
            self.completion.set_result(completion)

    def fail(self, error: Exception) -> None:
        if not self.completion.done():
            self.completion.set_exception(error)


@dataclass(frozen=True, slots=True)
class Isolation:
    """Requests to send while the engine has no others; a probe is limited to one token."""

    suspects: list[PendingRequest]
    is_probe: bool = False


class Supervisor:
    """Sends up to `capacity` requests at a time to an engine that computes `sequences` of them and
    lets the others wait; retries go before first attempts.

    `stall_seconds` with pending requests and no token count as a death. All of it runs in one event
    loop and needs no locks.
    """

    def __init__(
        self, engine: EngineProcess, capacity: int, sequences: int, stall_seconds: float
    ) -> None:
        self._engine = engine
        self._capacity = capacity
        self._sequences = sequences
        self._stall_seconds = stall_seconds
        self._waiting: list[PendingRequest] = []  # a heap
        self._running: set[PendingRequest] = set()
        self._isolations: deque[Isolation] = deque()
        self._isolation: Isolation | None = None
        self._arrivals = count()
        self._culprits_in_a_row = 0
        self._is_alive = True
        self._fatal: EngineError | None = None
        self._last_tokens = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._stall_check: asyncio.Task[None] | None = None

    async def generate(self, request: Request) -> Completion:
        """The completion of a request, across restarts of the engine.

        Raises `GenerationError` for a record that the engine cannot answer or that kills it, and
        `EngineError` once the engine cannot be restarted.
        """
        if self._fatal:
            raise self._fatal
        self._stall_check = self._stall_check or self._create_task(self._detect_stalls())
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        pending = PendingRequest(request, (-request.attempt, next(self._arrivals)), future)
        heapq.heappush(self._waiting, pending)
        self._admit()
        return await future

    def _admit(self) -> None:
        """Sends waiting requests up to the capacity; during an isolation only the suspects."""
        is_trying = self._isolation or self._isolations
        if not self._is_alive or (is_trying and self._running):
            return
        self._isolation = self._isolations.popleft() if self._isolations else None
        if self._isolation:
            for suspect in self._isolation.suspects:
                self._send(suspect, self._isolation.is_probe)
            return
        while self._waiting and len(self._running) < self._capacity:
            self._send(heapq.heappop(self._waiting))

    def _send(self, pending: PendingRequest, is_probe: bool = False) -> None:
        if not self._running:
            self._reset_stall_clock()
        self._running.add(pending)
        pending.task = self._create_task(self._run(pending, is_probe))

    async def _run(self, pending: PendingRequest, is_probe: bool) -> None:
        request = replace(pending.request, max_tokens=1) if is_probe else pending.request

        def on_tokens() -> None:
            pending.has_tokens = True
            self._reset_stall_clock()

        try:
            completion = await self._engine.generate(request, on_tokens)
        except EngineDied as death:
            self._handle_death(str(death))
            return
        except GenerationError as error:
            pending.fail(error)
        except EngineError as error:
            self._give_up(error)
            return
        except Exception as error:  # noqa: BLE001  a bug or a broken setup: no restart helps
            self._give_up(EngineError(f"the engine failed: {type(error).__name__}: {error}"))
            return
        else:
            on_tokens()
            if is_probe:
                heapq.heappush(self._waiting, pending)
            else:
                self._culprits_in_a_row = 0
                pending.succeed(completion)
        self._running.discard(pending)
        self._admit()

    def _handle_death(self, reason: str) -> None:
        """Decides how every pending request is sent again, then restarts the engine."""
        if not self._is_alive:  # another request of this engine has reported it
            return
        self._is_alive = False
        victims = sorted(self._running)
        self._running.clear()
        for victim in victims:
            victim.deaths += 1
            if victim.task and victim.task is not asyncio.current_task():
                victim.task.cancel()
        is_alone = self._isolation and len(victims) == 1
        self._isolation = None
        if is_alone:
            self._fail_culprit(victims[0], reason)
        else:
            self._plan_isolations(victims)
        if self._culprits_in_a_row < MAX_CULPRITS_IN_A_ROW:
            self._create_task(self._restart())
        else:
            self._give_up(EngineError(f"the engine dies on every record: {reason}"))

    def _fail_culprit(self, culprit: PendingRequest, reason: str) -> None:
        self._culprits_in_a_row += 1
        culprit.fail(GenerationError(reason))
        for isolation in self._isolations:
            for suspect in isolation.suspects:
                heapq.heappush(self._waiting, suspect)
        self._isolations.clear()

    def _plan_isolations(self, victims: Sequence[PendingRequest]) -> None:
        """Puts new isolations before older ones: they concern the same death, and are smaller."""
        without_tokens = [victim for victim in victims if not victim.has_tokens]
        suspects = [victim for victim in victims if victim.has_tokens and victim.deaths > 1]
        middle = (len(suspects) + 1) // 2
        halves = [Isolation(half) for half in (suspects[:middle], suspects[middle:]) if half]
        probes = [Isolation([v], is_probe=True) for v in without_tokens[: self._sequences]]
        self._isolations.extendleft(reversed([*probes, *halves]))
        accused_once = [victim for victim in victims if victim.has_tokens and victim.deaths == 1]
        for victim in (*accused_once, *without_tokens[self._sequences :]):
            heapq.heappush(self._waiting, victim)

    async def _restart(self) -> None:
        for delay in RESTART_DELAYS:
            await asyncio.sleep(delay)
            try:
                await asyncio.to_thread(self._engine.kill)
                await asyncio.to_thread(self._engine.start)
            except Exception as error:  # noqa: BLE001  becomes the error of all pending requests
                failure = error if isinstance(error, EngineError) else EngineError(describe(error))
            else:
                self._is_alive = True
                self._admit()
                return
        self._give_up(failure)

    def _give_up(self, error: EngineError) -> None:
        """Fails all pending requests, and every later one."""
        self._is_alive, self._fatal = False, error
        suspects = [suspect for isolation in self._isolations for suspect in isolation.suspects]
        for pending in (*self._waiting, *self._running, *suspects):
            pending.fail(error)
        self._waiting.clear()
        self._running.clear()
        self._isolations.clear()

    async def _detect_stalls(self) -> None:
        """Treats an engine with pending requests that produces no token for too long as dead."""
        clock = asyncio.get_running_loop().time
        while not self._fatal:
            await asyncio.sleep(self._stall_seconds / CHECKS_PER_STALL)
            if self._running and clock() - self._last_tokens > self._stall_seconds:
                self._handle_death(f"the engine hung: no token for {self._stall_seconds:g} s")

    def _reset_stall_clock(self) -> None:
        self._last_tokens = asyncio.get_running_loop().time()

    def _create_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task with a reference of our own; the event loop's does not keep it alive."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
