"""`deadline`: what may be written, and the moment that it stands for."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.config.deadline import Deadline
from pipeline.config.loading import job_of, load_job
from pipeline.core.errors import ConfigError

START = datetime(2026, 11, 30, 22, tzinfo=UTC)

# Set forward and back at 01:00 UTC; by half an hour; at midnight; to another day; never.
ZONES = [
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Santiago",
    "America/St_Johns",
    "Asia/Kolkata",
]


DAY_MINUTES = 24 * 60


def job_with(deadline: object):
    return job_of(
        {"name": "n", "input": {"uri": "i"}, "output": {"uri": "o"}, "deadline": deadline}
    )


def moment(text: object, start: datetime = START) -> str:
    deadline = job_with(text).deadline
    assert deadline is not None
    return deadline.after(start).isoformat().removesuffix(":00+00:00")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("07:00 Europe/Berlin", "2026-12-01T06:00"),
        ("7:00 Europe/Berlin", "2026-12-01T06:00"),
        ("23:00  America/New_York", "2026-12-01T04:00"),
        ("07:00", "2026-12-01T07:00"),
        ("07:00 UTC", "2026-12-01T07:00"),
        ("07:00Z", "2026-12-01T07:00"),
        ("07:00 -05:00", "2026-12-01T12:00"),
        ("22:00", "2026-12-01T22:00"),  # never at once
        ("22:01", "2026-11-30T22:01"),
        (1020, "2026-12-01T17:00"),  # what YAML makes of 17:00
        ("+8h", "2026-12-01T06:00"),
        ("+90m", "2026-11-30T23:30"),
        ("+1h30m", "2026-11-30T23:30"),
        ("+2d", "2026-12-02T22:00"),
        ("+0m", "2026-11-30T22:00"),
        ("2026-12-01T07:00+01:00", "2026-12-01T06:00"),
        ("2026-12-01 07:00 Europe/Berlin", "2026-12-01T06:00"),
        (datetime(2026, 12, 1, 6, tzinfo=UTC), "2026-12-01T06:00"),
        ("2026-01-01T07:00Z", "2026-01-01T07:00"),  # past: such a run does nothing
    ],
)
def test_a_deadline_stands_for_one_moment_of_a_run(text, expected):
    assert moment(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tomorrow", 'write "07:00 Europe/Berlin", "+8h" or '),
        ("", 'write "07:00 Europe/Berlin"'),
        ("8h", 'write "07:00 Europe/Berlin", "+8h" or '),
        ("+", "write"),
        (7, "write"),
        (True, "write"),
        ([], "write"),
        ("24:00", "no time of a day; write 00:00 to 23:59"),
        ("07:00 Europe/Berln", "did you mean 'Europe/Berlin'?"),
        ("07:00 ../etc/passwd", "write"),
        ("07:00 am", "am is no zone that is known here"),
        ("07:00 +99:00", "no distance from UTC"),
        ("2026-12-01T07:00", "no zone; write one, as in 2026-12-01T07:00Z"),
        ("2026-12-01T07:00Z Europe/Berlin", "two zones"),
        ("2026-02-31T07:00Z", "no date and time"),
        (f"+{'9' * 50}d", "more than a year"),
        ("+400d", "more than a year"),
    ],
)
def test_anything_else_is_an_error_that_says_what_to_write(text, said):
    with pytest.raises(ConfigError, match="job: deadline: ") as error:
        job_with(text)
    assert said in str(error.value)


@given(st.text(max_size=30) | st.integers() | st.datetimes() | st.booleans())
def test_no_value_makes_a_run_fail_later(value):
    with suppress(ValueError):
        assert Deadline.parse(value).after(START).tzinfo is UTC


def test_a_file_has_a_line_and_an_override_takes_its_place(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text("name: n\ninput: {uri: i}\noutput: {uri: o}\ndeadline: 17:00\n")
    assert str(load_job(file).deadline) == "17:00"
    assert str(load_job(file, ["deadline=+1h"]).deadline) == "+1h"
    file.write_text("name: n\ninput: {uri: i}\noutput: {uri: o}\ndeadline: noon\n")
    with pytest.raises(ConfigError, match=r"job.yaml:4: deadline: write .*it is 'noon'"):
        load_job(file)


def test_a_job_keeps_its_deadline_as_it_is_written():
    assert job_with("07:00 Europe/Berlin").model_dump(mode="json")["deadline"] == (
        "07:00 Europe/Berlin"
    )


def test_a_time_that_clocks_skip_is_when_they_are_set_forward():
    start = datetime(2026, 3, 28, 22, tzinfo=UTC)
    assert moment("02:30 Europe/Berlin", start) == "2026-03-29T01:00"
    assert moment("2026-03-29 02:30 Europe/Berlin") == "2026-03-29T01:00"


def test_of_a_time_that_clocks_show_twice_the_next_one_counts():
    before, between = (datetime(2026, 10, 25, 0, m, tzinfo=UTC) for m in (0, 40))
    assert moment("02:30 Europe/Berlin", before) == "2026-10-25T00:30"
    assert moment("02:30 Europe/Berlin", between) == "2026-10-25T01:30"
    assert moment("2026-10-25 02:30 Europe/Berlin") == "2026-10-25T00:30"


def minute_of(moment: datetime, zone: str) -> int:
    """Of the day, as clocks of the zone show it."""
    there = moment.astimezone(ZoneInfo(zone))
    return there.hour * 60 + there.minute


@given(st.sampled_from(ZONES), st.integers(0, 366 * DAY_MINUTES), st.integers(0, DAY_MINUTES - 1))
@example("America/Santiago", 248 * DAY_MINUTES + 210, 0)
@example("America/St_Johns", 66 * DAY_MINUTES + 300, 150)
@example("Europe/Berlin", 297 * DAY_MINUTES + 45, 150)
def test_it_is_the_next_minute_whose_clock_shows_the_time_or_has_skipped_it(zone, since, minute):
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=since)
    deadline = Deadline.parse(f"{minute // 60:02}:{minute % 60:02} {zone}").after(start)
    minutes = (deadline - start) // timedelta(minutes=1)
    assert 0 < minutes <= DAY_MINUTES + 60
    *others, before, there = (
        minute_of(start + timedelta(minutes=n), zone) for n in range(minutes + 1)
    )
    skipped = (minute - before) % DAY_MINUTES < (there - before) % DAY_MINUTES
    assert there == minute or skipped
    assert minute not in [*others, before][1:]
