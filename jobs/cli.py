"""`overnight`, which is `python -m jobs`: the commands, and how errors reach a person.

With `--json` one document goes to stdout and nothing else does; people read stderr. Nothing heavy
is imported before the job file has been read and found right.
"""

import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape

from jobs.messages import LogFormat, console_for
from pipeline.core.errors import OvernightError, message_of
from pipeline.core.garbage import collect_garbage_rarely
from pipeline.core.redaction import redacted

app = typer.Typer(
    name="overnight",
    help="Answers questions over thousands of papers by morning.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Outcome: TypeAlias = tuple[int, dict[str, Any]]
"""Exit code and document of a command."""

JobFile = Annotated[str, typer.Argument(metavar="JOB", help="The job file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="As in engine.kind=extractive."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks, and what Ray says.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
Log = Annotated[LogFormat, typer.Option("--log", help="Messages as text, or as lines of JSON.")]

Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="COLUMN=VALUE", help="As in paper_id=p17; may be repeated."),
]
Limit = Annotated[int | None, typer.Option("--limit", help="Work on at most this many records.")]
Retry = Annotated[
    list[str] | None,
    typer.Option("--retry", metavar="WHAT", help="failed, failed:<check> or rejected."),
]

INTERRUPTED = 130


def _print_version(wanted: bool) -> None:
    if wanted:
        from pipeline import __version__

        typer.echo(f"overnight {__version__}")
        raise typer.Exit


@app.callback()
def overnight(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Answers questions over thousands of papers by morning."""


@app.command()
def plan(
    job: JobFile,
    overrides: Overrides = None,
    only: Only = None,
    limit: Limit = None,
    retry: Retry = None,
    examples: Annotated[
        int, typer.Option("--examples", help="Show this many prompts that an edit changed.")
    ] = 0,
    rate: Annotated[
        float | None,
        typer.Option("--rate", help="Tokens per second per GPU, prompt and completion."),
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
    quiet: Quiet = False,
    log: Log = LogFormat.text,
) -> None:
    """Say what a run would do and cost; change nothing."""
    _start("plan", job, overrides, json, debug, quiet, log)(
        selection=lambda job: _selection(job, only, limit, retry),
        examples=examples,
        rate=rate,
        debug=debug,
    )


@app.command()
def preview(
    job: JobFile,
    overrides: Overrides = None,
    only: Only = None,
    limit: Annotated[int, typer.Option("--limit", help="Answer this many records.")] = 3,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="FILE", help="Answer them with this prompt template, too."
        ),
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Answer the first few records here and show everything; store nothing."""
    _start("preview", job, overrides, json, debug)(
        selection=lambda job: _selection(job, only, limit, None), against=against, debug=debug
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
            help="The scheduler's id for this run; the same when it starts the run again.",
        ),
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
    quiet: Quiet = False,
    log: Log = LogFormat.text,
) -> None:
    """Read, generate, check and write what is not done yet; safe to repeat."""
    _start("run", job, overrides, json, debug, quiet, log)(
        selection=lambda job: _selection(job, only, limit, retry), run_id=run_id, debug=debug
    )


@app.command()
def recheck(
    job: JobFile,
    overrides: Overrides = None,
    json: AsJson = False,
    debug: Debug = False,
    quiet: Quiet = False,
    log: Log = LogFormat.text,
) -> None:
    """Run extraction and checks again over stored completions; generate nothing."""
    _start("recheck", job, overrides, json, debug, quiet, log)(debug=debug)


@app.command()
def compact(
    job: JobFile,
    overrides: Overrides = None,
    drop_superseded: Annotated[
        bool, typer.Option("--drop-superseded", help="Drop rows that newer ones have replaced.")
    ] = False,
    json: AsJson = False,
    debug: Debug = False,
    quiet: Quiet = False,
    log: Log = LogFormat.text,
) -> None:
    """Merge many small part files into few large ones; safe at any moment."""
    _start("compact", job, overrides, json, debug, quiet, log)(drop_superseded=drop_superseded)


@app.command()
def diff(
    job: JobFile,
    before: Annotated[
        str, typer.Option("--from", help="A run, <prompt>@<version>, a version or a model.")
    ],
    after: Annotated[str, typer.Option("--to", help="The same, for the other side.")],
    overrides: Overrides = None,
    most: Annotated[int, typer.Option("--most", help="Show this many changed answers.")] = 10,
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="Write it as a page, too.")
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare two prompts, models or runs, answer by answer."""
    _start("diff", job, overrides, json, debug)(
        before=before, after=after, max_changes=most, html=html
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
    """Write one self-contained HTML page about a run."""
    _start("report", job, overrides, json, debug)(run_id=run_id)


@app.command()
def export(
    job: JobFile,
    to: Annotated[str, typer.Option("--to", help="A .parquet, .csv, .xlsx or .jsonl file.")],
    overrides: Overrides = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="One row per paper, with columns for every question.")
    ] = False,
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="A,B,C", help="Only these columns, in this order."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Leave .csv cells as they are, even if formulas.")
    ] = False,
    review: Annotated[
        int | None,
        typer.Option("--review", metavar="N", help="A sheet of N answers for people to judge."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the sheet: which answers.")] = 0,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write the newest answer of every record to one file."""
    _start("export", job, overrides, json, debug)(
        to=to, wide=wide, raw=raw, columns=columns, review=review, seed=seed
    )


@app.command()
def agreement(
    job: JobFile,
    overrides: Overrides = None,
    raters: Annotated[
        list[str] | None,
        typer.Option(
            "--raters",
            metavar="model|judge|human",
            help="Only these, or raters by their names; may be repeated.",
        ),
    ] = None,
    conversion: Annotated[
        str | None,
        typer.Option(
            "--conversion",
            help="What an answer counts as: answers_question, p_answered, hedged=yes, hedged=no, "
            "check:<name>.",
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="FILE", help="Write what each rater says, too.")
    ] = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="One row per record there, with columns for raters.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the intervals.")] = 0,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say how far models, judges and people agree, with intervals."""
    _start("agreement", job, overrides, json, debug)(
        raters=raters or [], conversion=conversion, to=to, wide=wide, seed=seed
    )


@app.command()
def correct(
    job: JobFile,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A .csv, .xlsx or .jsonl.")],
    overrides: Overrides = None,
    annotator: Annotated[
        str | None, typer.Option("--annotator", help="Who says it, where a row does not.")
    ] = None,
    field: Annotated[
        str | None, typer.Option("--field", help="What it is about, where a row does not say.")
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Take what people say about answers into the store."""
    _start("correct", job, overrides, json, debug)(file=file, annotator=annotator, field=field)


@app.command()
def doctor(
    job: JobFile, overrides: Overrides = None, json: AsJson = False, debug: Debug = False
) -> None:
    """Check job file, template, storage, input and engine: what would fail, before it does."""
    _start("doctor", job, overrides, json, debug)()


@app.command()
def tune(
    job: JobFile,
    overrides: Overrides = None,
    minutes: Annotated[
        float, typer.Option("--minutes", help="For all trials, with the starts of engines.")
    ] = 20.0,
    records: Annotated[
        int, typer.Option("--records", help="The sample at most; less where time is short.")
    ] = 2000,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Try engine settings on a sample of the job's prompts, and say which are the fastest."""
    _start("tune", job, overrides, json, debug)(minutes=minutes, records=records, debug=debug)


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, _interrupt)
    collect_garbage_rarely()
    app()


def _start(
    command: str,
    job_file: str,
    overrides: list[str] | None,
    json: bool,
    debug: bool,
    quiet: bool = False,
    log: LogFormat = LogFormat.text,
) -> Callable[..., None]:
    """`jobs.<command>.main`, to be called with the command's own options.

    Reads the job file first. An option that is a function of the job is called then, so that its
    errors reach a person as all others do.
    """

    def run_command(**options: Any) -> None:
        def outcome(console: Console) -> Outcome:
            from pipeline.config.loading import load_job

            job = load_job(job_file, overrides or [])
            given = {name: o(job) if callable(o) else o for name, o in options.items()}
            result: Outcome = import_module(f"jobs.{command}").main(console, job, **given)
            return result

        _finish(json, debug, outcome, quiet, log)

    return run_command


def _selection(job: Any, only: list[str] | None, limit: int | None, retry: list[str] | None) -> Any:
    from pipeline.answering.checks import check_names
    from pipeline.config.selection import select

    return select(only or (), limit, retry or (), check_names(job.checks))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _finish(
    json: bool,
    debug: bool,
    command: Callable[[Console], Outcome],
    quiet: bool = False,
    log: LogFormat = LogFormat.text,
) -> None:
    """Runs a command, prints its document if asked to, and ends the process with its exit code."""
    console = console_for(log)
    try:
        code, document = command(console_for(log, quiet) if quiet else console)
    except Exception as error:  # noqa: BLE001  a bug too: 1 would say that the job was done
        if debug:
            sys.stderr.write(redacted(traceback.format_exc()))
        code, hint = OvernightError.exit_code, "; --debug says where"
        if isinstance(error, OvernightError):
            code, hint = error.exit_code, ""
        document = {"error": message_of(error)}
        console.print(f"[bold red]error:[/] {escape(document['error'])}{hint}")
    except KeyboardInterrupt:
        code, document = INTERRUPTED, {"error": "interrupted"}
        console.print("interrupted")
    if json:
        import orjson

        sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        sys.stdout.flush()
    raise typer.Exit(code)
