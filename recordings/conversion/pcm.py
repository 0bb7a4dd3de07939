"""The audio of a WAV as blocks of 16-bit samples, whatever its sample width, and at 8 kHz, whatever its sample rate."""

import warnings
from collections.abc import Iterator
from itertools import chain

import numpy as np
import soxr  # type: ignore[import-untyped]  # has no stubs
from numpy.typing import NDArray

from recordings.conversion.alaw import ALAW_VALUES, MULAW_VALUES, Int16s, decode
from recordings.conversion.wav import ObjectStream, WavHead
from recordings.errors import Rejected

with warnings.catch_warnings():  # of the deprecated audioop, and of a missing ffmpeg, which is not needed here
    warnings.simplefilter("ignore")
    from pydub import AudioSegment  # type: ignore[import-untyped]  # has no stubs

BLOCK_BYTES = 128 * 1024  # of source per block: a block and its result fit a core's cache
TELEPHONE_HZ = 8_000
FLOATS = ("pcm_f32le", "pcm_f64le")


def raw_blocks(source: ObjectStream, head: WavHead) -> Iterator[bytes]:
    """The raw audio of the object, in blocks of whole frames."""
    left, block_bytes = head.data_bytes, BLOCK_BYTES // head.block_align * head.block_align
    while left:
        raw = source.take(min(block_bytes, left))
        left -= len(raw)
        yield raw


def to_16_bits(raw: bytes, head: WavHead) -> Int16s:
    """One block as samples ``(n, channels)``, cut to 16 bits as ffmpeg does it: wider samples lose their lower bits."""
    return _samples(raw, head).reshape(-1, head.channels)


def blocks_at_8khz(source: ObjectStream, head: WavHead) -> Iterator[Int16s]:
    """All blocks in 16 bits at 8 kHz, ``frames_at_8khz`` frames in all, each channel resampled by itself.

    soxr's HQ quality removes what 8 kHz cannot hold (audioop, and so pydub, folds a 6 kHz tone back to 2 kHz whole).
    """
    raws = raw_blocks(source, head)
    blocks = _unclipped(raws, head) if head.codec in FLOATS else (to_16_bits(raw, head) for raw in raws)
    return blocks if head.sample_rate_hz == TELEPHONE_HZ else _resampled(blocks, head)


def frames_at_8khz(head: WavHead) -> int:
    """How many frames ``blocks_at_8khz`` yields: soxr rounds halves up."""
    return (2 * head.frames * TELEPHONE_HZ + head.sample_rate_hz) // (2 * head.sample_rate_hz)


def widened(raw: bytes) -> bytes:
    """24-bit samples as 32-bit ones. pydub does the same sample by sample in Python, forty times slower."""
    wide = np.zeros((len(raw) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
    return wide.tobytes()


def _resampled(blocks: Iterator[Int16s], head: WavHead) -> Iterator[Int16s]:
    resampler = soxr.ResampleStream(head.sample_rate_hz, TELEPHONE_HZ, head.channels, dtype="float32", quality="HQ")
    left = frames_at_8khz(head)
    for block in chain(blocks, [np.empty((0, head.channels), np.int16)]):
        resampled = _rounded(resampler.resample_chunk(block.astype(np.float32), last=not len(block)))
        left -= len(resampled)
        if left < 0:
            raise Rejected("unfaithful", f"soxr made {-left} frames more of {head.frames} than it should")
        yield resampled


def _samples(raw: bytes, head: WavHead) -> Int16s:
    match head.codec:
        case "pcm_s16le":
            return np.frombuffer(raw, "<i2")
        case "pcm_alaw":
            return decode(raw, ALAW_VALUES)
        case "pcm_mulaw":
            return decode(raw, MULAW_VALUES)
        case codec if codec in FLOATS:
            return _from_float(_floats(raw, head))
    return _by_pydub(raw, head)


def _unclipped(raws: Iterator[bytes], head: WavHead) -> Iterator[Int16s]:
    """Blocks of floating point; raises ``Rejected`` after the last if clipping took more than half of their energy.

    Samples on another scale, such as that of 16 bits, would become a square wave: docs/decisions/0030.
    """
    energy = kept = 0.0
    for raw in raws:
        yield to_16_bits(raw, head)
        samples = _floats(raw, head).astype(np.float64)
        clipped = samples.clip(-1, 1)
        with np.errstate(over="ignore"):  # a result of infinity is fine here
            energy, kept = energy + float(samples @ samples), kept + float(clipped @ clipped)
    if kept < energy / 2:
        raise Rejected("clipped", f"{1 - kept / energy:.1%} of the energy lies beyond full scale, which is 1.0")


def _floats(raw: bytes, head: WavHead) -> NDArray[np.floating]:
    return np.frombuffer(raw, f"<f{head.sample_width}")


def _from_float(samples: NDArray[np.floating]) -> Int16s:
    """Full scale is 1.0; louder samples are clipped, as every player does it. pydub has no floating point."""
    if not np.isfinite(samples).all():
        raise Rejected("bad-samples", "there are samples that are no numbers")
    return _rounded(samples.clip(-1, 1) * 32768)


def _by_pydub(raw: bytes, head: WavHead) -> Int16s:
    """8, 24 and 32 bits, by pydub. 8-bit WAV is unsigned, pydub's is signed; pydub misreads heads, so it gets none."""
    width = head.sample_width
    if width == 1:
        raw = (np.frombuffer(raw, np.uint8) ^ 0x80).tobytes()
    elif width == 3:
        raw, width = widened(raw), 4
    segment = AudioSegment(data=raw, sample_width=width, frame_rate=head.sample_rate_hz, channels=head.channels)
    return np.frombuffer(segment.set_sample_width(2).raw_data, "<i2")


def _rounded(samples: NDArray[np.floating]) -> Int16s:
    rounded: Int16s = np.rint(samples).clip(-32768, 32767).astype(np.int16)
    return rounded
