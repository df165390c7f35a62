"""What a search has found: a row for all settings that were tried, and whether to change any."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal, TypeAlias

from pipeline.runs.tuning.axis import Settings
from pipeline.runs.tuning.halving import Search
from pipeline.store.trials import Trial, key_of

LEAST_GAIN = 0.02
"""What is gained below this is not worth a line in a job file."""

Outcome: TypeAlias = Literal["present", "recommended", "choice", "measured", "stopped", "failed"]
"""A *choice* is the fastest but may change answers; *stopped* is what was slow on a part of it."""


@dataclass(frozen=True, slots=True)
class Row:
    """Settings with the last of their trials in the search; `ratio` is over the job's own."""

    trial: Trial
    start: float  # seconds that its engine took to be there
    ratio: float | None
    differing: int | None  # answers that are not those under the job's own settings
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Settings to change, if any, their gain, how far repeated measurements differ, and why."""

    settings: Settings
    gain: float | None
    noise: float | None
    said: str


def recommendation_of(search: Search, pairs: Sequence[tuple[Trial, Trial]]) -> Recommendation:
    """`pairs` are the trials of the fastest settings and of the job's own, made after the search.

    Only what is faster by more than the noise between the trials of each is recommended.
    """
    present, best = search.present, search.best
    if present is None or not present.rate:
        return _without_present(search)
    if not any(trial.settings for trial in search.trials):
        return Recommendation({}, None, None, "there was no time to try any others: more --minutes")
    if not best:
        return Recommendation(
            {}, None, None, "the job's own settings are the fastest of those tried"
        )
    if not pairs:
        looks = f"{search.rate_of(best) / present.rate:.2f} × as fast"
        said = f"the fastest look {looks}; there was no time to measure that again: more --minutes"
        return Recommendation({}, None, None, said)
    theirs, own = zip(*pairs, strict=True)
    if failed := next((t.failed for t in (*theirs, *own) if t.failed), None):
        return Recommendation({}, None, None, f"the fastest could not be measured again: {failed}")
    gain = mean(t.rate for t in theirs) / mean(t.rate for t in own)
    noise = max(_spread(theirs), _spread(own))
    if gain - 1 <= max(noise, LEAST_GAIN):
        said = f"none is faster than the job's own by more than the noise, {noise:.1%}"
        return Recommendation({}, gain, noise, said)
    said = f"{gain:.2f} × as fast as the job's own, ± {noise:.1%} from one measurement to the next"
    return Recommendation(theirs[0].settings, gain, noise, said)


def rows_of(search: Search, recommendation: Recommendation) -> list[Row]:
    """The job's own settings, then all others: the fastest with the whole sample first."""
    last = {key_of(t.settings, 0): t for t in search.trials if t.turn == 0}
    ordered = sorted(last.values(), key=lambda t: (bool(t.settings), -t.records, -t.rate))
    return [_row(trial, search, recommendation) for trial in ordered]


def _row(trial: Trial, search: Search, recommendation: Recommendation) -> Row:
    own = {t.records: t for t in search.trials if not t.settings and t.turn == 0 and t.rate}
    present = own.get(trial.records)
    ratio = trial.rate / present.rate if present and trial.rate else None
    differing = trial.differing(present) if present and trial.rate and trial.settings else None
    start = max(t.start for t in search.trials if t.settings == trial.settings)
    return Row(trial, start, ratio, differing, _outcome(trial, search, recommendation))


def _outcome(trial: Trial, search: Search, recommendation: Recommendation) -> Outcome:
    if not trial.settings:
        return "failed" if trial.failed else "present"
    if trial.failed:
        return "failed"
    if recommendation.settings and dict(trial.settings) == dict(recommendation.settings):
        return "recommended"
    if trial.records < search.records:
        return "stopped"
    best = search.rate_of(search.best)
    is_faster = trial.rate > best * (1 + LEAST_GAIN)
    return "choice" if is_faster and not search.is_safe(trial) else "measured"


def _without_present(search: Search) -> Recommendation:
    own = next((t for t in reversed(search.trials) if not t.settings), None)
    why = own.failed if own and own.failed else "there was no time to measure them"
    if search.best:
        return Recommendation(search.best, None, None, f"the job's own settings do not work: {why}")
    return Recommendation({}, None, None, f"the job's own settings: {why}; no others work either")


def _spread(trials: Sequence[Trial]) -> float:
    rates = [trial.rate for trial in trials]
    return max(rates) / min(rates) - 1
