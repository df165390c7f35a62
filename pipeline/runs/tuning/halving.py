"""Looks for the fastest settings: one option after the other, by successive halving, within a time.

A candidate answers a quarter of the sample. Only if it is among the best quarter of all that have
done so does it go on to the whole, with the engine that it has: asynchronous successive halving (Li
et al., "A System for Massively Parallel Hyperparameter Tuning", 2020), whose trials wait for no
others, so that each candidate starts one engine at most. Where the whole sample takes less than the
start of an engine, a quarter would save little and tell less: all candidates answer the whole. The
fastest settings so far are what the next option's values are tried on top of (coordinate descent);
an option is looked at again when others have gained something since. Numbers are walked from the
present one in both directions, each as long as that loses nothing: a step that gains nothing may
stand before one that does. When they are looked at again, each step has to gain.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import ceil
from typing import Any, Protocol

from pipeline.engines.tunable import Effect
from pipeline.runs.tuning.axis import Axis, Settings
from pipeline.store.trials import Trial, TrialFile, key_of

FACTOR = 4
"""One in so many candidates goes on, to so many times the records."""

TIE = 0.05
"""Rates that differ by less may do so by chance: both go on, and no other option is looked at again
for it."""

NEAR = 0.08
"""No candidate goes on that is further behind the fastest: it would hardly pass it."""

WORTH = 0.01
"""By how much a value must be faster to take the place of another: no option changes for less."""

FEWEST_RECORDS = 16

TURNS = 2
"""How often the winner and the present settings are measured, for the noise between turns: again,
or counting the search where that leaves no doubt."""

BEYOND_DOUBT = 0.2
"""So large a difference is not one of chance, as that between the best of many may be."""

FINALISTS = 2

PATIENCE, GRACE_SECONDS = 2.0, 15.0
"""A candidate is stopped after so many times what the present settings took, and these seconds."""

STARTS_WORTH, SAMPLES_WORTH = 8, 12
"""A search is worth its while if it can start so many engines and answer the sample so often."""


class Bench(Protocol):
    def measure(self, settings: Settings, records: int, turn: int, limit: float) -> Trial:
        """Stops a trial after `limit` seconds; one that failed says why."""

    def starts(self, settings: Settings) -> bool:
        """Whether measuring these settings takes the start of an engine."""


class OutOfTime(Exception):
    """The next trial would not end within the time."""


class Search:
    """Trials in the order in which they are made; those in the file are not made again."""

    def __init__(
        self,
        bench: Bench,
        file: TrialFile,
        seconds: float,
        show: Callable[[Trial], object] = lambda _: None,
    ) -> None:
        self._bench, self._file, self._limit, self._show = bench, file, seconds, show
        self.trials: list[Trial] = []
        self.records = 0
        self.best: Settings = {}  # the fastest so far that say what the job's own say
        self._rungs: tuple[int, ...] = ()  # how many records a candidate answers first, and then
        self._ground: Settings = {}  # the last best that was faster by more than chance
        self._examined: dict[Axis, bytes] = {}  # under which values of the others
        self._effects: dict[str, Effect] = {}

    def begin(self, records: int) -> Trial:
        """Measures the job's own settings, on as much of the sample as the time is good for.

        The last of its trials, which has failed if the engine did.
        """
        few = max(min(records, FEWEST_RECORDS), records // FACTOR**2)
        trial = self._trial({}, few)
        self.records = _worthwhile(trial, records, self._limit)
        self._rungs = _rungs_of(trial, self.records)
        with suppress(OutOfTime):
            for rung in self._rungs:
                if not trial.failed:
                    trial = self._trial({}, rung)
        return trial

    @property
    def present(self) -> Trial | None:
        """The last trial of the job's own settings with the whole sample."""
        return self._file.find(key_of({}, self.records))

    def explore(self, axes: Sequence[Axis]) -> bool:
        """Tries the values of all axes, until no change of one gains; False if time ends it."""
        self._effects = {axis.option: axis.effect for axis in axes}
        try:
            while axis := next((a for a in axes if self._is_open(a)), None):
                for direction in axis.directions(axis.value_in(self.best)):
                    self._walk(axis, direction)
                self._examined[axis] = self._under(axis)
        except OutOfTime:
            return False
        return True

    def _walk(self, axis: Axis, direction: Sequence[Any]) -> None:
        """Tries values in their order, as long as none loses; when an option is looked at again, as
        long as each gains.
        """
        for value in direction:
            before = self.best
            keeps_up = self._keeps_up(axis.with_value(before, value))
            if not keeps_up or (axis in self._examined and self.best == before):
                return

    def untried(self, axes: Sequence[Axis]) -> list[Axis]:
        """The axes of which values were left when the time was over."""
        return [axis for axis in axes if axis not in self._examined]

    def confirm(self) -> list[tuple[Trial, Trial]]:
        """Measures the fastest settings and the job's own again, each with an engine of its own.

        Pairs (candidate, present), turn by turn, of the first finalist that is faster, else of the
        last; none if the job's own settings are the fastest, or if there is no time.
        """
        pairs: list[tuple[Trial, Trial]] = []
        with suppress(OutOfTime):
            for finalist in self._finalists()[:FINALISTS]:
                first = 0 if _is_beyond_doubt(*self._pair(finalist, 0)) else 1
                pairs = [self._pair(finalist, turn) for turn in range(first, first + TURNS)]
                if all(one.rate > other.rate for one, other in pairs):
                    break
        return pairs

    def _pair(self, finalist: Settings, turn: int) -> tuple[Trial, Trial]:
        one, other = (self._trial(s, self.records, turn, False) for s in (finalist, {}))
        return one, other

    def is_safe(self, trial: Trial) -> bool:
        """Whether settings say what the job's own say, as far as the sample tells."""
        effects = {self._effects.get(name, "none") for name in trial.settings}
        if (present := self.present) and trial.refused > present.refused:
            return False
        if "sampling" in effects:
            return False
        return "answers" not in effects or (present is not None and not trial.differing(present))

    def rate_of(self, settings: Settings) -> float:
        """Records a second of the whole sample; 0 if they are not known."""
        trial = self._file.find(key_of(settings, self.records))
        return trial.rate if trial else 0.0

    def _keeps_up(self, settings: Settings) -> bool:
        """Measures settings on each rung, as long as they are among the best there.

        Whether they are so with the whole sample. They are the best if they are faster and safe.
        """
        for rung in self._rungs:
            trial = self._trial(settings, rung)
            if not self._is_among_best(trial):
                return False
        if self.is_safe(trial) and trial.rate > self.rate_of(self.best) * (1 + WORTH):
            self.best = settings
            if trial.rate > self.rate_of(self._ground) * (1 + TIE):
                self._ground = settings
        return True

    def _is_among_best(self, trial: Trial) -> bool:
        rates = {t.key: t.rate for t in self.trials if (t.records, t.turn) == (trial.records, 0)}
        ordered = sorted(rates.values(), reverse=True)
        last_kept = ordered[ceil(len(ordered) / FACTOR) - 1]
        least = max(last_kept * (1 - TIE), ordered[0] * (1 - NEAR))
        return trial.rate > 0 and trial.rate >= least

    def _finalists(self) -> list[Settings]:
        """The best settings, if they are not the job's own, then others that are faster than it."""
        if not self.best:
            return []
        least = self.rate_of({})
        whole = (t for t in self.trials if (t.records, t.turn) == (self.records, 0))
        faster = [t for t in whole if t.settings and t.rate > least and self.is_safe(t)]
        ordered = sorted(faster, key=lambda t: (t.settings != self.best, -t.rate))
        return [trial.settings for trial in ordered]

    def _is_open(self, axis: Axis) -> bool:
        """Whether other options have gained since an axis was looked at, or it never was."""
        return self._examined.get(axis) != self._under(axis)

    def _under(self, axis: Axis) -> bytes:
        """The values of all other options under which an axis is looked at."""
        return key_of(axis.without(self._ground), 0)[0]

    def _trial(
        self, settings: Settings, records: int, turn: int = 0, reserves: bool = True
    ) -> Trial:
        """A trial from the file, or a new one if there is time for it."""
        trial = self._file.find(key_of(settings, records, turn))
        if trial is None:
            self._check_time(settings, records, reserves)
            own = self._file.find(key_of({}, records))
            limit = self._limit - self._file.cost
            if own and own.rate:
                limit = own.seconds * PATIENCE + GRACE_SECONDS
            trial = self._bench.measure(settings, records, turn, limit)
            self._file.add(trial)
            self._show(trial)
        if trial.key not in {known.key for known in self.trials}:
            self.trials.append(trial)
        return trial

    def _check_time(self, settings: Settings, records: int, reserves: bool) -> None:
        left = self._limit - self._file.cost
        needed = self._expected(records, self._bench.starts(settings))
        if reserves and settings:  # for the comparison at the end
            needed += 2 * self._expected(TURNS * self.records, True)
        if needed > left or left <= 0:
            raise OutOfTime

    def _expected(self, records: int, starts: bool) -> float:
        """Seconds of a trial, going by the slowest start and by the job's own rate so far."""
        own = [t for t in self.trials if not t.settings and t.rate]
        each = own[-1].seconds / own[-1].records if own else 0.0
        start = max((t.start for t in self.trials), default=0.0)
        return records * each + (start if starts else 0.0)


def _is_beyond_doubt(one: Trial, other: Trial) -> bool:
    return one.rate > other.rate * (1 + BEYOND_DOUBT)


def _rungs_of(probe: Trial, records: int) -> tuple[int, ...]:
    """A quarter of a sample and the whole, if the whole takes longer than an engine's start."""
    few = records // FACTOR
    is_long = records > probe.rate * probe.start
    return (few, records) if is_long and few >= FEWEST_RECORDS // 2 else (records,)


def _worthwhile(probe: Trial, records: int, seconds: float) -> int:
    """How much of a sample to use: all of it, or a half, a quarter, … where time is short."""
    if not probe.rate:
        return min(records, FEWEST_RECORDS)
    left = seconds - STARTS_WORTH * probe.start
    while records // 2 >= FEWEST_RECORDS and SAMPLES_WORTH * records / probe.rate > left:
        records //= 2
    return records
