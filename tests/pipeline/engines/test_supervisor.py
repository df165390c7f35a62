"""Records whose engine dies, hangs, or is killed by one of them.

The engine here is a fake that dies on command; `test_vllm.py` and `test_faults.py` have real ones.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count

import pytest

from pipeline.core.errors import EngineError
from pipeline.core.records import Completion, Prompt
from pipeline.engines import supervisor
from pipeline.engines.engine import GenerationError, Request
from pipeline.engines.supervisor import EngineDied, Supervisor
from tests.support.jobs import record

TOKENS = 5


class FakeEngine:
    """Produces a token a tick, and dies of what its test sets."""

    def __init__(self) -> None:
        self.starts = 0
        self.requests: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()
        self.order: list[str] = []
        self.dies_at_first_token_of: set[str] = set()
        self.dies_at_last_token_of: set[str] = set()
        self.hangs_on: set[str] = set()
        self.refuses: set[str] = set()
        self.fails_to_start: list[Exception] = []
        self._death = asyncio.Event()

    def start(self) -> None:
        if self.fails_to_start:
            raise self.fails_to_start.pop(0)
        self.starts += 1
        self._death = asyncio.Event()

    def kill(self) -> None:
        self._death.set()

    async def generate(self, request: Request, on_tokens: Callable[[], None]) -> Completion:
        name, death = request.prompt.record.record_id, self._death
        self.requests[name] += 1
        self.order.append(name)
        if name in self.refuses:
            raise GenerationError("refused")
        for token in range(request.max_tokens or TOKENS):
            await asyncio.sleep(0.001)
            if name in self.hangs_on:
                self.hangs_on.discard(name)
                await asyncio.sleep(60)
            first, last = token == 0, token == TOKENS - 1
            if (first and name in self.dies_at_first_token_of) or (
                last and name in self.dies_at_last_token_of
            ):
                death.set()
            if death.is_set():
                raise EngineDied("out of memory")
            on_tokens()
        self.finished[name] += 1
        return Completion(f"answer to {name}", "stop")


def request(number: int, attempt: int = 0) -> Request:
    named = record(record_id=str(number))
    return Request(Prompt(named, (), "", "", ""), (), attempt=attempt)


def generate_all(
    engine: FakeEngine,
    numbers: range,
    capacity: int = 8,
    stall_seconds: float = 30,
    sequences: int | None = None,
) -> dict[str, Completion | Exception]:
    """The outcome of each record, all sent at once."""

    async def go() -> dict[str, Completion | Exception]:
        engine.start()
        supervised = Supervisor(engine, capacity, sequences or capacity, stall_seconds)
        answers = (supervised.generate(request(n)) for n in numbers)
        outcomes = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), 20)
        return dict(zip(map(str, numbers), outcomes, strict=True))

    return asyncio.run(go())


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_DELAYS", (0.0, 0.01, 0.01))


def answered(outcomes: dict[str, Completion | Exception]) -> set[str]:
    return {name for name, outcome in outcomes.items() if isinstance(outcome, Completion)}


def test_a_healthy_engine_answers_every_record_once():
    engine = FakeEngine()
    outcomes = generate_all(engine, range(50))
    assert answered(outcomes) == {str(n) for n in range(50)}
    assert engine.requests.most_common(1)[0][1] == 1


def test_the_engine_never_has_more_requests_than_its_capacity():
    engine = FakeEngine()
    most = 0

    async def counted(request: Request, on_tokens: Callable[[], None]) -> Completion:
        nonlocal most
        most = max(most, sum(engine.requests.values()) - sum(engine.finished.values()))
        return await FakeEngine.generate(engine, request, on_tokens)

    engine.generate = counted
    generate_all(engine, range(50), capacity=8)
    assert most == 8 - 1  # counted before the record itself is


def test_retries_go_before_first_attempts():
    engine = FakeEngine()

    async def go() -> None:
        engine.start()
        supervised = Supervisor(engine, 1, 1, 30)
        first = [asyncio.create_task(supervised.generate(request(n))) for n in range(4)]
        await asyncio.sleep(0)
        retry = asyncio.create_task(supervised.generate(request(9, attempt=1)))
        await asyncio.gather(*first, retry)

    asyncio.run(go())
    assert engine.order == ["0", "9", "1", "2", "3"]


@pytest.mark.parametrize("culprit", [0, 3, 17, 39])
def test_a_record_that_kills_at_its_first_token_is_found_at_the_second_death(culprit):
    engine = FakeEngine()
    engine.dies_at_first_token_of = {str(culprit)}
    outcomes = generate_all(engine, range(40))
    assert answered(outcomes) == {str(n) for n in range(40)} - {str(culprit)}
    assert isinstance(outcomes[str(culprit)], GenerationError)
    assert str(outcomes[str(culprit)]) == "out of memory"
    assert engine.starts == 3
    assert engine.requests[str(culprit)] == 2


def test_its_neighbours_cost_a_probe_and_a_retry():
    engine = FakeEngine()
    engine.dies_at_first_token_of = {"12"}
    generate_all(engine, range(40))
    assert all(n <= 3 for n in engine.requests.values())
    assert sum(n > 1 for n in engine.requests.values()) <= 8


@pytest.mark.parametrize("culprit", [0, 5, 21])
def test_a_record_that_kills_at_its_last_token_is_found_by_halves(culprit):
    engine = FakeEngine()
    engine.dies_at_last_token_of = {str(culprit)}
    outcomes = generate_all(engine, range(30))
    assert answered(outcomes) == {str(n) for n in range(30)} - {str(culprit)}
    assert engine.starts <= 1 + 2 + 4  # two deaths in company, then 8 suspects, 4, 2, 1


def test_several_culprits_are_all_found():
    engine = FakeEngine()
    engine.dies_at_first_token_of = {"4", "25"}
    engine.dies_at_last_token_of = {"11"}
    outcomes = generate_all(engine, range(40))
    assert answered(outcomes) == {str(n) for n in range(40)} - {"4", "25", "11"}


def test_an_engine_that_dies_once_by_itself_fails_no_record():
    engine = FakeEngine()
    ticks = count()

    async def fragile(request: Request, on_tokens: Callable[[], None]) -> Completion:
        if next(ticks) == 20:
            engine.kill()
        return await FakeEngine.generate(engine, request, on_tokens)

    engine.generate = fragile
    outcomes = generate_all(engine, range(40))
    assert answered(outcomes) == {str(n) for n in range(40)}
    assert engine.starts == 2


def test_what_waited_in_an_engine_that_died_is_sent_again_without_a_probe():
    engine = FakeEngine()
    ticks = count()

    async def fragile(request: Request, on_tokens: Callable[[], None]) -> Completion:
        if next(ticks) == 7:
            engine.kill()
        return await FakeEngine.generate(engine, request, on_tokens)

    engine.generate = fragile
    outcomes = generate_all(engine, range(12), capacity=8, sequences=4)
    assert answered(outcomes) == {str(n) for n in range(12)}
    sent = [engine.requests[str(n)] for n in range(12)]
    assert sent == [3] * 4 + [2] * 4 + [1] * 4


def test_an_engine_that_hangs_is_restarted():
    engine = FakeEngine()
    engine.hangs_on = {"7"}
    outcomes = generate_all(engine, range(20), stall_seconds=0.1)
    assert answered(outcomes) == {str(n) for n in range(20)}
    assert engine.starts == 2


def test_an_idle_engine_is_not_taken_for_hung():
    engine = FakeEngine()

    async def go() -> None:
        engine.start()
        supervised = Supervisor(engine, 8, 8, 0.3)
        await supervised.generate(request(0))
        await asyncio.sleep(0.7)
        await supervised.generate(request(1))

    asyncio.run(go())
    assert engine.starts == 1


def test_a_refused_record_affects_no_other():
    engine = FakeEngine()
    engine.refuses = {"3"}
    outcomes = generate_all(engine, range(10))
    assert answered(outcomes) == {str(n) for n in range(10)} - {"3"}
    assert (str(outcomes["3"]), engine.starts) == ("refused", 1)


def test_an_engine_that_dies_on_every_record_is_given_up():
    engine = FakeEngine()
    engine.dies_at_first_token_of = {str(n) for n in range(40)}
    outcomes = generate_all(engine, range(40))
    culprits = [o for o in outcomes.values() if isinstance(o, GenerationError)]
    given_up = [o for o in outcomes.values() if isinstance(o, EngineError)]
    assert (len(culprits), len(given_up)) == (3, 37)
    assert "dies on every record: out of memory" in str(given_up[0])


def test_a_restart_is_tried_again_while_memory_is_not_free_yet():
    engine = FakeEngine()
    engine.dies_at_first_token_of = {"3"}

    async def go() -> list[Completion | BaseException]:
        engine.start()
        engine.fails_to_start = [EngineError("no memory"), EngineError("no memory")]
        supervised = Supervisor(engine, 4, 4, 30)
        answers = (supervised.generate(request(n)) for n in range(8))
        return await asyncio.gather(*answers, return_exceptions=True)

    outcomes = asyncio.run(go())
    assert [isinstance(o, Completion) for o in outcomes] == [n != 3 for n in range(8)]


def test_an_engine_that_cannot_be_restarted_fails_all_requests_with_the_reason():
    engine = FakeEngine()
    engine.dies_at_first_token_of = {"3"}

    async def go() -> list[Completion | BaseException]:
        engine.start()
        engine.fails_to_start = [EngineError("the model is gone")] * 3
        supervised = Supervisor(engine, 4, 4, 30)
        answers: list[Awaitable[Completion]] = [supervised.generate(request(n)) for n in range(8)]
        outcomes = await asyncio.gather(*answers, return_exceptions=True)
        return [
            *outcomes,
            *await asyncio.gather(supervised.generate(request(9)), return_exceptions=True),
        ]

    outcomes = asyncio.run(go())
    given_up = [o for o in outcomes if isinstance(o, EngineError)]
    assert {str(error) for error in given_up} == {"the model is gone"}
    assert outcomes[-1] in given_up
