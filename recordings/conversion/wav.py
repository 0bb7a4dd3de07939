"""Read the head and tail of a WAV object strictly, from a stream that cannot seek; write the head of an A-law WAV.

The format follows the Multimedia Programming Interface and Data Specifications 1.0 (RIFF, WAVE), Microsoft's "Multiple
Channel Audio Data and WAVE Files" (EXTENSIBLE) and EBU Tech 3306 (RF64). Where the audio or its length is in doubt, the
object is ``Rejected``: leaving a damaged recording alone is better than a conversion that is short but plays. A wrong
field whose true value is known otherwise is ignored and reported (``ObjectStream.oddities``).
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import NoReturn, Protocol

from recordings.errors import Rejected

MAX_HOURS = 12
MAX_WHOLE_BYTES = 512 * 2**20  # of what must be in memory as a whole: FLAC and Opus
MAX_CHUNKS = 1_000  # before or after the audio; real files have five
MAX_HEAD_BYTES = 16 * 2**20  # of everything that precedes the audio
MAX_CHANNELS = 8
SAMPLE_RATES_HZ = range(4_000, 192_001)
MAX_FRAME_BYTES = MAX_CHANNELS * 8
STREAMED_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF_FFFFFFFF)  # the writer could not seek back to fill in the size
STREAMED_FROM = 0x7FFFF000  # SoX's value; any size from here on may mean the same, if the RIFF chunk's size agrees

ALAW_HEAD_BYTES = 58  # of our A-law head: RIFF and WAVE, fmt, fact, and the data chunk's own head
PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
CODECS = {  # (format tag, bits per sample) -> ffmpeg's name
    (PCM, 8): "pcm_u8",
    (PCM, 16): "pcm_s16le",
    (PCM, 24): "pcm_s24le",
    (PCM, 32): "pcm_s32le",
    (FLOAT, 32): "pcm_f32le",
    (FLOAT, 64): "pcm_f64le",
    (ALAW, 8): "pcm_alaw",
    (MULAW, 8): "pcm_mulaw",
}
SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # KSDATAFORMAT_SUBTYPE_*, after the format tag


class ByteStream(Protocol):
    """The method that boto3's StreamingBody and every file opened for reading have in common."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; empty at the end."""


class ObjectStream:
    """One object's bytes in order, each counted and hashed; keeps the bytes read until ``forget`` is called.

    ``oddities`` lists in words what readers ignored: what the object says, and how it was read.
    """

    def __init__(self, stream: ByteStream, size_bytes: int) -> None:
        self._stream = stream
        self._sha256 = hashlib.sha256()
        self._ahead = b""
        self.size_bytes = size_bytes
        self.left = size_bytes
        self.kept = bytearray()
        self.oddities: list[str] = []
        self._keeping = True

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes; the caller knows that so many are left."""
        ahead = self.peek(count)
        data, self._ahead = ahead[:count], ahead[count:]
        self.left -= count
        self._sha256.update(data)
        if self._keeping:
            self.kept += data
        return data

    def peek(self, count: int) -> bytes:
        """At least the next ``count`` bytes, without consuming them; the caller knows that so many are left."""
        pieces, have = [self._ahead] if self._ahead else [], len(self._ahead)
        while have < count:
            piece = self._stream.read(count - have)
            if not piece:
                at = self.size_bytes - self.left + have
                raise Rejected("short-read", f"the stream ended after {at} of the object's {self.size_bytes} bytes")
            pieces.append(piece)
            have += len(piece)
        self._ahead = b"".join(pieces)
        return self._ahead

    def skip(self, count: int) -> None:
        """Skip ``count`` bytes, 64 KiB at a time."""
        while count:
            count -= len(self.take(min(count, 65_536)))

    def forget(self) -> None:
        """Drop the bytes kept, and keep no more."""
        self.kept, self._keeping = bytearray(), False

    def finish(self) -> str:
        """The SHA-256 of the whole object, in hex. Reads to the end, which makes boto3 check S3's checksum."""
        self.skip(self.left)
        if self._stream.read(1):
            raise Rejected("short-read", f"the stream goes on after the object's {self.size_bytes} bytes")
        return self._sha256.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class WavHead:
    """The format of the audio, by its head; ``data_bytes`` is the actual length, never a placeholder."""

    codec: str
    sample_rate_hz: int
    channels: int
    block_align: int  # bytes of one frame: one sample of each channel
    data_bytes: int

    @property
    def frames(self) -> int:
        """Samples per channel."""
        return self.data_bytes // self.block_align

    @property
    def sample_width(self) -> int:
        """Bytes of one sample of one channel."""
        return self.block_align // self.channels


def read_head(source: ObjectStream) -> WavHead:
    """Read up to the first byte of audio; raises ``Rejected`` with the reason where there is none to convert."""
    riff_bytes = _read_form(source)
    fmt, data64 = b"", 0
    for _ in range(MAX_CHUNKS):
        if source.left < 8:
            _reject_headless(fmt)
        name, size = struct.unpack("<4sI", source.take(8))
        if name == b"data":
            claimed = size if riff_bytes is not None else data64 or size
            return _head_of(source, fmt, _data_bytes(source, claimed, riff_bytes))
        _check_fits(source, name, size)
        if name == b"fmt " and not fmt:
            fmt = source.take(size)
        elif name == b"ds64" and size >= 16:
            data64 = struct.unpack_from("<8xQ", source.take(size))[0]
        elif name == b"fmt ":
            raise Rejected("bad-fmt", "there is more than one fmt chunk")
        else:
            source.skip(size)
        source.skip(min(size & 1, source.left))
    raise Rejected("not-wav", f"there are more than {MAX_CHUNKS} chunks before the audio")


def read_tail(source: ObjectStream, head: WavHead) -> None:
    """Read the rest after the audio: whole chunks up to the object's end. Raises ``Rejected`` otherwise.

    Bytes that form no chunk may be audio that the head does not count, which a conversion would lose.
    """
    _skip_padding(source, b"data", head.data_bytes)
    for _ in range(MAX_CHUNKS):
        if not source.left:
            return
        if source.left < 8:
            break
        name, size = struct.unpack("<4sI", source.take(8))
        if name in (b"data", b"fmt ") or not _may_be_chunk(name, size, source.left):
            break
        source.skip(size)
        _skip_padding(source, name, size)
    raise Rejected("trailing-data", f"after the {head.data_bytes} bytes of audio come bytes that are no further chunk")


def alaw_wav(*, channels: int, frames: int, sample_rate_hz: int) -> tuple[bytearray, int]:
    """A whole A-law WAV with its audio still to be filled in, and the offset of these ``frames * channels`` bytes.

    Formats other than PCM have an 18-byte fmt chunk and a fact chunk; a chunk of odd length is padded.
    """
    size = frames * channels
    head = struct.pack(
        "<4sI4s 4sIHHIIHHH 4sII 4sI",
        *(b"RIFF", 50 + size + (size & 1), b"WAVE"),
        *(b"fmt ", 18, ALAW, channels, sample_rate_hz, sample_rate_hz * channels, channels, 8, 0),
        *(b"fact", 4, frames),
        *(b"data", size),
    )
    body = bytearray(alaw_wav_bytes(channels=channels, frames=frames))
    body[: len(head)] = head
    return body, len(head)


def alaw_wav_bytes(*, channels: int, frames: int) -> int:
    """The size of ``alaw_wav``'s result."""
    size = frames * channels
    return ALAW_HEAD_BYTES + size + (size & 1)


def _read_form(source: ObjectStream) -> int | None:
    """The size that the RIFF chunk claims; None in RF64, where a ds64 chunk has the size."""
    if not source.size_bytes:
        raise Rejected("empty", "the object has no bytes")
    start = source.take(min(12, source.left))
    if start[:4] not in (b"RIFF", b"RF64", b"BW64") or start[8:] != b"WAVE":
        raise Rejected("not-wav", f"the object begins with {start!r}, not with RIFF or RF64 and WAVE")
    return int.from_bytes(start[4:8], "little") if start[:4] == b"RIFF" else None


def _reject_headless(fmt: bytes) -> NoReturn:
    if not fmt:
        raise Rejected("no-fmt", "the object ends without a fmt chunk")
    raise Rejected("no-audio", "the object ends without a data chunk")


def _check_fits(source: ObjectStream, name: bytes, size: int) -> None:
    if size > source.left:
        raise Rejected("truncated", f"chunk {name!r} claims {size} bytes where {source.left} are left")
    if source.size_bytes - source.left + size > MAX_HEAD_BYTES:
        raise Rejected("not-wav", f"no audio in the first {MAX_HEAD_BYTES} bytes")
    if name == b"fmt " and not 16 <= size <= 1024:
        raise Rejected("bad-fmt", f"the fmt chunk has {size} bytes")


def _data_bytes(source: ObjectStream, claimed: int, riff_bytes: int | None) -> int:
    """The actual number of bytes of audio: ``claimed``, unless that is a streaming writer's placeholder."""
    if claimed == 0 and (name := _next_chunk(source)):
        raise Rejected("no-audio", f"the data chunk is empty, and chunk {name!r} follows")
    size = claimed
    if _is_streamed(source, claimed, riff_bytes):
        size = source.left
        source.oddities.append(f"data size {claimed:#x}, read as all bytes to the object's end")
    elif riff_bytes is not None and abs(riff_bytes + 8 - source.size_bytes) > 1:  # many omit the padding
        source.oddities.append("RIFF size is not the object's, passed over")
    if not size:
        raise Rejected("no-audio", "the object ends where the audio should begin")
    if size > source.left:
        raise Rejected("truncated", f"the data chunk claims {size} bytes, the object has {source.left} of them")
    return size


def _is_streamed(source: ObjectStream, claimed: int, riff_bytes: int | None) -> bool:
    """Whether the writer could not know the size: a known placeholder, or 2 GiB and more also in the RIFF chunk."""
    if claimed in STREAMED_SIZES:
        return True
    if riff_bytes is None or not max(STREAMED_FROM, source.left + 1) <= claimed:
        return False
    before = source.size_bytes - source.left - 8  # bytes of the RIFF chunk before the audio
    return riff_bytes >= STREAMED_FROM or riff_bytes == (before + claimed) % 2**32


def _skip_padding(source: ObjectStream, name: bytes, size: int) -> None:
    """Skip the byte that makes a chunk's size even; not all writers write it."""
    if not size & 1 or not source.left:
        return
    if _next_chunk(source):
        source.oddities.append(f"no padding after the {name.decode()} chunk, read as ending there")
    else:
        source.skip(1)


def _next_chunk(source: ObjectStream) -> bytes | None:
    """The name of the chunk that begins here; None where the bytes can be no chunk."""
    if source.left < 8:
        return None
    name, size = struct.unpack_from("<4sI", source.peek(8))
    return name if _may_be_chunk(name, size, source.left - 8) else None


def _may_be_chunk(name: bytes, size: int, left: int) -> bool:
    return size <= left and name.isascii() and name.decode("ascii").isprintable()


def _head_of(source: ObjectStream, fmt: bytes, data_bytes: int) -> WavHead:
    if not fmt:
        raise Rejected("no-fmt", "the audio comes before any fmt chunk")
    _, channels, rate, byte_rate, align, bits = struct.unpack_from("<HHIIHH", fmt)
    codec, sample_bits = _codec(fmt)
    frame_bytes = channels * sample_bits // 8
    if not channels or not rate:
        raise Rejected("bad-fmt", f"{channels} channels at {rate} Hz")
    if channels > MAX_CHANNELS or rate not in SAMPLE_RATES_HZ:
        raise Rejected("unsupported", f"{channels} channels at {rate} Hz are no call recording")
    if align != frame_bytes:
        _check_align(align, channels, bits, frame_bytes)
    if data_bytes % frame_bytes:
        raise Rejected("partial-frame", f"{data_bytes} bytes of audio are no whole number of {frame_bytes}-byte frames")
    if data_bytes > MAX_HOURS * 3600 * rate * frame_bytes:
        raise Rejected("too-long", f"{data_bytes / rate / frame_bytes / 3600:.1f} hours, more than {MAX_HOURS}")
    fields = ("bits per sample", bits, sample_bits), ("block align", align, frame_bytes)
    for field, said, known in (*fields, ("byte rate", byte_rate, rate * frame_bytes)):
        if said != known:
            source.oddities.append(f"{field} {said}, read as {known}")
    return WavHead(codec=codec, sample_rate_hz=rate, channels=channels, block_align=frame_bytes, data_bytes=data_bytes)


def _codec(fmt: bytes) -> tuple[str, int]:
    """ffmpeg's name of the codec, and the bits that one sample occupies."""
    tag, bits = struct.unpack_from("<H12xH", fmt)
    valid_bits = 0
    if tag == EXTENSIBLE:
        if len(fmt) < 40 or fmt[26:40] != SUBFORMAT_TAIL or int.from_bytes(fmt[16:18], "little") < 22:
            raise Rejected("unsupported", "the extensible fmt chunk names no format of Microsoft's")
        valid_bits, tag = struct.unpack_from("<18xH4xH", fmt)
    taken, valid = _bits_taken(tag, bits), _bits_taken(tag, valid_bits)
    if (tag, taken) not in CODECS:
        raise Rejected("unsupported", f"WAV format 0x{tag:04X} with {bits} bits a sample is none we decode")
    if valid_bits and valid != taken:
        raise Rejected("bad-fmt", f"{valid_bits} valid bits in samples of {bits}: decoders do not agree on them")
    return CODECS[tag, taken], taken


def _bits_taken(tag: int, bits: int) -> int:
    """Bits that one sample occupies: whole bytes; one byte for G.711, whatever the fmt chunk says."""
    if tag in (ALAW, MULAW):
        return 8
    return -(-bits // 8) * 8 if tag == PCM else bits


def _check_align(align: int, channels: int, bits: int, frame_bytes: int) -> None:
    """Refuse a wrong block align that leaves doubt about the size of a frame.

    Channels and bits give that size, too, so most wrong values are harmless. Two kinds are not: fewer bytes than
    channels, and any wrong value beside an odd number of bits. Some decoders go by the block align (ffmpeg reads some
    power of two times ``align`` bytes at once); they lose the last frame of each packet where whole frames do not fit.
    """
    if bits % 8:
        raise Rejected("unsupported", f"samples of {bits} bits in frames of {align} bytes are none we decode")
    if 0 < align < channels or align > MAX_FRAME_BYTES or 64 * (align or 1) % frame_bytes:
        raise Rejected("bad-fmt", f"{channels} channels of {bits} bits are {frame_bytes} bytes a frame, not {align}")
