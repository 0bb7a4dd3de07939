"""Time and memory against number of recordings and against their length: ``python -m benchmarks.growth``.

The archive path on an S3 server, each point a process of its own. ``--plot FILE`` draws them.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.clients import Used
from benchmarks.pipeline import one_round
from benchmarks.ways import ours

Points = Mapping[int, Used]
NUMBERS, NUMBERS_LENGTH_S = (100, 200, 400, 800, 1600), 10
LENGTHS_S, LENGTHS_NUMBER = (60, 300, 900, 1800, 3600), 2
QUICK_NUMBERS, QUICK_LENGTHS_S = (2,), (60,)


def by_number(numbers: Sequence[int]) -> Points:
    """This many short recordings per point."""
    return {number: one_round({"ours": ours}, {NUMBERS_LENGTH_S: number})["ours"] for number in numbers}


def by_length(lengths_s: Sequence[int]) -> Points:
    """Two recordings of this length per point."""
    return {length_s: one_round({"ours": ours}, {length_s: LENGTHS_NUMBER})["ours"] for length_s in lengths_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small point of each: to see that it works")
    parser.add_argument("--plot", type=Path, help="a PNG file to draw")
    options = parser.parse_args()
    numbers = by_number(QUICK_NUMBERS if options.quick else NUMBERS)
    lengths = by_length(QUICK_LENGTHS_S if options.quick else LENGTHS_S)
    console = Console(width=120)
    console.print(_table(f"recordings of {NUMBERS_LENGTH_S} s", "ms per recording", numbers, dict.fromkeys(numbers, 1)))
    minutes = dict.fromkeys(lengths, LENGTHS_NUMBER / 60)
    console.print(_table(f"seconds of each of {LENGTHS_NUMBER} recordings", "ms per minute", lengths, minutes))
    if options.plot:
        _draw(options.plot, numbers, lengths)


def _table(axis: str, unit: str, points: Points, weights: Mapping[int, float]) -> Table:
    table = Table(axis, "CPU s", unit, "peak MB")
    for at, used in points.items():
        each_ms = 1000 * used.cpu_s / (at * weights[at])
        table.add_row(f"{at:,}", f"{used.cpu_s:.2f}", f"{each_ms:.1f}", f"{used.peak_mb:.0f}")
    return table


def _draw(path: Path, numbers: Points, lengths: Points) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.5), layout="constrained")
    axes = figure.subplots(1, 2)
    labels = (f"recordings of {NUMBERS_LENGTH_S} s", f"seconds of each of {LENGTHS_NUMBER} recordings")
    for ax, points, label in zip(axes, (numbers, lengths), labels, strict=True):
        cpu_s, peaks_mb = [each.cpu_s for each in points.values()], [each.peak_mb for each in points.values()]
        ax.plot(list(points), cpu_s, "o-")
        ax.set(xlabel=label, ylabel="CPU, s", ylim=(0, 1.1 * max(cpu_s)), xlim=(0, None))
        memory = ax.twinx()
        memory.plot(list(points), peaks_mb, "s--", color="tab:orange")
        memory.set(ylabel="peak memory, MB (dashed)", ylim=(0, 1.1 * max(peaks_mb)))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
