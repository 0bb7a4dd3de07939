"""What others are told of the audit table is what it is: documentation, DDL, views, evolution, statistics."""

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recordings.conversion.judge import Fidelity
from recordings.jobs.engine.traces import swapped
from recordings.table.files import AuditFiles, open_table
from recordings.table.parquet import write_rows
from recordings.table.reading import audit_dataset, current, read_audit
from recordings.table.rows import MEASURED, AuditRow, Status
from recordings.table.schema import athena_table, columns, current_view, document, duckdb_view
from tests.bucket import DAY, Bucket
from tests.recordings.tables import NOW, ROW

NAMES = [field.name for field in fields(AuditRow)]


def test_one_list_names_the_figures_of_the_judge_and_a_restored_row_has_none_of_them() -> None:
    assert [field.name for field in fields(Fidelity)] == list(MEASURED)
    measured: dict[str, Any] = dict.fromkeys(MEASURED, 1)
    judged = replace(ROW, **measured)
    restored = swapped(judged, judged.after)
    assert [getattr(restored, name) for name in MEASURED] == [None] * len(MEASURED)


@pytest.fixture
def audit_uri(tmp_path: Path) -> str:
    return str(tmp_path / "audit")


@pytest.fixture
def sql() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


DOCUMENT = Path(__file__).parents[2] / "docs" / "audit-table.md"
EXAMPLE = "s3://my-audit-bucket/recordings"


def test_the_documentation_is_what_the_program_writes() -> None:
    assert DOCUMENT.read_text() == document()


def shown(language: str, containing: str) -> str:
    """The one block of the documentation that has this in it."""
    blocks = re.findall(rf"^```{language}\n(.+?)^```", DOCUMENT.read_text(), re.M | re.S)
    (block,) = [block for block in blocks if containing in block]
    return str(block)


@pytest.fixture
def table_in_s3(bucket: Bucket) -> str:
    """Three days, the last of another year."""
    audit_uri = f"s3://{bucket.name}/recordings"
    rows = [ROW, replace(ROW, recording_date=date(2026, 1, 13)), replace(ROW, recording_date=date(2027, 1, 1))]
    write_rows(open_table(audit_uri), rows, run_id="r", number=1)
    return audit_uri


@pytest.mark.parametrize(
    ("call", "days"),
    [("read_audit(", [DAY, date(2026, 1, 13)]), ("pd.read_parquet(", [DAY, DAY.replace(day=13), None])],
)
def test_pandas_gets_real_dates_as_shown(table_in_s3: str, call: str, days: list[date | None]) -> None:
    names: dict[str, Any] = {}
    exec(shown("python", call).replace(EXAMPLE, table_in_s3), names)  # noqa: S102 (our own document)
    frame = names["frame"]
    expected = [day or date(2027, 1, 1) for day in days]
    assert frame["recording_date"].tolist() == expected
    assert [type(day) for day in frame["recording_date"]] == [date] * len(expected)
    assert (frame["recording_date"] == DAY).sum() == 1
    assert (frame["recording_date"] > DAY).sum() == len(expected) - 1
    assert len(names.get("of_a_day", [1])) == 1


def test_duckdb_gets_real_dates_of_arrow_as_shown(table_in_s3: str) -> None:
    names: dict[str, Any] = {}
    block = shown("python", "audit_dataset(").replace(EXAMPLE, table_in_s3)
    exec(block, names)  # noqa: S102 (our own document)
    assert sorted(names["counts"]["recording_date"]) == [pd.Timestamp(DAY), pd.Timestamp(2026, 1, 13)]
    audit = names["audit"]
    with duckdb.connect() as sql:
        sql.register("audit", audit)
        assert sql.execute("SELECT typeof(recording_date) FROM audit LIMIT 1").fetchone() == ("DATE",)


def test_duckdb_gets_real_dates_of_a_folder_as_shown(
    files: AuditFiles, audit_uri: str, sql: duckdb.DuckDBPyConnection
) -> None:
    write_rows(files, [ROW, replace(ROW, recording_date=date(2026, 1, 13))], run_id="r", number=1)
    sql.execute(shown("sql", "read_parquet(").replace("<audit folder>", audit_uri))
    asked = "SELECT typeof(recording_date), recording_date FROM audit_current WHERE recording_date = DATE '2026-01-12'"
    assert sql.execute(asked).fetchall() == [("DATE", DAY)]


def test_athena_and_spark_are_told_of_dates() -> None:
    ddl = shown("sql", "CREATE EXTERNAL TABLE")
    assert f"LOCATION '{EXAMPLE}/'" in ddl
    assert re.search(r"^PARTITIONED BY \(`recording_date` date\)$", ddl, re.M)
    spark = shown("python", "spark.read")
    assert '.parquet("s3a://my-audit-bucket/recordings")' in spark  # infers dates: docs/decisions/0031
    assert "recording_date = DATE '2026-01-12'" in spark


@pytest.mark.parametrize("folder", ["audit [old]", "o'audit", "a*b?/{c}"])
def test_a_view_is_of_the_folder_that_is_named(tmp_path: Path, folder: str, sql: duckdb.DuckDBPyConnection) -> None:
    audit_uri = str(tmp_path / folder)
    write_rows(open_table(audit_uri), [ROW], run_id="r", number=1)
    sql.execute(duckdb_view(audit_uri))
    assert sql.execute("SELECT key FROM audit").fetchall() == [(ROW.key,)]


def test_athena_gets_every_column_and_projects_the_partition() -> None:
    ddl = athena_table("s3://audit/calls/")
    declared = re.findall(r"^  `(\w+)` (\w+),?$", ddl, re.MULTILINE)
    assert [name for name, _ in declared] == [name for name in NAMES if name != "recording_date"]
    assert dict(declared)["bytes_before"] == "bigint"
    assert dict(declared)["state_at"] == "timestamp"
    assert "PARTITIONED BY (`recording_date` date)" in ddl
    assert "'storage.location.template' = 's3://audit/calls/recording_date=${recording_date}/'" in ddl
    assert "LOCATION 's3://audit/calls/'" in ddl


def test_duckdb_runs_its_views(files: AuditFiles, audit_uri: str, sql: duckdb.DuckDBPyConnection) -> None:
    released = replace(ROW, status=Status.RELEASED, state_at=NOW.replace(hour=9), original_kept=False)
    confirmed = replace(ROW, status=Status.ALREADY_ARCHIVED, key="b.wav")
    rejected = replace(ROW, status=Status.REJECTED, key="c.wav")
    for wave, row in enumerate((ROW, released, confirmed, replace(ROW, key="b.wav"), rejected)):
        write_rows(files, [row], run_id="r", number=wave)
    files.create("_runs/r.end.json", b"{}")
    sql.execute(duckdb_view(audit_uri))
    sql.execute(current_view())
    assert [column[0] for column in sql.execute("SELECT * FROM audit").description] == NAMES
    shown = sql.execute("SELECT recording_date, key, status, bytes_before FROM audit_current ORDER BY key").fetchall()
    assert shown == [(DAY, "a.wav", "released", 2**53 + 1), (DAY, "b.wav", "archived", 2**53 + 1)]
    by_pandas = current(read_audit(audit_uri))
    assert by_pandas[["key", "status"]].to_numpy().tolist() == [[key, status] for _, key, status, _ in shown]


def test_duckdb_reads_a_dataset_of_arrow(files: AuditFiles, audit_uri: str, sql: duckdb.DuckDBPyConnection) -> None:
    write_rows(files, [ROW], run_id="r", number=1)
    sql.register("audit", audit_dataset(audit_uri, DAY, DAY))
    assert sql.execute("SELECT recording_date, count(*) FROM audit GROUP BY ALL").fetchall() == [(DAY, 1)]


def _written(files: AuditFiles, audit_uri: str) -> Path:
    (file,) = write_rows(files, [ROW], run_id="r", number=1)
    return Path(audit_uri) / file.name


def test_a_file_of_an_older_version_is_read(files: AuditFiles, audit_uri: str, sql: duckdb.DuckDBPyConnection) -> None:
    """It lacks a column that was added since; the next to it has it."""
    path = _written(files, audit_uri)
    older = pq.read_table(path, partitioning=None).drop_columns(["gain_left", "original_kept"])
    pq.write_table(older, path.with_name("older.parquet"))
    frame = read_audit(audit_uri)
    assert frame["gain_left"].isna().tolist() == [True, True]
    assert len(current(frame)) == 1
    sql.execute(duckdb_view(audit_uri))
    assert sql.execute("SELECT count(*), count(gain_left) FROM audit").fetchall() == [(2, 0)]
    assert len(pd.read_parquet(audit_uri)) == 2


def test_a_file_of_a_newer_version_is_read(files: AuditFiles, audit_uri: str, sql: duckdb.DuckDBPyConnection) -> None:
    path = _written(files, audit_uri)
    table = pq.read_table(path, partitioning=None)
    newer = table.append_column("loudness_lufs", pa.array([-23.0])).replace_schema_metadata({"schema_version": "3"})
    pq.write_table(newer, path.with_name("newer.parquet"))
    frame = read_audit(audit_uri)
    assert (len(frame), list(frame.columns) == NAMES) == (2, True)
    sql.execute(duckdb_view(audit_uri))
    assert sql.execute("SELECT count(*) FROM audit").fetchone() == (2,)


def test_files_are_compressed_and_say_which_keys_they_hold(files: AuditFiles, audit_uri: str) -> None:
    rows = [replace(ROW, key=f"{number:05d}.wav") for number in range(100)]
    (file,) = write_rows(files, rows, run_id="r", number=1)
    group = pq.read_metadata(Path(audit_uri) / file.name).row_group(0)
    by_name = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert {column.compression for column in by_name.values()} == {"ZSTD"}
    assert all(column.statistics.has_min_max or column.statistics.null_count == 100 for column in by_name.values())
    assert (by_name["key"].statistics.min, by_name["key"].statistics.max) == ("00000.wav", "00099.wav")
    assert by_name["profile"].has_dictionary_page
    assert not by_name["key"].has_dictionary_page


def test_duckdb_skips_other_days(files: AuditFiles, audit_uri: str, sql: duckdb.DuckDBPyConnection) -> None:
    for day in range(1, 6):
        write_rows(files, [replace(ROW, recording_date=DAY.replace(day=day))], run_id="r", number=1)
    sql.execute(duckdb_view(audit_uri))
    ((_, plan),) = sql.execute(
        "EXPLAIN ANALYZE SELECT key FROM audit WHERE recording_date = DATE '2026-01-03'"
    ).fetchall()
    assert re.search(r"Scanning Files: 1/5|Total Files Read: 1\b", plan), plan


def test_types_are_known_to_all(audit_uri: str) -> None:
    assert {kind for _, kind, _, _ in columns()} == {
        *("string", "int64", "double", "bool", "timestamp[us, tz=UTC]", "date32[day]"),
    }
