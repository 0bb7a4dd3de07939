"""A head with a wrong field is read as ffmpeg and libsndfile both read it, and refused where they differ.

The two are the judges: where they decode all of the audio to the same samples, so do we, and say what was odd.
"""

import io
import re
import struct
import subprocess
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recordings.conversion.audio import convert
from recordings.conversion.pcm import to_16_bits
from recordings.conversion.wav import SUBFORMAT_TAIL, ObjectStream, read_head, read_tail
from recordings.errors import Rejected
from recordings.profiles import PROFILES
from tests.recordings.clips import Int16s, Trickle, chunk, ffmpeg, riff

PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
AUDIO_BYTES = 144_000  # whole frames of one to eight channels in all widths, and more than a packet of ffmpeg's
SOX, TWO_GIB, FOUR_GIB = 0x7FFFF000, 2**31, 2**32
LIST = chunk(b"LIST", b"INFOISFT\x0e\x00\x00\x00Lavf59.27.100\x00")


class Sound(NamedTuple):
    """What a decoder makes of a file; full scale is 1.0."""

    sample_rate_hz: int
    samples: NDArray[np.float64]  # (n, channels)

    def is_of(self, other: "Sound | None") -> bool:
        """Whether the other decoder heard the same."""
        return other is not None and self.sample_rate_hz == other.sample_rate_hz and same(self.samples, other.samples)


def same(one: NDArray[np.float64] | Int16s, other: NDArray[np.float64] | Int16s) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def by_ffmpeg(data: bytes) -> Sound | None:
    """None if it cannot."""
    try:
        decoded = ffmpeg("-i pipe: -c:a pcm_f64le -bitexact -f wav pipe:", data)
    except subprocess.CalledProcessError:
        return None
    channels, rate = struct.unpack_from("<HI", decoded, 22)
    samples = np.frombuffer(decoded[decoded.index(b"data") + 8 :], "<f8")
    return Sound(rate, samples.reshape(-1, channels))


def by_libsndfile(data: bytes) -> Sound | None:
    """None if it cannot."""
    try:
        samples, rate = soundfile.read(io.BytesIO(data), always_2d=True)
    except soundfile.LibsndfileError:
        return None
    return Sound(rate, samples)


def heard(data: bytes) -> Sound | None:
    """What both decoders make of it; None where either cannot, or they differ."""
    sound = by_ffmpeg(data)
    return sound if sound and sound.is_of(by_libsndfile(data)) else None


def ours(data: bytes) -> tuple[int, Int16s, list[str]]:
    """Sample rate, samples and oddities, read as ``convert`` does: through to the end."""
    source = ObjectStream(Trickle(data), len(data))
    head = read_head(source)
    samples = to_16_bits(source.take(head.data_bytes), head)
    read_tail(source, head)
    source.finish()
    return head.sample_rate_hz, samples, source.oddities


def in_16_bits(sound: Sound, tag: int) -> Int16s:
    """Lower bits are cut off; floating point is rounded."""
    scaled = sound.samples.clip(-1, 1) * 32768
    whole = np.rint(scaled) if tag == FLOAT else np.floor(scaled)
    samples: Int16s = whole.clip(-32768, 32767).astype(np.int16)
    return samples


def audio(tag: int, bits: int, size: int = AUDIO_BYTES) -> bytes:
    """Noise of the format: any bytes, but for floating point."""
    random = np.random.default_rng(7)
    if tag == FLOAT:
        return random.normal(0, 0.2, size).astype("<f8" if bits == 64 else "<f4").tobytes()[:size]
    return random.integers(0, 256, size, np.uint8).tobytes()


class Head(NamedTuple):
    """A WAV by its fields, right unless said otherwise."""

    tag: int = PCM
    channels: int = 2
    bits: int = 16
    align: int | None = None
    byte_rate: int | None = None
    riff_bytes: int | None = None
    data_bytes: int | None = None
    extension: bytes = b""
    before: bytes = b""
    after: bytes = b""
    size: int = AUDIO_BYTES
    padded: bool = True

    @property
    def sub_tag(self) -> int:
        return struct.unpack_from("<8xH", self.extension)[0] if self.tag == EXTENSIBLE else self.tag

    @property
    def frame_bytes(self) -> int:
        return self.channels * (8 if self.sub_tag in (ALAW, MULAW) else self.bits) // 8

    def file(self) -> bytes:
        align = self.frame_bytes if self.align is None else self.align
        byte_rate = 8_000 * self.frame_bytes if self.byte_rate is None else self.byte_rate
        fmt = struct.pack("<HHIIHH", self.tag, self.channels, 8_000, byte_rate, align, self.bits) + self.extension
        data = chunk(b"data", audio(self.sub_tag, self.bits, self.size), self.data_bytes)
        data = data if self.padded else data[: 8 + self.size]
        file = riff(chunk(b"fmt ", fmt), self.before, data, self.after)
        if self.riff_bytes is not None:
            file = file[:4] + struct.pack("<I", self.riff_bytes) + file[8:]
        return file


def extension(tag: int, valid_bits: int, size: int = 22) -> bytes:
    """What makes a fmt chunk WAVE_FORMAT_EXTENSIBLE."""
    return struct.pack("<HHIH", size, valid_bits, 3, tag) + SUBFORMAT_TAIL


def streamed(data_bytes: int, riff_bytes: int | None = None) -> Head:
    """By default the RIFF chunk's size goes with that of the data."""
    return Head(data_bytes=data_bytes, riff_bytes=(data_bytes + 36) % FOUR_GIB if riff_bytes is None else riff_bytes)


ODD: dict[str, tuple[Head, str]] = {
    "SoX into a pipe": (streamed(SOX), "data size 0x7ffff000"),
    "SoX into a pipe, mu-law": (Head(MULAW, bits=8, data_bytes=SOX, riff_bytes=SOX + 36), "data size 0x7ffff000"),
    "a little more than SoX": (streamed(SOX + 1), "data size 0x7ffff001"),
    "arecord into a pipe": (streamed(TWO_GIB), "data size 0x80000000"),
    "2^31-1 less the head": (streamed(TWO_GIB - 37, TWO_GIB - 1), "data size 0x7fffffdb"),
    "2^32-1 less the head": (streamed(FOUR_GIB - 37, FOUR_GIB - 1), "data size 0xffffffdb"),
    "a RIFF size that wrapped": (streamed(FOUR_GIB - 16), "data size 0xfffffff0"),
    "both placeholders, each its own": (streamed(TWO_GIB, FOUR_GIB - 1), "data size 0x80000000"),
    "2^31-1": (streamed(TWO_GIB - 1), "data size 0x7fffffff"),
    "2^32-1": (streamed(FOUR_GIB - 1, FOUR_GIB - 1), "data size 0xffffffff"),
    "RIFF size of nothing": (Head(riff_bytes=0), "RIFF size"),
    "RIFF size of less": (Head(riff_bytes=1_000), "RIFF size"),
    "RIFF size of more": (Head(riff_bytes=10**6), "RIFF size"),
    "byte rate of nothing": (Head(byte_rate=0), "byte rate 0, read as 32000"),
    "byte rate of one channel": (Head(byte_rate=16_000), "byte rate 16000, read as 32000"),
    "byte rate in bits": (Head(byte_rate=256_000), "byte rate 256000, read as 32000"),
    "byte rate beyond all": (Head(byte_rate=FOUR_GIB - 1), "byte rate 4294967295, read as 32000"),
    "byte rate of mu-law": (Head(MULAW, 1, bits=8, byte_rate=16_000), "byte rate 16000, read as 8000"),
    "block align of nothing": (Head(align=0), "block align 0, read as 4"),
    "block align of one channel": (Head(align=2), "block align 2, read as 4"),
    "block align and byte rate of one channel": (Head(align=2, byte_rate=16_000), "block align 2.*byte rate 16000"),
    "block align in bits": (Head(align=32), "block align 32, read as 4"),
    "block align that is odd": (Head(align=3), "block align 3, read as 4"),
    "block align of two channels": (Head(channels=1, align=4), "block align 4, read as 2"),
    "block align of 16 bits": (Head(bits=8, align=4), "block align 4, read as 2"),
    "block align of 24 bits in one channel": (Head(bits=24, align=3), "block align 3, read as 6"),
    "block align of 32 bits": (Head(bits=32, align=4), "block align 4, read as 8"),
    "block align of floats": (Head(FLOAT, bits=32, align=4), "block align 4, read as 8"),
    "block align of mu-law": (Head(MULAW, 1, bits=8, align=2), "block align 2, read as 1"),
    "A-law of 16 bits": (Head(ALAW, bits=16), "bits per sample 16, read as 8"),
    "A-law of 16 bits in all fields": (
        Head(ALAW, bits=16, align=4, byte_rate=32_000),
        "bits.* 16.*align 4.*rate 32000",
    ),
    "A-law of 13 bits": (Head(ALAW, bits=13), "bits per sample 13, read as 8"),
    "A-law of no bits": (Head(ALAW, 1, bits=0), "bits per sample 0, read as 8"),
    "mu-law of 16 bits": (Head(MULAW, 1, bits=16), "bits per sample 16, read as 8"),
    "mu-law of 14 bits": (Head(MULAW, 1, bits=14), "bits per sample 14, read as 8"),
    "mu-law of no bits": (Head(MULAW, bits=0), "bits per sample 0, read as 8"),
    "mu-law of no bits in all fields": (Head(MULAW, bits=0, align=0, byte_rate=0), "bits.* 0.*align 0.*rate 0"),
    "extensible mu-law of 16 bits": (Head(EXTENSIBLE, 2, 16, extension=extension(MULAW, 16)), "bits per sample 16"),
    "12 bits in 16": (Head(bits=12, align=4, byte_rate=32_000), "bits per sample 12, read as 16"),
    "20 bits in 24": (Head(bits=20, align=6, byte_rate=48_000), "bits per sample 20, read as 24"),
    "odd mu-law without padding": (
        Head(MULAW, 1, 8, size=20_001, padded=False, after=LIST),
        "no padding after the data",
    ),
    "odd mu-law, padded": (Head(MULAW, 1, 8, size=20_001, after=LIST), ""),
    "odd mu-law at the end": (Head(MULAW, 1, 8, size=20_001, padded=False), ""),
    "odd 8 bits without padding": (Head(channels=1, bits=8, size=20_001, padded=False, after=LIST), "no padding"),
    "odd 24 bits without padding": (Head(channels=1, bits=24, size=20_001, padded=False, after=LIST), "no padding"),
    "odd chunk after, without padding": (Head(after=chunk(b"junk", b"abc")[:-1] + LIST), "no padding after the junk"),
    "a fact that is wrong": (Head(MULAW, 1, 8, before=chunk(b"fact", b"\x01\0\0\0")), ""),
    "an extension of another size": (Head(extension=b"\x16\0"), ""),
    "12 valid bits of 16": (Head(EXTENSIBLE, extension=extension(PCM, 12)), ""),
    "no valid bits": (Head(EXTENSIBLE, extension=extension(PCM, 0)), ""),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_heads_are_read_as_both_decoders_read_them(name: str) -> None:
    head, oddity = ODD[name]
    judges = heard(head.file())
    assert judges, "the judges disagree: this belongs to DOUBTFUL"
    rate, samples, oddities = ours(head.file())
    assert rate == judges.sample_rate_hz
    assert same(samples, in_16_bits(judges, head.sub_tag))
    note = convert(Trickle(head.file()), len(head.file()), PROFILES["alaw-stereo"]).note
    assert note == ("; ".join(oddities) or None)
    assert re.search(oddity, note) if note else not oddity


DOUBTFUL: dict[str, tuple[Head, str]] = {
    "truncated": (Head(data_bytes=AUDIO_BYTES + 400), "truncated: "),
    "truncated, of 2 GiB by its data alone": (streamed(SOX, AUDIO_BYTES + 36), "truncated: "),
    "truncated, of 2 GiB by its RIFF alone": (streamed(SOX - 4, SOX + 36), "truncated: "),
    "streamed, half a frame": (streamed(SOX)._replace(size=AUDIO_BYTES - 2), "partial-frame: "),
    "more channels than bytes": (Head(channels=8, align=4), "bad-fmt: "),
    "more channels than bytes of mu-law": (Head(MULAW, 2, 8, align=1), "bad-fmt: "),
    "no channels": (Head(channels=0), "bad-fmt: "),
    "24 bits by frames of another size": (Head(bits=24, align=4), "bad-fmt: "),
    "24 bits without a block align": (Head(bits=24, align=0), "bad-fmt: "),
    "24 bits in 32": (Head(bits=24, align=8), "bad-fmt: "),
    "6 channels by frames of two": (Head(channels=6, align=8), "bad-fmt: "),
    "a block align beyond all": (Head(align=65_535), "bad-fmt: "),
    "packed 12 bits": (Head(bits=12), "unsupported: .*12 bits"),
    "no bits": (Head(bits=0, align=4), "unsupported: "),
    "40 bits": (Head(bits=40), "unsupported: "),
    "floats of 16 bits": (Head(FLOAT, bits=16), "unsupported: "),
    "24 valid bits of 32": (Head(EXTENSIBLE, bits=32, extension=extension(PCM, 24)), "bad-fmt: .*24 valid bits"),
    "8 valid bits of 16": (Head(EXTENSIBLE, extension=extension(PCM, 8)), "bad-fmt: .*8 valid bits"),
    "24 valid bits of a float": (Head(EXTENSIBLE, bits=32, extension=extension(FLOAT, 24)), "bad-fmt: "),
    "an extension too short": (Head(EXTENSIBLE, extension=extension(PCM, 16, size=2)), "unsupported: "),
    "odd chunk before, without padding": (Head(before=chunk(b"junk", b"abc")[:-1]), "truncated: |no-audio: |not-wav: "),
    "ADPCM": (Head(2, bits=4), "unsupported: .*0x0002"),
    "bytes after that are no chunk": (
        Head(MULAW, 1, 8, size=20_001, padded=False, after=b"\xff" * 40),
        "trailing-data: ",
    ),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_doubtful_heads_are_refused(name: str) -> None:
    head, reason = DOUBTFUL[name]
    with pytest.raises(Rejected, match=f"^({reason})"):
        ours(head.file())


def is_in_doubt(head: Head, frame_bytes: int) -> bool:
    """What we refuse though both decoders read it: fields contradict each other on a frame, or it is cut short."""
    align = head.frame_bytes if head.align is None else head.align
    contradicts = align != frame_bytes and (0 < align < head.channels or align > 64 or head.bits % 8 != 0)
    return contradicts or ((head.data_bytes or 0) > AUDIO_BYTES and not (head.riff_bytes or 0) >= SOX)


numbers = st.sampled_from([0, 1, 2, 8_000, 16_000, 32_000, 64_000, SOX, TWO_GIB, FOUR_GIB - 1]) | st.integers(
    0, 2**32 - 1
)
sizes = st.sampled_from([(None, None), (SOX, SOX + 36), (TWO_GIB + 5, FOUR_GIB - 1), (AUDIO_BYTES + 4, None)])


@st.composite
def heads(draw: st.DrawFn) -> Head:
    tag = draw(st.sampled_from([PCM, PCM, FLOAT, ALAW, MULAW]))
    bits = draw(st.sampled_from([8, 16, 16, 24, 32, 64]) | st.integers(0, 65))
    plain = Head(tag, draw(st.sampled_from([1, 2, 2, 3, 4, 6, 8])), bits)
    align = draw(st.none() | st.integers(0, 66) | st.sampled_from([plain.channels, 2 * plain.channels, 100, 65_535]))
    data_bytes, riff_bytes = draw(sizes)
    byte_rate = draw(st.none() | numbers)
    return plain._replace(align=align, byte_rate=byte_rate, data_bytes=data_bytes, riff_bytes=riff_bytes)


@given(heads())
def test_any_head_is_read_as_both_decoders_read_it_or_refused(head: Head) -> None:
    file = head.file()
    judges = heard(file)
    try:
        rate, samples, _ = ours(file)
    except Rejected:
        assert not judges or is_in_doubt(head, AUDIO_BYTES * head.channels // max(judges.samples.size, 1))
    else:
        assert judges, "the judges disagree"
        assert rate == judges.sample_rate_hz
        assert same(samples, in_16_bits(judges, head.tag))
