"""An expiry as Prefect carries it out: one task run per batch, which writes its rows."""

from recordings.jobs import expire
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.result import JobResult
from recordings.pool import shared_pool
from recordings.table.rows import BatchRows
from tasks.jobs import batch_shown, once
from tasks.workplace import workplace


@once(task_run_name="expire {batch}")
def expire_batch(batch: BatchRows, job: Job) -> JobResult:
    """Delete all versions of the batch's recordings, each after its check."""
    place = workplace(job)
    return batch_shown(expire.expire_batch(place.deleting_store, place.files, batch, job, shared_pool()))
