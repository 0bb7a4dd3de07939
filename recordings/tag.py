"""The commit: ``converted=True`` on exactly the version that was verified."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from recordings.marks import CONVERTED_TAG, MAX_TAGS
from recordings.outcomes import accounted
from recordings.pool import Pool
from recordings.s3.store import Store
from recordings.table.rows import TAG_LIMIT, AuditRow


def tag_batch(store: Store, rows: Sequence[AuditRow], pool: Pool) -> list[AuditRow]:
    """Tag the verified rows' objects in the bucket; returns all rows, the tagged ones completed."""

    def tagged(row: AuditRow) -> AuditRow:
        return accounted(row, lambda: _tag(store, row)) if row.holds_replacement and row.verified else row

    return pool.map(tagged, rows)


def _tag(store: Store, row: AuditRow) -> AuditRow:
    """Add the tag to the current tags, since S3 replaces the whole set."""
    tags = store.tags(row.key, row.version_after)
    completed = replace(row, finished_at=datetime.now(UTC))
    if CONVERTED_TAG in tags.items():
        return replace(completed, tagged=True)
    name, value = CONVERTED_TAG
    if len({**tags, name: value}) <= MAX_TAGS:
        store.put_tags(row.key, row.version_after, {**tags, name: value})
        return replace(completed, tagged=True)
    reason = f"{TAG_LIMIT}: it has {MAX_TAGS} tags, as many as S3 allows; its metadata says it"
    return replace(completed, reason=reason)
