"""What a backfill archives, and the portions that it is cut into: each is a day, or a shard of a very large one."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from math import ceil
from typing import Any

from recordings.errors import InvalidRequest
from recordings.finding import Finding
from recordings.formatting import plural
from recordings.pool import Pool
from recordings.recording import Day, days_between
from recordings.retrying import retrying
from recordings.run import Run
from recordings.s3.store import Store

_DAYS_SAMPLED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """What is to be archived, as one run over all of it would be told, and how it is cut."""

    run: Run
    deployment: str  # that archives a portion; empty: this process does
    max_parallel: int
    shard_above: int
    findings: tuple[Finding, ...] = ()  # of preflight


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Portion:
    """A UTC day, or what of it begins with ``shard``: the work of one run."""

    date: date
    shard: str = ""

    def __str__(self) -> str:
        return f"{self.date} {self.shard}".rstrip()


def plan_backfill(run: Run, *, deployment: str, max_parallel: int, shard_above: int) -> Backfill:
    """The backfill, if all its recordings are old enough. Raises InvalidRequest."""
    if run.end_date > run.youngest_day:
        raise InvalidRequest(
            f"end_date {run.end_date} is too late: recordings of the last {run.min_age_days} days are left alone"
        )
    return Backfill(run=run, deployment=deployment, max_parallel=max_parallel, shard_above=shard_above)


def parameters_of(portion: Portion, run: Run) -> dict[str, Any]:
    """The parameters of archive_recordings with which it archives the portion, fit for JSON."""
    return {
        "bucket": run.bucket,
        "prefixes": list(run.prefixes),
        "audit_uri": run.audit_uri,
        "start_date": portion.date.isoformat(),
        "end_date": portion.date.isoformat(),
        "min_age_days": run.min_age_days,
        "profile": run.profile_name,
        "storage_class": run.storage_class,
        "include_held": run.include_held,
        "accept": list(run.accept),
        "batch_size": run.batch_size,
        "readback_percent": run.readback_percent,
        "archive_unprofitable": run.archive_unprofitable,
        "shard": portion.shard,
    }


class Portions:
    """All portions of a backfill, and those that no run had finished when it began. A plain class, as Batch is."""

    __slots__ = ("all", "left")

    def __init__(self, portions: Iterable[Portion], finished: Container[Portion]) -> None:
        self.all = sorted(portions)
        self.left = [portion for portion in self.all if portion not in finished]

    def __str__(self) -> str:
        left = len(dates_of(self.left))
        return f"{plural(left, 'day')} to archive, {len(dates_of(self.all)) - left} finished before"


def dates_of(portions: Iterable[Portion]) -> set[date]:
    """The days of these portions."""
    return {portion.date for portion in portions}


def days_to_cut(run: Run, finished: Container[Portion]) -> tuple[list[date], list[Portion]]:
    """The days whose recordings have to be counted, and the portions that are known: days that were finished whole."""
    days = list(days_between(run.start_date, run.end_date))
    whole = [Portion(date=day) for day in days if Portion(date=day) in finished]
    return [day for day in days if Portion(date=day) not in finished], whole


def find_portions(days: Sequence[date], backfill: Backfill, store: Store, pool: Pool) -> list[Portion]:
    """The portions of these days, each of which is listed. Of its keys only counts are kept."""
    return list(chain.from_iterable(pool.map(lambda day: retrying()(portions_of, day, store, backfill), days)))


def portions_of(day: date, store: Store, backfill: Backfill) -> list[Portion]:
    """The whole day, or its shards of at most ``shard_above`` recordings, as far as two letters can cut it."""
    letters = Counter(
        item["Key"].removeprefix(folder)[:2]
        for prefix in backfill.run.prefixes
        for folder in Day(prefix=prefix, date=day).key_prefixes
        for item in store.list_objects(folder)
    )
    return [Portion(date=day, shard=shard) for shard in shards_of(letters, backfill.shard_above)]


def shards_of(letters: Mapping[str, int], shard_above: int) -> list[str]:
    """The fewest first letters that cut these names (counted by their first two) finely enough."""
    if sum(letters.values()) <= shard_above:
        return [""]
    first = Counter[str]()
    for pair, count in letters.items():
        first[pair[:1]] += count
    fine = {pair for pair in letters if first[pair[:1]] > shard_above}
    return sorted(fine | {letter for letter, count in first.items() if count <= shard_above})


def days_left(run: Run, portions: Portions) -> list[Day]:
    """What is left, below each prefix."""
    left = ((prefix, portion) for prefix in run.prefixes for portion in portions.left)
    return [Day(prefix=prefix, date=portion.date, shard=portion.shard) for prefix, portion in left]


def days_to_sample(portions: Iterable[Portion]) -> list[date]:
    """Some days of these portions, spread evenly: a forecast looks at these days only."""
    days = sorted({portion.date for portion in portions})
    return days[:: max(1, ceil(len(days) / _DAYS_SAMPLED))]
