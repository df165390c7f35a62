"""What a model's worker did, step by step, as `tests/bench/clock` has written it down.

Besides seconds, which depend on whatever else runs, it gives what noise does not move: steps,
tokens prefilled, the share of time in which the worker is busy and the share in which its batch is
as full as it could be.
"""

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from tests.bench.clock.sitecustomize import CALL, STEP, records


@dataclass(frozen=True)
class Step:
    """One call of vLLM's scheduler; the counts are those after it."""

    at: float
    tokens: int
    prefilled: int
    running: int
    waiting: int
    finished: int  # since the step before


@dataclass(frozen=True)
class Work:
    """The steps of a worker, and the times at which its calls began and ended."""

    steps: list[Step]
    calls: list[tuple[float, float]]

    @classmethod
    def of(cls, folder: Path) -> "Work":
        steps = [Step(*fields) for fields in records((folder / "steps").read_bytes(), STEP)]
        calls = [(a, b) for a, b in records((folder / "calls").read_bytes(), CALL)]
        first = next(n for n, step in enumerate(steps) if step.tokens)
        began = steps[first].at  # what came before is the warm-up
        return cls(steps[first:], [call for call in calls if call[0] >= began])

    @property
    def span(self) -> tuple[float, float]:
        """From the beginning of the first call to the end of the last."""
        return self.calls[0][0], self.calls[-1][1]

    @property
    def seconds(self) -> float:
        first, last = self.span
        return last - first

    @property
    def busy(self) -> float:
        """The share of the seconds in which the worker computes."""
        return sum(end - began for began, end in self.calls) / self.seconds

    @property
    def prefilled(self) -> int:
        return sum(step.prefilled for step in self.steps)

    def full(self, requests: int, sequences: int, tokens: int) -> float:
        """The share of the steps' time in which no more could have been in the batch.

        That is all requests that are left, as many sequences as the engine takes, or as many
        tokens as it takes.
        """
        ends = [*(step.at for step in self.steps[1:]), self.span[1]]
        finished = accumulate(step.finished for step in self.steps)
        full = total = 0.0
        for step, end, done in zip(self.steps, ends, finished, strict=True):
            total += end - step.at
            most = min(sequences, requests - done)
            if step.running >= most or step.tokens >= tokens:
                full += end - step.at
        return full / total
