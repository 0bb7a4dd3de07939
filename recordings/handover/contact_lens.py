"""The files of Contact Lens for the contacts of an export: analyses with transcripts, and redacted recordings.

These files have no rows in the audit table, so the export lists the bucket. A contact without such files is no error,
since Contact Lens may have been off.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date

import pandas as pd

from recordings.handover.export import Export
from recordings.handover.item import Item
from recordings.keys import OF_CONTACT_LENS, date_of, few_or_all, layout_of, outermost, places_of, prefix_of
from recordings.observed import bare_row
from recordings.pool import Pool
from recordings.retrying import patience
from recordings.s3.store import Store
from recordings.table.rows import Side, Status


def look_beside(export: Export, store: Store, rows: pd.DataFrame, pool: Pool) -> list[Item]:
    """The current objects that Contact Lens wrote for the contacts that the rows name, in key order."""
    contacts = set(rows["contact_id"].dropna())
    listed = pool.map(lambda place: patience()(_listed, store, place), list(outermost(_places(rows))))
    found = (_item(export, key, size_bytes, of_class) for page in listed for key, size_bytes, of_class in page)
    return [each for each in found if each is not None and each.row.contact_id in contacts]


def _places(rows: pd.DataFrame) -> Iterator[str]:
    by_day = defaultdict[tuple[str, date], set[str]](set)
    named = rows.dropna(subset="contact_id").drop_duplicates("key")
    for key, contact, day in named[["key", "contact_id", "recording_date"]].itertuples(index=False):
        by_day[prefix_of(key), day].add(contact)
    for (prefix, day), contacts in by_day.items():
        for contact in few_or_all(contacts):
            yield from places_of(contact, prefix, [day], OF_CONTACT_LENS)


def _listed(store: Store, place: str) -> list[tuple[str, int, str]]:
    return [(each["Key"], each["Size"], each.get("StorageClass", "STANDARD")) for each in store.list_objects(place)]


def _item(export: Export, key: str, size_bytes: int, storage_class: str) -> Item | None:
    layout, day = layout_of(key), date_of(key)
    if layout is None or day is None or layout.holds not in OF_CONTACT_LENS:
        return None
    row = bare_row(key, day, bucket=export.bucket, run_id=export.run_id, status=Status.SKIPPED)
    return Item(row=row, what=layout.holds, side=Side(size_bytes=size_bytes, storage_class=storage_class))
