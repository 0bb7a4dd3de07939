"""Expand a stored recording, WAV, FLAC or Opus, to 16-bit PCM, which every program plays, by blocks into a file."""

import io
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs

from recordings.conversion.alaw import Int16s
from recordings.conversion.audio import is_flac, is_ogg, read_whole
from recordings.conversion.flac import check_flac
from recordings.conversion.ogg import read_opus
from recordings.conversion.opus_decoders import decoded
from recordings.conversion.pcm import TELEPHONE_HZ, raw_blocks, to_16_bits
from recordings.conversion.spool import BLOCK_FRAMES
from recordings.conversion.wav import ByteStream, ObjectStream, read_head, read_tail

_PCM, _BYTES = 1, 2


def expand(stream: ByteStream, size_bytes: int, out: BinaryIO) -> str:
    """Write what ``stream`` yields as a 16-bit PCM WAV; returns the SHA-256 of what was read, hex.

    Rate and channels stay. Raises ``Rejected`` if the object is no sound WAV, FLAC or Opus.
    """
    source = ObjectStream(stream, size_bytes)
    if is_flac(source):
        _expand_flac(source, out)
    elif is_ogg(source):
        _expand_opus(source, out)
    else:
        _expand_wav(source, out)
    return source.finish()


def _expand_wav(source: ObjectStream, out: BinaryIO) -> None:
    head = read_head(source)
    source.forget()
    blocks = (to_16_bits(raw, head) for raw in raw_blocks(source, head))
    _write(out, blocks, channels=head.channels, rate_hz=head.sample_rate_hz, frames=head.frames)
    read_tail(source, head)


def _expand_flac(source: ObjectStream, out: BinaryIO) -> None:
    info = check_flac(read_whole(source))
    with soundfile.SoundFile(io.BytesIO(source.kept)) as file:
        blocks = file.blocks(BLOCK_FRAMES, dtype="int16", always_2d=True)
        _write(out, blocks, channels=info.channels, rate_hz=info.sample_rate_hz, frames=info.frames)


def _expand_opus(source: ObjectStream, out: BinaryIO) -> None:
    info = read_opus(read_whole(source))
    _write(out, _rounded(source.kept, info.channels), channels=info.channels, rate_hz=TELEPHONE_HZ, frames=info.frames)


def _rounded(body: bytearray, channels: int) -> Iterator[Int16s]:
    for block in decoded(body, channels):
        yield np.rint(block).clip(-32_768, 32_767).astype(np.int16)


def _write(out: BinaryIO, blocks: Iterable[Int16s], *, channels: int, rate_hz: int, frames: int) -> None:
    align = _BYTES * channels
    size = frames * align
    shape = (16, _PCM, channels, rate_hz, rate_hz * align, align, 8 * _BYTES)
    head = struct.pack("<4sI4s 4sIHHIIHH 4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", *shape, b"data", size)
    out.write(head)
    for block in blocks:
        out.write(block.astype("<i2").tobytes())
