"""The page about a run: `runs/<run_id>/report.html`.

A run that changed nothing has a short one, which refers to the page with the answers.

run.json ─▶ verdict and figures
answers ─ newest of every record ─▶ alerts, questions, charts
                                 ├▶ rows of the table ─ fair sample ─▶ answers that open
                                 └▶ those to read first ─▶ answers of the list
rejects ─▶ list of the latest
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.answering.recheck import Boilerplates
from pipeline.config.schema import Job
from pipeline.core import carried
from pipeline.core.errors import ConfigError, nearest
from pipeline.core.filesystem import Location
from pipeline.core.own_id import lines_about
from pipeline.core.text import natural
from pipeline.results import reading_order
from pipeline.results.corrections.standing import standing
from pipeline.results.differing import differing_records
from pipeline.results.pages import answers
from pipeline.results.pages.agreement import agreement_section
from pipeline.results.pages.alerts import Alert, alerts
from pipeline.results.pages.charts import charts
from pipeline.results.pages.first import MAX_FIRST, first_content
from pipeline.results.pages.overview import COLUMNS, Overview
from pipeline.results.pages.page import MAX_DATA_BYTES, compressed_json, render_page
from pipeline.results.pages.paper_sample import stable_hash
from pipeline.results.pages.rows import rows_of
from pipeline.results.pages.shown import PAGE, Shown, state_of
from pipeline.results.pages.summary import Run, summarize, verdict
from pipeline.results.reading_order import Reading
from pipeline.results.review.precision import precision_by_check
from pipeline.store.parts import read_batches, with_parts
from pipeline.store.reader import BY_RECORD, key_digest, read_rows
from pipeline.store.runs import all_runs
from pipeline.store.schema import REJECTS_FOLDER, RUNS_FOLDER

MAX_REJECTS = 500
PAYLOAD_CHARACTERS = 160
REJECT_COLUMNS = (
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
    """Writes the page about a run, by default the latest, and returns where it is.

    Raises `ConfigError` if the store has no such run.
    """
    runs = _runs_of(store)
    run, before = _find_run(runs, run_id, store)
    return _write(store, job, run, _whole_page(store, job, runs, run, before, state_of(store)))


def write_report_at_end(store: Location, job: Job, run_id: str) -> Location:
    """The same about a run that has just ended; a short page that refers to an earlier one if that
    shows the store as it still is.
    """
    runs, state = _runs_of(store), state_of(store)
    run, before = _find_run(runs, run_id, store)
    shown = Shown.on_page(store, before["run_id"]) if before else None
    if shown and shown.state == state and Shown.on_page(store, shown.run_id) == shown:
        return _write(store, job, run, _short_page(job, run, before, shown))
    return _write(store, job, run, _whole_page(store, job, runs, run, before, state))


def _runs_of(store: Location) -> list[Run]:
    return [run for run in all_runs(store) if run.get("command", "run") == "run"]


def _write(store: Location, job: Job, run: Run, html: str) -> Location:
    target = store.join(RUNS_FOLDER, run["run_id"], PAGE)
    if job.output.append_only:
        return target.create_beside(html.encode())
    target.write_whole(html.encode())
    return target


def _find_run(runs: Sequence[Run], run_id: str | None, store: Location) -> tuple[Run, Run | None]:
    """The run, and the last one before it that has ended and worked on the same records."""
    ids = [run["run_id"] for run in runs]
    if not runs or (run_id and run_id not in ids):
        known = f"{nearest(run_id or '', ids)}; it has {', '.join(ids[-5:])}" if ids else ""
        raise ConfigError(f"{store.uri}: no run {run_id or 'yet'}{known}")
    index = ids.index(run_id) if run_id else len(ids) - 1
    run = runs[index]
    ended = [other for other in runs[:index] if other.get("counts") and _has_ended(other)]
    alike = [other for other in ended if _selection(other) == _selection(run)]
    return run, alike[-1] if alike else None


def _has_ended(run: Run) -> bool:
    return bool(run["status"] != "running")


def _selection(run: Run) -> Any:
    """What a run works on; an earlier release wrote down only its input."""
    return run.get("selection") or {}, run["job"]["input"]


def _short_page(job: Job, run: Run, before: Run | None, shown: Shown) -> str:
    """What a run that changed nothing has of its own: its figures."""
    return render_page("unchanged", (), shown=shown, **_head(job, run, before, shown))


def _head(
    job: Job, run: Run, before: Run | None, shows: Shown, looks: Sequence[Alert] = ()
) -> dict[str, Any]:
    """What both pages say of the run itself."""
    return {
        "verdict": verdict(run, len(looks)),
        "alerts": looks,
        "run": run,
        "before": before,
        "shows": shows,
        "groups": summarize(run, before, job.report.price),
        "about_input": [
            *lines_about(run.get("ids") or {}),
            *carried.lines_about(run.get("carried") or {}),
        ],
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def _whole_page(
    store: Location, job: Job, runs: Sequence[Run], run: Run, before: Run | None, state: str
) -> str:
    """The page with the answers of a store, whose `state` was taken before they are read."""
    boilerplates = Boilerplates.of_runs(runs, job.input.text)
    overview, reading = _read_overview(store, run["run_id"])
    looks = alerts(run, [other for other in runs[: runs.index(run)] if _has_ended(other)], overview)
    head = _head(job, run, before, Shown(state, run["run_id"]), looks)
    sample = answers.sample_records(overview.papers)
    shown = {*sample, *(entry.record_id for entry in reading.entries)}
    texts = answers.rows_of(store, shown)
    by_paper = answers.by_paper(texts, sample)
    first, rows = first_content(reading.entries, texts, boilerplates), rows_of(overview)
    room = MAX_DATA_BYTES - len(first) - rows.size
    papers = dict(_papers(overview, by_paper, boilerplates, room))
    names = list(overview.papers)
    rejects, reject_count = _rejects(store)
    return render_page(
        "run",
        [
            *rows.data,
            ("opened", compressed_json(list(papers))),
            ("first", first),
            *((f"paper-{number}", content) for number, content in papers.items()),
        ],
        **head,
        charts=charts(overview, run["job"]["answer"]["max_words"]),
        agreement=agreement_section(store),
        overview=overview,
        questions=sorted(overview.questions, key=natural),
        reasons=reading.counts,
        precision=precision_by_check(store, standing(store)),
        marks_name=f"{key_digest(store.uri.encode()).hex()} {run['run_id']}",
        columns=rows.columns,
        opened=sum(len(by_paper[names[number]]) for number in papers),
        rejects=rejects,
        reject_count=reject_count,
    )


def _read_overview(store: Location, run_id: str) -> tuple[Overview, Reading]:
    """The newest answers by paper and which of them to read, in one pass over them."""
    overview, reading = Overview(run_id), Reading(MAX_FIRST, differing_records(store))
    columns = tuple(dict.fromkeys((*COLUMNS, *reading_order.COLUMNS)))
    for rows in read_rows(store, BY_RECORD, columns):
        overview.add(rows, reading.add(rows))
    return overview, reading


def _papers(
    overview: Overview,
    rows: Mapping[str, list[answers.Row]],
    boilerplates: Boilerplates,
    most_bytes: int,
) -> Iterator[tuple[int, str]]:
    """Compressed content of papers by their number, as far as it fits into `most_bytes`.

    Papers with only their failed answers come first and get at most a quarter of the room. Whole
    papers follow in the order of their hash up to the first that does not fit: to skip large papers
    would make the sample unfair.
    """
    numbers = {paper: number for number, paper in enumerate(overview.papers)}
    sampled = sorted(rows, key=stable_hash)
    whole = [name for name in sampled if len(rows[name]) == len(overview.papers[name])]
    partial = [name for name in sampled if len(rows[name]) < len(overview.papers[name])]
    used = 0
    for names, room in ((partial, most_bytes // 4), (whole, most_bytes)):
        for name in names:
            content = compressed_json(answers.paper_content(rows[name], boilerplates))
            if used + len(content) > room:
                break
            used += len(content)
            yield numbers[name], content


def _rejects(store: Location) -> tuple[list[dict[str, Any]], int]:
    """The latest rejects of a store, and the number of all."""
    folder = store.join(REJECTS_FOLDER)
    return with_parts(folder, lambda parts: _read_rejects(folder, parts))


def _read_rejects(folder: Location, parts: Sequence[str]) -> tuple[list[dict[str, Any]], int]:
    latest: pa.Table | None = None
    count = 0
    for path in parts:
        for rows in read_batches(folder.fs, path, REJECT_COLUMNS):
            count += rows.num_rows
            both = pa.concat_tables([latest, rows]) if latest else rows
            order = pc.sort_indices(both, [("written_at", "descending")])
            latest = both.take(order[:MAX_REJECTS])
    return [_reject(row) for row in latest.to_pylist()] if latest else [], count


def _reject(row: dict[str, Any]) -> dict[str, Any]:
    payload = (row["payload"] or b"")[: 4 * PAYLOAD_CHARACTERS].decode("utf-8", "replace")
    return {
        **{name: row[name] for name in ("reason", "run_id", "source_uri", "source_row")},
        "record_id": answers.shortened(row["record_id"] or ""),
        "detail": answers.shortened(row["detail"] or ""),
        "payload": payload[:PAYLOAD_CHARACTERS],
    }
