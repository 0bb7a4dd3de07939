"""What a job would take up, all at once: as its flow does it, but for Prefect and for the size."""

from collections.abc import Collection
from dataclasses import dataclass

from recordings.jobs.job import Job
from recordings.jobs.left import days_to_look_at
from recordings.jobs.selection import (
    ByProvenance,
    knows_bucket,
    look_through,
    of_unknown_bucket,
    packed,
    rows_of_part,
    sentences,
)
from recordings.pool import Pool
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.rows import AuditRow


@dataclass(frozen=True)
class Selected:
    rows: list[AuditRow]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def selected(job: Job, store: Store, files: AuditFiles, pool: Pool, *, unsettled: Collection[str] = ()) -> Selected:
    rows: list[AuditRow] = []
    if knows_bucket(job, files):
        found = look_through(job, files, days_to_look_at(job, files).dates)
        for part in packed(found.parts):
            rows += rows_of_part(job, files, part, unsettled=unsettled)
        problems, notes = sentences(job, files, found)
    elif job.traits.brings_back:
        by_provenance = ByProvenance(job, store, files, pool)
        rows = [row for some in by_provenance for row in some]
        problems, notes = by_provenance.sentences()
    else:
        problems, notes = of_unknown_bucket(job)
    return Selected(rows, tuple(problems), tuple(notes))
