"""Settle runs that died: write in their name the rows that they could not write.

To settle an intent means to look up in the bucket what its run has done, and to write the rows that the run owes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta

from recordings.errors import AuditDamaged
from recordings.jobs.engine.intents import (
    Intent,
    began_before,
    close,
    damaged_intents,
    files_of,
    is_over,
    open_intents,
    owed,
    write_untold,
)
from recordings.jobs.engine.kinds import DONE, TRACES
from recordings.outcomes import accounted
from recordings.pool import Pool
from recordings.retrying import patience
from recordings.s3.store import Store
from recordings.table.evidence import listed_digests
from recordings.table.files import AuditFiles
from recordings.table.rows import AuditRow, ManifestFile, Status

_NO_KEY = "_no-such-folder/"  # for a listing that is as short as possible


class Settlement:
    """The deeds of dead runs that got their rows only now. A plain class, as Batch is."""

    __slots__ = ("files", "over", "problems", "rows", "unsettled")

    def __init__(self) -> None:
        self.files: list[ManifestFile] = []
        self.over: list[tuple[Intent, list[ManifestFile]]] = []  # to be closed once the record lists the files
        self.problems: list[str] = []
        self.rows = 0
        # Keys that could not be looked at, to see whether a dead run had changed them, each with the day of its call.
        self.unsettled: dict[str, date] = {}


def settle(store: Store, files: AuditFiles, pool: Pool, *, abandoned_after: timedelta) -> Settlement:
    """Write the rows that runs with open intents still owe.

    The newest intent comes first: its run has already settled what older runs had done before.
    """
    settlement = Settlement()
    settlement.problems += [
        f"{name} cannot be read, so it is not known what its run had done" for name in damaged_intents(files)
    ]
    intents = open_intents(files, store.bucket)
    if not intents:
        return settlement
    patience()(lambda: next(iter(store.list_objects(_NO_KEY)), None))  # raises if the bucket does not exist
    listed = listed_digests(files, began_before(intents[0]))  # the oldest
    for intent in reversed(intents):
        manifest, is_known = list[ManifestFile](), True
        for day, of_day in _by_day(intent):
            try:
                looked = _looked_at(store, files, of_day, pool)
                settlement.rows += _write(files, of_day, looked)
                # Files that a record lists already are not listed anew: their bytes may have changed since.
                manifest += [file for file in files_of(files, of_day) if file.name not in listed]
            except AuditDamaged as error:
                settlement.problems.append(
                    f"it is not known what {intent.kind} {intent.run_id} had done to calls of {day}, so these are left "
                    f"out: {error}"
                )
                settlement.unsettled |= {row.key: day for row in of_day.rows}
                is_known = False
                continue
            unknown = [row for row in looked if row.status is Status.FAILED]
            settlement.problems += [
                f"{intent.kind} {row.run_id}, {row.key}: {row.reason}; left out until it can be looked at"
                for row in unknown
            ]
            settlement.unsettled |= {row.key: day for row in unknown}
            is_known = is_known and not unknown
        settlement.files += manifest
        if is_known and is_over(files, intent, abandoned_after=abandoned_after):
            settlement.over.append((intent, manifest))
    return settlement


def close_settled(files: AuditFiles, settlement: Settlement) -> None:
    """Close the intents of dead runs. To be called only after the end record that lists their files."""
    for intent, manifest in settlement.over:
        close(files, intent, manifest)


def _by_day(intent: Intent) -> Iterator[tuple[date, Intent]]:
    """What the intent says of each day: if a file of one day is damaged, the others can be settled."""
    for day in intent.days:
        yield day, replace(intent, days=(day,), rows=tuple(row for row in intent.rows if row.recording_date == day))


def _looked_at(store: Store, files: AuditFiles, intent: Intent, pool: Pool) -> list[AuditRow]:
    """The rows, from what the bucket shows, of the intent's recordings that have none yet."""

    def looked(row: AuditRow) -> AuditRow:
        return accounted(replace(row, status=Status.FAILED), lambda: TRACES[intent.kind](store, row))

    return pool.map(looked, owed(files, intent))


def _write(files: AuditFiles, intent: Intent, looked: Sequence[AuditRow]) -> int:
    rows = owed(files, intent, [row for row in looked if row.status in DONE])
    write_untold(files, intent, rows)
    return len(rows)
