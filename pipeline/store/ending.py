"""How a run ended, in a line for people: why, what is left, and how long that takes."""

from collections.abc import Mapping
from typing import Any

from pipeline.core.text import money, plural, rough_duration
from pipeline.store.run_file import StopReason

STOPPED: dict[StopReason, str] = {
    "signal": "interrupted",
    "deadline": "stopped at its deadline",
    "budget": "stopped at its budget",
}


def why_it_ended(run: Mapping[str, Any]) -> str:
    """Of a `run.json`, which may be from a release that did not say what stopped it."""
    stopped_by = run.get("stopped_by")
    if stopped_by and run["status"] != "failed":
        return STOPPED[stopped_by]
    return str(run["status"]).replace("_", " ")


def what_it_cost(run: Mapping[str, Any]) -> str:
    """In all its starts, with its budget if it has one; empty where nothing was spent, or nothing
    has a price.
    """
    cost: Mapping[str, Any] = run.get("cost") or {}
    if not cost or not cost["total"]:
        return ""
    of = f" of {money(cost['budget'])}" if cost["budget"] is not None else ""
    return f"cost {money(cost['total'])}{of} {cost['currency']}"


def what_is_left(run: Mapping[str, Any]) -> str:
    """Of a run that ended before its input was done; empty for others, and if it is unknown."""
    left, seconds = run.get("left"), run.get("left_seconds")
    if left is None or run["status"] not in ("stopped", "interrupted", "failed"):
        return ""
    if not left:
        return "nothing left"
    takes = f", about {rough_duration(seconds)} at this rate" if seconds is not None else ""
    return f"{plural(left, 'record')} left{takes}"
