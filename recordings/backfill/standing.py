"""The current state of the recordings of a backfill, whichever run produced it: each recording counts once."""

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from datetime import date

import pandas as pd

from recordings.backfill.portions import Backfill, Portion, Portions
from recordings.errors import AuditDamaged
from recordings.finding import Finding, Severity
from recordings.recording import Day
from recordings.run import Run
from recordings.table.files import AuditFiles
from recordings.table.reading import Only, read_days, states_or_attempts
from recordings.table.rows import EVENTS, SMALL

_COLUMNS = (
    *("bucket", "key", "status", "state_at", "started_at"),
    *("bytes_before", "bytes_after", "duration_after_s"),
)
_DAYS_AT_ONCE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Counts by status: a recording's state, or its last attempt where it has none. Sizes are of archived ones."""

    counts: Counter[str] = field(default_factory=Counter)
    minutes: float = 0
    bytes_before: int = 0
    bytes_after: int = 0

    def __add__(self, other: "Standing") -> "Standing":
        return Standing(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)})


def stand(
    backfill: Backfill, portions: Portions, files: AuditFiles
) -> tuple[Mapping[Portion, Standing], Mapping[date, str]]:
    """What the recordings of each portion are now, by the audit table; for days that it does not show, why not."""
    damaged: dict[date, str] = {}
    shards: dict[date, list[str]] = {}
    for portion in portions.all:
        shards.setdefault(portion.date, []).append(portion.shard)

    def read(day: date) -> Mapping[str, Standing]:
        try:
            return standing_of(day, shards[day], backfill.run, files)
        except AuditDamaged as error:
            damaged[day] = str(error)
            return {}

    with ThreadPoolExecutor(_DAYS_AT_ONCE) as threads:  # not all that the pool has: each holds the rows of its day
        found = list(zip(shards, threads.map(read, shards), strict=True))
    stands = {Portion(date=day, shard=shard): each for day, of_day in found for shard, each in of_day.items()}
    return stands, damaged


def standing_of(day: date, shards: Iterable[str], run: Run, files: AuditFiles) -> Mapping[str, Standing]:
    """The standing of the day's recordings below the run's prefixes, by shard; the shard ``""`` is all of them."""
    now = _now(read_days(files, [day], _COLUMNS, Only(bucket=run.bucket)))
    return {shard: _sums(now[now["key"].str.startswith(_places(day, shard, run))]) for shard in shards}


def _places(day: date, shard: str, run: Run) -> tuple[str, ...]:
    return tuple(place for prefix in run.prefixes for place in Day(prefix=prefix, date=day, shard=shard).key_prefixes)


def _now(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per recording: its current state, or its last attempt where it has no state."""
    return states_or_attempts(rows, rows[~rows["status"].isin(EVENTS)])


def _sums(now: pd.DataFrame) -> Standing:
    small = now[now["status"].isin(SMALL)]
    return Standing(
        counts=Counter(now["status"].to_list()),
        minutes=float(small["duration_after_s"].sum()) / 60,
        bytes_before=int(small["bytes_before"].sum()),
        bytes_after=int(small["bytes_after"].sum()),
    )


def damage_found(damaged: Mapping[date, str]) -> list[Finding]:
    """Why a backfill could not finish these days, before it has begun."""
    return [
        Finding(
            code="audit-damaged",
            severity=Severity.WARN,
            sentence=f"The backfill cannot finish {day} until its audit table can be read.",
            way_out=f"{why}.",
        )
        for day, why in sorted(damaged.items())
    ]
