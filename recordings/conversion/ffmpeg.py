"""FLAC by ffmpeg: encode the audio, then decode the result in full.

ffmpeg comes from PATH or from the wheel imageio-ffmpeg. The samples travel through temporary files, so that memory
holds only the result, for a moment twice; and a FLAC written to a pipe would lack its length and its MD5. ffmpeg reads
from a nameless file, and we delete the file that it writes: nothing is left behind, whatever fails (pydub leaves its
files when a disk is full).
"""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from recordings.conversion.pcm import raw_blocks, to_16_bits
from recordings.conversion.program import executable
from recordings.conversion.wav import ObjectStream, WavHead
from recordings.errors import Rejected

QUIETLY = ["-nostdin", "-v", "error", "-xerror", "-protocol_whitelist", "file,pipe"]
NOTHING_ELSE = ["-map_metadata", "-1", "-metadata_header_padding", "0", "-fflags", "+bitexact", "-flags", "+bitexact"]
INFO_BYTES = 42  # up to the end of STREAMINFO, the first block
PIPE_BYTES = 256 * 1024


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

    Raises ``Rejected`` for audio that FLAC cannot hold, and ``OSError`` if ffmpeg fails for any other reason.
    """
    check_fits_flac(head)
    wide, digest = head.codec == "pcm_s24le", hashlib.md5(usedforsecurity=False)

    def samples() -> Iterator[bytes]:
        for raw in raw_blocks(source, head):
            block = raw if wide else to_16_bits(raw, head).tobytes()
            digest.update(block)
            yield block

    with _spooled(samples()) as pcm:
        return _encode(pcm, head, sample_width=3 if wide else 2), digest.hexdigest()


def read_flac_info(body: bytes | bytearray) -> FlacInfo:
    """The STREAMINFO of a FLAC; raises ``Rejected`` if the body is no FLAC, or lacks its length or its MD5."""
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
    if not info.frames or not info.sample_rate_hz or info.bits not in (16, 24) or not int(info.md5, 16):
        raise Rejected("bad-flac", f"its head cannot be checked: {info}")
    return info


def check_flac(body: bytes | bytearray) -> FlacInfo:
    """Decode a FLAC in full and compare with the MD5 that it carries; raises ``Rejected``."""
    info = read_flac_info(body)
    count, md5 = _decode(body, info.bits)
    if count != info.frames * info.channels * info.bits // 8 or md5 != info.md5:
        raise Rejected("bad-flac", f"its samples have the MD5 {md5}, and its head says {info}")
    return info


def check_fits_flac(head: WavHead) -> None:
    """Raise ``Rejected`` for audio that FLAC cannot hold."""
    if head.codec in ("pcm_s32le", "pcm_f32le", "pcm_f64le"):
        raise Rejected("unsupported", f"{head.codec} does not fit the 24 bits of FLAC")
    if head.sample_rate_hz > 65_535 and head.sample_rate_hz % 10:
        raise Rejected("unsupported", f"FLAC cannot say {head.sample_rate_hz} Hz")
    if head.frames < 16:
        raise Rejected("unsupported", f"{head.frames} samples are less than FLAC's smallest block of 16")


@contextmanager
def _spooled(blocks: Iterable[bytes | bytearray]) -> Iterator[IO[bytes]]:
    """A nameless file of these bytes, positioned at its beginning for another program to read."""
    with tempfile.TemporaryFile() as file:
        file.writelines(blocks)
        file.flush()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        yield file


def _encode(pcm: IO[bytes], head: WavHead, *, sample_width: int) -> bytes:
    raw = ["-f", f"s{8 * sample_width}le", "-ar", str(head.sample_rate_hz), "-ac", str(head.channels)]
    with tempfile.NamedTemporaryFile(suffix=".flac") as result:
        command = [executable(), *QUIETLY, *raw, "-i", "pipe:0", "-c:a", "flac", *NOTHING_ELSE, "-y", result.name]
        done = subprocess.run(command, stdin=pcm, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)  # noqa: S603  # ours
        _check_not_killed(done.returncode)
        if done.returncode:
            raise OSError(f"ffmpeg failed: {done.stderr.decode(errors='replace').strip()}")
        return result.read()


def _decode(body: bytes | bytearray, bits: int) -> tuple[int, str]:
    """The length in samples and the MD5 of all samples, decoded by a program independent of the encoder."""
    digest, count = hashlib.md5(usedforsecurity=False), 0
    command = [executable(), *QUIETLY, "-f", "flac", "-i", "pipe:0", "-f", f"s{bits}le", "pipe:1"]
    with (
        _spooled([body]) as flac,
        subprocess.Popen(command, stdin=flac, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as decoder,  # noqa: S603  # ours
    ):
        assert decoder.stdout  # noqa: S101  # for mypy: it is a pipe
        while block := decoder.stdout.read(PIPE_BYTES):
            digest.update(block)
            count += len(block)
    _check_not_killed(decoder.returncode)
    return count, digest.hexdigest()


def _check_not_killed(returncode: int) -> None:
    if returncode < 0:
        raise OSError(f"ffmpeg was ended by signal {-returncode}")
