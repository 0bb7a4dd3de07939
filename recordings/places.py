"""Can anything be found below these prefixes? A misspelt prefix lists nothing, which looks like nothing to do."""

import re
from collections.abc import Sequence

from recordings.errors import StoreRefused
from recordings.finding import NOTHING_BELOW, Finding, Severity, block
from recordings.s3.store import Store

_OF_DAYS = re.compile(r"[0-9]{4}/|ivr/")  # directly below a prefix of Connect's lie years and the IVR's folder
_MAX_NAMED = 5


def nothing_below(store: Store, prefixes: Sequence[str]) -> list[Finding]:
    """A finding per prefix below which no day can lie; they block if that is so for all. Raises StoreRefused."""
    empty = [prefix for prefix in prefixes if not _may_hold_days(store, prefix)]
    finding = block if len(empty) == len(prefixes) else _warning
    return [finding(*_said_of(prefix, _there(store, prefix))) for prefix in empty]


def _said_of(prefix: str, there: str) -> tuple[str, str, str]:
    return (
        NOTHING_BELOW,
        f"No YYYY/MM/DD/ lies below prefix {prefix!r}; {there}.",
        "Give what comes before the year's folder, with the same capitals, such as connect/<alias>/CallRecordings/.",
    )


def _warning(code: str, sentence: str, way_out: str) -> Finding:
    return Finding(code=code, severity=Severity.WARN, sentence=sentence, way_out=way_out)


def _may_hold_days(store: Store, prefix: str) -> bool:
    names, are_all = store.names_below(prefix)
    return not are_all or any(map(_OF_DAYS.fullmatch, names))


def _there(store: Store, prefix: str) -> str:
    """What lies below the prefix, or, if nothing does, below the nearest folder above that holds anything."""
    try:
        names, _ = store.names_below(prefix)
        while not names and prefix:
            prefix = prefix.rstrip("/").rpartition("/")[0]
            prefix += "/" if prefix else ""
            names, _ = store.names_below(prefix)
    except StoreRefused:  # a role may be allowed to list only its own prefixes
        return f"the role may not list what lies below {prefix!r}"
    shown = ", ".join(names[:_MAX_NAMED]) + (", ..." if len(names) > _MAX_NAMED else "")
    return f"what lies below {prefix!r}: {shown or 'nothing'}"
