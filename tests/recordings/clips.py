"""Clips to convert, real and made up, WAV files to put them in, and the independent truth about them: ffmpeg."""

import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from recordings.conversion import alaw

Int16s = NDArray[np.int16]
Floats = NDArray[np.float64]
VOICES = Path(__file__).parents[2] / ".." / "shared" / "calls"
HZ = 8_000


def ffmpeg(arguments: str, data: bytes | bytearray) -> bytes:
    """What ffmpeg makes of ``data`` on its standard input; fails if it does."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *arguments.split()]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def mean(frames: Int16s) -> Int16s:
    """The mean of all channels, halves rounded up: ``(n, 1)``."""
    count = frames.shape[1]
    means: Int16s = ((frames.sum(axis=1, dtype=np.int64, keepdims=True) + count // 2) // count).astype(np.int16)
    return means


def encoded(samples: Int16s) -> NDArray[np.uint8]:
    """The A-law code of each sample, in the shape of ``samples``."""
    codes = bytearray(samples.size)
    alaw.encode(samples.reshape(-1, 1), codes)
    return np.frombuffer(codes, np.uint8).reshape(samples.shape)


def chunk(name: bytes, data: bytes, size: int | None = None) -> bytes:
    """One RIFF chunk, padded; ``size`` is what it claims, if that is not the truth."""
    return struct.pack("<4sI", name, len(data) if size is None else size) + data + bytes(len(data) % 2)


def fmt(tag: int = 1, channels: int = 2, rate: int = HZ, bits: int = 16) -> bytes:
    """A fmt chunk of 16 bytes."""
    align = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits))


def riff(*chunks: bytes, form: bytes = b"RIFF") -> bytes:
    """A RIFF file of whole chunks."""
    body = b"".join(chunks)
    return struct.pack("<4sI4s", form, (4 + len(body)) & 0xFFFFFFFF, b"WAVE") + body


def wav(audio: Int16s | bytes, *, tag: int = 1, rate: int = HZ, channels: int = 2, bits: int = 16) -> bytes:
    """A plain WAV, by default in Amazon Connect's own format; samples are ``(n, channels)``."""
    if not isinstance(audio, bytes):
        channels, audio = audio.shape[1], audio.astype("<i2").tobytes()
    return riff(fmt(tag, channels, rate, bits), chunk(b"data", audio))


class Trickle:
    """An object's body as the network gives it: it cannot seek, and returns less at a time than asked for."""

    def __init__(self, data: bytes | bytearray, most: int = 10_007) -> None:
        self._data, self._at, self._most = bytes(data), 0, most

    def read(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + min(size, self._most)]
        self._at += len(piece)
        return piece


def voices() -> dict[str, Int16s]:
    """Real two-party calls by name, ``(n, 2)``; skips where they are not at hand."""
    paths = sorted(VOICES.rglob("*.wav"))
    if not paths:
        pytest.skip("no real voices beside the repository (../shared/calls)")
    return {path.name[:8]: soundfile.read(path, dtype="int16")[0] for path in paths}


def synthetic(count: int, seed: int = 1, *, seconds: tuple[float, float] = (0.5, 2)) -> Iterator[tuple[str, Int16s]]:
    """``count`` named stereo clips of so many seconds, of every kind in turn, each at a level of its own.

    The levels reach from full scale 66 dB down; every fifth clip has one silent channel.
    """
    random = np.random.default_rng(seed)
    kinds = list(KINDS.items())
    for number in range(count):
        name, make = kinds[number % len(kinds)]
        frames = int(random.integers(int(seconds[0] * HZ), int(seconds[1] * HZ)))
        level = 32767 * 10 ** (-random.uniform(0, 66) / 20)
        sound = np.stack([make(random, frames), make(random, frames)], axis=1) * level
        if number % 5 == 4:
            sound[:, random.integers(2)] = 0
        yield f"{name}-{number}", np.rint(sound).clip(-32768, 32767).astype(np.int16)


def _time(frames: int) -> Floats:
    return np.arange(frames) / HZ


def _speech_like(random: np.random.Generator, frames: int) -> Floats:
    """A buzz of 80 to 250 Hz through two resonances, in syllables, over a little noise."""
    time, pitch = _time(frames), random.uniform(80, 250)
    harmonics = np.arange(1, int(3_600 / pitch)) * pitch
    formants = random.uniform(300, 900), random.uniform(1_000, 2_500)
    weights = sum(1 / (1 + ((harmonics - formant) / 150) ** 2) for formant in formants)
    buzz = weights @ np.sin(2 * np.pi * harmonics[:, None] * time)
    syllables = np.sin(2 * np.pi * 3 * time + random.uniform(0, 6)).clip(0, 1)
    speech: Floats = buzz / np.abs(buzz).max() * syllables + random.normal(0, 0.002, frames)
    return speech


def _dtmf(random: np.random.Generator, frames: int) -> Floats:
    low, high = random.choice([697, 770, 852, 941]), random.choice([1209, 1336, 1477, 1633])
    time = _time(frames)
    tones: Floats = (np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time)) / 2 * (time % 0.2 < 0.1)
    return tones


def _music_like(random: np.random.Generator, frames: int) -> Floats:
    notes, time = random.uniform(100, 1_500, 6)[:, None], _time(frames)
    chords: Floats = np.sin(2 * np.pi * notes * time).mean(axis=0) * np.exp(-(time % 0.5) * 4)
    return chords


def _sine(random: np.random.Generator, frames: int) -> Floats:
    return np.sin(2 * np.pi * random.uniform(20, 3_900) * _time(frames))


def _square(random: np.random.Generator, frames: int) -> Floats:
    return np.sign(_sine(random, frames) + 1e-9)


KINDS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "digital-silence": lambda random, frames: np.zeros(frames),
    "near-silence": lambda random, frames: random.integers(-4, 5, frames) / 32767,
    "speech-like": _speech_like,
    "full-scale-square": lambda random, frames: _square(random, frames) * 1e4,
    "square": _square,
    "dtmf": _dtmf,
    "music-like": _music_like,
    "noise": lambda random, frames: random.normal(0, 0.3, frames),
    "clicks": lambda random, frames: (random.random(frames) < 0.01) * random.choice([-1.0, 1.0], frames),
    "sine": _sine,
    "constant": lambda random, frames: np.full(frames, random.choice([-1.0, 1.0])),
    "clipped-speech": lambda random, frames: np.clip(_speech_like(random, frames) * 4, -1, 1),
}
