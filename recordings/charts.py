"""The charts of a report, as SVG. The only file that knows Matplotlib.

Colours are Okabe and Ito's, which readers with any kind of colour vision tell apart; no chart relies on colour alone.
"""

from collections.abc import Iterator
from datetime import date
from io import BytesIO
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from recordings.figures import by_reason, projection, saved_by_day, spent_by_day
from recordings.pricing import PriceList
from recordings.reporting import human_bytes, tick_usd
from recordings.savings import SNR_BIN_DB, Savings

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7F7F7F"
_STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar is a dollar
    "svg.fonttype": "none",
    "svg.hashsalt": "report",  # the same figures give the same bytes
    "figure.constrained_layout.use": True,
}
_MOST_DAYS = 120  # more are drawn by month
_MOST_REASONS = 12
_WIDTH_IN, _HEIGHT_IN = 8.4, 3.4
_DOLLARS = FuncFormatter(lambda amount, _: tick_usd(amount))
_BYTES = FuncFormatter(lambda size, _: human_bytes(size))
_COUNTS = FuncFormatter(lambda count, _: f"{count:,.0f}")


def charts(result: Savings, price_list: PriceList, as_of: date, retention_years: float) -> Iterator[tuple[str, str]]:
    """Each chart's title, and itself as an SVG document."""
    with rc_context(_STYLE):
        drawn = (
            _bytes(result),
            _saved(result, price_list, as_of),
            _projection(result, as_of, retention_years),
            _reasons(result),
            _fidelity(result),
            _durations(result),
            _cost(result),
        )
        for figure in drawn:
            yield figure.axes[0].get_title(loc="left"), _svg(figure)


def _axes(title: str, ylabel: str = "", *, empty: bool = False) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN))
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_ylabel(ylabel)
    if empty:
        axes.text(0.5, 0.5, "nothing to show in this range", transform=axes.transAxes, ha="center", color=GREY)
        axes.set_xticks([])
        axes.set_yticks([])
    return figure, axes


def _svg(figure: Figure) -> str:
    output = BytesIO()
    figure.savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    return output.getvalue().decode()


def _dates(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=10)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _legend(figure: Figure) -> None:
    figure.legend(loc="outside lower right", ncols=3, fontsize=9)


def _bytes(result: Savings) -> Figure:
    sizes = result.small.groupby("recording_date")[["bytes_before", "bytes_after"]].sum()
    by_month = len(sizes) > _MOST_DAYS
    if by_month:
        sizes = sizes.resample("MS").sum()
    step = "month" if by_month else "day"
    figure, axes = _axes(f"Recordings before and after, by {step} of the call", f"bytes a {step}", empty=sizes.empty)
    if len(sizes):
        width = 24 if by_month else 0.8  # days
        axes.bar(sizes.index, sizes["bytes_before"], width, color=ORANGE, label="before")
        axes.bar(sizes.index, sizes["bytes_after"], width * 0.6, color=BLUE, label="after")
        axes.yaxis.set_major_formatter(_BYTES)
        _dates(axes)
        _legend(figure)
    return figure


def _saved(result: Savings, price_list: PriceList, as_of: date) -> Figure:
    saved = saved_by_day(result, as_of)
    spent = spent_by_day(result, price_list, pd.DatetimeIndex(saved.index))
    figure, axes = _axes("Saved so far, at list prices", "US dollars, cumulative", empty=len(saved) < 2)
    if len(saved) > 1:
        axes.plot(saved.index, saved, color=BLUE, label="storage saved, net of originals and tags")
        axes.plot(spent.index, spent, color=ORANGE, linestyle="--", label="spent: runs, worker, server")
        axes.plot(saved.index, saved - spent, color=GREEN, linewidth=2.5, label="net")
        axes.axhline(0, color="black", linewidth=0.8)
        axes.yaxis.set_major_formatter(_DOLLARS)
        _dates(axes)
        _legend(figure)
    return figure


def _projection(result: Savings, as_of: date, retention_years: float) -> Figure:
    future = projection(result, as_of, retention_years)
    figure, axes = _axes(
        f"Still to be saved by what is archived now, kept {retention_years:g} years", "US dollars, cumulative"
    )
    axes.plot(future["month"] / 12, future["released_usd"], color=BLUE, label="originals released today")
    axes.plot(future["month"] / 12, future["as_is_usd"], color=RED, linestyle="--", label="originals as they are now")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel(f"years from {as_of}")
    axes.yaxis.set_major_formatter(_DOLLARS)
    _legend(figure)
    return figure


def _reasons(result: Savings) -> Figure:
    reasons = by_reason(result).head(_MOST_REASONS)[::-1]
    figure, axes = _axes("Recordings not archived, by reason", empty=reasons.empty)
    if len(reasons):
        axes.barh(reasons["status"] + ": " + reasons["code"].fillna("?"), reasons["recordings"], 0.6, color=GREY)
        axes.bar_label(axes.containers[0], fmt="{:,.0f}", padding=3)  # type: ignore[arg-type]  # a BarContainer it is
        axes.set_xlabel("recordings")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.xaxis.set_major_formatter(_COUNTS)
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.12)
    return figure


def _fidelity(result: Savings) -> Figure:
    bins = result.fidelity
    figure, axes = _axes("Fidelity of the replacements", "recordings", empty=bins.empty)
    if len(bins):
        axes.bar(bins.index, bins, SNR_BIN_DB * 0.9, align="edge", color=BLUE)
        axes.set_xlim(min(20, bins.index[0]), max(50, bins.index[-1] + SNR_BIN_DB))
        axes.set_xlabel("signal to error ratio in dB; quiet calls have less, silence and lossless results none")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.yaxis.set_major_formatter(_COUNTS)
    return figure


def _durations(result: Savings) -> Figure:
    runs, title = _few(result.runs)
    unit, unit_s = ("seconds", 1) if runs["wall_s"].max() < 120 else ("minutes", 60)
    figure, axes = _axes(f"{title}: how long they took", unit, empty=runs.empty)
    if len(runs):
        axes.plot(runs.index, runs["wall_s"] / unit_s, "o", color=BLUE, markersize=4, label="from start to end")
        axes.plot(runs.index, runs["cpu_s"] / unit_s, "x", color=ORANGE, markersize=4, label="of it, CPU time")
        axes.set_ylim(bottom=0)
        _dates(axes)
        _legend(figure)
    return figure


def _cost(result: Savings) -> Figure:
    runs, title = _few(result.runs[result.runs["minutes"] > 0])
    figure, axes = _axes(f"{title}: cost per 1,000 minutes archived", "US dollars", empty=runs.empty)
    if len(runs):
        thousands = runs["minutes"] / 1000
        billed = (runs["marginal_usd"] + runs["waiting_usd"]) / thousands
        axes.plot(runs.index, billed, "o", color=ORANGE, markersize=4, label="with the task's whole time")
        marginal = runs["marginal_usd"] / thousands
        axes.plot(runs.index, marginal, "x", color=BLUE, markersize=4, label="requests, KMS, retrieval, CPU")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(_DOLLARS)
        _dates(axes)
        _legend(figure)
    return figure


def _few(runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The runs' figures by their start; of more than a chart can show, the mean by month."""
    by_start = runs.set_index("started_at")[["wall_s", "cpu_s", "minutes", "marginal_usd", "waiting_usd"]]
    if len(by_start) <= _MOST_DAYS:
        return by_start, "Runs"
    return by_start.resample("MS").mean().dropna(), "Runs, mean by month"
