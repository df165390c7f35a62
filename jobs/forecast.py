"""What `overnight plan` says of the time and the cost of a run."""

from collections.abc import Mapping
from typing import Any

from pipeline.config.schema import Job
from pipeline.core.text import money, plural, rough_duration
from pipeline.runs.forecast import UNKNOWN_FACTOR, Forecast
from pipeline.runs.interval import Interval, Outlook

WORDS: dict[Outlook, str] = {
    "yes": "yes",
    "likely": "likely, not surely",
    "unlikely": "hardly",
    "no": "no",
}


def forecast_document(forecast: Forecast, job: Job) -> dict[str, Any]:
    """The section `forecast`, for `--json`."""
    deadline = job.deadline
    return {
        "forecast": {
            "seconds": _as_dict(forecast.seconds),
            "cost": _as_dict(forecast.cost),
            "currency": job.report.price.currency if forecast.cost else None,
            "runs": list(forecast.runs),
            "deadline": str(deadline) if deadline else None,
            "by_deadline": forecast.by_deadline,
            "replicas": job.engine.replicas.max,
            "replicas_needed": forecast.replicas_needed,
            "budget": job.budget,
            "within_budget": forecast.within_budget,
        }
    }


def _as_dict(interval: Interval | None) -> dict[str, float] | None:
    return interval._asdict() if interval else None


def forecast_lines(document: Mapping[str, Any]) -> list[str]:
    """The same for people."""
    runs, lines = document["runs"], []
    basis = f"from {plural(len(runs), 'earlier run')} of this model; low to high is 9 in 10"
    if not runs:
        basis = f"no earlier run of this model: within a factor of {UNKNOWN_FACTOR:g}, at a guess"
    if seconds := document["seconds"]:
        low, expected, high = (rough_duration(seconds[n]) for n in ("low", "expected", "high"))
        lines.append(f"done in about {expected} ({low} to {high}; {basis})")
    if cost := document["cost"]:
        low, expected, high = (money(cost[n]) for n in ("low", "expected", "high"))
        lines.append(f"cost about {expected} {document['currency']} ({low} to {high}; {basis})")
    if document["by_deadline"]:
        needed = document["replicas_needed"]
        would_do = f"{plural(needed, 'replica')} would do" if needed else "no replicas would do"
        done = WORDS[document["by_deadline"]]
        lines.append(f"done by the deadline ({document['deadline']}): {done}; {would_do}")
    if document["within_budget"]:
        of = f"{money(document['budget'])} {document['currency']}"
        lines.append(f"within the budget ({of}): {WORDS[document['within_budget']]}")
    return lines
