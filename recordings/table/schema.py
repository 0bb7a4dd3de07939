"""The audit table described for others: columns, DDL for Athena and Glue, views for DuckDB. All from ``AuditRow``.

``python -m recordings.table.schema > docs/audit-table.md`` writes the documentation.
"""

from collections.abc import Iterator
from glob import escape

from recordings import glossary
from recordings.table.files import PARTITION, audit_location
from recordings.table.parquet import arrow_schema
from recordings.table.rows import DESTROYED, SCHEMA_VERSION, STATES

# Arrow's names -> (Athena's, DuckDB's)
_SQL_TYPES = {
    "string": ("string", "VARCHAR"),
    "int64": ("bigint", "BIGINT"),
    "double": ("double", "DOUBLE"),
    "bool": ("boolean", "BOOLEAN"),
    "timestamp[us, tz=UTC]": ("timestamp", "TIMESTAMPTZ"),
    "date32[day]": ("date", "DATE"),
}
_FIRST_DATE = "2017-03-28"  # the day Amazon Connect was launched: no recording is older
_STATES = ", ".join(f"'{state}'" for state in STATES)
_DESTROYED = ", ".join(f"'{state}'" for state in DESTROYED)
# Newest first; within a second of S3's clock a destruction, and of two rows about one version that of its writer.
CURRENT_ORDER = (
    f"state_at DESC NULLS FIRST, status IN ({_DESTROYED}) DESC, status <> 'already_archived' DESC, started_at DESC"
)


def columns() -> Iterator[tuple[str, str, bool, str]]:
    """Name, Arrow type, whether it may be null, and description of each column, in their order."""
    for field in arrow_schema():
        yield field.name, str(field.type), field.nullable, field.metadata[b"description"].decode()


def athena_table(location: str) -> str:
    """DDL for Athena or Glue: partitions are projected, so that nobody ever has to add one."""
    root = audit_location(location)
    types = {column: _SQL_TYPES[kind][0] for column, kind, _, _ in columns()}
    listed = ",\n".join(f"  `{column}` {kind}" for column, kind in types.items() if column != PARTITION)
    properties = {
        "projection.enabled": "true",
        f"projection.{PARTITION}.type": "date",
        f"projection.{PARTITION}.format": "yyyy-MM-dd",
        f"projection.{PARTITION}.range": f"{_FIRST_DATE},NOW",
        f"projection.{PARTITION}.interval": "1",
        f"projection.{PARTITION}.interval.unit": "DAYS",
        "storage.location.template": f"{root}/{PARTITION}=${{{PARTITION}}}/",
    }
    rows = ",\n".join(f"  '{key}' = '{value}'" for key, value in properties.items())
    return (
        f"CREATE EXTERNAL TABLE audit (\n{listed}\n)\n"
        f"PARTITIONED BY (`{PARTITION}` {types[PARTITION]})\nSTORED AS PARQUET\n"
        f"LOCATION '{root}/'\nTBLPROPERTIES (\n{rows}\n);"
    )


def duckdb_view(audit_uri: str) -> str:
    """A DuckDB view of a table in a local folder; files of every schema version are read, missing columns as null."""
    types = {column: _SQL_TYPES[kind][1] for column, kind, _, _ in columns()}
    listed = ",\n".join(f"  CAST({column} AS {kind}) AS {column}" for column, kind in types.items())
    root = escape(str(audit_location(audit_uri))).replace("'", "''")
    files = f"{root}/{PARTITION}=*/*.parquet"
    return (
        f"CREATE OR REPLACE VIEW audit AS\nSELECT\n{listed}\n"
        f"FROM read_parquet('{files}', union_by_name = true, hive_types = {{'{PARTITION}': DATE}});"
    )


def current_view() -> str:
    """A view, in DuckDB and in Athena, of each recording's last state: what ``current`` gives of its rows."""
    listed = ", ".join(column for column, *_ in columns())
    return (
        f"CREATE OR REPLACE VIEW audit_current AS\nSELECT {listed}\nFROM (\n"  # noqa: S608 (names of ours)
        f"  SELECT *, row_number() OVER (PARTITION BY {PARTITION}, bucket, key\n"
        f"    ORDER BY {CURRENT_ORDER}) AS newest\n"
        f"  FROM audit WHERE status IN ({_STATES})\n)\nWHERE newest = 1;"
    )  # names of ours, no user's input


_EXAMPLE = "s3://my-audit-bucket/recordings"


def document() -> str:
    """The whole of docs/audit-table.md."""
    rows = "\n".join(
        f"| `{name}` | {kind.replace('timestamp[us, tz=UTC]', 'timestamp (UTC)').removesuffix('[day]')} "
        f"| {'yes' if nullable else ''} | {description} |"
        for name, kind, nullable, description in columns()
    )
    return _DOCUMENT.format(
        version=SCHEMA_VERSION,
        rows=rows,
        glossary=glossary.tables(),
        athena=athena_table(_EXAMPLE),
        duckdb=duckdb_view("<audit folder>"),
        current=current_view(),
        example=_EXAMPLE,
        example_s3a=_EXAMPLE.replace("s3://", "s3a://"),
    )


_DOCUMENT = """\
# The audit table

<!-- Generated: python -m recordings.table.schema > docs/audit-table.md -->

The table has a row for every recording that a run looked at, whatever became of the recording. This page describes
schema version {version}; each file's metadata names its version under `schema_version`.

```
<audit_uri>/recording_date=YYYY-MM-DD/<run_id>-<number>.parquet rows; written once, never changed
<audit_uri>/_runs/<run_id>.start.json, .end.json                what a run was asked to do, and its results
<audit_uri>/_runs/<run_id>-<number>.intent.json, .done.json     what a job is about to do, and has done
<audit_uri>/_runs/<run_id>.left.json                            where a release left originals, for the next one
<audit_uri>/_runs/<run_id>.erasure.json, .erased.json           a request to erase, and which run has finished it
<audit_uri>/_differences/<run_id>.csv                           how table and bucket differed, as a reconciliation found
<audit_uri>/_reports/                                           reports on the table: HTML, CSV, Excel
```

`<number>` tells a run's files of one date apart.

pandas, Arrow, DuckDB, Athena and Spark read the table as it is; all of them skip folders whose names begin with `_`.
`audit_uri` is `s3://bucket/prefix` or a local folder. Letters, digits and `!()+,-.=@_~` are what every reader
understands in a prefix; other characters are refused before anything is written. `recording_date` is only in the
folders' names, so a program must be told, or must guess, that it is a date; the examples below tell it.

Within a file, rows are in key order, so that a reader looking for a key can skip files by their statistics.

## Columns

`before` is what the run found and `after` what it left there: the original and its replacement; in a `restored` row the
replacement and the original that came back.

| column | type | null? | meaning |
|---|---|---|---|
{rows}

## Who wrote a row, and with what

A row's `run_id` is the name of the run's records: `_runs/<run_id>.start.json` holds the parameters and, under
`circumstances`, the id, name and link of the Prefect flow run, the deployment, who or what started it (`started_by`;
null where the Prefect server has no accounts), the flow run of the backfill that it belongs to (`parent_flow_run_id`),
the commit, the image and the versions of this software, Python and the libraries that touch samples and files. A value
that the run could not learn is null. The link has the address of the server at the time of the run, and no longer works
if that address changes (the demo's port changes each time). The id still works:
`<address of the Prefect UI>/runs/flow-run/<flow_run_id>`. `_runs/<run_id>.end.json` holds the results of the run. The
last eight characters of a `run_id` are those of the flow run's id.

## How table and bucket differed

Every reconciliation has its records in `_runs/`. A reconciliation that found differences also wrote
`_differences/<run_id>.csv`, with a row for each: `run_id`, `compared_at`, `bucket`, `recording_date`, `key`,
`difference` (its code, as explained below), `is_loss` (a recording, an original or a deletion is not as the table says)
and `sentence`. The end record lists the file with its digest, and `verify_audit` checks it. If there are very many
differences, the rest are in `<run_id>-2.csv` and so on.

## What is true now

`archived`, `already_archived`, `restored`, `released`, `expired` and `erased` are states of the bucket; `skipped`,
`changed`, `rejected` and `failed` are attempts; `held`, `lifted` and `checked` are events beside them: a case holds or
no longer holds the recording, or a check found the bytes unchanged. The current state of a recording is its
last state by S3's clock; attempts and events never supersede a state. Where two rows are about one version, the row of
the run that wrote the version counts. S3's clock has whole seconds: within one second, a destruction counts as the last
state. `recordings.table.reading.current(frame)` gives these rows, and so does the view `audit_current` below. If a
recording's last state is `expired` or `erased`, no version is left: that row is the certificate.

## Glossary

A status says what became of a recording; a reason begins with one of the codes below. A difference is what a
reconciliation finds between table and bucket.

{glossary}

## pandas

```python
from datetime import date
from recordings.table.reading import read_audit

frame = read_audit("{example}", date(2026, 1, 1), date(2026, 1, 31))
of_a_day = frame[frame["recording_date"] == date(2026, 1, 12)]
```

`read_audit` uses boto3's credentials, region and endpoint, as all of this software does; `session=boto3.Session(...)`
gives it others. Without this software, pandas reads the table with Arrow's own S3 client, which ignores `role_arn` and
`endpoint_url` in AWS profiles:

```python
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

day = ds.partitioning(pa.schema([("recording_date", pa.date32())]), flavor="hive")
frame = pd.read_parquet("{example}", partitioning=day)
```

Without `partitioning`, pandas turns the dates into categories of text, which never equal a date.

Excel knows no time zones: `recordings.savings.excel.for_excel(frame).to_excel("audit.xlsx", index=False)` writes
all times in UTC without one.

## Athena and Glue

```sql
{athena}

{current}
```

## DuckDB

```sql
{duckdb}

{current}
```

For a table in S3, DuckDB needs no extension if Arrow reads the files:

```python
import duckdb
from datetime import date
from recordings.table.reading import audit_dataset

audit = audit_dataset("{example}", date(2026, 1, 1), date(2026, 1, 31))
counts = duckdb.sql("SELECT recording_date, status, count(*) AS recordings FROM audit GROUP BY ALL ORDER BY ALL").df()
```

## Spark

```python
audit = spark.read.option("mergeSchema", "true").parquet("{example_s3a}")
of_a_day = audit.where("recording_date = DATE '2026-01-12'")
```

Spark infers that the partition is a date, unless `spark.sql.sources.partitionColumnTypeInference.enabled` is off.
`mergeSchema` shows the columns that only newer files have.

## Evidence

Every row of a conversion holds the SHA-256 of the original and of the replacement. S3 itself checked the latter when
the replacement arrived, and keeps it with the object. A run's `.end.json` lists its files with row count and SHA-256,
and so does a batch's `.done.json`. If a run dies after it acted and before it wrote its rows, the next job that may
write (any but a dry run, a reconciliation without repair, and an export) writes these rows in the dead run's name
(reason `settled`), as `<run_id>-<number>.parquet`, or beside it as `-2`, `-3`.

`print(recordings.table.evidence.verify_audit(audit_uri))` says what it checked (files, rows, runs, dates). It names
every file that is missing, changed, or listed by no run; every record or intent that is damaged, and every intent that
is missing beside its `.done.json`; and every start record or request to erase that was changed after its run ended. For
each of these flaws, it gives the path below the table, what was expected and what was found, so that the file can be
compared with a backup. `verify_audit` reads every file, or with `start=` and `end=` those of these dates of calls. A
reconciliation that is killed leaves its file of differences `uncommitted`. Whoever may overwrite files *and* records
could still forge both, or delete a run's files together with its records, and the table would not show it: Object Lock
on the audit bucket prevents that.

`check_fixity` checks the bytes of the recordings, and writes a row `checked` for each recording that is intact. If
`read_back` is true in that row, the check read the bytes; otherwise it compared only the checksum that S3 keeps. To
check everything at once, let S3 Batch Operations compute the checksums inside S3.
`recordings.checksums.compare_checksums(path, audit_uri)` joins a CSV file of its report with this table, by bucket, key
and version: `sha256_after` for replacements, `sha256_before` for originals. An object of a recording that the table
says was expired or erased is `resurrected`, if the report was made after that and its task found the object. The
function does not name recordings that are missing from the file, since a report may have several files:
`reconcile_audit` names recordings that have vanished.

Our readers raise `AuditDamaged` for a file that they cannot read; the error names the file and says what to do.

## Changes to the schema

Columns are only ever added, and new ones may be null: new software can read old files (a new column is null), and old
software can read new files (it does not see a new column). A column is never renamed, removed, or given another
meaning. The version counts the additions.
"""


if __name__ == "__main__":
    print(document(), end="")
