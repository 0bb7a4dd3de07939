"""The beginning and the end of a job: what is checked and recorded before its work, and what commits it after."""

from collections.abc import Callable
from dataclasses import asdict

from recordings.jobs.engine.deletion import check_may_delete
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.settlement import Settlement, close_settled
from recordings.jobs.engine.summary import JobSummary, summarize
from recordings.jobs.engine.work import Work
from recordings.s3.deleting import DeletingStore
from recordings.table.evidence import check_table
from recordings.table.files import AuditFiles
from recordings.table.records import Circumstances, record_end, record_start


def begin(
    job: Job, files: AuditFiles, deleting: Callable[[], DeletingStore], circumstances: Callable[[], Circumstances]
) -> None:
    """Record the start of the job. Raises InvalidRequest, before anything is touched, if the job cannot succeed.

    A job that deletes nothing opens no ``deleting`` store, and a job that leaves no records asks no ``circumstances``.
    """
    if job.traits.deletes_versions:
        check_may_delete(deleting())
    may_begin = job.traits.may_begin_table
    if job.traits.relies_on_table and not (
        job.repair or (may_begin and job.new_table)
    ):  # a repair may rewrite a lost one
        check_table(files, job.audit_uri, may_begin=may_begin)
    if job.is_recorded:
        record_start(files, job, circumstances=circumstances())


def commit(job: Job, files: AuditFiles, settled: Settlement, work: Work) -> JobSummary:
    """The summary of the whole job, after its end record is written, which makes all its rows count."""
    manifest = [*settled.files, *work.manifest, *work.sums.files]
    summary = summarize(
        job,
        work.sums,
        drifts=work.differences,
        lost=work.lost,
        settled=settled.rows,
        manifest=manifest,
        notes=work.notes,
        problems=[*work.problems, *settled.problems],
    )
    if job.is_recorded:
        record_end(files, job, totals=asdict(summary), manifest=manifest)
        close_settled(files, settled)
        work.conclude()
    return summary
