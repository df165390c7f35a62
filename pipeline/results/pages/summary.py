"""The summary of a run: the figures of its `run.json` beside those of the run before."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from pipeline.answering.checks import known_checks
from pipeline.config.checks import level_of, names_in_use
from pipeline.config.schema import EngineConfig, Price
from pipeline.core.records import State
from pipeline.core.text import plural
from pipeline.store.ending import what_is_left, what_it_cost, why_it_ended
from pipeline.store.runs import replica_seconds

Unit: TypeAlias = Literal["records", "tokens", "share", "seconds", "hours", "money"]

Run: TypeAlias = Mapping[str, Any]
"""The content of a `run.json`."""


class SummaryFigure(NamedTuple):
    """A number of this run and of the run before; None if a run does not have it.

    `name` begins with the key of `run.json` that the number is read or computed from.
    """

    name: str
    label: str
    unit: Unit
    now: float | None
    before: float | None
    share: float | None = None  # of what it is a part of

    @property
    def change(self) -> float | None:
        return None if self.now is None or self.before is None else self.now - self.before


class FigureGroup(NamedTuple):
    title: str
    figures: tuple[SummaryFigure, ...]


class _Value(NamedTuple):
    label: str
    unit: Unit
    value: float
    whole: float | None = None


STATES = ("read", *get_args(State))
"""Counts that stand on every page; others only where there are any."""

_Values: TypeAlias = dict[str, _Value]


def verdict(run: Run, looks: int = 0) -> str:
    """A run in one line: how its records ended, what is left if it stopped before its input was
    done, and how many things there are to look at.
    """
    counts = run.get("counts") or {}
    current_failed = counts.get("current_failed", 0)
    answered = counts.get("answered", 0) + counts.get("current", 0) - current_failed
    failed, rejected = counts.get("failed", 0) + current_failed, counts.get("rejected", 0)
    parts = [f"{answered:,} of {counts.get('read', 0):,} answered"]
    parts += [f"{n:,} {what}" for n, what in ((failed, "failed"), (rejected, "rejected")) if n]
    ended = [what_it_cost(run)]
    if run.get("stopped_by"):
        ended = [why_it_ended(run), *ended, what_is_left(run)]
    to_look_at = f"{plural(looks, 'thing')} to look at" if looks else ""
    return "; ".join(filter(None, [", ".join(parts), ", ".join(filter(None, ended)), to_look_at]))


def summarize(run: Run, before: Run | None, price: Price) -> list[FigureGroup]:
    """All figures of a run, the most important ones first."""
    now = _groups(run, price)
    earlier = _groups(before, price) if before else {}
    groups = [
        FigureGroup(title, tuple(_side_by_side(values, earlier.get(title, {}), before)))
        for title, values in now.items()
    ]
    return [group for group in groups if group.figures]


def _side_by_side(now: _Values, earlier: _Values, before: Run | None) -> Iterator[SummaryFigure]:
    """The figures that either run has. A count that a run does not have is 0."""
    for name, (label, unit, *_) in (earlier | now).items():
        missing = 0 if unit == "records" else None
        yield SummaryFigure(
            name,
            label,
            unit,
            now[name].value if name in now else missing,
            earlier[name].value if name in earlier else missing if before else None,
            _share(now.get(name)),
        )


def _share(value: _Value | None) -> float | None:
    is_part = value is not None and value.whole and 0 < value.value < value.whole
    return value.value / value.whole if value and value.whole and is_part else None


def _groups(run: Run, price: Price) -> dict[str, _Values]:
    return {
        "Records": _counts(run, "counts"),
        "Stance of answers": _largest_first(_counts(run, "stances")),
        "Checks passed": _passed(run),
        "Failed checks": _largest_first(_counts(run, "failed_checks")),
        "Reasons for rejects": _largest_first(_counts(run, "rejects")),
        "Cost": dict(_cost(run, price)),
        "Prefix cache": _prefix_cache(run),
    }


def _counts(run: Run, section: str) -> _Values:
    counts: Mapping[str, int] = run.get(section) or {}
    whole = sum(counts.values()) if section != "counts" else counts.get("read")
    return {
        f"{section}.{n}": _Value(n.replace("_", " "), "records", c, whole)
        for n, c in counts.items()
        if c or n in STATES
    }


def _largest_first(values: _Values) -> _Values:
    return dict(sorted(values.items(), key=lambda item: (-item[1].value, item[0])))


def _passed(run: Run) -> _Values:
    """For each check, the share of the run's generated answers that passed it."""
    counts: Mapping[str, int] = run.get("counts") or {}
    generated = counts.get("answered", 0) + counts.get("failed", 0)
    if not generated:
        return {}
    settings, missed = run["job"]["checks"], run.get("checks_missed") or {}
    ours = {name for name in known_checks() if level_of(settings.get(name)) != "off"}
    names = ours | names_in_use(settings) | set(missed)
    return {
        f"passed.{name}": _Value(name, "share", 1 - missed.get(name, 0) / generated)
        for name in sorted(names)
    }


def _prefix_cache(run: Run) -> _Values:
    labels = {"realised_share": "prompt tokens from the cache", "predicted_share": "predicted"}
    shares: Mapping[str, float | None] = run.get("prefix_cache") or {}
    return {
        f"prefix_cache.{name}": _Value(labels[name], "share", share)
        for name, share in shares.items()
        if share is not None
    }


def _cost(run: Run, price: Price) -> Iterator[tuple[str, _Value]]:
    sums: Mapping[str, int] = run.get("sums") or {}
    names = ("prompt_tokens", "cached_tokens", "completion_tokens")
    prompt, cached, completion = (sums.get(name, 0) for name in names)
    if prompt or completion:
        yield "sums.prompt_tokens", _Value("prompt tokens", "tokens", prompt)
        yield "sums.cached_tokens", _Value("of these from the cache", "tokens", cached)
        yield "sums.completion_tokens", _Value("completion tokens", "tokens", completion)
    if shared := sums.get("shared_generations"):
        yield "sums.shared_generations", _Value("generations shared", "records", shared)
    paid = price.of_tokens(prompt, cached, completion)
    if paid is not None:
        yield "sums.paid", _Value(f"tokens, in {price.currency}", "money", paid)
    hours = gpu_hours(run)
    if hours:
        yield "timings.gpu_hours", _Value("GPU-hours", "hours", hours)
        if price.gpu_hour is not None:
            paid = hours * price.gpu_hour
            yield "timings.paid", _Value(f"GPUs, in {price.currency}", "money", paid)
    cost: Mapping[str, Any] = run.get("cost") or {}
    if cost.get("judge"):
        yield "cost.judge", _Value(f"judge, in {cost['currency']}", "money", cost["judge"])
    if cost.get("total"):
        yield "cost.total", _Value(f"in all, in {cost['currency']}", "money", cost["total"])
    total = (run.get("timings") or {}).get("total")
    if total is not None:
        yield "timings.total", _Value("from start to end", "seconds", total)


def gpu_hours(run: Run) -> float:
    """Hours for which a run held its GPUs, summed over all GPUs."""
    return EngineConfig.model_validate(run["job"]["engine"]).gpus * replica_seconds(run) / 3600
