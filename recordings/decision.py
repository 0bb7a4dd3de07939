"""Decide in one place what becomes of a recording: a run carries the decision out, a forecast counts it."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeGuard

from recordings.errors import Changed, Rejected, Skipped
from recordings.gate import Kept, Terms, archiving_usd, cheapest_unconverted_usd, pays
from recordings.holds import check_no_case_holds, held_for
from recordings.lifecycle_rules import Stored
from recordings.marks import CONVERTED_TAG, check_not_exempt, without_converted
from recordings.pricing import MONTH_DAYS, costs_more, prices
from recordings.provenance import Provenance, check_room_for_provenance, provenance_of
from recordings.recording import Recording
from recordings.retention import Retention
from recordings.run import Run
from recordings.s3.objects import StoredObject
from recordings.s3.store import Body, Store, tagging

FOUND_CONVERTED = ("found-converted", "already in the format asked for")
NOT_WORTH_IT = "not-worth-it"
WAS_DESTROYED = "destroyed"
NOT_SMALLER = ("not-smaller", "the conversion would take as many bytes or more")
_MAX_TAGGING_BYTES = 4096  # as a header: S3 allows 8 KB of headers in all, and metadata needs its share


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A recording that may be replaced, with the version to convert: never a conversion, always its original."""

    recording: Recording
    current: StoredObject
    original: StoredObject  # the version to convert
    body: Body  # of the original
    tags: Mapping[str, str]  # with which a replacement must be written

    @property
    def again(self) -> bool:
        """Whether the recording was converted before, and the operator wants a new conversion."""
        return self.original is not self.current


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A recording that an earlier run of ours has converted, and that stays as it is."""

    current: StoredObject
    provenance: Provenance


def check_is_due(recording: Recording, run: Run) -> None:
    """Raise Skipped for a recording that the listing and the audit table already show not to be due."""
    if recording.destroyed_by:
        raise Skipped(WAS_DESTROYED, f"{recording.destroyed_by}; somebody has brought it back")
    if not recording.key.endswith(".wav"):
        raise Skipped("not-a-recording", "its key does not end in .wav")
    if recording.recorded_at >= run.recorded_before:
        raise Skipped("too-young", f"less than {run.min_age_days} days old at {run.scheduled_at:%Y-%m-%d}")


def is_done(provenance: Provenance | None, run: Run) -> TypeGuard[Provenance]:
    """Whether an earlier run of ours has converted this recording, and the operator wants no new conversion."""
    return provenance is not None and not run.overwrite_converted


@contextmanager
def open_source(store: Store, recording: Recording, run: Run) -> Iterator[Source | Done]:
    """Read the headers of the recording, and open the version to convert.

    Raises Skipped where the recording must stay, or would lose something; Rejected where its original is gone.
    """
    with store.read(recording.key, if_match=recording.etag) as (current, body):
        provenance = provenance_of(current.metadata)
        if is_done(provenance, run):
            yield Done(current=current, provenance=provenance)
            return
        tags = without_converted(_check_may_be_replaced(store, recording, current, run))
        if provenance is None:
            yield Source(recording=recording, current=current, original=current, body=body, tags=tags)
            return
        version_id = provenance.original.version
        try:
            store.head(current.key, str(version_id))
        except Changed as error:
            sentence = "its original was released: a conversion is never converted again"
            raise Rejected("original-gone", sentence) from error
        with store.read(current.key, version_id=version_id) as (original, original_body):
            yield Source(recording=recording, current=current, original=original, body=original_body, tags=tags)


def _check_may_be_replaced(store: Store, recording: Recording, current: StoredObject, run: Run) -> dict[str, str]:
    """The tags that a replacement must have. Raises Skipped where the recording must stay, or would lose something."""
    tags = _tags(store, current)
    check_not_exempt(tags, current.metadata)
    if current.held and not run.include_held:
        raise Skipped("held", "under a hold; include_held=True archives it, hold and all")
    if not run.include_held:
        check_no_case_holds(tags)
        if recording.cases:
            raise held_for(recording.cases)
    if current.not_carried:
        raise Skipped("not-carried", f"a replacement would lose {current.not_carried}")
    if len(tagging(tags)) > _MAX_TAGGING_BYTES:
        raise Skipped("tags-too-long", f"its tags take {len(tagging(tags)):,} bytes of a request's headers")
    check_room_for_provenance(current.metadata)
    _check_ownership(store, current)
    return tags


def _tags(store: Store, current: StoredObject) -> dict[str, str]:
    """The object's tags. They are not requested where S3 is known to report tag counts, and reports none."""
    if current.tag_count == 0 or (current.tag_count is None and store.sight.shows_tag_counts):
        return {}
    return store.tags(current.key, current.version_id)


def _check_ownership(store: Store, current: StoredObject) -> None:
    acl = store.acl(current.key, current.version_id) if store.acls_enabled else None
    if acl and acl.grants:
        whom = ", ".join(f"{grantee} ({permission})" for grantee, permission in acl.grants)
        raise Skipped("acl-grants", f"a replacement would not be open to {whom}; disable ACLs on the bucket")
    ours = store.sight.owner
    if acl and ours and acl.owner != ours:
        raise Skipped("other-owner", f"{acl.owner} owns it, but {ours} would own a replacement; disable ACLs")


def weigh(
    source: Source, run: Run, retention: Retention, *, already: bool, duration_s: float, bytes_after: int
) -> tuple[Kept, Skipped | None]:
    """The recording as it is kept now, and why its bytes stay as they are; None if they are to be replaced.

    ``already`` means the same as in ``left_as_it_is``.
    """
    kept = _kept_of(source, run, retention, duration_s=duration_s, bytes_after=bytes_after)
    return kept, left_as_it_is(kept, already=already, again=source.again, bytes_after=bytes_after, run=run)


def _kept_of(source: Source, run: Run, retention: Retention, *, duration_s: float, bytes_after: int) -> Kept:
    """The recording, and for how many months ``retention`` keeps it and its replacement from the scheduled time on."""
    recording, original, tags = source.recording, source.original, source.tags

    def months_left(size_bytes: int, tags: Mapping[str, str], written_at: datetime) -> float:
        stored = Stored(key=recording.key, size_bytes=size_bytes, tags=tags, written_at=written_at)
        ends_at = retention.ends_at(stored, recording.recorded_at)
        return max(0, (ends_at - run.scheduled_at) / timedelta(days=MONTH_DAYS))

    marked = {**tags, CONVERTED_TAG[0]: CONVERTED_TAG[1]}
    return Kept(
        storage_class=recording.storage_class,
        size_bytes=original.size_bytes,
        minutes=duration_s / 60,
        tags=len(tags),
        age_days=(run.scheduled_at - recording.recorded_at) / timedelta(days=1),
        months_left=months_left(original.size_bytes, tags, original.last_modified),
        months_left_archived=months_left(bytes_after, marked, run.scheduled_at),
        by_kms=original.encryption.asks_kms,
    )


def weighed_by(run: Run, retention: Retention) -> str:
    """A digest of everything that decides what is worth archiving, except the recording itself."""
    return hashlib.sha256(repr((prices(), retention, run.terms)).encode()).hexdigest()[:16]


def may_pay_later(kept: Kept) -> bool:
    """Whether archiving may pay later: only if deleting the original is still charged as too early."""
    return kept.age_days < prices().of_class(kept.storage_class).minimum_storage_days


def left_as_it_is(kept: Kept, *, already: bool, again: bool, bytes_after: int, run: Run) -> Skipped | None:
    """Why the bytes stay as they are; None if they are to be replaced.

    ``already``: the recording already has the profile's format; then only another storage class may justify a rewrite.
    ``again``: the recording was converted before, and the operator wants a new conversion, whatever it costs.
    """
    if already and not costs_more(kept.storage_class, run.storage_class):
        return Skipped(*FOUND_CONVERTED)
    if not already and bytes_after >= kept.size_bytes:
        return Skipped(*NOT_SMALLER)
    if again or run.archive_unprofitable or pays(kept, bytes_after, run.terms, prices()):
        return None
    if already:
        code, sentence = FOUND_CONVERTED
        return Skipped(
            code, f"{sentence}; a lifecycle rule moves it to {run.storage_class} for less than a rewrite costs"
        )
    return Skipped(NOT_WORTH_IT, _loss(kept, bytes_after, run.terms))


def _loss(kept: Kept, bytes_after: int, terms: Terms) -> str:
    archived = archiving_usd(kept, bytes_after, terms, prices())
    otherwise = cheapest_unconverted_usd(kept, terms, prices())
    return (
        f"archived, its {kept.months_left:.0f} months to come cost ${archived:.6f}; as it is, at most moved to "
        f"{terms.storage_class} by a lifecycle rule, ${otherwise:.6f}"
    )
