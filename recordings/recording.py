"""A recording as listed, and the batches that recordings travel in."""

from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from recordings.keys import contact_of, day_folders, time_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """An object under a day's prefix, as the listing showed it. Only a GET or HEAD tells the version id."""

    bucket: str
    key: str
    recording_date: date
    etag: str
    size_bytes: int
    storage_class: str
    destroyed_by: str = ""  # ``run <run_id> erased it on <date>``, where the audit table says so: then a copy lies here
    cases: frozenset[str] = frozenset()  # those that hold it, as the audit table says

    @property
    def contact_id(self) -> str | None:
        """The contact id; None where the key is of no known form."""
        return contact_of(self.key)

    @property
    def recorded_at(self) -> datetime:
        """The time of the call by its key (UTC, to the minute); the end of its day where the key does not say."""
        return time_of(self.key) or datetime.combine(self.recording_date, time.max, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One UTC day below one prefix, or its contact ids that begin with ``shard``: the unit of listing."""

    prefix: str
    date: date
    shard: str = ""

    def __str__(self) -> str:
        return f"{self.date} {self.prefix}{self.shard}"

    @property
    def key_prefixes(self) -> tuple[str, str]:
        """Where Connect puts a day's recordings: those of agents, and those of its IVR."""
        of_agents, of_ivr = day_folders(self.prefix, self.date)
        return of_agents + self.shard, of_ivr + self.shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """UTC dates below a prefix, both inclusive; with a ``shard``, only contact ids that begin with it."""

    prefix: str
    start_date: date
    end_date: date
    shard: str = ""


class Batch:
    """Recordings of one day in key order. A plain class: Prefect walks every field of a dataclass that it receives."""

    __slots__ = ("date", "number", "recordings")

    def __init__(self, day: date, number: int, recordings: Sequence[Recording]) -> None:
        self.date = day
        self.number = number
        self.recordings = tuple(recordings)

    def __str__(self) -> str:
        return f"{self.date} batch {self.number}"


def days_between(start: date, end: date) -> Iterator[date]:
    """Each date from ``start`` to ``end``, both inclusive."""
    return (start + timedelta(days=n) for n in range((end - start).days + 1))


def span(start: date, end: date) -> str:
    """``2026-01-12``, or ``2026-01-12 ... 2026-01-14``; whole months ``2026-01``, or ``2026-01 ... 2026-03``."""
    is_whole = start.day == 1 and end.day == monthrange(end.year, end.month)[1]
    first, last = (f"{each:%Y-%m}" if is_whole else str(each) for each in (start, end))
    return first if first == last else f"{first} ... {last}"


def open_span(start: date | None, end: date | None) -> str:
    """The same for a range that may lack a start or an end: ``from 2026-01-12``; empty if it lacks both."""
    if start and end:
        return span(start, end)
    return f"from {start}" if start else f"up to {end}" if end else ""
