"""The current state of the recordings of some days, whichever run produced it: each recording counts once."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date

import pandas as pd

from recordings.recording import Day
from recordings.run import Run
from recordings.s3.session import Session
from recordings.table.reading import current, read_audit
from recordings.table.rows import SMALL

_COLUMNS = (
    *("bucket", "key", "status", "state_at", "started_at"),
    *("bytes_before", "bytes_after", "duration_after_s"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Counts by status: a recording's state, or its last attempt where it has none. Sizes are of archived ones."""

    counts: Counter[str] = field(default_factory=Counter)
    minutes: float = 0
    bytes_before: int = 0
    bytes_after: int = 0

    def __add__(self, other: "Standing") -> "Standing":
        return Standing(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)})


def standing_of(day: date, shards: Iterable[str], run: Run, session: Session | None) -> Mapping[str, Standing]:
    """The standing of the day's recordings below the run's prefixes, by shard; the shard ``""`` is all of them."""
    now = _now(read_audit(run.audit_uri, day, day, columns=_COLUMNS, session=session).query("bucket == @run.bucket"))
    return {shard: _sums(now[now["key"].str.startswith(_places(day, shard, run))]) for shard in shards}


def _places(day: date, shard: str, run: Run) -> tuple[str, ...]:
    return tuple(place for prefix in run.prefixes for place in Day(prefix=prefix, date=day, shard=shard).key_prefixes)


def _now(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per recording: its current state, or its last attempt where it has no state."""
    states = current(rows)
    attempts = rows[~rows["key"].isin(states["key"])].sort_values("started_at", kind="stable")
    return pd.concat([states, attempts.drop_duplicates("key", keep="last")])


def _sums(now: pd.DataFrame) -> Standing:
    small = now[now["status"].isin(SMALL)]
    return Standing(
        counts=Counter(now["status"].to_list()),
        minutes=float(small["duration_after_s"].sum()) / 60,
        bytes_before=int(small["bytes_before"].sum()),
        bytes_after=int(small["bytes_after"].sum()),
    )
