"""The page about a run: `runs/<run_id>/report.html`.

run.json ─▶ the night at a glance
answers ─ newest of every record ─▶ matrix and charts ─ a fair sample ─▶ what opens behind cells
rejects ─▶ their list
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.answering.recheck import Boilerplates
from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError, nearest
from pipeline.core.filesystem import Location
from pipeline.core.text import natural
from pipeline.results.pages import answers, matrix
from pipeline.results.pages.charts import charts
from pipeline.results.pages.page import PAGE_BYTES, packed, page
from pipeline.results.pages.summary import Run, glance
from pipeline.store.parts import read_batches, with_parts
from pipeline.store.reader import LATEST, read_rows
from pipeline.store.run_file import all_runs
from pipeline.store.schema import REJECTS_FOLDER, RUNS_FOLDER

MOST_REJECTS = 500
PAYLOAD_CHARACTERS = 160
SHOWN_OF_REJECTS = (
    "record_id",
    "reason",
    "detail",
    "source_uri",
    "source_row",
    "payload",
    "run_id",
    "written_at",
)


def write_report(store: Location, job: Job, run_id: str | None = None) -> Location:
    """Writes the page about a run, the latest one where none is named; returns where it is.

    Raises `ConfigError` where the store has no such run.
    """
    runs = [run for run in all_runs(store) if run.get("command", "run") == "run"]
    run, before = _chosen(runs, run_id, store)
    html = _page(store, job, run, before, Boilerplates.of_runs(runs, job.input.text))
    target = store.join(RUNS_FOLDER, run["run_id"], "report.html")
    if job.output.append_only:
        return target.create_beside(html.encode())
    target.write_whole(html.encode())
    return target


def _chosen(runs: Sequence[Run], run_id: str | None, store: Location) -> tuple[Run, Run | None]:
    ids = [run["run_id"] for run in runs]
    if not runs or (run_id and run_id not in ids):
        known = f"{nearest(run_id or '', ids)}; it has {', '.join(ids[-5:])}" if ids else ""
        raise ConfigError(f"{store.uri}: no run {run_id or 'yet'}{known}")
    at = ids.index(run_id) if run_id else len(ids) - 1
    counted = [run for run in runs[:at] if run.get("counts") and run["status"] != "running"]
    return runs[at], counted[-1] if counted else None


def _page(
    store: Location, job: Job, run: Run, before: Run | None, boilerplates: Boilerplates
) -> str:
    written = datetime.now(UTC)
    found = matrix.gathered(read_rows(store, LATEST, matrix.COLUMNS), run["run_id"])
    rows = answers.rows_of(read_rows(store, LATEST, answers.COLUMNS), answers.wanted(found.papers))
    drawn = charts(found, run["job"]["answer"]["max_words"])
    held = dict(_held(found, rows, boilerplates))
    papers = list(found.papers)
    opened = sum(len(rows[papers[number]]) for number in held)
    rejects, every = _rejects(store)
    return page(
        "night",
        [("matrix", packed(_matrix(found, held))), *((f"paper-{n}", p) for n, p in held.items())],
        run=run,
        before=before,
        groups=glance(run, before, job.report.price),
        charts=drawn,
        matrix=found,
        opened=opened,
        rejects=rejects,
        every_reject=every,
        written=f"{written:%Y-%m-%d %H:%M} UTC",
    )


def _matrix(found: matrix.Matrix, held: dict[int, str]) -> dict[str, Any]:
    """Cells as pairs of numbers, of a question and of a kind."""
    columns = sorted(found.questions, key=natural)
    questions = {question: number for number, question in enumerate(columns)}
    kinds: dict[matrix.Kind, int] = {}
    papers = [
        [
            paper,
            [
                number
                for cell in cells
                for number in (questions[cell.question], kinds.setdefault(cell.kind, len(kinds)))
            ],
        ]
        for paper, cells in found.papers.items()
    ]
    return {
        "questions": [(question, answers.cut(found.questions[question])) for question in columns],
        "kinds": list(kinds),
        "papers": papers,
        "held": list(held),
    }


def _held(
    found: matrix.Matrix, rows: dict[str, list[answers.Row]], boilerplates: Boilerplates
) -> Iterator[tuple[int, str]]:
    """Packed papers by their number, as far as the page has room.

    First those of which it holds what failed alone, in a quarter of the room at most; then whole
    ones in the order of the lot, up to the first that has no room: to leave out large papers and go
    on would be no fair sample.
    """
    numbers = {paper: number for number, paper in enumerate(found.papers)}
    drawn = sorted(rows, key=matrix.draw)
    whole = [name for name in drawn if len(rows[name]) == len(found.papers[name])]
    in_part = [name for name in drawn if len(rows[name]) < len(found.papers[name])]
    used = 0
    for names, room in ((in_part, PAGE_BYTES // 4), (whole, PAGE_BYTES)):
        for name in names:
            content = packed(answers.held(rows[name], boilerplates))
            if used + len(content) > room:
                break
            used += len(content)
            yield numbers[name], content


def _rejects(store: Location) -> tuple[list[dict[str, Any]], int]:
    """The latest rejects of a store, and how many there are in all."""
    folder = store.join(REJECTS_FOLDER)
    return with_parts(folder, lambda parts: _read_rejects(folder, parts))


def _read_rejects(folder: Location, parts: Sequence[str]) -> tuple[list[dict[str, Any]], int]:
    kept: pa.Table | None = None
    every = 0
    for path in parts:
        for rows in read_batches(folder.fs, path, SHOWN_OF_REJECTS):
            every += rows.num_rows
            both = pa.concat_tables([kept, rows]) if kept else rows
            newest = pc.sort_indices(both, [("written_at", "descending")])
            kept = both.take(newest[:MOST_REJECTS])
    return [_reject(row) for row in kept.to_pylist()] if kept else [], every


def _reject(row: dict[str, Any]) -> dict[str, Any]:
    payload = (row["payload"] or b"")[: 4 * PAYLOAD_CHARACTERS].decode("utf-8", "replace")
    return {
        **{name: row[name] for name in ("reason", "run_id", "source_uri", "source_row")},
        "record_id": answers.cut(row["record_id"] or ""),
        "detail": answers.cut(row["detail"] or ""),
        "payload": payload[:PAYLOAD_CHARACTERS],
    }
