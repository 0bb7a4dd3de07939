"""The charts of a report, as SVG. The only file that knows Matplotlib.

Colours are Okabe and Ito's, which readers with any kind of colour vision tell apart; no chart relies on colour alone.
A chart is narrow enough for a telephone, and has light text on a dark background where the reader's screen does.
"""

from collections.abc import Iterator
from datetime import date
from io import BytesIO
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, DateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from recordings.formatting import human_bytes, tick_usd
from recordings.pricing import PriceList
from recordings.savings.figures import by_reason, projection, saved_by_day, spent_by_day
from recordings.savings.sums import SNR_BIN_DB, Savings

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7F7F7F"
_INK, _LINES = "#222222", "#dddddd"
_BLUE_ON_DARK = "#56B4E9"
STYLE: Any = {
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINES,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar sign is a dollar sign
    "svg.fonttype": "none",
    "svg.hashsalt": "report",  # equal figures give equal bytes
    "figure.constrained_layout.use": True,
}
_ON_DARK = {_INK: "#e6e6e6", _LINES: "#444444", BLUE.lower(): _BLUE_ON_DARK}
_DARK = "".join(
    f"[style*='{kind}: {light}'] {{ {kind}: {dark} !important; }} "
    for light, dark in _ON_DARK.items()
    for kind in ("fill", "stroke")
)
_MAX_DAYS = 120  # more days are drawn by month
_FEW_DAYS = 7  # up to this number, each day has its tick
_FEW_RUNS = 6  # up to this number, each run has its place
_MAX_REASONS = 12
_LABEL = 28  # characters
_WIDTH_IN, _HEIGHT_IN = 4.7, 3.0
DOLLARS = FuncFormatter(lambda amount, _: tick_usd(amount))
_BYTES = FuncFormatter(lambda size, _: human_bytes(size))
_COUNTS = FuncFormatter(lambda count, _: f"{count:,.0f}")


def charts(result: Savings, price_list: PriceList, as_of: date, retention_years: float) -> Iterator[tuple[str, str]]:
    """The title and the SVG document of each chart that has something to show."""
    with rc_context(STYLE):
        if len(result.small):
            yield _bytes(result)
            yield from _saved(result, price_list, as_of)
            yield from _projection(result, as_of, retention_years)
        if len(result.not_small):
            yield _reasons(result)
        if len(result.fidelity):
            yield _fidelity(result)
        if len(result.runs):
            yield _durations(result)
        if (result.runs["minutes"] > 0).any():
            yield _cost(result)


def new_axes(ylabel: str = "", height_in: float = _HEIGHT_IN) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_IN, height_in))
    axes = figure.add_subplot()
    axes.set_ylabel(ylabel)
    return figure, axes


def svg_of(figure: Figure) -> str:
    """The drawing as SVG, with other colours for dark screens; printed on paper it is always light."""
    output = BytesIO()
    figure.savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    dark = f"<style>@media screen and (prefers-color-scheme: dark) {{ {_DARK}}}</style>"
    return output.getvalue().decode().replace("<defs>", f"{dark}<defs>", 1)


def _dates(axes: Axes, days: pd.DatetimeIndex) -> None:
    """One tick per day for a few days; for more days, as many as fit."""
    first, last = days.min().normalize(), days.max().normalize()
    if (last - first).days < _FEW_DAYS:
        axes.set_xticks(pd.date_range(first, last))
        axes.xaxis.set_major_formatter(DateFormatter("%d %b\n%Y" if first == last else "%d %b"))  # type: ignore[no-untyped-call]
        axes.set_xlim(first - pd.Timedelta(days=1), last + pd.Timedelta(days=1))  # type: ignore[arg-type]
    else:
        _moments(axes)


def _moments(axes: Axes) -> None:
    """As many ticks as fit, from years to seconds."""
    locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def draw_legend(figure: Figure, columns: int = 2) -> None:
    figure.legend(loc="outside lower right", ncols=columns, fontsize=9)


def _bytes(result: Savings) -> tuple[str, str]:
    sizes = result.small.groupby("recording_date")[["bytes_before", "bytes_after"]].sum()
    by_month = len(sizes) > _MAX_DAYS
    if by_month:
        sizes = sizes.resample("MS").sum()
    step, width = ("month", 24) if by_month else ("day", 0.8)  # days
    figure, axes = new_axes(f"bytes per {step}")
    axes.bar(sizes.index, sizes["bytes_before"], width, color=ORANGE, label="before")
    axes.bar(sizes.index, sizes["bytes_after"], width * 0.6, color=BLUE, label="after")
    axes.yaxis.set_major_formatter(_BYTES)
    _dates(axes, pd.DatetimeIndex(sizes.index))
    draw_legend(figure)
    return f"Recordings before and after, per {step} of the call", svg_of(figure)


def _saved(result: Savings, price_list: PriceList, as_of: date) -> Iterator[tuple[str, str]]:
    saved = saved_by_day(result, as_of)
    if len(saved) < 2:
        return
    days = pd.DatetimeIndex(saved.index)
    spent = spent_by_day(result, price_list, days)
    figure, axes = new_axes("US dollars, cumulative")
    axes.plot(days, saved, color=BLUE, label="storage saved, net of originals and tags")
    axes.plot(days, spent, color=ORANGE, linestyle="--", label="spent on runs, worker and server")
    axes.plot(days, saved - spent, color=GREEN, linewidth=2.5, label="saved less spent")
    axes.axhline(0, color=_INK, linewidth=0.8)
    axes.yaxis.set_major_formatter(DOLLARS)
    _dates(axes, days)
    draw_legend(figure, 1)
    yield "Saved and spent so far, at list prices", svg_of(figure)


def _projection(result: Savings, as_of: date, retention_years: float) -> Iterator[tuple[str, str]]:
    future = projection(result, as_of, retention_years)
    if not future["month"].iloc[-1]:
        return
    figure, axes = new_axes("US dollars, cumulative")
    axes.plot(future["month"] / 12, future["released_usd"], color=BLUE, label="if the originals are released today")
    axes.plot(future["month"] / 12, future["as_is_usd"], color=RED, linestyle="--", label="if they stay as they are")
    axes.axhline(0, color=_INK, linewidth=0.8)
    axes.set_xlabel(f"years from {as_of}")
    axes.yaxis.set_major_formatter(DOLLARS)
    draw_legend(figure, 1)
    yield f"Still to be saved until each recording has been kept for {retention_years:g} years", svg_of(figure)


def _reasons(result: Savings) -> tuple[str, str]:
    reasons = by_reason(result).head(_MAX_REASONS)[::-1]
    names = (reasons["status"] + ": " + reasons["code"]).str.removesuffix(": ")
    figure, axes = new_axes(height_in=0.8 + 0.3 * len(reasons))
    bars = axes.barh(range(len(reasons)), reasons["recordings"], 0.6, color=GREY)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.set_yticks(range(len(reasons)), names.str.replace(r"[^ -~]", "?", regex=True).str.slice(0, _LABEL))
    axes.set_xlabel("recordings")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    axes.xaxis.set_major_formatter(_COUNTS)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.15)
    return "Recordings that are not small, per reason", svg_of(figure)


def _fidelity(result: Savings) -> tuple[str, str]:
    bins = result.fidelity
    figure, axes = new_axes("recordings")
    axes.bar(bins.index, bins, SNR_BIN_DB * 0.9, align="edge", color=BLUE)
    axes.set_xlim(min(20, bins.index[0]), max(50, bins.index[-1] + SNR_BIN_DB))
    axes.set_xlabel(
        "signal to error ratio in dB: quiet calls and Opus have less,\nsilence and lossless results have none"
    )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.yaxis.set_major_formatter(_COUNTS)
    return "Fidelity of the replacements", svg_of(figure)


def _durations(result: Savings) -> tuple[str, str]:
    runs, title = _few(result.runs)
    unit, unit_s = ("seconds", 1) if runs["wall_s"].max() < 120 else ("minutes", 60)
    figure, axes = new_axes(unit)
    at = _places(axes, runs)
    axes.plot(at, runs["wall_s"] / unit_s, "o", color=BLUE, markersize=4, label="from start to end")
    axes.plot(at, runs["cpu_s"] / unit_s, "x", color=ORANGE, markersize=5, label="of it, CPU time")
    axes.set_ylim(0, 1.15 * runs["wall_s"].max() / unit_s or 1)
    draw_legend(figure)
    return f"{title}: how long they took", svg_of(figure)


def _cost(result: Savings) -> tuple[str, str]:
    runs, title = _few(result.runs[result.runs["minutes"] > 0])
    thousands = runs["minutes"] / 1000
    figure, axes = new_axes("US dollars")
    at = _places(axes, runs)
    billed = (runs["marginal_usd"] + runs["waiting_usd"]) / thousands
    axes.plot(at, billed, "o", color=ORANGE, markersize=4, label="with the task's whole time")
    axes.plot(
        at, runs["marginal_usd"] / thousands, "x", color=BLUE, markersize=5, label="requests, KMS, retrieval, CPU"
    )
    axes.set_ylim(0, 1.15 * billed.max() or 1)
    axes.yaxis.set_major_formatter(DOLLARS)
    draw_legend(figure, 1)
    return f"{title}: cost per 1,000 minutes archived", svg_of(figure)


def _few(runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The runs' figures by their start; of more runs than a chart can show, the mean per month."""
    by_start = runs.set_index("started_at")[["wall_s", "cpu_s", "minutes", "marginal_usd", "waiting_usd"]]
    if len(by_start) <= _MAX_DAYS:
        return by_start, "Runs"
    return by_start.resample("MS").mean().dropna(), "Runs, mean per month"


def _places(axes: Axes, runs: pd.DataFrame) -> Any:
    """The positions of the runs: a few side by side, each labelled with its start; more of them at their time."""
    starts = pd.DatetimeIndex(runs.index)
    if len(starts) > _FEW_RUNS:
        _moments(axes)
        return starts.tz_convert(None)
    axes.set_xticks(range(len(starts)), [f"{start:%d %b}\n{start:%H:%M}" for start in starts])
    axes.set_xlim(-0.6, len(starts) - 0.4)
    return range(len(starts))
