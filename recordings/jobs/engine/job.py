"""The parameters of a job that follows archiving, checked before anything is touched."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

from recordings.build import SOFTWARE_VERSION
from recordings.errors import InvalidRequest
from recordings.holds import check_case
from recordings.jobs.engine.kinds import TRAITS, Traits
from recordings.keys import contact_of
from recordings.recording import Batch
from recordings.request import (
    LOOKBACK_DAYS,
    MAX_DAYS,
    MIN_AGE_DAYS,
    check_bucket_name,
    check_dates,
    check_range,
    normal_prefixes,
)
from recordings.retention_rules import RetentionRule, checked_rules
from recordings.run import window
from recordings.settings import settings
from recordings.table.files import audit_location
from recordings.table.records import Kind, run_id_of
from recordings.table.rows import AuditRow, BatchRows, Status

LONGEST_RUN = timedelta(days=8)  # a run that began more recently than this may still write rows
BATCH_SIZE = 1000  # each batch writes a file of the audit table for each of its days; small files make reports slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that follows archiving, such as a restore. Dates are of the calls, UTC, inclusive; None selects all."""

    run_id: str
    kind: Kind
    bucket: str
    audit_uri: str
    prefixes: tuple[str, ...]
    start_date: date | None
    end_date: date | None
    contact_ids: tuple[str, ...] | None
    of_run: str | None
    everything: bool
    missing_ok: bool
    grace_days: int
    grace_days_read_back: int  # of recordings that were read back and decoded in full
    repair: bool
    dry_run: bool
    started_at: datetime
    keys: tuple[str, ...] | None = None
    case: str | None = None
    rules: tuple[RetentionRule, ...] = ()
    stop_above_percent: float = 0  # an expiry deletes nothing more where more of a day do not stand as the table says
    sample_percent: float = 0  # share of the recordings that a check reads in full
    software_version: str = SOFTWARE_VERSION

    @property
    def traits(self) -> Traits:
        """What jobs of this kind are like."""
        return TRAITS[self.kind]

    def grace_days_of(self, row: AuditRow) -> int:
        """For how many days after its archiving a recording's original is kept."""
        return self.grace_days_read_back if row.read_back else self.grace_days

    @property
    def narrows(self) -> bool:
        """Whether the parameters select anything."""
        named = self.contact_ids or self.keys or self.of_run
        below = self.prefixes != ("",) and not self.traits.asks_bucket
        return bool(named or self.start_date or self.end_date or below)

    @property
    def names(self) -> tuple[str, tuple[str, ...]] | None:
        """The column by which recordings are asked for by name, and the names: keys, or contacts; None if neither."""
        if self.keys:
            return "key", self.keys
        return ("contact_id", self.contact_ids) if self.contact_ids else None

    @property
    def takes_up_requests(self) -> bool:
        """Whether the job makes no request of its own, but takes up those that earlier jobs had to leave open."""
        return self.traits.resumes and self.names is None

    @property
    def is_recorded(self) -> bool:
        """Whether the job leaves records under ``_runs/``: jobs that may write do, and so does every reconciliation."""
        return self.traits.looks_only or not self.dry_run


def plan_job(
    kind: Kind,
    *,
    bucket: str,
    audit_uri: str,
    flow_run_id: str | None = None,
    prefixes: Sequence[str] | None = None,
    start_date: date | None = None,
    end_date: date | None = None,
    contact_ids: Sequence[str] | None = None,
    run_id: str | None = None,
    everything: bool = False,
    missing_ok: bool = False,
    grace_days: int | None = None,
    grace_days_read_back: int | None = None,
    repair: bool = False,
    dry_run: bool = False,
    keys: Sequence[str] | None = None,
    case: str = "",
    rules: Sequence[RetentionRule] | None = None,
    stop_above_percent: float = 0,
    sample_percent: float = 0,
) -> Job:
    """The job's parameters, checked. Raises InvalidRequest naming the parameter and the way out.

    A blank text is what forms send for a field that was left out, and means the same here. An empty list is refused:
    forms leave the field out, and a program that computed the list found nobody, which must not come to mean all.
    """
    check_bucket_name(bucket)
    check_dates(start_date, end_date)
    _check_entries(kind, "contact_ids", contact_ids)
    _check_entries(kind, "prefixes", prefixes)
    _check_entries(kind, "keys", keys)
    below = normal_prefixes([""] if prefixes is None else prefixes)
    grace = settings().grace_days if grace_days is None else grace_days
    grace_read_back = grace if grace_days_read_back is None else grace_days_read_back
    check_range("grace_days", grace, 0, MAX_DAYS)
    check_range("grace_days_read_back", grace_read_back, 0, MAX_DAYS)
    check_range("stop_above_percent", stop_above_percent, 0, 100)
    check_range("sample_percent", sample_percent, 0, 100)
    started_at = datetime.now(UTC)
    job = Job(
        run_id=run_id_of(started_at, flow_run_id or str(uuid4())),
        kind=kind,
        bucket=bucket,
        audit_uri=str(audit_location(audit_uri)),
        prefixes=below,
        start_date=start_date,
        end_date=end_date,
        contact_ids=tuple(each.strip() for each in contact_ids) if contact_ids else None,
        of_run=(run_id or "").strip() or None,
        everything=everything,
        missing_ok=missing_ok,
        grace_days=grace,
        grace_days_read_back=grace_read_back,
        repair=repair,
        dry_run=dry_run,
        started_at=started_at,
        keys=tuple(dict.fromkeys(keys)) if keys else None,
        case=check_case(case) if case.strip() else None,
        rules=checked_rules(settings().retention_rules if rules is None else rules) if TRAITS[kind].has_rules else (),
        stop_above_percent=stop_above_percent,
        sample_percent=sample_percent,
    )
    _check_selection(job)
    return job


def days_to_compare(scheduled_on: date, start_date: date | None, end_date: date | None) -> tuple[date, date]:
    """First and last day of a reconciliation; where they are left out, the week of the last scheduled archiving run."""
    return window(scheduled_on, start_date, end_date, min_age_days=MIN_AGE_DAYS, lookback_days=LOOKBACK_DAYS)


def _check_entries(kind: Kind, parameter: str, entries: Sequence[str] | None) -> None:
    """Refuse a list without an entry, or with a blank one: a mistake must not come to mean all."""
    if not TRAITS[kind].ways_to_select or entries is None:
        return
    if not entries:
        raise InvalidRequest(f"{parameter} is an empty list, which selects nothing: fill it in, or leave it out")
    if not all(each.strip() for each in entries):
        raise InvalidRequest(f"{parameter} has an empty entry: fill it in or take it out; for all, say everything=True")


def _check_selection(job: Job) -> None:
    """Refuse a restore, and a release that deletes, without a selection. A dry run of a release may look at all."""
    ways = job.traits.ways_to_select
    must_select = ways and (job.traits.dry_run_must_select or not job.dry_run)
    if must_select and not (job.narrows or job.everything or job.takes_up_requests):
        raise InvalidRequest(
            f"nothing is selected, so nothing was touched: give {ways}; to {job.kind} all that is archived, "
            "say everything=True"
        )
    if job.traits.asks_bucket:
        _check_one_way(job)
    if job.traits.resumes:
        _check_spares_the_table(job)


def _check_one_way(job: Job) -> None:
    """Refuse what could be read in two ways: dates beside keys might mean all calls of these days."""
    dates = job.start_date or job.end_date
    if dates and not job.contact_ids and (job.keys or job.kind is Kind.ERASE):
        raise InvalidRequest(
            "start_date and end_date say where contacts are looked for, and contact_ids is empty: leave the dates out"
        )
    if job.of_run and (dates or job.contact_ids or job.keys):
        raise InvalidRequest("run_id selects what one run archived, and nothing beside it: leave the others out")
    if not (job.case or job.takes_up_requests):
        raise InvalidRequest("case is empty: name the case or the request, as 2026-CV-0147")
    if job.case and job.takes_up_requests:
        raise InvalidRequest(
            "case names a request, and contact_ids and keys are empty: fill one in, or leave the case out"
        )


def _check_spares_the_table(job: Job) -> None:
    """Raises InvalidRequest for a key that is a file of the audit table: the table says what was erased."""
    table = audit_location(job.audit_uri)
    below = f"{table.path}/" if table.path else ""
    for key in job.keys or ():
        if table.bucket == job.bucket and below and key.startswith(below):
            raise InvalidRequest(f"key {key!r} lies in the audit table, which keeps what was erased: take it out")


def begun(row: AuditRow, job: Job) -> AuditRow:
    """The row with which this job starts on the recording: nothing is proved yet."""
    return replace(
        row,
        run_id=job.run_id,
        status=Status.FAILED,
        reason=None,
        verified=False,
        read_back=False,
        tagged=False,
        attempts=0,
        started_at=datetime.now(UTC),
        finished_at=None,
        software_version=job.software_version,
    )


def bare_row(key: str, day: date, job: Job, *, status: Status, reason: str | None = None) -> AuditRow:
    """The row of an object of which the job knows only the key and the day under which its rows lie."""
    return AuditRow(
        run_id=job.run_id,
        recording_date=day,
        bucket=job.bucket,
        key=key,
        contact_id=contact_of(key),
        status=status,
        reason=reason,
        profile="none",
        started_at=datetime.now(UTC),
        software_version=job.software_version,
    )


def batches_of(rows: Sequence[AuditRow], *, first: int = 1) -> list[BatchRows]:
    """The rows in batches, oldest call first, numbered from ``first`` on; the numbers become part of file names."""
    ordered = sorted(rows, key=lambda row: (row.recording_date, row.key))
    cuts = [ordered[n : n + BATCH_SIZE] for n in range(0, len(ordered), BATCH_SIZE)]
    return [BatchRows(Batch(cut[0].recording_date, number, ()), cut) for number, cut in enumerate(cuts, start=first)]
