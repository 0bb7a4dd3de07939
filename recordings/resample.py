"""The story of one recording: read, look, convert, judge, replace. Nothing is written before the judge agreed."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime

from recordings import __version__
from recordings.accounting import accounted
from recordings.audio import AudioFormat, Conversion, convert
from recordings.decision import check_is_due, check_may_be_replaced, is_done, left_as_it_is
from recordings.errors import Changed, Rejected, Unproven
from recordings.manifest import ManifestRow, Status
from recordings.pool import Pool
from recordings.provenance import UNVERSIONED, Provenance, format_words, parse_format, provenance_of
from recordings.recording import Batch, Recording, contact_id_in, date_in
from recordings.run import Run
from recordings.s3.objects import StoredObject, Written
from recordings.s3.store import Body, Store

# Classes that charge for each byte read ("Amazon S3 pricing"): look at the headers before asking for the body.
_CHARGED_FOR_READING = ("GLACIER_IR", "STANDARD_IA", "ONEZONE_IA")
_BUFFERS_BYTES = 2 * 1024 * 1024


def resample_batch(store: Store, batch: Batch, run: Run, pool: Pool) -> list[ManifestRow]:
    """One row per recording, in the order of the batch."""
    return pool.map(
        lambda recording: resample_recording(store, recording, run),
        batch.recordings,
        lambda recording: int(recording.size_bytes * run.profile.size_ratio) + _BUFFERS_BYTES,
    )


def resample_recording(store: Store, recording: Recording, run: Run) -> ManifestRow:
    """Make one recording small, or say why not."""
    row = listed_row(recording, run)
    return accounted(row, lambda: _resample(store, recording, run, row))


def listed_row(recording: Recording, run: Run) -> ManifestRow:
    """What is known of a recording from the listing alone."""
    return ManifestRow(
        run_id=run.run_id,
        recording_date=recording.recording_date,
        bucket=recording.bucket,
        key=recording.key,
        contact_id=recording.contact_id,
        status=Status.FAILED,
        profile=run.profile_name,
        bytes_before=recording.size_bytes,
        etag_before=recording.etag,
        storage_class_before=recording.storage_class,
        started_at=datetime.now(UTC),
        software_version=run.software_version,
    )


def _resample(store: Store, recording: Recording, run: Run, row: ManifestRow) -> ManifestRow:
    check_is_due(recording, run)
    if recording.storage_class in _CHARGED_FOR_READING:
        head = store.head(recording.key)
        if is_done(head, run):
            return _confirmed(store, row, head)
    try:
        return _rewrite(store, recording, run, row)
    except Changed:  # by somebody else, or by us: a PUT whose answer was lost is sent again and meets its own result
        head = store.head(recording.key)
        if not _is_replacement_of(recording, head, run):
            raise
        return _confirmed(store, row, head)


def _rewrite(store: Store, recording: Recording, run: Run, row: ManifestRow) -> ManifestRow:
    with store.read(recording.key, if_match=recording.etag) as (current, body):
        if is_done(current, run):
            return _confirmed(store, row, current)
        tags = check_may_be_replaced(store, current, run)
        with _original(store, current, body) as (original, original_body):
            conversion = convert(original_body, original.size_bytes, run.profile)
    stays = left_as_it_is(
        already=conversion.already,
        bytes_before=original.size_bytes,
        bytes_after=len(conversion.body),
        storage_class=current.storage_class,
        run=run,
    )
    if stays:
        return _left_as_it_is(row, current, conversion, stays)
    written = store.replace(
        current,
        conversion.body,
        sha256=conversion.result_sha256,
        storage_class=run.storage_class,
        content_type=_content_type(current, run),
        metadata=_provenance(original, conversion, run).added_to(current.metadata),
        tags=tags,
    )
    _carry_late_changes(store, current, tags, written)
    return _archived(row, original, conversion, written, run)


def _carry_late_changes(store: Store, current: StoredObject, tags: Mapping[str, str], written: Written) -> None:
    """What others changed on the old version between our look and our PUT; asked only where there was something."""
    replaced = current.version_id or UNVERSIONED
    if written.version_id is None or written.version_id == replaced:
        return  # without versioning there is no old version
    if tags:
        _carry_tags(store, current.key, sent=tags, replaced=replaced, by=written.version_id)
    if current.legal_hold and not store.head(current.key, replaced).legal_hold:
        store.put_hold(current.key, written.version_id, held=False)


def _carry_tags(store: Store, key: str, *, sent: Mapping[str, str], replaced: str, by: str) -> None:
    """The old version's tags as they are now, and those that others have put on the new one since."""
    wanted, found = store.tags(key, replaced), store.tags(key, by)
    if wanted == found:
        return
    of_others = {name: value for name, value in found.items() if (name, value) not in sent.items()}
    store.put_tags(key, by, {**of_others, **wanted})
    if wanted.items() - store.tags(key, by).items():
        raise Unproven("tags-differ", f"the original has the tags {wanted}, the replacement {store.tags(key, by)}")


def _is_replacement_of(recording: Recording, current: StoredObject, run: Run) -> bool:
    provenance = provenance_of(current.metadata)
    return provenance is not None and (provenance.run_id == run.run_id or provenance.original_etag == recording.etag)


def _original(store: Store, current: StoredObject, body: Body) -> AbstractContextManager[tuple[StoredObject, Body]]:
    """The source to convert from: never a conversion, always what it was made of."""
    provenance = provenance_of(current.metadata)
    if provenance is None:
        return nullcontext((current, body))
    try:
        store.head(current.key, provenance.original_version)
    except Changed as error:
        raise Rejected("original-gone", "its original was released: a conversion is never converted again") from error
    return store.read(current.key, version_id=provenance.original_version)


def _content_type(current: StoredObject, run: Run) -> str:
    """What the object had, unless the profile puts something else than WAV there."""
    return current.content_type if run.profile.content_type == "audio/wav" else run.profile.content_type


def _provenance(original: StoredObject, conversion: Conversion, run: Run) -> Provenance:
    return Provenance(
        original_etag=original.etag,
        original_version=original.version_id or UNVERSIONED,
        original_size=str(original.size_bytes),
        original_class=original.storage_class,
        original_sha256=conversion.source_sha256,
        original_format=format_words(conversion.source),
        duration_s=f"{conversion.duration_s:.6f}",
        result_sha256=conversion.result_sha256,
        result_format=format_words(conversion.result),
        profile=run.profile_name,
        run_id=run.run_id,
    )


def _archived(
    row: ManifestRow, original: StoredObject, conversion: Conversion, written: Written, run: Run
) -> ManifestRow:
    return replace(
        _with_formats(row, conversion.source, conversion.result, conversion.duration_s),
        status=Status.ARCHIVED,
        note=conversion.note,
        bytes_before=original.size_bytes,
        bytes_after=len(conversion.body),
        sha256_before=conversion.source_sha256,
        sha256_after=conversion.result_sha256,
        etag_before=original.etag,
        etag_after=written.etag,
        version_before=original.version_id or UNVERSIONED,
        version_after=written.version_id,
        storage_class_before=original.storage_class,
        storage_class_after=run.storage_class,
        attempts=original.attempts + written.attempts - 1,
        **(asdict(conversion.fidelity) if conversion.fidelity else {}),
    )


def _left_as_it_is(row: ManifestRow, current: StoredObject, conversion: Conversion, reason: str) -> ManifestRow:
    """As small as it gets, by somebody else's doing: what it was made of is not known."""
    return replace(
        _with_formats(row, conversion.source, conversion.source, conversion.duration_s),
        status=Status.ALREADY_ARCHIVED,
        reason=reason,
        note=conversion.note,
        bytes_after=current.size_bytes,
        sha256_before=conversion.source_sha256,
        sha256_after=conversion.source_sha256,
        etag_after=current.etag,
        version_after=current.version_id,
        storage_class_after=current.storage_class,
        attempts=current.attempts,
    )


def _confirmed(store: Store, row: ManifestRow, current: StoredObject) -> ManifestRow:
    """The replacement that lies there, in the words of its own provenance."""
    provenance = provenance_of(current.metadata)
    assert provenance is not None  # noqa: S101 (the callers have looked)
    if store.sha256_of(current) != provenance.result_sha256:
        raise Rejected("not-as-written", "its provenance is ours, but its SHA-256 is not of what we wrote")
    by_us = provenance.run_id == row.run_id
    source, result = parse_format(provenance.original_format), parse_format(provenance.result_format)
    return replace(
        _with_formats(row, source, result, float(provenance.duration_s)),
        status=Status.ARCHIVED if by_us else Status.ALREADY_ARCHIVED,
        reason=None if by_us else f"found-archived: by run {provenance.run_id}",
        profile=provenance.profile,
        bytes_before=int(provenance.original_size),
        bytes_after=current.size_bytes,
        sha256_before=provenance.original_sha256,
        sha256_after=provenance.result_sha256,
        etag_before=provenance.original_etag,
        etag_after=current.etag,
        version_before=provenance.original_version,
        version_after=current.version_id,
        storage_class_before=provenance.original_class,
        storage_class_after=current.storage_class,
        attempts=current.attempts + (1 if by_us else 0),
    )


def found_row(store: Store, key: str) -> ManifestRow | None:
    """The row of a replacement as its own provenance tells it; None where what lies there is not ours."""
    current = store.head(key)
    provenance = provenance_of(current.metadata)
    day = date_in(key)
    if provenance is None or day is None:
        return None
    row = ManifestRow(
        run_id=provenance.run_id,
        recording_date=day,
        bucket=store.bucket,
        key=key,
        contact_id=contact_id_in(key),
        status=Status.FAILED,
        profile=provenance.profile,
        started_at=datetime.now(UTC),
        software_version=__version__,
    )
    return _confirmed(store, row, current)


def _with_formats(row: ManifestRow, source: AudioFormat, result: AudioFormat, duration_s: float) -> ManifestRow:
    return replace(
        row,
        codec_before=source.codec,
        codec_after=result.codec,
        sample_rate_before_hz=source.sample_rate_hz,
        sample_rate_after_hz=result.sample_rate_hz,
        channels_before=source.channels,
        channels_after=result.channels,
        duration_before_s=duration_s,
        duration_after_s=duration_s,
    )
