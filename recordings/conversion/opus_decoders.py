"""Decode an Opus file as players do: by libsndfile's libopus, and by ffmpeg's own decoder; both must play one sound."""

import io
from collections.abc import Iterator

import av
import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs
from numpy.typing import NDArray

from recordings.conversion.pcm import TELEPHONE_HZ
from recordings.errors import Rejected

WINDOW = 160  # frames, 20 ms
MAX_MISSING = 8  # frames, at the end: ffmpeg's own decoder leaves out up to three, and counts late by one

Floats = NDArray[np.float32]


def decoded(body: bytes | bytearray, channels: int) -> Iterator[Floats]:
    """The audio of a file in blocks of a second ``(n, channels)``, in 16-bit steps; raises ``Rejected``."""
    try:
        with soundfile.SoundFile(io.BytesIO(body)) as file:
            if (file.samplerate, file.channels) != (TELEPHONE_HZ, channels):
                raise Rejected("bad-opus", f"it decodes to {file.channels} channels at {file.samplerate} Hz")
            while left := file.frames - file.tell():
                # libsndfile 1.2.2 repeats samples if a read begins within the last packet: the last two go together.
                block = file.read(TELEPHONE_HZ if left >= 2 * TELEPHONE_HZ else left, dtype="float32", always_2d=True)
                if not len(block):
                    break
                yield from np.array_split(block * np.float32(32_768), range(TELEPHONE_HZ, len(block), TELEPHONE_HZ))
    except soundfile.LibsndfileError as error:
        raise Rejected("bad-opus", f"it does not decode: {error}") from error


def as_players_hear(body: bytes | bytearray, channels: int) -> Iterator[Floats]:
    """As ``decoded``; raises ``Rejected`` where ffmpeg's own decoder plays another sound, as it does of some tones.

    Each sixth sample of its 48 kHz is what libopus decodes at 8 kHz; in SILK frames it comes six samples later.
    """
    blocks, left = _by_ffmpeg(body), np.empty((channels, 0), np.float32)
    at, loudest = 0, np.zeros(channels, np.float32)
    for block in decoded(body, channels):
        parts, found = [left], left.shape[1]
        while found <= 6 * len(block) and (more := next(blocks, None)) is not None:
            parts.append(more)
            found += more.shape[1]
        theirs = np.concatenate(parts, axis=1)
        left = theirs[:, 6 * len(block) :]
        errors = []
        for delay in (0, 6):
            other = np.float32(32_768) * theirs[:, delay : delay + 6 * len(block) : 6].T
            if len(other) < len(block) - MAX_MISSING:
                raise Rejected("unfaithful", f"ffmpeg's own decoder ends in the second from frame {at} on")
            error = other - block[: len(other)]
            errors.append(_energies(np.pad(error, ((0, len(block) - len(error)), (0, 0)))))
        sound = _energies(block)
        loudest = np.maximum(loudest, sound.max(axis=0))
        if (np.minimum(*errors) > 0.5 * (sound + 0.1 * loudest + 100 * WINDOW)).any():
            raise Rejected("unfaithful", f"in the second from frame {at} on, ffmpeg's own decoder plays another sound")
        yield block
        at += len(block)


def _by_ffmpeg(body: bytes | bytearray) -> Iterator[Floats]:
    """Blocks ``(channels, n)`` at 48 kHz; full scale is 1."""
    try:
        with av.open(io.BytesIO(body), "r") as container:
            for frame in container.decode(audio=0):
                yield frame.to_ndarray().astype(np.float32, copy=False)
    except av.FFmpegError as error:
        raise Rejected("bad-opus", f"ffmpeg's own decoder does not read it: {error}") from error


def _energies(samples: Floats) -> Floats:
    """Of each window and channel; what is left at the end counts as one."""
    energies: Floats = np.add.reduceat(samples**2, range(0, len(samples), WINDOW), axis=0)
    return energies
