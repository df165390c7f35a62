"""Finds the engine options under which a job's own prompts are answered fastest on this machine.

    sample of prompts ─ the job's own settings ─▶ what vLLM makes of them ─▶ options worth trying
    options ─ successive halving (`halving`) ─▶ the fastest ─ measured again beside the job's own

Every trial is in a file of the store once it ends, and is not made again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.answering.prepare import Prepared
from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError
from pipeline.core.records import Prompt
from pipeline.engines.tunable import TUNABLES, Device, Situation, device, effect_of, values_of
from pipeline.engines.vllm_options import vllm_version
from pipeline.engines.vllm_processes import processes_ended
from pipeline.runs.tuning.axis import Axis
from pipeline.runs.tuning.engine_bench import EngineBench
from pipeline.runs.tuning.halving import Search
from pipeline.runs.tuning.recommendation import Recommendation, Row, recommendation_of, rows_of
from pipeline.runs.tuning.sample import sampled_prompts
from pipeline.store.trials import Trial, TrialFile


class LeftOut(NamedTuple):
    option: str
    said: str  # its name for people
    why: str


class Tuning:
    """One search; what it knows can be asked for at any time, also after an interrupt.

    Raises `ConfigError` for a job that generates nothing with vLLM, or has no prompts.
    """

    def __init__(
        self, prepared: Prepared, minutes: float, records: int, show: Callable[[Trial], object]
    ) -> None:
        _check(prepared.job, minutes, records)
        self.job, self.minutes = prepared.job, minutes
        self.prompts = sampled_prompts(prepared, records)
        self.device, self.version = device(), vllm_version()
        identity = _identity(self.job, self.prompts, self.device, self.version)
        self.file = TrialFile(prepared.store, identity)
        self.is_finished = False
        self._left_out: list[LeftOut] = []
        self._axes: dict[Axis, str] = {}  # with their names for people
        self._pairs: list[tuple[Trial, Trial]] = []
        self._bench = EngineBench(self.job, self.prompts)
        self.search = Search(self._bench, self.file, minutes * 60, show)

    def run(self) -> None:
        """Ends when nothing is left to try, or with the time."""
        with processes_ended():
            try:
                present = self.search.begin(len(self.prompts))
                self._choose_axes(present.in_force)
                self.is_finished = self.search.explore([*self._axes])
                self._pairs = self.search.confirm()
            finally:
                self._bench.close()

    @property
    def left_out(self) -> list[LeftOut]:
        """Options that were not tried, or not with all their values, and why."""
        late = self.search.untried([*self._axes])
        why = "time has not been enough to try it in full"
        return [*self._left_out, *(LeftOut(axis.option, self._axes[axis], why) for axis in late)]

    @property
    def recommendation(self) -> Recommendation:
        return recommendation_of(self.search, self._pairs)

    @property
    def rows(self) -> list[Row]:
        return rows_of(self.search, self.recommendation)

    def _choose_axes(self, in_force: Mapping[str, Any]) -> None:
        situation = Situation(self.job, self.device, self.search.records, in_force)
        for tunable in TUNABLES:
            values = values_of(tunable, situation)
            if isinstance(values, str):
                self._left_out.append(LeftOut(tunable.option, tunable.said, values))
            elif values:
                own = self.job.engine.options.get(tunable.option)
                present = in_force.get(tunable.option, own)
                effect = effect_of(tunable, self.job)
                axis = Axis(tunable.option, present, tuple(values), effect, tunable.in_order)
                self._axes[axis] = tunable.said


def _check(job: Job, minutes: float, records: int) -> None:
    if minutes <= 0 or records < 1:
        raise ConfigError("--minutes, --records: both must be above 0")
    if job.engine.kind != "vllm":
        raise ConfigError(f"engine.kind: tune starts vLLM; {job.engine.kind} has no such settings")
    if job.input.store:
        raise ConfigError("input.store: tune answers records; a job that only judges has none")


def _identity(job: Job, prompts: Sequence[Prompt], device: Device, version: str) -> dict[str, Any]:
    """What a trial's figures depend on besides its settings; the store holds but its digest."""
    engine = job.engine.model_dump(
        mode="json", include={"model", "revision", "adapter", "options", "gpus_per_replica"}
    )
    return {
        "engine": engine,
        "answer": job.answer.model_dump(mode="json"),
        "prompts": [[p.generation_key, [m.content for m in p.messages]] for p in prompts],
        "device": [device.name, device.capability],
        "vllm": version,
    }
