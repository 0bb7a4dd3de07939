"""What the person who pays can choose from: ways of keeping recordings, what each costs, and what it gives up."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from recordings.gate import Kept, Terms, archiving_usd, cheapest_unconverted_usd, moving_usd, pays, staying_usd
from recordings.glossary import plural
from recordings.pricing import PriceList
from recordings.profiles import PROFILES

GRACES_DAYS = (1, 7, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Convertible:
    """A recording that could be archived, and what it would come to under each profile that takes it, in bytes."""

    kept: Kept
    bytes_by_profile: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Archived recordings taken as alike: bytes are of one of them, as S3 bills it."""

    recordings: int
    kept: Kept
    moved_bytes: int  # in the class of the replacements, unconverted
    bytes_by_profile: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way of keeping recordings; without a profile, they keep their bytes."""

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
        """For how long the original sound can be had back, bit for bit."""
        if self.profile is None or self.terms is None:
            return "is kept"
        if PROFILES[self.profile].codec == "flac":
            return "its sound is kept"
        return f"for {plural(self.terms.grace_days, 'day')}"

    def cost_usd(self, recording: Convertible, price_list: PriceList) -> float:
        """One recording until the end of its retention. What does not pay to be converted, a lifecycle rule moves."""
        if self.terms is None:
            return staying_usd(recording.kept, price_list)
        if self.profile is None:
            return moving_usd(recording.kept, self.terms.storage_class, price_list)
        bytes_after = recording.bytes_by_profile.get(self.profile)
        if bytes_after is None or not pays(recording.kept, bytes_after, self.terms, price_list):
            return cheapest_unconverted_usd(recording.kept, self.terms, price_list)
        return archiving_usd(recording.kept, bytes_after, self.terms, price_list)

    def cost_of_group_usd(self, group: Group, price_list: PriceList) -> float:
        """All of a group, every one converted if the way converts: they were."""
        if self.terms is None:
            return group.recordings * staying_usd(group.kept, price_list)
        if self.profile is None:
            moved = replace(group.kept, size_bytes=group.moved_bytes)
            return group.recordings * moving_usd(moved, self.terms.storage_class, price_list)
        bytes_after = group.bytes_by_profile[self.profile]
        return group.recordings * archiving_usd(group.kept, bytes_after, self.terms, price_list)


def ways(terms: Terms) -> Iterator[Way]:
    """Nothing, a lifecycle rule, and each profile with each grace, that of ``terms`` included."""
    yield Way(profile=None, terms=None)
    yield Way(profile=None, terms=terms)
    for profile in PROFILES:
        for grace_days in sorted({*GRACES_DAYS, terms.grace_days}):
            yield Way(profile=profile, terms=replace(terms, grace_days=grace_days))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A way, and what it costs for all recordings, expected."""

    way: Way
    usd: float


def recommended(choices: Sequence[Choice], terms: Terms, *, apart: bool = False) -> Choice:
    """The cheapest of those that keep originals for as long as ``terms`` say; ``apart``: and the speakers apart."""
    return min((each for each in choices if _is_open(each.way, terms, apart)), key=lambda each: each.usd)


def _is_open(way: Way, terms: Terms, apart: bool) -> bool:
    return (way.profile is None or way.terms == terms) and not (apart and way.speakers == "mixed")


def choice_table(choices: Sequence[Choice], terms: Terms, show: Callable[[float], str]) -> str:
    """The table in Markdown, dearest way first, and what it recommends. ``show`` writes dollars."""
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
    """All classes that a run may choose can be read at once; what lies in another one stays as slow as it is."""
    return "as now" if way.terms is None else "at once"


def advice(choices: Sequence[Choice], terms: Terms, show: Callable[[float], str]) -> str:
    """What the table recommends, and why."""
    best, apart = recommended(choices, terms), recommended(choices, terms, apart=True)
    if best.way.terms is None:
        return "Recommended: do nothing, because no way costs less."
    words = f"Recommended: {best.way}. It costs the least of the ways that keep originals for as long as you set"
    if best is not apart:
        more = f"{apart.way}, for {show(apart.usd - best.usd)} more"
        return f"{words}. It mixes the two speakers into one channel; the cheapest way that keeps them apart is {more}."
    return f"{words}, and keeps the two speakers apart."
