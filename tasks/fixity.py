"""A check of the recordings at rest as Prefect carries it out: one task run per batch, which writes its rows."""

from recordings.jobs import fixity
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.result import JobResult
from recordings.pool import shared_pool
from recordings.table.rows import BatchRows
from tasks.jobs import batch_shown, once
from tasks.workplace import workplace


@once(task_run_name="check {batch}")
def check_batch(batch: BatchRows, job: Job) -> JobResult:
    """Compare the batch's replacements with what was judged."""
    place = workplace(job)
    return batch_shown(fixity.check_batch(place.store, place.files, batch, job, shared_pool()))
