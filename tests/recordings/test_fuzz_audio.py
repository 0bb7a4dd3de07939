"""Damaged files end as converted and judged, or rejected with a reason: nothing else, soon, and in little memory.

``FUZZ_FILES=100000`` makes the long run. Every file comes from its number alone, so that a failure can be repeated.
"""

import functools
import os
import random
import resource
import struct
import time
from collections import Counter

import numpy as np
import pytest

from recordings.conversion.audio import convert, inspect
from recordings.errors import Rejected
from recordings.profiles import PROFILES
from tests.recordings.clips import Trickle, chunk, ffmpeg, fmt, riff, wav

pytestmark = pytest.mark.slow
FILES = int(os.environ.get("FUZZ_FILES", "2000"))
CPU_S, MEMORY_MIB = 2.0, 64  # for any one file; for all of them, above what the process had before

TELLING = [0, 1, 2, 3, 6, 7, 8, 16, 0x7F, 0x80, 0xFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


@functools.cache
def sound_files() -> list[bytes]:
    """Every shape that we read, 30 ms of each, some among other chunks."""
    noise = np.random.default_rng(1).normal(0, 5_000, (240, 2)).clip(-32768, 32767).astype(np.int16)
    plain = wav(noise)
    codecs = ["pcm_u8", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw", "pcm_mulaw"]
    shapes = [ffmpeg(f"-i pipe: -c:a {codec} -f wav pipe:", plain) for codec in codecs]
    shapes += [wav(noise[:, :1]), wav(np.tile(noise, 3)), wav(noise, rate=16_000), wav(noise, rate=44_100)]
    extra = chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf\0\0")
    shapes.append(riff(extra, fmt(), chunk(b"data", noise.tobytes()), extra))
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, noise.nbytes, 240, 0))
    shapes.append(riff(sizes, fmt(), chunk(b"data", noise.tobytes(), size=0xFFFFFFFF), form=b"RF64"))
    return [plain] * 4 + shapes


def flip_bits(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def flip_head_bits(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(min(len(data), 64))] ^= 1 << chance.randrange(8)


def write_number(data: bytearray, chance: random.Random) -> None:
    at, size = chance.randrange(min(len(data), 64)), chance.choice([1, 2, 4])
    number = chance.choice(TELLING) if chance.random() < 0.7 else chance.getrandbits(32)
    data[at : at + size] = (number & (1 << 8 * size) - 1).to_bytes(size, "little")


def truncate(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def cut_out(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.randint(1, 40)]


def insert(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    data[at:at] = chance.randbytes(chance.randint(1, 40))


def repeat(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    data[at:at] = data[at : at + chance.randint(1, 80)]


def move_chunks(data: bytearray, chance: random.Random) -> None:
    """Take the file apart where its chunks begin, and put the pieces together otherwise."""
    starts = sorted({at for name in (b"fmt ", b"data", b"LIST", b"ds64", b"fact") if (at := data.find(name)) > 0})
    pieces = [bytes(data[a:b]) for a, b in zip([12, *starts], [*starts, len(data)], strict=True)]
    data[12:] = b"".join(chance.choices(pieces, k=chance.randint(1, len(pieces) + 2)))


def insert_chunk(data: bytearray, chance: random.Random) -> None:
    body = chance.randbytes(chance.randint(0, 30))
    name = chance.choice([b"LIST", b"junk", b"fmt ", b"data", b"ds64", b"\0\0\0\0"])
    at = chance.choice([12, 36, max(data.find(b"data"), 0), len(data)])
    data[at:at] = chunk(name, body, size=chance.choice([len(body), len(body) + 1, 0, 0xFFFFFFFF]))


def claim_streamed(data: bytearray, chance: random.Random) -> None:
    """The size that lets any length pass, so that more files reach the conversion."""
    at = data.find(b"data")
    data[at + 4 : at + 8] = b"\xff\xff\xff\xff"


MUTATIONS = [flip_bits, flip_head_bits, write_number, truncate, cut_out, insert, repeat, move_chunks, insert_chunk]
MUTATIONS += [claim_streamed] * 3


def damaged(number: int) -> bytes:
    """The file of that number: a sound one, one to three times mutated."""
    chance = random.Random(number)  # noqa: S311  # repeatable, not secret
    data = bytearray(chance.choice(sound_files()))
    for _ in range(chance.randint(1, 3)):
        if data:
            chance.choice(MUTATIONS)(data, chance)
    return bytes(data)


def outcome(data: bytes, profile_name: str) -> str:
    """What becomes of a file, in a word; anything but a conversion or a reasoned rejection raises."""
    try:
        result = convert(Trickle(data, 101), len(data), PROFILES[profile_name])
    except Rejected as error:
        return error.code
    assert result.already == (result.fidelity is None)
    found = inspect(Trickle(bytes(result.body), 997), len(result.body))
    assert (found.format, found.sha256) == (result.result, result.result_sha256)
    return "already" if result.already else "converted"


def test_damaged_files_are_converted_or_rejected() -> None:
    every_width = [wav(np.zeros((240, channels), np.int16)) for channels in range(1, 9)]
    for profile in PROFILES:  # what is loaded or compiled at first use, a loop per number of channels, is no growth
        for sound in [*sound_files(), *every_width]:
            outcome(sound, profile)
    before, slowest, outcomes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0, Counter[str]()
    for number in range(FILES):
        profile = "flac-stereo" if number % 100 == 0 else ("alaw-mono", "alaw-stereo")[number % 2]
        start = time.process_time()
        outcomes[outcome(damaged(number), profile)] += 1
        slowest = max(slowest, time.process_time() - start)
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{FILES} files, at most {slowest:.2f} s of CPU, grown by {grown_mib:.0f} MiB: {outcomes.most_common()}")
    assert slowest < CPU_S
    assert grown_mib < MEMORY_MIB
    assert {"converted", "already", "truncated", "not-wav", "bad-fmt", "unsupported", "no-fmt"} <= set(outcomes)


@pytest.mark.parametrize("number", range(max(FILES // 200, 10)))
def test_damaged_flacs_are_sound_or_rejected(number: int) -> None:
    chance = random.Random(number)  # noqa: S311  # repeatable, not secret
    data = bytearray(convert(Trickle(sound_files()[0]), len(sound_files()[0]), PROFILES["flac-stereo"]).body)
    chance.choice([flip_bits, flip_head_bits, write_number, truncate, cut_out, insert, repeat])(data, chance)
    rejected = ("bad-flac", "not-wav", "empty", "too-long", "unsupported")
    assert outcome(bytes(data), "flac-stereo") in ("already", *rejected)


@functools.cache
def sound_opus() -> tuple[bytes, ...]:
    """Opus files of one and two channels, of a part of a page and of several."""
    noise = np.random.default_rng(1).normal(0, 5_000, (20_000, 2)).clip(-32768, 32767).astype(np.int16)
    sources = [wav(noise[:frames, :channels]) for frames in (240, 20_000) for channels in (1, 2)]
    return tuple(bytes(convert(Trickle(data), len(data), PROFILES["opus-dual"]).body) for data in sources)


def mend_crcs(data: bytearray) -> None:
    """Give each page the CRC of what it holds, as far as the file still consists of pages."""
    at = 0
    while data[at : at + 4] == b"OggS" and len(data) > at + 27:
        end = at + 27 + data[at + 26] + sum(data[at + 27 : at + 27 + data[at + 26]])
        crc = 0
        for number, byte in enumerate(data[at:end]):
            crc ^= (0 if 22 <= number < 26 else byte) << 24
            for _ in range(8):
                crc = (crc << 1 ^ 0x04C11DB7 if crc >> 31 else crc << 1) & 0xFFFFFFFF
        data[at + 22 : at + 26] = crc.to_bytes(4, "little")
        at = end


def test_damaged_opus_files_are_sound_or_rejected() -> None:
    """Every tenth short file gets right CRCs after its damage, so that more than the CRC meets it."""
    outcomes, slowest = Counter[str](), 0.0
    for number in range(FILES):
        chance = random.Random(number)  # noqa: S311  # repeatable, not secret
        data = bytearray(sound_opus()[number % 4])
        for _ in range(chance.randint(1, 3)):
            if data:
                chance.choice([flip_bits, flip_head_bits, write_number, truncate, cut_out, insert, repeat])(
                    data, chance
                )
        if number % 10 < 2 and number % 4 < 2:
            mend_crcs(data)
        start = time.process_time()
        outcomes[outcome(bytes(data), "opus-dual")] += 1
        slowest = max(slowest, time.process_time() - start)
    print(f"{FILES} Opus files, at most {slowest:.2f} s of CPU: {outcomes.most_common()}")
    assert slowest < CPU_S
    assert {"already", "bad-opus", "not-wav"} <= set(outcomes) <= {"already", "bad-opus", "not-wav", "empty"}
