"""Rows as Parquet files, at ``<audit_uri>/recording_date=YYYY-MM-DD/<run_id>-<number>.parquet``, never changed."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import date, datetime
from functools import cache
from io import BytesIO
from types import UnionType
from typing import Any, get_args, get_type_hints

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]  # ships no type information
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from recordings.errors import AuditDamaged
from recordings.table.files import PARTITION, AuditFiles, digest_of
from recordings.table.rows import SCHEMA_VERSION, AuditRow, ManifestFile, Status

# Columns with repeating values, which a dictionary compresses. The values of the others are almost all different.
_REPEATING = (
    "run_id",
    "bucket",
    "status",
    "reason",
    "note",
    "profile",
    "storage_class_before",
    "storage_class_after",
    "codec_before",
    "codec_after",
    "sample_rate_before_hz",
    "sample_rate_after_hz",
    "channels_before",
    "channels_after",
    "attempts",
    "software_version",
)
_ARROW_TYPES = {
    str: pa.string(),
    Status: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    datetime: pa.timestamp("us", tz="UTC"),
    date: pa.date32(),
}
PANDAS_TYPES = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}


@cache
def arrow_schema() -> pa.Schema:
    """The table's schema as Arrow, partition column included, each column with its description."""
    hints = get_type_hints(AuditRow, include_extras=True)
    columns = pa.schema([_arrow_field(field.name, hints[field.name]) for field in fields(AuditRow)])
    return columns.with_metadata({"schema_version": SCHEMA_VERSION})


def _arrow_field(name: str, hint: Any) -> pa.Field:
    declared, description = get_args(hint)
    kinds = get_args(declared) if isinstance(declared, UnionType) else (declared,)
    kind = next(kind for kind in kinds if kind is not type(None))
    return pa.field(name, _ARROW_TYPES[kind], nullable=len(kinds) > 1, metadata={"description": description})


def write_rows(files: AuditFiles, rows: Iterable[AuditRow], *, run_id: str, number: int) -> list[ManifestFile]:
    """One immutable Parquet file per recording date. The number tells a run's files of one date apart."""
    by_date: dict[date, list[AuditRow]] = defaultdict(list)
    for row in rows:
        by_date[row.recording_date].append(row)
    written = []
    for day, day_rows in sorted(by_date.items()):
        name, data = f"{PARTITION}={day}/{run_id}-{number:04d}.parquet", parquet_bytes(day_rows)
        files.create(name, data)
        written.append(file_of(name, data))
    return written


def file_of(name: str, data: bytes) -> ManifestFile:
    """A file of the table as a record lists it. Raises AuditDamaged where the bytes are not such a file."""
    with _damage_of(name):
        rows: int = pq.read_metadata(BytesIO(data)).num_rows
    return ManifestFile(name=name, rows=rows, sha256=digest_of(data))


def rows_in(name: str, data: bytes, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """These columns of one file, row by row; null is None. Raises AuditDamaged where the file cannot be read."""
    with _damage_of(name):
        table = pq.read_table(BytesIO(data), columns=list(columns)).select(list(columns))
    return zip(*map(pa.ChunkedArray.to_pylist, table.columns), strict=True)


@contextmanager
def _damage_of(name: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise AuditDamaged(name, str(error).splitlines()[0].rstrip(".")) from error


def parquet_bytes(rows: Collection[AuditRow]) -> bytes:
    """The rows as a Parquet file in key order."""
    ordered = sorted(rows, key=lambda row: row.key)
    columns = {name: [getattr(row, name) for row in ordered] for name in file_schema().names}
    return as_parquet(pa.Table.from_pydict(columns, schema=file_schema()))


@cache
def file_schema() -> pa.Schema:
    """The schema of a file: without the partition column, which the folder's name has."""
    schema = pa.schema([field for field in arrow_schema() if field.name != PARTITION])
    return schema.with_metadata({**arrow_schema().metadata, **_pandas_metadata(schema)})


def as_parquet(table: pa.Table) -> bytes:
    """A table of ``file_schema`` as the bytes of a file of the audit table."""
    output = BytesIO()
    pq.write_table(table, output, compression="zstd", use_dictionary=list(_REPEATING))
    return output.getvalue()


def _pandas_metadata(schema: pa.Schema) -> dict[bytes, bytes]:
    """The metadata by which ``pandas.read_parquet`` keeps integer columns with nulls as integers."""
    empty = schema.empty_table().to_pandas(types_mapper=PANDAS_TYPES.get)
    metadata: dict[bytes, bytes] = pa.Schema.from_pandas(empty, preserve_index=False).metadata
    return metadata
