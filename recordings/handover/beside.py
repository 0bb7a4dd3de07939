"""What a bucket has of an export's contacts and the audit table has no rows of.

This is what Contact Lens wrote, analyses with transcripts and redacted recordings, and recordings that no run has
archived. A contact without files of Contact Lens is no error, since Contact Lens may have been off.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date

import pandas as pd

from recordings.handover.export import Export
from recordings.handover.item import Item
from recordings.keys import OF_CONTACT_LENS, Content, date_of, few_or_all, layout_of, outermost, places_of, prefix_of
from recordings.observed import bare_row
from recordings.pool import Pool
from recordings.retrying import retrying
from recordings.s3.store import Store
from recordings.table.rows import Side, Status


def look_beside(export: Export, store: Store, rows: pd.DataFrame, pool: Pool) -> list[Item]:
    """The current objects of the contacts that the rows name, without those that have rows, in key order."""
    contacts, known = set(rows["contact_id"].dropna()), set(rows["key"])
    listed = pool.map(lambda place: retrying()(_listed, store, place), list(outermost(_places(export, rows))))
    unknown = (each for page in listed for each in page if each[0] not in known)
    found = (_item(export, key, size_bytes, of_class) for key, size_bytes, of_class in unknown)
    return [each for each in found if each is not None and each.row.contact_id in contacts]


def _places(export: Export, rows: pd.DataFrame) -> Iterator[str]:
    holds = tuple(Content) if export.contact_ids else OF_CONTACT_LENS
    by_day = defaultdict[tuple[str, date], set[str]](set)
    named = rows.dropna(subset="contact_id").drop_duplicates("key")
    for key, contact, day in named[["key", "contact_id", "recording_date"]].itertuples(index=False):
        by_day[prefix_of(key), day].add(contact)
    for (prefix, day), contacts in by_day.items():
        for contact in few_or_all(contacts):
            yield from places_of(contact, prefix, [day], holds)


def _listed(store: Store, place: str) -> list[tuple[str, int, str]]:
    return [(each["Key"], each["Size"], each.get("StorageClass", "STANDARD")) for each in store.list_objects(place)]


def _item(export: Export, key: str, size_bytes: int, storage_class: str) -> Item | None:
    layout, day = layout_of(key), date_of(key)
    if layout is None or day is None:
        return None
    is_of_contact_lens = layout.holds in OF_CONTACT_LENS
    if not (is_of_contact_lens or _is_asked(export, key, day)):
        return None
    row = bare_row(key, day, bucket=export.bucket, run_id=export.run_id, status=Status.SKIPPED)
    side = Side(size_bytes=size_bytes, storage_class=storage_class)
    return Item(row=row, what=layout.holds if is_of_contact_lens else "original", side=side)


def _is_asked(export: Export, key: str, day: date) -> bool:
    """Whether a recording without a row is asked for: by its contact, and not by keys or by what one run did."""
    is_of_days = (export.start_date or day) <= day <= (export.end_date or day)
    by_contact = bool(export.contact_ids) and not (export.keys or export.of_run)
    return by_contact and is_of_days and key.startswith(export.prefixes)
