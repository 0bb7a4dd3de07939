"""What a batch sets out to do, written before it does anything: nothing that is done can be without a row.

An intent has the rows as they will be, except for what only the deed itself tells. A second record, written after the
rows, lists the batch's files with their digests. An intent without this record is open.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import TypeGuard

from recordings.errors import AuditDamaged, Changed, StoreRefused
from recordings.glossary import code_of
from recordings.jobs.engine.job import LONGEST_RUN, Job
from recordings.jobs.engine.kinds import DONE, TRACES, TRAITS, original_is_after
from recordings.jobs.engine.traces import MARKER_LEFT, PARTLY, THE_REST
from recordings.outcomes import accounted, ended
from recordings.pool import Pool
from recordings.s3.objects import UNVERSIONED
from recordings.s3.store import Store
from recordings.table.evidence import listed_digests
from recordings.table.files import PARTITION, AuditFiles
from recordings.table.parquet import file_of, parquet_bytes, rows_in
from recordings.table.records import (
    END,
    RUNS,
    IntentRecord,
    Kind,
    record_done,
    record_intent,
    run_ids,
    unclosed_intents,
)
from recordings.table.rows import DESTROYED, EVENTS, STATES, AuditRow, BatchRows, ManifestFile, Status

_TELLING = ("bucket", "run_id", "status", "reason", "key", "version_before", "version_after", "started_at")
_TAKEN = (FileExistsError, Changed)  # another file of that name is there, locally and in S3

_SAY_WHY = (*DESTROYED, *EVENTS)  # their rows name the rule or the case by which it was done

Deed = tuple[str, str, str | None]  # status, key, and the version deleted or brought back, or the run that did it


def set_out(files: AuditFiles, job: Job, batch: BatchRows, rows: Sequence[AuditRow]) -> IntentRecord:
    """Say what the batch is about to do to these recordings. Nothing may be done to them before this has returned."""
    intent = IntentRecord(
        run_id=job.run_id,
        kind=job.kind,
        bucket=job.bucket,
        batch=batch.batch.number,
        written_at=datetime.now(UTC),
        days=tuple(sorted({row.recording_date for row in batch.rows})),
        rows=tuple(rows),
    )
    record_intent(files, intent)
    return intent


def confirmed(
    store: Store,
    intent: IntentRecord,
    rows: Sequence[AuditRow],
    pool: Pool,
    *,
    look: Callable[[Store, AuditRow], AuditRow] | None = None,
) -> list[AuditRow]:
    """The rows as they may be written: no row says "not done" if the answer to a request may have been lost.

    ``look`` looks in the bucket for a trace of the deed; if omitted, the function of the kind that settles dead runs.
    """
    named, look = {row.key: row for row in intent.rows}, look or TRACES[intent.kind]

    def confirm(row: AuditRow) -> AuditRow:
        if row.key not in named or not _may_be_wrong(row):
            return row
        looked = accounted(replace(named[row.key], status=Status.FAILED), lambda: look(store, named[row.key]))
        is_part = code_of(looked.reason) in (PARTLY, MARKER_LEFT)
        if looked.status in DONE and is_part:  # the row says which
            return replace(looked, reason=f"{looked.reason}{THE_REST}{row.reason}")
        if looked.status in DONE:
            lost = replace(looked, reason=f"answer-lost: done, although the last attempt ended with: {row.reason}")
            says_why = looked.status in _SAY_WHY
            return replace(lost, reason=f"{named[row.key].reason}; {lost.reason}") if says_why else lost
        if looked.status is Status.SKIPPED:
            return row
        sentence = f"a second look failed: {looked.reason}; the last attempt ended with: {row.reason}"
        return ended(row, Status.FAILED, f"unknown: {sentence}")

    return pool.map(confirm, rows)


def _may_be_wrong(row: AuditRow) -> bool:
    """A refusal may have come after a lost answer within one request, any other end after one within an attempt."""
    was_refused, was_repeated = row.status is Status.FAILED, row.attempts > 0
    return row.status not in DONE and is_definite(row.status, row.reason) and (was_refused or was_repeated)


def is_definite(status: str, reason: str | None) -> bool:
    """Whether it is known if the deed was done: not after a failure but for a refusal."""
    return status != Status.FAILED or str(reason).startswith(f"{StoreRefused.code}:")


def write_and_close(files: AuditFiles, intent: IntentRecord, rows: Sequence[AuditRow]) -> list[ManifestFile]:
    """Write the batch's rows; close the intent if each recording in it has a known end; else a later run looks."""
    written = write_untold(files, intent, rows)
    known = {row.key for row in rows if is_definite(row.status, row.reason)}
    if all(row.key in known for row in intent.rows):
        record_done(files, intent, written)
    return written


def write_untold(files: AuditFiles, intent: IntentRecord, rows: Iterable[AuditRow]) -> list[ManifestFile]:
    """Write these rows, a file per date; where another run has told of some meanwhile, the others in a further file."""
    days = (_write_day(files, intent, day, of_day) for day, of_day in _by_day(rows))
    return [file for of_day in days for file in of_day]


def _write_day(files: AuditFiles, intent: IntentRecord, day: date, rows: Sequence[AuditRow]) -> list[ManifestFile]:
    """The day's files of this batch: the one written, after those of other runs that no record lists yet.

    What a record lists is not listed anew: its bytes may have been changed since.
    """
    found: list[ManifestFile] = []
    for name in _names(intent, day):
        data = parquet_bytes(rows)
        try:
            files.create(name, data)
            return [*found, file_of(name, data)]
        except _TAKEN:
            if name not in listed_digests(files, began_before(intent)):
                found.append(file_of(name, files.read(name)))
            rows = untold(files, day, rows)
        if not rows:
            break
    return found


def began_before(intent: IntentRecord) -> datetime:
    """Before any run began whose record may list the batch's files: its own, and those that settle it."""
    return intent.written_at - LONGEST_RUN


def _names(intent: IntentRecord, day: date) -> Iterator[str]:
    """Where the batch's rows of a day may lie: the batch's own file, and those of runs that had to add to it."""
    stem = f"{PARTITION}={day}/{intent.name}"
    return (f"{stem}.parquet" if number == 1 else f"{stem}-{number}.parquet" for number in count(1))


def untold(
    files: AuditFiles, day: date, rows: Iterable[AuditRow], *, destroyed_since: datetime | None = None
) -> list[AuditRow]:
    """Those of these rows of a day whose outcome no row of the table tells yet.

    A row of the table tells the outcome if it says that the deed was done, by whichever run, or that this run certainly
    did not do it.

    ``destroyed_since``: a recording that a run began to destroy later, and did, counts as told, too. Raises
    AuditDamaged where a file of that day cannot be read.
    """
    names = (name for name in files.names(f"{PARTITION}={day}") if name.endswith(".parquet"))
    told = {end for name in names for end in _ends(name, files.read(name), destroyed_since)}
    ends = (
        (row, {(row.bucket, *deed_of(row)), (row.bucket, row.run_id, row.key), (row.bucket, row.key)}) for row in rows
    )
    return [row for row, of_row in ends if not told & of_row]


def _ends(name: str, parquet: bytes, destroyed_since: datetime | None) -> Iterator[tuple[str | None, ...]]:
    """What a file's rows say: bucket and deed of what was done; bucket, run and key of what was certainly not.

    And bucket and key of what was destroyed by a run that began with it later.
    """
    for bucket, run_id, status, reason, key, before, after, started_at in rows_in(name, parquet, _TELLING):
        if status in DONE:
            yield bucket, *_deed(run_id, status, key, before, after)
        elif status not in STATES and is_definite(status, reason):
            yield bucket, run_id, key
        if status in DESTROYED and destroyed_since and started_at > destroyed_since:
            yield bucket, key


def owed(files: AuditFiles, intent: IntentRecord, rows: Iterable[AuditRow] | None = None) -> list[AuditRow]:
    """Those rows of the intent, or of ``rows``, whose outcome no row of the table tells yet.

    If a later run has destroyed a recording, that run has written its row: before it began, it settled this run.
    """
    return [
        row
        for day, of_day in _by_day(intent.rows if rows is None else rows)
        for row in untold(files, day, of_day, destroyed_since=intent.written_at)
    ]


def _by_day(rows: Iterable[AuditRow]) -> list[tuple[date, list[AuditRow]]]:
    by_day: dict[date, list[AuditRow]] = defaultdict(list)
    for row in rows:
        by_day[row.recording_date].append(row)
    return sorted(by_day.items())


def deed_of(row: AuditRow) -> Deed:
    """What a row of a job says was done."""
    return _deed(row.run_id, row.status, row.key, row.version_before, row.version_after)


def _deed(run_id: str, status: str, key: str, before: str | None, after: str | None) -> Deed:
    if status in (Status.HELD, Status.LIFTED):
        return str(status), key, run_id  # another run may do the same once more
    if status in DESTROYED:
        newest = after or before or UNVERSIONED
        return str(status), key, run_id if newest == UNVERSIONED else newest  # that id is given to each new object
    return str(status), key, after if original_is_after(status) else before


def open_intents(files: AuditFiles, bucket: str) -> list[IntentRecord]:
    """The intents over this bucket that nobody has closed, oldest first; ``damaged_intents`` names the others."""
    intents = (intent for _, intent in unclosed_intents(files) if _is_ours(intent) and intent.bucket == bucket)
    return sorted(intents, key=lambda intent: intent.written_at)


def damaged_intents(files: AuditFiles) -> list[str]:
    """The names of open intents that nobody can read: of which bucket, and of what they are, is not known."""
    return [name for name, intent in unclosed_intents(files) if not _is_ours(intent)]


def _is_ours(intent: IntentRecord | None) -> TypeGuard[IntentRecord]:
    """Whether the intent can be read, and is of a kind of job that writes intents."""
    return intent is not None and intent.kind in TRACES


def is_over(files: AuditFiles, intent: IntentRecord, *, abandoned_after: timedelta) -> bool:
    """Whether the run that set out can do nothing more: it has ended, or began the batch very long ago."""
    is_old = datetime.now(UTC) - intent.written_at > abandoned_after
    return is_old or intent.run_id in run_ids(files.names(RUNS), END)


def files_of(files: AuditFiles, intent: IntentRecord) -> list[ManifestFile]:
    """The batch's files as they lie in the table, whichever run wrote them."""
    found: list[ManifestFile] = []
    for day in intent.days:
        there = set(files.names(f"{PARTITION}={day}"))
        for name in _names(intent, day):
            if name not in there:
                break
            found.append(file_of(name, files.read(name)))
    return found


def runs_by_deed(files: AuditFiles, intents: Iterable[IntentRecord]) -> Mapping[tuple[Kind, str], str]:
    """By kind and key, the run that last set out to do it and did not say how it ended, as far as that can be read."""
    return {(intent.kind, row.key): intent.run_id for intent in intents for row in _perhaps_owed(files, intent)}


def underway(files: AuditFiles, bucket: str) -> Mapping[str, str]:
    """By key, the run that last set out to delete it, or to bring it back, and has not told how that ended."""
    runs = runs_by_deed(files, open_intents(files, bucket))
    return {
        key: run_id for (kind, key), run_id in runs.items() if TRAITS[kind].deletes_versions or TRAITS[kind].brings_back
    }


def _perhaps_owed(files: AuditFiles, intent: IntentRecord) -> Sequence[AuditRow]:
    try:
        return owed(files, intent)
    except AuditDamaged:
        return intent.rows
