"""Everything that a bucket holds of contacts, keys, days or a run: for holds and erasures.

They ask the bucket, not the audit table: analyses, transcripts and recordings never archived have no row there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

from recordings.jobs.job import Job
from recordings.keys import all_places, contact_of, date_of, places_of
from recordings.recording import Day, days_between
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.reading import Only, audit_dates, read_days
from recordings.table.rows import HOLDS_REPLACEMENT, AuditRow, Status

_ROWS_AT_ONCE = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for: all that is found of any of these. Dates narrow where contacts are looked for."""

    bucket: str
    prefixes: tuple[str, ...]
    contact_ids: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    start_date: date | None = None
    end_date: date | None = None
    run_id: str | None = None


def wanted_by(job: Job) -> Wanted:
    """What a job's own parameters ask for."""
    return Wanted(
        bucket=job.bucket,
        prefixes=job.prefixes,
        contact_ids=job.contact_ids or (),
        keys=job.keys or (),
        start_date=job.start_date,
        end_date=job.end_date,
        run_id=job.of_run,
    )


class Finding:
    """The objects asked for, some thousands at a time, and afterwards what was asked for in vain."""

    def __init__(self, wanted: Wanted, store: Store, files: AuditFiles) -> None:
        self._wanted, self._store, self._files = wanted, store, files
        self._contacts: set[str] = set()
        self._found = 0

    def __iter__(self) -> Iterator[list[str]]:
        """Keys, each once, whether an object or only older versions or delete markers lie there."""
        some = dict[str, None]()
        for key in self._keys():
            some[key] = None
            if len(some) >= _ROWS_AT_ONCE:
                yield self._counted(some)
                some = {}
        if some:
            yield self._counted(some)

    def _counted(self, some: Iterable[str]) -> list[str]:
        keys = sorted(some)
        self._found += len(keys)
        self._contacts |= {contact for key in keys if (contact := contact_of(key))}
        return keys

    def _keys(self) -> Iterator[str]:
        yield from self._wanted.keys
        if self._wanted.contact_ids:
            yield from self._of_contacts(set(self._wanted.contact_ids))
        elif self._wanted.run_id:
            yield from self._of_run(self._wanted.run_id)
        elif self._wanted.start_date or self._wanted.end_date:
            yield from self._of_days()

    def _of_contacts(self, contacts: set[str]) -> Iterator[str]:
        for place in self._places(contacts):
            yield from (key for key in self._below(place) if contact_of(key) in contacts)

    def _places(self, contacts: set[str]) -> list[str]:
        """What is listed: with both dates, the folders of these days; else everything below the prefixes."""
        start, end = self._wanted.start_date, self._wanted.end_date
        if start is None or end is None:
            return sorted({place for prefix in self._wanted.prefixes for place in all_places(prefix)})
        dates = list(days_between(start, end))
        found = {p for each in contacts for prefix in self._wanted.prefixes for p in places_of(each, prefix, dates)}
        return sorted(found)

    def _of_run(self, run_id: str) -> Iterator[str]:
        only = Only(bucket=self._store.bucket, prefixes=self._wanted.prefixes, run_id=run_id)
        for day in audit_dates(self._files):
            rows = read_days(self._files, [day], ["key", "status"], only)
            yield from rows[rows["status"].isin(HOLDS_REPLACEMENT)]["key"]

    def _of_days(self) -> Iterator[str]:
        today = datetime.now(UTC).date()
        known = audit_dates(self._files) or [today]
        first, last = self._wanted.start_date or known[0], self._wanted.end_date or today
        for day in days_between(first, last):
            for prefix in self._wanted.prefixes:
                for place in Day(prefix=prefix, date=day).key_prefixes:
                    yield from self._below(place)

    def _below(self, place: str) -> Iterator[str]:
        last = ""
        for page in self._store.list_versions(place):
            for version in page:
                if version.key != last and not version.key.endswith("/"):  # a folder's placeholder
                    last = version.key
                    yield last

    @property
    def in_vain(self) -> list[str]:
        """A sentence for each contact of which nothing was found, and one if nothing at all was."""
        contacts = [each for each in self._wanted.contact_ids if each not in self._contacts]
        if contacts or self._found:
            return [f"contact {each}: the bucket has nothing of it {self._where}" for each in contacts]
        return [f"the bucket has nothing of what was asked for {self._where}"]

    @property
    def _where(self) -> str:
        below = ", ".join(each or "its root" for each in self._wanted.prefixes)
        return f"below {below}"


def rows_of_keys(keys: Iterable[str], job: Job, reason: str | None) -> list[AuditRow]:
    """A row for each key with which a job begins; what it needs to know of the object, it asks S3."""
    return [
        AuditRow(
            run_id=job.run_id,
            recording_date=date_of(key) or job.started_at.date(),
            bucket=job.bucket,
            key=key,
            contact_id=contact_of(key),
            status=Status.FAILED,
            reason=reason,
            profile="none",
            started_at=datetime.now(UTC),
            software_version=job.software_version,
        )
        for key in keys
    ]
