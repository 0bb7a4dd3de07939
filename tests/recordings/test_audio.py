"""Conversion end to end, from a stream to the bytes to upload, against ffmpeg and libsndfile."""

import functools
import hashlib
import io
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from recordings.conversion import alaw, flac
from recordings.conversion.alaw import encode
from recordings.conversion.audio import Conversion, convert, foresee, inspect
from recordings.conversion.expand import expand
from recordings.errors import Rejected
from recordings.profiles import PROFILES, AudioFormat, Profile
from tests.recordings import clips
from tests.recordings.clips import Int16s, Trickle, chunk, ffmpeg, fmt, riff, wav

MONO, STEREO, FLAC = PROFILES["alaw-mono"], PROFILES["alaw-stereo"], PROFILES["flac-stereo"]
LEFT = np.array([1, 0], np.int16)


def converted(data: bytes | bytearray, profile: Profile = MONO) -> Conversion:
    """The file's conversion, over a stream that trickles."""
    return convert(Trickle(data), len(data), profile)


def payload(conversion: Conversion) -> bytes:
    """The codes of an A-law WAV, without its head and padding."""
    frames = round(conversion.duration_s * 8_000)
    return bytes(conversion.body[58 : 58 + frames * conversion.result.channels])


def noise(frames: int, channels: int = 2, seed: int = 5, level: float = 6_000) -> Int16s:
    """Loud enough to reach all segments of A-law."""
    sound = np.random.default_rng(seed).normal(0, level, (frames, channels))
    return sound.clip(-32768, 32767).astype(np.int16)


@pytest.mark.parametrize("frames", [1, 2, 7_999, 8_001, 65_537, 200_003])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("profile", [MONO, STEREO], ids=lambda profile: profile.name)
def test_the_codes_are_ffmpegs(profile: Profile, channels: int, frames: int) -> None:
    source = wav(noise(frames, channels))
    result = converted(source, profile)
    kept = min(channels, profile.max_channels)
    assert payload(result) == ffmpeg(f"-i pipe: -ac {kept} -c:a pcm_alaw -f alaw pipe:", source)
    assert result.source == AudioFormat(codec="pcm_s16le", sample_rate_hz=8_000, channels=channels)
    assert result.result == AudioFormat(codec="pcm_alaw", sample_rate_hz=8_000, channels=kept)
    assert result.duration_s == frames / 8_000
    assert result.source_sha256 == hashlib.sha256(source).hexdigest()
    assert result.result_sha256 == hashlib.sha256(result.body).hexdigest()


@given(st.lists(st.tuples(*[st.integers(-32768, 32767)] * 2), min_size=1, max_size=500))
def test_any_frames_convert_to_ffmpegs_codes(frames: list[tuple[int, int]]) -> None:
    source = wav(np.array(frames, np.int16))
    assert payload(converted(source)) == ffmpeg("-i pipe: -ac 1 -c:a pcm_alaw -f alaw pipe:", source)


@pytest.mark.parametrize("profile", [MONO, STEREO], ids=lambda profile: profile.name)
def test_real_voices_convert_to_ffmpegs_codes(profile: Profile) -> None:
    for frames in list(clips.voices().values())[:6]:
        source = wav(frames)
        result = converted(source, profile)
        assert payload(result) == ffmpeg(f"-i pipe: -ac {profile.max_channels} -c:a pcm_alaw -f alaw pipe:", source)
        assert result.fidelity
        assert result.fidelity.snr_db
        assert result.fidelity.snr_db > 35
        assert len(result.body) == pytest.approx(len(source) * profile.size_ratio, rel=0.01)


CODECS = ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw", "pcm_mulaw"]


@functools.cache
def in_codec(codec: str) -> bytes:
    """A second of stereo noise in 32 bits, as ffmpeg writes it with fewer."""
    fine = np.random.default_rng(8).integers(-(2**31), 2**31 - 1, (8_000, 2), np.int32)
    return ffmpeg(f"-f s32le -ar 8000 -ac 2 -i pipe: -c:a {codec} -f wav pipe:", fine.tobytes())


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("profile", [MONO, STEREO], ids=lambda profile: profile.name)
def test_other_widths_are_decoded_as_ffmpeg_does(profile: Profile, codec: str) -> None:
    source = in_codec(codec)
    result = converted(source, profile)
    assert result.source.codec == codec
    assert result.already == (codec == "pcm_alaw" and profile is STEREO)
    if not result.already:
        in_16_bits = ffmpeg("-i pipe: -f s16le pipe:", source)
        to_alaw = f"-f s16le -ac 2 -i pipe: -ac {profile.max_channels} -f alaw pipe:"
        assert payload(result) == ffmpeg(to_alaw, in_16_bits)


def test_more_than_two_channels_are_mixed_evenly_or_refused() -> None:
    frames = noise(4_000, channels=6)
    mean = np.floor(frames.astype(float).mean(axis=1) + 0.5).astype("<i2")
    result = converted(wav(frames))
    assert payload(result) == ffmpeg("-f s16le -i pipe: -f alaw pipe:", mean.tobytes())
    with pytest.raises(Rejected, match=r"unsupported: alaw-stereo"):
        converted(wav(frames), STEREO)


def tone(hz: float, rate: int, seconds: float = 2) -> Int16s:
    """A mono tone at half of full scale."""
    samples: Int16s = np.rint(16_384 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)).astype(np.int16)
    return samples[:, None]


def level_db(frames: Int16s) -> float:
    """RMS, relative to full scale."""
    return 20 * math.log10(np.sqrt((frames.astype(float) ** 2).mean()) / 32768 + 1e-12)


def test_a_tone_above_4_khz_leaves_nothing() -> None:
    """A-law itself has a floor of ±8 at -72 dB: what is left of the tone is looked for beneath it, by its spectrum."""
    result = converted(wav(tone(6_000, 16_000), rate=16_000))
    heard = soundfile.read(io.BytesIO(result.body))[0]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard)))) / len(heard) * 4
    alias = spectrum[round(2_000 * len(heard) / 8_000)]
    assert 20 * np.log10(alias + 1e-12) < -80


@pytest.mark.parametrize("rate", [6_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_other_rates_keep_length_pitch_and_level(rate: int) -> None:
    source = tone(1_000, rate)
    result = converted(wav(source, rate=rate))
    heard = soundfile.read(io.BytesIO(result.body), dtype="int16")[0]
    assert len(heard) == 16_000
    assert level_db(heard) == pytest.approx(level_db(source), abs=0.1)
    assert np.abs(np.fft.rfft(heard)).argmax() == 2_000
    assert result.source.sample_rate_hz == rate
    assert result.result.sample_rate_hz == 8_000


@pytest.mark.parametrize("rate", [4_000, 8_001, 11_025, 48_000, 192_000])
@pytest.mark.parametrize("frames", [25, 1_000, 12_345, 70_001])
def test_any_length_at_any_rate_is_judged_faithful(rate: int, frames: int) -> None:
    result = converted(wav(noise(frames), rate=rate))
    assert soundfile.info(io.BytesIO(result.body)).frames == int(frames * 8_000 / rate + 0.5)


def test_what_is_too_short_for_a_sample_at_8_khz_is_refused() -> None:
    with pytest.raises(Rejected, match=r"no-audio"):
        converted(wav(noise(1), rate=48_000))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(bad: float) -> None:
    source = wav(np.array([0.5, bad], "<f4").tobytes(), tag=3, bits=32)
    for read in (converted, lambda data: inspect(Trickle(data), len(data))):
        with pytest.raises(Rejected, match=r"bad-samples"):
            read(source)


def floating(samples: np.ndarray, bits: int = 32) -> bytes:
    """A stereo WAV of floating point."""
    return wav(samples.astype(f"<f{bits // 8}").tobytes(), tag=3, bits=bits)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("rate", [8_000, 16_000])
@pytest.mark.parametrize("profile", [MONO, STEREO], ids=lambda profile: profile.name)
def test_floats_on_a_scale_of_their_own_are_refused(profile: Profile, rate: int, bits: int) -> None:
    """Clipped as every player does it, ±8000 is a square wave."""
    in_16_bits = noise(90_000).astype(float)
    quiet = in_16_bits * (np.arange(90_000)[:, None] // 9_000 == 3)  # a tenth of the call; else silence
    for samples in (in_16_bits, quiet, in_16_bits / 32_768 + 9, in_16_bits * (1e30 if bits == 32 else 1e300)):
        source = wav(samples.astype(f"<f{bits // 8}").tobytes(), tag=3, rate=rate, bits=bits)
        with pytest.raises(Rejected, match=r"^clipped: \d+\.\d% of the energy"):
            converted(source, profile)
        inspect(Trickle(source), len(source))


@pytest.mark.parametrize("bits", [32, 64])
def test_floats_that_clip_here_and_there_are_converted(bits: int) -> None:
    speech = noise(90_000) / 32_768
    for samples in (speech, speech / speech.max(), speech / speech.max() * 1.41, np.sign(speech), speech * 0):
        result = converted(floating(samples, bits))
        assert result.fidelity
        held = samples.astype(f"<f{bits // 8}").astype(float)
        in_16_bits = np.rint(held * 32_768).clip(-32_768, 32_767).astype(np.int16)
        assert payload(result) == payload(converted(wav(in_16_bits)))


def test_real_voices_may_be_twice_too_loud() -> None:
    for frames in clips.voices().values():
        loud = frames / np.abs(frames).max() * 2
        kept = (loud.clip(-1, 1) ** 2).sum() / (loud**2).sum()
        assert kept > 0.85
        converted(floating(loud))


def test_integers_that_were_clipped_in_the_source_are_converted() -> None:
    assert not converted(wav(noise(20_000, level=200_000))).already


def test_a_mix_in_which_speakers_cancel_is_refused_and_kept_apart() -> None:
    for inverted in (noise(20_000) * LEFT, noise(90_000) * LEFT):
        inverted[:, 1] = -inverted[:, 0]
        for rate in (8_000, 16_000):
            with pytest.raises(Rejected, match=r"^speakers-cancel: "):
                converted(wav(inverted, rate=rate))
            assert converted(wav(inverted, rate=rate), STEREO)


@pytest.mark.parametrize(
    ("source", "profile", "is_smaller"),
    [
        (wav(noise(8_000)), MONO, True),
        (wav(noise(8_000)), STEREO, True),
        (wav(noise(8_000)), FLAC, True),
        (wav(noise(8_000, 1)), MONO, True),
        (wav(bytes(range(256)) * 40, tag=7, bits=8, channels=1), MONO, False),
        (wav(bytes(range(256)) * 40, tag=7, bits=8, channels=2), MONO, True),
        (wav(bytes(range(256)) * 40, tag=7, bits=8, channels=2), STEREO, False),
        (wav(bytes(range(256)) * 40, tag=6, bits=8, channels=1), MONO, False),
        (wav(bytes(range(256)) * 40, rate=4_000, bits=8, channels=1), MONO, False),
        (wav(bytes(range(256)) * 40, rate=4_000, bits=8, channels=2), MONO, False),
        (wav(noise(8_000, 1), rate=4_000), MONO, False),
        (wav(np.random.default_rng(2).integers(-32_768, 32_767, (999, 1)).astype(np.int16)), FLAC, False),
    ],
)
def test_some_results_are_not_smaller(source: bytes, profile: Profile, is_smaller: bool) -> None:
    assert (len(converted(source, profile).body) < len(source)) == is_smaller


@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_a_law_already_is_left_byte_for_byte(channels: int) -> None:
    codes = bytes(range(256)) * channels
    odd = riff(chunk(b"LIST", b"INFO"), fmt(6, channels, bits=8), chunk(b"data", codes), chunk(b"id3 ", b"x"))
    result = converted(odd, STEREO)
    assert result.already
    assert result.body == odd
    assert result.fidelity is None
    assert result.source == result.result
    assert result.source_sha256 == result.result_sha256 == hashlib.sha256(odd).hexdigest()
    assert converted(odd, MONO).already == (channels == 1)


def test_a_conversion_is_already_converted() -> None:
    for profile in PROFILES.values():
        once = converted(wav(noise(12_001)), profile)
        twice = converted(once.body, profile)
        assert twice.already
        assert twice.body == once.body


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_alaw", "pcm_mulaw"])
def test_flac_decodes_to_the_sources_samples(codec: str) -> None:
    assert_lossless(in_codec(codec), bits=24 if codec == "pcm_s24le" else 16)


@pytest.mark.parametrize(("channels", "rate"), [(1, 8_000), (5, 8_000), (8, 16_000), (2, 44_100)])
def test_flac_keeps_channels_and_rate(channels: int, rate: int) -> None:
    assert_lossless(wav(noise(12_345, channels), rate=rate), bits=16)


def assert_lossless(source: bytes, bits: int) -> None:
    result = converted(source, FLAC)
    expected = ffmpeg(f"-i pipe: -f s{bits}le pipe:", source)
    assert ffmpeg(f"-i pipe: -f s{bits}le pipe:", result.body) == expected
    found = soundfile.info(io.BytesIO(result.body))
    assert (found.format, found.subtype) == ("FLAC", f"PCM_{bits}")
    assert (found.samplerate, found.channels) == (result.source.sample_rate_hz, result.source.channels)
    assert result.fidelity
    assert result.fidelity.error_peak == 0


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("frames", [16, 17, 4_095, 4_096, 4_097, 40_001])
def test_flac_keeps_any_length(frames: int, bits: int) -> None:
    audio = np.random.default_rng(frames).bytes(frames * 3 * bits // 8)
    assert_lossless(wav(audio, channels=3, bits=bits), bits)


@pytest.mark.parametrize("codec", ["pcm_s32le", "pcm_f32le", "pcm_f64le"])
def test_flac_refuses_what_it_would_round(codec: str) -> None:
    with pytest.raises(Rejected, match=rf"unsupported: {codec}"):
        converted(in_codec(codec), FLAC)


def test_flac_refuses_what_is_shorter_than_its_blocks() -> None:
    with pytest.raises(Rejected, match=r"unsupported: 15 samples"):
        converted(wav(noise(15)), FLAC)
    assert_lossless(wav(noise(16)), bits=16)


def test_flac_is_the_same_every_time() -> None:
    source = wav(noise(9_999))
    assert converted(source, FLAC).body == converted(source, FLAC).body


def test_a_wrong_conversion_never_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alaw, "encode", lambda frames, place: encode(np.invert(frames), place))
    with pytest.raises(Rejected, match=r"unfaithful: sample \d+ is .* in the source, and in the result"):
        converted(wav(noise(50_000)))


def test_a_wrong_flac_never_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    other = converted(wav(noise(5_000, seed=6)), FLAC).body
    made = flac.to_flac
    monkeypatch.setattr(flac, "to_flac", lambda source, head: (other, made(source, head)[1]))
    with pytest.raises(Rejected, match=r"unfaithful: .* MD5"):
        converted(wav(noise(5_000)), FLAC)


@pytest.mark.parametrize("codec", CODECS)
def test_inspects_every_wav_that_it_reads(codec: str) -> None:
    data = in_codec(codec)
    found = inspect(Trickle(data), len(data))
    assert found.format == AudioFormat(codec=codec, sample_rate_hz=8_000, channels=2)
    assert (found.frames, found.duration_s) == (8_000, 1.0)
    assert found.sha256 == hashlib.sha256(data).hexdigest()


def test_inspects_flac_in_full() -> None:
    body = converted(wav(noise(16_001)), FLAC).body
    found = inspect(Trickle(body), len(body))
    assert found.format == AudioFormat(codec="flac", sample_rate_hz=8_000, channels=2)
    assert (found.frames, found.sha256) == (16_001, hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("at", [20, 30, 1_000, 20_000])
def test_a_damaged_flac_is_refused(at: int) -> None:
    body = bytearray(converted(wav(noise(16_001)), FLAC).body)
    body[at] ^= 1
    with pytest.raises(Rejected, match=r"bad-flac"):
        inspect(Trickle(bytes(body)), len(body))


def test_a_flac_cut_short_is_refused() -> None:
    body = converted(wav(noise(16_001)), FLAC).body[:-500]
    with pytest.raises(Rejected, match=r"bad-flac"):
        converted(body, FLAC)


@pytest.mark.parametrize("cut", [0, 3, 4, 41])
def test_the_beginning_of_a_flac_is_no_recording(cut: int) -> None:
    with pytest.raises(Rejected):
        converted((b"fLaC" + bytes(60))[:cut], FLAC)


class Vast:
    """An object that begins as given and goes on for ever; counts what is read of it."""

    def __init__(self, start: bytes) -> None:
        self._start, self.read_bytes = start, 0

    def read(self, size: int) -> bytes:
        at, self.read_bytes = self.read_bytes, self.read_bytes + size
        return self._start[at : at + size].ljust(size, b"\0")


@pytest.mark.parametrize("profile", ["flac-stereo", "opus-dual"])
def test_what_must_be_read_whole_and_is_vast_is_not_read(profile: str) -> None:
    once = converted(wav(noise(8_000)), PROFILES[profile]).body
    stream = Vast(bytes(once))
    with pytest.raises(Rejected, match=r"too-large: 5,000,000,000 bytes"):
        convert(stream, 5_000_000_000, PROFILES[profile])
    with pytest.raises(Rejected, match=r"too-large"):
        inspect(Vast(bytes(once)), 5_000_000_000)
    with pytest.raises(Rejected, match=r"too-large"):
        foresee(Vast(bytes(once)), 5_000_000_000, PROFILES[profile])
    assert stream.read_bytes < 1_000


@pytest.mark.parametrize(("profile", "part"), [("flac-stereo", "flac"), ("opus-dual", "spool")])
def test_what_becomes_too_large_for_memory_is_left(profile: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"recordings.conversion.{part}.MAX_WHOLE_BYTES", 300_000)
    with pytest.raises(Rejected, match=r"too-large"):
        converted(wav(noise(500_000)), PROFILES[profile])


def with_frames(body: bytes | bytearray, frames: int, rate_hz: int = 8_000) -> bytes:
    """A FLAC whose head claims another length and rate."""
    fields = int.from_bytes(body[18:26], "big") & 0xFF << 36 | frames | rate_hz << 44
    return bytes(body[:18]) + fields.to_bytes(8, "big") + bytes(body[26:])


def test_a_flac_is_decoded_no_further_than_its_head_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes can stand for hours of equal samples."""
    body = converted(wav(np.zeros((400_000, 2), np.int16)), FLAC).body
    assert len(body) < 4_000
    decoded, read = flac._decoded, []

    def counted(body: bytes, info: flac.FlacInfo) -> Iterator[bytes]:
        for block in decoded(body, info):
            read.append(len(block))
            yield block

    monkeypatch.setattr(flac, "_decoded", counted)
    with pytest.raises(Rejected, match=r"bad-flac"):
        inspect(Trickle(with_frames(body, 16)), len(body))
    assert len(read) == 1


def test_a_flac_longer_than_any_call_is_refused_by_its_head() -> None:
    body = converted(wav(noise(800)), FLAC).body
    for data, words in (
        (with_frames(body, 12 * 3600 * 8_000 + 1), r"too-long: 12\.0 hours"),
        (with_frames(body, 800, rate_hz=400_000), r"unsupported: 400000 Hz"),
    ):
        with pytest.raises(Rejected, match=words):
            inspect(Trickle(data), len(data))
        with pytest.raises(Rejected, match=words):
            foresee(Trickle(data), len(data), FLAC)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_right_channel_has_a_gain_where_there_is_one(channels: int) -> None:
    for profile in PROFILES.values():
        found = converted(wav(noise(16_000, channels)), profile).fidelity
        assert found
        assert (found.gain_right is None) == (channels == 1)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_length_of_an_opus_is_foreseen_by_its_channels(channels: int) -> None:
    body = converted(wav(noise(88_000, channels)), PROFILES["opus-dual"]).body
    found = foresee(Trickle(body), len(body), PROFILES["opus-dual"])
    assert found.duration_s == pytest.approx(11, rel=0.4)


def test_no_size_is_foreseen_of_a_codec_that_nothing_converts_to() -> None:
    data, unknown = wav(noise(8_000)), replace(MONO, codec="adpcm_g722")
    for work in (convert, foresee):
        with pytest.raises(KeyError, match="adpcm_g722"):
            work(Trickle(data), len(data), unknown)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
@pytest.mark.parametrize("bits", [16, 24])
def test_every_result_expands_to_what_ffmpeg_decodes(profile: Profile, bits: int) -> None:
    audio = np.random.default_rng(bits).integers(-4_000, 4_000, (20_001, 2)).astype("<i2")
    source = wav(audio if bits == 16 else b"".join(b"\7" + each.tobytes() for each in audio.ravel()), bits=bits)
    body, out = converted(source, profile).body, io.BytesIO()
    assert expand(Trickle(body), len(body), out) == hashlib.sha256(body).hexdigest()
    expanded = soundfile.read(io.BytesIO(out.getvalue()), dtype="int16", always_2d=True)[0].astype(int)
    theirs = clips.ffmpeg("-i pipe: -f s32le pipe:", body)
    expected = np.frombuffer(theirs, "<i4").reshape(-1, expanded.shape[1]) >> 16
    assert len(out.getvalue()) == 44 + expanded.size * 2
    if profile.codec == "opus":  # at 48 kHz there, and by another decoder
        assert expanded.shape == (20_001, 2)
        assert abs(len(expected) / 6 - 20_001) < 160
    else:
        assert np.array_equal(expanded, expected)


class Broken(Trickle):
    """A connection that is lost on the way."""

    def read(self, size: int) -> bytes:
        piece = super().read(size)
        if not piece:
            raise ConnectionResetError("lost")
        return piece


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_errors_of_the_transport_pass_through(profile: Profile) -> None:
    data = wav(noise(50_000))
    with pytest.raises(ConnectionResetError, match="lost"):
        convert(Broken(data), len(data), profile)
    with pytest.raises(ConnectionResetError, match="lost"):
        inspect(Broken(data), len(data))


def test_many_threads_do_not_disturb_each_other() -> None:
    sources = [wav(noise(30_000 + number, seed=number)) for number in range(16)]
    alone = [converted(source).result_sha256 for source in sources]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda source: converted(source).result_sha256, sources)) == alone
