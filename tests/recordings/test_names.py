"""Names of flow runs in a list of runs."""

from datetime import date
from typing import Any

import pytest

from recordings.backfill.portions import Portion
from recordings.recording import open_span
from recordings.reports.names import job_name, portion_name, run_name
from recordings.table.records import Kind

SCHEDULED = date(2026, 1, 24)
D = date.fromisoformat
DAY, END = D("2026-01-12"), D("2026-01-18")


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"start_date": D("2026-01-17"), "end_date": D("2026-01-17")}, "archive 2026-01-17"),
        ({"start_date": D("2026-01-17"), "end_date": D("2026-01-17"), "shard": "3f"}, "archive 2026-01-17 3f"),
        ({"start_date": D("2026-01-12"), "end_date": D("2026-01-17")}, "archive 2026-01-12 ... 2026-01-17"),
        ({"start_date": D("2026-01-01"), "end_date": D("2026-03-31")}, "archive 2026-01 ... 2026-03"),
        ({"start_date": D("2026-02-01"), "end_date": D("2026-02-28"), "dry_run": True}, "dry run: archive 2026-02"),
        ({"start_date": None, "end_date": None, "min_age_days": 7}, "archive 2026-01-11 ... 2026-01-17"),
        ({"end_date": D("2026-01-03"), "lookback_days": 2}, "archive 2026-01-02 ... 2026-01-03"),
        ({"start_date": D("2026-01-17"), "end_date": D("2026-01-01")}, "archive"),  # the run itself says what is wrong
        ({"min_age_days": 10**6}, "archive"),
    ],
)
def test_a_name_says_what_and_when(parameters: dict[str, Any], name: str) -> None:
    assert run_name("archive", parameters, SCHEDULED) == name


def test_a_run_of_a_backfill_has_the_name_that_it_will_give_itself() -> None:
    assert portion_name(Portion(date=DAY)) == "archive 2026-01-12"
    assert portion_name(Portion(date=DAY, shard="3f")) == "archive 2026-01-12 3f"


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2026-01-01", "2026-01-31", "2026-01"),
        ("2026-01-12", "", "from 2026-01-12"),
        ("", "2026-01-12", "up to 2026-01-12"),
    ],
)
def test_a_range_may_be_open(start: str, end: str, words: str) -> None:
    assert open_span(D(start) if start else None, D(end) if end else None) == words


NOTHING: dict[str, Any] = {
    "bucket": "calls", "contact_ids": None, "start_date": None, "end_date": None, "prefixes": None, "run_id": None,
    "everything": False, "dry_run": False, "repair": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "given", "name"),
    [
        (Kind.RESTORE, {}, "restore nothing selected"),
        (Kind.RESTORE, {"everything": True, "dry_run": True}, "dry run: restore everything"),
        (Kind.RESTORE, {"contact_ids": ["a", "b", "c"]}, "restore 3 contacts"),
        (Kind.RESTORE, {"contact_ids": ["a"], "run_id": " r "}, "restore contact a, run r"),
        (Kind.RESTORE, {"start_date": DAY, "end_date": DAY}, "restore 2026-01-12"),
        (Kind.RESTORE, {"start_date": DAY, "prefixes": ["connect/"]}, "restore from 2026-01-12, below connect/"),
        (Kind.FIXITY, {"dry_run": True, "prefixes": ["connect/"]}, "dry run: check calls, below connect/"),
        (Kind.RELEASE, {"dry_run": True}, "dry run: release originals of calls"),
        (Kind.RELEASE, {"end_date": DAY}, "release originals of calls, up to 2026-01-12"),
        (Kind.RECONCILE, {"start_date": DAY, "end_date": END}, "compare table and calls, 2026-01-12 ... 2026-01-18"),
        (Kind.RECONCILE, {"start_date": DAY, "end_date": DAY, "repair": True}, "repair table and calls, 2026-01-12"),
        (Kind.RECONCILE, {}, "compare table and calls, 2026-01-11 ... 2026-01-17"),
        (Kind.RECONCILE, {"start_date": END, "end_date": DAY}, "compare table and calls, 2026-01-18 ... 2026-01-12"),
    ],
)  # fmt: skip
def test_a_run_is_called_by_what_it_does_and_to_what(kind: Kind, given: dict[str, Any], name: str) -> None:
    assert job_name(kind, {**NOTHING, **given}, SCHEDULED) == name
