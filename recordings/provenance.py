"""What a replacement says about its original, in its own metadata: it makes every step repeatable."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recordings.errors import Skipped
from recordings.marks import EXEMPT_METADATA
from recordings.table.rows import Side

_PREFIX = "archive-"
_MAX_METADATA_BYTES = 2048  # "Working with object metadata" in the S3 user guide


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a replacement comes from. S3 keeps the provenance as ``x-amz-meta-archive-…`` headers."""

    original: Side  # every field is known
    result: Side  # only what describes its bytes; S3 itself shows how it stores them
    profile: str
    run_id: str

    def added_to(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """The object's own metadata with this provenance added. Raises Skipped where S3 has no room for both."""
        joined = {**metadata, **dict(zip(_HEADERS, self._values(), strict=True))}
        _check_room(joined)
        return joined

    def _values(self) -> tuple[str, ...]:
        original, result = self.original, self.result
        return (
            str(original.etag),
            str(original.version),
            str(original.size_bytes),
            str(original.storage_class),
            str(original.sha256),
            _format_words(original),
            f"{original.duration_s:.6f}",
            str(result.sha256),
            _format_words(result),
            self.profile,
            self.run_id,
        )


_HEADERS = tuple(
    _PREFIX + name
    for name in (
        "original-etag",
        "original-version",
        "original-size",  # bytes
        "original-class",
        "original-sha256",
        "original-format",  # as "pcm_s16le 8000 2": codec, sample rate in Hz, channels
        "duration-s",
        "result-sha256",
        "result-format",
        "profile",
        "run-id",
    )
)
_ROOM = 800  # maximum size of a provenance in bytes, names included; 580 is typical


def check_room_for_provenance(metadata: Mapping[str, str]) -> None:
    """Raises Skipped for metadata that leaves no room for a provenance, or that would be mistaken for one."""
    foreign = sorted(metadata.keys() & set(_HEADERS))
    if foreign and provenance_of(metadata) is None:
        raise Skipped("not-carried", f"its own metadata {', '.join(foreign)} would be written over")
    own = {name: value for name, value in metadata.items() if name not in foreign}
    _check_room({**own, "provenance": " " * _ROOM})


def exempted(metadata: Mapping[str, str]) -> dict[str, str]:
    """The object's own metadata plus the mark that it is exempt. Raises Skipped where there is no room."""
    joined = {**metadata, EXEMPT_METADATA[0]: EXEMPT_METADATA[1]}
    _check_room(joined)
    return joined


def _check_room(joined: Mapping[str, str]) -> None:
    size_bytes = sum(len(name.encode()) + len(value.encode()) for name, value in joined.items())
    if size_bytes > _MAX_METADATA_BYTES:
        raise Skipped("metadata-full", f"its metadata and what is added need {size_bytes} bytes, S3 allows 2,048")


def provenance_of(metadata: Mapping[str, str]) -> Provenance | None:
    """The provenance in an object's metadata; None if we did not write the object."""
    try:
        etag, version, size, storage_class, sha256, source, duration, result_sha256, result, profile, run_id = (
            metadata[header] for header in _HEADERS
        )
        duration_s = float(duration)
        original = Side(
            size_bytes=int(size),
            sha256=sha256,
            etag=etag,
            version=version,
            storage_class=storage_class,
            duration_s=duration_s,
            **_format(source),
        )
        made = Side(sha256=result_sha256, duration_s=duration_s, **_format(result))
    except (KeyError, ValueError):
        return None
    return Provenance(original=original, result=made, profile=profile, run_id=run_id)


def _format_words(side: Side) -> str:
    return f"{side.codec} {side.sample_rate_hz} {side.channels}"


def _format(words: str) -> dict[str, Any]:
    codec, sample_rate_hz, channels = words.split()
    return {"codec": codec, "sample_rate_hz": int(sample_rate_hz), "channels": int(channels)}
