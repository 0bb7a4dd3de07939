"""Legal holds: which cases hold a recording, as its tag or the audit table says.

Where the bucket has Object Lock, S3 enforces the hold. Elsewhere the tag ``legal-hold`` says it, with the names of the
cases between spaces. Every flow that deletes or replaces a recording asks for both.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd

from recordings.errors import InvalidRequest, Skipped
from recordings.marks import HOLD_TAG
from recordings.table.rows import AuditRow, Status

BEFORE = "held by others before"  # in the reason of a held row: lifting our cases leaves S3's own hold
UNNAMED = "unnamed"  # the case of a tag without a value
CASE = "case"  # the code of the reason in held and lifted rows
_MAX_TAG_VALUE = 256  # characters: "Categorizing your storage using tags" in the S3 user guide
Named = tuple[str, str | None]  # a key, and the case that holds it or has held it
Place = tuple[datetime, datetime]  # in the order of holds and lifts: by S3's clock, and within a second by the run's
_CASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@=+-]{0,63}")  # what a tag's value may have, but spaces


def check_case(case: str) -> str:
    """The case's name, trimmed. Raises InvalidRequest for a name that a tag could not carry."""
    name = case.strip()
    if not _CASE.fullmatch(name):
        raise InvalidRequest(
            f"case is {case!r}: give a name of at most 64 letters, digits and ._:/@=+- without spaces, "
            "such as 2026-CV-0147"
        )
    return name


def cases_in(tags: Mapping[str, str]) -> frozenset[str]:
    """The cases that the tag names. A tag without a value holds, too: whoever set it has named no case."""
    return frozenset(tags[HOLD_TAG].split() or [UNNAMED]) if HOLD_TAG in tags else frozenset()


def with_cases(tags: Mapping[str, str], cases: Iterable[str]) -> dict[str, str]:
    """The tags with these cases in place of those before. Raises Skipped if one tag cannot carry so many names."""
    others = {name: value for name, value in tags.items() if name != HOLD_TAG}
    value = " ".join(sorted(cases))
    if len(value) > _MAX_TAG_VALUE:
        raise Skipped("too-many-cases", f"a tag carries {_MAX_TAG_VALUE} characters, and these cases take {len(value)}")
    return {**others, HOLD_TAG: value} if value else others


def held_for(cases: Iterable[str]) -> Skipped:
    """The error for a recording that these cases hold."""
    return Skipped("held", f"held for {', '.join(sorted(cases))}")


def check_no_case_holds(tags: Mapping[str, str]) -> None:
    """Raises Skipped where the tag says that a case holds the recording, whatever its value."""
    if held_by := cases_in(tags):
        raise Skipped("held", f"held for {', '.join(sorted(held_by))}, as its tag {HOLD_TAG} says")


def reason_of(case: str) -> str:
    """The reason in the rows of this case."""
    return f"{CASE}: {case}"


def case_of(reason: str | None) -> str | None:
    """The case that a held or lifted row names; None in other reasons."""
    code, _, case = (reason or "").partition(": ")
    return case.partition("; ")[0] if code == CASE and case else None


def cases_by_key(rows: pd.DataFrame) -> dict[str, frozenset[str]]:
    """The cases that hold each recording, by the rows of its day: those that held it, and have not lifted it since."""
    return {key: frozenset(held.cases) for key, held in _told(rows).items() if held.cases}


def held_before(rows: pd.DataFrame) -> frozenset[str]:
    """The keys that others had held before ours: as the row says with which the present series of our holds began."""
    return frozenset(key for key, held in _told(rows).items() if held.was_before)


def last_places(rows: pd.DataFrame, status: Status) -> dict[Named, Place]:
    """By key and case, the place of the last row of this status in the order of holds and lifts."""
    told = in_order(rows[rows["status"].eq(status)]).dropna(subset=["state_at"])
    columns = told[["key", "reason", "state_at", "started_at"]].itertuples(index=False)
    return {(key, case_of(reason)): (at.to_pydatetime(), began.to_pydatetime()) for key, reason, at, began in columns}


def named_by(row: AuditRow) -> Named:
    """The key and the case of a held or lifted row."""
    return row.key, case_of(row.reason)


def place_of(row: AuditRow) -> Place:
    """Where a held or lifted row stands in the order of holds and lifts."""
    return row.state_at or row.started_at, row.started_at


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of holds and lifts in their order by S3's clock, which is one for all; within a second, by their runs'."""
    return rows.sort_values(["state_at", "started_at"], kind="stable")


@dataclass(slots=True)
class _Held:
    cases: set[str] = field(default_factory=set)
    was_before: bool = False


def _told(rows: pd.DataFrame) -> dict[str, _Held]:
    """What the held and lifted rows come to."""
    told = in_order(rows[rows["status"].isin((Status.HELD, Status.LIFTED))])
    found: dict[str, _Held] = {}
    for key, status, reason in told[["key", "status", "reason"]].itertuples(index=False):
        held, case = found.setdefault(key, _Held()), case_of(reason)
        if case and status == Status.HELD:
            held.was_before = f"; {BEFORE}" in reason or (bool(held.cases) and held.was_before)
            held.cases.add(case)
        elif case:
            held.cases.discard(case)
    return found
