"""No damage is accepted and no correct conversion refused: real voices, and made-up clips of every kind and level.

``JUDGE_CLIPS=2000`` makes the long run. Codes are looked up here as ffmpeg does (``alaw.encode``, which test_alaw.py
compares with ffmpeg itself) or as ITU-T G.711 does.
"""

import functools
import io
import itertools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from demo.calls import demo_calls
from recordings.conversion.alaw import MULAW_VALUES
from recordings.conversion.judge import AUDIBLE_RMS, HIGHEST, KEPT_SHARE, LOWEST, SECOND, TENTH, VALUES, Fidelity, Judge
from recordings.conversion.wav import alaw_wav
from recordings.errors import Rejected
from tests.recordings import clips
from tests.recordings.clips import Int16s, encoded

pytestmark = pytest.mark.slow
CLIPS = int(os.environ.get("JUDGE_CLIPS", "120"))
BLOCK = 9_973  # frames that the judge sees at a time: no multiple of anything

Codes = NDArray[np.uint8]
Damage = Callable[[Int16s, Codes, np.random.Generator], Codes]


def judged(frames: Int16s, codes: Codes, block: int = BLOCK) -> Fidelity:
    """The verdict on ``codes``, ``(n, 1)`` or ``(n, 2)``, as the conversion of ``frames``."""
    channels = codes.shape[1]
    body, start = alaw_wav(channels=channels, frames=len(frames), sample_rate_hz=8_000)
    body[start : start + codes.size] = codes.tobytes()
    judge = Judge(source_channels=frames.shape[1], result_channels=channels)
    for at in range(0, len(frames), block):
        judge.look(frames[at : at + block], memoryview(codes[at : at + block].tobytes()))
    return judge.verdict(body, frames=len(frames), sample_rate_hz=8_000)


def samples(frames: Int16s, channels: int) -> Int16s:
    """What a right conversion to so many channels encodes: ``(n, channels)``."""
    return clips.mean(frames) if channels == 1 else frames


def g711(values: Int16s) -> Codes:
    """The other encoder: ITU-T G.711 by its decision levels, on 13 bits in ones' complement."""
    size = np.where(values < 0, ~values, values).astype(np.int64) >> 3
    segment = np.maximum(np.floor(np.log2(np.maximum(size, 1))).astype(np.int64) - 4, 0)
    step = size >> np.maximum(segment, 1) & 15
    codes: Codes = ((segment << 4 | step | np.where(values < 0, 0, 0x80)) ^ 0x55).astype(np.uint8)
    return codes


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


def of(change: Callable[[NDArray[np.int64]], NDArray[Any]]) -> Damage:
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
    exchanged: Codes = order[place].astype(np.uint8)
    return exchanged


def upper_bytes(frames: Int16s, codes: Codes, random: np.random.Generator) -> Codes:
    return (samples(frames, codes.shape[1]) >> 8).astype(np.uint8)


DAMAGES: dict[str, Damage] = {
    "20 ms missing at the end": lambda frames, codes, random: codes[:-160],
    "20 ms too many": lambda frames, codes, random: np.concatenate([codes, codes[-160:]]),
    "one sample missing": lambda frames, codes, random: codes[:-1],
    "left channel only": one_channel_only(0),
    "right channel only": one_channel_only(1),
    "one channel inverted": lambda frames, codes, random: encoded(
        samples(frames * np.array([1, -1], np.int16), codes.shape[1])
    ),
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
    "one sign bit flipped": at_random(1, lambda codes: codes ^ np.uint8(0x80)),
    "even bits not inverted": lambda frames, codes, random: codes ^ np.uint8(0x55),
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
    quiet = frames * np.array([1, 0], np.int16)
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


def sound(frames: int, seed: int, level: float = 3_000) -> Int16s:
    """A speaker, ``(n, 1)``."""
    return np.random.default_rng(seed).normal(0, level, (frames, 1)).clip(-32_000, 32_000).astype(np.int16)


ONE, OTHER, QUIET, NOTHING = sound(40_500, 1), sound(40_500, 2), sound(40_500, 3, 300), sound(40_500, 4, 0)
HUM = np.rint(20 * np.sin(np.arange(40_500) * 2 * np.pi * 50 / 8_000)).astype(np.int16)[:, None]


def at_once(*channels: Int16s) -> Int16s:
    """Channels side by side."""
    return np.hstack(channels).astype(np.int16)


def in_turn(*parts: tuple[Int16s, int]) -> Int16s:
    """So many frames of each."""
    return np.concatenate([frames[:count] for frames, count in parts])


APART = at_once(ONE, OTHER)
CANCELLED = {
    "right is left, inverted": at_once(ONE, -ONE),
    "but for a quiet difference": at_once(ONE, -ONE + QUIET),
    "but for an offset": at_once(ONE + 2_000, -ONE + 2_000),
    "at full scale": at_once(np.sign(ONE) * 32_000, np.sign(ONE) * -32_000),
    "one of two speakers": in_turn((at_once(ONE, -ONE), 9_000), (at_once(OTHER, NOTHING), 31_000)),
    "for two seconds of five": in_turn((APART, 13_000), (at_once(ONE, -ONE), 16_000), (APART, 11_000)),
    "at the end": in_turn((APART, 40_000), (at_once(ONE, -ONE), 900)),
    "for all of a short call": at_once(ONE, -ONE)[:900],
    "in two pairs of channels": at_once(ONE, -ONE, OTHER, -OTHER),
    "three of them": at_once(ONE, -ONE // 2, -ONE // 2),
}
NOT_CANCELLED = {
    "two speakers": APART,
    "right is left": at_once(ONE, ONE),
    "one is silent": at_once(ONE, NOTHING),
    "the other is silent": at_once(NOTHING, ONE),
    "both are silent": at_once(NOTHING, NOTHING),
    "an inverted echo at half": at_once(ONE, -ONE // 2),
    "a difference half as loud": at_once(ONE, -ONE + OTHER // 2),
    "clipped in the source": at_once(np.sign(ONE) * 32_767, np.sign(OTHER) * 32_767),
    "opposite offsets": at_once(QUIET // 100 + 3_000, QUIET // 100 - 3_000),
    "opposite offsets, speaking": at_once(ONE + 8_000, OTHER - 8_000),
    "an inverted hum": at_once(HUM, -HUM),
    "for less than a tenth of a second": at_once(ONE, -ONE)[:700],
    "for less than a tenth of a second, at the end": in_turn((APART, 40_000), (at_once(ONE, -ONE), 700)),
}


@pytest.mark.parametrize("name", CANCELLED)
@pytest.mark.parametrize("block", [997, BLOCK, 50_000])
def test_a_mix_in_which_speakers_cancel_is_refused(name: str, block: int) -> None:
    frames = CANCELLED[name]
    with pytest.raises(Rejected, match=r"^speakers-cancel: in the second before frame \d+, "):
        judged(frames, encoded(clips.mean(frames)), block)
    if frames.shape[1] == 2:
        judged(frames, encoded(frames), block)


@pytest.mark.parametrize("name", NOT_CANCELLED)
@pytest.mark.parametrize("block", [997, BLOCK, 50_000])
def test_a_mix_that_carries_its_channels_is_accepted(name: str, block: int) -> None:
    frames = NOT_CANCELLED[name]
    judged(frames, encoded(clips.mean(frames)), block)


def kept_shares(frames: Int16s, piece: int) -> NDArray[np.float64]:
    """Of each piece that can be heard, the share of the channels' energy, offsets apart, that is in their sum."""
    pieces = [frames[at : at + piece].astype(float) for at in range(0, len(frames) - piece + 1, piece)]
    channels = np.array([part.var(axis=0).sum() for part in pieces])
    sums = np.array([part.sum(axis=1).var() for part in pieces])
    heard = channels >= AUDIBLE_RMS**2
    shares: NDArray[np.float64] = sums[heard] / channels[heard]
    return shares


@settings(deadline=None)  # a loop is compiled for each number of channels
@given(st.floats(0, 1.2), st.floats(0, 1.2), st.integers(2, 8))
def test_the_share_that_is_left_decides(leak: float, own: float, channels: int) -> None:
    right = np.rint(-leak * ONE[:SECOND] + own * OTHER[:SECOND]).astype(np.int16)
    frames = at_once(ONE[:SECOND], right, *[NOTHING[:SECOND]] * (channels - 2))
    (share,) = kept_shares(frames, SECOND)
    if abs(share - KEPT_SHARE) > 1e-6:
        assert accepts(frames, encoded(clips.mean(frames))) == (share > KEPT_SHARE)


def test_no_real_call_comes_near_to_cancelling() -> None:
    shares = {piece: [kept_shares(call, piece) for call in clips.voices().values()] for piece in (SECOND, TENTH)}
    assert np.concatenate(shares[SECOND]).min() > 9 * KEPT_SHARE
    assert np.concatenate(shares[TENTH]).min() > 7 * KEPT_SHARE


def test_no_call_of_the_demo_comes_near_to_cancelling() -> None:
    bodies = [call.body for call in demo_calls() if call.body[20:24] == b"\1\0\2\0"]
    calls = [soundfile.read(io.BytesIO(body), dtype="int16")[0] for body in bodies]
    assert len(calls) > 30
    assert min(kept_shares(call, SECOND).min() for call in calls) > 9 * KEPT_SHARE


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
