"""The audit table: what is written is what pandas, Arrow and our own reader see."""

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given

from recordings.errors import AuditDamaged
from recordings.pricing import prices
from recordings.recording import Day
from recordings.s3.store import Store
from recordings.savings.sums import savings
from recordings.settings import Settings
from recordings.table.files import PARTITION, AuditFiles, open_files, open_table
from recordings.table.parquet import arrow_schema, write_rows
from recordings.table.reading import (
    STATE_COLUMNS,
    Final,
    Only,
    audit_dates,
    current,
    destroyed_recordings,
    final_recordings,
    read_audit,
    rows_of,
    rows_of_days,
)
from recordings.table.rows import AuditRow, Status
from tests.bucket import DAY, Bucket
from tests.recordings.tables import NOW, ROW, any_rows, write_table

WHOLE_DAY = Day(prefix="calls/", date=DAY)
FOLDER = "calls/2026/01/12/"
KEY = f"{FOLDER}a.wav"


@pytest.fixture
def audit_uri(tmp_path: Path) -> str:
    return str(tmp_path / "audit")


def test_pandas_reads_the_table_as_it_lies(files: AuditFiles, audit_uri: str) -> None:
    rejected = replace(ROW, key="b.wav", status=Status.REJECTED, bytes_before=None, state_at=None)
    write_rows(files, [rejected, ROW, replace(ROW, recording_date=date(2026, 1, 13))], run_id="r1", number=1)
    files.create("_runs/r1.end.json", b"{}")
    frame = pd.read_parquet(audit_uri)
    assert read_audit(audit_uri).drop(columns="recording_date").equals(frame.drop(columns="recording_date"))
    assert set(frame.columns) == {field.name for field in fields(AuditRow)}
    assert frame["recording_date"].astype(str).tolist() == ["2026-01-12", "2026-01-12", "2026-01-13"]
    assert frame["key"].tolist() == ["a.wav", "b.wav", "a.wav"]
    assert frame["bytes_before"].tolist() == [2**53 + 1, pd.NA, 2**53 + 1]
    assert frame["state_at"][0] == pd.Timestamp(NOW)


def test_read_audit_gives_every_row_of_the_dates(files: AuditFiles, audit_uri: str) -> None:
    days = [DAY + timedelta(days=n) for n in range(4)]
    write_rows(files, [replace(ROW, recording_date=day) for day in days], run_id="r1", number=1)
    frame = read_audit(audit_uri, start=days[1], end=days[2])
    assert frame["recording_date"].tolist() == days[1:3]
    assert (frame["recording_date"] == days[1]).tolist() == [True, False]
    assert len(read_audit(audit_uri)) == 4
    assert len(read_audit(audit_uri, end=days[0])) == 1


def test_an_absent_table_is_empty(audit_uri: str) -> None:
    frame = read_audit(audit_uri)
    assert frame.empty
    assert set(frame.columns) == {field.name for field in fields(AuditRow)}


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_a_damaged_file_is_named_with_the_way_out(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """By every reader, wherever the table lies; the days beside it are read."""
    bucket = request.getfixturevalue("bucket") if where == "bucket" else None
    audit_uri = f"s3://{bucket.name}/audit" if bucket else str(tmp_path / "audit")
    rows = [replace(ROW, key=KEY, recording_date=DAY + timedelta(days=n)) for n in range(2)]
    _, file = write_rows(files := open_table(audit_uri), rows, run_id="r1", number=1)
    data = files.read(file.name)
    for damaged in (b"", b"garbage", data[:200], data[:-40]):
        if bucket:
            bucket.put(f"audit/{file.name}", damaged)
        else:
            (tmp_path / "audit" / file.name).write_bytes(damaged)
        for read in (
            lambda: read_audit(audit_uri),
            lambda: savings(files, prices()),
        ):
            said = "cannot be read: .*If an archiving run wrote it, you may instead move it out .*Leave any other"
            with pytest.raises(AuditDamaged, match=f"^{file.name} .* {said}") as told:
                read()
            assert told.value.name == file.name
        assert len(read_audit(audit_uri, end=DAY)) == 1
    assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)  # noqa: S301 (we wrote it)


def test_every_column_is_described_and_knows_whether_it_may_be_null() -> None:
    schema = arrow_schema()
    assert [field.name for field in schema] == [field.name for field in fields(AuditRow)]
    assert all(field.metadata[b"description"] for field in schema)
    assert not schema.field("key").nullable
    assert schema.field("reason").nullable


def test_files_are_listed_with_rows_and_digest(files: AuditFiles, audit_uri: str) -> None:
    (file,) = write_rows(files, [ROW, replace(ROW, key="b.wav")], run_id="r1", number=7)
    path = Path(audit_uri) / file.name
    assert file.name == "recording_date=2026-01-12/r1-0007.parquet"
    assert (file.rows, pq.read_metadata(path).num_rows) == (2, 2)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert pq.read_schema(path).metadata[b"schema_version"] == b"3"


def test_a_file_is_never_written_twice(files: AuditFiles) -> None:
    write_rows(files, [ROW], run_id="r1", number=1)
    with pytest.raises(FileExistsError):
        write_rows(files, [replace(ROW, key="b.wav")], run_id="r1", number=1)


def test_a_table_in_s3_reads_the_same(bucket: Bucket) -> None:
    audit_uri = f"s3://{bucket.name}/audit"
    files = open_files(audit_uri, lambda name: Store(name, Settings()))
    write_rows(files, [replace(ROW, key=KEY)], run_id="r1", number=1)
    assert read_audit(audit_uri)["key"].tolist() == [KEY]
    assert pd.read_parquet(audit_uri)["key"].tolist() == [KEY]
    done = final_recordings(files, WHOLE_DAY, bucket="recordings", profile="alaw-mono", software_version="1")
    assert done == Final(frozenset({(KEY, '"after"')}), ())


def test_a_file_in_s3_is_one_request(bucket: Bucket) -> None:
    audit_uri = f"s3://{bucket.name}/audit"
    days = [DAY + timedelta(days=n) for n in range(3)]
    write_rows(open_table(audit_uri), [replace(ROW, recording_date=day) for day in days], run_id="r1", number=1)
    before = len(bucket.requests())
    assert read_audit(audit_uri, days[1], days[2], ["key", "bytes_before"]).shape == (2, 2)
    assert bucket.requests_by_kind(since=before) == {"LIST": 3, "GET": 2}


def _later(row: AuditRow, hours: float, **changes: Any) -> AuditRow:
    return replace(row, run_id=f"r{hours}", state_at=NOW + timedelta(hours=hours), **changes)


def _current(files: AuditFiles, audit_uri: str) -> Callable[..., list[tuple[str, str]]]:
    def of(*rows: AuditRow) -> list[tuple[str, str]]:
        for wave, row in enumerate(rows):
            write_rows(files, [row], run_id="r", number=wave)
        frame = current(read_audit(audit_uri))
        return list(zip(frame["key"], frame["status"], strict=True))

    return of


def test_current_is_the_last_change_of_state(files: AuditFiles, audit_uri: str) -> None:
    of = _current(files, audit_uri)
    restored = _later(ROW, 2, status=Status.RESTORED)
    failed = replace(ROW, status=Status.FAILED, state_at=None, started_at=NOW + timedelta(hours=3))
    other = replace(ROW, key="b.wav")
    assert of(restored, ROW, failed, other) == [("a.wav", "restored"), ("b.wav", "archived")]


def test_current_prefers_the_run_that_wrote_it(files: AuditFiles, audit_uri: str) -> None:
    confirmed = replace(ROW, status=Status.ALREADY_ARCHIVED)
    assert _current(files, audit_uri)(ROW, confirmed, confirmed) == [("a.wav", "archived")]


def test_current_keeps_buckets_apart_and_the_order_of_any_frame(files: AuditFiles, audit_uri: str) -> None:
    rows = [replace(ROW, key="b.wav"), ROW, replace(ROW, bucket="elsewhere"), replace(ROW, key="c.wav")]
    write_rows(files, [*rows, *(_later(row, 1, status=Status.RELEASED) for row in rows)], run_id="r", number=1)
    frame = read_audit(audit_uri)
    chosen = frame[frame["key"] != "c.wav"]
    released = chosen[chosen["status"] == "released"]
    assert len(released) == 3
    assert current(pd.concat([chosen, chosen])).equals(released)  # with gaps in its index, and every label twice


def test_an_attempt_is_no_state(files: AuditFiles, audit_uri: str) -> None:
    assert _current(files, audit_uri)(replace(ROW, status=Status.REJECTED)) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {(KEY, '"after"')}),
        ({"status": Status.ALREADY_ARCHIVED}, {(KEY, '"after"')}),
        ({"tagged": False}, set()),
        ({"verified": False}, set()),
        ({"profile": "alaw-stereo"}, set()),
        ({"bucket": "elsewhere"}, set()),
        ({"status": Status.REJECTED, "verified": False, "tagged": False}, {(KEY, '"before"')}),
        ({"status": Status.REJECTED, "verified": False, "software_version": "0"}, set()),
        ({"status": Status.FAILED, "verified": False, "tagged": False}, set()),
        ({"status": Status.SKIPPED, "verified": False, "tagged": False}, set()),
    ],
)
def test_final_is_what_needs_no_further_look(
    files: AuditFiles, changes: dict[str, Any], expected: set[tuple[str, str]]
) -> None:
    write_rows(files, [replace(ROW, key=KEY, **changes)], run_id="r1", number=1)
    done = final_recordings(files, WHOLE_DAY, bucket="recordings", profile="alaw-mono", software_version="1")
    assert done == Final(frozenset(expected), ())


def test_destroyed_is_what_the_last_state_says_and_no_content_of_it_is_final(files: AuditFiles, audit_uri: str) -> None:
    """Held and lifted rows are no states; what came into a later state by whatever way is not destroyed any more."""
    rows = [replace(ROW, key=f"{FOLDER}{n}.wav") for n in range(4)]
    expired = [_later(row, 1, status=Status.EXPIRED, verified=False, tagged=False) for row in rows[:2]]
    erased = _later(rows[2], 1, status=Status.ERASED, verified=False, tagged=False, etag_after=None)
    lifted = _later(rows[0], 3, status=Status.LIFTED, verified=False, tagged=False)
    back = _later(rows[1], 2, status=Status.RESTORED)
    write_rows(files, [*rows, *expired, erased, lifted, back], run_id="r", number=1)
    done = final_recordings(files, WHOLE_DAY, bucket="recordings", profile="alaw-mono", software_version="1")
    on = "on 2026-02-01"
    assert done.destroyed == {rows[0].key: f"run r1 expired it {on}", rows[2].key: f"run r1 erased it {on}"}
    of_day = destroyed_recordings(files, [DAY], Only(bucket="recordings"))
    assert of_day == done.destroyed
    assert destroyed_recordings(files, [DAY], Only(bucket="elsewhere")) == {}
    Path(audit_uri, f"recording_date={DAY}", "r-0002.parquet").write_bytes(b"no Parquet")
    assert destroyed_recordings(files, [DAY], Only(bucket="recordings")) == of_day


def test_held_is_what_a_case_has_not_lifted_and_no_row_of_it_makes_final(files: AuditFiles, audit_uri: str) -> None:
    row = replace(ROW, status=Status.HELD, reason="case: A", verified=False, tagged=False)
    held = [replace(row, key=f"{FOLDER}{n}.wav") for n in range(2)]
    lifted = replace(held[1], status=Status.LIFTED, started_at=NOW + timedelta(hours=2))
    write_rows(files, [*held, lifted], run_id="r", number=1)
    Path(audit_uri, f"recording_date={DAY}", "r-0002.parquet").write_bytes(b"no Parquet")
    done = final_recordings(files, WHOLE_DAY, bucket="recordings", profile="alaw-mono", software_version="1")
    assert done.cases == {held[0].key: frozenset("A")}
    assert not done.recordings
    of_shard = replace(WHOLE_DAY, shard="1")
    done = final_recordings(files, of_shard, bucket="recordings", profile="alaw-mono", software_version="1")
    assert done.cases == {}


@pytest.mark.parametrize(
    ("shard", "expected"),
    [("", ["0a", "ab", "ab\U0001f600", "ivr", "ivr-0"]), ("a", ["ab", "ab\U0001f600", "ivr"]), ("0", ["0a", "ivr-0"])],
)
def test_final_is_of_the_day_and_its_shard(files: AuditFiles, shard: str, expected: list[str]) -> None:
    folder = "calls/2026/01/12/"
    keys = {
        "0a": f"{folder}0a.wav",
        "ab": f"{folder}ab.wav",
        "ab\U0001f600": f"{folder}ab\U0001f600.wav",
        "ivr": "calls/ivr/2026/01/12/a.wav",
        "ivr-0": "calls/ivr/2026/01/12/0.wav",
        "other prefix": "other/2026/01/12/a.wav",
    }
    write_rows(files, [replace(ROW, key=key) for key in keys.values()], run_id="r1", number=1)
    day = Day(prefix="calls/", date=DAY, shard=shard)
    done = final_recordings(files, day, bucket="recordings", profile="alaw-mono", software_version="1")
    assert sorted(key for key, _ in done.recordings) == sorted(keys[name] for name in expected)


def _cut_off(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _with_a_bad_page(data: bytes) -> bytes:
    """Its footer can be read; some column cannot."""
    return data[:4] + bytes(len(data) // 3) + data[4 + len(data) // 3 :]


@pytest.mark.parametrize("damage", [_cut_off, _with_a_bad_page, lambda _: b"", lambda _: b"no Parquet"])
@pytest.mark.parametrize("in_s3", [False, True])
def test_a_damaged_file_costs_only_what_it_made_final(
    request: pytest.FixtureRequest, audit_uri: str, damage: Callable[[bytes], bytes], in_s3: bool
) -> None:
    uri = f"s3://{request.getfixturevalue('bucket').name}/audit" if in_s3 else audit_uri
    files = open_table(uri)
    for number in range(3):
        write_rows(files, [replace(ROW, key=f"{FOLDER}{number}.wav")], run_id=f"r{number}", number=1)
    names = sorted(files.names(f"recording_date={DAY}"))
    whole = files.read(names[1])
    if in_s3:
        request.getfixturevalue("bucket").put(f"audit/{names[1]}", damage(whole))
    else:
        (Path(uri) / names[1]).write_bytes(damage(whole))
    done = final_recordings(files, WHOLE_DAY, bucket="recordings", profile="alaw-mono", software_version="1")
    assert {key for key, _ in done.recordings} == {f"{FOLDER}0.wav", f"{FOLDER}2.wav"}
    assert done.damaged == (names[1],)


@pytest.mark.slow
@given(any_rows(max_size=8))
def test_the_streaming_reader_and_pandas_agree_on_what_is_current(rows: list[AuditRow]) -> None:
    """Of a bucket's rows, day by day and whole, the same rows are current."""
    with TemporaryDirectory() as folder:
        files = write_table(Path(folder), rows)
        of_bucket = read_audit(folder).query("bucket == 'recordings'")
        by_pandas = {day: sorted(map(repr, rows_of(current(of_day)))) for day, of_day in of_bucket.groupby(PARTITION)}
        streamed = {
            day: sorted(map(repr, rows_of_days(files, [day], STATE_COLUMNS, Only(bucket="recordings"), current)))
            for day in audit_dates(files)
        }
        assert {day: of_day for day, of_day in streamed.items() if of_day} == {
            day: of_day for day, of_day in by_pandas.items() if of_day
        }
