"""When originals in their grace period fall due, and what deleting them will free."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pandas as pd

from recordings.errors import Skipped
from recordings.formatting import plural
from recordings.jobs.engine.kinds import original_is_after
from recordings.pricing import prices
from recordings.table.rows import AuditRow

IN_GRACE = "in-grace"  # the code of ``in_grace``


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Originals that fall due on the same day: how many, and what deleting them will free."""

    recordings: int = 0
    size_bytes: int = 0
    usd_month: float = 0

    def __add__(self, other: "Due") -> "Due":
        return Due(
            recordings=self.recordings + other.recordings,
            size_bytes=self.size_bytes + other.size_bytes,
            usd_month=self.usd_month + other.usd_month,
        )


def due_by_date(rows: Sequence[AuditRow]) -> dict[date, Due]:
    """The originals of these rows, all in their grace period, by the UTC date from which they may be released."""
    found: dict[date, Due] = {}
    for row in rows:
        day = due_date_of(row)
        found[day] = found.get(day, Due()) + Due(recordings=1, size_bytes=original_of(row)[0], usd_month=month_of(row))
    return found


def in_grace(grace_days: int, due: datetime) -> Skipped:
    """The error for an original that was archived too recently to be released: ``due_date_of`` reads the date in it."""
    return Skipped("in-grace", f"archived less than {plural(grace_days, 'day')} ago; due on {due:%Y-%m-%d}")


def due_date_of(row: AuditRow) -> date:
    """The UTC date from which the original may be released, of a row that says ``in-grace``."""
    return date.fromisoformat((row.reason or "").rpartition(" ")[2])  # the reason ends with the date


def due_on(archived: pd.DataFrame, graces: pd.Series) -> dict[date, Due]:
    """The same for archived rows, each with its grace: a frame with state_at, bytes_before, storage_class_before."""
    days = (archived["state_at"] + graces).dt.date
    classes = archived["storage_class_before"].fillna("STANDARD")
    groups: Iterable[Any] = archived["bytes_before"].fillna(0).groupby([days, classes])
    found: dict[date, Due] = {}
    for (day, kept_in), sizes in groups:
        billed = int(sizes.clip(lower=prices().billed_bytes(0, kept_in)).sum())
        usd_month = prices().storage_month(billed, kept_in)
        due = Due(recordings=len(sizes), size_bytes=int(sizes.sum()), usd_month=usd_month)
        found[day] = found.get(day, Due()) + due
    return found


def original_of(row: AuditRow) -> tuple[int, str]:
    """Size and storage class of the original; in a restored row, they are on the other side."""
    original = row.after if original_is_after(row.status) else row.before
    return original.size_bytes or 0, original.storage_class or "STANDARD"


def month_of(row: AuditRow) -> float:
    """Cost of keeping the original for a month, in US dollars at list prices."""
    size_bytes, storage_class = original_of(row)
    return prices().object_month(size_bytes, storage_class)
