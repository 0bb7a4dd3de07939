"""The table of ways of keeping recordings, for the person who pays: what each costs, gives up, and which is best."""

from collections.abc import Callable, Sequence

from recordings.gate import Terms
from recordings.keeping import KeepingCost, WayOfKeeping, recommended


def keeping_table(costs: Sequence[KeepingCost], terms: Terms, show: Callable[[float], str]) -> str:
    """The table in Markdown, most expensive way first, and its recommendation. ``show`` formats dollars."""
    nothing = next(each.usd for each in costs if each.way.terms is None)
    best = recommended(costs, terms)
    lines = [
        f"| {_bold(each, best)} | {show(each.usd)} | {show(nothing - each.usd)} | {each.way.speakers} | "
        f"{_opens(each.way)} | {each.way.original} |"
        for each in sorted(costs, key=lambda each: -each.usd)
    ]
    heading = "| way of keeping them | cost | saved | the two speakers | opens | the original |"
    return "\n".join([heading, "|---|--:|--:|---|---|---|", *lines, "", advice(costs, terms, show)])


def _bold(cost: KeepingCost, best: KeepingCost) -> str:
    return f"**{cost.way}**" if cost is best else str(cost.way)


def _opens(way: WayOfKeeping) -> str:
    """How fast a recording opens: at once in all classes that a run may choose; elsewhere as fast or slow as before."""
    return "as now" if way.terms is None else "at once"


def advice(costs: Sequence[KeepingCost], terms: Terms, show: Callable[[float], str]) -> str:
    """The way that the table recommends, and why."""
    best, apart = recommended(costs, terms), recommended(costs, terms, apart=True)
    if best.way.terms is None:
        return "Recommended: do nothing, because no way costs less."
    words = f"Recommended: {best.way}. It costs the least of the ways that keep originals for as long as you set"
    if best is not apart:
        more = f"{apart.way}, for {show(apart.usd - best.usd)} more"
        return f"{words}. It mixes the two speakers into one channel; the cheapest way that keeps them apart is {more}."
    return f"{words}, and keeps the two speakers apart."
