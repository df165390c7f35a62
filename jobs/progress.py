"""Progress of a job: a few lines on a terminal, elsewhere one line at intervals and whenever the
run begins to wait for something else.
"""

import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from jobs.messages import LogLines
from pipeline.core.text import harmless, money, plural, rough_duration
from pipeline.runs.progress import Phase, RunProgress, StageName

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


STARTING = "starting Ray"
"""What a run waits for before anything has been counted."""

PHRASES: dict[Phase, str] = {
    "starting": "waiting for places",
    "arranging": "arranging",
    "loading": "loading the model",
}
"""Phases in which nothing is done that could be counted."""


class JobProgress:
    """Shows the latest progress of a run while its block lasts, and from its start on what it waits
    for.
    """

    def __init__(
        self, console: Console, title: str, stages: tuple[StageName, ...] = ANSWERING
    ) -> None:
        self._console = console
        self._title = harmless(title)
        self._stages = stages
        self._progress: RunProgress | None = None
        self._wait: str | None = None  # what the run waits for, if that cannot be counted
        self._since = self._last_line = time.monotonic()
        self._spinner = Spinner("dots")
        self._live = Live(
            self, console=console, refresh_per_second=REDRAWS_PER_SECOND, transient=True
        )

    def __enter__(self) -> Self:
        if _shows_live(self._console):
            self._live.start()
        self.waits_for(STARTING)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, progress: RunProgress) -> None:
        before = self._progress
        self._progress = progress
        if before is None or before.phase != progress.phase:
            self.waits_for(PHRASES.get(progress.phase))
        elif time.monotonic() - self._last_line >= LINE_SECONDS:
            self._print_line()

    def waits_for(self, what: str | None) -> None:
        """What the run waits for from now on; None if its progress can be counted."""
        self._wait, self._since = what, time.monotonic()
        self._print_line()

    def _print_line(self) -> None:
        """One line, where none can be drawn anew."""
        self._last_line = time.monotonic()
        if isinstance(self._console.file, LogLines):
            if not self._console.quiet:
                self._console.file.event(job=self._title, **self._facts())
        elif not _shows_live(self._console):
            self._console.print(f"{self._title}: {self._line()}", markup=False)

    def _line(self) -> str:
        progress = self._progress
        if progress is None:
            return self._waiting()
        stages = (f"{progress.stages[stage]:,} {_label(stage)}" for stage in self._stages)
        facts = [self._phase(progress), *stages, *_speed(progress), *_quality(progress)]
        facts += _limit(progress)
        return ", ".join([*facts, _left(progress), *_deadline(progress)])

    def _facts(self) -> dict[str, Any]:
        """The same for a machine."""
        progress, facts = self._progress, {"waits_for": self._wait, "seconds": self._seconds()}
        if progress is None:
            return facts
        engines = progress.counts.engines
        return {
            **facts,
            "phase": progress.phase,
            "share": round(progress.share, 4),
            "stages": {stage: progress.stages[stage] for stage in self._stages},
            "failed": engines.failed,
            "rejected": progress.counts.stages.rejected,
            "repairs": engines.repairs,
            "per_second": progress.rates._asdict(),
            "replicas": dict(progress.counts.replicas),
            "limit": progress.counts.waits_for or None,
            "rate_limited": progress.counts.rate_limited,
            "seconds_left": progress.seconds_left,
            **_deadline_facts(progress),
            **_spending_facts(progress),
        }

    def _seconds(self) -> int:
        return round(time.monotonic() - self._since)

    def _waiting(self) -> str:
        seconds = self._seconds()
        return f"{self._wait}, {seconds} s" if seconds else f"{self._wait}"

    def _phase(self, progress: RunProgress) -> str:
        return self._waiting() if self._wait else f"{progress.phase} {progress.share:.0%}"

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
            head.add_row(self._spinner, self._title, "", self._waiting())
            return head
        bar = ProgressBar(total=1.0, completed=progress.share, width=24)
        left = "" if self._wait else f", {_left(progress)}"
        head.add_row(self._spinner, self._title, bar, self._phase(progress) + left)
        columns = (Column(_label(name), justify="right", no_wrap=True) for name in self._stages)
        stages = Table(*columns, box=None, pad_edge=False, padding=(0, 1))
        stages.add_row(*(f"{progress.stages[stage]:,}" for stage in self._stages))
        facts = (_speed(progress), _quality(progress), _limit(progress), _deadline(progress))
        lines = [", ".join(each) for each in facts if each]
        texts = (Text(line, no_wrap=True, overflow="ellipsis") for line in lines)
        return Group(head, stages, *texts)


def _label(stage: StageName) -> str:
    return stage.replace("_", " ")


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
    spending = counts.spending
    if spending.budget is not None:
        facts.append(f"{money(spending.total)} of {money(spending.budget)} spent")
    return facts + [f"{plural(n, 'replica')} {state}" for state, n in counts.replicas.items()]


def _spending_facts(progress: RunProgress) -> dict[str, float]:
    """For a machine, where there is a budget."""
    spending = progress.counts.spending
    if spending.budget is None:
        return {}
    return {"spent": round(spending.total, 6), "budget": spending.budget}


def _limit(progress: RunProgress) -> list[str]:
    """The limit of an endpoint that holds the run back, and how often one was passed."""
    counts = progress.counts
    refused = f"{counts.rate_limited:,} refused with 429" if counts.rate_limited else ""
    return [fact for fact in (harmless(counts.waits_for), refused) if fact]


def _left(progress: RunProgress) -> str:
    """Time left, in a unit no finer than the estimate."""
    seconds = progress.seconds_left
    return "time left unknown" if seconds is None else f"{rough_duration(seconds)} left"


def _deadline(progress: RunProgress) -> list[str]:
    """Whether the run will be done by its deadline, if it has one: its clock times as a range, and
    what would do it.
    """
    if progress.deadline is None:
        return []
    deadline, now = progress.deadline, datetime.now(UTC)
    zone = deadline.tzinfo
    facts = [f"deadline {_clock(deadline, now, zone)} {deadline:%Z}"]
    if (seconds := progress.seconds_left) is None:
        return facts
    range_ = progress.time_left
    each = (seconds,) if range_ is None else (range_.expected, range_.low, range_.high)
    done, *between = (_clock(now + timedelta(seconds=s), now, zone) for s in each)
    facts.insert(0, f"done by {done}" + (f" ({' to '.join(between)})" if between else ""))
    needed = progress.replicas_needed
    return facts + ([f"{plural(needed, 'replica')} would do"] if needed else [])


def _clock(moment: datetime, now: datetime, zone: tzinfo | None) -> str:
    """A moment to come on the clocks of a zone, with the date unless it is within the next day."""
    there = moment.astimezone(zone)
    return f"{there:%H:%M}" if moment - now < timedelta(hours=20) else f"{there:%d %b %H:%M}"


def _deadline_facts(progress: RunProgress) -> dict[str, Any]:
    """The same for a machine, in seconds."""
    if progress.deadline is None:
        return {}
    left = progress.time_left
    return {
        "seconds_left_low": left.low if left else None,
        "seconds_left_high": left.high if left else None,
        "seconds_to_deadline": progress.seconds_to_deadline,
        "replicas_needed": progress.replicas_needed,
    }


def _shows_live(console: Console) -> bool:
    """Whether lines can be drawn anew: on a terminal, and in a notebook."""
    return (console.is_terminal or console.is_jupyter) and not console.quiet
