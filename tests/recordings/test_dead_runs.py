"""Records of runs: what began and never ended is taken up by the next run that may."""

import json
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recordings.dead_runs import dead_runs, does_no_more
from recordings.run import Run
from recordings.s3.store import Store
from recordings.settings import Settings
from recordings.table.files import AuditFiles, open_files
from recordings.table.records import open_records, record_covered, record_end, record_start
from tests.bucket import Bucket
from tests.fixtures import PlanRun

OPEN = {"start_date": None, "end_date": None}
SIX_HOURS = timedelta(hours=6)
# Fields of a run by which it archives nothing that another run on the same days leaves alone.
NO_MORE_BY = {
    *("run_id", "audit_uri", "started_at", "scheduled_at", "catches_up", "software_version"),
    *("start_date", "end_date", "min_age_days", "shard"),  # the days, which ``recordings.backfill`` compares
    *("dry_run", "accept"),  # a dry run has no record; a run whose risk is not accepted ends before it archives
    "overwrite_converted",  # converts again, and no backfill asks for it
    *("batch_size", "readback_percent", "grace_days"),  # terms that move, as prices do, what is worth archiving
}


@pytest.fixture(params=["local", "s3"])
def files(request: pytest.FixtureRequest, bucket: Bucket, tmp_path: Path) -> AuditFiles:
    uri = str(tmp_path / "audit") if request.param == "local" else f"s3://{bucket.name}/audit"
    return open_files(uri, lambda name: Store(name, Settings()))


class Watched:
    """A run that tells which of its fields were read."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.read = set[str]()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self._run, name)


def later(run: Run, hours: float) -> Run:
    return replace(run, run_id="later", started_at=run.started_at + timedelta(hours=hours), catches_up=True)


def test_a_run_without_an_end_is_dead_after_a_while(files: AuditFiles, plan: PlanRun) -> None:
    run = plan()
    record_start(files, run)
    assert dead_runs(open_records(files), later(run, 5), abandoned_after=SIX_HOURS) == {}
    assert dead_runs(open_records(files), later(run, 7), abandoned_after=SIX_HOURS) == {run.run_id: run.windows}


def test_a_run_that_ended_is_not_dead(files: AuditFiles, plan: PlanRun) -> None:
    run = plan()
    record_start(files, run)
    record_end(files, run, totals={}, manifest=[])
    assert dead_runs(open_records(files), later(run, 7), abandoned_after=SIX_HOURS) == {}


def test_a_dead_run_is_taken_up_once(files: AuditFiles, plan: PlanRun) -> None:
    run = plan()
    record_start(files, run)
    record_covered(files, dead_runs(open_records(files), later(run, 7), abandoned_after=SIX_HOURS), later(run, 7))
    assert dead_runs(open_records(files), later(run, 8), abandoned_after=SIX_HOURS) == {}


@pytest.mark.parametrize("other", [{"profile": "alaw-stereo"}, {"bucket": "another"}, {"prefixes": ["x/"]}])
def test_a_different_job_is_not_taken_up(files: AuditFiles, plan: PlanRun, other: dict[str, Any]) -> None:
    run = plan(**other)
    record_start(files, run)
    assert dead_runs(open_records(files), later(plan(), 7), abandoned_after=SIX_HOURS) == {}


def test_a_run_over_given_dates_looks_at_those_only(files: AuditFiles, plan: PlanRun) -> None:
    run = plan()
    record_start(files, run)
    given = replace(later(run, 7), catches_up=False)
    assert dead_runs(open_records(files), given, abandoned_after=SIX_HOURS) == {}


def test_the_start_record_holds_the_parameters(files: AuditFiles, plan: PlanRun) -> None:
    run = plan()
    record_start(files, run)
    (name,) = files.names("_runs")
    record = json.loads(files.read(name))
    assert (record["bucket"], record["start_date"], record["profile_name"]) == ("recordings", "2026-01-12", "alaw-mono")


def test_each_field_of_a_run_is_compared_or_makes_it_archive_no_more(plan: PlanRun) -> None:
    """A new option that archives more must be compared, or a backfill takes days for finished that lack it."""
    run: Any = Watched(plan())
    assert does_no_more(run, plan())
    assert sorted([*run.read, *NO_MORE_BY]) == sorted(field.name for field in fields(Run))
