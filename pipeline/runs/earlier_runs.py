"""What earlier runs of a model took, by their run files: what a forecast is made from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pipeline.config.schema import Job, Price
from pipeline.store.runs import FEWEST_MEASURED

ENDED = ("done", "over_budget", "stopped")
"""Statuses of runs that ended by themselves, so that their times mean something."""

COMPLETION_WEIGHT = 4
"""A completion token takes an engine about as long as so many prompt tokens, which it reads many at
a time; endpoints price them alike."""

_OF_ENGINE = ("kind", "model", "adapter")


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """One run. Tokens are those of all attempts, repairs and reasoning included; `estimated` are
    the prompt tokens of first attempts by their characters, as a plan counts them.
    """

    run_id: str
    template: tuple[str | None, str | None]  # its name and version
    generations: int
    estimated: int
    prompt: int
    cached: int
    completion: int
    judged: int
    judge_prompt: int
    judge_cached: int
    judge_completion: int
    replicas: int
    begin: float  # seconds until the first replica could answer
    total: float  # seconds from start to end

    @classmethod
    def of(cls, run: Mapping[str, Any]) -> Self | None:
        """None for a run that generated too little, or did not end by itself."""
        counts, sums, timings = (run.get(name) or {} for name in ("counts", "sums", "timings"))
        generations = counts.get("answered", 0) + counts.get("failed", 0)
        generations -= sums.get("shared_generations", 0)
        is_measured = generations >= FEWEST_MEASURED and sums.get("completion_tokens", 0)
        if run.get("command", "run") != "run" or run["status"] not in ENDED or not is_measured:
            return None
        begin = timings.get("engines_ready") or timings.get("cluster_ready")
        if not begin or not timings.get("total") or timings["total"] <= begin:
            return None
        prompt = run.get("prompt") or {}
        estimated = sums.get("estimated_prompt_tokens") or sums.get("predicted_prompt_tokens")
        return cls(
            run["run_id"],
            (prompt.get("name"), prompt.get("version")),
            generations,
            estimated or sums.get("prompt_tokens", 0),
            sums.get("prompt_tokens", 0),
            sums.get("cached_tokens", 0),
            sums["completion_tokens"],
            counts.get("judged", 0),
            sums.get("judge_prompt_tokens", 0),
            sums.get("judge_cached_tokens", 0),
            sums.get("judge_completion_tokens", 0),
            max(len(run.get("replicas") or ()), 1),
            begin,
            timings["total"],
        )

    @property
    def work(self) -> "Work":
        return Work(
            self.prompt,
            self.cached,
            self.completion,
            self.judge_prompt,
            self.judge_cached,
            self.judge_completion,
        )

    @property
    def load(self) -> float:
        """Work of a replica, see `Work.units`."""
        return self.work.units / self.replicas


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens of a run, or expected of one."""

    prompt: float
    cached: float
    completion: float
    judge_prompt: float = 0.0
    judge_cached: float = 0.0
    judge_completion: float = 0.0

    @property
    def units(self) -> float:
        """What an engine has to do, in prompt tokens that it has to read."""
        read = self.prompt - self.cached + self.judge_prompt - self.judge_cached
        return read + COMPLETION_WEIGHT * (self.completion + self.judge_completion)

    def cost(self, price: Price) -> float:
        """0 where tokens have no price."""
        kinds = (
            (self.prompt, self.cached, self.completion),
            (self.judge_prompt, self.judge_cached, self.judge_completion),
        )
        return sum(price.of_tokens(*map(round, kind)) or 0.0 for kind in kinds)


def earlier_runs(runs: Iterable[Mapping[str, Any]], job: Job) -> list[EarlierRun]:
    """Those of a job's engine, model and adapter that can be measured."""
    return list(_of_model(runs, job))


def of_template(
    runs: Sequence[EarlierRun], template: tuple[str | None, str | None] | None
) -> Sequence[EarlierRun]:
    """Those with this template if there are any, else all."""
    return [run for run in runs if run.template == template] or runs


def _of_model(runs: Iterable[Mapping[str, Any]], job: Job) -> Iterator[EarlierRun]:
    wanted = [getattr(job.engine, name) for name in _OF_ENGINE]
    for run in runs:
        engine = run["job"]["engine"]
        if [engine.get(name) for name in _OF_ENGINE] == wanted and (made := EarlierRun.of(run)):
            yield made
