"""What other runs of ours did to a batch's recordings while this run worked on them: none of that is a loss."""

from collections.abc import Sequence

from recordings.formatting import label
from recordings.glossary import code_of
from recordings.jobs.engine.intents import underway
from recordings.jobs.engine.job import Job
from recordings.outcomes import ended
from recordings.table.files import AuditFiles
from recordings.table.reading import STATE_COLUMNS, Only, current, read_days
from recordings.table.rows import AuditRow, BatchRows, Status


def without_our_own_work(files: AuditFiles, batch: BatchRows, rows: Sequence[AuditRow], job: Job) -> list[AuditRow]:
    """The rows; one that says that a recording is lost says instead which run of ours has worked on the recording.

    A check takes hours, and in these hours an expiry, an erasure or a restore may come to the same recordings.
    """
    lost = {row.key for row in rows if code_of(row.reason) in job.traits.losses}
    if not lost:
        return list(rows)
    works_on = underway(files, job.bucket)
    # Intents come first: a run writes its rows before it closes its intent, so that one of the two is seen.
    days = sorted({row.recording_date for row in batch.rows if row.key in lost})
    only = Only(bucket=job.bucket, first_key=min(lost), last_key=max(lost))
    states = current(read_days(files, days, (*STATE_COLUMNS, "run_id"), only))
    now = dict(zip(states["key"], zip(states["status"], states["run_id"], strict=True), strict=True))
    known = {row.key: (str(row.status), row.run_id) for row in batch.rows}

    def told(row: AuditRow) -> AuditRow:
        status, run_id = now.get(row.key, known[row.key])
        if (status, run_id) != known[row.key]:
            return ended(row, Status.CHANGED, f"changed: run {run_id} {label(status)} it during this run")
        if row.key in works_on:
            sentence = f"run {works_on[row.key]} set out to work on it, and has not said how that ended"
            return ended(row, Status.SKIPPED, f"underway: {sentence}")
        return row

    return [told(row) if row.key in lost else row for row in rows]
