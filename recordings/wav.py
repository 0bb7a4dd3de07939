"""Read the head and tail of a WAV object strictly, over a stream that cannot seek; write the head of an A-law one.

The form is that of the Multimedia Programming Interface and Data Specifications 1.0 (RIFF, WAVE), Microsoft's "Multiple
Channel Audio Data and WAVE Files" (EXTENSIBLE) and EBU Tech 3306 (RF64). Whatever is amiss is ``Rejected``: a damaged
recording that comes out short and plays is worse than one left alone.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import NoReturn, Protocol

from recordings.errors import Rejected

MAX_HOURS = 12
MAX_CHUNKS = 1_000  # before or after the audio; real files have five
MAX_HEAD_BYTES = 16 * 2**20  # of everything that precedes the audio
MAX_CHANNELS = 8
SAMPLE_RATES_HZ = range(4_000, 192_001)
STREAMED_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF_FFFFFFFF)  # the writer could not seek back to fill it in

ALAW_HEAD_BYTES = 58  # of what we write: RIFF and WAVE, fmt, fact, and the data chunk's own head
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
    """What boto3's StreamingBody and every file opened for reading have in common."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


class ObjectStream:
    """One object's bytes in order, each counted and hashed; keeps what it has read until told to forget it."""

    def __init__(self, stream: ByteStream, size_bytes: int) -> None:
        self._stream = stream
        self._sha256 = hashlib.sha256()
        self._ahead = b""
        self.size_bytes = size_bytes
        self.left = size_bytes
        self.kept = bytearray()
        self._keeping = True

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes, which the caller knows to be left."""
        ahead = self.peek(count)
        data, self._ahead = ahead[:count], ahead[count:]
        self.left -= count
        self._sha256.update(data)
        if self._keeping:
            self.kept += data
        return data

    def peek(self, count: int) -> bytes:
        """At least the next ``count`` bytes, which the caller knows to be left, without taking them."""
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
        """Pass over ``count`` bytes, 64 KiB at a time."""
        while count:
            count -= len(self.take(min(count, 65_536)))

    def forget(self) -> None:
        """Keep no more bytes, and drop those kept."""
        self.kept, self._keeping = bytearray(), False

    def finish(self) -> str:
        """The SHA-256 of the whole object, in hex; reads the end, which is what makes boto3 check S3's checksum."""
        self.skip(self.left)
        if self._stream.read(1):
            raise Rejected("short-read", f"the stream goes on after the object's {self.size_bytes} bytes")
        return self._sha256.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class WavHead:
    """What precedes the audio says about it; ``data_bytes`` is what is there, not what a streaming writer left."""

    codec: str
    sample_rate_hz: int
    channels: int
    block_align: int  # bytes of one frame: one sample of each channel
    data_bytes: int

    @property
    def frames(self) -> int:
        """Samples of each channel."""
        return self.data_bytes // self.block_align

    @property
    def sample_width(self) -> int:
        """Bytes of one sample of one channel."""
        return self.block_align // self.channels


def read_head(source: ObjectStream) -> WavHead:
    """Read up to the first byte of audio; raises ``Rejected`` with the reason why there is none we may touch."""
    form = _read_form(source)
    fmt, data64 = b"", 0
    for _ in range(MAX_CHUNKS):
        if source.left < 8:
            _reject_headless(fmt)
        name, size = struct.unpack("<4sI", source.take(8))
        if name == b"data":
            claimed = data64 if form != b"RIFF" and size == 0xFFFFFFFF else size
            return _head_of(fmt, _data_bytes(source, claimed))
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
    """Read what follows the audio: whole chunks up to the object's end, or it is ``Rejected``.

    Bytes that are no chunk may be audio that the head does not own up to, and would be lost.
    """
    source.skip(min(head.data_bytes & 1, source.left))
    for _ in range(MAX_CHUNKS):
        if not source.left:
            return
        if source.left < 8:
            break
        name, size = struct.unpack("<4sI", source.take(8))
        if name in (b"data", b"fmt ") or not _may_be_chunk(name, size, source.left):
            break
        source.skip(min(size + (size & 1), source.left))
    raise Rejected("trailing-data", f"after the {head.data_bytes} bytes of audio come bytes that are no further chunk")


def alaw_wav(*, channels: int, frames: int, sample_rate_hz: int) -> tuple[bytearray, int]:
    """A whole A-law WAV of silence-to-be, and the offset at which its ``frames * channels`` bytes of audio begin.

    Formats other than PCM carry an 18-byte fmt chunk and a fact chunk; a chunk of odd length is padded.
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
    """The size of what ``alaw_wav`` makes."""
    size = frames * channels
    return ALAW_HEAD_BYTES + size + (size & 1)


def _read_form(source: ObjectStream) -> bytes:
    if not source.size_bytes:
        raise Rejected("empty", "the object has no bytes")
    start = source.take(min(12, source.left))
    if start[:4] not in (b"RIFF", b"RF64", b"BW64") or start[8:] != b"WAVE":
        raise Rejected("not-wav", f"the object begins with {start!r}, not with RIFF or RF64 and WAVE")
    return start[:4]


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


def _data_bytes(source: ObjectStream, claimed: int) -> int:
    """How many bytes of audio there are. ``claimed`` counts, unless it says that the writer could not know."""
    if claimed == 0 and source.left >= 8:
        name, following = struct.unpack_from("<4sI", source.peek(8))
        if _may_be_chunk(name, following, source.left - 8):
            raise Rejected("no-audio", f"the data chunk is empty, and chunk {name!r} follows")
    size = source.left if claimed in STREAMED_SIZES else claimed
    if not size:
        raise Rejected("no-audio", "the object ends where the audio should begin")
    if size > source.left:
        raise Rejected("truncated", f"the data chunk claims {size} bytes, the object has {source.left} of them")
    return size


def _may_be_chunk(name: bytes, size: int, left: int) -> bool:
    return size <= left and name.isascii() and name.decode("ascii").isprintable()


def _head_of(fmt: bytes, data_bytes: int) -> WavHead:
    if not fmt:
        raise Rejected("no-fmt", "the audio comes before any fmt chunk")
    tag, channels, rate, byte_rate, align, bits = struct.unpack_from("<HHIIHH", fmt)
    codec = _codec(fmt, tag, bits)
    if not channels or not rate or align != channels * bits // 8 or byte_rate != rate * align:
        raise Rejected(
            "bad-fmt",
            f"{channels} channels of {bits} bits at {rate} Hz are not {align} bytes a frame, {byte_rate} a second",
        )
    if channels > MAX_CHANNELS or rate not in SAMPLE_RATES_HZ:
        raise Rejected("unsupported", f"{channels} channels at {rate} Hz are no call recording")
    if data_bytes % align:
        raise Rejected("partial-frame", f"{data_bytes} bytes of audio are no whole number of {align}-byte frames")
    if data_bytes > MAX_HOURS * 3600 * byte_rate:
        raise Rejected("too-long", f"{data_bytes / byte_rate / 3600:.1f} hours, more than {MAX_HOURS}")
    return WavHead(codec=codec, sample_rate_hz=rate, channels=channels, block_align=align, data_bytes=data_bytes)


def _codec(fmt: bytes, tag: int, bits: int) -> str:
    if tag == EXTENSIBLE:
        if len(fmt) < 40 or fmt[26:40] != SUBFORMAT_TAIL:
            raise Rejected("unsupported", "the extensible fmt chunk names no format of Microsoft's")
        tag = int.from_bytes(fmt[24:26], "little")
    if (tag, bits) not in CODECS:
        raise Rejected("unsupported", f"WAV format 0x{tag:04X} with {bits} bits a sample is none we decode")
    return CODECS[tag, bits]
