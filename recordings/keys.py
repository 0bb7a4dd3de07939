"""The keys that Connect and Contact Lens give to what they store of a contact: no other module knows these layouts.

Sources: "Output file locations for files analyzed by conversational analytics" in the Amazon Connect administrator
guide; the folders below ``ivr/`` are not in that guide, but buckets have them (recordings of the IVR, and analyses of
automated interactions). Contact Lens writes below ``Analysis/`` at the root of the bucket, not below the prefix of the
recordings. Its folder and time are those of the moment at which an agent was connected, so its day may differ from
the day on which the contact began.

A name is what AWS promises, not proof: whoever acts on a contact should name keys, too, where that matters.
``ARCHIVE_KEY_PATTERNS`` adds the layouts of imported recordings.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache

from recordings.settings import KeyPattern, settings

# It checks shapes only: the calendar decides whether a day or time exists.
_DAY_FOLDER = re.compile(r"(?P<above>(?:.*/)?)(?P<day>[0-9]{4}/[0-9]{2}/[0-9]{2})/(?P<name>[^/]*)\Z", re.DOTALL)
_IN_DAY = re.compile(r"(?:.*/)?(?P<day>[0-9]{4}/[0-9]{2}/[0-9]{2})/", re.DOTALL)  # at whatever depth: runs archive it
_FEW_CONTACTS = 3  # one takes some 60 listings per day; a whole day of a large centre takes 200
_CONTACT_FIRST = "(?P<contact_id>"
_TO_THE_MINUTE = (r"[0-9]{8}T[0-9]{2}:[0-9]{2}", "%Y%m%dT%H:%M")
_TO_THE_SECOND = (r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}", "%Y-%m-%dT%H:%M:%S")


class Content(StrEnum):
    """What an object holds of a contact."""

    RECORDING = "recording"  # of the agent and the customer
    IVR_RECORDING = "ivr-recording"  # of the customer and the automated system
    REDACTED_RECORDING = "redacted-recording"
    ANALYSIS = "analysis"  # the transcript and what Contact Lens found in it
    REDACTED_ANALYSIS = "redacted-analysis"


OF_CONTACT_LENS = (Content.ANALYSIS, Content.REDACTED_ANALYSIS, Content.REDACTED_RECORDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How one writer names what it stores: ``<folder>YYYY/MM/DD/<file name>``."""

    name: str
    holds: Content
    folders: tuple[str, ...]  # what comes before the day; the last part of it, or "" for any
    file_name: re.Pattern[str]  # has the group contact_id, and time where the name says it
    time_format: str  # of strptime, in UTC where it names no zone


def _name(ending: str, time: str) -> re.Pattern[str]:
    return re.compile(rf"{_CONTACT_FIRST}[^/]+?){ending.replace('<time>', f'(?P<time>{time})')}", re.DOTALL)


# Analyses of the IVR lie in folders of their own, and where their redacted copies lie, no document says.
_REDACTED = ("Analysis/Voice/Redacted/", "Analysis/Voice/ivr/Redacted/", "Analysis/Voice/Redacted/ivr/")
_ANALYSES = ("Analysis/Voice/", "Analysis/Voice/ivr/")
_BELOW_THE_PREFIX = (("",), ("ivr/",))  # the folders of what lies below an instance's prefix for recordings
_CONTACT_LENS = (
    Layout(
        name="Contact Lens, redacted recordings",
        holds=Content.REDACTED_RECORDING,
        folders=_REDACTED,
        file_name=_name(r"_call_recording_redacted_<time>Z\.wav", _TO_THE_SECOND[0]),
        time_format=_TO_THE_SECOND[1],
    ),
    Layout(
        name="Contact Lens, redacted analyses",
        holds=Content.REDACTED_ANALYSIS,
        folders=_REDACTED,
        file_name=_name(r"_analysis_redacted_<time>Z\.json", _TO_THE_SECOND[0]),
        time_format=_TO_THE_SECOND[1],
    ),
    Layout(
        name="Contact Lens, analyses",
        holds=Content.ANALYSIS,
        folders=_ANALYSES,
        file_name=_name(r"_analysis_<time>Z\.json", _TO_THE_SECOND[0]),
        time_format=_TO_THE_SECOND[1],
    ),
)
_CONNECT = (  # any file name that ends in the time fits these
    Layout(
        name="Connect, recordings of the IVR",
        holds=Content.IVR_RECORDING,
        folders=("ivr/",),
        file_name=_name(r"_<time>_UTC\.wav", _TO_THE_MINUTE[0]),
        time_format=_TO_THE_MINUTE[1],
    ),
    Layout(
        name="Connect, recordings of agents",
        holds=Content.RECORDING,
        folders=("",),
        file_name=_name(r"_<time>_UTC\.wav", _TO_THE_MINUTE[0]),
        time_format=_TO_THE_MINUTE[1],
    ),
)


def layouts() -> tuple[Layout, ...]:
    """All layouts: those of ``ARCHIVE_KEY_PATTERNS`` before Connect's, which fit some names of other recorders, too."""
    return (*_CONTACT_LENS, *_of_settings(settings().key_patterns), *_CONNECT)


@cache
def _of_settings(patterns: tuple[KeyPattern, ...]) -> tuple[Layout, ...]:
    return tuple(
        Layout(
            name=each.name,
            holds=Content.RECORDING,
            folders=(each.folder,),
            file_name=re.compile(each.file_name, re.DOTALL),
            time_format=each.time_format,
        )
        for each in patterns
    )


def contact_of(key: str) -> str | None:
    """The contact id in a key; None where the file's name is of no known form."""
    return next((match["contact_id"] for _, match in _matches(key)), None)


def time_of(key: str) -> datetime | None:
    """The UTC time in a key; None also where the time does not exist, as 24:00, or the name says none."""
    layout, match = next(_matches(key), (None, None))
    if layout is None or match is None or match.groupdict().get("time") is None:
        return None
    return _parsed(match["time"], layout.time_format)


def date_of(key: str) -> date | None:
    """The UTC day of the innermost such folder in a key; None also where the day does not exist, as 2026/02/30/."""
    match = _IN_DAY.match(key)
    moment = _parsed(match["day"], "%Y/%m/%d") if match else None
    return moment.date() if moment else None


def layout_of(key: str) -> Layout | None:
    """The layout of a key, by its folder and its file's name; None where no layout fits both."""
    return next((layout for layout, _ in _matches(key) if _lies_in(layout, key)), None)


def prefix_of(key: str) -> str:
    """The prefix that leads to a key of a known layout, as ``places_of`` takes it; empty for other keys."""
    found, layout = _DAY_FOLDER.match(key), layout_of(key)
    if not found or not layout:
        return ""
    folders = [folder for folder in layout.folders if f"/{found['above']}".endswith(f"/{folder}" if folder else "/")]
    return found["above"].removesuffix(max(folders, key=len))


def _lies_in(layout: Layout, key: str) -> bool:
    found = _DAY_FOLDER.match(key)
    above = f"/{found['above']}" if found else "/"
    return above.endswith(tuple(f"/{folder}" for folder in layout.folders))


def _matches(key: str) -> Iterator[tuple[Layout, re.Match[str]]]:
    """The layouts that the file's name fits, those first that the folder fits, too."""
    name = key.rpartition("/")[2]
    found = ((layout, layout.file_name.fullmatch(name)) for layout in layouts())
    fitting = [(layout, match) for layout, match in found if match and match["contact_id"]]
    return iter(sorted(fitting, key=lambda each: not _lies_in(each[0], key)))


def _parsed(text: str, form: str) -> datetime | None:
    try:
        moment = datetime.strptime(text, form)  # noqa: DTZ007 (a zone only where the form has one)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def day_folders(prefix: str, day: date) -> tuple[str, str]:
    """Where Connect puts a day's recordings below a prefix: those of agents, and those of its IVR."""
    return f"{prefix}{day:%Y/%m/%d}/", f"{prefix}ivr/{day:%Y/%m/%d}/"


def places_of(
    contact_id: str, prefix: str, dates: Iterable[date], holds: Collection[Content] = tuple(Content)
) -> list[str]:
    """The prefixes to list to find everything that the bucket holds of a contact, in order, each once.

    ``prefix`` is where an instance's recordings lie; ``dates`` are the UTC days of the call. The day before the first
    and the day after the last are looked at, too, because Contact Lens may count the call to another day. Contact Lens
    and the imported recordings are looked for at the root of the bucket and in each folder that leads to ``prefix``.
    ``holds`` narrows what is looked for.
    What the listing shows is of the contact only if ``contact_of(key) == contact_id``: other ids may begin alike.
    """
    days = _with_neighbours(dates)
    return list(outermost(place for day in days for place in _places_on(day, contact_id, prefix, holds)))


def few_or_all(contact_ids: Collection[str]) -> Collection[str]:
    """The ids to give ``places_of``: for many contacts the empty id, since listing whole days takes fewer requests."""
    return contact_ids if len(contact_ids) <= _FEW_CONTACTS else ("",)


def outermost(places: Iterable[str]) -> Iterator[str]:
    """The places in order, without those that lie within another."""
    last: str | None = None
    for place in sorted(places):
        if last is None or not place.startswith(last):
            yield place
            last = place


def _places_on(day: date, contact_id: str, prefix: str, holds: Collection[Content]) -> Iterator[str]:
    for layout in (each for each in layouts() if each.holds in holds):
        begins_with = contact_id if layout.file_name.pattern.startswith(_CONTACT_FIRST) else ""
        below = [prefix] if layout.folders in _BELOW_THE_PREFIX else _roots(prefix)
        yield from (f"{root}{folder}{day:%Y/%m/%d}/{begins_with}" for root in below for folder in layout.folders)


def _with_neighbours(dates: Iterable[date]) -> set[date]:
    ordinals = {day.toordinal() + shift for day in dates for shift in (-1, 0, 1)}
    return {date.fromordinal(each) for each in ordinals if date.min.toordinal() <= each <= date.max.toordinal()}


def _roots(prefix: str) -> Iterator[str]:
    """``a/b/`` has the roots "", ``a/`` and ``a/b/``."""
    yield ""
    yield from (prefix[: match.end()] for match in re.finditer("/", prefix))


def all_places(prefix: str) -> list[str]:
    """The prefixes to list to find everything of any contact, whatever the day: in order, none within another."""
    of_others = (layout for layout in layouts() if layout.folders not in _BELOW_THE_PREFIX)
    tops = {folder[: folder.find("/") + 1] for layout in of_others for folder in layout.folders}
    return list(outermost([prefix, *(f"{root}{top}" for root in _roots(prefix) for top in tops)]))
