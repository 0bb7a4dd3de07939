"""Decide whether what is about to be uploaded is the recording: with its own decoder, on exactly those bytes.

No line is shared with the converter. The test is per sample: an A-law code is right if its value is the nearest to the
source's sample, so its error is at most half-way to the next value. Why this and no signal-to-noise ratio:
docs/decisions/0002-judge-thresholds.md.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recordings.errors import Rejected

SLACK = 3.5  # 16-bit steps: 3 as ffmpeg looks at 14 of the 16 bits, half a step for rounding the downmix
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


def _values() -> Float32s:
    """A-law's values by code, written down as G.711's table lists them: segments of sixteen even steps, upwards."""
    segments = [np.arange(8, 512, 16)] + [np.arange(33, 65, 2) << shift for shift in range(4, 10)]
    upward = np.concatenate(segments).astype(np.float32)
    values: Float32s = np.concatenate([-upward, upward])[np.arange(256) ^ 0x55]
    return values


def _limits(values: Float32s) -> Float32s:
    """By code, how far a sample may be from the code's value: half-way to the farther neighbour, and ``SLACK``."""
    order = np.argsort(values)
    gaps = np.diff(values[order])
    limits = np.empty_like(values)
    limits[order] = np.maximum(np.append(gaps, gaps[-1]), np.append(gaps[0], gaps)) / 2 + SLACK
    return limits


VALUES = _values()
LIMITS = _limits(VALUES)


class Judge:
    """Looks at one A-law conversion block by block; one instance for one recording.

    A result with fewer channels than its source is the mean of all of them; else each channel stands for itself.
    """

    def __init__(self, *, source_channels: int, result_channels: int) -> None:
        self._source_channels = source_channels
        self._result_channels = result_channels
        self._share = 1 / (source_channels - result_channels + 1)
        self._frames = 0
        self._peak = 0.0
        self._sums = np.zeros(7)

    def look(self, frames: NDArray[np.int16], coded: memoryview) -> None:
        """Compare a block ``(n, channels)`` of the source at 8 kHz with its A-law bytes; raises ``Rejected``."""
        channels = np.ascontiguousarray(frames.T, dtype=np.float32)
        wanted = channels.mean(axis=0, keepdims=True) if self._share < 1 else channels
        codes = np.frombuffer(coded, np.uint8).reshape(-1, self._result_channels).T
        if codes.shape != wanted.shape:
            raise Rejected("unfaithful", f"{codes.size} samples stand for {wanted.size} of the source")
        heard = VALUES.take(codes, mode="clip")
        error = heard - wanted
        size = np.abs(error)
        limits = LIMITS.take(codes, mode="clip")
        if (size > limits).any():
            self._refuse(wanted, heard, limits)
        self._frames += len(frames)
        self._peak = max(self._peak, float(size.max(initial=0.0)))
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

    def _refuse(self, wanted: Float32s, heard: Float32s, limits: Float32s) -> None:
        channel, at = np.argwhere(np.abs(heard - wanted) > limits)[0]
        raise Rejected(
            "unfaithful",
            f"sample {self._frames + at} is {wanted[channel, at]:g} in the source and {heard[channel, at]:g} in the "
            f"result; A-law explains a difference of {limits[channel, at]:g}",
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
