"""What the judge says of many right Opus conversions, and how they sound: ``python -m benchmarks.opus``.

``--clips 2000`` are made-up clips of all kinds and levels, half of them short and half of ten seconds or more.
``--hours 30`` are calls of one to fifteen minutes, made up of the real voices in ``../shared/calls``, with pauses,
levels, noise, hum and echo. ``--heard 100`` such calls, cut to 20 s, get PESQ (ITU-T P.862, narrow-band) and STOI per
channel; this needs the packages pesq and pystoi.
Both take the source for clean speech, so that they count lost noise as damage: lines with little noise come apart.
"""

import argparse
import importlib
import io
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from recordings.conversion.audio import Conversion, convert
from recordings.errors import Rejected
from recordings.profiles import PROFILES
from tests.recordings.clips import synthetic, voices, wav

HZ, BYTES_PER_FRAME = 8_000, 4
Int16s = NDArray[np.int16]


def made_up_calls(seed: int) -> Iterator[Int16s]:
    """Calls without end, each ``(n, 2)``: pieces of real calls between pauses, changed as lines change them."""
    random, spoken = np.random.default_rng(seed), list(voices().values())
    while True:
        frames = int(random.uniform(60, 900) * HZ)
        call = np.zeros((frames, 2))
        at = 0
        while at < frames:
            piece = spoken[random.integers(len(spoken))]
            start = random.integers(max(1, len(piece) - 4 * HZ))
            piece = piece[start : start + int(random.uniform(2, 15) * HZ)][: frames - at]
            call[at : at + len(piece)] = piece[:, :: random.choice([-1, 1])]
            at += len(piece) + int(random.exponential(1.5) * HZ)
        call *= 10 ** (-random.uniform(0, 30, 2) / 20)
        call += random.normal(0, 10 ** random.uniform(0, 2), (frames, 2))
        if random.random() < 0.2:
            call += 200 * np.sin(2 * np.pi * random.choice([50, 60]) * np.arange(frames) / HZ)[:, None]
        if random.random() < 0.2:
            delay = int(random.integers(200, 2_400))
            call[delay:] += 0.3 * call[:-delay, ::-1]
        if random.random() < 0.1:
            call[:, random.integers(2)] = 0
        yield np.rint(call).clip(-32_768, 32_767).astype(np.int16)


class Tally:
    """Counts of verdicts, and the figures of all that was accepted."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.worst: list[float] = []
        self.kept: list[float] = []
        self.ratios: list[float] = []
        self.minutes = self.cpu_s = self.bytes_after = 0.0

    def convert(self, frames: Int16s) -> Conversion | None:
        """Convert and count; None if the judge refused it in the end."""
        source, start = wav(frames), time.process_time()
        try:
            result = convert(io.BytesIO(source), len(source), PROFILES["opus-dual"])
        except Rejected as error:
            self.counts[str(error)] += 1
            return None
        self.cpu_s += time.process_time() - start
        self.minutes += len(frames) / HZ / 60
        self.counts[f"with twice the bits: {result.note.rpartition(', ')[2]}" if result.note else "at first"] += 1
        found = result.fidelity
        assert found  # noqa: S101 (for mypy)
        self.worst.append(max(found.worst_error_left or 0, found.worst_error_right or 0))
        self.kept += [each for each in (found.least_kept_left, found.least_kept_right) if each is not None]
        self.ratios.append(len(result.body) / frames.nbytes)
        self.bytes_after += len(result.body)
        return result

    def __str__(self) -> str:
        sizes = ", ".join(f"{ratio:.1%}" for ratio in np.percentile(self.ratios, [0, 5, 50, 95, 100]))
        together = self.bytes_after / (self.minutes * 60 * HZ * BYTES_PER_FRAME)
        return (
            f"{dict(self.counts)}; {self.minutes / 60:.1f} hours, {1_000 * self.cpu_s / self.minutes:.0f} ms of CPU a "
            f"minute; worst error {max(self.worst):.2f} (95 %: {np.percentile(self.worst, 95):.2f}), least kept "
            f"{min(self.kept):.2f}; size {sizes} of the source (0, 5, 50, 95, 100 %), together {together:.1%}"
        )


def heard(frames: Int16s, body: bytes | bytearray) -> Iterator[tuple[float, float, bool]]:
    """PESQ and STOI of each channel's loudest eight seconds, where there is speech; and if noise is 30 dB below."""
    pesq, stoi = importlib.import_module("pesq").pesq, importlib.import_module("pystoi").stoi
    result = soundfile.read(io.BytesIO(body))[0] * 32_768
    size = 8 * HZ
    for channel in range(frames.shape[1]):
        source = frames[:, channel].astype(float)
        powers = [(source[at : at + size] ** 2).mean() for at in range(0, len(source) - size, size)]
        if powers and max(powers) > 100**2:
            at = int(np.argmax(powers)) * size
            pair = source[at : at + size], result[at : at + size, channel]
            noise = np.percentile((source[: len(source) // 160 * 160].reshape(-1, 160) ** 2).mean(axis=1), 10)
            yield pesq(HZ, *pair, "nb"), stoi(*pair, HZ), bool(max(powers) > 1_000 * noise)


def _distribution(name: str, values: list[float]) -> str:
    figures = ", ".join(f"{value:.3f}" for value in np.percentile(values, [0, 5, 50, 95, 100]))
    return f"{name}: {len(values)} channels (0, 5, 50, 95, 100 %): {figures}; mean {np.mean(values):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("clips", 200), ("hours", 1), ("heard", 0), ("seed", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    wanted = parser.parse_args()
    for name, seconds in (("short", (0.5, 2)), ("long", (10.1, 14))):
        clips = Tally()
        for _, frames in synthetic(wanted.clips // 2, wanted.seed, seconds=seconds):
            clips.convert(frames)
        if wanted.clips:
            print(f"{name} clips: {clips}", flush=True)
    calls = Tally()
    for frames in made_up_calls(wanted.seed):
        if calls.minutes >= 60 * wanted.hours:
            break
        calls.convert(frames)
        print(f"calls: {calls}", flush=True)
    scores: list[tuple[float, float, bool]] = []
    for _, frames in zip(range(wanted.heard), made_up_calls(wanted.seed + 1), strict=False):
        result = Tally().convert(frames[: 20 * HZ])
        scores += heard(frames[: 20 * HZ], result.body) if result else []
    for name, chosen in (("all", scores), ("with little noise", [each for each in scores if each[2]])):
        if chosen:
            print(_distribution(f"PESQ, {name}", [pesq for pesq, _, _ in chosen]))
            print(_distribution(f"STOI, {name}", [stoi for _, stoi, _ in chosen]))


if __name__ == "__main__":
    main()
