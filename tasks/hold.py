"""Legal holds as Prefect sets and lifts them: one task run per batch, which writes its rows."""

from recordings.jobs import hold
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.result import JobResult
from recordings.pool import shared_pool
from recordings.table.rows import BatchRows
from tasks.jobs import batch_shown, once
from tasks.workplace import workplace


@once(task_run_name="{job.kind} {batch}")
def hold_batch(batch: BatchRows, job: Job) -> JobResult:
    """Set or lift the holds of the batch's objects."""
    place = workplace(job)
    return batch_shown(hold.hold_batch(place.store, place.files, batch, job, shared_pool()))
