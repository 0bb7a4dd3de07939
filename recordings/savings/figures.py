"""The figures of a report on a given day, from sums, prices and runs. Money is in US dollars."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from recordings.gate import Kept, Terms
from recordings.keeping import Group, KeepingCost, ways_of_keeping
from recordings.pricing import MONTH_DAYS, PriceList, break_even_months
from recordings.profiles import DEFAULT, PROFILES
from recordings.savings.sums import DESTROYED_STATES, SMALL_STATES, Savings
from recordings.settings import settings
from recordings.table.rows import EVENTS, Status

RELEASE_EVERY_DAYS = 7  # as prefect.yaml schedules it
_OF_SMALL = ("verified", "read_back", "bytes_before", "bytes_after", "minutes")
_STORED = ("usd_before", "usd_after", "usd_originals", "usd_tags", "usd_saved")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The key figures, for the recordings whose replacement is the current version."""

    start: date
    end: date
    as_of: date
    retention_years: float
    recordings: int  # with a replacement as the current version, of which:
    archived: int
    already_archived: int  # already converted when the first run looked at them, and confirmed
    released: int  # archived, and the original deleted
    verified: int
    read_back: int
    not_small: int  # never archived, or restored
    originals_waiting: int  # not released yet
    originals_overdue: int  # of these, those that a weekly release would have deleted, held ones included
    expired: int  # deleted with all versions, at the end of their retention
    erased: int  # deleted with all versions, on request
    bytes_before: int
    bytes_after: int
    minutes: float
    # per month:
    usd_before: float
    usd_after: float
    usd_originals: float
    usd_tags: float
    saved_now: float  # net of originals and tags
    saved_once_released: float
    # up to ``as_of``, since the first change:
    saved_so_far: float  # by storage, net of originals and tags; negative while originals outweigh it
    spent_on_runs: float  # requests, KMS, retrieval, Fargate time; of a run over other dates too, these dates' share
    spent_standing: float  # the share of worker and server since the table's first run
    # from ``as_of`` until each recording has been kept for ``retention_years``:
    projected_as_is: float
    projected_if_released: float
    runs: int
    minutes_by_runs: float
    keeping_costs: tuple[KeepingCost, ...]  # of the archived recordings, from archiving until their retention ends

    @property
    def net_so_far(self) -> float:
        """Saved by storage, less all spending."""
        return self.saved_so_far - self.spent_on_runs - self.spent_standing

    @property
    def all_in_per_1000_minutes(self) -> float | None:
        """Runs, worker and server per 1,000 minutes that the runs archived; None without any."""
        spent = self.spent_on_runs + self.spent_standing
        return spent / self.minutes_by_runs * 1000 if self.minutes_by_runs else None

    @property
    def break_even_months(self) -> float | None:
        """Months of saving, once originals are released, that pay for the spending; None if they never do."""
        return break_even_months(self.spent_on_runs + self.spent_standing, self.saved_once_released)


def figures(result: Savings, price_list: PriceList, as_of: date, retention_years: float) -> Figures:
    """The key figures on the day ``as_of``."""
    small, runs = result.small, result.runs
    of_state = result.standing.groupby("status")["recordings"].sum()
    month = {name: float(small[name].sum()) for name in _STORED}
    future = projection(result, as_of, retention_years).iloc[-1]
    return Figures(
        start=result.start,
        end=result.end,
        as_of=as_of,
        retention_years=retention_years,
        recordings=int(small["recordings"].sum()),
        **{state: int(of_state.get(state, 0)) for state in (*SMALL_STATES, *DESTROYED_STATES)},
        verified=int(small["verified"].sum()),
        read_back=int(small["read_back"].sum()),
        not_small=len(result.not_small),
        originals_waiting=int(small.loc[small["kept"], "recordings"].sum()),
        originals_overdue=_overdue(small, as_of),
        bytes_before=int(small["bytes_before"].sum()),
        bytes_after=int(small["bytes_after"].sum()),
        minutes=float(small["minutes"].sum()),
        usd_before=month["usd_before"],
        usd_after=month["usd_after"],
        usd_originals=month["usd_originals"],
        usd_tags=month["usd_tags"],
        saved_now=month["usd_saved"],
        saved_once_released=month["usd_saved"] + month["usd_originals"],
        saved_so_far=float(saved_by_day(result, as_of).iloc[-1]),
        spent_on_runs=float(_spent(runs).sum()),
        spent_standing=_standing_day(result, price_list) * _days_running(result, as_of),
        projected_as_is=float(future["as_is_usd"]),
        projected_if_released=float(future["released_usd"]),
        runs=len(runs),
        minutes_by_runs=float((runs["minutes"] * runs["share"]).sum()),
        keeping_costs=keeping_costs(result, price_list, retention_years),
    )


def _overdue(small: pd.DataFrame, as_of: date) -> int:
    """How many originals have waited for longer than for the end of their grace and the next weekly release."""
    planned = pd.Timestamp(as_of) - pd.Timedelta(days=settings().grace_days + RELEASE_EVERY_DAYS)
    return int(small.loc[small["kept"] & (pd.to_datetime(small["since"]) < planned), "recordings"].sum())


def _spent(runs: pd.DataFrame) -> pd.Series:
    """The cost of each run in dollars, multiplied by the ``share`` that belongs to the dates."""
    return (runs["marginal_usd"] + runs["waiting_usd"]) * runs["share"]


def _standing_day(result: Savings, price_list: PriceList) -> float:
    """Dollars per day for these dates' share of worker and server."""
    return price_list.standing_month / MONTH_DAYS * result.standing_share


def _days_running(result: Savings, until: date) -> int:
    """Days since the first run, that day included."""
    return max(0, (until - result.running_since).days + 1) if result.running_since else 0


def saved_by_day(result: Savings, until: date) -> pd.Series:
    """Dollars of storage saved up to each day, from the first change to ``until``."""
    changes = result.sums[result.sums["is_state"]]
    begins = changes.groupby("since")["usd_saved"].sum()
    ends = changes.dropna(subset="until").groupby("until")["usd_saved"].sum()
    first = min(min(begins.index, default=pd.Timestamp(until)), pd.Timestamp(until))
    days = pd.date_range(first, until, freq="D")
    rate = begins.sub(ends, fill_value=0).reindex(days, fill_value=0).cumsum()
    return (rate.shift(fill_value=0) / MONTH_DAYS).cumsum()


def spent_by_day(result: Savings, price_list: PriceList, days: pd.DatetimeIndex) -> pd.Series:
    """Dollars spent on runs, worker and server up to each of these days."""
    on = pd.DatetimeIndex(result.runs["started_at"].dt.tz_convert(None).dt.normalize())
    of_runs = pd.Series(_spent(result.runs).to_numpy(), index=on).sort_index().cumsum()
    up_to = of_runs[~of_runs.index.duplicated(keep="last")].reindex(days, method="ffill").fillna(0)
    running = [_days_running(result, day.date()) for day in days]
    return up_to + _standing_day(result, price_list) * pd.Series(running, index=days)


def projection(result: Savings, as_of: date, retention_years: float) -> pd.DataFrame:
    """What the recordings with a replacement will save from ``as_of`` on, by month, until the end of their retention.

    ``as_is_usd`` includes the originals that exist now, ``released_usd`` assumes that all are deleted on that day.
    """
    small = result.small
    retained_until = pd.to_datetime(small["recording_date"]) + pd.DateOffset(months=round(retention_years * 12))
    left_months = ((retained_until - pd.Timestamp(as_of)).dt.days / MONTH_DAYS).clip(lower=0)
    released = small["usd_saved"] + small["usd_originals"]
    horizon = int(left_months.max() + 1) if len(small) else 0
    rows = [
        {
            "month": month,
            "as_is_usd": (small["usd_saved"] * left_months.clip(upper=month)).sum(),
            "released_usd": (released * left_months.clip(upper=month)).sum(),
        }
        for month in range(horizon + 1)
    ]
    return pd.DataFrame(rows)


def keeping_costs(result: Savings, price_list: PriceList, retention_years: float) -> tuple[KeepingCost, ...]:
    """The cost of other ways of keeping the archived recordings, from archiving on; empty if there are none.

    Covers the recordings of the most frequent class. The results of other profiles are estimated by their usual ratio.
    """
    archived = result.small[result.small["status"].isin(("archived", "released"))]
    if archived.empty:
        return ()
    storage_class, profile = (_most_frequent(archived, column) for column in ("class_after", "profile"))
    terms = Terms(storage_class=storage_class, grace_days=settings().grace_days, profile=PROFILES.get(profile, DEFAULT))
    groups = [
        _group(line, retention_years) for line in archived[archived["class_after"] == storage_class].to_dict("records")
    ]
    return tuple(
        KeepingCost(way=way, usd=sum(way.cost_of_group_usd(each, price_list) for each in groups))
        for way in ways_of_keeping(terms)
    )


def _most_frequent(archived: pd.DataFrame, column: str) -> str:
    return str(archived.groupby(column)["recordings"].sum().idxmax())


def _group(line: Mapping[Any, Any], retention_years: float) -> Group:
    """A line of the sums as a number of equal recordings, each of the average size that S3 bills."""
    count = line["recordings"]
    age_days = (pd.Timestamp(line["since"]) - pd.Timestamp(line["recording_date"])).days
    months_left = max(0, retention_years * 12 - age_days / MONTH_DAYS)
    under = {name: line["billed_after" if name == line["profile"] else f"billed_{name}"] for name in PROFILES}
    return Group(
        recordings=count,
        kept=Kept(
            storage_class=line["class_before"],
            size_bytes=round(line["billed_before"] / count),
            minutes=line["minutes"] / count,
            tags=0,
            age_days=age_days,
            months_left=months_left,
            months_left_archived=months_left,
        ),
        moved_bytes=round(line["billed_moved"] / count),
        bytes_by_profile={name: round(size_bytes / count) for name, size_bytes in under.items()},
    )


def by_status(result: Savings) -> pd.DataFrame:
    """Recordings, bytes and minutes by current state, or by last attempt for recordings without a state."""
    columns = ["recordings", "bytes_before", "bytes_after", "minutes"]
    return result.standing.groupby("status")[columns].sum()


def by_reason(result: Savings) -> pd.DataFrame:
    """Recordings that are not small, by status and code of the reason (may be empty), the most frequent first."""
    standing = result.standing
    large = standing[~standing["status"].isin(SMALL_STATES + DESTROYED_STATES)]
    counts = large.groupby(["status", "code"])["recordings"].sum().reset_index()
    return counts.sort_values("recordings", ascending=False, kind="stable")


def by_day(result: Savings) -> pd.DataFrame:
    """One row per day of calls: all recordings by status; bytes, minutes and dollars of those with a replacement."""
    counts = result.standing.pivot_table(
        index="recording_date", columns="status", values="recordings", aggfunc="sum", fill_value=0
    ).reindex(columns=[status for status in Status if status not in EVENTS], fill_value=0)
    small = result.small.groupby("recording_date")[["recordings", *_OF_SMALL, *_STORED]].sum()
    days = small.rename(columns={"recordings": "small"}).reindex(counts.index, fill_value=0)
    counts.insert(0, "recordings", counts.sum(axis="columns"))
    return counts.join(days).rename_axis(columns=None).reset_index()
