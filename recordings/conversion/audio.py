"""Convert one recording to a profile, streaming, and return only results that the judge has accepted.

The judge is ``recordings.conversion.judge``: it compares a result with its source.

A-law is made block by block in its place; FLAC by ``recordings.conversion.flac``. Nothing here starts a process or
writes to a disk.
"""

import hashlib
from dataclasses import dataclass, replace

from recordings.conversion import alaw, flac, opus
from recordings.conversion.judge import LOSSLESS, Fidelity, Judge
from recordings.conversion.ogg import HEAD_BYTES, OpusInfo, channels_of, read_opus
from recordings.conversion.opus_decoders import decoded
from recordings.conversion.opus_judge import judge_opus
from recordings.conversion.pcm import TELEPHONE_HZ, blocks_at_8khz, frames_at_8khz, raw_blocks, to_16_bits
from recordings.conversion.spool import Spool
from recordings.conversion.wav import (
    MAX_WHOLE_BYTES,
    ByteStream,
    ObjectStream,
    WavHead,
    alaw_wav,
    alaw_wav_bytes,
    read_head,
    read_tail,
)
from recordings.errors import Rejected
from recordings.profiles import OPUS_RATIO, AudioFormat, Profile

_CONNECT_BYTES_PER_S = 16_000  # of one channel in Connect's own format
_OPUS_BYTES_PER_S = _CONNECT_BYTES_PER_S * OPUS_RATIO  # of one channel
_OPUS_HEAD_BYTES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A result that the judge accepted, or (``already``) a source that has the profile's format, byte for byte."""

    body: bytes | bytearray
    already: bool
    source: AudioFormat
    result: AudioFormat
    duration_s: float
    source_sha256: str  # hex, of the whole object
    result_sha256: str
    fidelity: Fidelity | None  # None if ``already``
    note: str | None  # what was unusual about the source, and how it was read


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """The result of a conversion, as far as the head of the source can tell."""

    already: bool
    bytes_after: int  # for A-law exact, for FLAC and Opus by their usual ratio
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The content of a sound object in the bucket."""

    format: AudioFormat
    duration_s: float
    sha256: str  # hex, of the whole object
    frames: int


def convert(stream: ByteStream, size_bytes: int, profile: Profile) -> Conversion:
    """Convert the object of ``size_bytes`` that ``stream`` yields; raises ``Rejected`` where it cannot be converted.

    The stream need not seek and may return less than asked for; exceptions of its ``read`` pass through.
    """
    source = ObjectStream(stream, size_bytes)
    if profile.codec == "flac" and is_flac(source):
        return _already(source, _inspect_flac(source))
    if profile.codec == "opus" and is_ogg(source):
        return _already(source, _inspect_opus(source))
    head = read_head(source)
    if _is_already(head, profile):
        return _already(source, _inspect_wav(source, head))
    source.forget()
    return _CONVERTERS[profile.codec](source, head, profile)


def foresee(stream: ByteStream, size_bytes: int, profile: Profile) -> Foresight:
    """Foresee the result of ``convert`` from the object's first bytes alone; raises ``Rejected`` as ``convert`` would.

    Only the audio itself can show that it is truncated, or that the judge refuses it; neither is foreseen.
    """
    source = ObjectStream(stream, size_bytes)
    if profile.codec == "flac" and is_flac(source):
        _check_fits_memory(source)
        info = flac.read_flac_info(source.peek(min(size_bytes, flac.INFO_BYTES)))
        return Foresight(already=True, bytes_after=size_bytes, duration_s=info.frames / info.sample_rate_hz)
    if profile.codec == "opus" and is_ogg(source):
        _check_fits_memory(source)
        per_s = channels_of(source.peek(min(size_bytes, HEAD_BYTES))) * _OPUS_BYTES_PER_S
        return Foresight(already=True, bytes_after=size_bytes, duration_s=size_bytes / per_s)
    head = read_head(source)
    duration_s = head.frames / head.sample_rate_hz
    if _is_already(head, profile):
        return Foresight(already=True, bytes_after=size_bytes, duration_s=duration_s)
    bytes_after = _SIZES[profile.codec](size_bytes, head, profile)
    return Foresight(already=False, bytes_after=bytes_after, duration_s=duration_s)


def inspect(stream: ByteStream, size_bytes: int) -> Inspection:
    """Parse and decode an object of the bucket in full, WAV, FLAC or Opus; raises ``Rejected`` if it is not sound."""
    source = ObjectStream(stream, size_bytes)
    if is_flac(source):
        return _inspect_flac(source)
    if is_ogg(source):
        return _inspect_opus(source)
    head = read_head(source)
    source.forget()
    return _inspect_wav(source, head)


def _to_alaw(source: ObjectStream, head: WavHead, profile: Profile) -> Conversion:
    """Encode each block into its place in the result, and let the judge compare it there."""
    channels, frames = _shape_at_8khz(head, profile)
    body, start = alaw_wav(channels=channels, frames=frames, sample_rate_hz=TELEPHONE_HZ)
    codes = memoryview(body)[start : start + frames * channels]
    judge = Judge(source_channels=head.channels, result_channels=channels)
    for block in blocks_at_8khz(source, head):
        place, codes = codes[: len(block) * channels], codes[len(block) * channels :]
        alaw.encode(block, place)
        judge.look(block, place)
    read_tail(source, head)
    result = AudioFormat(codec="pcm_alaw", sample_rate_hz=TELEPHONE_HZ, channels=channels)
    return _converted(source, head, body, result, judge.verdict(body, frames=frames, sample_rate_hz=TELEPHONE_HZ))


def _is_already(head: WavHead, profile: Profile) -> bool:
    wanted = head.codec == profile.codec and head.sample_rate_hz == TELEPHONE_HZ
    return wanted and head.channels <= profile.max_channels


def _shape_at_8khz(head: WavHead, profile: Profile) -> tuple[int, int]:
    """Channels and frames of the result."""
    if head.channels > profile.max_channels > 1:
        raise Rejected("unsupported", f"{profile.name} keeps two channels apart, and here are {head.channels}")
    frames = frames_at_8khz(head)
    if not frames:
        raise Rejected("no-audio", f"{head.frames} samples at {head.sample_rate_hz} Hz make none at {TELEPHONE_HZ}")
    return min(head.channels, profile.max_channels), frames


def _to_flac(source: ObjectStream, head: WavHead, profile: Profile) -> Conversion:
    """Encode, then decode the result with another library, and compare it with the source's samples bit for bit."""
    body, md5 = flac.to_flac(source, head)
    read_tail(source, head)
    try:
        found = flac.check_flac(body)
    except Rejected as error:
        raise Rejected("unfaithful", f"the result is no sound FLAC: {error}") from error
    result = AudioFormat(codec=profile.codec, sample_rate_hz=found.sample_rate_hz, channels=found.channels)
    if (found.md5, found.frames) != (md5, head.frames) or result != replace(_format_of(head), codec=profile.codec):
        raise Rejected("unfaithful", f"the source's {head.frames} frames have the MD5 {md5}, and the result is {found}")
    fidelity = LOSSLESS if head.channels > 1 else replace(LOSSLESS, gain_right=None)
    return _converted(source, head, body, result, fidelity)


def _to_opus(source: ObjectStream, head: WavHead, profile: Profile) -> Conversion:
    """Encode, and judge the finished file; if the judge refuses it, once more with twice the bits."""
    _check_is_no_conversion(head)
    channels, frames = _shape_at_8khz(head, profile)
    spool, rate = Spool(channels), opus.rate_of(frames)
    made = opus.encode_opus(spool.passing(blocks_at_8khz(source, head)), channels=channels, bits_per_s=rate)
    read_tail(source, head)
    try:
        fidelity = judge_opus(spool.blocks(), made, frames=frames)
    except Rejected as error:
        made = opus.encode_opus(spool.blocks(), channels=channels, bits_per_s=2 * rate)
        source.oddities.append(f"encoded with twice the bits, since at first {error}")
        fidelity = judge_opus(spool.blocks(), made, frames=frames)
    result = AudioFormat(codec="opus", sample_rate_hz=TELEPHONE_HZ, channels=channels)
    return _converted(source, head, made.body, result, fidelity)


def _check_is_no_conversion(head: WavHead) -> None:
    """Refuse A-law, which is itself what archiving leaves: one loss is not heaped upon another."""
    if head.codec == "pcm_alaw":
        raise Rejected("only-a-law", "it is A-law, as conversions are, and Opus is made of originals only")


def _size_as_alaw(_: int, head: WavHead, profile: Profile) -> int:
    channels, frames = _shape_at_8khz(head, profile)
    return alaw_wav_bytes(channels=channels, frames=frames)


def _size_as_flac(size_bytes: int, head: WavHead, profile: Profile) -> int:
    flac.check_fits_flac(head)
    return round(size_bytes * profile.size_ratio)


def _size_as_opus(_: int, head: WavHead, profile: Profile) -> int:
    _check_is_no_conversion(head)
    channels, frames = _shape_at_8khz(head, profile)
    ratio = profile.size_ratio * opus.rate_of(frames) / opus.BITS_PER_S
    duration_s = head.frames / head.sample_rate_hz
    return round(duration_s * channels * _CONNECT_BYTES_PER_S * ratio) + _OPUS_HEAD_BYTES


_CONVERTERS = {"pcm_alaw": _to_alaw, "flac": _to_flac, "opus": _to_opus}
_SIZES = {"pcm_alaw": _size_as_alaw, "flac": _size_as_flac, "opus": _size_as_opus}  # of results, in bytes, as foreseen


def _converted(
    source: ObjectStream, head: WavHead, body: bytes | bytearray, result: AudioFormat, fidelity: Fidelity
) -> Conversion:
    return Conversion(
        body=body,
        already=False,
        source=_format_of(head),
        result=result,
        duration_s=head.frames / head.sample_rate_hz,
        source_sha256=source.finish(),
        result_sha256=hashlib.sha256(body).hexdigest(),
        fidelity=fidelity,
        note=_note(source),
    )


def _already(source: ObjectStream, found: Inspection) -> Conversion:
    return Conversion(
        body=source.kept,
        already=True,
        source=found.format,
        result=found.format,
        duration_s=found.duration_s,
        source_sha256=found.sha256,
        result_sha256=found.sha256,
        fidelity=None,
        note=_note(source),
    )


def _note(source: ObjectStream) -> str | None:
    return "; ".join(source.oddities) or None


def _inspect_wav(source: ObjectStream, head: WavHead) -> Inspection:
    for raw in raw_blocks(source, head):
        to_16_bits(raw, head)
    read_tail(source, head)
    return _inspection(_format_of(head), head.frames, source)


def read_whole(source: ObjectStream) -> bytearray:
    """All bytes; raises ``Rejected`` for more than a process can hold."""
    _check_fits_memory(source)
    source.skip(source.left)
    return source.kept


def _check_fits_memory(source: ObjectStream) -> None:
    if source.size_bytes > MAX_WHOLE_BYTES:
        raise Rejected("too-large", f"{source.size_bytes:,} bytes, more than {MAX_WHOLE_BYTES:,}")


def _inspect_flac(source: ObjectStream) -> Inspection:
    info = flac.check_flac(read_whole(source))
    return _inspection(
        AudioFormat(codec="flac", sample_rate_hz=info.sample_rate_hz, channels=info.channels), info.frames, source
    )


def _inspect_opus(source: ObjectStream) -> Inspection:
    """Read all pages and packets, and decode them by another library than the encoder's."""
    info = read_opus(read_whole(source))
    _check_decodes(source.kept, info)
    held = AudioFormat(codec="opus", sample_rate_hz=TELEPHONE_HZ, channels=info.channels)
    return _inspection(held, info.frames, source)


def _check_decodes(body: bytearray, info: OpusInfo) -> None:
    frames = sum(map(len, decoded(body, info.channels)))
    if frames != info.frames:
        raise Rejected("bad-opus", f"it decodes to {frames} frames, and its pages say {info.frames}")


def _inspection(held: AudioFormat, frames: int, source: ObjectStream) -> Inspection:
    return Inspection(format=held, duration_s=frames / held.sample_rate_hz, sha256=source.finish(), frames=frames)


def _format_of(head: WavHead) -> AudioFormat:
    return AudioFormat(codec=head.codec, sample_rate_hz=head.sample_rate_hz, channels=head.channels)


def is_ogg(source: ObjectStream) -> bool:
    """Whether the object begins as Ogg files do."""
    return source.size_bytes >= 4 and source.peek(4).startswith(b"OggS")


def is_flac(source: ObjectStream) -> bool:
    """Whether the object begins as FLAC files do."""
    return source.size_bytes >= 4 and source.peek(4).startswith(b"fLaC")
