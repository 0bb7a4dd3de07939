"""The audit table described for others: columns, DDL for Athena and Glue, views for DuckDB. All from ``ManifestRow``.

``python -m recordings.schema > docs/audit-table.md`` writes the documentation.
"""

from collections.abc import Iterator

from recordings.manifest import PARTITION, SCHEMA_VERSION, STATES, arrow_schema

# Arrow's names -> (Athena's, DuckDB's)
_SQL_TYPES = {
    "string": ("string", "VARCHAR"),
    "int64": ("bigint", "BIGINT"),
    "double": ("double", "DOUBLE"),
    "bool": ("boolean", "BOOLEAN"),
    "timestamp[us, tz=UTC]": ("timestamp", "TIMESTAMPTZ"),
    "date32[day]": ("date", "DATE"),
}
_STATES = ", ".join(f"'{state}'" for state in STATES)
# Newest first; of two rows about one version, that of the run that wrote it.
CURRENT_ORDER = "state_at DESC NULLS FIRST, status <> 'already_archived' DESC, started_at DESC"


def columns() -> Iterator[tuple[str, str, bool, str]]:
    """Name, Arrow type, whether it may be null, and description of each column, in their order."""
    for field in arrow_schema():
        yield field.name, str(field.type), field.nullable, field.metadata[b"description"].decode()


def athena_table(location: str, *, name: str = "audit", first_date: str = "2017-03-28") -> str:
    """DDL for Athena or Glue: partitions are projected, so that none has ever to be added.

    ``first_date`` is by default the day Amazon Connect was launched: no recording is older.
    """
    types = {column: _SQL_TYPES[kind][0] for column, kind, _, _ in columns()}
    listed = ",\n".join(f"  `{column}` {kind}" for column, kind in types.items() if column != PARTITION)
    properties = {
        "projection.enabled": "true",
        f"projection.{PARTITION}.type": "date",
        f"projection.{PARTITION}.format": "yyyy-MM-dd",
        f"projection.{PARTITION}.range": f"{first_date},NOW",
        f"projection.{PARTITION}.interval": "1",
        f"projection.{PARTITION}.interval.unit": "DAYS",
        "storage.location.template": f"{location.rstrip('/')}/{PARTITION}=${{{PARTITION}}}/",
    }
    rows = ",\n".join(f"  '{key}' = '{value}'" for key, value in properties.items())
    return (
        f"CREATE EXTERNAL TABLE {name} (\n{listed}\n)\n"
        f"PARTITIONED BY (`{PARTITION}` {types[PARTITION]})\nSTORED AS PARQUET\n"
        f"LOCATION '{location.rstrip('/')}/'\nTBLPROPERTIES (\n{rows}\n);"
    )


def duckdb_view(audit_uri: str, *, name: str = "audit") -> str:
    """A DuckDB view of a table in a local folder; files of every schema version are read, missing columns as null."""
    types = {column: _SQL_TYPES[kind][1] for column, kind, _, _ in columns()}
    listed = ",\n".join(f"  CAST({column} AS {kind}) AS {column}" for column, kind in types.items())
    files = f"{audit_uri.rstrip('/')}/{PARTITION}=*/*.parquet"
    return (
        f"CREATE OR REPLACE VIEW {name} AS\nSELECT\n{listed}\n"
        f"FROM read_parquet('{files}', union_by_name = true, hive_types = {{'{PARTITION}': DATE}});"
    )


def current_view(*, table: str = "audit") -> str:
    """A view, in DuckDB and in Athena, of each recording's last state: what ``recordings.manifest.current`` gives."""
    listed = ", ".join(column for column, *_ in columns())
    return (
        f"CREATE OR REPLACE VIEW {table}_current AS\nSELECT {listed}\nFROM (\n"  # noqa: S608 (names of ours)
        f"  SELECT *, row_number() OVER (PARTITION BY {PARTITION}, bucket, key\n"
        f"    ORDER BY {CURRENT_ORDER}) AS newest\n"
        f"  FROM {table} WHERE status IN ({_STATES})\n)\nWHERE newest = 1;"
    )  # names of ours, no user's input


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
        athena=athena_table("s3://<audit bucket>/<prefix>"),
        duckdb=duckdb_view("<audit folder>"),
        current=current_view(),
    )


_DOCUMENT = """\
# The audit table

<!-- Generated: python -m recordings.schema > docs/audit-table.md -->

A row for every recording that a run looked at, whatever became of it. Schema version {version}, as each file's metadata
says under `schema_version`.

```
<audit_uri>/recording_date=YYYY-MM-DD/<run_id>-<wave>.parquet   rows; written once, never changed
<audit_uri>/_runs/<run_id>.start.json, .end.json                what a run was asked for, and what it came to
<audit_uri>/_runs/<run_id>-<batch>.intent.json, .done.json      what a restore or release is about to do, and has done
<audit_uri>/_reports/                                           reports on the table, HTML and CSV
```

`pandas.read_parquet(audit_uri)`, Arrow, DuckDB, Athena and Spark read the table as it lies; folders that begin with `_`
are skipped by all of them. Within a file, rows are in key order, so that a reader looking for a key can skip files by
their statistics.

## Columns

`before` is what the run found and `after` what it left there: the original and its replacement; in a `restored` row the
replacement and the original that came back.

| column | type | null? | meaning |
|---|---|---|---|
{rows}

## What is true now

`archived`, `already_archived`, `restored` and `released` are states of the bucket; `skipped`, `changed`, `rejected` and
`failed` are attempts. What is true of a recording is its last state by S3's clock; an attempt never supersedes a state.
Of two rows about one version, that of the run that wrote it counts. `recordings.manifest.current(frame)` gives these
rows, and so does the view `audit_current` below.

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

A table in S3 needs no extension if Arrow reads it:

```python
import duckdb
from recordings.manifest import audit_dataset

audit = audit_dataset("s3://<audit bucket>/<prefix>", start, end)
duckdb.sql("SELECT status, count(*) FROM audit GROUP BY status")
```

## Evidence

Every row of a conversion holds the SHA-256 of the original and of the replacement. S3 itself checked the latter when
the replacement arrived, and keeps it with the object. A run's `.end.json` lists its files with row count and SHA-256,
and so does a batch's `.done.json`. The rows of a run that died between deed and row are written by the next restore,
release or repair in the dead run's name (reason `settled`), as `<run_id>-<batch>.parquet`, or beside it as `-2`, `-3`.
`recordings.evidence.verify_audit(audit_uri)` names every file that is missing, changed, or listed by no run. Whoever
may overwrite files *and* records could still forge both: that is what Object Lock on the audit bucket is for.

## Changes to the schema

Columns are only ever added, and new ones may be null: old files read with new software (the column is null), new files
with old software (it is not seen). A column is never renamed, removed, or given another meaning. The version counts the
additions.
"""


if __name__ == "__main__":
    print(document(), end="")
