"""Progress on a terminal, and as plain lines anywhere else."""

import io
import json
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from jobs import progress
from jobs.messages import LogLines
from jobs.progress import PLANNING, JobProgress
from pipeline.cluster.counters import EngineCounts, RunCounts, StageCounts
from pipeline.core.accounting import Totals
from pipeline.runs import progress as run_progress
from pipeline.runs.progress import InputBounds, Rates, RunProgress
from pipeline.runs.time_left import RateSpread
from tests.support.jobs import job, job_file, on_a_terminal, rows, write_jsonl

ANSWERING = RunProgress(
    Totals(Counter(answered=5000, failed=20)),
    RunCounts(
        StageCounts(
            90_000, stored_bytes=200, current=9_880, rejected=120, work=80_000, arranged=80_000
        ),
        EngineCounts(21_000, 19_900, 100, 5_020, 22_500, 50_000_000, 32_000_000, 4_000_000),
        in_engines=1000,
        replicas={"answering": 2, "loading": 1},
    ),
    Rates(read=0, stored_bytes=0, done=50, prompt_tokens=125_000, completion_tokens=10_000),
    InputBounds(200),
)
WAITING = RunProgress(Totals(), RunCounts(), Rates(), InputBounds(200))
LOADING = RunProgress(
    Totals(),
    RunCounts(
        StageCounts(40_000, stored_bytes=200, work=40_000),
        EngineCounts(asked=32),
        replicas={"loading": 1},
    ),
    Rates(),
    InputBounds(200),
)
READING = RunProgress(
    Totals(),
    RunCounts(StageCounts(40_000, stored_bytes=100, work=40_000), replicas={"placed": 1}),
    Rates(read=8_000, stored_bytes=10),
    InputBounds(200),
)


def line(run: RunProgress, *stages) -> str:
    out = io.StringIO()
    with JobProgress(Console(file=out, soft_wrap=True), "survey", *stages) as shown:
        shown(run)
    first, last = out.getvalue().splitlines()
    assert first == "survey: starting Ray"
    return last


def test_without_a_terminal_one_plain_line_says_everything():
    assert line(ANSWERING) == (
        "survey: answering 25%, 90,000 read, 9,880 current, 80,000 work, 80,000 arranged, "
        "1,000 in engines, 20,000 answered, 5,020 stored, 50 records/s, "
        "125,000 prompt tokens/s (64% cached), 10,000 completion tokens/s, 99.5% passing, "
        "100 failed, 2,500 repairs, 120 rejected, 2 replicas answering, 1 replica loading, "
        "20 min left"
    )


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (2, "done by 23:20 (23:17 to 23:23), deadline 01:00 CET"),
        (0.25, "done by 23:20 (23:17 to 23:23), deadline 23:15 CET, 4 replicas would do"),
        (72, "done by 23:20 (23:17 to 23:23), deadline 30 Nov 23:00 CET"),
    ],
)
def test_with_a_deadline_a_line_says_whether_the_run_will_be_done_by_then(hours, said, monkeypatch):
    """Twenty minutes are left, at a rate whose intervals differ by a third."""
    now = datetime(2026, 11, 27, 22, tzinfo=UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, _=None):
            return now

    for module in (progress, run_progress):
        monkeypatch.setattr(module, "datetime", Clock)
    until = (now + timedelta(hours=hours)).astimezone(ZoneInfo("Europe/Berlin"))
    spread = RateSpread(rate=50, deviation=1 / 3, intervals=20)
    if hours == 2:
        assert line(replace(ANSWERING, deadline=until)).endswith(
            ", 20 min left, done by 23:20, deadline 01:00 CET"  # until the spread is known
        )
    assert line(replace(ANSWERING, deadline=until, spread=spread)).endswith(f", {said}")


def test_until_engines_have_work_the_line_is_about_reading():
    assert line(READING) == (
        "survey: reading 50%, 40,000 read, 0 current, 40,000 work, 0 arranged, 0 in engines, "
        "0 answered, 0 stored, 8,000 read/s, 0 rejected, 1 replica placed, time left unknown"
    )


def test_a_plan_shows_only_its_own_stages():
    assert "work, 8,000 read/s" in line(READING, PLANNING)


def test_a_line_is_printed_for_each_phase_and_then_no_more_often_than_every_half_minute():
    out = io.StringIO()
    with JobProgress(Console(file=out, soft_wrap=True), "survey") as shown:
        for run in (WAITING, READING, LOADING, ANSWERING):
            for _ in range(50):
                shown(run)
        shown.waits_for("writing the report")
    phases = [line.split(": ")[1].split(",")[0] for line in out.getvalue().splitlines()]
    assert phases == [
        *("starting Ray", "waiting for places", "reading 50%", "loading the model"),
        *("answering 25%", "writing the report"),
    ]


def test_a_wait_says_how_long_it_has_lasted(monkeypatch):
    out, clock = io.StringIO(), iter(range(0, 10_000, 40))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with JobProgress(Console(file=out, soft_wrap=True), "survey") as shown:
        shown(LOADING)
        shown(LOADING)
    assert re.search(r"survey: loading the model, \d+ s, ", out.getvalue())


def test_no_more_is_stored_than_answered():
    """A receipt may come before the heartbeat of its replica."""
    counts = RunCounts(StageCounts(40, work=40), EngineCounts(40, 10, 0, 5))
    ahead = RunProgress(Totals(Counter(answered=28, failed=2)), counts, Rates(), InputBounds(9))
    assert (ahead.stages["answered"], ahead.stages["stored"]) == (30, 30)


def test_the_limit_that_binds_is_named_on_a_line_of_its_own():
    counts = replace(
        ANSWERING.counts,
        waits_for="waits for 90,000 tokens a minute at api.example.org",
        rate_limited=12,
    )
    run = replace(ANSWERING, counts=counts)
    said = "waits for 90,000 tokens a minute at api.example.org, 12 refused with 429"
    assert f", {said}, 20 min left" in line(run)
    out = io.StringIO()
    with JobProgress(Console(file=out, force_terminal=True, width=100), "survey") as shown:
        shown(run)
    assert re.search(rf"^.*{said}\s*$", out.getvalue(), re.MULTILINE)


def test_a_machine_gets_every_line_as_json():
    out = io.StringIO()
    console = Console(file=LogLines(out), soft_wrap=True)
    with JobProgress(console, "survey") as shown:
        shown(ANSWERING)
    console.print("answers   [bold]file:///store[/]\nrun r1: done")
    started, answering, *messages = map(json.loads, out.getvalue().splitlines())
    assert started["waits_for"] == "starting Ray"
    assert answering["phase"] == "answering"
    assert answering["stages"]["stored"] == 5_020
    assert answering["per_second"]["done"] == 50
    assert [message["message"] for message in messages] == [
        "answers   file:///store",
        "run r1: done",
    ]
    assert all(datetime.fromisoformat(line["time"]).tzinfo for line in (started, answering))


@pytest.mark.parametrize("file", [io.StringIO(), LogLines(io.StringIO())])
def test_a_quiet_console_shows_nothing(file):
    with JobProgress(Console(file=file, quiet=True), "survey") as shown:
        shown(ANSWERING)
    assert not getattr(file, "_file", file).getvalue()


@pytest.mark.parametrize("width", [80, 100])
def test_the_numbers_of_a_large_run_fit_a_narrow_terminal(width):
    """Text that is too long ends in an ellipsis; nothing wraps."""
    out = io.StringIO()
    console = Console(file=out, width=width, soft_wrap=True)
    shown = JobProgress(console, "a job whose name goes on and on")
    shown(ANSWERING)
    out.truncate(out.seek(0))  # the lines alone that a terminal shows
    console.print(shown, soft_wrap=False)
    drawn = [text.rstrip() for text in out.getvalue().splitlines()]
    assert len(drawn) == 5
    assert all(len(text) <= width for text in drawn)
    head, _, numbers, speed, quality = drawn
    assert head.endswith("answering 25%, 20 min left")
    assert numbers.split() == ["90,000", "9,880", "80,000", "80,000", "1,000", "20,000", "5,020"]
    assert speed.startswith("50 records/s, 125,000 prompt tokens/s (64% cached), 10,000 completion")
    assert quality.startswith("99.5% passing, 100 failed, 2,500 repairs, 120 rejected")


def test_a_terminal_shows_stages_and_rates_and_no_messages_of_ray(shown_run):
    screen = shown_run.screen
    assert "━" in screen
    header = r"read +current +work +arranged +in engines +answered +stored"
    waiting = r"41 +0 +40 +40 +[1-9]\d* +[1-9]\d* +0"  # some answered, none stored yet
    assert re.search(rf"{header}\s+{waiting}", screen)
    assert re.search(r"\d+ records/s, [\d,]+ prompt tokens/s \(40% cached\), [\d,]+ compl", screen)
    assert re.search(r"[\d.]+% passing, \d+ failed, [1-9]\d* repairs, 1 rejected", screen)
    assert re.search(r"answering \d+%, \d+ s left", screen)
    assert re.search(r"done by \d\d:\d\d, deadline \d\d:\d\d UTC", screen)
    assert "core_worker" not in screen
    assert "WARNING" not in screen


def test_a_plan_on_a_terminal_shows_how_much_is_read(tmp_path, ray_cluster):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(3000)))
    file = job_file(tmp_path / "job.yaml", job(tmp_path / "shards", tmp_path / "store"))
    screen, _ = on_a_terminal("plan", file, address=ray_cluster.address)
    assert re.search(r"read +current +work\s+[1-3],000 +0 +[1-3],000\s", screen)
