"""A row of the audit table, and its possible values. Only ``AuditRow`` declares names and descriptions of columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any

from recordings.recording import Batch

SCHEMA_VERSION = "3"
TAG_LIMIT = "tag-limit"  # the reason of a replacement without room for the tag: its provenance counts instead


class Status(StrEnum):
    """What became of a recording. The first six are states of the bucket; the others are attempts and events."""

    ARCHIVED = "archived"
    ALREADY_ARCHIVED = "already_archived"
    RESTORED = "restored"
    RELEASED = "released"
    EXPIRED = "expired"
    ERASED = "erased"
    HELD = "held"
    LIFTED = "lifted"
    SKIPPED = "skipped"
    CHANGED = "changed"
    REJECTED = "rejected"
    FAILED = "failed"
    CHECKED = "checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a row: a recording as it was found, or as it was left. None means not known."""

    size_bytes: int | None = None
    sha256: str | None = None
    etag: str | None = None
    version: str | None = None
    storage_class: str | None = None
    codec: str | None = None
    sample_rate_hz: int | None = None
    channels: int | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One recording in one run. ``before`` is the recording as found, ``after`` its replacement."""

    run_id: Annotated[str, "The run that wrote this row"]
    recording_date: Annotated[date, "UTC date of the call, by its key; the table's partition"]
    bucket: Annotated[str, "Bucket of the recording"]
    key: Annotated[str, "Key of the recording"]
    contact_id: Annotated[str | None, "Amazon Connect's contact id; null where the key has none"] = None
    status: Annotated[Status, "What became of the recording"]
    reason: Annotated[str | None, "Why, as `code: sentence`; null where the status says it all"] = None
    note: Annotated[str | None, "What was odd about the original and how it was read, or about its conversion"] = None
    profile: Annotated[str, "The conversion asked for, or the one found in the bucket"]
    bytes_before: Annotated[int | None, "Size of the original, in bytes; null if it is not known"] = None
    bytes_after: Annotated[int | None, "Size of the replacement, in bytes"] = None
    sha256_before: Annotated[str | None, "SHA-256 of the whole original, hex"] = None
    sha256_after: Annotated[str | None, "SHA-256 of the whole replacement, hex; S3 checked it on arrival"] = None
    etag_before: Annotated[str | None, "ETag of the original, in S3's quotes"] = None
    etag_after: Annotated[str | None, "ETag of the replacement, in S3's quotes"] = None
    version_before: Annotated[str | None, "Version id of the original; `null` if older than versioning"] = None
    version_after: Annotated[str | None, "Version id of the replacement"] = None
    storage_class_before: Annotated[str | None, "Storage class of the original"] = None
    storage_class_after: Annotated[str | None, "Storage class of the replacement"] = None
    codec_before: Annotated[str | None, "Codec of the original, by ffmpeg's names"] = None
    codec_after: Annotated[str | None, "Codec of the replacement, by ffmpeg's names"] = None
    sample_rate_before_hz: Annotated[int | None, "Sample rate of the original, in Hz"] = None
    sample_rate_after_hz: Annotated[int | None, "Sample rate of the replacement, in Hz"] = None
    channels_before: Annotated[int | None, "Channels of the original"] = None
    channels_after: Annotated[int | None, "Channels of the replacement"] = None
    duration_before_s: Annotated[float | None, "Length of the original, in seconds"] = None
    duration_after_s: Annotated[float | None, "Length of the replacement, in seconds"] = None
    snr_db: Annotated[
        float | None, "Signal to error ratio of the replacement, in dB (Opus: above 130 Hz); null if either is zero"
    ] = None
    error_rms: Annotated[
        float | None, "Root mean square error of the replacement, in 16-bit steps (Opus: above 130 Hz)"
    ] = None
    error_peak: Annotated[int | None, "Largest error of the replacement, in 16-bit steps (Opus: above 130 Hz)"] = None
    gain_left: Annotated[
        float | None,
        "Measured share of the left channel: 0.5 in a mix of two, else 1; in Opus, less the share that Opus drops; "
        "null if too quiet to tell",
    ] = None
    gain_right: Annotated[float | None, "The same of the right channel; null if there is none"] = None
    worst_error_left: Annotated[
        float | None,
        "Opus: largest error energy of the left channel in any 20 ms, as a share of the sum of its energy there, a "
        "tenth of that of the loudest 20 ms nearby, and the error that no encoder can avoid; a result with more "
        "than 0.8, or at 32 kb/s with more than 0.25, is refused",
    ] = None
    worst_error_right: Annotated[float | None, "Opus: the same of the right channel; null if there is none"] = None
    least_kept_left: Annotated[
        float | None, "Opus: least share of the left channel's energy kept in any 10 ms; null if too quiet to tell"
    ] = None
    least_kept_right: Annotated[float | None, "Opus: the same of the right channel"] = None
    delay_left_s: Annotated[
        float | None, "Opus: largest delay of the left channel in any second, in seconds; negative is early"
    ] = None
    delay_right_s: Annotated[float | None, "Opus: the same of the right channel"] = None
    crosstalk: Annotated[
        float | None,
        "Opus: largest amplitude of the other speaker in either channel, as a share of the channel's own; 0 if nobody "
        "speaks",
    ] = None
    verified: Annotated[bool, "S3 confirmed the replacement as current and the original as kept"] = False
    original_kept: Annotated[bool | None, "S3 still lists the original's version; null if never asked"] = None
    read_back: Annotated[bool, "The replacement was read back in full: decoded, or, in a `checked` row, hashed"] = False
    tagged: Annotated[bool, "The replacement carries `converted=True`"] = False
    weighed_by: Annotated[
        str | None, "Digest of the prices, retention and terms under which archiving would not pay off, now or later"
    ] = None
    attempts: Annotated[int, "Most S3 requests that any one step needed; 1 means that nothing was retried"] = 0
    state_at: Annotated[datetime | None, "When the bucket came into this state, by S3's clock (UTC)"] = None
    started_at: Annotated[datetime, "When the run began its work on the recording (UTC)"]
    finished_at: Annotated[datetime | None, "When the row was completed (UTC)"] = None
    software_version: Annotated[str, "Version of this software"]

    @property
    def holds_replacement(self) -> bool:
        """Whether the row says that the bucket holds a conversion, verified or not yet."""
        return self.status in HOLDS_REPLACEMENT

    @property
    def before(self) -> Side:
        """The recording as found."""
        return Side(**{field: getattr(self, column.format("before")) for field, column in _COLUMNS.items()})

    @property
    def after(self) -> Side:
        """The recording's replacement."""
        return Side(**{field: getattr(self, column.format("after")) for field, column in _COLUMNS.items()})

    def between(self, before: Side, after: Side, **changes: Any) -> "AuditRow":
        """The same row with these two sides, and these changed columns."""
        return replace(self, **_columns("before", before), **_columns("after", after), **changes)


def _columns(which: str, side: Side) -> dict[str, Any]:
    return {column.format(which): getattr(side, field) for field, column in _COLUMNS.items()}


def failed_first(rows: Iterable[AuditRow]) -> list[AuditRow]:
    """The rows in their order, but failed ones before all others."""
    return sorted(rows, key=lambda row: row.status is not Status.FAILED)


class BatchRows:
    """A batch's rows after a stage. A plain class, as Batch is."""

    __slots__ = ("batch", "rows")

    def __init__(self, batch: Batch, rows: Sequence[AuditRow]) -> None:
        self.batch = batch
        self.rows = tuple(rows)

    def __str__(self) -> str:
        return str(self.batch)


_COLUMNS = {
    "size_bytes": "bytes_{}",
    "sha256": "sha256_{}",
    "etag": "etag_{}",
    "version": "version_{}",
    "storage_class": "storage_class_{}",
    "codec": "codec_{}",
    "sample_rate_hz": "sample_rate_{}_hz",
    "channels": "channels_{}",
    "duration_s": "duration_{}_s",
}
# How faithful a replacement is, as its judge measured it: ``recordings.conversion.judge.Fidelity``.
MEASURED = (
    *("snr_db", "error_rms", "error_peak", "gain_left", "gain_right", "worst_error_left", "worst_error_right"),
    *("least_kept_left", "least_kept_right", "delay_left_s", "delay_right_s", "crosstalk"),
)
HOLDS_REPLACEMENT = (Status.ARCHIVED, Status.ALREADY_ARCHIVED)  # and, as far as the row knows, the original, too
SMALL = (*HOLDS_REPLACEMENT, Status.RELEASED)  # the replacement is the current version
EVENTS = (Status.HELD, Status.LIFTED, Status.CHECKED)  # told beside what became of it: neither states nor attempts
DESTROYED = (Status.EXPIRED, Status.ERASED)  # no version is left
STATES = (*HOLDS_REPLACEMENT, Status.RESTORED, Status.RELEASED, *DESTROYED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """A file of the audit table, as its run's record lists it, with enough detail to notice a change."""

    name: str
    rows: int = 0  # 0 where a record does not say
    sha256: str
