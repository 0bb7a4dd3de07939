"""Opus: every player's format, exact lengths, equal bytes, and a judge that no material damage passes.

``JUDGE_CLIPS=2000`` makes the long run. A damage is made to the samples before they are encoded, as a fault of the
converter would, to packets, as a fault of the encoder would, or to the finished file. ``is_material`` says which damage
no judge may pass.
"""

import functools
import hashlib
import io
import math
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from recordings.conversion.alaw import MULAW_VALUES
from recordings.conversion.audio import Conversion, convert, inspect
from recordings.conversion.ogg import read_opus
from recordings.conversion.opus import BITS_PER_S, MORE_BITS_PER_S, Encoded, encode_opus, rate_of
from recordings.conversion.opus_decoders import decoded
from recordings.conversion.opus_judge import STRICT, judge_opus
from recordings.errors import Rejected
from recordings.profiles import PROFILES, AudioFormat
from tests.recordings import clips
from tests.recordings.clips import Int16s, Trickle, wav

pytestmark = pytest.mark.slow
OPUS = PROFILES["opus-dual"]
CLIPS = int(os.environ.get("JUDGE_CLIPS", "72"))


def converted(data: bytes) -> Conversion:
    return convert(Trickle(data), len(data), OPUS)


def encoded(frames: Int16s, bits_per_s: int | None = None) -> Encoded:
    """As the product encodes at first, or at another rate."""
    return encode_opus([frames], channels=frames.shape[1], bits_per_s=bits_per_s or rate_of(len(frames)))


def is_accepted(frames: Int16s, made: Encoded, body: bytes | bytearray | None = None) -> bool:
    try:
        judge_opus([frames], replace(made, body=bytearray(body or made.body)), frames=len(frames))
    except Rejected:
        return False
    return True


@functools.cache
def all_clips() -> dict[str, Int16s]:
    """Made-up clips of all kinds and levels, short and long; of each real call, if they are at hand, four seconds."""
    voices = clips.voices() if clips.VOICES.exists() else {}
    made_up = dict(clips.synthetic(CLIPS))
    made_up |= {f"long-{name}": frames for name, frames in clips.synthetic(CLIPS // 3, seed=2, seconds=(10.1, 12))}
    return made_up | {name: frames[len(frames) // 3 :][:32_000] for name, frames in voices.items()}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 28, 29, 80, 81, 159, 7_999, 8_000, 8_001, 40_000])
def test_the_length_is_exact(frames: int, channels: int) -> None:
    sound = np.random.default_rng(frames).normal(0, 2_000, (frames, channels)).astype(np.int16)
    result = converted(wav(sound))
    assert result.result == AudioFormat(codec="opus", sample_rate_hz=8_000, channels=channels)
    heard, rate = soundfile.read(io.BytesIO(result.body), always_2d=True)
    assert (heard.shape, rate) == ((frames, channels), 8_000)
    found = inspect(Trickle(result.body), len(result.body))
    assert (found.frames, found.sha256) == (frames, result.result_sha256)


@pytest.mark.parametrize("frames", [8_001, 8_015, 8_027, 8_028, 8_029, 16_015, 23_990, 24_010, 80_015])
def test_a_last_packet_of_its_own_is_decoded_as_the_whole_file_is(frames: int) -> None:
    """libsndfile 1.2.2 repeats samples if it is read by blocks, and a block begins in a last page of one packet."""
    body = encoded(np.random.default_rng(frames).normal(0, 2_000, (frames, 2)).astype(np.int16)).body
    whole = soundfile.read(io.BytesIO(body), dtype="float32")[0] * np.float32(32_768)
    assert np.array_equal(np.concatenate(list(decoded(body, 2))), whole)


def test_equal_input_gives_equal_bytes_however_it_arrives() -> None:
    frames = next(iter(clips.voices().values())) if clips.VOICES.exists() else all_clips()["speech-like-2"]
    whole = encoded(frames).body
    for size in (37, 8_000, 32_768):
        blocks = (frames[at : at + size] for at in range(0, len(frames), size))
        assert encode_opus(blocks, channels=2, bits_per_s=BITS_PER_S).body == whole
    assert bytes(converted(wav(frames)).body) == whole


def test_no_correct_conversion_is_refused_in_the_end() -> None:
    sizes, worst = [], 0.0
    for name, frames in all_clips().items():
        result = converted(wav(frames))
        assert result.fidelity
        sizes.append(len(result.body) / frames.nbytes)
        if "-" not in name or "speech-like" in name:
            assert result.note is None
        if rate_of(len(frames)) == MORE_BITS_PER_S:
            worst = max(worst, result.fidelity.worst_error_left or 0, result.fidelity.worst_error_right or 0)
    print(f"{len(sizes)} clips, {np.mean(sizes):.1%} of the size, the worst window of a short one {worst:.2f}")
    assert worst < STRICT.worst_error


def _odd_sounds() -> Iterator[tuple[str, Int16s]]:
    random = np.random.default_rng(8)
    spoken = list(speech().values())
    for number in range(CLIPS):
        frames, length = spoken[number % len(spoken)], int(random.integers(20, 1_700))
        start = int(random.integers(0, len(frames) - length))
        cut = frames[start : start + length]
        yield f"{length} frames of speech", cut
        yield f"{length} frames of speech on direct current", _in_16_bits(cut.clip(-12_000, 12_000) + 20_000.0)
    for length in (23, 40, 61, 75):
        yield f"{length} frames of noise", random.normal(0, 2_000, (length, 2)).astype(np.int16)
    for length in (24_000, 80_080):
        yield "a click", _one_at(3_999, length)
    for seed in (5, 56, 136, 201):  # errors of the click that are like the other line's noise by chance
        draw = np.random.default_rng(seed)
        quiet = draw.normal(0, 3, (int(draw.choice([300, 500, 800, 1_200])), 2))
        quiet[draw.integers(len(quiet)), 0] = 10_000
        yield f"{len(quiet)} frames of two quiet lines and a click", _in_16_bits(quiet)
    for hertz in (2, 5):
        for length in (8_000, 40_000, 80_080):
            wave = 1_000 * np.sin(2 * np.pi * hertz * np.arange(length) / 8_000)
            yield f"{length} frames of {hertz} Hz", _in_16_bits(wave)[:, None].repeat(2, axis=1)


def _one_at(frame: int, length: int) -> Int16s:
    click = np.zeros((length, 2), np.int16)
    click[frame] = 32_767
    return click


def test_no_odd_sound_is_refused_in_the_end() -> None:
    """Short ones, which leave the judge little to compare, and what Opus removes."""
    for name, frames in _odd_sounds():
        assert converted(wav(frames)).result.codec == "opus", name


def test_what_ffmpegs_decoder_leaves_out_is_no_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(4).normal(0, 2_000, (40_000, 2)).astype(np.int16)
    made = encoded(noise)
    assert is_accepted(noise, made)
    decoder = "recordings.conversion.opus_decoders._by_ffmpeg"
    monkeypatch.setattr(decoder, lambda body: iter([np.zeros((2, 126), np.float32)]))
    with pytest.raises(Rejected, match="ffmpeg's own decoder ends in the second from frame 0 on"):
        judge_opus([noise], made, frames=len(noise))


# By source and rate: the worst error, least kept, delay in frames, cross-talk and least gain that the thresholds were
# set by.
MARGINS = {
    ("made up", BITS_PER_S): (0.48, 0.30, 0.08, 0.006, 0.77),
    ("real", BITS_PER_S): (0.63, 0.15, 0.08, 0.0, 0.95),
    ("made up", MORE_BITS_PER_S): (0.1, 0.9, 0.0, 0.0, 1.0),
    ("real", MORE_BITS_PER_S): (0.15, 0.84, 0.0, 0.0, 1.0),
}


@pytest.mark.parametrize(("source", "rate"), MARGINS)
def test_no_library_has_moved_the_margins(source: str, rate: int) -> None:
    """In either direction: an encoder or decoder that errs otherwise needs other thresholds, and other damages."""
    if source == "real" and not clips.VOICES.exists():
        pytest.skip("no real voices beside the repository (../shared/calls)")
    made_up = [frames for name, frames in clips.synthetic(72) if name.startswith("speech-like")]
    spoken = [frames for name, frames in all_clips().items() if "-" not in name]
    heard = spoken if source == "real" else made_up
    found = [judge_opus([frames], encoded(frames, rate), frames=len(frames)) for frames in heard]
    figures = (
        max(each.worst_error_left or 0 for each in found),
        min(each.least_kept_left or math.inf for each in found),
        8_000 * max(abs(each.delay_left_s or 0) for each in found),
        max(each.crosstalk or 0 for each in found),
        min(each.gain_left or math.inf for each in found),
    )
    assert figures == pytest.approx(MARGINS[source, rate], abs=0.05)


@pytest.mark.parametrize("offset", [-3_000, 8_000, 20_000])
def test_direct_current_hides_nothing(offset: int) -> None:
    """Opus removes it, so that it neither keeps the judge from hearing what is wrong, nor makes it refuse speech."""
    for (key, rate), frames in speech().items():
        moved = _in_16_bits(frames.clip(-12_000, 12_000) + offset)
        assert any(is_accepted(moved, encoded(moved, each)) for each in (rate, 2 * rate)), (key, rate)
        for damage in ("left silent", "exchanged", "second half silent", "20 ms late"):
            changed = _in_16_bits(DAMAGES[damage](frames.clip(-12_000, 12_000)) + offset)
            if is_material(moved, changed, rate):
                assert not is_accepted(moved, encoded(changed, rate)), (key, rate, damage)


def _rumble(hertz: int, count: int) -> np.ndarray:
    """4,000 RMS of low sound, or direct current."""
    return 4_000 * (np.sqrt(2) * _sine(hertz, count) if hertz else np.ones(count))[:, None]


def _at_100_rms(frames: Int16s) -> np.ndarray:
    louder: np.ndarray = frames * (100 / np.sqrt((_high_passed(frames) ** 2).mean(axis=0).clip(1)))
    return louder


@pytest.mark.parametrize("hertz", [0, 5, 10, 20, 30])
@pytest.mark.parametrize("length", [2_400, 4_000, 32_000, 82_000])
def test_loud_low_sound_hides_nothing(hertz: int, length: int) -> None:
    """Neither silence nor another voice is accepted for speech of 100 RMS beside it."""
    spoken = [_at_100_rms(np.resize(frames, (length, 2))) for frames in speech().values()]
    for number, (quiet, other) in enumerate(zip(spoken, spoken[1:] + spoken[:1], strict=True)):
        rumble = _rumble(hertz, length)
        for changed in (0 * quiet, other):
            assert not is_accepted(_in_16_bits(quiet + rumble), encoded(_in_16_bits(changed + rumble))), number


@pytest.mark.parametrize("frames", [8, 40, 79, 100, 119])
def test_less_than_20_ms_are_judged_as_well(frames: int) -> None:
    """Another sound of the same level is refused, and the right one is not, in the end."""
    time = np.arange(frames)[:, None]
    tone = _in_16_bits(8_000 * np.sin(2 * np.pi * time * [500, 800] / 8_000))
    assert converted(wav(tone)).result.codec == "opus"
    assert not is_accepted(tone, encoded(-tone))
    assert not is_accepted(tone, encoded(np.zeros_like(tone)))


def test_two_speakers_stay_apart() -> None:
    frames = all_clips()["speech-like-2"].copy()
    frames[:, 1] = 0
    heard = soundfile.read(io.BytesIO(encoded(frames).body))[0] * 32_768
    assert np.sqrt((heard[:, 1] ** 2).mean()) < 0.5 < 10 < np.sqrt((heard[:, 0] ** 2).mean())


@pytest.mark.parametrize("codec", ["pcm_s24le", "pcm_mulaw", "pcm_f32le"])
def test_other_sources_are_converted_and_a_law_is_not(codec: str) -> None:
    source = clips.ffmpeg(f"-i pipe: -ar 16000 -c:a {codec} -f wav pipe:", wav(all_clips()["speech-like-2"]))
    assert converted(source).result.codec == "opus"
    with pytest.raises(Rejected, match="only-a-law"):
        converted(clips.ffmpeg("-i pipe: -c:a pcm_alaw -f wav pipe:", wav(all_clips()["speech-like-2"])))


@pytest.mark.parametrize("rate", [4_000, 11_025, 16_000, 48_000])
@pytest.mark.parametrize("frames", [25, 1_000, 70_001])
def test_other_rates_keep_their_length(rate: int, frames: int) -> None:
    sound = np.random.default_rng(7).normal(0, 2_000, (frames, 2)).astype(np.int16)
    result = converted(wav(sound, rate=rate))
    assert soundfile.info(io.BytesIO(result.body)).frames == int(frames * 8_000 / rate + 0.5)


def test_an_opus_file_longer_than_any_call_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets of three bytes would make a small file take hours to decode."""
    body = converted(wav(np.zeros((8_000, 2), np.int16))).body
    monkeypatch.setattr("recordings.conversion.ogg.MAX_PACKETS", 100)
    with pytest.raises(Rejected, match=r"too-long: more than 12 hours"):
        inspect(Trickle(body), len(body))


def test_more_than_two_channels_are_refused() -> None:
    with pytest.raises(Rejected, match=r"unsupported: opus-dual keeps two channels apart, and here are 3"):
        converted(wav(np.zeros((800, 3), np.int16)))


def test_what_is_refused_at_first_is_encoded_once_with_more_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    source = wav(np.random.default_rng(4).normal(0, 2_000, (81_000, 2)).astype(np.int16))
    monkeypatch.setattr("recordings.conversion.opus.BITS_PER_S", 3_000)
    with pytest.raises(Rejected, match=r"unfaithful: from frame \d+ on, channel [12] errs too much"):
        converted(source)
    monkeypatch.setattr("recordings.conversion.opus.BITS_PER_S", 8_000)
    assert (converted(source).note or "").startswith("encoded with twice the bits, since at first unfaithful: from ")


def test_short_recordings_get_more_bits() -> None:
    """S3 bills 128 kB in any case, and the judge then accepts much less."""
    assert (rate_of(80_000), rate_of(80_001)) == (MORE_BITS_PER_S, BITS_PER_S)
    noise = np.random.default_rng(4).normal(0, 2_000, (80_000, 2)).astype(np.int16)
    assert len(converted(wav(noise)).body) < 128 * 1024
    assert not is_accepted(noise, encoded(noise, BITS_PER_S // 2))
    assert is_accepted(noise, encoded(noise, BITS_PER_S))
    assert not is_accepted(noise, replace(encoded(noise, BITS_PER_S), bits_per_s=MORE_BITS_PER_S))


Damage = Callable[[Int16s], Int16s]


def _in_16_bits(samples: np.ndarray) -> Int16s:
    rounded: Int16s = np.rint(samples).clip(-32_768, 32_767).astype(np.int16)
    return rounded


def _silent(frames: Int16s, start: int, end: int, channel: int = 0) -> Int16s:
    changed = frames.copy()
    changed[start:end, channel] = 0
    return changed


def _resampled(frames: Int16s) -> Int16s:
    """0.1 % slower."""
    at = np.minimum((np.arange(len(frames)) * 0.999).astype(int), len(frames) - 1)
    slower: Int16s = frames[at]
    return slower


def _loudest(frames: Int16s, size: int) -> int:
    """Where the loudest stretch of the left channel begins."""
    energy = np.convolve(frames[:, 0].astype(float) ** 2, np.ones(size), "valid")
    return int(energy.argmax())


def _scaled(factor: float) -> Damage:
    return lambda frames: _in_16_bits(frames * factor)


def _by_db(decibels: float) -> Damage:
    return _scaled(10 ** (decibels / 20))


def _crosstalk(decibels: float) -> Damage:
    return lambda frames: _in_16_bits(frames + 10 ** (decibels / 20) * frames[:, ::-1])


def _noisy(decibels: float) -> Damage:
    """Noise of that level beside each channel's own."""

    def noisy(frames: Int16s) -> Int16s:
        rms = np.sqrt((frames.astype(float) ** 2).mean(axis=0)) * 10 ** (decibels / 20)
        return _in_16_bits(frames + rms * np.random.default_rng(1).normal(size=frames.shape))

    return noisy


def _clipped(share: float) -> Damage:
    """At a share of the highest peak."""
    return lambda frames: frames.clip(-int(np.abs(frames).max() * share), int(np.abs(frames).max() * share))


def _repeated(size: int) -> Damage:
    """The loudest stretch once more, in the place of what follows it."""

    def repeated(frames: Int16s) -> Int16s:
        start, changed = min(_loudest(frames, size), len(frames) - 2 * size), frames.copy()
        changed[start + size : start + 2 * size] = frames[start : start + size]
        return changed

    return repeated


def _one_sample_at_full_scale(frames: Int16s) -> Int16s:
    changed = frames.copy()
    changed[len(frames) // 2] = 32_767
    return changed


def _averaged(frames: Int16s) -> Int16s:
    """Each sample with the next one."""
    return _in_16_bits((frames + np.concatenate([frames[1:], frames[-1:]]).astype(float)) / 2)


def _from(share: float, decibels: float) -> Damage:
    """Quieter or louder from there on."""

    def changed(frames: Int16s) -> Int16s:
        start = int(share * len(frames))
        return np.concatenate([frames[:start], _by_db(decibels)(frames[start:])])

    return changed


def _spectrum(change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """Each channel's spectrum by a factor of the frequency, in cycles a sample."""

    def changed(frames: Int16s) -> Int16s:
        factors = change(np.fft.rfftfreq(len(frames)))[:, None]
        return _in_16_bits(np.fft.irfft(np.fft.rfft(frames.astype(float), axis=0) * factors, len(frames), axis=0))

    return changed


def _mulaw_order(frames: Int16s) -> tuple[np.ndarray, np.ndarray]:
    """The mu-law codes by value, and which of them is the nearest to each sample."""
    order = np.argsort(MULAW_VALUES, kind="stable")
    values = MULAW_VALUES[order].astype(float)
    return order, np.searchsorted((values[1:] + values[:-1]) / 2, frames)


def _mulaw_as_linear(frames: Int16s) -> Int16s:
    order, nearest = _mulaw_order(frames)
    linear: Int16s = ((order[nearest] - 128) * 256).astype(np.int16)
    return linear


def _through_mulaw(frames: Int16s) -> Int16s:
    order, nearest = _mulaw_order(frames)
    detour: Int16s = MULAW_VALUES[order[nearest]]
    return detour


def _noise(count: int) -> np.ndarray:
    return np.random.default_rng(2).normal(size=count)


def _sine(hertz: float, count: int) -> np.ndarray:
    wave: np.ndarray = np.sin(2 * np.pi * hertz * np.arange(count) / 8_000)
    return wave


def _times(frames: Int16s, factors: np.ndarray) -> Int16s:
    return _in_16_bits(frames * factors[:, None])


def _echoing(frames: Int16s, delay: int) -> Int16s:
    return _in_16_bits(frames + 0.35 * np.concatenate([np.zeros((delay, 2)), frames[:-delay]]))


DAMAGES: dict[str, Damage] = {
    "second half silent": lambda frames: _silent(_silent(frames, len(frames) // 2, len(frames)), len(frames) // 2, -1),
    "left only": lambda frames: frames[:, [0, 0]],
    "right only": lambda frames: frames[:, [1, 1]],
    "left silent": lambda frames: _silent(frames, 0, len(frames)),
    "right silent": lambda frames: _silent(frames, 0, len(frames), 1),
    "mixed": lambda frames: clips.mean(frames)[:, [0, 0]],
    "one inverted": lambda frames: frames * np.array([1, -1], np.int16),
    "inverted": lambda frames: -frames,
    "exchanged": lambda frames: frames[:, ::-1],
    "half gain": _scaled(0.5),
    "double gain": _scaled(2),
    "second half 6 dB quieter": _from(0.5, -6),
    "second half 4 dB louder": _from(0.5, 4),
    "last third 8 dB quieter": _from(0.67, -8),
    "one sample late": lambda frames: np.roll(frames, 1, axis=0),
    "one sample early": lambda frames: np.roll(frames, -1, axis=0),
    "20 ms late": lambda frames: np.roll(frames, 160, axis=0),
    "right 20 ms late": lambda frames: np.stack([frames[:, 0], np.roll(frames[:, 1], 160)], axis=1),
    "one sample lost": lambda frames: np.concatenate([frames[:4_000], frames[4_001:], frames[-1:]]),
    "one sample lost late": lambda frames: np.concatenate(
        [frames[: (at := len(frames) * 7 // 10)], frames[at + 1 :], frames[-1:]]
    ),
    "20 ms lost": lambda frames: np.concatenate([frames[:4_000], frames[4_160:], np.zeros((160, 2), np.int16)])[
        : len(frames)
    ],
    "backwards": lambda frames: frames[::-1],
    "every other repeated": lambda frames: frames[np.arange(len(frames)) // 2 * 2],
    "0.1 % slower": _resampled,
    "twice as fast": lambda frames: np.concatenate([frames[::2], np.zeros((len(frames) // 2, 2), np.int16)])[
        : len(frames)
    ],
    "blocks swapped": lambda frames: np.concatenate([frames[2_000:4_000], frames[:2_000], frames[4_000:]]),
    "20 ms of drop-out": lambda frames: _silent(frames, _loudest(frames, 160), _loudest(frames, 160) + 160),
    "5 ms of drop-out": lambda frames: _silent(frames, _loudest(frames, 40), _loudest(frames, 40) + 40),
    "60 ms of drop-out": lambda frames: _silent(frames, _loudest(frames, 480), _loudest(frames, 480) + 480),
    "upper bytes only": lambda frames: frames >> 8,
    "silence": np.zeros_like,
    "another call": lambda frames: np.random.default_rng(1).normal(0, 3_000, frames.shape).astype(np.int16),
    "crosstalk of -12 dB": _crosstalk(-12),
    "crosstalk of -20 dB": _crosstalk(-20),
    "noise 6 dB below": _noisy(-6),
    "noise 9 dB below": _noisy(-9),
    "clipped at a quarter": _clipped(0.25),
    "20 ms repeated": _repeated(160),
    "60 ms repeated": _repeated(480),
    "one sample at full scale": _one_sample_at_full_scale,
    "two samples averaged": _averaged,
    "mu-law as linear": _mulaw_as_linear,
    "upper bytes at twice their value": lambda frames: (frames >> 8) * np.int16(2),
    "five bits": lambda frames: frames >> 11 << 11,
    "the last 30 frames silent": lambda frames: _silent(frames, len(frames) - 30, len(frames)),
    "noise of a third of each sample": lambda frames: _times(frames, 1 + 0.35 * _noise(len(frames))),
    "noise of half of each sample": lambda frames: _times(frames, 1 + 0.5 * _noise(len(frames))),
    "loudness that swings at 30 Hz": lambda frames: _times(frames, 1 + 0.5 * _sine(30, len(frames))),
    "loudness that swings at 100 Hz": lambda frames: _times(frames, 1 + 0.5 * _sine(100, len(frames))),
    "an echo after 5 ms": lambda frames: _echoing(frames, 40),
    "an echo after 20 ms": lambda frames: _echoing(frames, 160),
}
# Material where there is noise: speech alone has little above 2 kHz.
OF_NOISE: dict[str, Damage] = {
    "a third of a sample late": _spectrum(lambda cycles: np.exp(-2j * np.pi * cycles * 0.35)),
    "nothing above 2 kHz": _spectrum(lambda cycles: cycles < 0.25),
}
# Changes below a tenth of the energy, which a whole file shows all the same: the judge refuses them in speech.
GAINS: dict[str, Damage] = {"3 dB quieter": _by_db(-3), "3 dB louder": _by_db(3)}
# No judge can tell these from what Opus itself changes: docs/decisions/0053-opus-dual.md.
UNDETECTABLE: dict[str, Damage] = {
    "1 dB quieter": _by_db(-1),
    "clipped at half": _clipped(0.5),
    "noise 30 dB below": _noisy(-30),
    "through mu-law": _through_mulaw,
}


def _high_passed(samples: np.ndarray) -> np.ndarray:
    """Above 130 Hz: Opus removes direct current."""
    steps = np.diff(samples.astype(float), axis=0, prepend=samples[:1])
    decay = 0.9 ** np.arange(150)
    return np.stack([np.convolve(channel, decay)[: len(samples)] for channel in steps.T], axis=1)


class _Sound:
    """Frames that a cache takes for the same if they are the same array."""

    def __init__(self, frames: Int16s) -> None:
        self.frames = frames

    def __hash__(self) -> int:
        return id(self.frames)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Sound) and self.frames is other.frames


@functools.cache
def _opus_errs(sound: _Sound, rate: int) -> np.ndarray:
    """The mean power of what Opus itself changes in each channel."""
    heard = np.concatenate(list(decoded(encoded(sound.frames, rate).body, sound.frames.shape[1])))
    power: np.ndarray = (_high_passed(heard - sound.frames) ** 2).mean(axis=0)
    return power


def is_material(frames: Int16s, changed: np.ndarray, rate: int, expected: np.ndarray | None = None) -> bool:
    """Whether a channel changes by 10 RMS and a tenth of its energy; at the lower rate, also by as much as Opus errs.

    A change of less than 100 ms counts against its surroundings: it is material if it makes half of the energy where it
    is, and a 20th of the loudest 20 ms within 80 ms. At the lower rate, right conversions change so much themselves:
    there it is 0.95 of the energy and a tenth, over no less than 20 ms. ``expected`` is what stands in the place of
    ``changed`` if nothing is wrong: ``frames``, or what Opus makes of them.
    """
    source, error = _high_passed(frames), _high_passed(changed - (frames if expected is None else expected))
    share, of_loudest, least = (0.5, 0.05, 1) if rate >= MORE_BITS_PER_S else (0.95, 0.1, 160)
    found = False
    for number, (channel, wrong) in enumerate(zip(source.T, error.T, strict=True)):
        where = np.flatnonzero(np.abs(wrong) > 1)
        if not len(where):
            continue
        start, end = int(where[0]), int(where[-1]) + 1
        if end - start >= 800:
            limit, change = max(0.1 * float((channel**2).mean()), 100), (wrong**2).mean()
            found |= change >= limit and (rate >= MORE_BITS_PER_S or change >= _opus_errs(_Sound(frames), rate)[number])
        else:
            start = min(start, max(0, end - least))
            around = channel[max(0, start - 640) : end + 640] ** 2
            loudest = float(np.convolve(around, np.ones(160) / 160, "valid").max())
            limit = max(share * float((channel[start:end] ** 2).mean()), of_loudest * loudest)
            found |= (wrong[start:end] ** 2).mean() >= max(limit, 100)
    return bool(found)


@functools.cache
def speech() -> dict[tuple[str, int], Int16s]:
    """Clips of speech, and the rate to encode each at; in the short run, every third.

    The product encodes short recordings at the higher rate only, but what it must not accept in longer ones is shown by
    four seconds as well.
    """
    clips_ = {key: each for key, each in all_clips().items() if "-" not in key or "speech-like" in key}
    found = [((key, rate_of(len(each))), each) for key, each in clips_.items()]
    found += [((key, BITS_PER_S), each) for key, each in clips_.items() if "-" not in key]
    return dict(found if CLIPS >= 1_000 else found[::3])


@pytest.mark.parametrize("name", DAMAGES)
def test_no_material_damage_to_speech_is_accepted(name: str) -> None:
    """At the lower rate by the definition for the higher one, too, but for 4 ms at the end of a recording."""
    judged = 0
    for (key, rate), frames in speech().items():
        changed = DAMAGES[name](frames)
        if is_material(frames, changed, rate if name == "the last 30 frames silent" else MORE_BITS_PER_S):
            judged += 1
            assert not is_accepted(frames, encoded(changed, rate)), (key, rate)
    if not judged and not clips.VOICES.exists():
        pytest.skip("material to real voices alone, and none are beside the repository (../shared/calls)")
    assert judged


THAT_FOLLOW = [name for name in DAMAGES if name.startswith(("noise of", "loudness", "an echo"))]


@pytest.mark.parametrize("name", THAT_FOLLOW)
def test_errors_that_follow_the_speech_are_refused_wherever_they_are(name: str) -> None:
    """Even if the loudest second is undamaged: the judge asks of the seconds that err most."""
    judged = 0
    for (key, rate), frames in speech().items():
        changed = DAMAGES[name](frames)
        loudest = _loudest(frames[:, :1], 8_000) // 8_000 * 8_000
        changed[loudest : loudest + 8_000] = frames[loudest : loudest + 8_000]
        if rate == BITS_PER_S and is_material(frames, changed, rate):
            judged += 1
            assert not is_accepted(frames, encoded(changed, rate)), key
    if not judged and not clips.VOICES.exists():
        pytest.skip("no real voices beside the repository (../shared/calls)")
    assert judged


def _with_a_burst(frames: Int16s, milliseconds: int, random: np.random.Generator) -> Int16s:
    """Noise a little louder than what it is added to, or stands in for, somewhere in a channel."""
    size, channel = 8 * milliseconds, random.integers(frames.shape[1])
    energies = np.convolve(frames[:, channel].astype(float) ** 2, np.ones(size), "valid")
    start = int(random.choice(np.flatnonzero(energies >= 0.05 * energies.max())))
    noise = random.normal(0, 1.1 * np.sqrt(energies[start] / size), size)
    changed = frames.astype(float)
    changed[start : start + size, channel] = noise + random.integers(2) * changed[start : start + size, channel]
    return _in_16_bits(changed)


@pytest.mark.parametrize("milliseconds", [12, 20, 30, 60])
def test_bursts_of_noise_as_loud_as_the_speech_are_refused(milliseconds: int) -> None:
    """They err by no more than right conversions may: only what Opus itself makes of that second tells them apart."""
    random, judged = np.random.default_rng(milliseconds), 0
    for (key, rate), frames in speech().items():
        for _ in range(4 if rate == BITS_PER_S else 0):
            changed = _with_a_burst(frames, milliseconds, random)
            if is_material(frames, changed, rate):
                judged += 1
                assert not is_accepted(frames, encoded(changed, rate)), key
    if not judged and not clips.VOICES.exists():
        pytest.skip("no real voices beside the repository (../shared/calls)")
    assert judged


def test_a_second_that_rightly_errs_more_hides_no_damage() -> None:
    """Opus errs by a third of the energy of hiss: a second of it errs more than ten of damaged speech."""
    random = np.random.default_rng(3)
    for name, frames in clips.voices().items():
        spoken = frames[:, :1][:80_000]
        hiss = random.normal(0, 2 * np.sqrt((spoken.astype(float) ** 2).mean()), (8_000, 1))
        right = np.concatenate([spoken, _in_16_bits(hiss)])
        changed = np.concatenate([_times(spoken, 1 + 0.45 * random.choice([-1, 1], len(spoken))), right[-8_000:]])
        if is_material(right, changed, BITS_PER_S):
            assert is_accepted(right, encoded(right, BITS_PER_S)), name
            assert not is_accepted(right, encoded(changed, BITS_PER_S)), name


@pytest.mark.parametrize("milliseconds", [6, 8, 10, 15])
def test_brief_noise_that_is_just_material_is_refused_at_the_higher_rate(milliseconds: int) -> None:
    """By up to a tenth more, wherever the judge's windows begin."""
    random, size, judged = np.random.default_rng(milliseconds), 8 * milliseconds, 0
    for (key, rate), frames in speech().items():
        if rate == BITS_PER_S or len(frames) <= 1_600 + size:
            continue
        start = int(random.integers(800, len(frames) - 800 - size))
        noise = random.normal(0, 1, size) * np.sqrt((frames[start : start + size, 0].astype(float) ** 2).mean())
        for times in np.arange(0.6, 3, 0.1):
            changed = frames.astype(float)
            changed[start : start + size, 0] += times * noise
            if is_material(frames, found := _in_16_bits(changed), rate):
                judged += 1
                assert not is_accepted(frames, encoded(found, rate)), key
                break
    assert judged


@pytest.mark.parametrize("name", [name for name in DAMAGES if name not in THAT_FOLLOW])
def test_other_damage_is_refused_without_those_seconds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise they would stand in for each of the other limits, and no test would hold those."""
    for check in ("_check_second_alone", "_check_what_stands_out"):
        monkeypatch.setattr(f"recordings.conversion.opus_judge._Judgement.{check}", lambda *_: None)
    for (key, rate), frames in speech().items():
        changed = DAMAGES[name](frames)
        if rate == BITS_PER_S and is_material(frames, changed, rate):
            assert not is_accepted(frames, encoded(changed, rate)), key


@pytest.mark.parametrize("name", OF_NOISE)
def test_no_material_damage_to_noisy_speech_is_accepted(name: str) -> None:
    judged = 0
    for (key, rate), frames in speech().items():
        noisy = _in_16_bits(frames / 8 + np.random.default_rng(6).normal(0, 60, frames.shape))
        if is_material(noisy, changed := OF_NOISE[name](noisy), rate):
            judged += 1
            assert not is_accepted(noisy, encoded(changed, rate)), (key, rate)
    assert judged


@pytest.mark.parametrize("name", GAINS)
def test_speech_that_becomes_quieter_or_louder_as_a_whole_is_refused(name: str) -> None:
    loud = {key: each for key, each in speech().items() if (_high_passed(each) ** 2).mean(axis=0).max() >= 100}
    assert loud
    for (key, rate), frames in loud.items():
        assert not is_accepted(frames, encoded(GAINS[name](frames), rate)), (key, rate)


@pytest.mark.parametrize("name", UNDETECTABLE)
def test_what_is_not_detected_is_not_material(name: str) -> None:
    """docs/decisions/0053-opus-dual.md names these; whoever makes the judge stricter changes it."""
    changed = [(frames, UNDETECTABLE[name](frames), rate) for (_, rate), frames in speech().items()]
    accepted = [each for each in changed if is_accepted(each[0], encoded(*each[1:]))]
    assert accepted
    assert not any(is_material(*each) for each in accepted)


def pages_of(body: bytes | bytearray) -> list[bytes]:
    """The file cut where its pages begin."""
    pages, at = [], 0
    while at < len(body):
        end = at + 27 + body[at + 26] + sum(body[at + 27 : at + 27 + body[at + 26]])
        pages.append(bytes(body[at:end]))
        at = end
    return pages


def with_crc(page: bytes) -> bytes:
    """The page with its CRC made right, so that only its content is wrong."""
    crc = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc >> 31 else crc << 1) & 0xFFFFFFFF
    return page[:22] + struct.pack("<I", crc) + page[26:]


def _map_exchanged(pages: list[bytes]) -> list[bytes]:
    return [with_crc(pages[0][:-2] + b"\1\0"), *pages[1:]]


def _with_gain(comments: bytes) -> bytes:
    """Half as loud, in players that heed it (RFC 7845, section 5.2.1)."""
    (packet,), gain = packets_of(comments), b"R128_TRACK_GAIN=-1536"
    vendor_ends = 12 + int.from_bytes(packet[8:12], "little")
    count = int.from_bytes(packet[vendor_ends : vendor_ends + 4], "little") + 1
    said = packet[:vendor_ends] + struct.pack("<I", count) + packet[vendor_ends + 4 :]
    return with_packets(comments, [said + struct.pack("<I", len(gain)) + gain])


def _byte_changed(pages: list[bytes]) -> list[bytes]:
    return [*pages[:2], with_crc(pages[2][:-5] + bytes([pages[2][-5] ^ 4]) + pages[2][-4:]), *pages[3:]]


def packets_of(page: bytes) -> list[bytes]:
    """The packets of a page on which each of them ends."""
    sizes, packets, at = page[27 : 27 + page[26]], [], 27 + page[26]
    size = 0
    for segment in sizes:
        size += segment
        if segment < 255:
            packets.append(page[at : at + size])
            at, size = at + size, 0
    return packets


def with_packets(page: bytes, packets: list[bytes]) -> bytes:
    """The page with other packets."""
    lacing = b"".join(b"\xff" * (len(each) // 255) + bytes([len(each) % 255]) for each in packets)
    return with_crc(page[:26] + bytes([len(lacing)]) + lacing + b"".join(packets))


def _without_left(packet: bytes) -> bytes:
    """A packet whose first channel is empty, as the encoder leaves it in DTX."""
    return packet[:1] + b"\0" + packet[2 + packet[1] :]


def _garbage(packet: bytes) -> bytes:
    """A packet of two sound heads, and noise for the first channel."""
    return packet[:2] + np.random.default_rng(1).bytes(packet[1]) + packet[2 + packet[1] :]


def _bit(packet: bytes) -> bytes:
    middle = len(packet) // 2
    return packet[:middle] + bytes([packet[middle] ^ 1]) + packet[middle + 1 :]


Packets = Callable[[list[bytes], int], list[bytes]]
# What the encoder might do wrong. If it does so in a single packet, the judge hears only some of it.
MANY_PACKETS: dict[str, Packets] = {
    "lost": lambda packets, at: packets[:at] + packets[at + 1 :],
    "emptied": lambda packets, at: [*packets[:at], packets[at][:1], *packets[at + 1 :]],
    "left emptied": lambda packets, at: [*packets[:at], _without_left(packets[at]), *packets[at + 1 :]],
    "five of garbage": lambda packets, at: [*packets[:at], *map(_garbage, packets[at : at + 5]), *packets[at + 5 :]],
    "one in place of the next five": lambda packets, at: packets[:at] + 6 * packets[at : at + 1] + packets[at + 6 :],
}
SINGLE_PACKETS: dict[str, Packets] = {
    "one in place of the next": lambda packets, at: packets[:at] + 2 * packets[at : at + 1] + packets[at + 2 :],
    "exchanged": lambda packets, at: [*packets[:at], *packets[at : at + 2][::-1], *packets[at + 2 :]],
    "garbage": lambda packets, at: [*packets[:at], _garbage(packets[at]), *packets[at + 1 :]],
    "a bit": lambda packets, at: [*packets[:at], _bit(packets[at]), *packets[at + 1 :]],
}


def with_other_packets(made: Encoded, frames: Int16s, change: Packets) -> Encoded:
    """The file as if the encoder had made other packets where the first second is loudest."""
    at = min(_loudest(frames[:7_200], 80) // 80, 90)
    head, comments, first, *rest = pages_of(made.body)
    first = with_packets(first, change(packets_of(first), at))
    digest = hashlib.sha256()
    for packet in (packet for page in (first, *rest) for packet in packets_of(page)):
        digest.update(len(packet).to_bytes(4, "little") + packet)
    body = bytearray(b"".join([head, comments, first, *rest]))
    return replace(made, body=body, packets_sha256=digest.hexdigest())


def is_heard(frames: Int16s, made: Encoded, other: Encoded) -> bool:
    """Whether the other file sounds materially different, or does not decode."""
    try:
        heard = soundfile.read(io.BytesIO(other.body))[0]
    except soundfile.LibsndfileError:
        return True
    right = 32_768 * soundfile.read(io.BytesIO(made.body))[0]
    return is_material(frames, 32_768 * heard, made.bits_per_s, right)


@pytest.mark.parametrize("name", MANY_PACKETS)
def test_packets_that_the_encoder_lost_emptied_or_repeated_are_refused(name: str) -> None:
    """Always where the structure shows it, otherwise where it is material."""
    judged = 0
    for (key, rate), frames in speech().items():
        made = encoded(frames, rate)
        other = with_other_packets(made, frames, MANY_PACKETS[name])
        if name in ("lost", "emptied", "left emptied") or is_heard(frames, made, other):
            judged += 1
            assert not is_accepted(frames, other), (key, rate)
    assert judged


@pytest.mark.parametrize("name", MANY_PACKETS | SINGLE_PACKETS)
def test_packets_that_changed_after_the_encoder_are_refused(name: str) -> None:
    frames = next(iter(speech().values()))
    made = encoded(frames)
    other = with_other_packets(made, frames, (MANY_PACKETS | SINGLE_PACKETS)[name])
    assert other.body != made.body
    assert is_accepted(frames, made)
    assert not is_accepted(frames, made, bytes(other.body))


FILES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a page missing": lambda pages: [*pages[:2], *pages[3:]],
    "the last page missing": lambda pages: pages[:-1],
    "pages exchanged": lambda pages: [*pages[:2], pages[3], pages[2], *pages[4:]],
    "a page twice": lambda pages: [*pages[:3], pages[2], *pages[3:]],
    "channel map exchanged": _map_exchanged,
    "a bit of a packet, with the CRC mended": _byte_changed,
    "bytes after the end": lambda pages: [*pages, b"OggS"],
    "another gain": lambda pages: [with_crc(pages[0][:44] + b"\0\1" + pages[0][46:]), *pages[1:]],
    "a gain among the comments": lambda pages: [pages[0], _with_gain(pages[1]), *pages[2:]],
    "two packets of comments": lambda pages: [pages[0], with_packets(pages[1], 2 * packets_of(pages[1])), *pages[2:]],
    "a head that ends later": lambda pages: [with_crc(pages[0][:6] + b"\1" + pages[0][7:]), *pages[1:]],
    "another pre-skip": lambda pages: [with_crc(pages[0][:38] + b"\x40\1" + pages[0][40:]), *pages[1:]],
    "another end": lambda pages: [*pages[:-1], with_crc(pages[-1][:6] + b"\6" + pages[-1][7:])],
}


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused(name: str) -> None:
    frames = np.random.default_rng(1).normal(0, 2_000, (32_000, 2)).astype(np.int16)
    made = encoded(frames)
    pages = pages_of(made.body)
    assert is_accepted(frames, made, b"".join(pages))
    assert not is_accepted(frames, made, b"".join(FILES[name](pages)))


@given(st.integers(0, 2**32), st.integers(1, 255))
def test_any_changed_byte_is_refused(where: int, change: int) -> None:
    frames = np.random.default_rng(2).normal(0, 2_000, (9_000, 2)).astype(np.int16)
    made = encoded(frames)
    body = bytearray(made.body)
    body[where % len(body)] ^= change
    assert not is_accepted(frames, made, bytes(body))


def test_the_packets_are_those_of_the_encoder() -> None:
    """Another file, sound in itself, is refused by its packets, and one of other length by its frames."""
    frames = np.random.default_rng(3).normal(0, 2_000, (16_000, 2)).astype(np.int16)
    made, louder = encoded(frames), encoded(frames + np.int16(1))
    assert read_opus(louder.body).frames == read_opus(made.body).frames
    with pytest.raises(Rejected, match=r"and not the encoder's packets for 16000 frames"):
        judge_opus([frames], replace(louder, packets_sha256=made.packets_sha256), frames=16_000)
    with pytest.raises(Rejected, match="unfaithful"):
        judge_opus([frames[:-1]], made, frames=15_999)


def test_ffmpegs_own_decoder_hears_what_libopus_hears() -> None:
    """ffmpeg, mpv and pydub decode SILK frames wrongly now and then: then there are none in the end."""
    at_first = 0
    for name, frames in all_clips().items():
        at_first += _differs(frames, encoded(frames).body)
        assert not _differs(frames, converted(wav(frames)).body), name
    print(f"{at_first} of {len(all_clips())} differ at first")


def test_what_the_decoders_disagree_about_is_refused() -> None:
    """A plain tone, in which ffmpeg's decoder plays bursts."""
    tone = _in_16_bits(3_182 * np.sin(2 * np.pi * 856.7 * np.arange(88_000) / 8_000))[:, None].repeat(2, axis=1)
    made = encoded(tone)
    assert _differs(tone, made.body)
    with pytest.raises(Rejected, match=r"unfaithful: in the second from frame \d+ on, ffmpeg's own decoder plays an"):
        judge_opus([tone], made, frames=len(tone))
    assert not _differs(tone, converted(wav(tone)).body)


def _differs(frames: Int16s, body: bytes | bytearray) -> bool:
    libopus = soundfile.read(io.BytesIO(body))[0] * 32_768
    native = clips.ffmpeg("-i pipe: -ar 8000 -f s16le pipe:", body)
    theirs = np.frombuffer(native, "<i2").reshape(-1, frames.shape[1])[: len(libopus)].astype(float)
    own = libopus[: len(theirs)]
    errors = [power_of(np.roll(theirs, shift, axis=0) - own) for shift in (-1, 0, 1)]
    return bool((np.minimum.reduce(errors) > 0.5 * (power_of(own) + 0.1 * power_of(own).max(initial=0) + 100)).any())


def power_of(samples: np.ndarray) -> np.ndarray:
    """The mean power of each 20 ms and channel."""
    whole = len(samples) // 160 * 160
    power: np.ndarray = (samples[:whole].reshape(-1, 160, 2) ** 2).mean(axis=1)
    return power


def test_sha256_is_of_the_bytes() -> None:
    result = converted(wav(all_clips()["speech-like-2"]))
    assert result.result_sha256 == hashlib.sha256(result.body).hexdigest()
    again = convert(Trickle(result.body), len(result.body), OPUS)
    assert again.already
    assert again.body == result.body
