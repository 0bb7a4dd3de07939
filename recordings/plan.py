"""Which recordings a run will look at, and in which batches and waves.

A wave is a group of batches that pass through the stages together. A recording is final if the audit table shows that
an earlier run has dealt with its current content, so that a run need not look at it again.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, groupby

from recordings.dead_runs import DeadRuns
from recordings.decision import weighed_by
from recordings.estimate import Survey
from recordings.formatting import plural
from recordings.pricing import prices
from recordings.recording import Batch, Day, Recording, days_between
from recordings.retention import retention_of
from recordings.retrying import retrying
from recordings.run import Run
from recordings.s3.store import Store
from recordings.settings import settings
from recordings.table.files import AuditFiles
from recordings.table.reading import Final, final_recordings
from recordings.waves import in_waves


class Listing:
    """The recordings of one day that are left to do, and counts of the final ones. A plain class, as Batch is."""

    __slots__ = ("damaged", "day", "final_count", "open", "unprofitable_count")

    def __init__(
        self,
        day: Day,
        open_recordings: Sequence[Recording],
        final_count: int,
        damaged: Sequence[str] = (),
        unprofitable_count: int = 0,
    ) -> None:
        self.day = day
        self.open = tuple(open_recordings)
        self.final_count = final_count
        self.unprofitable_count = unprofitable_count  # of the final recordings, those not worth archiving
        self.damaged = tuple(damaged)  # files of the audit table that cannot be read, so that they make nothing final


class Plan:
    """The waves of a run, each a list of batches. A dry run has no waves, but a survey of what it would look at.

    ``listings`` holds, for each of ``days``, the day's listing or the reason why the day could not be listed.
    """

    __slots__ = (
        "damaged",
        "final_count",
        "recordings",
        "size_bytes",
        "survey",
        "unlisted",
        "unprofitable_count",
        "waves",
    )

    def __init__(self, days: Sequence[Day], listings: Sequence[Listing | BaseException], run: Run) -> None:
        listed = [each for each in listings if isinstance(each, Listing)]
        self.unlisted = [
            f"{day}: {each}" for day, each in zip(days, listings, strict=True) if isinstance(each, BaseException)
        ]
        self.damaged = sorted({name for listing in listed for name in listing.damaged})
        batches = list(pack(listed, run))
        self.recordings = sum(len(batch.recordings) for batch in batches)
        self.size_bytes = sum(recording.size_bytes for batch in batches for recording in batch.recordings)
        self.final_count = sum(listing.final_count for listing in listed)
        self.unprofitable_count = sum(listing.unprofitable_count for listing in listed)
        self.survey = survey_of(listed) if run.dry_run else None
        self.waves = [] if run.dry_run else list(in_waves(batches))

    def __str__(self) -> str:
        return f"{plural(self.recordings, 'recording')} to look at, {self.final_count:,} accounted for by earlier runs"


def days_of(run: Run, dead: DeadRuns) -> list[Day]:
    """Each (prefix, day) of the run's window and of the windows of dead runs: each once, oldest first."""
    windows = [*run.windows, *(window for windows in dead.values() for window in windows)]
    days = {
        Day(prefix=window.prefix, date=day, shard=window.shard)
        for window in windows
        for day in days_between(window.start_date, window.end_date)
    }
    wider = ((day, replace(day, shard=day.shard[:length])) for day in days for length in range(len(day.shard)))
    covered = {day for day, whole in wider if whole in days}
    return sorted(days - covered, key=lambda day: (day.date, day.prefix, day.shard))


def survey_of(listings: Iterable[Listing]) -> Survey:
    """The recordings of these listings that are left to do, added up."""
    total = Survey([], prices())
    for listing in listings:
        total.add(Survey(listing.open, prices()))
        total.final_count += listing.final_count
    return total


def list_day(store: Store, files: AuditFiles, day: Day, run: Run) -> Listing:
    """The day's recordings, except those that the audit table shows as final; those held or destroyed before say so."""
    done = _final(store, files, day, run)
    final = frozenset[tuple[str, str]]() if run.overwrite_converted else done.recordings
    open_recordings, final_count, unprofitable_count = [], 0, 0
    for recording in retrying()(lambda: list(_recordings(store, day))):
        if recording.key in done.destroyed:
            open_recordings.append(replace(recording, destroyed_by=done.destroyed[recording.key]))
        elif (recording.key, recording.etag) in final:
            final_count += 1
            unprofitable_count += (recording.key, recording.etag) in done.unprofitable
        else:
            cases = done.cases.get(recording.key)
            open_recordings.append(replace(recording, cases=cases) if cases else recording)
    return Listing(day, open_recordings, final_count, done.damaged, unprofitable_count)


def _final(store: Store, files: AuditFiles, day: Day, run: Run) -> Final:
    return final_recordings(
        files,
        day,
        bucket=run.bucket,
        profile=run.profile_name,
        software_version=run.software_version,
        weighed_by=None if run.archive_unprofitable else weighed_by(run, retrying()(retention_of, store)),
    )


def _recordings(store: Store, day: Day) -> Iterator[Recording]:
    for item in chain.from_iterable(map(store.list_objects, day.key_prefixes)):
        if not item["Key"].endswith("/"):  # a folder's placeholder
            yield Recording(
                bucket=store.bucket,
                key=item["Key"],
                recording_date=day.date,
                etag=item["ETag"],
                size_bytes=item["Size"],
                storage_class=item.get("StorageClass", "STANDARD"),
            )


def pack(listings: Iterable[Listing], run: Run) -> Iterator[Batch]:
    """Batches in key order, each of one folder and of limited number and bytes."""
    ordered = sorted((each for listing in listings for each in listing.open), key=lambda r: (r.recording_date, r.key))
    for day, of_day in groupby(ordered, key=lambda recording: recording.recording_date):
        folders = groupby(of_day, key=lambda recording: recording.key.rpartition("/")[0])
        batches = (batch for _, recordings in folders for batch in _cut(recordings, run.batch_size))
        for number, batch in enumerate(batches, start=1):
            yield Batch(day, number, batch)


def _cut(recordings: Iterable[Recording], batch_size: int) -> Iterator[list[Recording]]:
    batch: list[Recording] = []
    size_bytes = 0
    for recording in recordings:
        if batch and (len(batch) == batch_size or size_bytes + recording.size_bytes > settings().batch_bytes):
            yield batch
            batch, size_bytes = [], 0
        batch.append(recording)
        size_bytes += recording.size_bytes
    if batch:
        yield batch
