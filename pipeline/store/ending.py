"""How a run ended, in a line for people: why, what is left, and how long that takes."""

from collections.abc import Mapping
from typing import Any

from pipeline.core.text import plural, rough_duration
from pipeline.store.run_file import StopReason

STOPPED: dict[StopReason, str] = {
    "signal": "interrupted",
    "deadline": "stopped at its deadline",
    "budget": "stopped with its budget spent",
}


def why_it_ended(run: Mapping[str, Any]) -> str:
    """Of a `run.json`, which may be from a release that did not say what stopped it."""
    stopped_by = run.get("stopped_by")
    if stopped_by and run["status"] != "failed":
        return STOPPED[stopped_by]
    return str(run["status"]).replace("_", " ")


def what_is_left(run: Mapping[str, Any]) -> str:
    """Of a run that ended before its input was done; empty for others, and if it is unknown."""
    left, seconds = run.get("left"), run.get("left_seconds")
    if left is None or run["status"] not in ("stopped", "interrupted", "failed"):
        return ""
    if not left:
        return "nothing left"
    takes = f", about {rough_duration(seconds)} at this rate" if seconds is not None else ""
    return f"{plural(left, 'record')} left{takes}"
