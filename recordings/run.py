"""What an operator asked for, checked before anything is touched."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from recordings.build import SOFTWARE_VERSION
from recordings.errors import InvalidRequest
from recordings.finding import ACCEPTABLE
from recordings.gate import Terms
from recordings.profiles import PROFILES, Profile
from recordings.recording import Window
from recordings.request import (
    BATCH_SIZE_RANGE,
    DAYS_RANGE,
    FIRST_DAY,
    LOOKBACK_RANGE,
    PERCENT_RANGE,
    check_bucket_name,
    check_dates,
    check_range,
    normal_prefixes,
)
from recordings.settings import settings
from recordings.table.files import audit_location
from recordings.table.records import run_id_of

# Classes whose objects can be read at once ("Using Amazon S3 storage classes"): other classes need a restore first.
STORAGE_CLASSES = ("STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR")
STORAGE_CLASS = "GLACIER_IR"  # unless another class is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run's parameters, all decided. Dates are UTC and inclusive."""

    run_id: str
    bucket: str
    prefixes: tuple[str, ...]
    audit_uri: str
    start_date: date
    end_date: date
    scheduled_at: datetime
    started_at: datetime
    min_age_days: int
    profile_name: str
    storage_class: str
    dry_run: bool
    overwrite_converted: bool
    include_held: bool
    accept: tuple[str, ...]
    batch_size: int
    readback_percent: float
    archive_unprofitable: bool
    grace_days: int  # for which releases keep originals: part of what archiving costs
    shard: str  # only contact ids that begin with this; empty: all
    catches_up: bool  # no dates were given: the run also visits the windows of runs that never finished
    software_version: str = SOFTWARE_VERSION

    @property
    def windows(self) -> list[Window]:
        """The dates asked for, under each prefix."""
        dates = {"start_date": self.start_date, "end_date": self.end_date}
        return [Window(prefix=each, shard=self.shard, **dates) for each in self.prefixes]

    @property
    def oldest_days(self) -> int:
        """The age in days of the oldest recordings in the window."""
        return (self.scheduled_at.date() - self.start_date).days

    @property
    def terms(self) -> Terms:
        """The terms under which recordings are archived."""
        return Terms(
            storage_class=self.storage_class,
            grace_days=self.grace_days,
            readback_share=self.readback_percent / 100,
            batch_size=self.batch_size,
            profile=self.profile,
        )

    @property
    def profile(self) -> Profile:
        """The conversion asked for."""
        return PROFILES[self.profile_name]

    @property
    def youngest_day(self) -> date:
        """The last day of calls that are old enough."""
        return self.scheduled_at.date() - timedelta(days=self.min_age_days)

    @property
    def recorded_before(self) -> datetime:
        """Recordings of this moment and later are too young."""
        return datetime.combine(self.youngest_day + timedelta(days=1), datetime.min.time(), UTC)


def plan_run(
    *,
    flow_run_id: str,
    scheduled_at: datetime,
    bucket: str,
    prefixes: Sequence[str],
    audit_uri: str,
    start_date: date | None,
    end_date: date | None,
    min_age_days: int,
    lookback_days: int,
    profile: str,
    storage_class: str,
    dry_run: bool,
    overwrite_converted: bool,
    include_held: bool,
    accept: Sequence[str],
    batch_size: int,
    readback_percent: float,
    archive_unprofitable: bool = False,
    shard: str = "",
) -> Run:
    """Decide the parameters left open, check the others; raises InvalidRequest naming the parameter and the way out."""
    check_bucket_name(bucket)
    _check_known("profile", profile, PROFILES)
    _check_known("storage_class", storage_class, STORAGE_CLASSES)
    for code in accept:
        _check_known("accept", code, ACCEPTABLE)
    check_range("min_age_days", min_age_days, DAYS_RANGE)
    check_range("lookback_days", lookback_days, LOOKBACK_RANGE)
    check_range("batch_size", batch_size, BATCH_SIZE_RANGE)
    check_range("readback_percent", readback_percent, PERCENT_RANGE)
    if "/" in shard or shard != "".join(shard.split()):
        raise InvalidRequest(f"shard is {shard!r}: give the first letters of contact ids, as 'a' or '3f'")
    start, end = window(
        scheduled_at.date(), start_date, end_date, min_age_days=min_age_days, lookback_days=lookback_days
    )
    started_at = datetime.now(UTC)
    return Run(
        run_id=run_id_of(started_at, flow_run_id),
        bucket=bucket,
        prefixes=normal_prefixes(prefixes),
        audit_uri=str(audit_location(audit_uri)),
        start_date=start,
        end_date=end,
        scheduled_at=scheduled_at,
        started_at=started_at,
        min_age_days=min_age_days,
        profile_name=profile,
        storage_class=storage_class,
        dry_run=dry_run,
        overwrite_converted=overwrite_converted,
        include_held=include_held,
        accept=tuple(accept),
        batch_size=batch_size,
        readback_percent=readback_percent,
        archive_unprofitable=archive_unprofitable or not settings().skip_unprofitable,
        grace_days=settings().grace_days,
        shard=shard,
        catches_up=start_date is None and end_date is None,
    )


def window(
    scheduled_on: date, start_date: date | None, end_date: date | None, *, min_age_days: int, lookback_days: int
) -> tuple[date, date]:
    """First and last day; where they were left out, the schedule decides. Raises InvalidRequest."""
    check_dates(start_date, end_date)
    end = end_date or scheduled_on - timedelta(days=min_age_days)
    start = start_date or max(FIRST_DAY, end - timedelta(days=lookback_days - 1))
    check_dates(start, end)  # a start_date alone may be later than the end that follows from the schedule
    return start, end


def _check_known(parameter: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise InvalidRequest(f"{parameter} {value!r} is unknown: choose one of {', '.join(known)}")
