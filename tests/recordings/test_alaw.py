"""Every table against ffmpeg, the whole of it, and against ITU-T G.711 by construction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.conversion import judge
from recordings.conversion.alaw import ALAW_VALUES, MULAW_VALUES, Int16s, decode, encode
from tests.recordings.clips import encoded, ffmpeg, mean

EVERY_SAMPLE = np.arange(-32768, 32768).astype("<i2")
EVERY_CODE = bytes(range(256))
int16 = st.integers(-32768, 32767)


def g711_code(sample: int) -> int:
    """ITU-T G.711, table 1a, by its decision values: 13 bits, negative ones in ones' complement, even bits inverted."""
    size = (~sample if sample < 0 else sample) >> 3
    segment = max(size.bit_length() - 5, 0)
    step = size >> max(segment, 1) & 15
    return (segment << 4 | step | (0 if sample < 0 else 0x80)) ^ 0x55


def g711_value(code: int) -> int:
    """The middle of the step between two of G.711's decision values, in 16 bits."""
    samples = [sample for sample in range(0, 32768, 8) if g711_code(sample) == code | 0x80]
    middle = (samples[0] + samples[-1] + 8) // 2
    return middle if code & 0x80 else -middle


def test_every_sample_gets_the_code_that_ffmpeg_gives_it() -> None:
    assert encoded(EVERY_SAMPLE).tobytes() == ffmpeg("-f s16le -i pipe: -f alaw pipe:", EVERY_SAMPLE.tobytes())


@pytest.mark.parametrize(("name", "values"), [("alaw", ALAW_VALUES), ("mulaw", MULAW_VALUES), ("alaw", judge.VALUES)])
def test_every_code_has_the_value_that_ffmpeg_gives_it(name: str, values: Int16s) -> None:
    assert values.astype("<i2").tobytes() == ffmpeg(f"-f {name} -i pipe: -f s16le pipe:", EVERY_CODE)


def test_every_code_has_the_value_that_g711_gives_it() -> None:
    assert ALAW_VALUES.tolist() == [g711_value(code) for code in range(256)]


def test_ffmpeg_departs_from_g711_by_one_code_where_we_say() -> None:
    ours, theirs = encoded(EVERY_SAMPLE), np.array([g711_code(int(sample)) for sample in EVERY_SAMPLE], np.uint8)
    differ = EVERY_SAMPLE[ours != theirs]
    assert len(differ) == 964
    joints = [512 << shift for shift in range(6)]
    assert set(differ[differ >= 0]) == {sample for at in joints for sample in range(at, at + at // 128)}
    rank = np.empty(256, np.int64)
    rank[np.argsort(ALAW_VALUES)] = np.arange(256)
    assert set(np.abs(rank[ours] - rank[theirs])) == {0, 1}


def mixed(frames: Int16s) -> bytes:
    """The codes of the frames' means."""
    codes = bytearray(len(frames))
    encode(frames, codes)
    return bytes(codes)


def test_every_mean_of_two_gets_the_code_that_ffmpeg_gives_it() -> None:
    sums = np.arange(-65536, 65535)  # the mean of two depends on no more than that
    stereo = np.stack([sums // 2, sums - sums // 2], axis=1).astype("<i2")
    assert mixed(stereo) == ffmpeg("-f s16le -ac 2 -i pipe: -ac 1 -f alaw pipe:", stereo.tobytes())


@given(st.lists(st.tuples(int16, int16), min_size=1, max_size=1_000))
def test_the_mean_of_two_is_ffmpegs(frames: list[tuple[int, int]]) -> None:
    stereo = np.array(frames, "<i2")
    assert mixed(stereo) == ffmpeg("-f s16le -ac 2 -i pipe: -ac 1 -f alaw pipe:", stereo.tobytes())


@given(st.integers(3, 8).flatmap(lambda count: st.lists(st.lists(int16, min_size=count, max_size=count), min_size=1)))
def test_the_mean_of_more_rounds_half_up(frames: list[list[int]]) -> None:
    assert mixed(np.array(frames, np.int16)) == encoded(mean(np.array(frames, np.int16))).tobytes()


@pytest.mark.parametrize("size", [0, 3, 5, 7, 9])
def test_a_place_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=rf"\(4, 2\) samples do not make {size} codes"):
        encode(np.zeros((4, 2), np.int16), bytearray(size))


@given(st.binary(min_size=1))
def test_decoded_codes_encode_to_themselves(codes: bytes) -> None:
    assert encoded(decode(codes, ALAW_VALUES)).tobytes() == codes


def test_every_sample_is_decoded_to_within_four_percent_or_eleven_steps() -> None:
    error = np.abs(decode(encoded(EVERY_SAMPLE).tobytes(), ALAW_VALUES).astype(int) - EVERY_SAMPLE)
    assert (error <= np.maximum(11, np.abs(EVERY_SAMPLE.astype(int)) * 0.04)).all()
