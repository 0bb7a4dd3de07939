"""An erasure as Prefect carries it out: one task run per batch, which writes its rows."""

from recordings.jobs import erase
from recordings.jobs.erase import Erasure, close_erasures, requested_by
from recordings.jobs.job import Job
from recordings.jobs.result import JobResult, JobSummary
from recordings.jobs.settlement import Settlement
from recordings.pool import shared_pool
from recordings.table.records import record_erasure
from recordings.table.rows import BatchRows
from tasks.jobs import batch_shown, end, once, returned
from tasks.workplace import workplace


def record_request(job: Job) -> None:
    """Write the job's own request down, before anything is deleted; a dry run and a run without one write nothing."""
    if not job.dry_run and (job.contact_ids or job.keys):
        record_erasure(workplace(job).files, requested_by(job))


def erasure(job: Job, settled: Settlement) -> Erasure:
    """The objects to erase, but for those of which dead runs left it unknown what became."""
    place = workplace(job)
    return Erasure(job, place.store, place.files, leave=list(settled.unsettled))


@once(task_run_name="erase {batch}")
def erase_batch(batch: BatchRows, job: Job) -> JobResult:
    """Delete all versions of the batch's objects, each after its check."""
    place = workplace(job)
    return batch_shown(erase.erase_batch(place.deleting_store, place.files, batch, job, shared_pool()))


def end_erasure(job: Job, settled: Settlement, erasure: Erasure) -> JobSummary:
    """Write the record, close the requests that are finished, return the summary. Raises JobFailed."""
    summary = end(job, settled, erasure.sums, notes=erasure.notes, problems=erasure.problems)
    if not job.dry_run:
        close_erasures(workplace(job).files, job, erasure)
    return returned(summary)
