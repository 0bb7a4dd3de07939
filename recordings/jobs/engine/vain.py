"""Sentences: what was asked for and not found, and why, and what people should know about the rest."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from recordings.errors import StoreRefused
from recordings.formatting import label, plural
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.selection import CANNOT_COME_BACK, Found, knows_prefix, when
from recordings.places import nothing_below
from recordings.retrying import retrying
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.records import RUNS, START, Kind, run_ids
from recordings.table.rows import HOLDS_REPLACEMENT, Status

_MAX_RUNS = 5  # named in a note


def sentences(job: Job, files: AuditFiles, found: Found, *, by_records: bool = False) -> tuple[list[str], list[str]]:
    """What was asked for in vain, and notes, of a table that knows the bucket.

    ``by_records``: days were left out because earlier releases have been through them.
    """
    nothing = [] if found.asked or by_records else [f"the audit table has nothing archived{where(job)}"]
    vain, notes = _told(job, [] if job.names or job.of_run else nothing)
    vain += [*_names_not_found(found, job), *_run_in_vain(found, job, files)]
    if job.traits.brings_back:
        vain += _cannot_come_back(found, job)
    if found.unconverted:
        notes.append(f"never converted, so nothing to {job.kind}: {plural(found.unconverted, 'recording')}")
    notes += _done_before(found, job)
    return sorted_by_leniency(job, vain, notes, found.unread)


def sorted_by_leniency(
    job: Job, vain: Sequence[str], notes: Sequence[str], unread: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Problems and notes: what was asked for in vain is a note if the job says ``missing_ok``."""
    return ([*unread], [*vain, *notes]) if job.missing_ok else ([*unread, *vain], [*notes])


def mistyped_prefixes(job: Job, store: Store, files: AuditFiles) -> list[str]:
    """A sentence for each prefix below which the job can find nothing: it is mistyped, or all recordings are lost."""
    listed = job.prefixes if job.lists_below_prefixes else ()
    try:
        return [said for prefix in listed for said in retrying()(_nothing_below, prefix, job, store, files)]
    except StoreRefused as error:
        return [str(error)]


def _nothing_below(prefix: str, job: Job, store: Store, files: AuditFiles) -> list[str]:
    if job.lists_whole_prefixes and store.names_below(prefix)[0]:
        return []
    findings = nothing_below(store, [prefix])
    if findings and job.kind is Kind.EXPIRE and knows_prefix(prefix, job, files):
        return []  # all recordings may have expired
    return [finding.sentence.rstrip(".") for finding in findings]


def _done_before(found: Found, job: Job) -> Iterator[str]:
    """What became of recordings that are not archived any more as it was asked: by which run, and when."""
    for status in sorted({status for status, _ in found.others}):
        if status in CANNOT_COME_BACK and job.traits.brings_back:
            continue  # asked for in vain
        done = "archived again" if status in HOLDS_REPLACEMENT else label(status)
        yield f"{done} before: {by_run(found, status)}"


def _told(job: Job, nothing: list[str]) -> tuple[list[str], list[str]]:
    """As a problem, or as a note: on most days, a release of everything that is due has nothing to do."""
    return (nothing, []) if job.narrows or job.traits.wants_all else ([], nothing)


def of_unknown_bucket(job: Job) -> tuple[list[str], list[str]]:
    """Problems and notes of any job but a restore, for a table that does not know the bucket."""
    return sorted_by_leniency(job, *_told(job, [knows_nothing(job)]))


def knows_nothing(job: Job) -> str:
    return f"the audit table {job.audit_uri} has nothing archived of bucket {job.bucket}"


def _names_not_found(found: Found, job: Job) -> Iterator[str]:
    """The contacts or keys of which nothing was archived, and what the last run said of each."""
    for name in job.names[1] if job.names else ():
        if name not in found.names:
            by = f" by run {job.of_run}" if job.of_run else ""
            said = f"the audit table has no archived recording for it{by}{where(job)}"
            _, attempt = found.attempts.get(name, (None, ""))
            yield "; ".join(filter(None, [f"{noun_of(job)} {name}: {said}", attempt]))


def noun_of(job: Job) -> str:
    return "key" if job.keys else "contact"


def _run_in_vain(found: Found, job: Job, files: AuditFiles) -> Iterator[str]:
    if job.of_run is None or found.asked or job.names:
        return
    if found.knows_run or job.of_run in run_ids(files.names(RUNS), START):
        yield f"run {job.of_run} archived nothing{where(job)}"
    else:
        yield f"run {job.of_run}: the audit table has no run with this id"


def _cannot_come_back(found: Found, job: Job) -> Iterator[str]:
    """Each recording that was asked for by name; otherwise how many, by which run and when."""
    yield from found.released
    count = sum(each.recordings for (status, _), each in found.others.items() if status in CANNOT_COME_BACK)
    if found.released and count > len(found.released):
        yield f"and the originals of {plural(count - len(found.released), 'more recording')} are gone, too"
    elif count and not found.released:
        for status in sorted({status for status, _ in found.others} & set(CANNOT_COME_BACK)):
            what = "released originals" if status == Status.RELEASED else f"{label(status)} recordings"
            yield f"{what} cannot come back{where(job)}: {by_run(found, status)}"


def by_run(found: Found, status: str) -> str:
    """``2 by run A on 2026-02-01, 1 by run B on 2026-02-02``."""
    by_run = {run_id: gone for (each, run_id), gone in found.others.items() if each == status}
    runs = sorted(by_run, key=lambda run_id: _moment(by_run[run_id].last_at), reverse=True)
    said = [f"{by_run[each].recordings:,} by run {each}{when(by_run[each].last_at)}" for each in runs[:_MAX_RUNS]]
    others = len(runs) - _MAX_RUNS
    return ", ".join([*said, *([f"others by {plural(others, 'earlier run')}"] if others > 0 else [])])


def _moment(at: datetime | None) -> datetime:
    return at or datetime.min.replace(tzinfo=UTC)


def where(job: Job) -> str:
    dates = job.start_date or job.end_date
    window = f" from {job.start_date or 'the first day'} to {job.end_date or 'the last'}" if dates else ""
    return window if job.prefixes == ("",) else f"{window} below {', '.join(job.prefixes)}"
