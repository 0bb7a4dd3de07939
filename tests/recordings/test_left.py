"""A release of all that is due looks at days where an earlier one left something, or where rows were written since."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from recordings.jobs.engine.job import Job, plan_job
from recordings.jobs.engine.left import Days, days_to_look_at, record_left
from recordings.table.files import LocalFiles
from recordings.table.parquet import write_rows
from recordings.table.records import Kind, record_end, record_start
from tests.bucket import DAY
from tests.fixtures import PlanRun
from tests.recordings.tables import ROW

NOW = datetime(2026, 5, 1, 3, tzinfo=UTC)
DAYS = [DAY + timedelta(days=n) for n in range(4)]


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    """A table with rows of four days."""
    files = LocalFiles(tmp_path)
    write_rows(files, [replace(ROW, recording_date=day, bucket="calls") for day in DAYS], run_id="r", number=1)
    return files


def release(files: LocalFiles, days: int = 0, **changes: Any) -> Job:
    """So many days after the first."""
    asked = {"bucket": "calls", "audit_uri": str(files.root), "everything": True, "grace_days": 30, **changes}
    planned = plan_job(Kind.RELEASE, **asked)
    at = NOW + timedelta(days=days)
    return replace(planned, started_at=at, run_id=f"{at:%Y%m%dT%H%M%SZ}-{planned.run_id[-8:]}")


def released(files: LocalFiles, again: dict[date, date], **changes: Any) -> None:
    job = release(files, **changes)
    record_left(files, job, days_to_look_at(job, files), again)


def looked_at(files: LocalFiles, days: int, **changes: Any) -> list[date]:
    return list(days_to_look_at(release(files, days, **changes), files).dates)


def archives(
    files: LocalFiles,
    plan: PlanRun,
    day: date,
    began: datetime,
    *,
    dies: bool = False,
    writes: date | Literal["its day"] | None = "its day",
) -> None:
    """A run that archives this day's calls, or those of a day that another left; it may die before its end record."""
    run = plan("calls", start_date=day, end_date=day)
    run = replace(run, started_at=began, run_id=f"{began:%Y%m%dT%H%M%SZ}-{run.run_id[-8:]}")
    record_start(files, run)
    rows = [replace(ROW, recording_date=day if writes == "its day" else writes, bucket="calls")] if writes else []
    written = write_rows(files, rows, run_id=run.run_id, number=1)
    if not dies:
        record_end(files, run, totals={}, manifest=written)


def test_the_first_looks_at_all_days_and_the_next_where_something_was_left(files: LocalFiles) -> None:
    assert looked_at(files, 0) == DAYS
    today = NOW.date()
    released(files, {DAYS[1]: today, DAYS[2]: today + timedelta(days=28)})
    assert looked_at(files, 7) == [DAYS[1]], "what failed at once, what is held later, what is done never"
    assert looked_at(files, 28) == DAYS[1:3]
    released(files, {}, days=7)
    assert looked_at(files, 14) == [], "what was left for later before is still known"
    assert looked_at(files, 28) == [DAYS[2]]


def test_what_is_written_since_is_looked_at_also_if_its_run_died(files: LocalFiles, plan: PlanRun) -> None:
    released(files, {})
    archives(files, plan, DAYS[0], NOW - timedelta(days=20))
    assert looked_at(files, 7) == [], "before the release"
    archives(files, plan, DAYS[1], NOW - timedelta(hours=3))  # while the release worked, perhaps
    archives(files, plan, DAYS[2], NOW + timedelta(days=3), dies=True)
    assert looked_at(files, 7) == DAYS[1:3]


def test_what_a_run_wrote_for_a_dead_backfill_before_it_died_is_looked_at(files: LocalFiles, plan: PlanRun) -> None:
    """The next run finds it final, writes no row of it, and says that it has covered both."""
    backfill = plan("calls", start_date=DAYS[0], end_date=DAYS[2])
    backfill = replace(backfill, run_id=f"{NOW - timedelta(days=60):%Y%m%dT%H%M%SZ}-0000000b")
    record_start(files, backfill, backfill={"max_parallel": 4})
    released(files, {})
    archives(files, plan, DAYS[3], NOW + timedelta(days=1), dies=True, writes=DAYS[1])
    archives(files, plan, DAYS[3], NOW + timedelta(days=2), writes=None)
    assert looked_at(files, 7) == [DAYS[1]]
    released(files, {}, days=7)
    assert looked_at(files, 14) == [DAYS[1]], "a run may write for a week"
    assert looked_at(files, 28) == [DAYS[1]], "as no release has said since that it is done"
    released(files, {}, days=28)
    assert looked_at(files, 35) == []


def test_what_a_run_wrote_whose_end_record_is_damaged_is_looked_at(files: LocalFiles, plan: PlanRun) -> None:
    released(files, {})
    archives(files, plan, DAYS[2], NOW + timedelta(days=1))
    (record,) = files.root.glob("_runs/*.end.json")
    record.write_bytes(record.read_bytes()[:99])
    assert looked_at(files, 7) == [DAYS[2]]


@pytest.mark.parametrize(
    "other",
    [{"dry_run": True}, {"start_date": DAYS[0]}, {"bucket": "others"}, {"grace_days": 60}, {"prefixes": ["x/"]}],
)
def test_a_release_of_something_else_does_not_count(files: LocalFiles, other: dict[str, Any]) -> None:
    """Neither does one with a longer grace: it left what is due now."""
    released(files, {}, **other)
    assert looked_at(files, 7) == DAYS


@pytest.mark.parametrize(
    "damaged", [b"", b"[]", b'{"bucket": "calls"}', b'{"bucket": "calls", "grace_days": 30, "look_again": {"x": 1}}']
)
def test_what_a_release_left_is_known_from_an_older_one_where_its_file_is_damaged(
    files: LocalFiles, damaged: bytes
) -> None:
    """It began earlier, so no day is missing."""
    released(files, {DAYS[1]: NOW.date()})
    released(files, {}, days=7)
    newest = max(files.root.glob("_runs/*.left.json"))
    newest.write_bytes(damaged)
    assert looked_at(files, 14) == [DAYS[1]]


def test_of_two_releases_at_once_what_either_left_is_looked_at_by_the_one_that_began_last(files: LocalFiles) -> None:
    """Both began with what the one before them had left, and looked at the same days."""
    released(files, {DAYS[1]: NOW.date()})
    first, second = release(files, 7), release(files, 8)
    looks = [days_to_look_at(each, files) for each in (first, second)]
    assert [list(each.dates) for each in looks] == [[DAYS[1]]] * 2
    record_left(files, second, looks[1], {DAYS[1]: NOW.date()})  # as the first had not released it yet
    record_left(files, first, looks[0], {})
    assert looked_at(files, 14) == [DAYS[1]]


def test_days_that_are_asked_for_are_looked_at_in_any_case(files: LocalFiles) -> None:
    released(files, {})
    assert looked_at(files, 7, start_date=DAYS[2]) == DAYS[2:]
    assert looked_at(files, 7, grace_days=10) == DAYS, "a shorter grace: more is due"


def test_people_are_told_what_is_left_out(files: LocalFiles) -> None:
    released(files, {DAYS[1]: date(2026, 6, 1)})
    out = days_to_look_at(release(files, 7), files)
    assert out.notes == [
        "days that earlier releases have finished are not looked at; give dates to look at them",
        "left for later: 1 day of calls with originals that wait, looked at again from 2026-06-01 on",
    ]
    assert Days(dates=(), later={}).notes == []
