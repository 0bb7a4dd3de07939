"""FLAC by ffmpeg: driven through pydub to encode, asked directly to decode in full.

ffmpeg comes from PATH or from the wheel imageio-ffmpeg. The samples travel through temporary files: memory holds only
the result, for a moment twice, and a FLAC written to a pipe would lack its length and its MD5.
"""

import hashlib
import importlib
import mmap
import shutil
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from io import BytesIO

from recordings.errors import InvalidRequest, Rejected
from recordings.pcm import raw_blocks, to_16_bits, widened
from recordings.wav import ObjectStream, WavHead

with warnings.catch_warnings():  # that audioop is going, and that there may be no ffmpeg: we ask where it matters
    warnings.simplefilter("ignore")
    from pydub import AudioSegment  # type: ignore[import-untyped]  # has no stubs
    from pydub.exceptions import CouldntEncodeError  # type: ignore[import-untyped]

NOTHING_ELSE = ["-map_metadata", "-1", "-metadata_header_padding", "0", "-fflags", "+bitexact", "-flags", "+bitexact"]
INFO_BYTES = 42  # up to the end of STREAMINFO, which comes first
PIPE_BYTES = 256 * 1024
WAV_BYTES = 2**32 - 1024  # what a RIFF chunk can count, less the head


@dataclass(frozen=True, slots=True, kw_only=True)
class FlacInfo:
    """STREAMINFO, the first block of every FLAC (RFC 9639, section 8.2); ``md5`` is of the samples, little-endian."""

    sample_rate_hz: int
    channels: int
    bits: int
    frames: int
    md5: str


def executable() -> str:
    """Where ffmpeg is; raises ``InvalidRequest`` if it is nowhere."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        return str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        way_out = "put ffmpeg on PATH, install imageio-ffmpeg, or choose an A-law profile"
        raise InvalidRequest(f"this profile needs ffmpeg, which is not here: {way_out}") from error


def to_flac(source: ObjectStream, head: WavHead) -> tuple[bytes, str]:
    """The recording's audio as a FLAC file, and the MD5 of its 16 or 24-bit samples, by which to check the FLAC.

    Raises ``Rejected`` for what does not fit a FLAC, and ``OSError`` if ffmpeg fails for want of anything else.
    """
    wide = head.codec == "pcm_s24le"
    _check_fits_flac(head, spooled_bytes=head.frames * head.channels * (4 if wide else 2))
    digest = hashlib.md5(usedforsecurity=False)
    with tempfile.TemporaryFile() as spool:
        for raw in raw_blocks(source, head):
            samples = raw if wide else to_16_bits(raw, head).tobytes()
            digest.update(samples)
            spool.write(widened(samples) if wide else samples)
        spool.flush()
        with mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ) as pcm:
            return _encode(pcm, head, sample_width=4 if wide else 2), digest.hexdigest()


def read_flac_info(body: bytes | bytearray) -> FlacInfo:
    """What a FLAC says about itself; raises ``Rejected`` if it is none, or leaves out its length or its MD5."""
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


def _check_fits_flac(head: WavHead, spooled_bytes: int) -> None:
    if head.codec in ("pcm_s32le", "pcm_f32le", "pcm_f64le"):
        raise Rejected("unsupported", f"{head.codec} does not fit the 24 bits of FLAC")
    if head.sample_rate_hz > 65_535 and head.sample_rate_hz % 10:
        raise Rejected("unsupported", f"FLAC cannot say {head.sample_rate_hz} Hz")
    if head.frames < 16:
        raise Rejected("unsupported", f"{head.frames} samples are less than FLAC's smallest block of 16")
    if spooled_bytes > WAV_BYTES:
        raise Rejected("too-long", f"{spooled_bytes} bytes do not fit the WAV through which pydub feeds ffmpeg")


def _encode(pcm: mmap.mmap, head: WavHead, *, sample_width: int) -> bytes:
    """By pydub, which writes a WAV for ffmpeg straight from the mapped file."""
    AudioSegment.converter = executable()
    segment = AudioSegment(data=pcm, sample_width=sample_width, frame_rate=head.sample_rate_hz, channels=head.channels)
    result = BytesIO()
    try:
        segment.export(result, format="flac", codec="flac", parameters=NOTHING_ELSE)
    except CouldntEncodeError as error:
        raise OSError(f"ffmpeg failed: {error}") from error
    return result.getvalue()


def _decode(body: bytes | bytearray, bits: int) -> tuple[int, str]:
    """The length and the MD5 of all samples, by a program that did not see them encoded."""
    with tempfile.NamedTemporaryFile(suffix=".flac") as file:
        file.write(body)
        file.flush()
        reading = [
            "-nostdin",
            "-v",
            "quiet",
            "-xerror",
            "-protocol_whitelist",
            "file,pipe",
            "-f",
            "flac",
            "-i",
            file.name,
        ]
        command = [executable(), *reading, "-f", f"s{bits}le", "pipe:1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as decoder:  # noqa: S603  # ours
            assert decoder.stdout  # noqa: S101  # for mypy: it is a pipe
            digest, count = hashlib.md5(usedforsecurity=False), 0
            while block := decoder.stdout.read(PIPE_BYTES):
                digest.update(block)
                count += len(block)
    if decoder.returncode < 0:
        raise OSError(f"ffmpeg was ended by signal {-decoder.returncode}")
    return count, digest.hexdigest()
