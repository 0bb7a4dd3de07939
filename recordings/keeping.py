"""Ways of keeping recordings: what each costs and what it gives up, so that the person who pays can choose."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from recordings.formatting import plural
from recordings.gate import Kept, Terms, archiving_usd, cheapest_unconverted_usd, moving_usd, pays, staying_usd
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
    """Archived recordings that are treated as equal; byte counts are of one recording, as S3 bills it."""

    recordings: int
    kept: Kept
    moved_bytes: int  # in the class of the replacements, unconverted
    bytes_by_profile: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class WayOfKeeping:
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
    def is_wav(self) -> bool:
        """Whether the files are WAV, which every player opens: docs/playback.md."""
        return self.profile is None or PROFILES[self.profile].content_type == "audio/wav"

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


def ways_of_keeping(terms: Terms) -> Iterator[WayOfKeeping]:
    """All ways: no change, a lifecycle rule, and each profile with each grace period, including that of ``terms``."""
    yield WayOfKeeping(profile=None, terms=None)
    yield WayOfKeeping(profile=None, terms=terms)
    for name, profile in PROFILES.items():
        for grace_days in sorted({*GRACES_DAYS, terms.grace_days}):
            yield WayOfKeeping(profile=name, terms=replace(terms, profile=profile, grace_days=grace_days))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepingCost:
    """A way, and its expected cost for all recordings."""

    way: WayOfKeeping
    usd: float


def recommended(costs: Sequence[KeepingCost], terms: Terms) -> KeepingCost:
    """The cheapest of doing nothing, a lifecycle rule, and the profile and grace period of ``terms``.

    No other profile is recommended, even if it costs less: only the operator knows which players must open the results.
    """
    return min(
        (each for each in of_grace(costs, terms) if each.way.profile in (None, terms.profile.name)),
        key=lambda each: each.usd,
    )


def of_grace(costs: Sequence[KeepingCost], terms: Terms) -> list[KeepingCost]:
    """The ways that keep originals as long as ``terms`` say."""
    return [each for each in costs if not each.way.terms or each.way.terms.grace_days == terms.grace_days]
