"""The judge of Opus: decides from a result's bytes, just before they are uploaded, whether they are the recording.

The result is decoded by another build of libopus (libsndfile's) than the one that encoded it, and by ffmpeg's own
decoder, which many players have. Structure is exact: ``recordings.conversion.ogg``. The sound is compared with the
source second by second, each channel by itself, after a high-pass at 130 Hz, since Opus removes direct current. At the
lower rate, the seconds and the 20 ms that err most are also compared with what Opus makes of them alone: a larger error
has another cause.
docs/decisions/0053-opus-dual.md gives the margins of the thresholds, and says what no judge of a lossy codec detects.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recordings.conversion.alaw import Int16s
from recordings.conversion.judge import Fidelity
from recordings.conversion.ogg import read_opus
from recordings.conversion.opus import MORE_BITS_PER_S, Encoded, encode_opus
from recordings.conversion.opus_decoders import Floats, as_players_hear, decoded
from recordings.conversion.pcm import TELEPHONE_HZ
from recordings.errors import Rejected

HOP, SECOND = 40, 8_000  # frames: 5 ms and a second
WINDOW = 4 * HOP  # 20 ms
QUARTER = 50  # hops, of a second
VOICE, NO_DC = np.float32(0.9), np.float32(1 - 6.3 * 3 / 8_000)  # high-passes at 130 Hz, and at 3 Hz as in libopus
PACKETS = 4  # hops, two packets: as far as a step reaches
END = 16  # frames, 2 ms
MIN_HIGH = 100  # frames: fewer say nothing of what is high, or of cross-talk
NEAR = 16  # hops, 80 ms on each side: the ear and the encoder hide errors beside louder sound
# Thresholds at every rate; docs/decisions/0053-opus-dual.md says how near right conversions come.
MIN_CORRELATION = 0.5  # squared, in any second
GAIN_BELOW_CORRELATION = 0.35
LEVELS = (0.5, 1.3)  # RMS of the result to that of the source, in any second
MAX_DELAY = 0.25  # frames
PEAKS_BELOW_CORRELATION = 0.45  # gain of the loudest samples: less is clipping
MAX_CROSSTALK = 0.15
BY_CHANCE = 25  # so many times the variance of a share of unrelated sound counts as chance
MIN_TREBLE = 0.2  # of the energy of what is high, in any second
MIN_BESIDE_RUMBLE = 0.3  # squared correlation of quiet sound beside much louder sound below 30 Hz
# A part that errs more than usual is encoded once more by itself, with LEAD frames before it and TAIL frames after it:
# codecs and filters remember.
PACKET, LEAD, TAIL = 80, SECOND // 2, 6 * HOP  # frames
# The error of a second, less the share ALSO of its energy, may be OWN_ERRORS times the error that Opus makes alone. A
# second is encoded if its error, less that share, is more than that share and more than the share OF_MEAN of the mean
# energy of the channel's seconds so far. Of the other seconds, the one of each stretch that errs most is encoded.
OWN_ERRORS, ALSO, OF_MEAN = 2, 0.03, 0.03
STRETCH = 30  # pieces
# 20 ms are encoded if their error is more than the share STANDS_OUT of the energy that the judge allows for and more
# than ABOVE_MEDIAN times the median error in their second, or more than the share IN_ANY_CASE. Their error may be
# OWN_WORST times the largest that Opus makes in 20 ms that begin up to BESIDE hops before or after them.
STANDS_OUT, ABOVE_MEDIAN, IN_ANY_CASE = 0.3, 2, 0.55
OWN_WORST, BESIDE = 4, 2
# Energy of the result by its product with the source, which Opus lowers alike: in any quarter of a second, and in all.
GAINS, WHOLE_GAIN = (0.65, 1.35), (0.75, 1.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The thresholds that depend on the rate."""

    # A window of 20 ms may err by this share of its energy, of a tenth of the loudest energy near it, and of the
    # quantisation that the encoder cannot avoid.
    worst_error: float
    whole_error: float  # energy of the error by that of the source, in all
    least_kept: float  # of the energy of any 10 ms that stand out
    hop_error: float  # as ``worst_error``, of 5 ms
    end_error: float  # as ``worst_error``, of the last 2 ms


LIMITS = Limits(worst_error=0.8, whole_error=0.6, least_kept=0.04, hop_error=math.inf, end_error=math.inf)
# From ``MORE_BITS_PER_S`` on:
STRICT = Limits(worst_error=0.25, whole_error=0.1, least_kept=0.2, hop_error=0.45, end_error=0.3)

Sums = NDArray[np.float64]


@dataclass(slots=True)
class _Worst:
    """The worst figures of one channel so far."""

    error: float = 0.0
    kept: float = math.inf
    delay: float = 0.0
    crosstalk: float = 0.0


@dataclass(frozen=True, slots=True)
class _Piece:
    """A second, or the last one and what follows it: source and result after the high-pass, ``(n, channels)``."""

    plain: Int16s  # the source as it is
    source: Floats
    result: Floats
    hops: Sums  # (hops, channels, 4): energy of source, result and error; and of the source without direct current


@dataclass(frozen=True, slots=True, kw_only=True)
class _Second:
    """A second of one channel, with the sound around it. Opus encodes parts of it alone, now or after the stretch."""

    frame: int  # where the second begins in the recording
    plain: Int16s  # the source as it is, ``(n, 1)``
    source: Floats  # the same after the high-pass, ``(n,)``
    before: int  # frames before the second
    count: int  # hops of the second
    energy: float  # of the second, after the high-pass
    excess: float  # energy of the result's error in the second, above what is accepted in any case

    def errors(self, bits_per_s: int, hops: slice) -> Sums:
        """The error energy that Opus itself makes in each of these hops of the second, and in those beside them."""
        first = self.before + hops.start * HOP
        start = max(0, (first - LEAD) // PACKET * PACKET)
        part = slice(start, self.before + hops.stop * HOP + TAIL)
        made = encode_opus([self.plain[part]], channels=1, bits_per_s=bits_per_s)
        heard = np.concatenate(list(decoded(made.body, 1)))
        wrong = _high_passed(heard, np.zeros((1, 2), np.float32), VOICE)[:, 0] - self.source[part]
        energies = (np.pad(wrong, (0, -len(wrong) % HOP)).reshape(-1, HOP) ** 2).sum(axis=1, dtype=np.float64)
        around = np.pad(energies, (BESIDE, 2 * BESIDE))[(first - start) // HOP :]
        return around[: hops.stop - hops.start + 2 * BESIDE]


def judge_opus(source: Iterable[Int16s], made: Encoded, *, frames: int) -> Fidelity:
    """Compare a finished file with its source, blocks ``(n, channels)`` at 8 kHz; raises ``Rejected``."""
    info = read_opus(made.body)
    if (info.frames, info.packets_sha256) != (frames, made.packets_sha256):
        raise Rejected("unfaithful", f"the file holds {info}, and not the encoder's packets for {frames} frames")
    judged = _Judgement(info.channels, made.bits_per_s)
    for before, piece, after in _with_neighbours(_pieces(source, made.body, info.channels)):
        judged.look(before, piece, after)
    return judged.verdict(frames)


class _Judgement:
    def __init__(self, channels: int, bits_per_s: int) -> None:
        self._bits_per_s = bits_per_s
        self._limits = STRICT if bits_per_s >= MORE_BITS_PER_S else LIMITS
        self._worst = [_Worst() for _ in range(channels)]
        self._samples: list[_Second | None] = [None] * channels  # of this stretch
        self._pieces = self._seen = 0
        # Energies of source, result, error; products of source and result; the source without direct current.
        self._totals = np.zeros((5, channels))
        self._peak = 0.0

    def look(self, before: _Piece | None, piece: _Piece, after: _Piece | None) -> None:
        """Judge one piece by what surrounds it; raises ``Rejected``."""
        around = [each for each in (before, piece, after) if each is not None]
        lead = len(before.hops) if before else 0
        for channel, worst in enumerate(self._worst):
            hops = np.concatenate([each.hops[:, channel] for each in around])
            shares = self._check_windows(hops, lead, len(piece.hops), channel, worst)
            if self._limits is LIMITS:
                second = _second(before, piece, after, channel, self._seen)
                self._check_what_stands_out(second, hops[lead:, 2], shares, channel)
                self._ask_of(second, channel)
            self._check_loudness(hops, lead, len(piece.hops), channel)
            if after is None and len(piece.source) > 1:
                self._check_end(piece, hops, channel)
            loudest = max(_power(each.source[:, channel]) for each in around)
            self._check_second(piece.source[:, channel], piece.result[:, channel], piece, loudest, channel, worst)
        # Direct current begins and ends in both channels alike.
        within = slice(0 if before else PACKETS * HOP, None if after else -PACKETS * HOP)
        if len(piece.source[within]) >= MIN_HIGH:
            source, result = (np.diff(each[within].astype(float), n=2, axis=0) for each in (piece.source, piece.result))
            self._check_treble(source, result)
            self._check_crosstalk(source, result, piece.hops[:, :, 3].sum(axis=0))
        self._check_beside_rumble(piece, is_last=after is None)
        self._add(piece)
        self._pieces += 1
        if after is None or self._pieces % STRETCH == 0:
            self._check_samples()
        self._seen += len(piece.source)

    def verdict(self, frames: int) -> Fidelity:
        """The figures of the whole file; raises ``Rejected`` unless all of it was compared."""
        if self._seen != frames:
            raise Rejected("unfaithful", f"{self._seen} frames were compared, and there should be {frames}")
        self._seen = 0  # the findings below are about the whole file, from its first frame on
        signal, result, noise, shared, raw = self._totals
        for channel in range(len(self._worst)):
            if signal[channel] >= max(16 * frames, 0.01 * raw[channel]):
                self._check_gain(signal[channel], result[channel], shared[channel], channel)
                gain = result[channel] / shared[channel]
                self._require(WHOLE_GAIN[0] <= gain <= WHOLE_GAIN[1], 0, channel, "is quieter or louder as a whole")
                most = self._limits.whole_error * signal[channel]
                self._require(noise[channel] <= most or frames < WINDOW, 0, channel, "errs too much as a whole")
        gains = [
            None if energy < 16 * frames else float(product / energy)
            for energy, product in zip(signal, shared, strict=True)
        ]
        error = float(noise.sum())
        left, right = self._worst[0], self._worst[-1] if len(self._worst) > 1 else None
        return Fidelity(
            snr_db=10 * math.log10(float(signal.sum()) / error) if signal.any() and error else None,
            error_rms=math.sqrt(error / (frames * len(self._worst))),
            error_peak=math.ceil(self._peak),
            gain_left=gains[0],
            gain_right=gains[1] if right else None,
            worst_error_left=left.error,
            worst_error_right=right.error if right else None,
            least_kept_left=_told(left.kept),
            least_kept_right=_told(right.kept) if right else None,
            delay_left_s=left.delay / TELEPHONE_HZ,
            delay_right_s=right.delay / TELEPHONE_HZ if right else None,
            crosstalk=max(each.crosstalk for each in self._worst) if right else None,
        )

    def _check_windows(self, hops: Sums, lead: int, count: int, channel: int, worst: _Worst) -> Sums:
        """Errors in 20 and 5 ms, and drop-outs of 10 ms, that begin within the piece: its hops from ``lead`` on.

        Returns the errors of each 20 ms, by what the judge allows for.
        """
        shares = _shares(hops, min(4, len(hops)))[lead : lead + count]  # less where the whole file is shorter
        if len(shares):
            worst.error = max(worst.error, float(shares.max()))
            self._require(worst.error <= self._limits.worst_error, int(shares.argmax()) * HOP, channel, "errs too much")
        brief = _shares(hops, 1, least=16)[lead : lead + count]
        is_right = float(brief.max()) <= self._limits.hop_error
        self._require(is_right, int(brief.argmax()) * HOP, channel, "errs too much in 5 ms")
        width = min(2, len(hops))
        source, result, _, raw = _running_sums(hops, width).T
        stands_out = (source > 0.03 * _loudest_near(source)) & (source > 4 * width * HOP) & (source > 0.02 * raw)
        kept = np.where(stands_out, result / np.maximum(source, 1), math.inf)[lead : lead + count]
        if len(kept):
            worst.kept = min(worst.kept, float(kept.min()))
            self._require(worst.kept >= self._limits.least_kept, int(kept.argmin()) * HOP, channel, "drops out")
        return shares

    def _check_loudness(self, hops: Sums, lead: int, count: int, channel: int) -> None:
        """How much louder or quieter a quarter of a second is, as far as it is the same sound."""
        width = min(QUARTER, len(hops))
        source, result, error, raw = _running_sums(hops, width).T
        counts = (source > 16 * width * HOP) & (source > 0.06 * source.max()) & (source > 0.01 * raw)
        shared = (source + result - error) / 2  # the products of both
        gain = np.divide(result, shared, out=np.where(counts, 0.0, 1.0), where=counts & (shared > 0))
        gain = gain[lead : lead + count]
        wrong = np.flatnonzero((gain < GAINS[0]) | (gain > GAINS[1]))
        self._require(not len(wrong), int(wrong[0]) * HOP if len(wrong) else 0, channel, "is quieter or louder")

    def _check_second(
        self, source: Floats, result: Floats, piece: _Piece, loudest: float, channel: int, worst: _Worst
    ) -> None:
        """Gain, level, delay and clipping, where the channel has sound of its own."""
        power = _power(source)
        if power < 16 or power < 0.05 * loudest or power < 0.01 * piece.hops[:, channel, 3].sum() / len(source):
            return
        signal, heard, shared = (float(a @ b) for a, b in ((source, source), (result, result), (source, result)))
        correlation = self._check_gain(signal, heard, shared, channel)
        earlier, later = float(source[1:] @ result[:-1]), float(source[:-1] @ result[1:])
        bend = 2 * shared - earlier - later
        delay = 0.5 * (later - earlier) / bend if bend > 0.02 * signal else (math.inf if bend < 0 else 0.0)
        worst.delay = max(worst.delay, delay, key=abs)
        self._require(abs(delay) <= MAX_DELAY, 0, channel, "is late or early")
        size = np.abs(source)
        peaks = size >= 0.7 * size.max()
        kept = float((result[peaks] * np.sign(source[peaks])).sum() / size[peaks].sum())
        self._require(kept - correlation >= -PEAKS_BELOW_CORRELATION, 0, channel, "is clipped")

    def _check_gain(self, signal: float, heard: float, shared: float, channel: int) -> float:
        """The squared correlation, with its sign; raises ``Rejected`` if it, the gain or the level is wrong."""
        correlation = shared * abs(shared) / (signal * heard) if heard > 0 else 0.0
        self._require(correlation >= MIN_CORRELATION, 0, channel, "is another sound")
        self._require(shared / signal - correlation >= -GAIN_BELOW_CORRELATION, 0, channel, "is too quiet")
        self._require(LEVELS[0] <= math.sqrt(heard / signal) <= LEVELS[1], 0, channel, "is too quiet or too loud")
        return correlation

    def _check_treble(self, source: Sums, result: Sums) -> None:
        """Whether noise has lost what is high in it, which changes neither its level nor its windows very much."""
        before, after = (source**2).sum(axis=0), (result**2).sum(axis=0)
        for channel in range(len(before)):
            is_heard = before[channel] > 400 * len(source)  # as white noise of 8 RMS has
            kept = not is_heard or after[channel] >= MIN_TREBLE * before[channel]
            self._require(kept, 0, channel, "has lost what is high")

    def _check_crosstalk(self, source: Sums, result: Sums, raw: Sums) -> None:
        """Explain each channel of the result by both of the source; the share of the other one must be small.

        Both come with two differences taken: mains hum is often the same on both lines, and each takes 26 dB off 60 Hz.
        """
        if source.shape[1] < 2:
            return
        energies = source.T @ source
        first, second = energies[0, 0], energies[1, 1]
        alone = first * second - energies[0, 1] ** 2
        if (energies.diagonal() <= 16 * len(source) + 1e-5 * raw).any() or alone < 0.5 * first * second:
            return  # the step that direct current begins with is the same in both
        products = source.T @ result
        shares = np.linalg.solve(energies, products)
        unexplained = (result**2).sum(axis=0) - (shares * products).sum(axis=0)
        for channel, (own, other) in enumerate([(first, second), (second, first)]):
            share = abs(float(shares[1 - channel, channel]))
            if share**2 * other <= BY_CHANCE * unexplained[channel] / len(source):
                continue  # few errors of few frames are like anything
            found = share * math.sqrt(other / (own + 0.1 * other))
            self._worst[channel].crosstalk = max(self._worst[channel].crosstalk, found)
            self._require(found <= MAX_CROSSTALK, 0, channel, "carries the other speaker")

    def _check_beside_rumble(self, piece: _Piece, *, is_last: bool) -> None:
        """Whether sound of its own is left beside much louder sound that is too low to be heard, or direct current."""
        within = slice(PACKETS * HOP, -PACKETS * HOP if is_last else None)  # the filters begin with each piece anew
        source, result = (_without_rumble(each)[within] for each in (piece.source, piece.result))
        if len(source) < MIN_HIGH:
            return
        raw = piece.hops[PACKETS : -PACKETS if is_last else None, :, 3].sum(axis=0) / len(source)
        for channel, rumble in enumerate(raw):
            power = _power(source[:, channel])
            if max(16, 1e-4 * rumble) <= power < 0.1 * rumble:
                shared, heard = float(source[:, channel] @ result[:, channel]) / len(source), _power(result[:, channel])
                correlation = shared * abs(shared) / (power * heard) if heard > 0 else 0.0
                self._require(correlation >= MIN_BESIDE_RUMBLE, 0, channel, "is another sound, beside loud low sound")

    def _check_end(self, piece: _Piece, hops: Sums, channel: int) -> None:
        """The last 2 ms, which longer windows count together with what is right before them.

        Averages of two samples are compared: what is close to 4 kHz ends late.
        """
        heard, wrong = piece.source[:, channel], piece.result[:, channel] - piece.source[:, channel]
        source, error = (
            _power((each[1:] + each[:-1]) * np.float32(0.5)) for each in (heard[-END - 1 :], wrong[-END - 1 :])
        )
        loudest, _, _, raw = hops[-NEAR:].max(axis=0) / HOP
        is_right = error <= self._limits.end_error * (source + 0.1 * loudest + 0.01 * raw + 1)
        self._require(bool(is_right), max(0, len(heard) - END), channel, "errs too much at its end")

    def _check_what_stands_out(self, second: _Second, errors: Sums, shares: Sums, channel: int) -> None:
        """Whether Opus alone errs about as much in the 20 ms that err most, or up to 10 ms beside them."""
        if not len(shares):
            return
        width = min(4, len(errors))
        found = _running_sums(errors[:, None], width)[: len(shares), 0]
        stands_out = (shares > STANDS_OUT) & (found > ABOVE_MEDIAN * np.median(found))
        many = np.flatnonzero(stands_out | (shares > IN_ANY_CASE))
        if not len(many):
            return
        first, end = int(many[0]), int(many[-1]) + width
        own = _running_sums(second.errors(self._bits_per_s, slice(first, end))[:, None], width)[:, 0]
        for hop in many:
            most = own[hop - first :][: 2 * BESIDE + 1].max() + width * HOP
            is_own = bool(found[hop] <= OWN_WORST * most)
            self._require(is_own, int(hop) * HOP, channel, "errs more than Opus does in 20 ms")

    def _ask_of(self, second: _Second, channel: int) -> None:
        """Check a second that errs much; of the others, keep the one that errs most."""
        mean = (self._totals[0, channel] + second.energy) / (self._pieces + 1)
        kept = self._samples[channel]
        if second.excess > max(ALSO * second.energy, OF_MEAN * mean):
            self._check_second_alone(second, channel)
        elif second.excess > (kept.excess if kept else 0):
            self._samples[channel] = second

    def _check_samples(self) -> None:
        for channel, second in enumerate(self._samples):
            if second is not None:
                self._check_second_alone(second, channel)
        self._samples = [None] * len(self._samples)

    def _check_second_alone(self, second: _Second, channel: int) -> None:
        """Whether a second errs about as much as if Opus encoded it by itself: other errors come on top."""
        own = second.errors(self._bits_per_s, slice(0, second.count))[BESIDE:-BESIDE].sum()
        is_own = bool(second.excess <= OWN_ERRORS * (own + second.count * HOP))
        self._require(is_own, second.frame - self._seen, channel, "errs more than Opus does")

    def _add(self, piece: _Piece) -> None:
        source, result = piece.source.astype(np.float64), piece.result.astype(np.float64)
        error = result - source
        self._peak = max(self._peak, float(np.abs(error).max()))
        pairs = ((source, source), (result, result), (error, error), (source, result))
        self._totals[:4] += [(first * second).sum(axis=0) for first, second in pairs]
        self._totals[4] += piece.hops[:, :, 3].sum(axis=0)

    def _require(self, is_so: bool, frame: int, channel: int, words: str) -> None:
        if not is_so:
            raise Rejected("unfaithful", f"from frame {self._seen + frame} on, channel {channel + 1} {words}")


def _second(before: _Piece | None, piece: _Piece, after: _Piece | None, channel: int, frame: int) -> _Second:
    energy, _, error, _ = piece.hops[:, channel].sum(axis=0)
    around = [(piece.plain, piece.source)]
    if before:
        around.insert(0, (before.plain[-LEAD:], before.source[-LEAD:]))
    if after:
        around.append((after.plain[: 2 * TAIL], after.source[: 2 * TAIL]))
    return _Second(
        frame=frame,
        plain=np.concatenate([plain[:, [channel]] for plain, _ in around]),
        source=np.concatenate([source[:, channel] for _, source in around]),
        before=LEAD if before else 0,
        count=len(piece.hops),
        energy=energy,
        excess=error - ALSO * energy if energy >= 16 * len(piece.source) else 0,
    )


def _without_rumble(samples: Floats) -> Floats:
    """Samples that passed the high-pass once, after two passes more: 50 dB less at 20 Hz, 23 dB at 60 Hz."""
    for _ in range(2):
        samples = _high_passed(samples, np.zeros((samples.shape[1], 2), np.float32), VOICE)
    return samples


def _told(kept: float) -> float | None:
    return kept if math.isfinite(kept) else None


def _power(samples: Floats) -> float:
    return float(samples @ samples) / len(samples)


def _shares(hops: Sums, width: int, *, least: int = 1) -> Sums:
    """The error of each ``width`` hops by what the judge allows for there, at least the power ``least``."""
    source, _, error, raw = _running_sums(hops, width).T
    allowed = source + 0.1 * _loudest_near(source) + 0.01 * _loudest_near(raw) + least * width * HOP
    return np.asarray(error / allowed)


def _loudest_near(energies: Sums) -> Sums:
    """Of each window, the loudest within ``NEAR`` hops."""
    loudest: Sums = np.concatenate([np.zeros(NEAR), energies, np.zeros(NEAR)])
    width = 1
    while width < 2 * NEAR:  # the loudest of two, four, eight ... windows
        loudest = np.maximum(loudest[:-width], loudest[width:])
        width *= 2
    return np.maximum(loudest[:-1], loudest[1:])


def _running_sums(hops: Sums, count: int) -> Sums:
    """The sums of each ``count`` hops that follow each other."""
    sums = np.concatenate([np.zeros((1, hops.shape[1])), np.cumsum(hops, axis=0)])
    return np.asarray(sums[count:] - sums[:-count])


def _with_neighbours(pieces: Iterable[_Piece]) -> Iterator[tuple[_Piece | None, _Piece, _Piece | None]]:
    before = piece = None
    for after in pieces:
        if piece is not None:
            yield before, piece, after
        before, piece = piece, after
    if piece is not None:
        yield before, piece, None


def _pieces(source: Iterable[Int16s], body: bytes | bytearray, channels: int) -> Iterator[_Piece]:
    """Whole seconds of both; what is left at the end joins the last second."""
    filters = np.zeros((3, channels, 2), np.float32)  # the last input and output of each channel, by filter
    held: tuple[Int16s, Floats] | None = None
    for heard, result in _side_by_side(source, as_players_hear(body, channels)):
        if held is not None and len(heard) < SECOND:
            held = np.concatenate([held[0], heard]), np.concatenate([held[1], result])
            continue
        if held is not None:
            yield _piece(*held, filters)
        held = heard, result
    if held is not None:
        yield _piece(*held, filters, is_last=True)


def _side_by_side(source: Iterable[Int16s], result: Iterator[Floats]) -> Iterator[tuple[Int16s, Floats]]:
    """Seconds of the source, beside those of the result; raises ``Rejected`` where their lengths differ."""
    for block in _seconds(source):
        heard = next(result, None)
        if heard is None or heard.shape != block.shape:
            shape = (0, 0) if heard is None else heard.shape
            raise Rejected("unfaithful", f"{shape} frames and channels stand for {block.shape}")
        yield block, heard
    if next(result, None) is not None:
        raise Rejected("unfaithful", "the result goes on after the source")


def _seconds(blocks: Iterable[Int16s]) -> Iterator[Int16s]:
    left: Int16s | None = None
    for block in blocks:
        left = block if left is None else np.concatenate([left, block])
        whole = len(left) // SECOND * SECOND
        yield from (left[at : at + SECOND] for at in range(0, whole, SECOND))
        left = left[whole:]
    if left is not None and len(left):
        yield left


def _piece(source: Int16s, result: Floats, filters: Floats, *, is_last: bool = False) -> _Piece:
    """The last packets count a hop of silence more as their own: the encoder hears direct current end with a step."""
    plain = source.astype(np.float32)
    heard, found = _high_passed(plain, filters[0], VOICE), _high_passed(result, filters[1], VOICE)
    raw = _high_passed(np.pad(plain, ((0, HOP * is_last), (0, 0))), filters[2], NO_DC)
    energies = np.stack([heard**2, found**2, (found - heard) ** 2, raw[: len(plain)] ** 2], axis=-1)
    padded = np.pad(energies, ((0, -len(source) % HOP), (0, 0), (0, 0)))
    hops = padded.reshape(-1, HOP, *energies.shape[1:]).sum(axis=1, dtype=np.float64)
    hops[-PACKETS:, :, 3] += (raw[len(plain) :] ** 2).sum(axis=0, dtype=np.float64)
    return _Piece(source, heard, found, hops)


@njit(nogil=True)
def _high_passed(samples: Floats, state: Floats, decay: np.float32) -> Floats:
    """``y[i] = x[i] - x[i-1] + decay y[i-1]`` per channel; ``state`` carries x and y from block to block."""
    result = np.empty_like(samples)
    for channel in range(samples.shape[1]):
        last, out = state[channel, 0], state[channel, 1]
        for at in range(len(samples)):
            now = samples[at, channel]
            out = now - last + decay * out
            last = now
            result[at, channel] = out
        state[channel, 0], state[channel, 1] = last, out
    return result
