"""What a job finds of what it is asked for; what it does not find, it names, with why and since when."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from recordings.jobs.engine.cases import cases_now
from recordings.jobs.engine.job import Job, plan_job
from recordings.jobs.restore import restore_recording
from recordings.keys import contact_of
from recordings.pool import Pool
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.parquet import write_rows
from recordings.table.records import Kind
from recordings.table.rows import AuditRow, Status
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.fixtures import MakeCall, PlanRun, Stages
from tests.recordings.selected import Selected, selected
from tests.recordings.tables import ROW

AT = datetime(2026, 1, 20, 12, tzinfo=UTC)
LATER = AT + timedelta(days=1)
WHEN, WHEN_LATER = "on 2026-01-20 at 12:00 UTC", "on 2026-01-21 at 12:00 UTC"


def row(number: int, status: Status = Status.ARCHIVED, run_id: str = "r1", at: datetime = AT, **more: Any) -> AuditRow:
    named = {"key": key_of(number), "contact_id": f"c{number}", "version_before": f"v{number}", "original_kept": True}
    return replace(ROW, **{**named, "status": status, "run_id": run_id, "state_at": at, "started_at": at, **more})


ROWS = [
    row(1),
    row(2),
    row(2, Status.RELEASED, "r2", LATER),
    row(3),
    row(3, Status.RESTORED, "r3", LATER),
    row(4, Status.ALREADY_ARCHIVED, version_before=None),
    row(5, Status.REJECTED, reason="truncated: it was cut off"),
]
RELEASED = f"its original was released by run r2 {WHEN_LATER}"


class Select(Protocol):
    """What a job finds of which this is asked, by default a restore: the parameters are those of ``plan_job``."""

    def __call__(self, kind: Kind = ..., **wanted: Any) -> Selected: ...


@pytest.fixture
def select(bucket: Bucket, store: Store, files: AuditFiles, pool: Pool, tmp_path: Path) -> Select:
    write_rows(files, [replace(each, bucket=bucket.name) for each in ROWS], run_id="r1", number=1)

    def asked(kind: Kind = Kind.RESTORE, **wanted: Any) -> Selected:
        job = plan_job(kind, bucket=bucket.name, audit_uri=str(tmp_path / "audit"), **{"grace_days": 0, **wanted})
        return selected(job, store, files, pool)

    return asked


def contacts_of(found: Selected) -> list[str | None]:
    return [each.contact_id for each in found.rows]


@pytest.mark.parametrize(
    ("asked", "contacts", "problems", "notes"),
    [
        ({"contact_ids": ["c1"]}, ["c1"], [], []),
        ({"contact_ids": ["c1", "c2"]}, ["c1"], [f"contact c2: {RELEASED}"], []),
        ({"contact_ids": ["c3"]}, [], [], [f"restored before: 1 by run r3 {WHEN_LATER}"]),
        ({"contact_ids": ["c4"]}, [], [], ["never converted, so nothing to restore: 1 recording"]),
        (
            {"contact_ids": ["c5"]},
            [],
            [
                "contact c5: the audit table has no archived recording for it; "
                f"run r1 left it rejected {WHEN}: truncated: it was cut off"
            ],
            [],
        ),
        ({"contact_ids": ["c9"]}, [], ["contact c9: the audit table has no archived recording for it"], []),
        (
            {"contact_ids": ["c1"], "start_date": DAY + timedelta(days=1)},
            [],
            ["contact c1: the audit table has no archived recording for it from 2026-01-13 to the last"],
            [],
        ),
        (
            {"contact_ids": ["c1"], "of_run": "r9"},
            [],
            [f"contact c1: the audit table has no archived recording for it by run r9; run r1 left it archived {WHEN}"],
            [],
        ),
        ({"of_run": "r9"}, [], ["run r9: the audit table has no run with this id"], []),
        ({"of_run": "r2"}, [], ["run r2 archived nothing"], []),
        (
            {"start_date": DAY, "end_date": DAY},
            ["c1"],
            [f"released originals cannot come back from 2026-01-12 to 2026-01-12: 1 by run r2 {WHEN_LATER}"],
            ["never converted, so nothing to restore: 1 recording", f"restored before: 1 by run r3 {WHEN_LATER}"],
        ),
        ({"prefixes": ["else/"]}, [], ["the audit table has nothing archived below else/"], []),
        (
            {"end_date": DAY - timedelta(days=1)},
            [],
            ["the audit table has nothing archived from the first day to 2026-01-11"],
            [],
        ),
    ],
)  # fmt: skip
def test_what_a_restore_asks_for_in_vain_is_a_problem_unless_it_may_be_missing(
    select: Select, asked: dict[str, Any], contacts: list[str], problems: list[str], notes: list[str]
) -> None:
    found = select(**asked)
    assert (contacts_of(found), list(found.problems), list(found.notes)) == (contacts, problems, notes)
    lenient = select(**asked, missing_ok=True)
    assert (contacts_of(lenient), list(lenient.problems), list(lenient.notes)) == (contacts, [], [*problems, *notes])


@pytest.fixture
def destroyed(select: Select, files: AuditFiles, bucket: Bucket) -> Select:
    """The same table, in which c1 has expired since, and c6 was erased, which was never archived and then held."""
    since = [
        row(1, Status.EXPIRED, "r8", LATER, reason="retention: kept 30 days after the call"),
        row(6, Status.ERASED, "r9", LATER, reason="case: 2026-GDPR-1"),
        row(6, Status.HELD, "r7", LATER + timedelta(hours=1), reason="case: 2026-CV-1"),
    ]
    write_rows(files, [replace(each, bucket=bucket.name) for each in since], run_id="r8", number=1)
    return select


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"contact_ids": ["c1"]}, f"contact c1: it was expired by run r8 {WHEN_LATER}"),
        ({"keys": [key_of(1)]}, f"{key_of(1)}: it was expired by run r8 {WHEN_LATER}"),
        ({"of_run": "r1"}, f"contact c1: it was expired by run r8 {WHEN_LATER}"),
        (
            {"contact_ids": ["c6"]},
            "contact c6: the audit table has no archived recording for it; "
            f"run r9 left it erased {WHEN_LATER}: case: 2026-GDPR-1",
        ),
        (
            {"start_date": DAY, "end_date": DAY},
            f"expired recordings cannot come back from 2026-01-12 to 2026-01-12: 1 by run r8 {WHEN_LATER}",
        ),
        ({"everything": True}, f"expired recordings cannot come back: 1 by run r8 {WHEN_LATER}"),
    ],
)
def test_a_restore_of_what_was_destroyed_names_the_run(destroyed: Select, asked: dict[str, Any], problem: str) -> None:
    found = destroyed(**asked)
    assert found.rows == []
    assert problem in found.problems
    lenient = destroyed(**asked, missing_ok=True)
    assert (lenient.problems, problem in lenient.notes) == ((), True)


@pytest.mark.parametrize("asked", [{"contact_ids": [contact_of(key_of(1))]}, {"everything": True}, {"start_date": DAY}])
@pytest.mark.parametrize("is_back", [False, True])
def test_a_table_that_knows_only_of_a_destruction_brings_nothing_back(
    bucket: Bucket,
    store: Store,
    files: AuditFiles,
    pool: Pool,
    tmp_path: Path,
    plan: PlanRun,
    run_stages: Stages,
    a_call: MakeCall,
    asked: dict[str, Any],
    is_back: bool,
) -> None:
    """The table was lost before the erasure; a copy that came back says by its provenance that it was archived."""
    if is_back:
        bucket.put(key_of(1), a_call())
        run_stages(plan(bucket.name))
    gone = row(1, Status.ERASED, "r9", LATER, bucket=bucket.name, contact_id=contact_of(key_of(1)))
    write_rows(files, [gone], run_id="r9", number=1)
    job = plan_job(Kind.RESTORE, bucket=bucket.name, audit_uri=str(tmp_path / "audit"), **asked)
    found = selected(job, store, files, pool)
    said = "run r9 erased it on 2026-01-21"
    if is_back:
        nobody = cases_now(files, bucket.name, [], run_id=job.run_id)
        assert [each.reason for each in found.rows] == [f"destroyed: {said}; somebody has brought it back"]
        assert restore_recording(store, found.rows[0], job, nobody) == found.rows[0]
    else:
        assert found.problems == (f"{key_of(1)}: {said}",)


def test_a_run_names_each_of_its_recordings_that_cannot_come_back(select: Select) -> None:
    found = select(of_run="r1")
    assert contacts_of(found) == ["c1"]
    assert found.problems == (f"contact c2: {RELEASED}",)


def test_a_release_looks_at_what_is_archived_and_counts_nothing_else(select: Select) -> None:
    found = select(Kind.RELEASE, everything=True)
    assert contacts_of(found) == ["c1"], "neither what was never converted nor what is released or restored"
    assert (len(found.notes), found.problems) == (3, ())
    assert select(Kind.RELEASE, start_date=DAY + timedelta(days=1)).problems == (
        "the audit table has nothing archived from 2026-01-13 to the last",
    )


@pytest.mark.parametrize("kind", [Kind.RESTORE, Kind.RELEASE])
def test_a_table_that_does_not_know_the_bucket(
    bucket: Bucket, store: Store, files: AuditFiles, pool: Pool, tmp_path: Path, kind: Kind
) -> None:
    """A scheduled release of a new bucket has nothing to do; whoever restores wants something."""
    uri = str(tmp_path / "audit")

    def plan(**asked: Any) -> Job:
        return plan_job(kind, bucket=bucket.name, audit_uri=uri, **asked)

    nothing = f"the audit table {uri} has nothing archived of bucket {bucket.name}"
    everything = selected(plan(everything=True), store, files, pool)
    below = selected(plan(prefixes=[PREFIX]), store, files, pool)
    if kind == Kind.RELEASE:
        assert (everything.problems, everything.notes, below.problems) == ((), (nothing,), (nothing,))
    else:
        assert everything.problems == ("no object says that it was archived",)
        assert below.problems == (f"no object below {PREFIX} says that it was archived",)
        assert everything.notes == (nothing,)


def test_many_runs_are_named_in_part(select: Select, files: AuditFiles, bucket: Bucket) -> None:
    rows = [row(n, Status.RELEASED, f"run-{n}", AT + timedelta(days=n), bucket=bucket.name) for n in range(10, 18)]
    write_rows(files, [*rows, *(replace(each, status=Status.ARCHIVED, run_id="r1", state_at=AT) for each in rows)],
               run_id="r4", number=1)  # fmt: skip
    (problem,) = select(prefixes=[PREFIX]).problems
    assert problem.endswith("others by 4 earlier runs"), problem


@pytest.mark.parametrize("kind", [Kind.RESTORE, Kind.RELEASE])
def test_a_damaged_file_costs_its_day_alone(select: Select, files: AuditFiles, kind: Kind) -> None:
    name = f"recording_date={DAY + timedelta(days=1)}/r5-0001.parquet"
    files.create(name, b"PAR1 and then nothing")
    found = select(kind, everything=True, missing_ok=True)
    assert contacts_of(found) == ["c1"]
    (problem,) = found.problems
    assert problem.startswith(
        f"calls of {DAY + timedelta(days=1)} are left out: {name} in the audit table cannot be read"
    )
    assert select(kind, end_date=DAY, missing_ok=True).problems == ()
