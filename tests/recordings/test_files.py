"""One place for writer and readers: whatever is given as ``audit_uri``, it is refused, or all look there."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import duckdb
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recordings.errors import InvalidRequest
from recordings.jobs.engine.job import plan_job
from recordings.pricing import prices
from recordings.savings.sums import savings
from recordings.table.evidence import Flaw, verify_audit
from recordings.table.files import LocalFiles, audit_location, open_files, open_table
from recordings.table.parquet import write_rows
from recordings.table.reading import audit_dataset, read_audit
from recordings.table.records import Kind
from recordings.table.schema import duckdb_view
from tests.bucket import DAY, Bucket
from tests.fixtures import PlanRun
from tests.recordings.tables import ROW

HARD = st.sampled_from(
    [*" /#?%&=+*[]{}'\"\\~:;@!$,.-_()<>|^`", "..", "%20", "//", "://", "s3:", "ü", "日", "\x00", "\n"]
)
NAMES = st.sampled_from(["audit", "a", "table", "recording_date=2026-01-12", "_runs"])
TEXTS = st.lists(HARD | NAMES | st.text(max_size=3), max_size=6).map("".join)


@pytest.mark.parametrize(
    ("audit_uri", "bucket", "path"),
    [
        ("s3://audit", "audit", ""),
        ("s3://audit/", "audit", ""),
        ("s3://audit/calls/2026", "audit", "calls/2026"),
        ("s3://audit/calls///", "audit", "calls"),
        ("s3://audit.of.acme/env=prod/(old)+a,b@c~d!e", "audit.of.acme", "env=prod/(old)+a,b@c~d!e"),
        ("s3://audit/_internal/.hidden/table", "audit", "_internal/.hidden/table"),
        ("audit", None, "audit"),
        ("./audit//of/./acme/", None, "audit/of/acme"),
        ("../audit", None, "../audit"),
        ("/srv/audit of Ümit/50%20#1?", None, "/srv/audit of Ümit/50%20#1?"),
    ],
)
def test_a_location_is_a_bucket_and_a_prefix_or_a_folder(audit_uri: str, bucket: str | None, path: str) -> None:
    location = audit_location(audit_uri)
    assert (location.bucket, location.path) == (bucket, path)
    assert audit_location(str(location)) == location


@pytest.mark.parametrize(
    ("audit_uri", "message"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        *((f"s3://{bucket}/x", "names no bucket") for bucket in ("", "ab", "Audit", "my_audit", "a..b", "10.0.0.1")),
        *((f"s3://{bucket}/x", "names no bucket") for bucket in ("user@audit", "audit:443", "audit?x", "a" * 64)),
        *((f"s3://audit/{prefix}", "has an empty folder") for prefix in ("/x", "x//y", "x/../y", "./x", "..", ".")),
        *((f"s3://audit/a{char}b", "in its prefix") for char in " #?%&*[]{}'\"\\:;$<>|^`ü日\x00\n\u00a0"),
        *((f"s3://audit/x/{name}", "readers skip") for name in ("_table", ".table", "_runs")),
        *((f"{scheme}audit/x", "is neither") for scheme in ("S3://", "s3a://", "file://", "file:///", "s3:", "s3:/")),
        *((f"{scheme}audit", "is neither") for scheme in ("https://", " s3://", "gs://", "C:\\", "arn:aws:s3:::")),
        *((path, "write a plain path") for path in ("audit ", " audit", "a\\b", "a\x00b", "a\nb", "a\udc80b")),
        *((path, "write the home folder out") for path in ("~", "~/audit", "~me/audit")),
        *((f"{root}recording_date=2026-01-12", "within a day") for root in ("", "audit/", "s3://audit/x/")),
        *((f"{root}{'x' * 256}", "too long") for root in ("", "s3://audit/")),
        *((f"{root}{'x/' * 401}x", "too long") for root in ("", "s3://audit/")),
    ],
)
def test_what_readers_would_look_for_elsewhere_is_refused_before_anything_is_touched(
    plan: PlanRun, audit_uri: str, message: str
) -> None:
    def connect(name: str) -> Any:
        pytest.fail(f"{name} was opened")

    for use in (
        lambda: plan(audit_uri=audit_uri),
        lambda: plan_job(Kind.RESTORE, bucket="recordings", audit_uri=audit_uri),
        lambda: open_files(audit_uri, connect),
        lambda: read_audit(audit_uri),
        lambda: verify_audit(audit_uri),
        lambda: duckdb_view(audit_uri),
    ):
        with pytest.raises(InvalidRequest, match=f"^audit_uri .*{message}"):
            use()


def test_a_plan_names_the_place_in_one_way(plan: PlanRun) -> None:
    assert plan(audit_uri="s3://audit/x//").audit_uri == "s3://audit/x"
    assert plan_job(Kind.RECONCILE, bucket="recordings", audit_uri="./audit/").audit_uri == "audit"
    assert plan(audit_uri="/").audit_uri == "/"


def written_to(audit_uri: str) -> str | None:
    """A key that was written there and nowhere else, unless the place was refused."""
    key = f"{uuid.uuid4()}.wav"
    try:
        files = open_table(audit_uri)
    except InvalidRequest:
        return None
    write_rows(files, [replace(ROW, key=key)], run_id="r", number=1)
    return key


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(TEXTS)
@example("audit [old] {x}'*?/y")
@example("a/../b")
@example("sub/.hidden/_x")
@example("-")
def test_any_local_folder_is_one_for_all_or_refused(text: str) -> None:
    if text.startswith("/") or (".." in text and text != "a/../b"):
        return  # nothing is written outside of a folder of our own
    with TemporaryDirectory() as folder, chdir(folder):
        key = written_to(text)
        if key is None:
            assert not any(Path().iterdir())
            return
        assert read_audit(text)["key"].tolist() == [key]
        assert pd.read_parquet(text)["key"].tolist() == [key]
        assert savings(open_table(text), prices()).standing["recordings"].tolist() == [1]
        with duckdb.connect() as sql:
            sql.execute(duckdb_view(text))
            assert sql.execute("SELECT key, recording_date FROM audit").fetchall() == [(key, DAY)]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(TEXTS)
@example("audit%20x")
@example("audit#1")
@example("(a)+b,c@d~e!f=g")
@example("_x/.y/z//")
@pytest.mark.usefixtures("s3")
def test_any_prefix_is_one_for_all_or_refused(text: str) -> None:
    bucket = f"audit-{uuid.uuid4().hex[:12]}"
    client = boto3.client("s3")
    client.create_bucket(Bucket=bucket)
    audit_uri = f"s3://{bucket}/{text}"
    key = written_to(audit_uri)
    if key is None:
        assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
        return
    assert read_audit(audit_uri)["key"].tolist() == [key]
    assert pd.read_parquet(audit_uri)["key"].tolist() == [key]
    prefix = text.rstrip("/") + "/" if text.rstrip("/") else ""
    (item,) = client.list_objects_v2(Bucket=bucket)["Contents"]
    assert item["Key"] == f"{prefix}recording_date=2026-01-12/r-0001.parquet"


def strays(put: Callable[[str, bytes], Any]) -> None:
    """What others leave in such folders."""
    day = f"recording_date={DAY}"
    put(f"{day}/notes.txt", b"hello")
    put(f"{day}/_SUCCESS", b"")
    put(f"{day}/.part.parquet", b"half")
    put(f"{day}/copies/x.parquet", b"not ours")
    put("recording_date=__HIVE_DEFAULT_PARTITION__/x.parquet", b"")
    put("recording_date=20260112/x.parquet", b"")
    put("recording_date=2026-02-30/x.parquet", b"")
    put("other=2026-01-12/x.parquet", b"")
    put("README.md", b"")


def put_locally(root: Path, name: str, data: bytes) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(data)


def test_strays_in_a_folder_are_no_rows(tmp_path: Path) -> None:
    root = tmp_path / "audit"
    write_rows(LocalFiles(root), [ROW], run_id="r", number=1)
    strays(lambda name, data: put_locally(root, name, data))
    check_strays(str(root))


def test_strays_in_a_bucket_are_no_rows(bucket: Bucket) -> None:
    audit_uri = f"s3://{bucket.name}/audit"
    write_rows(open_table(audit_uri), [ROW], run_id="r", number=1)
    strays(lambda name, data: bucket.put(f"audit/{name}", data))
    bucket.put(f"audit/recording_date={DAY}/", b"")  # a folder, as the console makes one
    check_strays(audit_uri)


def check_strays(audit_uri: str) -> None:
    assert read_audit(audit_uri)["key"].tolist() == [ROW.key]
    assert audit_dataset(audit_uri, DAY, DAY).count_rows() == 1
    assert savings(open_table(audit_uri), prices()).standing["recordings"].tolist() == [1]
    flaws = verify_audit(audit_uri).discrepancies
    assert {flaw.flaw for flaw in flaws} == {Flaw.ADDED}
    assert "recording_date=2026-02-30/x.parquet" in {flaw.name for flaw in flaws}  # others would read it


def test_a_folder_that_may_not_be_looked_at_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("a file")
    with pytest.raises(NotADirectoryError):
        read_audit(str(tmp_path / "audit"))


@pytest.mark.parametrize(("umask", "mode"), [("022", 0o644), ("027", 0o640), ("077", 0o600)])
def test_a_local_file_has_the_mode_that_the_umask_leaves(umask: str, mode: int, tmp_path: Path) -> None:
    write = "from recordings.table.files import LocalFiles, Path; LocalFiles(Path('.')).create('a/b', b'')"
    command = ["sh", "-c", f'umask {umask}; exec "$0" -c "$1"', sys.executable, write]
    root = Path(__file__).parents[2]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, check=True)
    assert [(path.name, path.stat().st_mode & 0o777) for path in (tmp_path / "a").iterdir()] == [("b", mode)]
