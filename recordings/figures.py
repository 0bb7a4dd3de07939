"""The figures of a report: what sums, prices and runs come to on a given day. Money is in US dollars."""

from dataclasses import dataclass
from datetime import date

import pandas as pd

from recordings.pricing import MONTH_DAYS, PriceList, break_even_months
from recordings.savings import Savings

_STORED = ("usd_before", "usd_after", "usd_originals", "usd_tags", "usd_saved")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures that matter, of the recordings whose replacement is what lies in the bucket."""

    start: date
    end: date
    as_of: date
    retention_years: float
    recordings: int
    bytes_before: int
    bytes_after: int
    minutes: float
    # a month:
    usd_before: float
    usd_after: float
    usd_originals: float
    usd_tags: float
    saved_now: float  # net of originals and tags
    saved_once_released: float
    # up to ``as_of``, since the first change:
    saved_so_far: float  # by storage, net of originals and tags; negative while originals outweigh it
    spent_on_runs: float  # requests, KMS, retrieval, Fargate time
    spent_standing: float  # worker and server, since the first run
    # from ``as_of`` until each recording has been kept for ``retention_years``:
    projected_as_is: float
    projected_if_released: float
    runs: int
    minutes_by_runs: float

    @property
    def net_so_far(self) -> float:
        """Saved by storage, less all that was spent on it."""
        return self.saved_so_far - self.spent_on_runs - self.spent_standing

    @property
    def all_in_per_1000_minutes(self) -> float | None:
        """Runs, worker and server per 1,000 minutes that the runs archived; None without any."""
        spent = self.spent_on_runs + self.spent_standing
        return spent / self.minutes_by_runs * 1000 if self.minutes_by_runs else None

    @property
    def break_even_months(self) -> float | None:
        """Months of saving, once originals are released, that pay for what was spent; None if they never do."""
        return break_even_months(self.spent_on_runs + self.spent_standing, self.saved_once_released)


def figures(result: Savings, price_list: PriceList, as_of: date, retention_years: float) -> Figures:
    """The key figures on this day."""
    small, runs = result.small, result.runs
    month = {name: float(small[name].sum()) for name in _STORED}
    future = projection(result, as_of, retention_years).iloc[-1]
    return Figures(
        start=result.start,
        end=result.end,
        as_of=as_of,
        retention_years=retention_years,
        recordings=int(small["recordings"].sum()),
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
        spent_on_runs=float((runs["marginal_usd"] + runs["waiting_usd"]).sum()),
        spent_standing=price_list.standing_month * _days_running(runs, as_of) / MONTH_DAYS,
        projected_as_is=float(future["as_is_usd"]),
        projected_if_released=float(future["released_usd"]),
        runs=len(runs),
        minutes_by_runs=float(runs["minutes"].sum()),
    )


def _days_running(runs: pd.DataFrame, as_of: date) -> int:
    """Days since the first run, that day included."""
    return max(0, (as_of - min(runs["started_at"]).date()).days + 1) if len(runs) else 0


def saved_by_day(result: Savings, until: date) -> pd.Series:
    """Dollars that storage has cost less up to each day, from the first change to ``until``."""
    changes = result.sums[result.sums["is_state"]]
    begins = changes.groupby("since")["usd_saved"].sum()
    ends = changes.dropna(subset="until").groupby("until")["usd_saved"].sum()
    days = pd.date_range(min(begins.index, default=pd.Timestamp(until)), until, freq="D")
    rate = begins.sub(ends, fill_value=0).reindex(days, fill_value=0).cumsum()
    return (rate.shift(fill_value=0) / MONTH_DAYS).cumsum()


def spent_by_day(result: Savings, price_list: PriceList, days: pd.DatetimeIndex) -> pd.Series:
    """Dollars spent on runs, worker and server up to each of these days."""
    if result.runs.empty:
        return pd.Series(0.0, index=days)
    on = result.runs["started_at"].dt.tz_convert(None).dt.normalize()
    of_runs = (result.runs["marginal_usd"] + result.runs["waiting_usd"]).groupby(on).sum()
    standing = pd.Series(price_list.standing_month / MONTH_DAYS, index=days).where(days >= min(on), 0)
    early = of_runs[of_runs.index < days[0]].sum()
    return (of_runs.reindex(days, fill_value=0) + standing).cumsum() + early


def projection(result: Savings, as_of: date, retention_years: float) -> pd.DataFrame:
    """What the recordings that are small now will save from ``as_of`` on, by month, until each was kept long enough.

    ``as_is_usd`` with the originals that lie there now, ``released_usd`` if they were deleted on that day.
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


def by_status(result: Savings) -> pd.DataFrame:
    """What is true now, by state, and what became of those without one: recordings, bytes, minutes."""
    columns = ["recordings", "bytes_before", "bytes_after", "minutes"]
    return result.standing.groupby("status")[columns].sum()


def by_reason(result: Savings) -> pd.DataFrame:
    """Recordings that are not archived, by status and code of the reason, the most frequent first."""
    attempts = result.standing[~result.standing["is_state"]]
    counts = attempts.groupby(["status", "code"], dropna=False)["recordings"].sum().reset_index()
    return counts.sort_values("recordings", ascending=False, kind="stable")


def by_day(result: Savings) -> pd.DataFrame:
    """The standing sums by date, status, reason and storage classes: what the CSV holds."""
    keys = ["recording_date", "status", "code", "class_before", "class_after", "kept"]
    sums = ["recordings", "bytes_before", "bytes_after", "minutes", *_STORED]
    return result.standing.groupby(keys, dropna=False, as_index=False)[sums].sum()
