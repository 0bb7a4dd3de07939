"""A restore as Prefect carries it out: one task run per batch, which writes its rows."""

from recordings.jobs import restore
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.result import JobResult
from recordings.pool import shared_pool
from recordings.table.rows import BatchRows
from tasks.jobs import batch_shown, once
from tasks.workplace import workplace


@once(task_run_name="restore {batch}")
def restore_batch(batch: BatchRows, job: Job) -> JobResult:
    """Bring the batch's originals back."""
    place = workplace(job)
    return batch_shown(restore.restore_batch(place.store, place.files, batch, job, shared_pool()))
