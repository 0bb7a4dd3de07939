"""Encode audio as Opus in memory (PyAV, libopus), both channels for themselves, as every player opens it.

docs/decisions/0053-opus-dual.md says why 10 ms: ffmpeg's own decoder is wrong about longer SILK frames of speech.
"""

import hashlib
import io
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.audio.stream import AudioStream

from recordings.conversion.alaw import Int16s
from recordings.conversion.pcm import TELEPHONE_HZ

BITS_PER_S = 16_000  # per channel
# Per channel, for what the judge refuses at first, and for short recordings, of which S3 bills 128 kB in any case. Here
# libopus chooses CELT, whose errors are a quarter of those at half the rate.
MORE_BITS_PER_S = 32_000
_SHORT_FRAMES = 10 * TELEPHONE_HZ
_FAMILY_AT = 28 + 18  # of OpusHead, on the first page
_COUPLED_NEVER, _TOLD_APART = 255, 1  # mapping families: the encoder's, and the one that all players know
_BIT_EXACT = {"fflags": "+bitexact"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A finished file, and the rate per channel.

    ``packets_sha256`` is of each packet's length (4 bytes, little-endian) and bytes, in order.
    """

    body: bytearray
    packets_sha256: str
    bits_per_s: int


def rate_of(frames: int) -> int:
    """The rate, per channel, at which so long a recording is encoded at first."""
    return MORE_BITS_PER_S if frames <= _SHORT_FRAMES else BITS_PER_S


def encode_opus(blocks: Iterable[Int16s], *, channels: int, bits_per_s: int) -> Encoded:
    """Blocks ``(n, channels)`` of 16 bits at 8 kHz as an Ogg Opus file, the same bytes for the same audio."""
    result, digest, done = io.BytesIO(), hashlib.sha256(), 0
    with av.open(result, "w", format="opus", options=_BIT_EXACT) as container:
        stream = container.add_stream("libopus", rate=TELEPHONE_HZ, options=_options(channels))
        stream.layout = _layout(channels)
        stream.bit_rate = bits_per_s * channels
        for block in blocks:
            if not len(block):  # soxr yields some, and ffmpeg takes none
                continue
            frame = _frame(block, done)
            done += len(block)
            _mux(container, stream, frame, digest)
        _mux(container, stream, None, digest)
    body = bytearray(result.getbuffer())
    if channels == 2:
        _say_told_apart(body)
    return Encoded(body=body, packets_sha256=digest.hexdigest(), bits_per_s=bits_per_s)


def _options(channels: int) -> dict[str, str]:
    options = {"application": "audio", "compression_level": "10", "frame_duration": "10", "vbr": "on", "dtx": "0"}
    if channels == 2:
        options["mapping_family"] = str(_COUPLED_NEVER)
    return options | {"flags": "+bitexact"}


def _layout(channels: int) -> str:
    return "mono" if channels == 1 else "stereo"


def _frame(block: Int16s, start: int) -> av.AudioFrame:
    samples = np.ascontiguousarray(block).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=_layout(block.shape[1]))
    frame.sample_rate, frame.pts, frame.time_base = TELEPHONE_HZ, start, Fraction(1, TELEPHONE_HZ)
    return frame


def _mux(
    container: av.container.OutputContainer, stream: AudioStream, frame: av.AudioFrame | None, digest: "hashlib._Hash"
) -> None:
    for packet in stream.encode(frame):
        data = bytes(packet)
        digest.update(len(data).to_bytes(4, "little") + data)
        container.mux(packet)


def _say_told_apart(body: bytearray) -> None:
    """Change the mapping family from 255 to 1, which means the same for two uncoupled streams, and the page's CRC.

    libopusfile (opusdec) and VLC refuse family 255; ffmpeg's encoder has no other way to keep channels uncoupled.
    """
    assert body[_FAMILY_AT] == _COUPLED_NEVER  # noqa: S101 (the encoder wrote it)
    body[_FAMILY_AT] = _TOLD_APART
    end = 28 + body[27]
    body[22:26] = bytes(4)
    body[22:26] = struct.pack("<I", _crc_of(bytes(body[:end])))


def _crc_of(page: bytes) -> int:
    """Ogg's CRC-32, bit by bit: RFC 3533, section 6."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc >> 31 else crc << 1) & 0xFFFFFFFF
    return crc
