"""The mapped task of each job: one task run per batch, which writes the batch's rows."""

from collections.abc import Callable
from typing import Any

from prefect.tasks import Task

from recordings.jobs import erase, expire, fixity, hold, release, restore
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.result import JobResult
from recordings.pool import shared_pool
from recordings.table.rows import BatchRows
from tasks.jobs import batch_shown, once
from tasks.workplace import workplace

BatchTask = Task[[BatchRows, Job], JobResult]


def _on_batches(
    name: str, work: Callable[..., JobResult], task_run_name: str = "", *, deletes: bool = False
) -> BatchTask:
    """A task that does a job's work on a batch; if ``deletes``, ``work`` gets a store that can delete."""

    def on_batch(batch: BatchRows, job: Job) -> JobResult:
        place = workplace(job)
        store: Any = place.deleting_store if deletes else place.store
        return batch_shown(work(store, place.files, batch, job, shared_pool()))

    return once(task_run_name or f"{name} {{batch}}")(on_batch).with_options(name=f"{name} batch")


restore_batch = _on_batches("restore", restore.restore_batch)
release_batch = _on_batches("release", release.release_batch, deletes=True)
expire_batch = _on_batches("expire", expire.expire_batch, deletes=True)
erase_batch = _on_batches("erase", erase.erase_batch, deletes=True)
hold_batch = _on_batches("hold", hold.hold_batch, "{job.kind} {batch}")
check_batch = _on_batches("check", fixity.check_batch)
