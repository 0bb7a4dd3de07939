"""No damage is accepted and no correct conversion refused: real voices, and made-up clips of every kind and level.

``JUDGE_CLIPS=2000`` makes the long run. Codes are looked up here as ffmpeg does (``alaw.encode``, which test_alaw.py
compares with ffmpeg itself) or as ITU-T G.711 does.
"""

import functools
import itertools
import os
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from recordings.alaw import MULAW_VALUES
from recordings.errors import Rejected
from recordings.judge import HIGHEST, LOWEST, VALUES, Fidelity, Judge
from recordings.wav import alaw_wav
from tests.recordings import clips
from tests.recordings.clips import Int16s, encoded

pytestmark = pytest.mark.slow
CLIPS = int(os.environ.get("JUDGE_CLIPS", "120"))
BLOCK = 9_973  # frames that the judge sees at a time: no multiple of anything

Codes = NDArray[np.uint8]
Damage = Callable[[Int16s, Codes, np.random.Generator], Codes]


def judged(frames: Int16s, codes: Codes) -> Fidelity:
    """The verdict on ``codes``, ``(n, 1)`` or ``(n, 2)``, as the conversion of ``frames``."""
    channels = codes.shape[1]
    body, start = alaw_wav(channels=channels, frames=len(frames), sample_rate_hz=8_000)
    body[start : start + codes.size] = codes.tobytes()
    judge = Judge(source_channels=frames.shape[1], result_channels=channels)
    for at in range(0, len(frames), BLOCK):
        judge.look(frames[at : at + BLOCK], memoryview(codes[at : at + BLOCK].tobytes()))
    return judge.verdict(body, frames=len(frames), sample_rate_hz=8_000)


def samples(frames: Int16s, channels: int) -> Int16s:
    """What a right conversion to so many channels encodes: ``(n, channels)``."""
    return clips.mean(frames) if channels == 1 else frames


def g711(values: Int16s) -> Codes:
    """The other encoder: ITU-T G.711 by its decision levels, on 13 bits in ones' complement."""
    size = np.where(values < 0, ~values, values).astype(np.int64) >> 3
    segment = np.maximum(np.floor(np.log2(np.maximum(size, 1))).astype(np.int64) - 4, 0)
    step = size >> np.maximum(segment, 1) & 15
    return ((segment << 4 | step | np.where(values < 0, 0, 0x80)) ^ 0x55).astype(np.uint8)


@functools.cache
def all_clips() -> dict[str, Int16s]:
    """Made-up clips, and of each real call, if they are at hand, two seconds from its middle."""
    voices = clips.voices() if clips.VOICES.exists() else {}
    middles = {name: frames[len(frames) // 2 :][:16_000] for name, frames in voices.items()}
    return dict(clips.synthetic(CLIPS)) | middles


@pytest.mark.parametrize("encoder", [encoded, g711])
@pytest.mark.parametrize("channels", [1, 2])
def test_correct_conversions_are_accepted(encoder: Callable[[Int16s], Codes], channels: int) -> None:
    for frames in all_clips().values():
        judged(frames, encoder(samples(frames, channels)))


def test_exactly_the_codes_of_either_encoder_are_accepted() -> None:
    every = np.arange(-32768, 32768).astype(np.int16)
    for code in range(256):
        accepted = (every >= LOWEST[code]) & (every <= HIGHEST[code])
        assert np.array_equal(accepted, (encoded(every) == code) | (g711(every) == code)), code


@pytest.mark.parametrize("channels", [1, 2])
def test_the_figures_are_those_of_the_decoded_file(channels: int) -> None:
    for frames in list(all_clips().values())[:24]:
        codes = encoded(samples(frames, channels))
        heard = np.frombuffer(clips.ffmpeg("-f alaw -i pipe: -f s16le pipe:", codes.tobytes()), "<i2")
        source = frames.astype(float).mean(axis=1) if channels == 1 else frames.astype(float).reshape(-1)
        error, found = heard - source, judged(frames, codes)
        assert found.error_rms == pytest.approx(np.sqrt((error**2).mean()), rel=1e-3)
        assert found.error_peak == np.ceil(np.abs(error).max())
        if source.any() and error.any():
            assert found.snr_db == pytest.approx(10 * np.log10((source**2).sum() / (error**2).sum()), abs=0.01)
        else:
            assert found.snr_db is None


def of(change: Callable[[NDArray[np.int64]], NDArray[np.int64 | np.float64]]) -> Damage:
    """A damage to the samples ``(n, channels)`` before they are encoded."""

    def damage(frames: Int16s, codes: Codes, random: np.random.Generator) -> Codes:
        changed = change(samples(frames, codes.shape[1]).astype(np.int64))
        return encoded(np.rint(changed).clip(-32768, 32767).astype(np.int16))

    return damage


def one_channel_only(side: int) -> Damage:
    return lambda frames, codes, random: encoded(np.repeat(frames[:, side : side + 1], codes.shape[1], axis=1))


def at_random(count: int, change: Callable[[Codes], Codes]) -> Damage:
    """A damage to ``count`` frames of codes somewhere."""

    def damage(frames: Int16s, codes: Codes, random: np.random.Generator) -> Codes:
        at, damaged = random.integers(len(codes) - count), codes.copy()
        damaged[at : at + count] = change(damaged[at : at + count])
        return damaged

    return damage


def swapped_blocks(frames: Int16s, codes: Codes, random: np.random.Generator) -> Codes:
    third = len(codes) // 3
    return np.concatenate([codes[third : 2 * third], codes[:third], codes[2 * third :]])


def mulaw_as_alaw(frames: Int16s, codes: Codes, random: np.random.Generator) -> Codes:
    order = np.argsort(MULAW_VALUES, kind="stable")
    place = np.searchsorted(MULAW_VALUES[order], samples(frames, codes.shape[1])).clip(max=255)
    return order[place].astype(np.uint8)


def upper_bytes(frames: Int16s, codes: Codes, random: np.random.Generator) -> Codes:
    return (samples(frames, codes.shape[1]) >> 8).astype(np.uint8)


DAMAGES: dict[str, Damage] = {
    "20 ms missing at the end": lambda frames, codes, random: codes[:-160],
    "20 ms too many": lambda frames, codes, random: np.concatenate([codes, codes[-160:]]),
    "one sample missing": lambda frames, codes, random: codes[:-1],
    "left channel only": one_channel_only(0),
    "right channel only": one_channel_only(1),
    "one channel inverted": lambda frames, codes, random: encoded(samples(frames * np.int16([1, -1]), codes.shape[1])),
    "channels exchanged": lambda frames, codes, random: codes[:, ::-1],
    "inverted": of(np.negative),
    "half gain": of(lambda sound: sound / 2),
    "double gain": of(lambda sound: sound * 2),
    "1 dB too quiet": of(lambda sound: sound * 0.891),
    "one sample late": lambda frames, codes, random: np.roll(codes, 1, axis=0),
    "one sample early": lambda frames, codes, random: np.roll(codes, -1, axis=0),
    "backwards": lambda frames, codes, random: codes[::-1],
    "clipped at half its peak": of(lambda sound: sound.clip(-(np.abs(sound).max() // 2), np.abs(sound).max() // 2)),
    "noise 30 dB below": of(lambda sound: sound + np.random.default_rng(0).normal(0, sound.std() / 32, sound.shape)),
    "an offset of 1 %": of(lambda sound: sound + 328),
    "every other sample repeated": of(lambda sound: sound[np.arange(len(sound)) // 2 * 2]),
    "two samples averaged": of(lambda sound: (sound + np.roll(sound, 1, axis=0)) / 2),
    "20 ms of dropout": at_random(160, lambda codes: np.full_like(codes, 0xD5)),
    "20 ms repeated": at_random(320, lambda codes: np.concatenate([codes[:160], codes[:160]])),
    "one sample at full scale": at_random(1, lambda codes: np.full_like(codes, 0xAA)),
    "one sign bit flipped": at_random(1, lambda codes: codes ^ 0x80),
    "even bits not inverted": lambda frames, codes, random: codes ^ 0x55,
    "blocks swapped": swapped_blocks,
    "mu-law": mulaw_as_alaw,
    "8-bit linear": upper_bytes,
    "silence": lambda frames, codes, random: np.full_like(codes, 0xD5),
}


def is_damage(frames: Int16s, damaged: Codes) -> bool:
    """Whether anything is wrong at all: samples are missing, or one has a code that no encoder would give it.

    Inverting or delaying digital silence, for one, changes nothing. Halves in the mean may be rounded either way.
    """
    wanted = samples(frames, damaged.shape[1])
    if wanted.shape != damaged.shape:
        return True
    other = frames.astype(np.int64).sum(axis=1, keepdims=True) >> 1 if wanted.shape[1] == 1 else wanted
    right = [encoder(way.astype(np.int16)) for encoder in (encoded, g711) for way in (wanted, other)]
    return not np.logical_or.reduce([codes == damaged for codes in right]).all()


def accepts(frames: Int16s, codes: Codes) -> bool:
    """Whether the judge takes ``codes`` for the recording."""
    try:
        judged(frames, codes)
    except Rejected:
        return False
    return True


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_refused(name: str) -> None:
    random, tried = np.random.default_rng(7), 0
    for clip, frames in all_clips().items():
        for channels in (1, 2):
            damaged = DAMAGES[name](frames, encoded(samples(frames, channels)), random)
            if is_damage(frames, damaged):
                tried += 1
                assert not accepts(frames, damaged), f"{clip} in {channels} channels"
    assert tried > CLIPS / 4


def test_another_call_of_the_same_length_is_refused() -> None:
    for frames, other in itertools.pairwise(all_clips().values()):
        count = min(len(frames), len(other))
        damaged = encoded(samples(other[:count], 1))
        assert not is_damage(frames[:count], damaged) or not accepts(frames[:count], damaged)


def test_gains_tell_one_channel_from_the_other() -> None:
    random = np.random.default_rng(3)
    frames = random.normal(0, 2_000, (16_000, 2)).astype(np.int16)
    mixed, apart = judged(frames, encoded(samples(frames, 1))), judged(frames, encoded(frames))
    assert (mixed.gain_left, mixed.gain_right) == pytest.approx((0.5, 0.5), abs=0.002)
    assert (apart.gain_left, apart.gain_right) == pytest.approx((1.0, 1.0), abs=0.002)
    quiet = frames * np.int16([1, 0])
    assert judged(quiet, encoded(samples(quiet, 1))).gain_right is None
    same = frames[:, [0, 0]]
    assert judged(same, encoded(samples(same, 1))).gain_left is None


@pytest.mark.parametrize("channels", [1, 2])
def test_gains_are_those_of_a_least_squares_fit(channels: int) -> None:
    fitted = 0
    for frames in list(all_clips().values())[:24]:
        codes = encoded(samples(frames, channels))
        heard, source = VALUES[codes].astype(float), frames.astype(float)
        if channels == 1:
            fit = np.linalg.lstsq(source, heard[:, 0])[0]
        else:  # each channel by itself
            fit = (heard * source).sum(axis=0) / np.maximum((source**2).sum(axis=0), 1)
        found = judged(frames, codes)
        for gain, wanted in zip((found.gain_left, found.gain_right), fit, strict=True):
            if gain is not None:
                assert gain == pytest.approx(wanted, rel=1e-7)
                fitted += 1
    assert fitted > 20


@pytest.mark.parametrize("at", range(58))
def test_a_wrong_head_is_refused(at: int) -> None:
    frames = np.zeros((801, 2), np.int16)
    body, start = alaw_wav(channels=1, frames=801, sample_rate_hz=8_000)
    body[start : start + 801] = bytes([0xD5]) * 801
    judge = Judge(source_channels=2, result_channels=1)
    judge.look(frames, memoryview(body)[start : start + 801])
    judge.verdict(body, frames=801, sample_rate_hz=8_000)
    body[at] ^= 1
    with pytest.raises(Rejected, match="unfaithful"):
        judge.verdict(body, frames=801, sample_rate_hz=8_000)
