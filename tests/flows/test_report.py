"""The report on a table that real runs made: report, notebook, artifact and SQL agree to the byte."""

import csv
import json
import os
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import nbformat
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from demo.notebook import NOTEBOOK, executed
from demo.screenshots import CHROMIUM_FLAGS, chromium
from flows.archive import archive_recordings
from flows.report import report_savings
from recordings.errors import InvalidRequest
from recordings.evidence import verify_audit
from recordings.figures import Figures
from recordings.schema import current_view, duckdb_view
from recordings.summary import RunSummary
from tests.bucket import DAY, PREFIX, Bucket, key_of

pytestmark = pytest.mark.usefixtures("prefect")


class Reported(NamedTuple):
    """What a run and the report on it came to."""

    summary: RunSummary
    figures: Figures
    audit_uri: str


@pytest.fixture
def reported(bucket: Bucket, a_call: Any, tmp_path: Path) -> Reported:
    """Ten calls over three days, archived and reported on; two more that cannot be archived."""
    for n in range(10):
        bucket.put(key_of(n, DAY + timedelta(days=n % 3)), a_call(n, 1.0 + n / 7))
    bucket.put(key_of(20), a_call(20)[:-9])
    bucket.put(key_of(21)[:-4] + ".txt", b"notes")
    audit_uri = str(tmp_path / "audit")
    summary = archive_recordings(
        bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY + timedelta(days=2)
    )
    return Reported(summary, report_savings(audit_uri), audit_uri)


def artifact(key: str) -> str:
    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        (newest,) = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=1)
    return str(newest.data)


def the_file(reported: Reported, ending: str) -> Path:
    (path,) = Path(reported.audit_uri).glob(f"_reports/*{ending}")
    return path


def test_report_notebook_artifacts_and_sql_agree_to_the_byte(reported: Reported) -> None:
    before, after = reported.summary.bytes_before, reported.summary.bytes_after
    assert (reported.figures.bytes_before, reported.figures.bytes_after) == (before, after)
    with duckdb.connect() as sql:
        sql.execute(duckdb_view(reported.audit_uri))
        sql.execute(current_view())
        totals = "SELECT count(*), sum(bytes_before), sum(bytes_after) FROM audit_current"
        assert sql.execute(totals).fetchone() == (10, before, after)
    record = json.loads((Path(reported.audit_uri) / "_runs" / f"{reported.summary.run_id}.end.json").read_text())
    assert (record["bytes_before"], record["bytes_after"]) == (before, after)
    assert f"({before:,} → {after:,} bytes)" in artifact("savings-report")
    assert f"({before:,} → {after:,} bytes)" in artifact("archive-report")
    assert f"<td>{before:,}</td><td>{after:,}</td>" in the_file(reported, ".html").read_text()
    with the_file(reported, "-days.csv").open() as file:
        archived = [row for row in csv.DictReader(file) if row["status"] == "archived"]
    assert [sum(int(row[name]) for row in archived) for name in ("bytes_before", "bytes_after")] == [before, after]
    assert figures_of_the_notebook(executed(reported.audit_uri)) == {f"{before:,}", f"{after:,}"}


def figures_of_the_notebook(node: nbformat.NotebookNode) -> set[str]:
    """The bytes in its table of totals."""
    (cell,) = [cell for cell in node.cells if cell.id == "totals"]
    return set(re.findall(r">(\d{1,3}(?:,\d{3}){1,})<", cell.outputs[0]["data"]["text/html"]))


def test_the_notebook_is_stored_without_outputs_and_knows_three_modules() -> None:
    node = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in node.cells if cell.cell_type == "code"]
    assert all((cell.outputs, cell.execution_count) == ([], None) for cell in code)
    imported = re.findall(r"^from (recordings\S*)", "\n".join(cell.source for cell in code), re.MULTILINE)
    assert imported == ["recordings.manifest", "recordings.pricing", "recordings.reporting"]


def test_the_report_lies_beside_the_table_and_not_in_it(reported: Reported) -> None:
    assert {path.suffix for path in Path(reported.audit_uri).glob("_reports/*")} == {".html", ".csv"}
    assert verify_audit(reported.audit_uri).discrepancies == ()
    assert report_savings(reported.audit_uri).bytes_before == reported.figures.bytes_before


def test_a_report_knows_the_runs(reported: Reported) -> None:
    assert (reported.figures.runs, reported.figures.minutes) == (1, pytest.approx(reported.summary.minutes_after))
    assert reported.figures.spent_on_runs == pytest.approx(
        reported.summary.cost.marginal_usd + reported.summary.cost.waiting_usd
    )
    with the_file(reported, "-runs.csv").open() as file:
        assert [row["run_id"] for row in csv.DictReader(file)] == [reported.summary.run_id]


def test_a_report_on_a_table_in_s3(bucket: Bucket, a_call: Any) -> None:
    bucket.put(key_of(1), a_call())
    audit_uri = f"s3://{bucket.name}/audit"
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    assert report_savings(audit_uri, DAY, DAY).recordings == 1
    listed = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="audit/_reports/")["Contents"]
    assert len(listed) == 3
    assert "console.aws.amazon.com" in artifact("savings-report")


def test_a_range_that_ends_before_it_starts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="is later than end_date"):
        report_savings(str(tmp_path / "audit"), DAY, DAY - timedelta(days=1))
    assert not (tmp_path / "audit").exists()


@pytest.fixture
def browser() -> str:
    found = chromium()
    if found is None:
        pytest.skip("chromium is not installed")
    return found


def test_a_browser_shows_every_chart(reported: Reported, browser: str, tmp_path: Path) -> None:
    """Each picture has a size once the page is drawn: its SVG is whole and was understood."""
    page = tmp_path / "report.html"
    measure = "<script>document.title = [...document.images].map(i => i.naturalWidth > 99).join()</script>"
    page.write_text(the_file(reported, ".html").read_text().replace("</body>", measure + "</body>"))
    command = [browser, *CHROMIUM_FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000"]
    shown = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True, env={**os.environ}
    ).stdout
    assert f"<title>{','.join(['true'] * 7)}</title>" in shown
