"""What an operation would take up, all at once: as its flow does it, but for Prefect and for the size."""

from collections.abc import Collection
from dataclasses import dataclass

from recordings.files import AuditFiles
from recordings.left import days_to_look_at
from recordings.manifest import ManifestRow
from recordings.operation import Operation
from recordings.pool import Pool
from recordings.s3.store import Store
from recordings.selection import (
    ByProvenance,
    knows_bucket,
    look_through,
    of_unknown_bucket,
    packed,
    rows_of_part,
    sentences,
)


@dataclass(frozen=True)
class Selected:
    rows: list[ManifestRow]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def selected(
    operation: Operation, store: Store, files: AuditFiles, pool: Pool, *, unsettled: Collection[str] = ()
) -> Selected:
    rows: list[ManifestRow] = []
    if knows_bucket(operation, files):
        found = look_through(operation, files, days_to_look_at(operation, files).dates)
        for part in packed(found.parts):
            rows += rows_of_part(operation, files, part, unsettled=unsettled)
        problems, notes = sentences(operation, files, found)
    elif operation.kind == "restore":
        by_provenance = ByProvenance(operation, store, files, pool)
        rows = [row for some in by_provenance for row in some]
        problems, notes = by_provenance.sentences()
    else:
        problems, notes = of_unknown_bucket(operation)
    return Selected(rows, tuple(problems), tuple(notes))
