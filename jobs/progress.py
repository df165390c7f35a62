"""Progress of a job: a few lines on a terminal, elsewhere one plain line at intervals."""

import time
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from pipeline.core.text import harmless, plural
from pipeline.runs.progress import RunProgress, StageName

LINE_SECONDS = 30.0
REDRAWS_PER_SECOND = 4

ANSWERING: tuple[StageName, ...] = (
    "read",
    "current",
    "work",
    "arranged",
    "in_engines",
    "answered",
    "stored",
)
PLANNING: tuple[StageName, ...] = "read", "current", "work"


class JobProgress:
    """Shows the latest progress of a run while its block lasts."""

    def __init__(
        self, console: Console, title: str, stages: tuple[StageName, ...] = ANSWERING
    ) -> None:
        self._console = console
        self._title = harmless(title)
        self._stages = stages
        self._progress: RunProgress | None = None
        self._last_line = time.monotonic()
        self._spinner = Spinner("dots")
        self._live = Live(
            self, console=console, refresh_per_second=REDRAWS_PER_SECOND, transient=True
        )

    def __enter__(self) -> Self:
        if _shows_live(self._console):
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, progress: RunProgress) -> None:
        self._progress = progress
        now = time.monotonic()
        if not _shows_live(self._console) and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self._console.print(self._line(progress), markup=False)

    def _line(self, progress: RunProgress) -> str:
        stages = (f"{progress.stages[stage]:,} {_label(stage)}" for stage in self._stages)
        facts = [_share(progress), *stages, *_speed(progress), *_quality(progress), _left(progress)]
        return f"{self._title}: {', '.join(facts)}"

    def __rich__(self) -> RenderableType:
        """The lines on a terminal."""
        progress = self._progress
        head = Table.grid(
            Column(no_wrap=True),
            Column(no_wrap=True, overflow="ellipsis", max_width=24),
            Column(ratio=1, max_width=24),
            Column(no_wrap=True),
            padding=(0, 1),
        )
        if progress is None:
            head.add_row(self._spinner, self._title, "", "starting")
            return head
        bar = ProgressBar(total=1.0, completed=progress.share, width=24)
        head.add_row(self._spinner, self._title, bar, f"{_share(progress)}, {_left(progress)}")
        columns = (Column(_label(name), justify="right", no_wrap=True) for name in self._stages)
        stages = Table(*columns, box=None, pad_edge=False, padding=(0, 1))
        stages.add_row(*(f"{progress.stages[stage]:,}" for stage in self._stages))
        lines = [", ".join(facts) for facts in (_speed(progress), _quality(progress)) if facts]
        texts = (Text(line, no_wrap=True, overflow="ellipsis") for line in lines)
        return Group(head, stages, *texts)


def _label(stage: StageName) -> str:
    return stage.replace("_", " ")


def _share(progress: RunProgress) -> str:
    return f"{progress.phase} {progress.share:.0%}"


def _speed(progress: RunProgress) -> list[str]:
    rates, engines = progress.rates, progress.counts.engines
    if not engines.done:
        return [f"{rates.read:,.0f} read/s"] if rates.read else []
    facts = [f"{rates.done:,.0f} records/s"]
    if engines.cached_share is not None:
        cached = f"{engines.cached_share:.0%} cached"
        facts.append(f"{rates.prompt_tokens:,.0f} prompt tokens/s ({cached})")
        facts.append(f"{rates.completion_tokens:,.0f} completion tokens/s")
    return facts


def _quality(progress: RunProgress) -> list[str]:
    """How records have ended, and the states of the replicas."""
    counts, engines = progress.counts, progress.counts.engines
    facts = []
    if engines.passing_share is not None:
        facts.append(f"{engines.passing_share:.1%} passing")
        facts += [f"{engines.failed:,} failed", plural(engines.repairs, "repair")]
    facts.append(f"{counts.stages.rejected:,} rejected")
    return facts + [f"{plural(n, 'replica')} {state}" for state, n in counts.replicas.items()]


def _left(progress: RunProgress) -> str:
    """Time left, in a unit no finer than the estimate."""
    seconds = progress.seconds_left
    if seconds is None:
        return "time left unknown"
    if seconds < 100:
        return f"{seconds:.0f} s left"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min left"
    return f"{seconds / 3600:.1f} h left"


def _shows_live(console: Console) -> bool:
    """Whether lines can be drawn anew: on a terminal, and in a notebook."""
    return console.is_terminal or console.is_jupyter
