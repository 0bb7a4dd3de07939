"""The records of runs: written as they always were, read whichever version wrote them, refused if none can have."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from recordings.backfill.finished import finished
from recordings.errors import AuditDamaged
from recordings.pricing import Cost
from recordings.recording import Window
from recordings.run import Run
from recordings.table.files import LocalFiles, digest_of
from recordings.table.records import (
    Circumstances,
    EndRecord,
    IntentRecord,
    Kind,
    LeftRecord,
    StartRecord,
    began_at,
    end_record,
    end_records,
    intended,
    left_records,
    listings,
    open_records,
    record_covered,
    record_done,
    record_end,
    record_intent,
    record_look_again,
    record_start,
    run_id_of,
    start_record,
    start_records,
    unclosed_intents,
    writer_of,
)
from recordings.table.rows import ManifestFile
from tests.bucket import DAY
from tests.recordings.tables import ROW

AT = datetime(2026, 2, 1, 3, 4, 5, tzinfo=UTC)
RUN_ID = "20260201T030405Z-0a1b2c3d"
RUN = Run(
    run_id=RUN_ID,
    bucket="calls",
    prefixes=("connect/",),
    audit_uri="s3://audit/table",
    start_date=date(2026, 1, 12),
    end_date=date(2026, 1, 13),
    scheduled_at=AT,
    started_at=AT.replace(microsecond=678),
    min_age_days=7,
    profile_name="alaw-mono",
    storage_class="GLACIER_IR",
    dry_run=False,
    overwrite_converted=False,
    include_held=False,
    accept=(),
    batch_size=200,
    readback_percent=1.0,
    archive_unprofitable=False,
    grace_days=30,
    shard="3f",
    catches_up=True,
    software_version="0.1.0",
)
CIRCUMSTANCES = Circumstances(
    flow_run_id="8f14e45f-ceea-467f-ab3c-01230a1b2c3d",
    deployment_name="archive-day",
    started_by="USER ada",
    versions={"python": "3.12.1"},
)
TOTALS = {"counts": {"archived": 2}, "unrecorded": 0, "unlisted": (), "cpu_s": 1.5, "wall_s": 2.5, "minutes": 4.0}
FILE = ManifestFile(name=f"recording_date=2026-01-12/{RUN_ID}-0001.parquet", rows=2, sha256="ab")
INTENT = IntentRecord(
    run_id=RUN_ID,
    kind=Kind.RELEASE,
    bucket="calls",
    batch=1,
    written_at=AT,
    days=(date(2026, 1, 12),),
    rows=(),
)
LEFT = LeftRecord(
    bucket="calls",
    grace_days=30,
    grace_days_read_back=7,
    look_again={date(2026, 1, 13): date(2026, 3, 29), date(2026, 1, 12): date(2026, 3, 1)},
)

# As they were before one module wrote them all: old readers go on reading.
RUN_WRITTEN = """\
 "run_id": "20260201T030405Z-0a1b2c3d",
 "bucket": "calls",
 "prefixes": [
  "connect/"
 ],
 "audit_uri": "s3://audit/table",
 "start_date": "2026-01-12",
 "end_date": "2026-01-13",
 "scheduled_at": "2026-02-01 03:04:05+00:00",
 "started_at": "2026-02-01 03:04:05.000678+00:00",
 "min_age_days": 7,
 "profile_name": "alaw-mono",
 "storage_class": "GLACIER_IR",
 "dry_run": false,
 "overwrite_converted": false,
 "include_held": false,
 "accept": [],
 "batch_size": 200,
 "readback_percent": 1.0,
 "archive_unprofitable": false,
 "grace_days": 30,
 "shard": "3f",
 "catches_up": true,
 "software_version": "0.1.0"
""".rstrip()
FILES_WRITTEN = """\
 "files": [
  {
   "name": "recording_date=2026-01-12/20260201T030405Z-0a1b2c3d-0001.parquet",
   "rows": 2,
   "sha256": "ab"
  }
 ]"""
START_WRITTEN = f"""\
{{
{RUN_WRITTEN},
 "circumstances": {{
  "flow_run_id": "8f14e45f-ceea-467f-ab3c-01230a1b2c3d",
  "flow_run_name": null,
  "flow_run_url": null,
  "parent_flow_run_id": null,
  "deployment_id": null,
  "deployment_name": "archive-day",
  "started_by": "USER ada",
  "commit": null,
  "image": null,
  "versions": {{
   "python": "3.12.1"
  }}
 }},
 "retention": "kept for ever"
}}"""
END_WRITTEN = f"""\
{{
 "run": {{
{indent(RUN_WRITTEN, " ")}
 }},
 "counts": {{
  "archived": 2
 }},
 "unrecorded": 0,
 "unlisted": [],
 "cpu_s": 1.5,
 "wall_s": 2.5,
 "minutes": 4.0,
 "start_sha256": "%s",
{FILES_WRITTEN}
}}"""
OTHERS_WRITTEN = {
    f"{RUN_ID}-0001.intent.json": """\
{
 "run_id": "20260201T030405Z-0a1b2c3d",
 "kind": "release",
 "bucket": "calls",
 "batch": 1,
 "written_at": "2026-02-01 03:04:05+00:00",
 "days": [
  "2026-01-12"
 ],
 "rows": []
}""",
    f"{RUN_ID}-0001.done.json": f"""\
{{
 "run_id": "20260201T030405Z-0a1b2c3d",
 "batch": 1,
{FILES_WRITTEN}
}}""",
    f"{RUN_ID}.left.json": """\
{
 "bucket": "calls",
 "grace_days": 30,
 "grace_days_read_back": 7,
 "look_again": {
  "2026-01-12": "2026-03-01",
  "2026-01-13": "2026-03-29"
 }
}""",
    "dead.covered.json": """\
{
 "covered_by": "20260201T030405Z-0a1b2c3d"
}""",
}


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path)


def started(**changes: Any) -> bytes:
    return json.dumps({**json.loads(START_WRITTEN), **changes}).encode()


def ended(run: Mapping[str, Any] | None = None, **changes: Any) -> bytes:
    record = json.loads(END_WRITTEN)
    return json.dumps({**record, "run": {**record["run"], **(run or {})}, **changes}).encode()


def without(data: bytes, *names: str) -> bytes:
    return json.dumps({name: value for name, value in json.loads(data).items() if name not in names}).encode()


def start_of(data: bytes) -> StartRecord:
    start = start_record(f"_runs/{RUN_ID}.start.json", data)
    assert start is not None
    return start


def end_of(data: bytes) -> EndRecord:
    end = end_record(f"_runs/{RUN_ID}.end.json", data)
    assert end is not None
    return end


def test_what_is_written_is_byte_for_byte_what_it_was(files: LocalFiles) -> None:
    record_start(files, RUN, circumstances=CIRCUMSTANCES, retention="kept for ever")
    record_end(files, RUN, totals=TOTALS, manifest=[FILE])
    record_intent(files, INTENT)
    record_done(files, INTENT, [FILE])
    record_look_again(files, RUN_ID, LEFT)
    record_covered(files, ["dead"], RUN)
    written = {name.removeprefix("_runs/"): files.read(name).decode() for name in files.names("_runs")}
    assert written.pop(f"{RUN_ID}.start.json") == START_WRITTEN
    assert written.pop(f"{RUN_ID}.end.json") == END_WRITTEN % digest_of(START_WRITTEN.encode())
    assert written == OTHERS_WRITTEN


def test_a_backfill_says_how_it_is_cut_before_who_started_it(files: LocalFiles) -> None:
    record_start(files, RUN, backfill={"max_parallel": 4}, circumstances=CIRCUMSTANCES)
    told = START_WRITTEN.replace(' "circumstances"', ' "backfill": {\n  "max_parallel": 4\n },\n "circumstances"')
    told = told.replace(',\n "retention": "kept for ever"', "")
    assert files.read(f"_runs/{RUN_ID}.start.json").decode() == told
    (start,) = open_records(files)
    assert (start.kind, start.backfill, start.circumstances) == (Kind.BACKFILL, {"max_parallel": 4}, CIRCUMSTANCES)


def test_what_was_written_is_read_as_a_value(files: LocalFiles) -> None:
    record_start(files, RUN, circumstances=CIRCUMSTANCES, retention="kept for ever")
    (start,) = open_records(files)
    assert (start.kind, start.windows, start.started_at) == (Kind.ARCHIVE, RUN.windows, RUN.started_at)
    assert (start.youngest_day, start.circumstances.started_by) == (date(2026, 1, 25), "USER ada")
    cost = {"requests_usd": 0.25, "kms_usd": 0}
    record_end(files, RUN, totals={**TOTALS, "cost": cost, "bytes_before": 8, "bytes_after": 2}, manifest=[FILE])
    (end,) = end_records(files)
    assert end.run == replace(start, circumstances=Circumstances(), retention=None)
    assert (end.counts, end.unrecorded, end.unlisted, end.files) == ({"archived": 2}, 0, (), (FILE,))
    assert (end.cost, end.minutes, end.cpu_s, end.wall_s) == (Cost(requests_usd=0.25), 4.0, 1.5, 2.5)
    record_look_again(files, RUN_ID, LEFT)
    assert list(left_records(files)) == [(AT, LEFT)]
    record_done(files, INTENT, [FILE])
    assert [record.files for _, record in listings(files) if record] == [(FILE,), (FILE,)]


def test_records_of_earlier_versions_are_read() -> None:
    """The first had no shards, no costs, no circumstances, and archived what does not pay."""
    later = ("archive_unprofitable", "grace_days", "shard", "circumstances", "retention")
    start = start_of(without(started(), *later))
    assert (start.kind, start.circumstances, start.archive_unprofitable) == (Kind.ARCHIVE, Circumstances(), True)
    assert (start.grace_days, start_of(started()).grace_days) == (None, 30)
    assert start.windows == [Window(prefix="connect/", start_date=RUN.start_date, end_date=RUN.end_date)]
    run = json.loads(without(json.dumps(json.loads(ended())["run"]).encode(), *later))
    end = end_of(without(json.dumps({**json.loads(ended()), "run": run}).encode(), "start_sha256", "unlisted"))
    assert (end.start_sha256, end.unlisted, end.cost) == (None, (), None)
    assert not finished([end], RUN), "it cannot tell of which shard"
    assert finished([end_of(ended())], RUN)


def test_a_job_of_an_earlier_version_is_read() -> None:
    asked = {"run_id": RUN_ID, "kind": "release", "bucket": "calls", "audit_uri": "s3://audit/table", "prefixes": [""]}
    unsaid = dict.fromkeys(("start_date", "end_date", "contact_ids", "of_run"))
    start = start_of(json.dumps({**asked, **unsaid, "grace_days": 30, "started_at": str(AT)}).encode())
    assert (start.kind, start.dates, start.youngest_day) == (Kind.RELEASE, (date.min, date.max), date.max)


def test_what_a_later_version_adds_is_passed_over() -> None:
    assert start_of(started(tomorrow=[1])) == start_of(started())
    assert end_of(ended({"tomorrow": 1}, tomorrow=1)) == end_of(ended())


def intent_of(files: LocalFiles, row: Mapping[str, Any], **changes: Any) -> IntentRecord | None:
    """The intent as it is read when its row, and the record itself, have been changed."""
    name = f"_runs/{INTENT.name}.intent.json"
    told = {**json.loads(OTHERS_WRITTEN[f"{INTENT.name}.intent.json"]), "rows": [row], **changes}
    (files.root / "_runs").mkdir(exist_ok=True)
    (files.root / name).write_text(json.dumps(told))
    ((found, intent),) = unclosed_intents(files)
    assert found == name
    return intent


TOLD: Mapping[str, Any] = json.loads(json.dumps(asdict(ROW), default=str))


def test_the_intents_of_all_versions_are_read(files: LocalFiles) -> None:
    """The first had fewer columns, and a later one has more."""
    intent = replace(INTENT, rows=(ROW,))
    assert intent_of(files, {**TOLD, "tomorrow": 1}, tomorrow=1) == intent
    needed = ("run_id", "recording_date", "bucket", "key", "status", "profile", "started_at", "software_version")
    first = intent_of(files, {name: TOLD[name] for name in needed})
    assert first is not None
    (row,) = first.rows
    assert (row.status, row.recording_date, row.state_at, row.weighed_by) == (ROW.status, DAY, None, None)
    assert intended(files, FILE.name) == (row,)


@pytest.mark.parametrize(
    "changes",
    [
        {"run_id": "20260201T030405Z-deadbeef"},
        {"kind": "shred"},
        {"batch": 2},
        {"batch": True},
        {"written_at": "2026-02-01 03:04:05"},
        {"days": ["2026-01"]},
        {"rows": None},
        {"rows": [{**TOLD, "status": "shredded"}]},
        {"rows": [{**TOLD, "bytes_before": "1"}]},
        {"rows": [{**TOLD, "started_at": "2026-02-01 03:04:05"}]},
        {"rows": [{**TOLD, "state_at": "2026-02-01 03:04:05"}]},
    ],
    ids=str,
)
def test_what_no_version_set_out_to_do_makes_no_intent(files: LocalFiles, changes: dict[str, Any]) -> None:
    assert intent_of(files, TOLD, **changes) is None
    with pytest.raises(AuditDamaged, match=f"{INTENT.name}.intent"):
        intended(files, FILE.name)


UNSOUND = [
    {"run_id": "20260201T030405Z-deadbeef"},
    {"kind": "shred"},
    {"bucket": 5},
    {"prefixes": "connect/"},
    {"prefixes": [None]},
    {"start_date": "2026-01-14"},
    {"start_date": "2026-01-12T00:00:00"},
    {"start_date": 1768176000},
    {"end_date": None},
    {"started_at": "2026-02-01 03:04:05"},
    {"scheduled_at": None},
    {"scheduled_at": "0001-01-01 00:00:00+00:00"},
    {"min_age_days": 10**400},
    {"min_age_days": True},
    {"profile_name": None},
    {"storage_class": ["GLACIER_IR"]},
    {"shard": 3},
    {"include_held": 0},
    {"archive_unprofitable": "no"},
]


@pytest.mark.parametrize("changes", UNSOUND, ids=str)
def test_parameters_that_no_version_wrote_make_no_record(changes: dict[str, Any]) -> None:
    assert start_record(f"{RUN_ID}.start.json", started(**changes)) is None
    assert end_record(f"{RUN_ID}.end.json", ended(changes)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"run": None},
        {"files": None},
        {"files": [{"name": "a"}]},
        {"files": [{"name": "a", "sha256": "ab", "rows": "2"}]},
        {"counts": ["archived"]},
        {"counts": {"archived": "2"}},
        {"unrecorded": "0"},
        {"unlisted": "2026-01-12"},
        {"start_sha256": 5},
        {"cost": {"requests_usd": "0.25"}},
        {"minutes": "4"},
    ],
    ids=str,
)
def test_totals_that_no_version_wrote_make_no_record(changes: dict[str, Any]) -> None:
    told = json.dumps({**json.loads(END_WRITTEN), **changes}).encode()
    assert end_record(f"{RUN_ID}.end.json", told) is None


@pytest.mark.parametrize(
    "changes", [{"backfill": None}, {"backfill": 5}, {"circumstances": 5}, {"retention": 5}], ids=str
)
def test_what_goes_beside_the_parameters_is_checked_too(changes: dict[str, Any]) -> None:
    assert start_record(f"{RUN_ID}.start.json", started(**changes)) is None


def test_a_run_id_is_made_and_taken_apart() -> None:
    assert run_id_of(AT, "8f14e45f-ceea-467f-ab3c-01230a1b2c3d") == RUN_ID
    assert began_at(RUN_ID) == AT
    for name in (f"recording_date=2026-01-12/{RUN_ID}-0001.parquet", f"{RUN_ID}-0001-2.parquet"):
        assert writer_of(name) == RUN_ID
    with pytest.raises(ValueError, match="does not match"):
        began_at("nobody")


def test_only_records_in_question_are_read(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of runs that began earlier, that have ended, or that others have covered, are known by their names."""
    ids = [f"2026020{day}T030405Z-0a1b2c3d" for day in range(1, 5)]
    for each in ids:
        record_start(files, replace(RUN, run_id=each))
    record_end(files, replace(RUN, run_id=ids[1]), totals={}, manifest=[])
    record_covered(files, [ids[2]], RUN)
    read, names = files.read, list[str]()

    def noted(name: str) -> bytes:
        names.append(name)
        return read(name)

    monkeypatch.setattr(files, "read", noted)
    assert [start.run_id for start in open_records(files)] == [ids[0], ids[3]]
    assert [start.run_id for start in start_records(files, began_at(ids[1]), but={ids[1]})] == ids[2:]
    assert [end.run.run_id for end in end_records(files, began_at(ids[2]))] == []
    assert sorted(names) == sorted(f"_runs/{each}.start.json" for each in (ids[0], ids[3], *ids[2:]))
