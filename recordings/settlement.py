"""Runs that died are settled: what they had done gets the row that they could not write, in their name."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from recordings.accounting import accounted
from recordings.files import AuditFiles
from recordings.intents import Intent, close, files_of, is_over, open_intents, untold, write_untold
from recordings.manifest import ManifestFile, ManifestRow, Status
from recordings.operation import DONE
from recordings.pool import Pool
from recordings.release import found_released
from recordings.restore import found_restored
from recordings.s3.store import Store

_NO_KEY = "_no-such-folder/"  # as short a listing as can be
_LOOK: Mapping[str, Callable[[Store, ManifestRow], ManifestRow]] = {
    "release": found_released,
    "restore": found_restored,
}


class Settlement:
    """What runs that died had done without a row, and got one now. A plain class, as Batch is."""

    __slots__ = ("files", "over", "problems", "rows")

    def __init__(self) -> None:
        self.files: list[ManifestFile] = []
        self.over: list[tuple[Intent, list[ManifestFile]]] = []  # to be closed once the files are accounted for
        self.problems: list[str] = []
        self.rows = 0


def settle(store: Store, files: AuditFiles, pool: Pool, *, abandoned_after: timedelta) -> Settlement:
    """Write the rows that open intents are owed.

    The newest intent first: what an older run had done before the newer one set out, the newer one has settled.
    """
    settlement = Settlement()
    intents = open_intents(files, store.bucket)
    if intents:
        next(iter(store.list_objects(_NO_KEY)), None)  # raises where there is no such bucket: nothing is "gone" then
    for intent in reversed(intents):
        looked = _looked_at(store, files, intent, pool)
        settlement.rows += _write(files, intent, looked)
        manifest = files_of(files, intent)
        settlement.files += manifest
        unknown = [
            f"{intent.kind} {row.run_id}, {row.key}: {row.reason}" for row in looked if row.status is Status.FAILED
        ]
        settlement.problems += unknown
        if not unknown and is_over(files, intent, abandoned_after=abandoned_after):
            settlement.over.append((intent, manifest))
    return settlement


def close_settled(files: AuditFiles, settlement: Settlement) -> None:
    """Close the intents of runs that can do nothing more. Only after the end record that lists their files."""
    for intent, manifest in settlement.over:
        close(files, intent, manifest)


def _looked_at(store: Store, files: AuditFiles, intent: Intent, pool: Pool) -> list[ManifestRow]:
    """What the bucket shows of each recording whose row is not there yet."""
    look = _LOOK[intent.kind]

    def looked(row: ManifestRow) -> ManifestRow:
        return accounted(replace(row, status=Status.FAILED), lambda: look(store, row))

    return pool.map(looked, _untold(files, intent.rows))


def _write(files: AuditFiles, intent: Intent, looked: Sequence[ManifestRow]) -> int:
    owed = _untold(files, [row for row in looked if row.status in DONE])
    write_untold(files, intent, owed)
    return len(owed)


def _untold(files: AuditFiles, rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    by_day: dict[date, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        by_day[row.recording_date].append(row)
    return [row for day, of_day in sorted(by_day.items()) for row in untold(files, day, of_day)]
