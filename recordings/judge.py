"""Decide whether what is about to be uploaded is the recording: with its own tables, on exactly those bytes.

No line is shared with the converter. The test is per sample: it must be one of those that its A-law code stands for, by
ITU-T G.711 or by ffmpeg. Why this and no signal-to-noise ratio: docs/decisions/0002-judge-thresholds.md.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recordings.errors import Rejected

OWN_RMS = 100.0  # 16-bit steps that a channel must have of its own for its gain to mean anything,
OWN_SHARE = 0.01  # and the share of its energy

Float32s = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How close a result is to its source, in 16-bit steps; the gains should be 0.5 in a mono mix of two, else 1."""

    snr_db: float | None  # None where there is no signal (digital silence) or no error (lossless)
    error_rms: float
    error_peak: int
    gain_left: float | None  # None where the channel is too quiet, or too like the other, to tell
    gain_right: float | None


LOSSLESS = Fidelity(snr_db=None, error_rms=0.0, error_peak=0, gain_left=1.0, gain_right=1.0)  # what equality means


STEPS = np.repeat([16, 16, 32, 64, 128, 256, 512, 1024], 16)  # G.711: eight segments of sixteen even steps
SIZES = np.cumsum(STEPS) - STEPS // 2  # what the codes of one sign decode to: the middle of the step
BELOW, ABOVE = np.diff(SIZES, prepend=0), np.diff(SIZES, append=SIZES[-1] + 1024)  # uneven where segments meet


def _by_code(negative: NDArray[np.int64], positive: NDArray[np.int64]) -> Float32s:
    """A table by A-law code from what belongs to each size: bit 7 is the sign, and every other bit is inverted."""
    table: Float32s = np.concatenate([negative, positive])[np.arange(256) ^ 0x55].astype(np.float32)
    return table


VALUES = _by_code(-SIZES, SIZES)
# The samples that each code stands for: those of its step (G.711), or those nearest to its value (ffmpeg), where
# ffmpeg's negative ones end 4 higher, as it looks at 14 of the 16 bits. A mean of channels may be rounded either way.
LOWEST = _by_code(-np.maximum(SIZES + STEPS // 2, SIZES + ABOVE // 2 - 4), SIZES - STEPS // 2) - np.float32(0.5)
HIGHEST = _by_code(np.maximum(STEPS // 2 - 1, BELOW // 2 + 3) - SIZES, SIZES + ABOVE // 2 - 1) + np.float32(0.5)


class Judge:
    """Looks at one A-law conversion block by block; one instance for one recording.

    A result with fewer channels than its source is the mean of all of them; else each channel stands for itself.
    """

    def __init__(self, *, source_channels: int, result_channels: int) -> None:
        self._source_channels = source_channels
        self._result_channels = result_channels
        self._share = 1 / source_channels if result_channels < source_channels else 1.0  # of each channel in a result
        self._frames = 0
        self._peak = 0.0
        self._sums = np.zeros(7)

    def look(self, frames: NDArray[np.int16], coded: memoryview) -> None:
        """Compare a block ``(n, channels)`` of the source at 8 kHz with its A-law bytes; raises ``Rejected``."""
        channels = _channels(frames)
        wanted = sum(channels[1:], channels[:1]) * np.float32(self._share) if self._share < 1 else channels
        codes = np.frombuffer(coded, np.uint8).reshape(-1, self._result_channels).T.astype(np.intp, order="C")
        if codes.shape != wanted.shape:
            raise Rejected("unfaithful", f"{codes.size} samples stand for {wanted.size} of the source")
        wrong = (wanted < LOWEST.take(codes, mode="clip")) | (wanted > HIGHEST.take(codes, mode="clip"))
        if wrong.any():
            channel, at = np.argwhere(wrong)[0]
            self._refuse(self._frames + at, wanted[channel, at], codes[channel, at])
        error = VALUES.take(codes, mode="clip") - wanted
        self._frames += len(frames)
        self._peak = max(self._peak, float(np.abs(error).max(initial=0.0)))
        self._sums += _sums(channels, wanted, error)

    def verdict(self, body: bytearray, *, frames: int, sample_rate_hz: int) -> Fidelity:
        """The figures over all blocks; raises ``Rejected`` unless they and the head of ``body`` make ``frames``."""
        self._check_head(body, frames, sample_rate_hz)
        if self._frames != frames:
            raise Rejected("unfaithful", f"{self._frames} frames were compared, and there should be {frames}")
        signal, noise, left, right, shared, error_left, error_right = self._sums.tolist()
        excess_left = _excess(left, right, shared, error_left, error_right, frames)
        excess_right = _excess(right, left, shared, error_right, error_left, frames)
        return Fidelity(
            snr_db=10 * math.log10(signal / noise) if signal and noise else None,
            error_rms=math.sqrt(noise / (frames * self._result_channels)),
            error_peak=math.ceil(self._peak),
            gain_left=None if excess_left is None else self._share + excess_left,
            gain_right=None if excess_right is None or self._source_channels == 1 else self._share + excess_right,
        )

    def _refuse(self, at: int, wanted: float, code: int) -> None:
        raise Rejected(
            "unfaithful",
            f"sample {at} is {wanted:g} in the source, and in the result {VALUES[code]:g}, "
            f"which stands for {LOWEST[code] + 0.5:g} to {HIGHEST[code] - 0.5:g}",
        )

    def _check_head(self, body: bytearray, frames: int, sample_rate_hz: int) -> None:
        """An A-law WAV's 58 bytes of head must say what the rest is, and nothing may follow but the padding."""
        channels, size = self._result_channels, frames * self._result_channels
        expected: tuple[bytes | int, ...] = (b"RIFF", 50 + size + size % 2, b"WAVE")
        expected += (b"fmt ", 18, 6, channels, sample_rate_hz, sample_rate_hz * channels, channels, 8, 0)
        expected += (b"fact", 4, frames, b"data", size)
        found = struct.unpack_from("<4sI4s4sIHHIIHHH4sII4sI", body)
        if found != expected or len(body) != 58 + size + size % 2:
            raise Rejected("unfaithful", f"the result has {len(body)} bytes, and its head says {found}, not {expected}")


def _channels(frames: NDArray[np.int16]) -> Float32s:
    """The channels one after the other, ``(channels, n)``."""
    if frames.shape[1] != 2:
        return np.ascontiguousarray(frames.T, dtype=np.float32)
    words = np.ascontiguousarray(frames).view(np.int32)[:, 0]  # twice as fast as transposing
    channels = np.empty((2, len(frames)), np.float32)
    channels[0], channels[1] = words.astype(np.int16), words >> 16
    return channels


def _sums(channels: Float32s, wanted: Float32s, error: Float32s) -> NDArray[np.float64]:
    """Energies of signal and error, of left, right and what they share, and of the error along left and right."""
    left, right = channels[0], channels[-1]
    shared = left @ right if len(wanted) < len(channels) else 0.0
    energies = np.vdot(wanted, wanted), np.vdot(error, error), left @ left, right @ right, shared
    return np.array([*energies, error[0] @ left, error[-1] @ right], np.float64)


def _excess(own: float, other: float, shared: float, error_own: float, error_other: float, frames: int) -> float | None:
    """How much louder one channel is than it should be: the error fitted on what the other channel does not explain."""
    common = shared / other if other else 0.0
    alone = own - common * shared
    if alone <= max(OWN_RMS**2 * frames, OWN_SHARE * own):
        return None
    return (error_own - common * error_other) / alone
