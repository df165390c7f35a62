"""What becomes of records when their engine dies, hangs, or is killed by one of them.

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


class FakeBody:
    """An engine that says a token at every tick, and dies of what its test has it die of."""

    def __init__(self) -> None:
        self.lives = 0
        self.asked: Counter[str] = Counter()
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
        self.lives += 1
        self._death = asyncio.Event()

    def kill(self) -> None:
        self._death.set()

    async def generate(self, request: Request, heard: Callable[[], None]) -> Completion:
        name, death = request.prompt.record.record_id, self._death
        self.asked[name] += 1
        self.order.append(name)
        if name in self.refuses:
            raise GenerationError("refused")
        for token in range(request.most_tokens or TOKENS):
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
            heard()
        self.finished[name] += 1
        return Completion(f"{name} said", "stop")


def request(number: int, attempt: int = 0) -> Request:
    named = record(record_id=str(number))
    return Request(Prompt(named, (), "", "", ""), (), attempt=attempt)


def ask_all(
    body: FakeBody, numbers: range, capacity: int = 8, stall_seconds: float = 30
) -> dict[str, Completion | Exception]:
    """Asks for every record at once; what became of each."""

    async def go() -> dict[str, Completion | Exception]:
        body.start()
        watched = Supervisor(body, capacity, stall_seconds)
        asked = (watched.ask(request(n)) for n in numbers)
        said = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 20)
        return dict(zip(map(str, numbers), said, strict=True))

    return asyncio.run(go())


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "REVIVAL_PAUSES", (0.0, 0.01, 0.01))


def answered(said: dict[str, Completion | Exception]) -> set[str]:
    return {name for name, s in said.items() if isinstance(s, Completion)}


def test_every_record_is_answered_once_by_an_engine_that_lives():
    body = FakeBody()
    said = ask_all(body, range(50))
    assert answered(said) == {str(n) for n in range(50)}
    assert body.asked.most_common(1)[0][1] == 1


def test_no_more_records_are_in_the_engine_than_it_holds():
    body = FakeBody()
    most = 0

    async def counted(request: Request, heard: Callable[[], None]) -> Completion:
        nonlocal most
        most = max(most, sum(body.asked.values()) - sum(body.finished.values()))
        return await FakeBody.generate(body, request, heard)

    body.generate = counted
    ask_all(body, range(50), capacity=8)
    assert most == 8 - 1  # counted before the record itself is


def test_a_repair_goes_before_first_attempts():
    body = FakeBody()

    async def go() -> None:
        body.start()
        watched = Supervisor(body, 1, 30)
        first = [asyncio.create_task(watched.ask(request(n))) for n in range(4)]
        await asyncio.sleep(0)
        repair = asyncio.create_task(watched.ask(request(9, attempt=1)))
        await asyncio.gather(*first, repair)

    asyncio.run(go())
    assert body.order == ["0", "9", "1", "2", "3"]


@pytest.mark.parametrize("culprit", [0, 3, 17, 39])
def test_a_record_that_kills_at_its_first_token_is_found_at_its_second_death(culprit):
    body = FakeBody()
    body.dies_at_first_token_of = {str(culprit)}
    said = ask_all(body, range(40))
    assert answered(said) == {str(n) for n in range(40)} - {str(culprit)}
    assert isinstance(said[str(culprit)], GenerationError)
    assert str(said[str(culprit)]) == "out of memory"
    assert body.lives == 3
    assert body.asked[str(culprit)] == 2


def test_its_neighbours_pay_with_a_probe_and_a_retry():
    body = FakeBody()
    body.dies_at_first_token_of = {"12"}
    ask_all(body, range(40))
    assert all(n <= 3 for n in body.asked.values())
    assert sum(n > 1 for n in body.asked.values()) <= 8


@pytest.mark.parametrize("culprit", [0, 5, 21])
def test_a_record_that_kills_at_its_last_token_is_found_by_halves(culprit):
    body = FakeBody()
    body.dies_at_last_token_of = {str(culprit)}
    said = ask_all(body, range(30))
    assert answered(said) == {str(n) for n in range(30)} - {str(culprit)}
    assert body.lives <= 1 + 2 + 4  # two deaths in company, then 8 suspects, 4, 2, 1


def test_several_culprits_are_all_found():
    body = FakeBody()
    body.dies_at_first_token_of = {"4", "25"}
    body.dies_at_last_token_of = {"11"}
    said = ask_all(body, range(40))
    assert answered(said) == {str(n) for n in range(40)} - {"4", "25", "11"}


def test_an_engine_that_dies_once_by_itself_convicts_nobody():
    body = FakeBody()
    ticks = count()

    async def fragile(request: Request, heard: Callable[[], None]) -> Completion:
        if next(ticks) == 20:
            body.kill()
        return await FakeBody.generate(body, request, heard)

    body.generate = fragile
    said = ask_all(body, range(40))
    assert answered(said) == {str(n) for n in range(40)}
    assert body.lives == 2


def test_an_engine_that_hangs_is_taken_for_dead():
    body = FakeBody()
    body.hangs_on = {"7"}
    said = ask_all(body, range(20), stall_seconds=0.1)
    assert answered(said) == {str(n) for n in range(20)}
    assert body.lives == 2


def test_silence_without_anything_to_say_is_no_hang():
    body = FakeBody()

    async def go() -> None:
        body.start()
        watched = Supervisor(body, 8, 0.05)
        await watched.ask(request(0))
        await asyncio.sleep(0.2)
        await watched.ask(request(1))

    asyncio.run(go())
    assert body.lives == 1


def test_a_refused_record_concerns_nobody_else():
    body = FakeBody()
    body.refuses = {"3"}
    said = ask_all(body, range(10))
    assert answered(said) == {str(n) for n in range(10)} - {"3"}
    assert (str(said["3"]), body.lives) == ("refused", 1)


def test_an_engine_that_dies_whatever_it_is_asked_ends_it_all():
    body = FakeBody()
    body.dies_at_first_token_of = {str(n) for n in range(40)}
    said = ask_all(body, range(40))
    convicted = [s for s in said.values() if isinstance(s, GenerationError)]
    lost = [s for s in said.values() if isinstance(s, EngineError)]
    assert (len(convicted), len(lost)) == (3, 37)
    assert "dies whatever it is asked: out of memory" in str(lost[0])


def test_an_engine_whose_memory_is_freed_late_is_started_again():
    body = FakeBody()
    body.dies_at_first_token_of = {"3"}

    async def go() -> list[Completion | BaseException]:
        body.start()
        body.fails_to_start = [EngineError("no memory"), EngineError("no memory")]
        watched = Supervisor(body, 4, 30)
        asked = (watched.ask(request(n)) for n in range(8))
        return await asyncio.gather(*asked, return_exceptions=True)

    said = asyncio.run(go())
    assert [isinstance(s, Completion) for s in said] == [n != 3 for n in range(8)]


def test_an_engine_that_cannot_be_started_again_is_lost_with_its_reason():
    body = FakeBody()
    body.dies_at_first_token_of = {"3"}

    async def go() -> list[Completion | BaseException]:
        body.start()
        body.fails_to_start = [EngineError("the model is gone")] * 3
        watched = Supervisor(body, 4, 30)
        asked: list[Awaitable[Completion]] = [watched.ask(request(n)) for n in range(8)]
        said = await asyncio.gather(*asked, return_exceptions=True)
        return [*said, *await asyncio.gather(watched.ask(request(9)), return_exceptions=True)]

    said = asyncio.run(go())
    lost = [s for s in said if isinstance(s, EngineError)]
    assert {str(error) for error in lost} == {"the model is gone"}
    assert said[-1] in lost
