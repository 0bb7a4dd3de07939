"""The judge: decides from a result's bytes, just before they are uploaded, whether they are the recording.

The judge has its own tables and shares no line with the converter. It tests each sample: by ITU-T G.711 or by ffmpeg,
the sample must be one for which its A-law code stands. docs/decisions/0002-judge-thresholds.md says why this is better
than a signal-to-noise ratio. In each second, the mean of the channels must also be about as loud as the channels:
docs/decisions/0030-a-mix-carries-its-channels.md.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from operator import add
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recordings.errors import Rejected

OWN_RMS = 100.0  # 16-bit steps: a channel needs this much sound of its own for its gain to mean anything,
OWN_SHARE = 0.01  # and this share of its energy
SECOND, TENTH = 8_000, 800  # frames: in less than a tenth of a second, speakers cancel by chance
AUDIBLE_RMS = 30.0  # 16-bit steps, of all channels together; less is line noise
KEPT_SHARE = 0.1  # of the channels' energy in their sum: 1 where they have nothing in common, 0 where they cancel

Int16s = NDArray[np.int16]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]
Codes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How close a result is to its source, in 16-bit steps; the gains should be 0.5 in a mono mix of two, else 1."""

    snr_db: float | None  # None where there is no signal (digital silence) or no error (lossless)
    error_rms: float
    error_peak: int
    gain_left: float | None  # None where the channel is too quiet, or too similar to the other, to tell
    gain_right: float | None
    # Of Opus alone, see ``recordings.conversion.opus_judge``; the right channel has None in a mono recording.
    worst_error_left: float | None = None
    worst_error_right: float | None = None
    least_kept_left: float | None = None
    least_kept_right: float | None = None
    delay_left_s: float | None = None
    delay_right_s: float | None = None
    crosstalk: float | None = None


LOSSLESS = Fidelity(snr_db=None, error_rms=0.0, error_peak=0, gain_left=1.0, gain_right=1.0)  # equal samples


STEPS = np.repeat([16, 16, 32, 64, 128, 256, 512, 1024], 16)  # G.711: eight segments of sixteen even steps
SIZES = np.cumsum(STEPS) - STEPS // 2  # what the codes of one sign decode to: the middle of the step
BELOW, ABOVE = np.diff(SIZES, prepend=0), np.diff(SIZES, append=SIZES[-1] + 1024)  # uneven where segments meet


def _by_code(negative: NDArray[np.int64], positive: NDArray[np.int64]) -> Int32s:
    """A table by A-law code, from one value per size: bit 7 of a code is its sign, and every other bit is inverted."""
    table: Int32s = np.concatenate([negative, positive])[np.arange(256) ^ 0x55].astype(np.int32)
    return table


VALUES = _by_code(-SIZES, SIZES)
# The samples that each code stands for: those of its step (G.711), or those nearest to its value (ffmpeg). ffmpeg's
# negative ranges end 4 higher, because ffmpeg uses 14 of the 16 bits.
LOWEST = _by_code(-np.maximum(SIZES + STEPS // 2, SIZES + ABOVE // 2 - 4), SIZES - STEPS // 2)
HIGHEST = _by_code(np.maximum(STEPS // 2 - 1, BELOW // 2 + 3) - SIZES, SIZES + ABOVE // 2 - 1)


class Sums(NamedTuple):
    """Sums of products over the frames of one result channel. The factors are the first and last of the source channels
    that it is the mean of, the sum of all these channels (the signal), and the deviation of the result from it (the
    error).
    """

    signal_signal: int = 0
    error_error: int = 0
    first_first: int = 0
    last_last: int = 0
    first_last: int = 0
    error_first: int = 0
    error_last: int = 0


class Judge:
    """Judges one A-law conversion block by block; each recording needs its own instance.

    A result with fewer channels than its source is the mean of all of them; otherwise each channel is compared by
    itself.
    """

    def __init__(self, *, source_channels: int, result_channels: int) -> None:
        self._source_channels = source_channels
        self._result_channels = result_channels
        self._mixed = source_channels // result_channels  # source channels in each channel of the result
        self._compare = _comparison(self._mixed, result_channels)
        self._frames = 0
        self._peak = 0
        self._sums = [Sums()] * result_channels
        self._seconds = np.zeros((result_channels, 3 + self._mixed), np.int64)  # see ``_cancels``

    def look(self, frames: Int16s, coded: memoryview) -> None:
        """Compare a block ``(n, channels)`` of the source at 8 kHz with its A-law bytes; raises ``Rejected``."""
        wanted = len(frames) * self._result_channels
        if len(coded) != wanted:
            raise Rejected("unfaithful", f"{len(coded)} samples stand for {wanted} of the source")
        samples, codes = frames.reshape(len(frames) * self._source_channels), np.frombuffer(coded, np.uint8)
        for channel, before in enumerate(self._sums):
            wrong, cancelled, peak, sums = self._compare(
                samples[channel:], codes[channel:], len(frames), self._seconds[channel]
            )
            if wrong:
                self._refuse(samples, codes)
            if cancelled:
                self._refuse_mix(self._frames + cancelled)
            self._peak = max(self._peak, peak)
            self._sums[channel] = Sums(*map(add, before, sums))
        self._frames += len(frames)

    def verdict(self, body: bytearray, *, frames: int, sample_rate_hz: int) -> Fidelity:
        """The fidelity over all blocks; raises ``Rejected`` unless they and the head of ``body`` make ``frames``."""
        self._check_head(body, frames, sample_rate_hz)
        if self._frames != frames:
            raise Rejected("unfaithful", f"{self._frames} frames were compared, and there should be {frames}")
        if any(map(_cancels, self._seconds)):
            self._refuse_mix(frames)
        mixed, left, right = self._mixed, self._sums[0], self._sums[-1]
        signal, noise = sum(each.signal_signal for each in self._sums), sum(each.error_error for each in self._sums)
        first, last, shared = left.first_first, right.last_last, left.first_last if mixed > 1 else 0
        excess_left = _excess(first, last, shared, left.error_first, right.error_last, frames)
        excess_right = _excess(last, first, shared, right.error_last, left.error_first, frames)
        return Fidelity(
            snr_db=10 * math.log10(signal / noise) if signal and noise else None,
            error_rms=math.sqrt(noise / (frames * self._result_channels)) / mixed,
            error_peak=-(-self._peak // mixed),
            gain_left=None if excess_left is None else (1 + excess_left) / mixed,
            gain_right=None if excess_right is None or self._source_channels == 1 else (1 + excess_right) / mixed,
        )

    def _refuse(self, samples: Int16s, codes: Codes) -> None:
        """Raise ``Rejected``, naming the first wrong sample."""
        by_frame = codes.reshape(-1, self._result_channels)
        wanted = samples.reshape(*by_frame.shape, self._mixed).sum(axis=2, dtype=np.int32)
        _, lowest, highest = _by_code_of_sum(self._mixed)
        at, channel = np.argwhere((wanted < lowest[by_frame]) | (wanted > highest[by_frame]))[0]
        code = by_frame[at, channel]
        raise Rejected(
            "unfaithful",
            f"sample {self._frames + at} is {wanted[at, channel] / self._mixed:g} in the source, and in the result "
            f"{VALUES[code]}, which stands for {LOWEST[code]} to {HIGHEST[code]}",
        )

    def _refuse_mix(self, frame: int) -> None:
        raise Rejected(
            "speakers-cancel",
            f"in the second before frame {frame}, the channels' mean has less than {KEPT_SHARE:.0%} of their energy",
        )

    def _check_head(self, body: bytearray, frames: int, sample_rate_hz: int) -> None:
        """Check that an A-law WAV's 58 bytes of head describe the rest, and that only padding follows the audio."""
        channels, size = self._result_channels, frames * self._result_channels
        expected: tuple[bytes | int, ...] = (b"RIFF", 50 + size + size % 2, b"WAVE")
        expected += (b"fmt ", 18, 6, channels, sample_rate_hz, sample_rate_hz * channels, channels, 8, 0)
        expected += (b"fact", 4, frames, b"data", size)
        found = struct.unpack_from("<4sI4s4sIHHIIHHH4sII4sI", body)
        if found != expected or len(body) != 58 + size + size % 2:
            raise Rejected("unfaithful", f"the result has {len(body)} bytes, and its head says {found}, not {expected}")


def _by_code_of_sum(mixed: int) -> tuple[Int32s, Int32s, Int32s]:
    """Value, lowest and highest sum of the mixed channels by code; the mean may be rounded either way."""
    return VALUES * mixed, LOWEST * mixed - mixed // 2, HIGHEST * mixed + mixed // 2


@njit(nogil=True)
def _cancels(second: Int64s) -> bool:
    """Whether channels cancel each other in their sum, by the figures of one second, or of what is left of it.

    ``second`` holds the number of frames, the energy of the sum, that of all channels, and each channel's total. The
    totals serve to remove a constant offset from both energies: inaudible, it could feign a cancellation, or hide one.
    """
    frames = float(second[0])
    if frames < TENTH:
        return False
    total = squares = 0.0
    for at in range(3, len(second)):
        total += second[at]
        squares += float(second[at]) * second[at]
    sum_energy, energy = second[1] - total * total / frames, second[2] - squares / frames
    return bool(energy >= AUDIBLE_RMS * AUDIBLE_RMS * frames and sum_energy < KEPT_SHARE * energy)


@cache
def _comparison(
    mixed: int, results: int
) -> Callable[[Int16s, Codes, int, Int64s], tuple[bool, int, int, tuple[int, ...]]]:
    """A compiled loop over frames of ``results`` codes, each the mean of ``mixed`` samples; it compares the first code.

    All figures are integers. The index is unsigned, which saves a check for negatives. The figures for ``_cancels``
    stay in ``second`` from block to block; the second result is the end of the last second whose channels cancel, in
    frames, or 0.
    """
    values, lowest, highest = _by_code_of_sum(mixed)
    width, apart, to_last = np.uintp(mixed * results), np.uintp(results), np.uintp(mixed - 1)

    @njit(nogil=True)
    def compare(samples: Int16s, codes: Codes, frames: int, second: Int64s) -> tuple[bool, int, int, tuple[int, ...]]:
        wrong, peak, cancelled, start = False, 0, 0, 0
        signal_signal = error_error = first_first = last_last = first_last = error_first = error_last = 0
        while start < frames:
            end = min(frames, start + SECOND - second[0])
            energy = sum_energy = 0
            for at in range(np.uintp(start), np.uintp(end)):
                begin, code = at * width, codes[at * apart]
                signal = 0
                for channel in range(mixed):
                    sample = int(samples[begin + np.uintp(channel)])
                    signal += sample
                    energy += sample * sample
                    second[3 + channel] += sample
                wrong |= (signal < lowest[code]) | (signal > highest[code])
                error = int(values[code]) - signal
                peak = max(peak, abs(error))
                first, last = int(samples[begin]), int(samples[begin + to_last])
                sum_energy += signal * signal
                error_error += error * error
                first_first += first * first
                last_last += last * last
                first_last += first * last
                error_first += error * first
                error_last += error * last
            signal_signal += sum_energy
            second[0] += end - start
            second[1] += sum_energy
            second[2] += energy
            if second[0] == SECOND:
                cancelled = end if _cancels(second) else cancelled
                second.fill(0)
            start = end
        sums = (signal_signal, error_error, first_first, last_last, first_last, error_first, error_last)
        return wrong, cancelled, peak, sums

    return compare


def _excess(own: float, other: float, shared: float, error_own: float, error_other: float, frames: int) -> float | None:
    """How much louder one channel is than it should be: fits the error to what the other channel does not explain."""
    common = shared / other if other else 0.0
    alone = own - common * shared
    if alone <= max(OWN_RMS**2 * frames, OWN_SHARE * own):
        return None
    return (error_own - common * error_other) / alone
