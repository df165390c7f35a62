"""How a run ended, in a line for people: why, what is left, and how long that takes."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.core.text import plural, rough_duration
from pipeline.store.run_file import StopReason

STOPPED: dict[StopReason, str] = {
    "signal": "interrupted",
    "deadline": "stopped at its deadline",
    "budget": "stopped with its budget spent",
}


def ending(run: Mapping[str, Any]) -> str:
    """Of a `run.json`, which may be from a release that did not say why or what is left."""
    stopped_by = run.get("stopped_by")
    status = str(run["status"]).replace("_", " ")
    how = STOPPED[stopped_by] if stopped_by and run["status"] != "failed" else status
    return ", ".join([how, *_left(run)])


def _left(run: Mapping[str, Any]) -> Iterator[str]:
    left, seconds = run.get("left"), run.get("left_seconds")
    if left is None or run["status"] in ("running", "done", "over_budget"):
        return
    yield f"{plural(left, 'record')} left" if left else "nothing left"
    if left and seconds is not None:
        yield f"about {rough_duration(seconds)} at this rate"
