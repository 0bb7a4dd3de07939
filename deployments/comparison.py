"""What a deploy makes of each setting: what the release wants, what Prefect has and what the last deploy wrote.

A value in Prefect that a deploy wrote belongs to the release, and a new release replaces it. Any other value was set by
people, and stays: docs/decisions/0070-a-deploy-keeps-what-people-set.md.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Key = tuple[str, ...]  # a path, as ("parameters", "bucket")
Settings = Mapping[Key, Any]
Digests = Mapping[str, str]  # a digest of each value, by its path in one word
SHOWN = 72  # characters of a value


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What Prefect has after the deploy, and a line for each difference: changed, or kept as people set it."""

    result: Settings
    changed: Sequence[str]
    kept: Sequence[str]


def compare(
    *, has: Settings, wants: Settings, written: Sequence[Digests], of_release: Callable[[Key], bool]
) -> Comparison:
    """Compare each setting.

    Args:
        has: what Prefect has
        wants: what the release says
        written: what deploys wrote; two states if the last deploy did not finish
        of_release: whether the release decides about this setting whatever people set
    """
    result, changed, kept = dict(has), [], []
    for key in sorted(has.keys() | wants.keys()):
        now, wanted = text_of(has, key), text_of(wants, key)
        if now == wanted:
            continue
        if not of_release(key) and not any(each.get(word(key)) == digest(now) for each in written):
            kept.append(f"  = {word(key)}: {_shown(now)} is kept; the release has {_shown(wanted)}")
            continue
        changed.append(_change(key, now, wanted))
        if key in wants:
            result[key] = wants[key]
        else:
            del result[key]
    return Comparison(result=result, changed=changed, kept=kept)


def digests(settings: Settings) -> dict[str, str]:
    """The digests of all values: a Variable of Prefect holds too few characters for the values themselves."""
    return {word(key): digest(text_of(settings, key)) or "" for key in settings}


def digest(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()[:10]


def word(key: Key) -> str:
    return ".".join(key)


def text_of(settings: Settings, key: Key) -> str | None:
    """The value as JSON; None if there is no such setting."""
    return json.dumps(settings[key], sort_keys=True) if key in settings else None


def under(settings: Settings, name: str) -> dict[str, Any]:
    """The settings below a name, as a dictionary of values and dictionaries."""
    nested: dict[str, Any] = {}
    for (first, *middle, last), value in ((key, value) for key, value in settings.items() if len(key) > 1):
        if first == name:
            place = nested
            for part in middle:
                place = place.setdefault(part, {})
            place[last] = value
    return nested


def _change(key: Key, now: str | None, wanted: str | None) -> str:
    if now is None:
        return f"  + {word(key)}: {_shown(wanted)}"
    if wanted is None:
        return f"  - {word(key)}: {_shown(now)}"
    if _shown(now) == _shown(wanted):  # they differ beyond what is shown
        return f"  ~ {word(key)}: {_shown(wanted)}"
    return f"  ~ {word(key)}: {_shown(now)} -> {_shown(wanted)}"


def _shown(text: str | None) -> str:
    if text is None:
        return "nothing"
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
