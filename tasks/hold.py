"""Legal holds as Prefect sets and lifts them: one task run per batch, which writes its rows."""

from recordings.jobs import hold
from recordings.jobs.hold import Holds
from recordings.jobs.job import Job
from recordings.jobs.result import JobResult
from recordings.jobs.settlement import Settlement
from recordings.pool import shared_pool
from recordings.table.rows import BatchRows
from tasks.jobs import batch_shown, once
from tasks.workplace import workplace


def holds(job: Job, settled: Settlement) -> Holds:
    """The objects to hold, but for those of which dead runs left it unknown what became."""
    place = workplace(job)
    return Holds(job, place.store, place.files, leave=settled.unsettled)


@once(task_run_name="{job.kind} {batch}")
def hold_batch(batch: BatchRows, job: Job) -> JobResult:
    """Set or lift the holds of the batch's objects."""
    place = workplace(job)
    return batch_shown(hold.hold_batch(place.store, place.files, batch, job, shared_pool()))
