"""Whoever touches a file of the audit table is found out."""

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from recordings.backfill.finished import finished
from recordings.backfill.records import dead_backfills
from recordings.dead_runs import dead_runs
from recordings.errors import InvalidRequest
from recordings.jobs.engine.intents import is_over, open_intents, set_out
from recordings.jobs.engine.job import plan_job
from recordings.jobs.erase import requested_by
from recordings.recording import Batch
from recordings.run import Run
from recordings.s3.store import Store
from recordings.savings.sums import read_runs
from recordings.settings import Settings
from recordings.table.evidence import Flaw, verify_audit
from recordings.table.files import AuditFiles, open_files, open_table
from recordings.table.parquet import parquet_bytes, write_rows
from recordings.table.records import (
    IntentRecord,
    Kind,
    end_records,
    open_records,
    record_done,
    record_end,
    record_erased,
    record_erasure,
    record_start,
)
from recordings.table.rows import BatchRows, Status
from tests.bucket import DAY, Bucket
from tests.fixtures import PlanRun
from tests.recordings.tables import ROW

RUN_ID = "20260201T030405Z-0a1b2c3d"


@pytest.fixture
def table(files: AuditFiles, plan: PlanRun, tmp_path: Path) -> Path:
    """The table of one run that ended, two files of it."""
    _run(files, replace(plan(), run_id=RUN_ID))
    return tmp_path / "audit"


def _run(files: AuditFiles, run: Run, *, ends: bool = True) -> None:
    record_start(files, run)
    written = [
        *write_rows(files, [ROW], run_id=run.run_id, number=1),
        *write_rows(files, [ROW], run_id=run.run_id, number=2),
    ]
    if ends:
        record_end(files, run, totals={}, manifest=written)


def _found(table: Path) -> list[str]:
    return [f"{each.flaw}: {each.name}" for each in verify_audit(str(table)).discrepancies]


def _file(table: Path, wave: int = 1) -> Path:
    return table / "recording_date=2026-01-12" / f"{RUN_ID}-{wave:04d}.parquet"


def test_a_range_of_dates_is_verified_alone(files: AuditFiles, plan: PlanRun, table: Path) -> None:
    """Of files and of records: those of runs that began before the first day of calls are not read."""
    day = ROW.recording_date + timedelta(days=30)
    later = replace(plan(), run_id="20260301T030405Z-0a1b2c3d")
    written = write_rows(files, [replace(ROW, recording_date=day)], run_id=later.run_id, number=1)
    record_end(files, later, totals={}, manifest=written)
    _file(table).write_bytes(b"changed")
    found = verify_audit(str(table), start=day)
    assert (found.files, found.rows, found.runs, found.discrepancies) == (1, 1, 1, ())
    assert (found.first_date, found.last_date) == (day, day)
    (flaw,) = verify_audit(str(table), end=ROW.recording_date).discrepancies
    assert (flaw.flaw, flaw.name) == ("changed", f"recording_date={ROW.recording_date}/{RUN_ID}-0001.parquet")
    with pytest.raises(InvalidRequest, match="is later than end_date"):
        verify_audit(str(table), start=day, end=ROW.recording_date)


def test_an_untouched_table_has_no_flaw_and_what_was_checked_is_said(table: Path) -> None:
    assert _found(table) == []
    told = f"{table}: 2 files, 2 rows, 1 run, calls of 2026-01-12 to 2026-01-12"
    assert str(verify_audit(str(table))) == f"{told}: all as the runs wrote them"
    digest = hashlib.sha256(_file(table).read_bytes()).hexdigest()
    _file(table).unlink()
    missing = f"missing: recording_date=2026-01-12/{RUN_ID}-0001.parquet: expected SHA-256 {digest}, found no such file"
    told = told.replace("2 files, 2 rows", "1 file, 1 row")
    assert str(verify_audit(str(table))) == f"{told}: 1 discrepancy\n{missing}"


@pytest.mark.parametrize("folders", [(), ("notes", "2026")])
def test_where_no_table_is_nothing_can_be_verified(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for folder in folders:
        (tmp_path / "audit" / folder).mkdir(parents=True)
    with pytest.raises(InvalidRequest, match="audit' holds no audit table"):
        verify_audit(str(tmp_path / "audit"))


def test_a_table_that_lost_all_its_days_is_still_one(table: Path) -> None:
    shutil.rmtree(table / "recording_date=2026-01-12")
    found = verify_audit(str(table))
    assert (found.files, found.rows, found.runs, found.first_date) == (0, 0, 1, None)
    assert [each.flaw for each in found.discrepancies] == [Flaw.MISSING] * 2


def test_a_missing_file_is_named(table: Path) -> None:
    _file(table).unlink()
    assert _found(table) == [f"missing: recording_date=2026-01-12/{RUN_ID}-0001.parquet"]


def test_a_changed_file_is_named(table: Path) -> None:
    data = bytearray(_file(table).read_bytes())
    data[len(data) // 2] ^= 1
    _file(table).write_bytes(data)
    assert _found(table) == [f"changed: recording_date=2026-01-12/{RUN_ID}-0001.parquet"]


def test_a_flaw_says_path_and_what_was_expected_and_found(table: Path, files: AuditFiles) -> None:
    """An auditor can compare these with a backup, without the software."""
    was = hashlib.sha256(_file(table).read_bytes()).hexdigest()
    _file(table).write_bytes(b"forged")
    added = _file(table, 3)
    added.write_bytes(b"more")
    files.create("_runs/20260101T000000Z-deadbeef.end.json", b"{}")
    start = table / "_runs" / f"{RUN_ID}.start.json"
    began = hashlib.sha256(start.read_bytes()).hexdigest()
    start.write_text("other")
    digests = {text: hashlib.sha256(text.encode()).hexdigest() for text in ("forged", "more", "{}", "other")}
    assert [str(each) for each in verify_audit(str(table)).discrepancies] == [
        "changed: _runs/20260101T000000Z-deadbeef.end.json: expected a record as some version of this software writes "
        f"it, found 2 bytes with SHA-256 {digests['{}']}",
        f"changed: _runs/{RUN_ID}.start.json: expected SHA-256 {began}, found 5 bytes with SHA-256 {digests['other']}",
        f"changed: recording_date=2026-01-12/{RUN_ID}-0001.parquet: expected SHA-256 {was}, found 6 bytes with SHA-256 "
        f"{digests['forged']}",
        f"added: recording_date=2026-01-12/{RUN_ID}-0003.parquet: expected no file that no run lists, found 4 bytes "
        f"with SHA-256 {digests['more']}",
    ]


@pytest.mark.parametrize("name", [f"{RUN_ID}-0003.parquet", "20260101T000000Z-ffffffff-0001.parquet", "x.parquet"])
def test_an_added_file_is_named(table: Path, name: str) -> None:
    _file(table).with_name(name).write_bytes(_file(table).read_bytes())
    assert _found(table) == [f"added: recording_date=2026-01-12/{name}"]


def test_a_day_that_was_moved_is_missing_and_added(table: Path) -> None:
    (table / "recording_date=2026-01-12").rename(table / "recording_date=2026-01-13")
    assert sorted(each.split(":")[0] for each in _found(table)) == ["added", "added", "missing", "missing"]


def test_rows_of_a_run_that_never_ended_are_uncommitted(table: Path, files: AuditFiles, plan: PlanRun) -> None:
    _run(files, replace(plan(), run_id="20260202T030405Z-dead"), ends=False)
    assert _found(table) == [
        f"uncommitted: recording_date=2026-01-12/20260202T030405Z-dead-000{wave}.parquet" for wave in (1, 2)
    ]


def test_a_table_in_s3_is_verified_too(bucket: Bucket, plan: PlanRun) -> None:
    audit_uri = f"s3://{bucket.name}/audit"
    _run(open_files(audit_uri, lambda name: Store(name, Settings())), replace(plan(), run_id=RUN_ID))
    assert verify_audit(audit_uri).discrepancies == ()
    bucket.put(f"audit/recording_date=2026-01-12/{RUN_ID}-0001.parquet", b"forged")
    assert [str(each).split(":")[0] for each in verify_audit(audit_uri).discrepancies] == ["changed"]


def test_a_file_that_two_records_see_differently_is_changed(table: Path, files: AuditFiles) -> None:
    """A later record that lists what lies there now does not make a changed file an untouched one."""
    name = f"recording_date=2026-01-12/{RUN_ID}-0001.parquet"
    _file(table).write_bytes(data := parquet_bytes([replace(ROW, bytes_before=1)]))
    later = f'{{"files": [{{"name": "{name}", "sha256": "{hashlib.sha256(data).hexdigest()}"}}]}}'
    intent = plan_job(Kind.HOLD, bucket="calls", audit_uri=str(table), keys=[ROW.key], case="A")
    set_out(files, replace(intent, run_id=RUN_ID), BatchRows(Batch(DAY, 1, ()), []), [])
    files.create(f"_runs/{RUN_ID}-0001.done.json", later.encode())
    assert _found(table) == [f"changed: {name}"]


def test_an_intent_that_is_damaged_or_gone_is_named(table: Path, files: AuditFiles) -> None:
    """It stands in for a file that cannot be read. Of a batch that is open, it may be missing with all of the batch."""
    job = plan_job(Kind.HOLD, bucket="calls", audit_uri=str(table), keys=[ROW.key], case="A")
    row = replace(ROW, status=Status.HELD, reason="case: A")
    intents = [set_out(files, job, BatchRows(Batch(DAY, number, ()), [row]), [row]) for number in (1, 2)]
    record_done(files, intents[0], [])
    assert _found(table) == []
    closed, still_open = (table / "_runs" / f"{each.name}.intent.json" for each in intents)
    for path in (closed, still_open):
        whole = path.read_bytes()
        path.write_bytes(whole[:-9])
        assert _found(table) == [f"changed: _runs/{path.name}"]
        path.write_bytes(whole)
    closed.unlink()
    assert [str(each) for each in verify_audit(str(table)).discrepancies] == [
        f"missing: _runs/{closed.name}: expected what _runs/{intents[0].name}.done.json closed, found no such file"
    ]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}"])
def test_a_damaged_record_is_named_and_the_others_count(table: Path, files: AuditFiles, data: bytes) -> None:
    files.create("_runs/20260101T000000Z-deadbeef.end.json", data)
    assert _found(table) == ["changed: _runs/20260101T000000Z-deadbeef.end.json"]


def test_who_asked_for_a_run_cannot_be_changed_unseen(table: Path) -> None:
    start = table / "_runs" / f"{RUN_ID}.start.json"
    start.write_text('{"forged": 1}')
    assert _found(table) == [f"changed: _runs/{RUN_ID}.start.json"]
    start.unlink()
    assert _found(table) == [f"missing: _runs/{RUN_ID}.start.json"]


@pytest.fixture
def request_to_erase(table: Path, files: AuditFiles) -> Path:
    """The record of a request that a run took and another has finished."""
    place: dict[str, Any] = {"bucket": "calls", "audit_uri": str(table), "prefixes": ["connect/"]}
    asked = plan_job(Kind.ERASE, **place, contact_ids=["a", "b"], case="2026-GDPR-1")
    later = plan_job(Kind.ERASE, **place, everything=True)
    record_start(files, asked)
    record_erasure(files, requested_by(asked))
    record_end(files, asked, totals={}, manifest=[])
    record_erased(files, requested_by(asked), later)
    return table / "_runs" / f"{asked.run_id}.erasure.json"


def test_a_request_to_erase_cannot_be_changed_unseen(table: Path, request_to_erase: Path) -> None:
    """Nor can one of its contacts: what was asked is evidence, too."""
    assert _found(table) == []
    was = request_to_erase.read_bytes()
    request_to_erase.write_bytes(was.replace(b'"b"', b'"c"'))
    expected, found = (hashlib.sha256(each).hexdigest() for each in (was, request_to_erase.read_bytes()))
    assert [str(each) for each in verify_audit(str(table)).discrepancies] == [
        f"changed: _runs/{request_to_erase.name}: expected SHA-256 {expected}, "
        f"found {len(was)} bytes with SHA-256 {found}"
    ]
    request_to_erase.unlink()
    assert _found(table) == [f"missing: _runs/{request_to_erase.name}"]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"finished_by": 5}'])
@pytest.mark.parametrize("ending", [".erasure.json", ".erased.json", ".left.json", ".covered.json"])
def test_a_damaged_record_of_any_kind_is_named(table: Path, request_to_erase: Path, data: bytes, ending: str) -> None:
    path = request_to_erase.with_name(request_to_erase.name.replace(".erasure.json", ending))
    path.write_bytes(data)
    (flaw,) = verify_audit(str(table)).discrepancies
    assert (flaw.flaw, flaw.name) == ("changed", f"_runs/{path.name}")
    assert ending == ".erasure.json" or flaw.expected == "a record as some version of this software writes it"
    assert (
        flaw.found == f"{len(data)} byte{'' if len(data) == 1 else 's'} with SHA-256 {hashlib.sha256(data).hexdigest()}"
    )


def test_an_erasure_that_finished_no_request_is_named(table: Path, files: AuditFiles) -> None:
    files.create(f"_runs/{RUN_ID}.erased.json", b'{"finished_by": "r"}')
    assert [str(each) for each in verify_audit(str(table)).discrepancies] == [
        f"missing: _runs/{RUN_ID}.erasure.json: expected what _runs/{RUN_ID}.erased.json finished, found no such file"
    ]


def test_a_table_of_which_nothing_is_left_is_no_table(table: Path) -> None:
    for file in [each for each in table.rglob("*") if each.is_file()]:
        file.unlink()
    with pytest.raises(InvalidRequest, match="holds no audit table"):
        verify_audit(str(table))
    with pytest.raises(InvalidRequest, match="audit_uri is None"):
        verify_audit(None)  # type: ignore[arg-type]  # as an unset variable gives it


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["run", "files", "counts", "cost", "bucket", "prefixes", "run_id", "start_date", "backfill",
                        "profile_name", "shard", "end_date"])  # fmt: skip
RECORDS = st.binary(max_size=20) | (JSON | st.dictionaries(KEYS, JSON)).map(lambda value: json.dumps(value).encode())


STRANGER = "20260101T030405Z-0a1b2c3d"


def flows_read_past(table: Path, run: Run) -> None:
    files, abandoned_after = open_table(str(table)), timedelta(hours=1)
    dead_runs(open_records(files), run, abandoned_after=abandoned_after)
    dead_backfills(files, open_records(files), run, abandoned_after=abandoned_after)
    finished(end_records(files), run)
    read_runs(files)
    for intent in open_intents(files, run.bucket):
        is_over(files, intent, abandoned_after=abandoned_after)
    verify_audit(str(table))


@pytest.mark.slow
@given(data=RECORDS, ending=st.sampled_from([".start.json", ".end.json", ".done.json", ".intent.json"]))
@example(data=b"", ending=".start.json")
@example(data=b'{"files": [{}]}', ending=".end.json")
@example(data=b'{"files": [], "run": {"shard": ""}}', ending=".end.json")
@example(data=b'{"files": [], "run": 5}', ending=".end.json")
@example(data=b"[" * 100_000, ending=".intent.json")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
def test_no_record_stops_a_flow(table: Path, plan: PlanRun, data: bytes, ending: str) -> None:
    """Whatever lies there: flows read past it, and where others rely on it, it is named."""
    path = table / "_runs" / f"{STRANGER}{ending}"
    path.write_bytes(data)
    flows_read_past(table, replace(plan(), catches_up=True))
    if ending in (".start.json", ".end.json"):
        assert f"changed: _runs/{path.name}" in _found(table)
    path.unlink()


@pytest.mark.parametrize("ending", [".start.json", ".end.json"])
@pytest.mark.parametrize(
    "changes", [{"profile_name": 5}, {"scheduled_at": "tomorrow"}, {"include_held": "no"}], ids=str
)
def test_parameters_that_no_version_wrote_are_named(table: Path, ending: str, changes: dict[str, Any]) -> None:
    """Flows pass over the record, so it must not look sound."""
    told = json.loads((table / "_runs" / f"{RUN_ID}{ending}").read_text())
    told = {**told, "run": {**told["run"], **changes}} if ending == ".end.json" else {**told, **changes}
    told = json.loads(json.dumps(told).replace(RUN_ID, STRANGER))
    (table / "_runs" / f"{STRANGER}{ending}").write_text(json.dumps(told))
    assert f"changed: _runs/{STRANGER}{ending}" in _found(table)


@pytest.mark.slow
@given(data=st.data(), value=JSON | st.just(10**400) | st.just("2026-01-12T00:00:00") | st.just("9999-12-31"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
def test_no_value_of_a_record_stops_a_flow(
    table: Path, files: AuditFiles, plan: PlanRun, data: st.DataObject, value: object
) -> None:
    """A sound record but for one value: flows read past it, and it is named where other runs would rely on it."""
    run = replace(plan(), run_id=STRANGER)
    paths = {each: table / "_runs" / f"{STRANGER}{each}" for each in (".start.json", ".end.json", "-0001.intent.json")}
    for path in paths.values():
        path.unlink(missing_ok=True)
    record_start(files, run, backfill={"max_parallel": 1})
    record_end(files, run, totals={"counts": {"archived": 1}, "unrecorded": 0, "cost": {}}, manifest=[])
    intent = IntentRecord(
        run_id=STRANGER,
        kind=Kind.RESTORE,
        bucket=run.bucket,
        batch=1,
        written_at=run.started_at,
        days=(run.start_date,),
        rows=(),
    )
    paths["-0001.intent.json"].write_text(json.dumps(asdict(intent), default=str))
    ending = data.draw(st.sampled_from(sorted(paths)))
    told = json.loads(paths[ending].read_text())
    if ending == ".start.json":  # of a run that died
        paths[".end.json"].unlink()
    within = data.draw(st.sampled_from([told, told["run"]])) if ending == ".end.json" else told
    key = data.draw(st.sampled_from(sorted(within)))
    was, within[key] = within[key], value
    paths[ending].write_text(json.dumps(told))
    flows_read_past(table, replace(plan(), catches_up=True))
    relied_on = ending != "-0001.intent.json" and key in ("run", "run_id", "bucket", "prefixes", "shard")
    if relied_on and type(was) is not type(value):
        assert f"changed: _runs/{STRANGER}{ending}" in _found(table)


@pytest.mark.parametrize("run_id", ["nobody", "20269999T996199Z-0a1b2c3d", "20260101"])
def test_a_start_record_of_no_time_stops_no_flow_and_is_named(
    table: Path, files: AuditFiles, plan: PlanRun, run_id: str
) -> None:
    record_start(files, replace(plan(), run_id=run_id))
    flows_read_past(table, replace(plan(), catches_up=True))
    assert _found(table) == [f"changed: _runs/{run_id}.start.json"]


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"files": null}', b'{"files": [1]}', b'{"files": [{"name": "a"}]}']
)
@pytest.mark.parametrize("ending", [".end.json", ".done.json"])
def test_a_damaged_record_is_named(table: Path, data: bytes, ending: str) -> None:
    (table / "_runs" / f"{RUN_ID}{ending}").write_bytes(data)
    assert f"changed: _runs/{RUN_ID}{ending}" in _found(table)
