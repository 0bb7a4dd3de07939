"""Synthetic two-party calls, speech-like and always the same, stored as Amazon Connect stores recordings."""

import io
import uuid
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 8000
DAYS = (date(2026, 1, 12), date(2026, 1, 13), date(2026, 1, 14))
PREFIX = "connect/demo/CallRecordings/"
CALLS_PER_DAY = 13

# Formant frequencies in Hz of five vowels, after the averages that phonetics textbooks give.
_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
Samples = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCall:
    """An object to put into the bucket."""

    key: str
    body: bytes
    tags: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    storage_class: str = "STANDARD"
    content_type: str = "audio/wav"


def wav(left: Samples, right: Samples) -> bytes:
    """Two channels of samples from -1 to 1 as a WAV file in Connect's format: pcm_s16le, 8 kHz, stereo."""
    output = io.BytesIO()
    with wave.open(output, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes((np.stack([left, right], axis=1).clip(-1, 1) * 32767).astype("<i2").tobytes())
    return output.getvalue()


def call(random: np.random.Generator, duration_s: float) -> bytes:
    """A call as a WAV file: customer left, agent right, taking turns over a low hiss."""
    length = int(duration_s * SAMPLE_RATE_HZ)
    channels = random.normal(0, 0.001, (2, length))
    voices = (_syllables(random, pitch_hz=125), _syllables(random, pitch_hz=205))
    position, speaker = 0, 1
    while position < length:
        turn = _utterance(random, voices[speaker], random.uniform(1, 6))[: length - position]
        channels[speaker, position : position + len(turn)] += turn
        position += len(turn) + int(random.uniform(0.1, 0.8) * SAMPLE_RATE_HZ)
        speaker = 1 - speaker
    return wav(channels[0], channels[1])


def _syllables(random: np.random.Generator, *, pitch_hz: float) -> list[Samples]:
    """The syllables of a voice: harmonics of its pitch, shaped by a vowel's formants, swelling and fading."""
    return [_syllable(pitch_hz * random.uniform(0.85, 1.2), vowel, random.uniform(0.12, 0.3)) for vowel in _VOWELS * 4]


def _syllable(pitch_hz: float, formants_hz: tuple[int, ...], duration_s: float) -> Samples:
    time_s = np.arange(int(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    harmonics_hz = np.arange(pitch_hz, SAMPLE_RATE_HZ / 2, pitch_hz)[:, None]
    gains = sum(1 / (1 + ((harmonics_hz - formant) / 90) ** 2) for formant in formants_hz)
    tone = (gains * np.sin(2 * np.pi * harmonics_hz * time_s)).sum(axis=0)
    syllable: Samples = 0.3 * tone / np.abs(tone).max() * np.hanning(len(time_s))
    return syllable


def _utterance(random: np.random.Generator, voice: list[Samples], duration_s: float) -> Samples:
    syllables = [voice[random.integers(len(voice))] * random.uniform(0.4, 1) for _ in range(int(duration_s * 4) + 1)]
    return np.concatenate(syllables)


def demo_calls() -> Iterator[StoredCall]:
    """Three days of calls of 3 s to 3 min, and one object of each kind that a run must leave alone or recognise."""
    random = np.random.default_rng(2026)
    for day in DAYS:
        yield from _calls(random, day)
    first, second, third = DAYS
    yield StoredCall(key=_key(random, first, folder="ivr/"), body=call(random, 9))
    yield StoredCall(key=f"{PREFIX}{second:%Y/%m/%d}/shift-notes.txt", body=b"not a call", content_type="text/plain")
    yield StoredCall(key=_key(random, second), body=call(random, 20)[:-1001])
    yield StoredCall(
        key=_key(random, third),
        body=_alaw_wav(random, 15),
        tags={"convert-batch": "done"},
        storage_class="GLACIER_IR",
    )


def calls_of(day: date) -> Iterator[StoredCall]:
    """A day of calls; all can be archived."""
    yield from _calls(np.random.default_rng(day.toordinal()), day)


def _calls(random: np.random.Generator, day: date) -> Iterator[StoredCall]:
    for _ in range(CALLS_PER_DAY):
        duration_s = float(np.clip(random.lognormal(3.4, 0.8), 3, 180))
        tags = {"queue": str(random.choice(["sales", "support"]))}
        yield StoredCall(key=_key(random, day), body=call(random, duration_s), tags=tags, metadata={"site": "north"})


def _key(random: np.random.Generator, day: date, folder: str = "") -> str:
    contact_id = uuid.UUID(bytes=random.bytes(16), version=4)
    began = datetime(day.year, day.month, day.day) + timedelta(minutes=int(random.integers(24 * 60)))  # noqa: DTZ001 (UTC)
    return f"{PREFIX}{folder}{day:%Y/%m/%d}/{contact_id}_{began:%Y%m%dT%H:%M}_UTC.wav"


def _alaw_wav(random: np.random.Generator, duration_s: int) -> bytes:
    """A recording that another tool has already made small: A-law codes of noise."""
    codes = random.integers(0, 256, duration_s * SAMPLE_RATE_HZ, dtype=np.uint8).tobytes()
    fmt = b"fmt \x12\0\0\0\x06\0\x01\0" + (SAMPLE_RATE_HZ).to_bytes(4, "little") * 2 + b"\x01\0\x08\0\0\0"
    fact = b"fact\x04\0\0\0" + len(codes).to_bytes(4, "little")
    data = b"data" + len(codes).to_bytes(4, "little") + codes
    return b"RIFF" + (4 + len(fmt + fact + data)).to_bytes(4, "little") + b"WAVE" + fmt + fact + data
