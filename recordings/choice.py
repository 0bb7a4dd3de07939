"""The options of the person who pays: ways of keeping recordings, what each costs, and what it gives up."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from recordings.gate import Kept, Terms, archiving_usd, cheapest_unconverted_usd, moving_usd, pays, staying_usd
from recordings.glossary import plural
from recordings.pricing import PriceList
from recordings.profiles import PROFILES

GRACES_DAYS = (1, 7, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Convertible:
    """A recording that could be archived, and its size in bytes under each profile that can convert it."""

    kept: Kept
    bytes_by_profile: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Archived recordings that count as alike; byte counts are of one recording, as S3 bills it."""

    recordings: int
    kept: Kept
    moved_bytes: int  # in the class of the replacements, unconverted
    bytes_by_profile: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way of keeping recordings. Without a profile, recordings keep their bytes."""

    profile: str | None
    terms: Terms | None  # None: they stay where they are

    def __str__(self) -> str:
        if self.terms is None:
            return "do nothing"
        if self.profile is None:
            return f"lifecycle rule to {self.terms.storage_class}, no conversion"
        kept = plural(self.terms.grace_days, "day")
        return f"`{self.profile}` in {self.terms.storage_class}, originals kept {kept}"

    @property
    def speakers(self) -> str:
        """Whether agent and customer can be told apart by their channels."""
        return "mixed" if self.profile and PROFILES[self.profile].max_channels == 1 else "apart"

    @property
    def original(self) -> str:
        """For how long the original can be restored, bit for bit."""
        if self.profile is None or self.terms is None:
            return "is kept"
        if PROFILES[self.profile].codec == "flac":
            return "its sound is kept"
        return f"for {plural(self.terms.grace_days, 'day')}"

    def cost_usd(self, recording: Convertible, price_list: PriceList) -> float:
        """Cost of one recording until the end of its retention, in US dollars.

        A recording that is not worth converting stays, or a lifecycle rule moves it, whichever costs less.
        """
        if self.terms is None:
            return staying_usd(recording.kept, price_list)
        if self.profile is None:
            return moving_usd(recording.kept, self.terms.storage_class, price_list)
        bytes_after = recording.bytes_by_profile.get(self.profile)
        if bytes_after is None or not pays(recording.kept, bytes_after, self.terms, price_list):
            return cheapest_unconverted_usd(recording.kept, self.terms, price_list)
        return archiving_usd(recording.kept, bytes_after, self.terms, price_list)

    def cost_of_group_usd(self, group: Group, price_list: PriceList) -> float:
        """Cost of all recordings of a group, in US dollars; if the way converts, each of them is converted."""
        if self.terms is None:
            return group.recordings * staying_usd(group.kept, price_list)
        if self.profile is None:
            moved = replace(group.kept, size_bytes=group.moved_bytes)
            return group.recordings * moving_usd(moved, self.terms.storage_class, price_list)
        bytes_after = group.bytes_by_profile[self.profile]
        return group.recordings * archiving_usd(group.kept, bytes_after, self.terms, price_list)


def ways(terms: Terms) -> Iterator[Way]:
    """All ways: no change, a lifecycle rule, and each profile with each grace period, that of ``terms`` included."""
    yield Way(profile=None, terms=None)
    yield Way(profile=None, terms=terms)
    for name, profile in PROFILES.items():
        of_profile = replace(
            terms,
            cpu_s_per_minute=profile.cpu_s_per_minute,
            decoding_cpu_s_per_minute=profile.decoding_cpu_s_per_minute,
        )
        for grace_days in sorted({*GRACES_DAYS, terms.grace_days}):
            yield Way(profile=name, terms=replace(of_profile, grace_days=grace_days))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A way, and its expected cost for all recordings."""

    way: Way
    usd: float


def recommended(choices: Sequence[Choice], terms: Terms, *, apart: bool = False) -> Choice:
    """The cheapest way that keeps originals as long as ``terms`` say; with ``apart``, one that keeps speakers apart."""
    return min((each for each in choices if _is_open(each.way, terms, apart)), key=lambda each: each.usd)


def _is_open(way: Way, terms: Terms, apart: bool) -> bool:
    keeps_as_long = way.profile is None or way.terms is None or way.terms.grace_days == terms.grace_days
    return keeps_as_long and not (apart and way.speakers == "mixed")


def choice_table(choices: Sequence[Choice], terms: Terms, show: Callable[[float], str]) -> str:
    """The table in Markdown, most expensive way first, and its recommendation. ``show`` formats dollars."""
    nothing = next(each.usd for each in choices if each.way.terms is None)
    best = recommended(choices, terms)
    lines = [
        f"| {_bold(each, best)} | {show(each.usd)} | {show(nothing - each.usd)} | {each.way.speakers} | "
        f"{_opens(each.way)} | {each.way.original} |"
        for each in sorted(choices, key=lambda each: -each.usd)
    ]
    heading = "| way of keeping them | cost | saved | the two speakers | opens | the original |"
    return "\n".join([heading, "|---|--:|--:|---|---|---|", *lines, "", advice(choices, terms, show)])


def _bold(choice: Choice, best: Choice) -> str:
    return f"**{choice.way}**" if choice is best else str(choice.way)


def _opens(way: Way) -> str:
    """How fast a recording opens: at once in all classes that a run may choose; elsewhere as fast or slow as before."""
    return "as now" if way.terms is None else "at once"


def advice(choices: Sequence[Choice], terms: Terms, show: Callable[[float], str]) -> str:
    """The way that the table recommends, and why."""
    best, apart = recommended(choices, terms), recommended(choices, terms, apart=True)
    if best.way.terms is None:
        return "Recommended: do nothing, because no way costs less."
    words = f"Recommended: {best.way}. It costs the least of the ways that keep originals for as long as you set"
    if best is not apart:
        more = f"{apart.way}, for {show(apart.usd - best.usd)} more"
        return f"{words}. It mixes the two speakers into one channel; the cheapest way that keeps them apart is {more}."
    return f"{words}, and keeps the two speakers apart."
