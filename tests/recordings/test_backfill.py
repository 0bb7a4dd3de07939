"""How a long date range is cut, what of it is finished, and who takes up what a dead backfill left."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.backfill.finished import finished, finished_since
from recordings.backfill.portions import (
    Backfill,
    Portion,
    Portions,
    days_to_cut,
    find_portions,
    plan_backfill,
    shards_of,
)
from recordings.backfill.records import dead_backfills, record_backfill, record_backfill_end
from recordings.backfill.weeks import Weeks
from recordings.dead_runs import dead_runs
from recordings.errors import InvalidRequest
from recordings.pool import Pool
from recordings.recording import Window
from recordings.run import Run
from recordings.s3.store import Store
from recordings.table.files import AuditFiles, open_files
from recordings.table.records import end_records, open_records, record_covered, record_end, record_start
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.fixtures import PlanRun

SIX_HOURS = timedelta(hours=6)
DONE = {"counts": {"archived": 1}, "unrecorded": 0}


def days(count: int) -> dict[str, Any]:
    return {"start_date": DAY, "end_date": DAY + timedelta(days=count - 1)}


def backfill_of(run: Run, shard_above: int = 10) -> Backfill:
    return plan_backfill(run, deployment="", max_parallel=2, shard_above=shard_above)


@pytest.fixture
def files(tmp_path: Path) -> AuditFiles:
    return open_files(str(tmp_path / "audit"), lambda name: pytest.fail(f"a local table needs no bucket {name}"))


def end(files: AuditFiles, run: Run, totals: dict[str, Any] = DONE) -> None:
    record_start(files, run)
    record_end(files, run, totals=totals, manifest=[])


@given(st.dictionaries(st.text("0123456789abcdefS", min_size=2, max_size=2), st.integers(1, 50)), st.integers(1, 200))
def test_shards_cover_every_name_once(letters: dict[str, int], above: int) -> None:
    shards = shards_of(letters, above)
    for pair in letters:
        assert sum(pair.startswith(shard) for shard in shards) == 1
    for shard in shards:
        assert len(shard) == 2 or sum(n for pair, n in letters.items() if pair.startswith(shard)) <= above


def test_a_small_day_is_one_portion_and_a_large_one_is_cut(
    bucket: Bucket, plan: PlanRun, store: Store, pool: Pool
) -> None:
    bucket.put(key_of(1), b"x")
    for letter in "0a1fS":
        for number in range(3):
            key = key_of(number, DAY + timedelta(days=1), "ivr/" if number == 2 else "").replace("00000000", letter * 8)
            bucket.put(key, b"x")
    backfill = backfill_of(plan(bucket.name, **days(2)), shard_above=4)
    portions = find_portions(days_to_cut(backfill.run, {})[0], backfill, store, pool)
    assert [str(each) for each in portions] == ["2026-01-12", *(f"2026-01-13 {letter}" for letter in "01Saf")]


def test_what_a_run_has_finished_is_not_listed_again(files: AuditFiles, plan: PlanRun) -> None:
    run = plan(**days(3))
    end(files, run)
    settled = finished_since(files, plan(**days(4)))
    to_cut, whole = days_to_cut(plan(**days(4)), settled)
    assert (to_cut, len(whole)) == ([DAY + timedelta(days=3)], 3)
    assert Portions(whole, settled).left == []


@pytest.mark.parametrize(
    "other",
    [
        {"profile": "alaw-stereo"},
        {"bucket": "another"},
        {"prefixes": ["elsewhere/"]},
        {"storage_class": "STANDARD"},
        {"shard": "a"},
    ],
)
def test_another_job_has_not_finished_this_one(files: AuditFiles, plan: PlanRun, other: dict[str, Any]) -> None:
    end(files, plan(**other))
    assert Portion(date=DAY) not in finished(end_records(files), plan())


@pytest.mark.parametrize("totals", [{"counts": {"failed": 1}, "unrecorded": 0}, {"counts": {}, "unrecorded": 1}])
def test_a_run_with_failures_has_finished_nothing(files: AuditFiles, plan: PlanRun, totals: dict[str, Any]) -> None:
    end(files, plan(), totals)
    assert finished(end_records(files), plan()) == {}


def test_a_run_that_left_the_young_ones_alone_has_not_finished_their_days(files: AuditFiles, plan: PlanRun) -> None:
    run = plan(start_date=date(2026, 1, 24), end_date=date(2026, 1, 26))  # scheduled for February 1
    end(files, run)
    assert [each.date.day for each in finished(end_records(files), run)] == [24, 25]


def test_held_recordings_are_another_matter(files: AuditFiles, plan: PlanRun) -> None:
    end(files, plan())
    assert finished(end_records(files), plan(include_held=True)) == {}


def test_a_backfill_of_young_recordings_is_refused(plan: PlanRun) -> None:
    with pytest.raises(InvalidRequest, match="end_date 2026-01-26 is too late: recordings of the last 7 days"):
        backfill_of(plan(end_date=date(2026, 1, 26)))


def scheduled(run: Run, hours: float) -> Run:
    return replace(run, run_id="scheduled", started_at=run.started_at + timedelta(hours=hours), catches_up=True)


def test_a_dead_backfill_is_taken_up_a_week_at_a_time(files: AuditFiles, plan: PlanRun) -> None:
    run = plan(**days(10))
    record_backfill(files, backfill_of(run))
    later = scheduled(run, 7)
    assert dead_runs(open_records(files), later, abandoned_after=SIX_HOURS) == {}

    taken = dead_backfills(files, open_records(files), later, abandoned_after=SIX_HOURS)
    week = Window(prefix=PREFIX, start_date=DAY, end_date=DAY + timedelta(days=6))
    assert taken == {f"{run.run_id}-week-1": [week]}
    record_covered(files, taken, later)
    second = dead_backfills(files, open_records(files), later, abandoned_after=SIX_HOURS)
    rest = Window(prefix=PREFIX, start_date=DAY + timedelta(days=7), end_date=DAY + timedelta(days=9))
    assert second == {f"{run.run_id}-week-2": [rest]}
    record_covered(files, second, later)
    record_covered(files, second, run)  # two runs that took it up at once
    assert dead_backfills(files, open_records(files), later, abandoned_after=SIX_HOURS) == {}


def test_of_a_dead_backfill_the_weeks_that_it_had_finished_are_known_by_name(
    files: AuditFiles, plan: PlanRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of its runs may have ended: their records are not read."""
    start = DAY - timedelta(days=10)
    run = plan(start_date=start, end_date=start + timedelta(days=23))
    record_backfill(files, backfill_of(run))
    end(files, replace(run, run_id="20260101T000000Z-finished"))
    portions = [Portion(date=start + timedelta(days=n), shard=shard) for n in range(7, 24) for shard in "ab"]
    weeks = Weeks(files, run, portions)
    weeks.record_finished_before()  # the first week
    for portion in portions[:15] + portions[16:]:
        weeks.record_finished(portion)
    read, names = files.read, list[str]()

    def counted(name: str) -> bytes:
        names.append(name)
        return read(name)

    monkeypatch.setattr(files, "read", counted)
    (left,) = dead_backfills(files, open_records(files), scheduled(run, 7), abandoned_after=SIX_HOURS)
    assert left == f"{run.run_id}-week-3", "a shard of its first day is left"
    assert not [name for name in names if name.endswith(".end.json")]


def test_a_finished_backfill_covers_those_that_died_on_some_of_its_days(files: AuditFiles, plan: PlanRun) -> None:
    first = plan(**days(3))
    for changes in ({}, {"include_held": True}, {"end_date": DAY + timedelta(days=12)}):
        name = "-".join(["20260201T000000Z", *changes])
        record_backfill(files, backfill_of(replace(first, run_id=name, **changes)))
    whole = plan(**days(10))
    record_backfill(files, backfill_of(whole))
    record_backfill_end(files, whole, is_finished=True)
    left = dead_backfills(files, open_records(files), scheduled(whole, 7), abandoned_after=SIX_HOURS)
    assert [each.removesuffix("-week-1") for each in left] == [
        "20260201T000000Z-end_date",
        "20260201T000000Z-include_held",
    ]


def test_a_backfill_lives_as_long_as_runs_begin_in_its_window(files: AuditFiles, plan: PlanRun) -> None:
    run = plan(**days(10))
    record_backfill(files, backfill_of(run))
    later = scheduled(run, 7)
    stamp = f"{later.started_at - timedelta(hours=1):%Y%m%dT%H%M%SZ}"
    record_start(files, replace(plan(), run_id=f"{stamp}-child"))
    assert dead_backfills(files, open_records(files), later, abandoned_after=SIX_HOURS) == {}
    assert dead_backfills(files, open_records(files), scheduled(run, 13), abandoned_after=SIX_HOURS) != {}


def test_a_backfill_that_ended_or_is_young_is_not_dead(files: AuditFiles, plan: PlanRun) -> None:
    run = plan(**days(10))
    record_backfill(files, backfill_of(run))
    assert dead_backfills(files, open_records(files), scheduled(run, 5), abandoned_after=SIX_HOURS) == {}
    assert (
        dead_backfills(
            files, open_records(files), replace(scheduled(run, 7), catches_up=False), abandoned_after=SIX_HOURS
        )
        == {}
    )
    record_covered(files, [run.run_id], run)
    assert dead_backfills(files, open_records(files), scheduled(run, 7), abandoned_after=SIX_HOURS) == {}
