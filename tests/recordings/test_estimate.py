"""Forecasts: exact where everything was looked at, and honest about how little a sample knows."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Protocol
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.calls import DAYS, demo_calls
from demo.calls import PREFIX as DEMO_PREFIX
from recordings.estimate import Forecast, Survey, forecast, look_at, ratio_estimate
from recordings.formatting import usd
from recordings.plan import Plan, days_of, list_day, survey_of
from recordings.pool import Pool
from recordings.preflight.canary import check_sight
from recordings.preflight.checks import check_bucket
from recordings.pricing import GB, MONTH_DAYS, load_prices
from recordings.profiles import PROFILES
from recordings.recording import Day, Recording
from recordings.reports.forecast import forecast_report
from recordings.resample import resample_batch
from recordings.run import Run
from recordings.s3.store import Store
from recordings.summary import tally
from recordings.table.files import open_table
from recordings.table.rows import AuditRow
from recordings.tag import tag_batch
from recordings.verify import verify_batch
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.fixtures import MakeCall, PlanRun, Stages
from tests.recordings.prices import US_EAST_1

PRICES = load_prices(US_EAST_1)


def a_recording(number: int, size_bytes: int = 1000, storage_class: str = "STANDARD") -> Recording:
    return Recording(
        bucket="b",
        key=key_of(number),
        recording_date=DAY,
        etag='"e"',
        size_bytes=size_bytes,
        storage_class=storage_class,
    )


class Estimate(Protocol):
    def __call__(self, run: Run, sample_size: int = ...) -> Forecast: ...


@pytest.fixture
def estimate(store: Store, pool: Pool) -> Estimate:
    def of(run: Run, sample_size: int = 200) -> Forecast:
        listing = list_day(store, open_table(run.audit_uri), Day(prefix=PREFIX, date=DAY), run)
        survey = Survey(listing.open, PRICES, sample_size=sample_size)
        return forecast(survey, look_at(store, survey.sample, run, pool), run, PRICES)

    return of


@pytest.mark.parametrize("profile", ["alaw-mono", "alaw-stereo"])
def test_a_forecast_of_everything_is_what_then_happens(
    bucket: Bucket, estimate: Estimate, run_stages: Stages, plan: PlanRun, a_call: MakeCall, profile: str
) -> None:
    for n in range(8):
        bucket.put(key_of(n), a_call(n, 1.0 + n))
    run = plan(bucket.name, profile=profile)
    ahead = estimate(run)
    sums = tally(run_stages(run))
    assert ahead.archived.expected == sums.counts["archived"] == 8
    assert (ahead.bytes_before.expected, ahead.bytes_after.expected) == (sums.bytes_before, sums.bytes_after)
    assert ahead.minutes.expected == pytest.approx(sums.minutes)
    released = sums.usd_per_month_before - sums.usd_per_month_after - sums.usd_per_month_tags
    assert ahead.saved_month.expected == pytest.approx(released)
    assert ahead.originals_month.expected == pytest.approx(sums.usd_per_month_originals)
    assert ahead.bytes_after.low == ahead.bytes_after.high
    assert "exact" in forecast_report(ahead, 6)


@pytest.mark.parametrize("profile", ["flac-stereo", "opus-dual"])
def test_a_size_that_depends_on_the_sound_is_never_exact(
    bucket: Bucket, estimate: Estimate, plan: PlanRun, a_call: MakeCall, profile: str
) -> None:
    """Not even if each recording was looked at; and what would be saved is as unsure as the sizes."""
    for n in range(3):
        bucket.put(key_of(n), a_call(n, 60.0))
    ahead = estimate(plan(bucket.name, profile=profile, storage_class="STANDARD", archive_unprofitable=True))
    least, most = PROFILES[profile].size_ratios
    before = ahead.bytes_before.expected
    assert (ahead.bytes_after.low, ahead.bytes_after.high) == pytest.approx((least * before, most * before), rel=0.01)
    saved = [PRICES.storage_month(before * (1 - share), "STANDARD") for share in (most, least)]
    tags = PRICES.tags_month(3)
    assert (ahead.saved_month.low + tags, ahead.saved_month.high + tags) == pytest.approx(saved, rel=0.01)
    text = forecast_report(ahead, 6)
    assert "| exact |" not in next(line for line in text.splitlines() if line.startswith("| bytes after"))
    assert "| exact |" not in next(line for line in text.splitlines() if line.startswith("| **saved per month"))
    assert "| exact |" in next(line for line in text.splitlines() if line.startswith("| bytes before"))


def test_nothing_is_written_and_nothing_but_heads_is_read(
    bucket: Bucket, estimate: Estimate, plan: PlanRun, a_call: MakeCall
) -> None:
    for n in range(5):
        bucket.put(key_of(n), a_call(n), Tagging="a=b")
    before, sent = bucket.snapshot(), len(bucket.requests())
    estimate(plan(bucket.name), sample_size=3)
    of_bucket = 2  # whose objects are, and its lifecycle rules
    assert bucket.requests_by_kind(sent) == {"LIST": 2, "GET": 3 + of_bucket, "GET tags": 3}
    assert bucket.snapshot() == before


def test_what_would_stay_is_said_by_reason(
    bucket: Bucket, estimate: Estimate, run_stages: Stages, plan: PlanRun, a_call: MakeCall, converted_by_others: bytes
) -> None:
    bucket.put(key_of(1), a_call(1))
    run_stages(plan(bucket.name))
    bucket.put(key_of(2), a_call(2)[:-9])
    bucket.put(key_of(3)[:-4] + ".txt", b"notes")
    bucket.put(key_of(4), converted_by_others, StorageClass="GLACIER_IR")
    bucket.put(key_of(5), a_call(5))
    ahead = estimate(plan(bucket.name, audit_uri="elsewhere"))
    assert ahead.reasons == {"found-archived": 1, "truncated": 1, "not-a-recording": 1, "found-converted": 1}
    assert (ahead.recordings, ahead.archived.expected) == pytest.approx((5, 1))


def test_calls_that_are_too_young_stay(bucket: Bucket, estimate: Estimate, plan: PlanRun, a_call: MakeCall) -> None:
    bucket.put(key_of(1), a_call(1))
    assert estimate(plan(bucket.name, min_age_days=300)).reasons == {"too-young": 1}


def test_an_empty_window_has_nothing_to_save(bucket: Bucket, estimate: Estimate, plan: PlanRun) -> None:
    ahead = estimate(plan(bucket.name))
    assert (ahead.recordings, ahead.saved_month.expected, ahead.cost.expected) == (0, 0, 0)
    assert "Nothing to archive" in forecast_report(ahead, 6)


def test_a_backlog_in_glacier_ir_pays_for_reading_and_for_its_shortest_time(
    bucket: Bucket, estimate: Estimate, plan: PlanRun, a_call: MakeCall
) -> None:
    body = a_call(1, 60.0)
    costs = {}
    for storage_class in ("STANDARD", "GLACIER_IR"):
        bucket.put(key_of(1), body, StorageClass=storage_class)
        costs[storage_class] = estimate(plan(bucket.name)).cost.expected
    age_days = (plan().scheduled_at - a_recording(1).recorded_at) / timedelta(days=1) + 7
    head_first = 0.01 / 1000
    extra = len(body) / GB * 0.03 + (0.01 - 0.0004) / 1000 + len(body) / GB * 0.004 * (90 - age_days) / MONTH_DAYS
    assert costs["GLACIER_IR"] - costs["STANDARD"] == pytest.approx(extra + head_first)


def test_surveys_add_up_to_the_survey_of_everything() -> None:
    recordings = [a_recording(n, 1000 + n, ("STANDARD", "GLACIER_IR")[n % 2]) for n in range(500)]
    whole = Survey(recordings, PRICES, sample_size=20)
    parts = Survey([], PRICES, sample_size=20)
    for start in range(0, 500, 70):
        parts.add(Survey(recordings[start : start + 70], PRICES, sample_size=20))
    assert (parts.count, parts.sample) == (500, whole.sample)
    assert parts.bytes_by_class == whole.bytes_by_class
    assert parts.billed_by_class["GLACIER_IR"] == 250 * 131072


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Skewed sizes, a tenth of them not archived: 95 % is promised, the normal approximation keeps a little less."""
    generator = random.Random(7)  # noqa: S311 (a simulation)
    sizes = [generator.lognormvariate(14, 0.8) for _ in range(5000)]
    after = [size / 4 if generator.random() < 0.9 else 0.0 for size in sizes]
    held = 0
    for _ in range(300):
        chosen = generator.sample(range(5000), 200)
        found = ratio_estimate([sizes[n] for n in chosen], [after[n] for n in chosen], sum(sizes), 5000)
        held += found.low <= sum(after) <= found.high
    assert 0.88 <= held / 300 <= 0.99


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=50), st.floats(0.1, 10))
def test_a_constant_ratio_has_no_uncertainty(sizes: list[float], ratio: float) -> None:
    found = ratio_estimate(sizes, [size * ratio for size in sizes], 1e12, 10**6)
    assert found.expected == pytest.approx(ratio * 1e12)
    assert found.high - found.low <= 1e-6 * found.expected


def test_the_report_says_how_sure_it_is(bucket: Bucket, estimate: Estimate, plan: PlanRun, a_call: MakeCall) -> None:
    for n in range(12):
        bucket.put(key_of(n), a_call(n, 1.0 + n) if n % 4 else a_call(n)[:-9])
    text = forecast_report(estimate(plan(bucket.name), sample_size=8), 6)
    assert "12 recordings left to archive" in text
    assert "the headers of 8 were read" in text
    assert " to " in text
    assert "| truncated | " in text
    assert "exact" not in text


def test_a_sample_in_which_all_are_alike_is_still_a_sample(
    bucket: Bucket, estimate: Estimate, plan: PlanRun, a_call: MakeCall
) -> None:
    for n in range(4):
        bucket.put(key_of(n), a_call(n, 1.0))
    text = forecast_report(estimate(plan(bucket.name), sample_size=3), 6)
    assert "| recordings archived | 4 | 4 to 4 |" in text
    assert "exact" not in text


@pytest.mark.slow
def test_what_is_called_exact_is_what_the_run_then_does_and_the_cost_is_close(
    bucket: Bucket, store: Store, pool: Pool, plan: PlanRun
) -> None:
    """On the demo's calls: with tags, one in ivr/, one truncated, one text file, one that was small already."""
    for call in demo_calls():
        properties = {"Tagging": urlencode(call.tags), "StorageClass": call.storage_class}
        bucket.put(call.key, call.body, **properties)
    run = plan(bucket.name, prefixes=[DEMO_PREFIX], start_date=DAYS[0], end_date=DAYS[-1])
    days = days_of(run, {})
    survey = survey_of([list_day(store, open_table(run.audit_uri), day, run) for day in days])
    ahead = forecast(survey, look_at(store, survey.sample, run, pool), run, PRICES)
    before = Counter(store.requests)
    rows = list(_archived(store, pool, run, days))
    asked = Counter(store.requests) - before

    sums = tally(rows)
    assert (ahead.archived.expected, ahead.minutes.expected) == pytest.approx((40, sums.minutes))
    assert (ahead.bytes_before.expected, ahead.bytes_after.expected) == (sums.bytes_before, sums.bytes_after)
    assert ahead.originals_month.expected == pytest.approx(sums.usd_per_month_originals)
    saved = sums.usd_per_month_before - sums.usd_per_month_after - sums.usd_per_month_tags
    assert ahead.saved_month.expected == pytest.approx(saved)
    text = forecast_report(ahead, 6)
    assert text.count("| exact |") == 6
    assert f"| cost, once | {usd(ahead.cost.expected)} | an estimate |" in text
    asked["PutObject"] -= 4  # probes that AWS does not get: it is known to honour If-Match
    cost = PRICES.requests(asked, run.storage_class) + PRICES.task(ahead.cpu_hours * 3600) + sums.usd_reading
    assert ahead.cost.expected == pytest.approx(cost, rel=0.02)
    of_one = 4 * 0.00001 + 2 * 0.0000004  # four expensive requests and two cheap ones
    assert ahead.cost_afterwards.expected == pytest.approx(40 * of_one, rel=0.01)
    assert usd(ahead.cost.expected + ahead.cost_afterwards.expected) in text


def _archived(store: Store, pool: Pool, run: Run, days: list[Day]) -> Iterator[AuditRow]:
    """As the flow does it, preflight and canary included."""
    check_bucket(store, run.prefixes, oldest_days=run.oldest_days, may_write=True, accept=[])
    store.sight = check_sight(store, run)
    for wave in Plan(days, [list_day(store, open_table(run.audit_uri), day, run) for day in days], run).waves:
        for batch in wave:
            yield from tag_batch(store, verify_batch(store, resample_batch(store, batch, run, pool), pool), pool)


def test_more_runs_ask_the_bucket_more_often(
    bucket: Bucket, store: Store, pool: Pool, plan: PlanRun, a_call: MakeCall
) -> None:
    bucket.put(key_of(1), a_call(1))
    run = plan(bucket.name)
    survey = Survey(list_day(store, open_table(run.audit_uri), Day(prefix=PREFIX, date=DAY), run).open, PRICES)
    looks = look_at(store, survey.sample, run, pool)
    once, often = (forecast(survey, looks, run, PRICES, runs=runs).cost for runs in (1, 10))
    assert often.expected > once.expected


def test_the_lot_does_not_follow_the_key() -> None:
    days = [DAY + timedelta(days=n // 50) for n in range(1000)]
    recordings = [
        Recording(
            bucket="b", key=key_of(n, day), recording_date=day, etag='"e"', size_bytes=1, storage_class="STANDARD"
        )
        for n, day in enumerate(days)
    ]
    sample = Survey(recordings, PRICES, sample_size=200).sample
    assert len({recording.recording_date for recording in sample}) == 20
