"""The commit: ``converted=True`` on exactly the version that was verified."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from recordings.accounting import accounted
from recordings.manifest import TAG_LIMIT, ManifestRow, Status
from recordings.pool import Pool
from recordings.s3.store import Store

CONVERTED_TAG = ("converted", "True")
MOST_TAGS = 10  # "Categorizing your storage using tags" in the S3 user guide


def tag_batch(store: Store, rows: Sequence[ManifestRow], pool: Pool) -> list[ManifestRow]:
    """The rows; those that are verified are tagged in the bucket and completed."""

    def tagged(row: ManifestRow) -> ManifestRow:
        return accounted(row, lambda: _tag(store, row)) if row.holds_replacement and row.verified else row

    return pool.map(tagged, rows)


def _tag(store: Store, row: ManifestRow) -> ManifestRow:
    """Merged into the tags as they are now: S3 replaces the whole set."""
    tags = store.tags(row.key, row.version_after)
    completed = replace(row, finished_at=datetime.now(UTC))
    if CONVERTED_TAG in tags.items():
        return replace(completed, tagged=True)
    wanted = {**tags, **_tags_of_original(store, row)}
    name, value = CONVERTED_TAG
    if len({**wanted, name: value}) <= MOST_TAGS:
        store.put_tags(row.key, row.version_after, {**wanted, name: value})
        return replace(completed, tagged=True)
    if wanted != tags:
        store.put_tags(row.key, row.version_after, wanted)
    return replace(
        completed, reason=f"{TAG_LIMIT}: it has {MOST_TAGS} tags, as many as S3 allows; its metadata says it"
    )


def _tags_of_original(store: Store, row: ManifestRow) -> dict[str, str]:
    """Of a replacement whose run ended before it had compared them; this run's own have been compared already."""
    is_found = row.status is Status.ALREADY_ARCHIVED and row.original_kept and row.version_before
    return store.tags(row.key, row.version_before) if is_found else {}
