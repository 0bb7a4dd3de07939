"""The report on a table written by real runs: report, notebook, artifact and SQL agree to the byte."""

import json
import os
import re
import subprocess
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import nbformat
import pandas as pd
import pytest

from demo.notebook import NOTEBOOK, executed
from demo.screenshots import CHROMIUM_FLAGS, chromium
from demo.servers import Server
from flows.archive import archive_recordings
from flows.parameters import Table
from flows.report import report_estate, report_savings
from recordings.errors import InvalidRequest
from recordings.savings.estate import EstateIncomplete
from recordings.savings.figures import Figures
from recordings.summary import RunSummary
from recordings.table.evidence import verify_audit
from recordings.table.schema import current_view, duckdb_view
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.deployed import artifact
from tests.fixtures import MakeCall
from tests.recordings.prices import US_EAST_1

pytestmark = pytest.mark.usefixtures("prefect")


class Reported(NamedTuple):
    """What a run and the report on it came to."""

    summary: RunSummary
    figures: Figures
    audit_uri: str


@pytest.fixture(scope="module")
def reported(
    prefect: Server, ministack: Server, a_call: MakeCall, tmp_path_factory: pytest.TempPathFactory
) -> Reported:
    """Ten calls over three days, archived and reported on; two more that cannot be archived."""
    bucket = Bucket(ministack)
    for n in range(10):
        bucket.put(key_of(n, DAY + timedelta(days=n % 3)), a_call(n, 1.0 + n / 7))
    bucket.put(key_of(20), a_call(20)[:-9])
    bucket.put(key_of(21)[:-4] + ".txt", b"notes")
    audit_uri = str(tmp_path_factory.mktemp("reported") / "audit")
    with pytest.MonkeyPatch.context() as environment:
        for name, value in ministack.env.items():
            environment.setenv(name, value)
        summary = archive_recordings(
            bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY + timedelta(days=2)
        )
    return Reported(summary, report_savings(audit_uri), audit_uri)


def the_file(reported: Reported, ending: str) -> Path:
    (path,) = Path(reported.audit_uri).glob(f"_reports/*{ending}")
    return path


def test_report_notebook_artifacts_and_sql_agree_to_the_byte(reported: Reported) -> None:
    """Of one run that found nothing small already: the run's own figures are those of all that is small."""
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
    (cell,) = [cell for cell in executed(reported.audit_uri).cells if cell.id == "totals"]
    shown = re.findall(r">(\d{1,3}(?:,\d{3})+)<", cell.outputs[0]["data"]["text/html"])
    assert {f"{before:,}", f"{after:,}"} <= set(shown)


def test_the_notebook_is_stored_without_outputs() -> None:
    node = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]  # it has no types
    code = [cell for cell in node.cells if cell.cell_type == "code"]
    assert all((cell.outputs, cell.execution_count) == ([], None) for cell in code)


def test_the_report_lies_beside_the_table_and_not_in_it(reported: Reported) -> None:
    """A page that links the files beside it, and files that hold what they are named for."""
    written = sorted(path.name for path in Path(reported.audit_uri).glob("_reports/*"))
    page, stem = the_file(reported, ".html"), the_file(reported, ".html").stem
    assert written == sorted(
        f"{stem}{ending}" for ending in (".html", ".xlsx", "-days.csv", "-runs.csv", "-not-small.csv")
    )
    assert sorted(re.findall('<a href="([^"]+)"', page.read_text())) == [name for name in written if name != page.name]
    assert f"({page.as_uri()})" in artifact("savings-report")
    files = {name: pd.read_csv(page.with_name(f"{stem}-{name}.csv")) for name in ("days", "runs", "not-small")}
    sheets = pd.read_excel(page.with_suffix(".xlsx"), sheet_name=None)
    assert [len(frame) for frame in files.values()] == [len(frame) for frame in sheets.values()] == [3, 1, 2]
    assert files["days"][["bytes_before", "bytes_after"]].sum().tolist() == [
        reported.figures.bytes_before,
        reported.figures.bytes_after,
    ]
    assert files["runs"]["run_id"].tolist() == [reported.summary.run_id]
    assert sorted(files["not-small"]["key"]) == [key_of(20), key_of(21)[:-4] + ".txt"]
    found = verify_audit(reported.audit_uri)
    assert (found.files, found.rows, found.runs, found.discrepancies) == (3, 12, 1, ())


def test_a_report_knows_the_runs(reported: Reported) -> None:
    assert (reported.figures.runs, reported.figures.minutes) == pytest.approx((1, reported.summary.minutes_after))
    assert reported.figures.spent_on_runs == pytest.approx(
        reported.summary.cost.marginal_usd + reported.summary.cost.waiting_usd
    )
    assert (reported.figures.verified, reported.figures.not_small) == (10, 2)


def test_a_report_on_a_table_in_s3(bucket: Bucket, a_call: MakeCall) -> None:
    bucket.put(key_of(1), a_call())
    audit_uri = f"s3://{bucket.name}/audit"
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    assert report_savings(audit_uri, DAY, DAY).recordings == 1
    listed = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="audit/_reports/")["Contents"]
    assert len(listed) == 5
    assert "console.aws.amazon.com" in artifact("savings-report")


def test_a_range_that_ends_before_it_starts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="is later than end_date"):
        report_savings(str(tmp_path / "audit"), DAY, DAY - timedelta(days=1))
    assert not (tmp_path / "audit").exists()


def test_a_range_without_calls_is_refused(reported: Reported) -> None:
    """As with a mistyped year: a page full of zeros would be green."""
    before = the_file(reported, ".html")
    with pytest.raises(InvalidRequest, match=re.escape("no calls 2025-01; its calls are of 2026-01-12 ... 2026-01-14")):
        report_savings(reported.audit_uri, date(2025, 1, 1), date(2025, 1, 31))
    with pytest.raises(InvalidRequest, match="no calls from 2026-02-01; its"):
        report_savings(reported.audit_uri, start_date=date(2026, 2, 1))
    assert the_file(reported, ".html") == before


def test_where_no_table_is_nothing_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="holds no audit table"):
        report_savings(str(tmp_path / "audit"))
    assert not (tmp_path / "audit").exists()


def test_one_page_has_a_line_for_each_instance_and_their_sum(
    reported: Reported, bucket: Bucket, a_call: MakeCall, tmp_path: Path
) -> None:
    bucket.put(key_of(1), a_call(1))
    second = str(tmp_path / "emea")
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=second, start_date=DAY, end_date=DAY)
    costly = tmp_path / "prices.json"
    costly.write_text(json.dumps(doubled(json.loads(US_EAST_1.read_text()))))
    emea = Table(name="emea", audit_uri=second, price_list=str(costly))
    found = report_estate([emea, Table(name="amer", audit_uri=reported.audit_uri)])
    of_emea, amer = (each.figures for each in found)
    assert amer
    assert of_emea
    assert (amer.bytes_before, of_emea.recordings) == (reported.figures.bytes_before, 1)
    alone = report_savings(second)
    assert of_emea.saved_once_released == pytest.approx(2 * alone.saved_once_released)
    (page,) = Path(second).glob("_reports/*-estate.html")
    lines = re.findall(r"<tr>(.+?)</tr>", page.read_text())
    headings, *rows = (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in lines)
    by_heading = dict(zip(headings, zip(*rows, strict=True), strict=True))
    assert by_heading["instance"] == ("emea", "amer", "all")
    assert by_heading["small now"] == by_heading["originals waiting"] == ("1", "10", "11")
    published = artifact("estate-report")
    assert page.name in published
    for row in rows:
        assert f"| {' | '.join(row)} |" in published
    nowhere = Table(name="apac", audit_uri=str(tmp_path / "nothing"))
    with pytest.raises(EstateIncomplete, match=r"^apac is not in the sum: audit_uri .* holds no audit table"):
        report_estate([nowhere, emea])
    (other,) = {*Path(second).glob("_reports/*-estate.html")} - {page}
    assert "apac is not in the sum: " in other.read_text()
    with pytest.raises(EstateIncomplete):
        report_estate([nowhere])
    assert not (tmp_path / "nothing").exists()


def doubled(price_list: Any) -> Any:
    """The same list with every price twice as high."""
    if isinstance(price_list, dict):
        return {name: value if name == "minimum_storage_days" else doubled(value) for name, value in price_list.items()}
    return price_list * 2 if isinstance(price_list, float) else price_list


@pytest.fixture
def browser() -> str:
    found = chromium()
    if found is None:
        pytest.skip("chromium is not installed")
    return found


_MEASURE = """<iframe id="frame" src="PAGE" style="width: 400px; height: 900px; border: 0"></iframe><script>
frame.onload = async () => {
  const page = frame.contentDocument, images = [...page.images]
  await Promise.all(images.map(image => image.decode()))
  const parts = [...page.querySelectorAll("table, img, .tiles, code, h1")]
  const wide = parts.map(each => each.getBoundingClientRect().right)
  document.title = [images.length, images.every(image => image.naturalWidth > 99), Math.max(...wide) <= 400,
    [...page.querySelectorAll(".ways .text")].every(cell => getComputedStyle(cell).overflowWrap == "normal"),
    page.documentElement.scrollWidth, frame.contentWindow.getComputedStyle(page.body).backgroundColor].join("; ")
}
</script>"""


@pytest.mark.parametrize(("scheme", "paper"), [("1", "rgb(255, 255, 255)"), ("0", "rgb(24, 24, 24)")])
def test_a_browser_shows_all_on_a_telephone(
    reported: Reported, browser: str, tmp_path: Path, scheme: str, paper: str
) -> None:
    """Each chart is drawn, nothing is off a page 400 pixels wide, no word is cut, and a dark screen has a dark page."""
    (tmp_path / "measure.html").write_text(_MEASURE.replace("PAGE", the_file(reported, ".html").as_uri()))
    flags = ("--allow-file-access-from-files", f"--blink-settings=preferredColorScheme={scheme}")
    command = [browser, *CHROMIUM_FLAGS, *flags, f"--user-data-dir={tmp_path / 'profile'}"]
    shown = subprocess.run(
        [*command, "--virtual-time-budget=5000", "--dump-dom", (tmp_path / "measure.html").as_uri()],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ},
    ).stdout
    charts = "[67]"  # what was saved so far is drawn from the second day on
    assert re.search(f"<title>{charts}; true; true; true; 400; {re.escape(paper)}</title>", shown), shown[:200]
