"""What we read from a head, what we refuse and why, and what others read from the heads we write."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from recordings.conversion.wav import MAX_HEAD_BYTES, ObjectStream, WavHead, alaw_wav, read_head, read_tail
from recordings.errors import Rejected
from tests.recordings.clips import Trickle, chunk, ffmpeg, fmt, riff

AUDIO = bytes(range(1, 201)) * 2  # 100 frames
DATA = chunk(b"data", AUDIO)
LIST = chunk(b"LIST", b"INFOISFT\x0e\x00\x00\x00Lavf59.27.100\x00")
PLAIN = riff(fmt(), DATA)


def read(data: bytes) -> tuple[WavHead, bytes]:
    """The head and the audio of a file, read as ``convert`` does: through to its end."""
    source = ObjectStream(Trickle(data, most=max(7, len(data) // 100)), len(data))
    head = read_head(source)
    audio = source.take(head.data_bytes)
    read_tail(source, head)
    source.finish()
    return head, audio


def extensible(tag: int, channels: int, bits: int, tail: str = "000000001000800000aa00389b71") -> bytes:
    """A WAVE_FORMAT_EXTENSIBLE fmt chunk."""
    plain = fmt(0xFFFE, channels=channels, bits=bits)[8:]
    return chunk(b"fmt ", plain + struct.pack("<HHIH", 22, bits, 3, tag) + bytes.fromhex(tail))


def rf64(data_size: int) -> bytes:
    """An RF64 file whose 64-bit sizes stand in a ds64 chunk."""
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, data_size, 0, 0))
    return riff(sizes, fmt(), chunk(b"data", AUDIO, size=0xFFFFFFFF), form=b"RF64")


READABLE = {
    "plain": PLAIN,
    "fmt of 18 bytes": riff(chunk(b"fmt ", fmt()[8:] + b"\0\0"), DATA),
    "chunks before and after": riff(LIST, fmt(), chunk(b"fact", b"\x64\0\0\0"), LIST, DATA, LIST, chunk(b"id3 ", b"x")),
    "odd chunk before": riff(fmt(), chunk(b"junk", b"abc"), DATA),
    "odd chunk at the end without its padding": riff(fmt(), DATA, chunk(b"junk", b"abc"))[:-1],
    "streamed, size 0": riff(fmt(), chunk(b"data", AUDIO, size=0)),
    "streamed, size 2^31-1": riff(fmt(), chunk(b"data", AUDIO, size=0x7FFFFFFF)),
    "streamed, size 2^32-1": riff(fmt(), chunk(b"data", AUDIO, size=0xFFFFFFFF)),
    "wrong RIFF size": PLAIN[:4] + b"\0\0\0\0" + PLAIN[8:],
    "extensible": riff(extensible(1, 2, 16), DATA),
    "RF64": rf64(len(AUDIO)),
    "RF64, streamed": rf64(0xFFFFFFFFFFFFFFFF),
    "RF64 with a chunk after": rf64(len(AUDIO)) + LIST,
    "RF64 whose data chunk says 0": rf64(len(AUDIO)).replace(b"data\xff\xff\xff\xff", b"data\0\0\0\0") + LIST,
    "BW64": b"BW64" + rf64(len(AUDIO))[4:],
    "wrong block align": riff(fmt()[:-4] + b"\x02\0" + fmt()[-2:], DATA),
    "wrong byte rate": riff(fmt()[:16] + b"\x41\x1f\0\0" + fmt()[20:], DATA),
    "odd chunk after, without its padding": riff(fmt(), DATA, chunk(b"junk", b"abc")[:-1] + LIST),
}


@pytest.mark.parametrize("name", READABLE)
def test_reads(name: str) -> None:
    head, audio = read(READABLE[name])
    assert (head.codec, head.sample_rate_hz, head.channels, head.frames) == ("pcm_s16le", 8_000, 2, 100)
    assert audio == AUDIO


def test_rf64_counts_beyond_4_gib() -> None:
    size = 5 * 2**30 // 24 * 24
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, size, 0, 0))
    start = riff(sizes, fmt(channels=8, rate=48_000, bits=24), struct.pack("<4sI", b"data", 0xFFFFFFFF), form=b"RF64")
    assert read_head(ObjectStream(io.BytesIO(start), len(start) + size)).data_bytes == size


REFUSED = {
    "empty": (b"", "empty: "),
    "one byte": (b"R", "not-wav: "),
    "MP3": (b"ID3\x04" + bytes(500), "not-wav: .*ID3"),
    "big-endian": (b"RIFX" + PLAIN[4:], "not-wav: "),
    "AVI": (PLAIN[:8] + b"AVI " + PLAIN[12:], "not-wav: "),
    "nothing but RIFF": (riff(), "no-fmt: "),
    "no fmt": (riff(LIST, DATA), "no-fmt: .* before any fmt"),
    "data before fmt": (riff(DATA, fmt()), "no-fmt: "),
    "two fmt": (riff(fmt(), fmt(), DATA), "bad-fmt: .*more than one"),
    "short fmt": (riff(chunk(b"fmt ", bytes(14)), DATA), "bad-fmt: .*14 bytes"),
    "head only": (riff(fmt()), "no-audio: "),
    "no audio": (riff(fmt(), chunk(b"data", b"")), "no-audio: "),
    "no audio but a chunk": (riff(fmt(), chunk(b"data", b""), LIST), "no-audio: .*LIST"),
    "streamed and nothing came": (riff(fmt(), chunk(b"data", b"", size=0xFFFFFFFF)), "no-audio: "),
    "cut in the audio": (PLAIN[:-8], "truncated: .*400 bytes.*392"),
    "cut in a chunk": (riff(fmt(), LIST)[:-8], "truncated: .*LIST"),
    "cut after the fmt": (PLAIN[:40], "no-audio: "),
    "cut in the fmt": (PLAIN[:30], "truncated: "),
    "RF64 claims more": (rf64(len(AUDIO) + 4), "truncated: .*404 bytes.*400"),
    "half a frame": (riff(fmt(), chunk(b"data", AUDIO[:-2])), "partial-frame: .*398.*4-byte"),
    "streamed, half a frame": (riff(fmt(), chunk(b"data", AUDIO[:-2], size=0)), "partial-frame: "),
    "no channels": (riff(fmt(channels=0), DATA), "bad-fmt: "),
    "no rate": (riff(fmt(rate=0), DATA), "bad-fmt: "),
    "more channels than bytes": (riff(fmt()[:-4] + b"\x01\0" + fmt()[-2:], DATA), "bad-fmt: "),
    "4 GHz": (riff(fmt(rate=0x3FFFFFFF), DATA), "unsupported: "),
    "99 channels": (riff(fmt(channels=99), chunk(b"data", bytes(198))), "unsupported: 99 channels"),
    "12 bits": (riff(fmt(bits=12, channels=2), DATA), "unsupported: .*12 bits"),
    "ADPCM": (riff(fmt(2, bits=4), DATA), "unsupported: .*0x0002"),
    "GSM": (riff(fmt(0x31, bits=0), DATA), "unsupported: .*0x0031"),
    "extensible of a codec unknown": (riff(extensible(1, 2, 16, "00" * 14), DATA), "unsupported: "),
    "audio after the data": (PLAIN + bytes(4_000), "trailing-data: "),
    "two data chunks": (riff(fmt(), DATA, DATA), "trailing-data: "),
    "a few bytes after the data": (PLAIN + b"\r\n", "trailing-data: "),
    "more than 12 hours": (riff(fmt(rate=4_000, bits=8, channels=1), chunk(b"data", bytes(172_800_001))), "too-long: "),
    "endless chunks": (riff(*[chunk(b"junk", b"")] * 1_001, fmt(), DATA), "not-wav: .*1000 chunks"),
    "endless chunks after": (riff(fmt(), DATA, *[chunk(b"junk", b"")] * 1_001), "trailing-data: "),
    "a huge chunk before": (riff(chunk(b"junk", bytes(MAX_HEAD_BYTES)), fmt(), DATA), "not-wav: .*first 16777216"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(Rejected, match=f"^{reason}"):
        read(data)


@pytest.mark.parametrize("size", [len(PLAIN) - 1, len(PLAIN) + 1])
def test_refuses_a_stream_of_another_length_than_the_object(size: int) -> None:
    source = ObjectStream(io.BytesIO(PLAIN), size)
    with pytest.raises(Rejected, match=r"^short-read: "):
        source.finish()


name = st.sampled_from([b"LIST", b"fact", b"JUNK", b"bext", b"cue ", b"id3 ", b"PEAK"])
others = st.lists(st.builds(chunk, name, st.binary(max_size=50)), max_size=4)


@given(before=others, between=others, after=others, audio=st.binary(min_size=4, max_size=400))
def test_reads_the_audio_whatever_chunks_surround_it(
    before: list[bytes], between: list[bytes], after: list[bytes], audio: bytes
) -> None:
    audio = audio[: len(audio) // 4 * 4]
    head, found = read(riff(*before, fmt(), *between, chunk(b"data", audio), *after))
    assert (head.frames, found) == (len(audio) // 4, audio)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 801])
def test_writes_what_ffmpeg_writes_byte_for_byte(tmp_path: Path, channels: int, frames: int) -> None:
    codes = bytes(np.random.default_rng(frames).integers(0, 256, frames * channels, np.uint8))
    body, start = alaw_wav(channels=channels, frames=frames, sample_rate_hz=8_000)
    body[start : start + len(codes)] = codes
    theirs = tmp_path / "theirs.wav"
    ffmpeg(f"-f alaw -ar 8000 -ac {channels} -i pipe: -c copy -bitexact {theirs}", codes)
    assert body == theirs.read_bytes()
    assert soundfile.info(io.BytesIO(body)).frames == frames
