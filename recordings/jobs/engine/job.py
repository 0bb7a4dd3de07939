"""The parameters of a job that follows archiving, checked before anything is touched."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

from recordings import observed
from recordings.build import SOFTWARE_VERSION
from recordings.errors import InvalidRequest
from recordings.holds import check_case
from recordings.jobs.engine.kinds import TRAITS, Traits
from recordings.recording import Batch
from recordings.request import (
    DAYS_RANGE,
    LOOKBACK_DAYS,
    MIN_AGE_DAYS,
    PERCENT_RANGE,
    Selection,
    check_entries,
    check_range,
    checked_selection,
)
from recordings.retention_rules import RetentionRule, checked_rules
from recordings.run import window
from recordings.settings import settings
from recordings.table.files import PARTITION, audit_location
from recordings.table.records import Kind, run_id_of
from recordings.table.rows import AuditRow, BatchRows, Status

LONGEST_RUN = timedelta(days=8)  # a run that began more recently than this may still write rows
BATCH_SIZE = 1000  # each batch writes a file of the audit table for each of its days; small files make reports slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Selection):
    """A job that follows archiving, such as a restore, and the recordings that it is asked to work on."""

    run_id: str
    kind: Kind
    audit_uri: str
    everything: bool
    missing_ok: bool
    grace_days: int
    grace_days_read_back: int  # of recordings that were read back and decoded in full
    repair: bool
    new_table: bool = False  # the job may be the first to write to the audit table
    dry_run: bool
    include_held: bool = False  # a restore also brings back what is under a hold
    started_at: datetime
    case: str | None = None
    rules: tuple[RetentionRule, ...] = ()
    retention_years: float  # for which recordings are kept where there are no rules
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
    def lists_below_prefixes(self) -> bool:
        """Whether the job lists what lies below its prefixes: a mistyped one would look as if nothing were there."""
        dates = (self.start_date or self.end_date) and not (self.keys or self.of_run)
        return bool(self.contact_ids or dates) if self.traits.asks_bucket else self.traits.lists_days

    @property
    def lists_whole_prefixes(self) -> bool:
        """Whether the job lists all that lies below its prefixes, and not only the folders of some days."""
        return self.traits.asks_bucket and not (self.start_date and self.end_date)

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
    of_run: str | None = None,
    everything: bool = False,
    missing_ok: bool = False,
    grace_days: int | None = None,
    grace_days_read_back: int | None = None,
    repair: bool = False,
    new_table: bool = False,
    dry_run: bool = False,
    include_held: bool = False,
    keys: Sequence[str] | None = None,
    case: str = "",
    rules: Sequence[RetentionRule] | None = None,
    retention_years: float | None = None,
    stop_above_percent: float = 0,
    sample_percent: float = 0,
) -> Job:
    """The job's parameters, checked. Raises InvalidRequest naming the parameter and the way out.

    A blank text is what forms send for a field that was left out, and means the same here.
    """
    if TRAITS[kind].ways_to_select:
        check_entries("prefixes", prefixes)
    selection = checked_selection(
        bucket,
        prefixes=prefixes,
        start_date=start_date,
        end_date=end_date,
        contact_ids=contact_ids,
        keys=keys,
        of_run=of_run,
    )
    grace = settings().grace_days if grace_days is None else grace_days
    grace_read_back = grace if grace_days_read_back is None else grace_days_read_back
    check_range("grace_days", grace, DAYS_RANGE)
    check_range("grace_days_read_back", grace_read_back, DAYS_RANGE)
    check_range("stop_above_percent", stop_above_percent, PERCENT_RANGE)
    check_range("sample_percent", sample_percent, PERCENT_RANGE)
    started_at = datetime.now(UTC)
    job = Job(
        run_id=run_id_of(started_at, flow_run_id or str(uuid4())),
        kind=kind,
        **asdict(selection),
        audit_uri=str(audit_location(audit_uri)),
        everything=everything,
        missing_ok=missing_ok,
        grace_days=grace,
        grace_days_read_back=grace_read_back,
        repair=repair,
        new_table=new_table,
        dry_run=dry_run,
        include_held=include_held,
        started_at=started_at,
        case=check_case(case) if case.strip() else None,
        rules=_rules(kind, settings().retention_rules if rules is None else rules),
        retention_years=settings().retention_years if retention_years is None else retention_years,
        stop_above_percent=stop_above_percent,
        sample_percent=sample_percent,
    )
    _check_selection(job)
    return job


def _rules(kind: Kind, rules: Sequence[RetentionRule]) -> tuple[RetentionRule, ...]:
    looks_at = TRAITS[kind].needs_rules or (TRAITS[kind].has_rules and rules)
    return checked_rules(rules) if looks_at else ()


def days_to_compare(scheduled_on: date, start_date: date | None, end_date: date | None) -> tuple[date, date]:
    """First and last day of a reconciliation; where they are left out, the week of the last scheduled archiving run."""
    return window(scheduled_on, start_date, end_date, min_age_days=MIN_AGE_DAYS, lookback_days=LOOKBACK_DAYS)


def _check_selection(job: Job) -> None:
    """Refuse a restore, and a release that deletes, without a selection. A dry run of a release may look at all."""
    ways = job.traits.ways_to_select
    must_select = ways and (job.traits.dry_run_must_select or not job.dry_run)
    if must_select and not (job.narrows or job.everything or job.takes_up_requests):
        all_of_it = "" if job.traits.asks_bucket else f"; to {job.kind} all that is archived, say everything=True"
        raise InvalidRequest(f"nothing is selected, so nothing was touched: give {ways}{all_of_it}")
    if job.traits.asks_bucket:
        _check_one_way(job)
    if job.traits.resumes:
        _check_spares_the_table(job)


def _check_one_way(job: Job) -> None:
    """Refuse what could be read in two ways: dates beside keys might mean all calls of these days."""
    dates = job.start_date or job.end_date
    if dates and not job.contact_ids and (job.keys or job.kind is Kind.ERASE):
        raise InvalidRequest(
            "start_date and end_date only say where to look for contacts, and contact_ids is empty: leave the dates out"
        )
    if job.of_run and (dates or job.contact_ids or job.keys):
        raise InvalidRequest(
            "run_id cannot be combined with contacts, keys or dates: leave these out, or leave run_id out"
        )
    if not (job.case or job.takes_up_requests):
        raise InvalidRequest("case is empty: name the case or the request, such as 2026-CV-0147")
    if job.case and job.takes_up_requests:
        raise InvalidRequest(
            "case names a request, but contact_ids and keys are empty: fill one of them in, or leave the case out"
        )


def _check_spares_the_table(job: Job) -> None:
    """Raises InvalidRequest for a key that is a file of the audit table: the table says what was erased."""
    table = audit_location(job.audit_uri)
    ours = (f"{table.path}/",) if table.path else ("_", f"{PARTITION}=")  # at a bucket's root, others may lie beside
    for key in job.keys:
        if table.bucket == job.bucket and key.startswith(ours):
            raise InvalidRequest(f"key {key!r} lies in the audit table, which records what was erased: leave it out")


def begun(row: AuditRow, job: Job) -> AuditRow:
    """The row with which this job starts on the recording: nothing is proved yet.

    A column that is not reset here keeps the value of the row that the job found.
    """
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
    return observed.bare_row(
        key,
        day,
        bucket=job.bucket,
        run_id=job.run_id,
        status=status,
        reason=reason,
        software_version=job.software_version,
    )


def batches_of(rows: Sequence[AuditRow], *, first: int = 1) -> list[BatchRows]:
    """The rows in batches, oldest call first, numbered from ``first`` on; the numbers become part of file names."""
    ordered = sorted(rows, key=lambda row: (row.recording_date, row.key))
    cuts = [ordered[n : n + BATCH_SIZE] for n in range(0, len(ordered), BATCH_SIZE)]
    return [BatchRows(Batch(cut[0].recording_date, number, ()), cut) for number, cut in enumerate(cuts, start=first)]
