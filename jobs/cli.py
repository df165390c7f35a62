"""`overnight`, which is `python -m jobs`: the commands, and how errors reach a person.

Results for programs go to stdout under `--json`, and nothing else does; people read stderr.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import orjson
import typer
from rich.console import Console
from rich.markup import escape

from pipeline.core.errors import OvernightError, describe
from pipeline.core.redaction import redacted

if TYPE_CHECKING:
    from pipeline.config.selection import Selection

app = typer.Typer(
    name="overnight",
    help="Answers questions over thousands of papers by morning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

JobFile = Annotated[str, typer.Argument(metavar="JOB", help="The job file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="As in engine.kind=extractive."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Tracebacks, and what Ray says.")]

Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="FIELD=VALUE", help="As in paper_id=p17; may be repeated."),
]
Limit = Annotated[int | None, typer.Option("--limit", help="Work on so many records at most.")]
Retry = Annotated[
    list[str] | None,
    typer.Option("--retry", metavar="WHAT", help="failed, failed:<check> or rejected."),
]

INTERRUPTED = 130


@app.command()
def plan(
    job: JobFile,
    overrides: Overrides = None,
    only: Only = None,
    limit: Limit = None,
    retry: Retry = None,
    examples: Annotated[
        int, typer.Option("--examples", help="Show so many prompts that an edit changed.")
    ] = 0,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Tokens a second a GPU, prompt and completion.")
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Says what a run would do and cost, and changes nothing."""
    from jobs.plan import plan as command

    _finish(
        json,
        debug,
        lambda console: command(
            console, job, overrides or [], _selection(only, limit, retry), examples, rate, debug
        ),
    )


@app.command()
def run(
    job: JobFile,
    overrides: Overrides = None,
    only: Only = None,
    limit: Limit = None,
    retry: Retry = None,
    run_id: Annotated[
        str | None,
        typer.Option(
            "--run-id",
            envvar="OVERNIGHT_RUN_ID",
            help="The scheduler's id for this run, the same when it starts it again.",
        ),
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Reads, generates, checks and writes; safe to repeat, does only what is not done."""
    from jobs.run import run as command

    _finish(
        json,
        debug,
        lambda console: command(
            console, job, overrides or [], _selection(only, limit, retry), run_id, debug
        ),
    )


@app.command()
def recheck(
    job: JobFile, overrides: Overrides = None, json: AsJson = False, debug: Debug = False
) -> None:
    """Judges stored completions again by today's checks; generates nothing."""
    from jobs.recheck import recheck as command

    _finish(json, debug, lambda console: command(console, job, overrides or [], debug))


@app.command()
def compact(
    job: JobFile,
    overrides: Overrides = None,
    drop_superseded: Annotated[
        bool, typer.Option("--drop-superseded", help="Drop rows that newer ones have replaced.")
    ] = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Merges many small part files into few large ones; safe at any moment."""
    from jobs.compact import compact_store as command

    _finish(json, debug, lambda console: command(console, job, overrides or [], drop_superseded))


@app.command()
def diff(
    job: JobFile,
    before: Annotated[
        str, typer.Option("--from", help="A run, <prompt>@<version>, a version or a model.")
    ],
    after: Annotated[str, typer.Option("--to", help="The same, for the other side.")],
    overrides: Overrides = None,
    most: Annotated[int, typer.Option("--most", help="Show so many changed answers.")] = 10,
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="Write it as a page, too.")
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compares two prompts, models or runs, answer by answer."""
    from jobs.diff import diff as command

    _finish(
        json,
        debug,
        lambda console: command(console, job, overrides or [], before, after, most, html),
    )


@app.command()
def report(
    job: JobFile,
    overrides: Overrides = None,
    run_id: Annotated[
        str | None, typer.Option("--run", help="The run it is about; else the latest.")
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Writes one self-contained HTML page about a run."""
    from jobs.report import report as command

    _finish(json, debug, lambda console: command(console, job, overrides or [], run_id))


@app.command()
def export(
    job: JobFile,
    to: Annotated[str, typer.Option("--to", help="A .parquet, .csv, .xlsx or .jsonl file.")],
    overrides: Overrides = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="One row a paper, with columns for every question.")
    ] = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Writes the newest answer of every record to one file."""
    from jobs.export import export as command

    _finish(json, debug, lambda console: command(console, job, overrides or [], to, wide))


@app.command()
def doctor(
    job: JobFile, overrides: Overrides = None, json: AsJson = False, debug: Debug = False
) -> None:
    """Looks at job file, template, storage, input and engine: what would fail, before it does."""
    from jobs.doctor import doctor as command

    _finish(json, debug, lambda console: command(console, job, overrides or []))


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, _interrupt)
    app()


def _selection(only: list[str] | None, limit: int | None, retry: list[str] | None) -> "Selection":
    """Called within `_finish`, so that its errors reach a person as all others do."""
    from pipeline.config.selection import select

    return select(only or (), limit, retry or ())


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _finish(
    json: bool, debug: bool, command: Callable[[Console], tuple[int, dict[str, Any]]]
) -> None:
    """Runs a command, prints its document if asked to, and ends the process with its exit code."""
    console = Console(file=_stderr_of_its_own(), highlight=False, soft_wrap=True)
    try:
        code, document = command(console)
    except OvernightError as error:
        if debug:
            _print_traceback()
        code, document = error.exit_code, {"error": str(error)}
        console.print(f"[bold red]error:[/] {escape(str(error))}")
    except Exception as error:  # noqa: BLE001  a bug; 1 would say that the job was done
        if debug:
            _print_traceback()
        code, document = OvernightError.exit_code, {"error": describe(error)}
        console.print(f"[bold red]error:[/] {escape(document['error'])}; --debug says where")
    except KeyboardInterrupt:
        code, document = INTERRUPTED, {"error": "interrupted"}
        console.print("interrupted")
    if json:
        sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        sys.stdout.flush()
    raise typer.Exit(code)


def _print_traceback() -> None:
    sys.stderr.write(redacted(traceback.format_exc()))


def _stderr_of_its_own() -> TextIO:
    """Standard error under another descriptor, which stays when Ray's is turned away."""
    return os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
