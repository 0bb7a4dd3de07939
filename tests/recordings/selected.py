"""What a job would take up, all at once: as its flow does it, but for Prefect."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from recordings.jobs.engine.job import Job
from recordings.jobs.engine.search import Search
from recordings.jobs.engine.selection import look_through, rows_of_part
from recordings.pool import Pool
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.rows import AuditRow


@dataclass(frozen=True)
class Selected:
    rows: list[AuditRow]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def selected(
    job: Job, store: Store, files: AuditFiles, pool: Pool, *, unsettled: Mapping[str, date] | None = None
) -> Selected:
    search = Search(
        job,
        store,
        files,
        unsettled or {},
        pool=pool,
        look_through=lambda groups: [look_through(job, files, days) for days in groups],
        take_up=lambda part: rows_of_part(job, files, part),
    )
    rows = [row for batches in search for batch in batches for row in batch.rows]
    return Selected(rows, tuple(search.problems), tuple(search.notes))
