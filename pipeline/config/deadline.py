"""`deadline`: the moment by which a run has ended, whether or not its input is done.

`+8h` counts from the start of the run, `07:00 Europe/Berlin` is the next time that clocks there
show this, and `2026-12-01T07:00+01:00` is one moment. A time without a zone is UTC: the machines of
a cluster need not agree about any other.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from typing import Annotated, Self, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import PlainSerializer, PlainValidator

_SPAN = re.compile(r"\+(?=.)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.IGNORECASE)
_TIME = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?(?: ?([A-Z+-]\S*))?", re.IGNORECASE)
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\S+)(?: (\S+))?", re.IGNORECASE)

_LONGEST = timedelta(days=366)

_FORMS = 'write "07:00 Europe/Berlin", "+8h" or "2026-12-01T07:00+01:00"'


@dataclass(frozen=True, slots=True)
class ClockTime:
    """A time that the clocks of a zone show every day, or on most days."""

    time: time
    zone: tzinfo

    def after(self, start: datetime) -> datetime:
        """The next moment at which the clocks show this time, in UTC.

        They show it twice where they are set back. Where they are set forward over it, it is the
        moment at which that happens.
        """
        day, moments = start.astimezone(self.zone).date() - timedelta(days=1), list[datetime]()
        while not moments:
            moments = [moment for moment in self._moments(day) if moment > start]
            day += timedelta(days=1)
        return min(moments)

    def _moments(self, day: date) -> list[datetime]:
        """When clocks show this time on that day, in order; see `after`."""
        local = datetime.combine(day, self.time, self.zone)
        first, second = (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
        is_shown = first.astimezone(self.zone).replace(fold=0) == local
        return [first, second] if is_shown else [_change_between(second, first, self.zone)]


def _change_between(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The first second of a zone's new offset, where its clocks change between two moments."""
    before, after = (moment.replace(microsecond=0) for moment in (before, after))
    old = before.astimezone(zone).utcoffset()
    while (seconds := (after - before) // timedelta(seconds=1)) > 1:
        middle = before + timedelta(seconds=seconds // 2)
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after


When: TypeAlias = timedelta | ClockTime | datetime


@dataclass(frozen=True, slots=True)
class Deadline:
    """A deadline as it is written, and when that is: after the start, at a time, or one moment."""

    text: str
    when: When

    @classmethod
    def parse(cls, value: object) -> Self:
        """Raises `ValueError` that says what to write instead.

        YAML has read some already: `17:00` as a number of minutes, a date with a time as such.
        """
        if isinstance(value, cls):
            return value
        text = _as_text(value)
        for form, read in ((_SPAN, _span), (_TIME, _clock_time), (_MOMENT, _moment)):
            if match := form.fullmatch(text):
                return cls(text, read(*match.groups()))
        raise ValueError(_FORMS)

    def after(self, start: datetime) -> datetime:
        """The moment in UTC, for a run with this start, which knows its zone."""
        match self.when:
            case timedelta():
                return start.astimezone(UTC) + self.when
            case ClockTime():
                return self.when.after(start)
            case datetime():
                return self.when.astimezone(UTC)

    @property
    def zone(self) -> tzinfo:
        """The zone in which a person thinks of it."""
        match self.when:
            case ClockTime():
                return self.when.zone
            case datetime():
                return self.when.tzinfo or UTC
            case _:
                return UTC

    def __str__(self) -> str:
        return self.text


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, int) and not isinstance(value, bool) and 60 <= value < 86_400:
        # What YAML makes of 17:00, and of 17:00:30.
        minutes, seconds = (value, 0) if value < 24 * 60 else divmod(value, 60)
        if minutes < 24 * 60:
            return f"{minutes // 60:02}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")
    if not isinstance(value, str):
        raise ValueError(_FORMS)
    return " ".join(value.split())


def _span(*parts: str | None) -> timedelta:
    days, hours, minutes, seconds = (int((part or "0")[:9]) for part in parts)
    try:
        span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        span = timedelta.max
    if span > _LONGEST:
        raise ValueError("more than a year from the start; write a nearer one, as in +8h")
    return span


def _clock_time(hour: str, minute: str, second: str | None, zone: str | None) -> ClockTime:
    try:
        at = time(int(hour), int(minute), int(second or 0))
    except ValueError:
        raise ValueError("no time of a day; write 00:00 to 23:59, as in 07:00") from None
    return ClockTime(at, _zone(zone) if zone else UTC)


def _moment(day: str, at: str, zone: str | None) -> datetime:
    try:
        moment = datetime.fromisoformat(f"{day}T{at}")
    except ValueError:
        raise ValueError("no date and time; write them as in 2026-12-01T07:00+01:00") from None
    if (moment.tzinfo is None) == (zone is None):
        problem = "two zones" if zone else "no zone"
        raise ValueError(f"{problem}; write one, as in {day}T07:00Z or {day} 07:00 Europe/Berlin")
    if moment.tzinfo or zone is None:
        return moment
    # The same rule as for a time of every day, where clocks are set forward over it.
    clock, there = ClockTime(moment.time(), _zone(zone)), moment.date()
    return clock._moments(there)[0].astimezone(clock.zone)


def _zone(name: str) -> tzinfo:
    """A zone by its name, or by its distance from UTC."""
    if name.upper() in ("Z", "UTC"):
        return UTC
    if name[0] in "+-":
        try:
            return datetime.fromisoformat(f"2000-01-01T00:00{name}").tzinfo or UTC
        except ValueError:
            raise ValueError(f"{name} is no distance from UTC; write it as in +01:00") from None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        close = get_close_matches(name, sorted(available_timezones()), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "write one as in Europe/Berlin, or UTC"
        raise ValueError(f"{name} is no zone that is known here; {hint}") from None


DeadlineKey: TypeAlias = Annotated[Deadline, PlainValidator(Deadline.parse), PlainSerializer(str)]
"""As a job file holds it."""
