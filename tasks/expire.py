"""An expiry as Prefect carries it out: one task run per batch, which writes its rows."""

from recordings.jobs import expire
from recordings.jobs.expire import Expiry
from recordings.jobs.job import Job
from recordings.jobs.result import JobResult
from recordings.jobs.settlement import Settlement
from recordings.pool import shared_pool
from recordings.table.rows import BatchRows
from tasks.jobs import batch_shown, once
from tasks.workplace import workplace


def expiry(job: Job, settled: Settlement) -> Expiry:
    """The recordings whose retention may have ended, but for those of which dead runs left it unknown what became."""
    place = workplace(job)
    return Expiry(job, place.store, place.files, shared_pool(), leave=settled.unsettled)


@once(task_run_name="expire {batch}")
def expire_batch(batch: BatchRows, job: Job) -> JobResult:
    """Delete all versions of the batch's recordings, each after its check."""
    place = workplace(job)
    return batch_shown(expire.expire_batch(place.deleting_store, place.files, batch, job, shared_pool()))
