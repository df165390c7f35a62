"""Keeps an engine alive that may die or hang, and finds the record that kills it.

A dead engine is started again and what it had in flight is asked again. Innocent records pay with
that retry and nothing else; the one that kills is found by trials, each in an engine that
has nothing else to do:

- *Probe.* A record that never got as far as its first token is asked for one token, alone.
- *Halves.* Records that got further, and saw the engine die twice, are asked again by halves, and
  the half that dies by halves again (group testing: Dorfman, "The Detection of Defective Members
  of Large Populations", 1943).

Only a record that died alone is convicted; that explains the deaths before, and the others go back
to work. An engine that keeps dying without an answer between is broken, whoever is convicted.
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

CONVICTIONS_IN_A_ROW = 3
"""So many records convicted with no answer between them: it is not the records."""

REVIVAL_PAUSES = (0.0, 10.0, 30.0)
"""Seconds before each try to start a dead engine again: a driver may hold its memory a while."""

LOOKS = 10
"""How many times within the time allowed for silence the watch looks."""


class EngineDied(Exception):
    """Raised by a body for what it had in flight; the message is its last words."""


class Body(Protocol):
    """What a supervisor keeps alive. `start` and `kill` block; they run beside the event loop."""

    def start(self) -> None:
        """Raises `EngineError` with the reason."""
        ...

    def kill(self) -> None:
        """Ends whatever is left of it; harmless on one that is dead."""
        ...

    async def generate(self, request: Request, heard: Callable[[], None]) -> Completion:
        """Calls `heard` at every sign of life for this request, the first token above all.

        Raises `EngineDied` with the engine, and `GenerationError` for this request alone.
        """
        ...


@dataclass(slots=True, eq=False)
class Asked:
    """A request on its way to a completion, through as many lives of the engine as it takes."""

    request: Request
    rank: tuple[int, int]  # repairs first, then as they came
    completion: asyncio.Future[Completion]
    deaths: int = 0
    heard: bool = False  # got its first token, in this life or an earlier one
    task: asyncio.Task[None] | None = None

    def __lt__(self, other: "Asked") -> bool:
        return self.rank < other.rank

    def succeed(self, completion: Completion) -> None:
        if not self.completion.done():  # whoever asked may have gone
            self.completion.set_result(completion)

    def fail(self, error: Exception) -> None:
        if not self.completion.done():
            self.completion.set_exception(error)


@dataclass(frozen=True, slots=True)
class Trial:
    """Records to be asked while the engine has nothing else to do; a probe is for one token."""

    suspects: list[Asked]
    probe: bool = False


class Supervisor:
    """Asks a living engine, `capacity` requests at a time; repairs go before first attempts.

    One event loop runs all of it, so that there are no locks. `stall_seconds` without a sign of
    life while something is in flight count as a death.
    """

    def __init__(self, body: Body, capacity: int, stall_seconds: float) -> None:
        self._body = body
        self._capacity = capacity
        self._stall_seconds = stall_seconds
        self._waiting: list[Asked] = []  # a heap
        self._running: set[Asked] = set()
        self._trials: deque[Trial] = deque()
        self._trial: Trial | None = None
        self._ranks = count()
        self._convicted_in_a_row = 0
        self._alive = True
        self._lost: EngineError | None = None
        self._last_sign = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None

    async def ask(self, request: Request) -> Completion:
        """The completion of a request, whatever happens to the engine meanwhile.

        Raises `GenerationError` for a record that the engine cannot answer or does not survive, and
        `EngineError` once the engine is lost for good.
        """
        if self._lost:
            raise self._lost
        self._watching = self._watching or self._keep(self._watch())
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        asked = Asked(request, (-request.attempt, next(self._ranks)), future)
        heapq.heappush(self._waiting, asked)
        self._admit()
        return await future

    def _admit(self) -> None:
        """Hands the engine what it may have, which during trials is nothing but the suspects."""
        if not self._alive:
            return
        if self._trials or self._trial:
            self._try_suspects()
            return
        while self._waiting and len(self._running) < self._capacity:
            self._start(heapq.heappop(self._waiting))

    def _try_suspects(self) -> None:
        if self._running:
            return
        self._trial = self._trials.popleft() if self._trials else None
        if not self._trial:
            self._admit()
            return
        for suspect in self._trial.suspects:
            self._start(suspect, self._trial.probe)

    def _start(self, asked: Asked, probe: bool = False) -> None:
        if not self._running:
            self._sign_of_life()
        self._running.add(asked)
        asked.task = self._keep(self._run(asked, probe))

    async def _run(self, asked: Asked, probe: bool) -> None:
        request = replace(asked.request, most_tokens=1) if probe else asked.request

        def heard() -> None:
            asked.heard = True
            self._sign_of_life()

        try:
            completion = await self._body.generate(request, heard)
        except EngineDied as death:
            self._bury(str(death))
            return
        except GenerationError as error:
            asked.fail(error)
        except Exception as error:  # noqa: BLE001  a bug or a broken set-up: nothing mends it
            self._lose(EngineError(f"the engine failed: {type(error).__name__}: {error}"))
            return
        else:
            heard()
            if probe:
                heapq.heappush(self._waiting, asked)
            else:
                self._convicted_in_a_row = 0
                asked.succeed(completion)
        self._running.discard(asked)
        self._admit()

    def _bury(self, why: str) -> None:
        """Takes stock after a death: whom to ask again, and how; then has the engine revived."""
        if not self._alive:  # another one in flight was faster to notice
            return
        self._alive = False
        victims = sorted(self._running)
        self._running.clear()
        for victim in victims:
            victim.deaths += 1
            if victim.task and victim.task is not asyncio.current_task():
                victim.task.cancel()
        alone = self._trial and len(victims) == 1
        self._trial = None
        if alone:
            self._convict(victims[0], why)
        else:
            self._suspect(victims)
        if self._convicted_in_a_row < CONVICTIONS_IN_A_ROW:
            self._keep(self._revive())
        else:
            self._lose(EngineError(f"the engine dies whatever it is asked: {why}"))

    def _convict(self, culprit: Asked, why: str) -> None:
        self._convicted_in_a_row += 1
        culprit.fail(GenerationError(why))
        for trial in self._trials:
            for suspect in trial.suspects:
                heapq.heappush(self._waiting, suspect)
        self._trials.clear()

    def _suspect(self, victims: Sequence[Asked]) -> None:
        """New trials go before those that wait: they are about the same death, and smaller."""
        unheard = [victim for victim in victims if not victim.heard]
        suspects = [victim for victim in victims if victim.heard and victim.deaths > 1]
        middle = (len(suspects) + 1) // 2
        halves = [Trial(half) for half in (suspects[:middle], suspects[middle:]) if half]
        self._trials.extendleft(reversed([*(Trial([v], probe=True) for v in unheard), *halves]))
        for victim in victims:
            if victim.heard and victim.deaths == 1:
                heapq.heappush(self._waiting, victim)

    async def _revive(self) -> None:
        for pause in REVIVAL_PAUSES:
            await asyncio.sleep(pause)
            try:
                await asyncio.to_thread(self._body.kill)
                await asyncio.to_thread(self._body.start)
            except Exception as error:  # noqa: BLE001  said to everyone who waits
                failed = error if isinstance(error, EngineError) else EngineError(describe(error))
            else:
                self._alive = True
                self._admit()
                return
        self._lose(failed)

    def _lose(self, error: EngineError) -> None:
        """The end: everyone who waits for an answer is told why there is none."""
        self._alive, self._lost = False, error
        suspects = [suspect for trial in self._trials for suspect in trial.suspects]
        for asked in (*self._waiting, *self._running, *suspects):
            asked.fail(error)
        self._waiting.clear()
        self._running.clear()
        self._trials.clear()

    async def _watch(self) -> None:
        """Takes an engine for dead that has said nothing for too long."""
        clock = asyncio.get_running_loop().time
        while not self._lost:
            await asyncio.sleep(self._stall_seconds / LOOKS)
            if self._running and clock() - self._last_sign > self._stall_seconds:
                self._bury(f"the engine hung: no token for {self._stall_seconds:g} s")

    def _sign_of_life(self) -> None:
        self._last_sign = asyncio.get_running_loop().time()

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of our own; the event loop alone would not keep it from being collected."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
