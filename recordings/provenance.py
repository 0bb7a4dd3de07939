"""What a replacement says of its original, in its own metadata: it makes every step repeatable."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from recordings.errors import Skipped
from recordings.profiles import AudioFormat

UNVERSIONED = "null"  # S3's id for versions that are older than the bucket's versioning
EXEMPT = ("archive-exempt", "true")  # metadata that says what the tag archive=exempt says, where tags are full
_PREFIX = "archive-"
_MAX_METADATA_BYTES = 2048  # "Working with object metadata" in the S3 user guide


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a replacement comes from. S3 keeps it as ``x-amz-meta-archive-…`` headers."""

    original_etag: str
    original_version: str
    original_size: str  # bytes
    original_class: str
    original_sha256: str
    original_format: str  # as "pcm_s16le 8000 2": codec, sample rate in Hz, channels
    duration_s: str
    result_sha256: str
    result_format: str
    profile: str
    run_id: str

    def added_to(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """The object's own metadata with this provenance in it. Raises Skipped where S3 has no room for both."""
        joined = {**metadata, **{_HEADERS[name]: value for name, value in asdict(self).items()}}
        _check_room(joined)
        return joined


_HEADERS = {name: _PREFIX + name.replace("_", "-") for name in Provenance.__slots__}
_ROOM = 800  # bytes that a provenance takes at the most, names included; 580 are usual


def check_room_for_provenance(metadata: Mapping[str, str]) -> None:
    """Raises Skipped for metadata beside which there is no room for a provenance, or that would be taken for one."""
    foreign = sorted(metadata.keys() & _HEADERS.values())
    if foreign and provenance_of(metadata) is None:
        raise Skipped("not-carried", f"its own metadata {', '.join(foreign)} would be written over")
    own = {name: value for name, value in metadata.items() if name not in foreign}
    _check_room({**own, "provenance": " " * _ROOM})


def exempted(metadata: Mapping[str, str]) -> dict[str, str]:
    """The object's own metadata with the mark in it that it stays as it is. Raises Skipped where there is no room."""
    joined = {**metadata, EXEMPT[0]: EXEMPT[1]}
    _check_room(joined)
    return joined


def _check_room(joined: Mapping[str, str]) -> None:
    size_bytes = sum(len(name.encode()) + len(value.encode()) for name, value in joined.items())
    if size_bytes > _MAX_METADATA_BYTES:
        raise Skipped("metadata-full", f"its metadata and what is added need {size_bytes} bytes, S3 allows 2,048")


def provenance_of(metadata: Mapping[str, str]) -> Provenance | None:
    """The provenance in an object's metadata; None if we did not write it."""
    if not all(header in metadata for header in _HEADERS.values()):
        return None
    found = Provenance(**{name: metadata[header] for name, header in _HEADERS.items()})
    return found if _is_well_formed(found) else None


def _is_well_formed(found: Provenance) -> bool:
    try:
        _ = float(found.duration_s), int(found.original_size)
        _ = parse_format(found.original_format), parse_format(found.result_format)
    except ValueError:
        return False
    return True


def format_words(audio_format: AudioFormat) -> str:
    """A format as one line of metadata."""
    return f"{audio_format.codec} {audio_format.sample_rate_hz} {audio_format.channels}"


def parse_format(words: str) -> AudioFormat:
    """The format that ``format_words`` wrote."""
    codec, sample_rate_hz, channels = words.split()
    return AudioFormat(codec=codec, sample_rate_hz=int(sample_rate_hz), channels=int(channels))
