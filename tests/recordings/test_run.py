"""Parameters: what is left open is decided, what is wrong is said with the way out."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from recordings.errors import InvalidRequest
from recordings.run import Run

Plan = Callable[..., Run]
OPEN = {"start_date": None, "end_date": None}


def test_the_window_is_the_week_that_ended_a_week_before_the_schedule(plan: Plan) -> None:
    run = plan(**OPEN, scheduled_at=datetime(2026, 3, 20, 3, 30, tzinfo=UTC))
    assert (run.start_date, run.end_date) == (date(2026, 3, 7), date(2026, 3, 13))
    assert run.catches_up


@pytest.mark.parametrize(
    ("given", "window"),
    [
        ({"end_date": date(2026, 1, 10)}, (date(2026, 1, 4), date(2026, 1, 10))),
        ({"start_date": date(2026, 1, 10)}, (date(2026, 1, 10), date(2026, 1, 25))),
        ({"lookback_days": 1}, (date(2026, 1, 25), date(2026, 1, 25))),
        ({"min_age_days": 0, "lookback_days": 2}, (date(2026, 1, 31), date(2026, 2, 1))),
    ],
)
def test_what_is_given_counts(plan: Plan, given: dict[str, Any], window: tuple[date, date]) -> None:
    run = plan(**{**OPEN, **given})
    assert (run.start_date, run.end_date) == window


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"start_date": date(2026, 1, 2), "end_date": date(2026, 1, 1)},
            "start_date 2026-01-02 is later",
        ),
        ({"profile": "mp3"}, "profile 'mp3' is unknown: choose one of alaw-mono, alaw-stereo, flac-stereo"),
        ({"storage_class": "DEEP_ARCHIVE"}, "storage_class 'DEEP_ARCHIVE' is unknown: choose one of STANDARD, "),
        ({"accept": ["everything"]}, "accept 'everything' is unknown: choose one of unversioned, "),
        ({"bucket": " "}, "bucket is empty"),
        ({"audit_uri": ""}, "audit_uri is empty"),
        ({"prefixes": []}, "prefixes is []: give a list"),
        ({"prefixes": "connect/"}, "prefixes is 'connect/': give a list"),
        ({"batch_size": 0}, "batch_size is 0: it must be from 1 to 1000"),
        ({"readback_percent": 101}, "readback_percent is 101: it must be from 0 to 100"),
        ({"lookback_days": 0}, "lookback_days is 0"),
        ({"min_age_days": -1}, "min_age_days is -1"),
    ],
)
def test_says_what_is_wrong_and_the_way_out(plan: Plan, wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(sentence)):
        plan(**wrong)


def test_prefixes_end_in_a_slash_and_stand_once(plan: Plan) -> None:
    assert plan(prefixes=["a", "a/", "b/c/"]).prefixes == ("a/", "b/c/")
