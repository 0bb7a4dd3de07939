"""A release of originals as Prefect carries it out: one task run per batch, which writes its rows."""

from recordings.jobs import release
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.result import JobResult
from recordings.pool import shared_pool
from recordings.table.rows import BatchRows
from tasks.jobs import batch_shown, once
from tasks.workplace import workplace


@once(task_run_name="release {batch}")
def release_batch(batch: BatchRows, job: Job) -> JobResult:
    """Prove the batch's replacements once more, and delete their originals."""
    place = workplace(job)
    return batch_shown(release.release_batch(place.deleting_store, place.files, batch, job, shared_pool()))
