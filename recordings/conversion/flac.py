"""FLAC in memory: libFLAC (soundfile) encodes the audio, and ffmpeg's own decoder (PyAV) checks the result in full."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs
from numpy.typing import NDArray

from recordings.conversion.pcm import raw_blocks, to_16_bits, widened
from recordings.conversion.wav import MAX_HOURS, MAX_WHOLE_BYTES, SAMPLE_RATES_HZ, ObjectStream, WavHead
from recordings.errors import Rejected

INFO_BYTES = 42  # up to the end of STREAMINFO, the first block
_COMPRESSION_LEVEL = 0.5  # from 0 to 1; 1 takes three times the CPU for 1 % fewer bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FlacInfo:
    """STREAMINFO, the first block of every FLAC (RFC 9639, section 8.2); ``md5`` is of the samples, little-endian."""

    sample_rate_hz: int
    channels: int
    bits: int
    frames: int
    md5: str


def to_flac(source: ObjectStream, head: WavHead) -> tuple[bytes, str]:
    """The recording's audio as a FLAC file, and the MD5 of its 16-bit or 24-bit samples, by which to check the FLAC.

    Raises ``Rejected`` for audio that FLAC cannot hold, or whose FLAC would take too much memory.
    """
    check_fits_flac(head)
    wide, digest, result = head.codec == "pcm_s24le", hashlib.md5(usedforsecurity=False), io.BytesIO()
    with soundfile.SoundFile(
        result,
        "w",
        head.sample_rate_hz,
        head.channels,
        "PCM_24" if wide else "PCM_16",
        format="FLAC",
        compression_level=_COMPRESSION_LEVEL,
    ) as encoder:
        for raw in raw_blocks(source, head):
            if result.tell() > MAX_WHOLE_BYTES:
                raise Rejected("too-large", f"its FLAC takes more than {MAX_WHOLE_BYTES:,} bytes")
            if wide:
                digest.update(raw)
                encoder.write(np.frombuffer(widened(raw), "<i4").reshape(-1, head.channels))
            else:
                samples = to_16_bits(raw, head)
                digest.update(samples.tobytes())
                encoder.write(samples)
    return result.getvalue(), digest.hexdigest()


def read_flac_info(body: bytes | bytearray) -> FlacInfo:
    """The STREAMINFO of a FLAC; raises ``Rejected`` if it is none of a recording, or lacks its length or its MD5."""
    if len(body) < INFO_BYTES or body[:5] not in (b"fLaC\x00", b"fLaC\x80"):
        raise Rejected("bad-flac", "there is no STREAMINFO at the beginning")
    fields = int.from_bytes(body[18:26], "big")
    info = FlacInfo(
        sample_rate_hz=fields >> 44,
        channels=(fields >> 41 & 7) + 1,
        bits=(fields >> 36 & 31) + 1,
        frames=fields & 0xF_FFFF_FFFF,
        md5=bytes(body[26:42]).hex(),
    )
    if not info.frames or info.bits not in (16, 24) or not int(info.md5, 16):
        raise Rejected("bad-flac", f"its head cannot be checked: {info}")
    if info.sample_rate_hz not in SAMPLE_RATES_HZ:
        raise Rejected("unsupported", f"{info.sample_rate_hz} Hz are no call recording")
    if info.frames > MAX_HOURS * 3600 * info.sample_rate_hz:
        raise Rejected("too-long", f"{info.frames / info.sample_rate_hz / 3600:.1f} hours, more than {MAX_HOURS}")
    return info


def check_flac(body: bytes | bytearray) -> FlacInfo:
    """Decode a FLAC in full and compare with the MD5 that it carries; raises ``Rejected``."""
    info = read_flac_info(body)
    digest, left = hashlib.md5(usedforsecurity=False), info.frames * info.channels * info.bits // 8
    try:
        for samples in _decoded(body, info):
            digest.update(samples)
            left -= len(samples)
            if left < 0:  # a few bytes can stand for any number of equal samples
                break
    except (av.FFmpegError, ValueError) as error:
        raise Rejected("bad-flac", f"it does not decode: {error}") from error
    if left or digest.hexdigest() != info.md5:
        raise Rejected("bad-flac", f"its samples have the MD5 {digest.hexdigest()}, and its head says {info}")
    return info


def check_fits_flac(head: WavHead) -> None:
    """Raise ``Rejected`` for audio that FLAC cannot hold."""
    if head.codec in ("pcm_s32le", "pcm_f32le", "pcm_f64le"):
        raise Rejected("unsupported", f"{head.codec} does not fit the 24 bits of FLAC")
    if head.sample_rate_hz > 65_535 and head.sample_rate_hz % 10:
        raise Rejected("unsupported", f"FLAC cannot say {head.sample_rate_hz} Hz")
    if head.frames < 16:
        raise Rejected("unsupported", f"{head.frames} samples are less than FLAC's smallest block of 16")


def _decoded(body: bytes | bytearray, info: FlacInfo) -> Iterator[bytes]:
    """The samples, little-endian, block by block; a block that differs from STREAMINFO in shape ends them."""
    with av.open(io.BytesIO(body), "r", format="flac") as container:
        for frame in container.decode(audio=0):
            if (len(frame.layout.channels), frame.sample_rate) != (info.channels, info.sample_rate_hz):
                return
            yield _packed(frame.to_ndarray(), info)


def _packed(samples: NDArray[np.generic], info: FlacInfo) -> bytes:
    """Samples in the bytes that the MD5 is of: ffmpeg gives 24 bits as the upper ones of 32."""
    if info.bits == 16:
        return samples.tobytes()
    return samples.reshape(-1).view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
