"""Progress of a job: a few lines on a terminal, anywhere else a plain one at intervals."""

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipeline.core.text import harmless
from pipeline.run.progress import RunProgress, StageName

LINE_SECONDS = 30.0
REDRAWN_A_SECOND = 4

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
    """Shows the progress of a run as it comes in."""

    def __init__(
        self, console: Console, doing: str, stages: tuple[StageName, ...] = ANSWERING
    ) -> None:
        self._console = console
        self._doing = harmless(doing)
        self._stages = stages
        self._progress: RunProgress | None = None
        self._last_line = time.monotonic()
        self._spinner = Spinner("dots")
        self._screen = Live(
            get_renderable=self.drawn,
            console=console,
            refresh_per_second=REDRAWN_A_SECOND,
            transient=True,
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._screen.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._screen.stop()

    def __call__(self, progress: RunProgress) -> None:
        self._progress = progress
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self._console.print(self._line(progress), markup=False)

    def _line(self, progress: RunProgress) -> str:
        stages = (f"{progress.stages[stage]:,} {_named(stage)}" for stage in self._stages)
        facts = [_share(progress), *stages, *_speed(progress), *_quality(progress), _left(progress)]
        return f"{self._doing}: {', '.join(facts)}"

    def drawn(self) -> RenderableType:
        """The lines on a terminal, as they are now."""
        progress = self._progress
        head = Table.grid(padding=(0, 1))
        head.add_column(no_wrap=True)
        head.add_column(no_wrap=True, overflow="ellipsis", max_width=24)
        head.add_column(ratio=1, max_width=24)
        head.add_column(no_wrap=True)
        if progress is None:
            head.add_row(self._spinner, self._doing, "", "starting")
            return head
        bar = ProgressBar(total=1.0, completed=progress.share, width=24)
        head.add_row(self._spinner, self._doing, bar, f"{_share(progress)}, {_left(progress)}")
        stages = Table(*map(_named, self._stages), box=None, pad_edge=False, padding=(0, 1))
        for column in stages.columns:
            column.justify, column.no_wrap = "right", True
        stages.add_row(*(f"{progress.stages[stage]:,}" for stage in self._stages))
        said = [", ".join(facts) for facts in (_speed(progress), _quality(progress)) if facts]
        lines = (Text(line, no_wrap=True, overflow="ellipsis") for line in said)
        return Group(head, stages, *lines)


def _named(stage: StageName) -> str:
    return stage.replace("_", " ")


def _share(progress: RunProgress) -> str:
    return f"{progress.phase} {progress.share:.0%}"


def _speed(progress: RunProgress) -> list[str]:
    rates, engines = progress.rates, progress.counts.engines
    if not engines.done:
        return [f"{rates.read:,.0f} read/s"] if rates.read else []
    facts = [f"{rates.done:,.0f} records/s"]
    if engines.cached_share is not None:
        facts.append(
            f"{rates.prompt_tokens:,.0f} prompt tokens/s ({engines.cached_share:.0%} cached)"
        )
        facts.append(f"{rates.completion_tokens:,.0f} completion tokens/s")
    return facts


def _quality(progress: RunProgress) -> list[str]:
    """What became of records, and of the engines that are not at work."""
    engines, stages = progress.counts.engines, progress.counts.stages
    facts = []
    if engines.passing_share is not None:
        facts.append(f"{engines.passing_share:.1%} passing")
        facts += [f"{engines.failed:,} failed", f"{engines.repairs:,} repairs"]
    facts.append(f"{stages.rejected:,} rejected")
    return [*facts, *_replicas(progress)]


def _replicas(progress: RunProgress) -> Iterator[str]:
    for state, replicas in progress.counts.replicas.items():
        yield f"{replicas:,} {'replica' if replicas == 1 else 'replicas'} {state}"


def _left(progress: RunProgress) -> str:
    """Time left, no finer than it is known."""
    seconds = progress.seconds_left
    if seconds is None:
        return "time left unknown"
    if seconds < 100:
        return f"{seconds:.0f} s left"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min left"
    return f"{seconds / 3600:.1f} h left"
