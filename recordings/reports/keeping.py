"""The table of ways of keeping recordings, for the person who pays: what each costs, gives up, and which is best."""

from collections.abc import Callable, Sequence

from recordings.gate import Terms
from recordings.keeping import KeepingCost, WayOfKeeping, of_grace, recommended


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
    """The way that the table recommends, why, and what other profiles keep or save."""
    best, profile = recommended(costs, terms), terms.profile.name
    if best.way.terms is None:
        words = [f"Recommended: do nothing, because neither a lifecycle rule nor `{profile}` costs less."]
    else:
        words = [f"Recommended: {best.way}. Of doing nothing, a lifecycle rule and `{profile}`, this costs the least."]
    others = sorted(of_grace(costs, terms), key=lambda each: each.usd)
    if best.way.speakers == "mixed":
        apart = next(each for each in others if each.way.is_wav and each.way.speakers == "apart")
        more = f"{apart.way}, for {show(apart.usd - best.usd)} more"
        words.append(f"It mixes the two speakers; the cheapest way that keeps them apart in WAV files is {more}.")
    if others[0].usd < best.usd:
        words.append(f"{others[0].way} would cost {show(best.usd - others[0].usd)} less; {_but(others[0].way)}.")
    return " ".join(words)


def _but(way: WayOfKeeping) -> str:
    """What to know before choosing a way because it costs less."""
    if way.is_wav:
        return f"the two speakers are {way.speakers}"
    return "its files are not WAV, so first try each of your players with them (docs/playback.md)"
