"""`overnight tune`: tries engine settings on a sample of the job's own prompts."""

import os
from collections.abc import Mapping
from typing import Any

import orjson
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.answering.prepare import prepare
from pipeline.config.schema import Job
from pipeline.core.processes import output_to
from pipeline.core.text import harmless, plural
from pipeline.runs.recorder import EXIT_CODES
from pipeline.runs.tuning.recommendation import Row
from pipeline.runs.tuning.tune import Tuning
from pipeline.store.trials import Trial

NOTES = {
    "present": "now",
    "recommended": "recommended",
    "choice": "your choice",
    "measured": "",
    "stopped": "stopped early",
    "failed": "failed",
}


def main(
    console: Console, job: Job, minutes: float, records: int, debug: bool
) -> tuple[int, dict[str, Any]]:
    """Exit code 0, or 130 after an interrupt; and what is known of the settings tried."""

    def show(trial: Trial) -> None:
        said = trial.failed or f"{trial.rate:.2f} records/s"
        line = f"{_said(trial.settings)}: {plural(trial.records, 'record')}: {said}"
        console.print(harmless(line), markup=False, emoji=False)

    prepared, code = prepare(job), 0
    with open(os.devnull, "wb") as nowhere, output_to(2 if debug else nowhere.fileno()):
        tuning = Tuning(prepared, minutes, records, show)
        _show_start(console, tuning)
        try:
            tuning.run()
        except KeyboardInterrupt:
            code = EXIT_CODES["interrupted"]
    document = _document(tuning)
    _show(console, document)
    if code:
        console.print("interrupted; the same command goes on from here")
    return code, document


def _document(tuning: Tuning) -> dict[str, Any]:
    recommendation, search = tuning.recommendation, tuning.search
    present = search.present
    return {
        "engine_version": tuning.version,
        "device": tuning.device.name,
        "model": tuning.job.engine.model,
        "records": search.records,
        "minutes": tuning.minutes,
        "seconds": tuning.file.cost,
        "finished": tuning.is_finished,
        "trials_uri": tuning.file.uri,
        "in_force": dict(present.in_force) if present else {},
        "rows": [_row(row) for row in tuning.rows],
        "left_out": [left._asdict() for left in tuning.left_out],
        "recommended": dict(recommendation.settings) or None,
        "gain": recommendation.gain,
        "noise": recommendation.noise,
        "said": recommendation.said,
    }


def _row(row: Row) -> dict[str, Any]:
    trial = row.trial
    return {
        "settings": dict(trial.settings),
        "outcome": row.outcome,
        "records": trial.records,
        "records_per_second": trial.rate or None,
        "tokens_per_second": trial.tokens / trial.seconds if trial.rate else None,
        "ratio": row.ratio,
        "differing_answers": row.differing,
        "start_seconds": row.start,
        "failed": trial.failed,
    }


def _show_start(console: Console, tuning: Tuning) -> None:
    line = (
        f"{tuning.job.engine.model} on {tuning.device.name}, vLLM {tuning.version}: "
        f"a sample of {plural(len(tuning.prompts), 'record')}, {tuning.minutes:g} minutes"
    )
    console.print(harmless(line), markup=False, emoji=False)
    if tuning.file.cost:
        console.print(f"{tuning.file.cost:.0f} s of trials are known: {tuning.file.uri}")


def _show(console: Console, document: Mapping[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("settings", overflow="fold", min_width=28)
    for heading in ("records", "records/s", "÷ now", "differ"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in document["rows"]:
        table.add_row(*_cells(row))
    console.print(table)
    for row in document["rows"]:
        if row["failed"]:
            line = f"failed: {_said(row['settings'])}: {row['failed']}"
            console.print(harmless(line), markup=False, emoji=False)
    for left in document["left_out"]:
        console.print(harmless(f"left out: {left['said']}: {left['why']}"), markup=False)
    console.print(harmless(document["said"]), markup=False)
    if document["recommended"]:
        options = {"engine": {"options": document["recommended"]}}
        console.print(yaml.safe_dump(options, sort_keys=False), markup=False, end="")


def _cells(row: Mapping[str, Any]) -> list[str]:
    rate, ratio, differing = (
        row[name] for name in ("records_per_second", "ratio", "differing_answers")
    )
    return [
        escape(_said(row["settings"], "\n")),
        f"{row['records']:,}",
        f"{rate:.2f}" if rate else "",
        f"{ratio:.2f}" if ratio else "",
        "" if differing is None else f"{differing:,}",
        NOTES[row["outcome"]],
    ]


def _said(settings: Mapping[str, Any], between: str = ", ") -> str:
    """Settings by their names, in one order; a mapping as JSON."""
    if not settings:
        return "the job's own"
    return between.join(
        f"{name}={orjson.dumps(value).decode() if isinstance(value, dict) else value}"
        for name, value in sorted(settings.items())
    )
