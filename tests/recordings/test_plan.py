"""Which recordings a run looks at, and how they are packed."""

import uuid
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.estimate import look_at
from recordings.observed import listed_row
from recordings.plan import Listing, Plan, days_of, list_day, pack
from recordings.pool import Pool
from recordings.recording import Day, Recording, Window
from recordings.run import Run
from recordings.s3.store import Store
from recordings.table.files import open_table
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.fixtures import PlanRun


def recording(number: int, *, size_bytes: int = 100, day: date = DAY, folder: str = "") -> Recording:
    key = key_of(number, day, folder)
    return Recording(
        bucket="b", key=key, recording_date=day, etag='"e"', size_bytes=size_bytes, storage_class="STANDARD"
    )


def listing(*recordings: Recording) -> Listing:
    return Listing(Day(prefix=PREFIX, date=DAY), recordings, 0)


def listed(store: Store, run: Run, prefix: str = PREFIX) -> Listing:
    return list_day(store, open_table(run.audit_uri), Day(prefix=prefix, date=DAY), run)


def test_lists_agents_and_ivr_recordings_of_the_day(bucket: Bucket, plan: PlanRun, store: Store) -> None:
    wanted = [key_of(1), key_of(2, folder="ivr/")]
    for key in [*wanted, key_of(3, DAY + timedelta(days=1)), f"{PREFIX}{DAY:%Y/%m/%d}/", "Analysis/Voice/x.json"]:
        bucket.put(key, b"x")
    found = listed(store, plan(bucket.name)).open
    assert [each.key for each in found] == wanted
    assert {each.recording_date for each in found} == {DAY}


@pytest.mark.slow
def test_lists_more_than_a_page(bucket: Bucket, plan: PlanRun, store: Store, pool: Pool) -> None:
    pool.map(lambda number: bucket.put(key_of(number), b"x"), range(1003))
    assert len(listed(store, plan(bucket.name)).open) == 1003


def test_odd_keys_survive_the_listing(bucket: Bucket, plan: PlanRun, store: Store) -> None:
    keys = sorted(f"{PREFIX}{DAY:%Y/%m/%d}/{name}.wav" for name in ("a b", "a+b", "a%2Bb", "ä:é", "a&b=c"))
    for key in keys:
        bucket.put(key, b"x")
    assert [each.key for each in listed(store, plan(bucket.name)).open] == keys


NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)  # what S3 and XML can carry
CLOCK = st.from_regex(r"_2026\d{4}T\d{2}:\d{2}_UTC", fullmatch=True)


@given(names=st.lists(st.builds("{}{}.wav".format, NAME, CLOCK), min_size=1, max_size=8, unique=True))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_key_of_a_day_ends_its_listing(
    bucket: Bucket, plan: PlanRun, store: Store, pool: Pool, names: list[str]
) -> None:
    prefix = f"{uuid.uuid4()}/"
    for name in names:
        bucket.put(f"{prefix}{DAY:%Y/%m/%d}/{name}", b"x")
    run = plan(bucket.name, prefixes=[prefix])
    found = listed(store, run, prefix)
    assert {each.key.removeprefix(f"{prefix}{DAY:%Y/%m/%d}/") for each in found.open} == set(names)
    rows = [
        listed_row(each, run)
        for wave in Plan([found.day], [found], run).waves
        for batch in wave
        for each in batch.recordings
    ]
    assert len(rows) == len(names)
    assert len(look_at(store, found.open, run, pool)) == len(names)


def test_batches_are_bounded_in_number_and_in_bytes(plan: PlanRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = plan(batch_size=3)
    by_number = list(pack([listing(*(recording(n) for n in range(7)))], run))
    assert [len(batch.recordings) for batch in by_number] == [3, 3, 1]
    huge = 1024 * 1024 * 1024
    by_bytes = list(pack([listing(*(recording(n, size_bytes=huge) for n in range(5)))], run))
    assert [len(batch.recordings) for batch in by_bytes] == [2, 2, 1]


def test_a_batch_is_of_one_folder_and_numbered_within_its_day(plan: PlanRun) -> None:
    tomorrow = DAY + timedelta(days=1)
    recordings = [recording(1, folder="ivr/"), recording(2), recording(3), recording(4, day=tomorrow)]
    batches = list(pack([listing(*recordings)], plan()))
    assert [str(batch) for batch in batches] == ["2026-01-12 batch 1", "2026-01-12 batch 2", "2026-01-13 batch 1"]
    assert [len(batch.recordings) for batch in batches] == [2, 1, 1]


def test_a_dry_run_has_no_waves(plan: PlanRun) -> None:
    dry = Plan([Day(prefix=PREFIX, date=DAY)], [listing(recording(1), recording(2))], plan(dry_run=True))
    assert (dry.waves, dry.recordings, dry.size_bytes) == ([], 2, 200)


def test_days_of_dead_runs_are_listed_once(plan: PlanRun) -> None:
    run = plan(start_date=DAY, end_date=DAY + timedelta(days=1))
    dead = {"r0": [Window(prefix=PREFIX, start_date=DAY - timedelta(days=2), end_date=DAY)]}
    assert [day.date.day for day in days_of(run, dead)] == [10, 11, 12, 13]
