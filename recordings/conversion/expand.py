"""Expand a stored recording to 16-bit PCM, which every program plays, block by block into a file."""

import struct
from typing import BinaryIO

from recordings.conversion.pcm import raw_blocks, to_16_bits
from recordings.conversion.wav import ByteStream, ObjectStream, WavHead, read_head, read_tail

_PCM, _BYTES = 1, 2


def expand(stream: ByteStream, size_bytes: int, out: BinaryIO) -> str:
    """Write the WAV that ``stream`` yields as a 16-bit PCM WAV; returns the SHA-256 of what was read, hex.

    Rate and channels stay. Raises ``Rejected`` if the object is no sound WAV.
    """
    source = ObjectStream(stream, size_bytes)
    head = read_head(source)
    source.forget()
    out.write(_pcm_head(head))
    for raw in raw_blocks(source, head):
        out.write(to_16_bits(raw, head).astype("<i2").tobytes())
    read_tail(source, head)
    return source.finish()


def _pcm_head(head: WavHead) -> bytes:
    align = _BYTES * head.channels
    size, rate = head.frames * align, head.sample_rate_hz
    shape = (16, _PCM, head.channels, rate, rate * align, align, 8 * _BYTES)
    return struct.pack("<4sI4s 4sIHHIIHH 4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", *shape, b"data", size)
