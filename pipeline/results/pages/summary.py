"""The night at a glance: a run's figures from its `run.json`, beside those of the run before."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from pipeline.answering.checks import known_checks
from pipeline.config.schema import EngineConfig, Price
from pipeline.store.run_file import replica_seconds

Unit: TypeAlias = Literal["records", "tokens", "share", "seconds", "hours", "money"]

Run: TypeAlias = Mapping[str, Any]
"""What a `run.json` holds."""


class Figure(NamedTuple):
    """A number of the run and of the one before, under a name of its own; None where there is none.

    Names begin with the place in `run.json` that the number stands in or is made from.
    """

    name: str
    label: str
    unit: Unit
    now: float | None
    before: float | None

    @property
    def change(self) -> float | None:
        return None if self.now is None or self.before is None else self.now - self.before


class Group(NamedTuple):
    title: str
    figures: tuple[Figure, ...]


class _Value(NamedTuple):
    label: str
    unit: Unit
    value: float


_Values: TypeAlias = dict[str, _Value]


def glance(run: Run, before: Run | None, price: Price) -> list[Group]:
    """Every figure of a run, in the order in which people ask for them."""
    now = _groups(run, price)
    then = _groups(before, price) if before else {}
    groups = [
        Group(title, tuple(_beside(values, then.get(title, {}), before)))
        for title, values in now.items()
    ]
    return [group for group in groups if group.figures]


def _beside(now: _Values, then: _Values, before: Run | None) -> Iterator[Figure]:
    """The figures of either run; what one of them has not counted is 0 there."""
    for name, (label, unit, _) in (then | now).items():
        missing = 0 if unit == "records" else None
        yield Figure(
            name,
            label,
            unit,
            now[name].value if name in now else missing,
            then[name].value if name in then else missing if before else None,
        )


def _groups(run: Run, price: Price) -> dict[str, _Values]:
    return {
        "Records": _counted(run, "counts"),
        "Stance of what was answered": _largest_first(_counted(run, "stances")),
        "Checks passed": _passed(run),
        "Failed by": _largest_first(_counted(run, "failed_checks")),
        "Rejected for": _largest_first(_counted(run, "rejects")),
        "Cost": dict(_cost(run, price)),
        "Prefix cache": _prefix_cache(run),
    }


def _counted(run: Run, section: str) -> _Values:
    held: Mapping[str, int] = run.get(section) or {}
    return {f"{section}.{n}": _Value(n.replace("_", " "), "records", c) for n, c in held.items()}


def _largest_first(values: _Values) -> _Values:
    return dict(sorted(values.items(), key=lambda item: (-item[1].value, item[0])))


def _passed(run: Run) -> _Values:
    """Of the answers that a run generated, those that passed a check."""
    counts: Mapping[str, int] = run.get("counts") or {}
    generated = counts.get("answered", 0) + counts.get("failed", 0)
    if not generated:
        return {}
    levels, missed = run["job"]["checks"], run.get("checks_missed") or {}
    names = {name for name in known_checks() if levels.get(name) != "off"} | set(missed)
    return {
        f"passed.{name}": _Value(name, "share", 1 - missed.get(name, 0) / generated)
        for name in sorted(names)
    }


def _prefix_cache(run: Run) -> _Values:
    labels = {"realised_share": "prompt tokens from the cache", "predicted_share": "as predicted"}
    shares: Mapping[str, float | None] = run.get("prefix_cache") or {}
    return {
        f"prefix_cache.{name}": _Value(labels[name], "share", share)
        for name, share in shares.items()
        if share is not None
    }


def _cost(run: Run, price: Price) -> Iterator[tuple[str, _Value]]:
    sums: Mapping[str, int] = run.get("sums") or {}
    counted = ("prompt_tokens", "cached_tokens", "completion_tokens")
    prompt, cached, completion = (sums.get(name, 0) for name in counted)
    if prompt or completion:
        yield "sums.prompt_tokens", _Value("prompt tokens", "tokens", prompt)
        yield "sums.cached_tokens", _Value("of them from the cache", "tokens", cached)
        yield "sums.completion_tokens", _Value("completion tokens", "tokens", completion)
    paid = price.of_tokens(prompt, cached, completion)
    if paid is not None:
        yield "sums.paid", _Value(f"tokens, in {price.currency}", "money", paid)
    hours = gpu_hours(run)
    if hours:
        yield "timings.gpu_hours", _Value("GPU-hours", "hours", hours)
        if price.gpu_hour is not None:
            paid = hours * price.gpu_hour
            yield "timings.paid", _Value(f"GPUs, in {price.currency}", "money", paid)
    total = (run.get("timings") or {}).get("total")
    if total is not None:
        yield "timings.total", _Value("from start to end", "seconds", total)


def gpu_hours(run: Run) -> float:
    """Hours for which a run held its GPUs, all of them together."""
    return EngineConfig.model_validate(run["job"]["engine"]).gpus * replica_seconds(run) / 3600
