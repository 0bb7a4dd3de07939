"""The story of one recording: read, look, convert, judge, replace. Nothing is written before the judge has agreed.

The judge (``recordings.conversion.judge``) compares each result with its source.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from recordings.carry import carry_late_changes
from recordings.conversion.audio import Conversion, convert
from recordings.decision import (
    NOT_WORTH_IT,
    Done,
    Source,
    check_is_due,
    is_done,
    may_pay_later,
    open_source,
    weigh,
    weighed_by,
)
from recordings.errors import Changed, Skipped
from recordings.observed import as_stored, confirmed_row, listed_row
from recordings.outcomes import accounted, ended
from recordings.pool import Pool
from recordings.pricing import CHARGED_FOR_READING
from recordings.profiles import AudioFormat
from recordings.provenance import Provenance, provenance_of
from recordings.recording import Batch, Recording
from recordings.retention import retention_of
from recordings.run import Run
from recordings.s3.objects import UNVERSIONED, StoredObject, Written
from recordings.s3.store import Store
from recordings.table.rows import AuditRow, Side, Status

_BUFFERS_BYTES = 2 * 1024 * 1024


def resample_batch(store: Store, batch: Batch, run: Run, pool: Pool) -> list[AuditRow]:
    """One row per recording, in the order of the batch."""
    return pool.map(
        lambda recording: resample_recording(store, recording, run),
        batch.recordings,
        lambda recording: int(recording.size_bytes * run.profile.held_ratio) + _BUFFERS_BYTES,
    )


def resample_recording(store: Store, recording: Recording, run: Run) -> AuditRow:
    """Convert and replace one recording, or say in its row why not."""
    row, sent = listed_row(recording, run), _Sent()
    return accounted(row, lambda: _resample(store, recording, run, row, sent))


@dataclass(slots=True)
class _Sent:
    """The last PUT that was sent, whether its answer arrived or not: the object that it replaced, and the tags sent."""

    replaced: StoredObject | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def _resample(store: Store, recording: Recording, run: Run, row: AuditRow, sent: _Sent) -> AuditRow:
    check_is_due(recording, run)
    if recording.storage_class in CHARGED_FOR_READING and sent.replaced is None:
        head = store.head(recording.key)
        provenance = provenance_of(head.metadata)
        if is_done(provenance, run):
            return confirmed_row(store, row, head, provenance)
    try:
        return _rewrite(store, recording, run, row, sent)
    except Changed:  # by somebody else or by us: a PUT is retried if its answer is lost, and then meets its own result
        head = store.head(recording.key)
        provenance = provenance_of(head.metadata)
        if provenance is None or not _is_of(recording, provenance, run):
            raise
        if sent.replaced is not None:
            current = Written(version_id=head.version_id, etag=head.etag, attempts=head.attempts)
            carry_late_changes(store, sent.replaced, sent.tags, current)
        return confirmed_row(store, row, head, provenance)


def _rewrite(store: Store, recording: Recording, run: Run, row: AuditRow, sent: _Sent) -> AuditRow:
    with open_source(store, recording, run) as source:
        if isinstance(source, Done):
            return confirmed_row(store, row, source.current, source.provenance)
        conversion = convert(source.body, source.original.size_bytes, run.profile)
    current, original, tags = source.current, source.original, source.tags
    retention = retention_of(store)
    kept, stays = weigh(
        source,
        run,
        retention,
        already=conversion.already,
        duration_s=conversion.duration_s,
        bytes_after=len(conversion.body),
    )
    if stays and stays.code == NOT_WORTH_IT:
        weighed = None if may_pay_later(kept) else weighed_by(run, retention)
        return replace(ended(row, Status.SKIPPED, str(stays)), weighed_by=weighed)
    if stays:
        return _left_as_it_is(row, source, conversion, stays)
    sent.replaced, sent.tags = current, tags
    written = store.replace(
        current,
        conversion.body,
        sha256=conversion.result_sha256,
        storage_class=run.storage_class,
        content_type=_content_type(original, run),
        metadata=_provenance(_original(original, conversion), _result(conversion), run).added_to(current.metadata),
        tags=tags,
    )
    carry_late_changes(store, current, tags, written)
    return _archived(row, original, conversion, written, run)


def _is_of(recording: Recording, provenance: Provenance, run: Run) -> bool:
    """Whether a replacement with this provenance is the recording's, or one that this run wrote."""
    return provenance.run_id == run.run_id or provenance.original.etag == recording.etag


def _content_type(original: StoredObject, run: Run) -> str:
    """The object's own content type, unless the profile produces something other than WAV."""
    return original.content_type if run.profile.content_type == "audio/wav" else run.profile.content_type


def _provenance(original: Side, result: Side, run: Run) -> Provenance:
    return Provenance(original=original, result=result, profile=run.profile_name, run_id=run.run_id)


def _original(stored: StoredObject, conversion: Conversion) -> Side:
    source = _audio(conversion.source, conversion.source_sha256, conversion.duration_s)
    return as_stored(source, replace(stored, version_id=stored.version_id or UNVERSIONED))


def _result(conversion: Conversion) -> Side:
    """The result, as far as it is known before it is written."""
    made = _audio(conversion.result, conversion.result_sha256, conversion.duration_s)
    return replace(made, size_bytes=len(conversion.body))


def _audio(held: AudioFormat, sha256: str, duration_s: float) -> Side:
    return Side(sha256=sha256, duration_s=duration_s, **asdict(held))


def _archived(row: AuditRow, original: StoredObject, conversion: Conversion, written: Written, run: Run) -> AuditRow:
    result = replace(
        _result(conversion), etag=written.etag, version=written.version_id, storage_class=run.storage_class
    )
    return row.between(
        _original(original, conversion),
        result,
        status=Status.ARCHIVED,
        note=conversion.note,
        attempts=original.attempts + written.attempts - 1,
        **(asdict(conversion.fidelity) if conversion.fidelity else {}),
    )


def _left_as_it_is(row: AuditRow, source: Source, conversion: Conversion, stays: Skipped) -> AuditRow:
    """The row of a recording that another tool made small: its original is not known."""
    if source.again:
        raise stays  # the object is an earlier conversion, about which this conversion says nothing
    found = as_stored(_audio(conversion.source, conversion.source_sha256, conversion.duration_s), source.current)
    return row.between(
        replace(found, version=None),
        found,
        status=Status.ALREADY_ARCHIVED,
        reason=str(stays),
        note=conversion.note,
        attempts=source.current.attempts,
    )
