"""Engines of a fleet in simulated time: how long do they take for the batches of a job?

An engine computes some sequences at a time, a token each in a step; the step takes longer with
each of them, and a prompt that joins costs the time to read what no cache holds of it. Batches of
records are dealt as Ray Data deals them: the next one to the replica that has the fewest.

The seconds are about those of a model of 8 billion parameters on one H100: what decides is their
proportion.
"""

import heapq
import math
import random
from collections import Counter, deque
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist
from typing import NamedTuple

STEP_SECONDS, SEQUENCE_SECONDS, PREFILL_SECONDS = 8e-3, 8e-5, 3.2e-5
"""Of a step, and of each sequence in it; of each token of a prompt that is read."""

MEAN_TOKENS, SIGMA, MOST_TOKENS = 1500, 1.0, 8192
"""Answers of models that think: a lognormal distribution, cut off at the limit of a completion."""


class Asked(NamedTuple):
    """What a prompt takes, in tokens."""

    decoded: int
    prefilled: float


class SimulatedEngine:
    """Answers prompts of several batches at a time, in the order in which they come."""

    def __init__(self, sequences: int) -> None:
        self._sequences = sequences
        self._steps = 0.0
        self._running: list[tuple[float, int]] = []  # last step and batch, a heap
        self._waiting: deque[tuple[int, Asked]] = deque()
        self._left: Counter[int] = Counter()  # answers, by batch
        self._to_read = 0.0  # seconds

    def add(self, batch: int, prompts: Sequence[Asked]) -> None:
        self._waiting.extend((batch, prompt) for prompt in prompts)
        self._left[batch] += len(prompts)
        self._fill()

    @property
    def is_full(self) -> bool:
        return len(self._running) == self._sequences

    def next_seconds(self) -> float:
        """Seconds to the end of the next answer."""
        if not self._running:
            return math.inf
        return self._to_read + (self._running[0][0] - self._steps) * self._step_seconds()

    def advance(self, seconds: float) -> list[int]:
        """Computes for so long, not beyond the next answer; returns the batches that are done."""
        read = min(self._to_read, seconds)
        self._to_read -= read
        self._steps += (seconds - read) / self._step_seconds()
        done = []
        while self._running and self._running[0][0] <= self._steps + 1e-6:
            _, batch = heapq.heappop(self._running)
            self._left[batch] -= 1
            if not self._left[batch]:
                done.append(batch)
        self._fill()
        return done

    def _fill(self) -> None:
        while self._waiting and not self.is_full:
            batch, prompt = self._waiting.popleft()
            heapq.heappush(self._running, (self._steps + prompt.decoded, batch))
            self._to_read += prompt.prefilled * PREFILL_SECONDS

    def _step_seconds(self) -> float:
        return STEP_SECONDS + SEQUENCE_SECONDS * len(self._running)


class _Replica:
    """An engine with the batches that it works on, and the one that Ray has sent ahead."""

    def __init__(self, sequences: int, concurrent: int) -> None:
        self.engine = SimulatedEngine(sequences)
        self._concurrent = concurrent
        self._working = 0
        self._ahead: deque[tuple[int, Sequence[Asked]]] = deque()

    @property
    def in_flight(self) -> int:
        return self._working + len(self._ahead)

    def take(self, number: int, batch: Sequence[Asked]) -> None:
        self._ahead.append((number, batch))
        self._begin()

    def advance(self, seconds: float) -> None:
        self._working -= len(self.engine.advance(seconds))
        self._begin()

    def _begin(self) -> None:
        while self._ahead and self._working < self._concurrent:
            self.engine.add(*self._ahead.popleft())
            self._working += 1


def fleet_seconds(
    batches: Sequence[Sequence[Asked]], replicas: int, sequences: int, concurrent: int
) -> float:
    """Seconds until the last answer; a replica works on `concurrent` batches at a time."""
    fleet = [_Replica(sequences, concurrent) for _ in range(replicas)]
    left = deque(enumerate(batches))
    now = seconds = 0.0
    while seconds < math.inf:
        now += seconds
        for replica in fleet:
            replica.advance(seconds)
        while left and (least := min(fleet, key=lambda r: r.in_flight)).in_flight <= concurrent:
            least.take(*left.popleft())
        seconds = min(replica.engine.next_seconds() for replica in fleet)
    return now


def least_seconds(prompts: Sequence[Asked], replicas: int, sequences: int) -> float:
    """What no dispatch can undercut: an even split over full engines, or the longest answer."""
    decoded = sum(prompt.decoded for prompt in prompts) / sequences
    full_step = STEP_SECONDS + SEQUENCE_SECONDS * sequences
    read = sum(prompt.prefilled for prompt in prompts) * PREFILL_SECONDS
    longest = max(prompt.decoded for prompt in prompts) * (STEP_SECONDS + SEQUENCE_SECONDS)
    return max((decoded * full_step + read) / replicas, longest)


def drawn_tokens(record: str, question: str, explained: float = 0.25, seed: int = 0) -> int:
    """Tokens of an answer: the same in every process. The question explains this share of the
    variance of their logarithm, chance the rest.
    """
    spread = math.sqrt(explained) * _normal(f"{seed} {question}")
    spread += math.sqrt(1 - explained) * _normal(f"{seed} {question} {record}")
    tokens = math.exp(math.log(MEAN_TOKENS) - SIGMA**2 / 2 + SIGMA * spread)
    return max(1, min(round(tokens), MOST_TOKENS))


@cache
def _normal(name: str) -> float:
    return NormalDist().inv_cdf(min(max(random.Random(name).random(), 1e-9), 1 - 1e-9))
