"""A check of the recordings at rest as Prefect carries it out: one task run per batch, which writes its rows."""

from recordings.jobs import fixity
from recordings.jobs.job import Job
from recordings.jobs.result import JobResult, JobSummary
from recordings.jobs.search import Search
from recordings.jobs.settlement import Settlement
from recordings.pool import shared_pool
from recordings.table.rows import BatchRows
from tasks.jobs import announce_losses, batch_shown, end, once, returned
from tasks.workplace import workplace


@once(task_run_name="check {batch}")
def check_batch(batch: BatchRows, job: Job) -> JobResult:
    """Compare the batch's replacements with what was judged."""
    place = workplace(job)
    return batch_shown(fixity.check_batch(place.store, place.files, batch, job, shared_pool()))


def end_check(job: Job, settled: Settlement, search: Search) -> JobSummary:
    """Write the record, publish the report, return the summary. Raises JobFailed if anything is lost, or unchecked."""
    summary = end(job, settled, search.sums, notes=search.notes, problems=search.problems)
    if lost := {code: summary.reasons[code] for code in fixity.LOSSES if code in summary.reasons}:
        announce_losses(summary, lost)
    return returned(summary)
