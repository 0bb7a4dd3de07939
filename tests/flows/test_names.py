"""Names of runs in a list of runs."""

from datetime import date
from typing import Any

import pytest

from recordings.recording import open_span
from tasks.names import name_of

SCHEDULED = date(2026, 1, 24)
D = date.fromisoformat


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
    assert name_of("archive", parameters, SCHEDULED) == name


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
