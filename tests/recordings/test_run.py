"""Parameters: what is left open is decided, what is wrong is said with the way out."""

import re
from datetime import UTC, date, datetime
from typing import Any

import pytest
from botocore.handlers import validate_bucket_name
from hypothesis import given
from hypothesis import strategies as st

from recordings.errors import InvalidRequest
from recordings.jobs.engine.job import plan_job
from recordings.table.records import Kind
from tests.bucket import PREFIX
from tests.fixtures import PlanRun, Setting

BUCKETS = [
    ("s3://calls", "calls"),
    ("S3://calls/connect/acme", "calls"),
    ("arn:aws:s3:::calls", "calls"),
    ("arn:aws-us-gov:s3:::calls/connect", "calls"),
    ("calls/", "calls"),
    ("calls/connect", "calls"),
    ("Calls", "calls"),
    (" calls ", "calls"),
    ("https://calls.s3.eu-central-1.amazonaws.com/", "my-connect-bucket"),
    ("calls\n", "calls"),
    ("ab", "my-connect-bucket"),
    ("arn:aws:s3-object-lambda:eu-central-1:123456789012:accesspoint/calls", "my-connect-bucket"),
]
LEGAL_BUCKETS = [
    "calls",
    "calls.of-acme_2",
    "calls-ap-1a2b3c-s3alias",
    "arn:aws:s3:eu-central-1:123456789012:accesspoint/calls",
    "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint:calls",
    "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap",
]
PREFIXES = [
    ("s3://calls/connect/", "give what follows the bucket's name"),
    ("https://calls.s3.amazonaws.com/connect/", "give what follows the bucket's name"),
    ("arn:aws:s3:::calls/connect/", "give what follows the bucket's name"),
    ("/connect/acme/", "keys begin without a slash, as 'connect/acme/'"),
    ("/", "keys begin without a slash, as ''"),
    ("  ", "take the spaces out"),
    (" connect/", "take the spaces out"),
    ("connect/\n", "take the spaces out"),
]
OPEN: dict[str, Any] = {"start_date": None, "end_date": None}


def test_the_window_is_the_week_that_ended_a_week_before_the_schedule(plan: PlanRun) -> None:
    run = plan(**OPEN, scheduled_at=datetime(2026, 3, 20, 3, 30, tzinfo=UTC))
    assert (run.start_date, run.end_date) == (date(2026, 3, 7), date(2026, 3, 13))
    assert run.catches_up


def test_a_run_keeps_the_grace_with_which_it_was_planned(plan: PlanRun, setting: Setting) -> None:
    setting(GRACE_DAYS=12)
    run = plan()
    setting(GRACE_DAYS=13)
    assert (run.grace_days, run.terms.grace_days) == (12, 12)


@pytest.mark.parametrize(
    ("given", "window"),
    [
        ({"end_date": date(2026, 1, 10)}, (date(2026, 1, 4), date(2026, 1, 10))),
        ({"start_date": date(2026, 1, 10)}, (date(2026, 1, 10), date(2026, 1, 25))),
        ({"lookback_days": 1}, (date(2026, 1, 25), date(2026, 1, 25))),
        ({"min_age_days": 0, "lookback_days": 2}, (date(2026, 1, 31), date(2026, 2, 1))),
    ],
)
def test_what_is_given_counts(plan: PlanRun, given: dict[str, Any], window: tuple[date, date]) -> None:
    run = plan(**{**OPEN, **given})
    assert (run.start_date, run.end_date) == window


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"start_date": date(2026, 1, 2), "end_date": date(2026, 1, 1)},
            "start_date 2026-01-02 is later",
        ),
        ({"profile": "mp3"}, "profile 'mp3' is unknown: choose one of alaw-mono, alaw-stereo, flac-stereo, opus-dual"),
        ({"storage_class": "DEEP_ARCHIVE"}, "storage_class 'DEEP_ARCHIVE' is unknown: choose one of STANDARD, "),
        ({"accept": ["everything"]}, "accept 'everything' is unknown: choose one of unversioned, "),
        ({"start_date": date(2999, 1, 1), "end_date": None}, "start_date 2999-01-01 lies in the future: today is "),
        ({"bucket": " "}, "bucket is empty"),
        *[
            ({"bucket": typed}, f"bucket is {typed!r}: give the bare name, such as {meant!r}")
            for typed, meant in BUCKETS
        ],
        *[({"prefixes": [PREFIX, typed]}, f"prefixes has {typed!r}: {way_out}") for typed, way_out in PREFIXES],
        ({"prefixes": [PREFIX, ""]}, "'' is the whole bucket; leave '' or the others out"),
        ({"audit_uri": ""}, "audit_uri is empty"),
        ({"prefixes": []}, "prefixes is []: give a list"),
        ({"prefixes": "connect/"}, "prefixes is 'connect/': give a list"),
        ({"batch_size": 0}, "batch_size is 0: it must be from 1 to 1000"),
        ({"readback_percent": 101}, "readback_percent is 101: it must be from 0 to 100"),
        ({"lookback_days": 0}, "lookback_days is 0"),
        ({"min_age_days": -1}, "min_age_days is -1"),
    ],
)
def test_says_what_is_wrong_and_the_way_out(plan: PlanRun, wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(sentence)):
        plan(**wrong)


@pytest.mark.parametrize("typed", [typed for typed, _ in BUCKETS])
def test_a_job_refuses_the_same_buckets(typed: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(f"bucket is {typed!r}")):
        plan_job(Kind.RELEASE, bucket=typed, audit_uri="audit")


@pytest.mark.parametrize(("typed", "way_out"), PREFIXES)
def test_a_job_refuses_the_same_prefixes(typed: str, way_out: str) -> None:
    said = f"prefixes has {typed!r}: {way_out}" if typed.strip() else "prefixes has an empty entry"
    with pytest.raises(InvalidRequest, match=re.escape(said)):
        plan_job(Kind.RELEASE, bucket="calls", audit_uri="audit", prefixes=[typed])


def test_a_job_refuses_dates_to_come() -> None:
    with pytest.raises(InvalidRequest, match="lies in the future"):
        plan_job(Kind.RESTORE, bucket="calls", audit_uri="audit", start_date=date(2999, 1, 1))


@pytest.mark.parametrize("bucket", LEGAL_BUCKETS)
def test_buckets_and_access_points_are_taken_as_boto3_takes_them(plan: PlanRun, bucket: str) -> None:
    assert plan(bucket).bucket == bucket
    validate_bucket_name({"Bucket": bucket})  # raises what it does not take


@given(st.text(), st.text())
def test_whatever_is_typed_is_refused_in_words_or_taken_whole(bucket: str, prefix: str) -> None:
    try:
        job = plan_job(Kind.RELEASE, bucket=bucket, audit_uri="audit", prefixes=[prefix])
    except InvalidRequest as error:
        assert str(error).startswith(("bucket", "prefixes"))  # noqa: PT017 (what is not refused is checked as well)
    else:
        assert job.bucket == bucket
        assert job.prefixes[0].startswith(prefix.rstrip("/"))


def test_a_window_does_not_begin_before_there_were_recordings(plan: PlanRun) -> None:
    assert plan(**{**OPEN, "end_date": date(2000, 1, 3)}).start_date == date(2000, 1, 1)


@pytest.mark.parametrize("dates", [{"start_date": date(206, 1, 12)}, {"end_date": date(2206, 1, 12)}])
def test_a_mistyped_year_is_refused(plan: PlanRun, dates: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=f"{next(iter(dates))} .* (check the year|lies in the future)"):
        plan(**dates)


def test_prefixes_end_in_a_slash_and_stand_once(plan: PlanRun) -> None:
    assert plan(prefixes=["a", "a/", "b/c/"]).prefixes == ("a/", "b/c/")
