"""Everything that a bucket holds of contacts, keys, days or a run: for holds and erasures.

Both list the bucket, because analyses, transcripts and recordings that no run archived have no rows in the audit table.
Only a selection by run reads the table.
"""

from collections.abc import Iterable, Iterator

from recordings.errors import AuditDamaged, StoreUnavailable
from recordings.jobs.engine.job import Job, bare_row
from recordings.keys import all_places, contact_of, date_of, few_or_all, outermost, places_of
from recordings.recording import Day, days_between
from recordings.request import Selection
from recordings.retrying import patience
from recordings.s3.objects import Version
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.reading import Only, audit_dates, read_days
from recordings.table.rows import HOLDS_REPLACEMENT, AuditRow, Status
from recordings.versions import versions_of

_ROWS_AT_ONCE = 4000


class ObjectSearch:
    """The objects asked for, some thousands at a time, and afterwards what was asked for in vain.

    With ``with_markers``, keys of which only delete markers are left count, too.
    """

    def __init__(self, wanted: Selection, store: Store, files: AuditFiles, *, with_markers: bool = True) -> None:
        self._wanted, self._store, self._files = wanted, store, files
        self._with_markers = with_markers
        self._contacts: set[str] = set()
        self._missing: list[str] = []
        self.unread: list[str] = []  # a sentence for each day of which it is not known what the run archived
        self._found = 0

    def __iter__(self) -> Iterator[list[str]]:
        """Keys, each once, whether an object or only older versions lie there."""
        some = list[str]()
        for key in self._keys():
            some.append(key)
            self._found += 1
            if contact := contact_of(key):
                self._contacts.add(contact)
            if len(some) >= _ROWS_AT_ONCE:
                yield some
                some = []
        if some:
            yield some

    def _keys(self) -> Iterator[str]:
        named = set(self._wanted.keys)
        yield from self._named()
        if self._wanted.contact_ids:
            yield from (key for key in self._of_contacts(set(self._wanted.contact_ids)) if key not in named)
        elif self._wanted.of_run:
            yield from self._of_run(self._wanted.of_run)
        elif not named and (self._wanted.start_date or self._wanted.end_date):
            yield from self._of_days()

    def _named(self) -> Iterator[str]:
        for key in self._wanted.keys:
            if self._keys_of(patience()(versions_of, self._store, key)):
                yield key
            else:
                self._missing.append(key)

    def _of_contacts(self, contacts: set[str]) -> Iterator[str]:
        for place in self._places(contacts):
            yield from (key for key in self._below(place) if contact_of(key) in contacts)

    def _places(self, contacts: set[str]) -> list[str]:
        """What is listed: with both dates, the folders of these days; else everything below the prefixes."""
        start, end = self._wanted.start_date, self._wanted.end_date
        if start is None or end is None:
            return list(outermost(place for prefix in self._wanted.prefixes for place in all_places(prefix)))
        dates = list(days_between(start, end))
        return list(
            outermost(
                place
                for each in few_or_all(contacts)
                for prefix in self._wanted.prefixes
                for place in places_of(each, prefix, dates)
            )
        )

    def _of_run(self, run_id: str) -> Iterator[str]:
        only = Only(bucket=self._store.bucket, prefixes=self._wanted.prefixes, run_id=run_id)
        for day in audit_dates(self._files):
            try:
                rows = read_days(self._files, [day], ["key", "status"], only)
            except AuditDamaged as error:
                self.unread.append(f"calls of {day} are left out: {error}")
                continue
            yield from dict.fromkeys(rows[rows["status"].isin(HOLDS_REPLACEMENT)]["key"])

    def _of_days(self) -> Iterator[str]:
        """With both dates, their folders are listed; else everything below the prefixes."""
        start, end = self._wanted.start_date, self._wanted.end_date
        if start and end:
            days = [
                Day(prefix=prefix, date=day) for day in days_between(start, end) for prefix in self._wanted.prefixes
            ]
            places = [place for day in days for place in day.key_prefixes]
        else:
            places = list(self._wanted.prefixes)
        for place in outermost(places):
            for key in self._below(place):
                day = date_of(key)
                if day and (start or day) <= day <= (end or day):
                    yield key

    def _below(self, place: str) -> Iterator[str]:
        before = set[str]()  # keys of the last page: a further page may begin with more versions of them
        for page in self._pages(place):
            keys = dict.fromkeys(self._keys_of(page))
            yield from (key for key in keys if key not in before and not key.endswith("/"))  # a folder's placeholder
            before = set(keys)

    def _pages(self, place: str) -> Iterator[list[Version]]:
        """The pages of versions below a place; if one fails, the listing begins anew with the last key, for a time."""
        after, pages = "", self._store.list_versions(place)

        def next_page() -> list[Version] | None:
            nonlocal pages
            try:
                return next(pages, None)
            except StoreUnavailable:
                pages = self._store.list_versions(place, after_key=after)
                raise

        while (page := patience()(next_page)) is not None:
            yield page
            *keys, _ = sorted({"", *(version.key for version in page)})  # the next page may have more of the last one
            after = max([after, *keys])

    def _keys_of(self, versions: Iterable[Version]) -> list[str]:
        return [version.key for version in versions if self._with_markers or not version.is_marker]

    @property
    def in_vain(self) -> list[str]:
        """A sentence for each contact and each key of which nothing was found, and one if nothing at all was."""
        keys = [f"key {key}: the bucket has no version of it" for key in self._missing]
        contacts = [each for each in self._wanted.contact_ids if each not in self._contacts]
        named = [*keys, *(f"contact {each}: the bucket has nothing for it {self._where}" for each in contacts)]
        return named if named or self._found else [f"the bucket has nothing of what was asked for {self._where}"]

    @property
    def _where(self) -> str:
        below = ", ".join(each or "its root" for each in self._wanted.prefixes)
        return f"below {below}"


def rows_of_keys(keys: Iterable[str], job: Job, reason: str | None) -> list[AuditRow]:
    """A row for each key with which a job begins; what it needs to know of the object, it asks S3."""
    today = job.started_at.date()
    return [bare_row(key, date_of(key) or today, job, status=Status.FAILED, reason=reason) for key in keys]
