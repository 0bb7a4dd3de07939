"""Any table has a report, and its figures are the same in page, artifact, CSV, workbook, notebook, SQL and terminal.

Figures of another population are compared with what they say they are of: the terminal and a run's own report are of
what this run archived, all others of all recordings that are small now.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import date, timedelta
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import nbformat
import pandas as pd
import pytest
from hypothesis import Phase, example, given, settings
from rich.console import Console

from demo.display import table_of_days
from demo.notebook import NOTEBOOK, executed
from recordings.backfill.portions import Portion, Portions, plan_backfill
from recordings.backfill.standing import stand
from recordings.backfill.summary import summarize_backfill
from recordings.errors import AuditDamaged, InvalidRequest
from recordings.pricing import load_prices
from recordings.recording import days_between
from recordings.reports.backfill import backfill_report
from recordings.savings.charts import charts
from recordings.savings.excel import workbook
from recordings.savings.figures import Figures, by_day, by_reason, by_status, figures, saved_by_day, spent_by_day
from recordings.savings.page import money, page, population, proof, savings_report
from recordings.savings.sums import DESTROYED_STATES, SMALL_STATES, Savings, savings
from recordings.summary import tally
from recordings.table.files import LocalFiles
from recordings.table.reading import read_audit
from recordings.table.rows import EVENTS, AuditRow, Status
from recordings.table.schema import current_view, duckdb_view
from tests.fixtures import PlanRun
from tests.recordings.prices import US_EAST_1
from tests.recordings.tables import DAY, any_rows, every_status, write_table

PRICES = load_prices(US_EAST_1)
AS_OF = date(2026, 3, 15)
OF_SMALL = ["small", "bytes_before", "bytes_after", "verified", "read_back"]


def counted(root: Path, rows: list[AuditRow]) -> tuple[Savings, Figures]:
    result = savings(write_table(root, rows), PRICES)
    return result, figures(result, PRICES, AS_OF, 6)


def of_sql(root: Path) -> list[int]:
    """What the documented views give: recordings, bytes before and after, of those small now; how many are not."""
    with duckdb.connect() as sql:
        sql.execute(duckdb_view(str(root)))
        sql.execute(current_view())
        small = (
            f"SELECT count(*), sum(bytes_before), sum(bytes_after) FROM audit_current WHERE status IN {SMALL_STATES}"  # noqa: S608
        )
        destroyed = f"SELECT count(*) FROM audit_current WHERE status IN {DESTROYED_STATES}"  # noqa: S608
        events = tuple(map(str, EVENTS))
        recordings = f"SELECT count(DISTINCT (recording_date, bucket, key)) FROM audit WHERE status NOT IN {events}"  # noqa: S608
        (found,), (gone,), (all_,) = (sql.execute(each).fetchall() for each in (small, destroyed, recordings))
    return [int(found[0]), int(found[1] or 0), int(found[2] or 0), all_[0] - found[0] - gone[0]]


def by_kernel(audit_uri: str) -> str:
    """What the notebook shows, run as an analyst runs it."""
    outputs = [output for cell in executed(audit_uri).cells for output in cell.get("outputs", ())]
    shown = [{"text/plain": output.get("text", ""), **output.get("data", {})} for output in outputs]
    return "\n".join(data.get("text/html") or data.get("text/markdown") or data["text/plain"] for data in shown)


def in_process(audit_uri: str) -> str:
    """The same without a kernel, whose start takes seconds: each cell is run, and its last value drawn."""
    shown = StringIO()

    def display(*values: Any) -> None:
        for value in values:
            draw = next((getattr(value, f"_repr_{kind}_") for kind in _KINDS if hasattr(value, f"_repr_{kind}_")), None)
            print(draw() if draw else value)

    with pytest.MonkeyPatch.context() as patch, redirect_stdout(shown):
        patch.setenv("ARCHIVE_AUDIT_URI", audit_uri)
        patch.setattr(sys, "path", [*sys.path])
        names: dict[str, Any] = {"display": display}
        for cell in nbformat.read(NOTEBOOK, as_version=4).cells:  # type: ignore[no-untyped-call]  # it has no types
            if cell.cell_type == "code":
                *statements, last = ast.parse(cell.source).body
                ends_in_value = isinstance(last, ast.Expr)
                run = statements if ends_in_value else [*statements, last]
                exec(compile(ast.Module(run, []), cell.id, "exec"), names)  # noqa: S102 (our own notebook)
                if isinstance(last, ast.Expr):
                    display(eval(compile(ast.Expression(last.value), cell.id, "eval"), names))  # noqa: S307
    return shown.getvalue()


_KINDS = ("html", "markdown", "svg")


def check(root: Path, rows: list[AuditRow], run_notebook: Callable[[str], str]) -> str:
    """Every form of the report on a table of these rows; returns what the notebook shows."""
    result, found = counted(root, rows)
    saved = saved_by_day(result, AS_OF)
    assert found.net_so_far == pytest.approx(
        (saved - spent_by_day(result, PRICES, pd.DatetimeIndex(saved.index))).iloc[-1]
    )
    gone = found.expired + found.erased
    assert found.recordings + gone + by_reason(result)["recordings"].sum() == len(
        {(row.recording_date, row.bucket, row.key) for row in rows if row.status not in EVENTS}
    )
    small = [found.recordings, found.bytes_before, found.bytes_after]
    if rows:  # DuckDB refuses a view of no file
        assert of_sql(root) == [*small, found.not_small]
    days = pd.read_csv(StringIO(by_day(result).to_csv(index=False)))
    assert days[OF_SMALL].sum().tolist() == [*small, found.verified, found.read_back]
    assert days["usd_saved"].sum() == pytest.approx(found.saved_now, rel=1e-6, abs=1e-12)
    sheets = {"days": by_day(result), "not small": result.not_small}
    sheets = pd.read_excel(BytesIO(workbook(sheets)), sheet_name=None, keep_default_na=False)
    assert sheets["days"][OF_SMALL[:3]].sum().tolist() == pytest.approx(small)  # Excel's numbers have 15 digits
    assert len(sheets["not small"]) == found.not_small
    drawn = list(charts(result, PRICES, AS_OF, 6))
    for _, svg in drawn:
        ElementTree.fromstring(svg)  # noqa: S314 (we drew it)
    html = page(result, found, PRICES, drawn, "audit", {})
    by_state = re.findall(r'class="text">([a-z ]+)</td><td>([\d,]+)</td>', html.partition("<h2>Proof")[0])
    assert {label.replace(" ", "_"): int(count.replace(",", "")) for label, count in by_state} == Counter(
        days[[str(each) for each in Status if each not in EVENTS]].sum()[lambda counts: counts > 0].to_dict()
    )
    notebook = run_notebook(str(root))
    for shown in (html, savings_report(found, {}), notebook):
        words = re.sub(r"<style.*?</style>|<[^>]+>|[\s|]+", " ", shown, flags=re.S)
        words = re.sub(" +", " ", words)
        assert not re.search(r"\$nan|\bnan %|\$inf", words)
        assert population(found) in words
        for label, value in [*proof(found), *money(found)[:6]]:  # the rest depends on the day
            assert f"{label} {value} " in words
    return notebook


@pytest.mark.slow
def test_every_status_gives_the_same_figures_everywhere(tmp_path: Path) -> None:
    rows = every_status()
    notebook = check(tmp_path, rows, by_kernel)
    assert notebook.count("calls/2026/01/12/rejected.wav") == 1
    checked = f"{tmp_path}: {len(rows)} files, 0 rows, 0 runs, calls of 2026-01-12 to 2026-01-13: "
    checked += f"{len(rows) + 1} discrepancies"  # no record tells of any file
    assert checked in notebook


def test_a_runs_own_figures_are_those_of_what_it_archived(tmp_path: Path) -> None:
    """Right after a run that found a recording small already: it counts in the report, and not in the run's own."""
    run = [row for row in every_status() if row.run_id.endswith("1")]
    result, found = counted(tmp_path, run)
    archived = result.small[result.small["status"] == "archived"]
    sums = tally(run)
    assert sums.counts == Counter(row.status.value for row in run)
    assert (found.archived, found.already_archived) == (sums.counts["archived"], 1)
    assert [sums.bytes_before, sums.bytes_after] == archived[["bytes_before", "bytes_after"]].sum().tolist()
    assert sums.minutes == pytest.approx(archived["minutes"].sum())
    saved = (
        sums.usd_per_month_before - sums.usd_per_month_after - sums.usd_per_month_tags - sums.usd_per_month_originals
    )
    assert saved == pytest.approx(archived["usd_saved"].sum())
    archived_now = sums.counts["archived"]
    assert f"{archived_now + 1} recordings are small now ({archived_now} archived, 1 found small" in population(found)
    shown = StringIO()
    Console(file=shown, width=200).print(table_of_days(read_audit(str(tmp_path))))
    *_, last = shown.getvalue().strip().splitlines()
    assert last.split()[:5] == ["all", str(len(run)), str(archived_now), "1", "1"]
    assert last.split()[-2] == f"{100 * (1 - sums.bytes_after / sums.bytes_before):.1f}"


def test_a_backfills_report_is_of_the_same_recordings(tmp_path: Path, plan: PlanRun) -> None:
    result, found = counted(tmp_path, every_status())
    run = plan(audit_uri=str(tmp_path), prefixes=["calls/"], end_date=DAY + timedelta(days=1))
    backfill = plan_backfill(run, deployment="", max_parallel=1, shard_above=1000)
    portions = Portions([Portion(date=day) for day in days_between(run.start_date, run.end_date)], {})
    stands, damaged = stand(backfill, portions, LocalFiles(tmp_path))
    summary = summarize_backfill(portions, {}, stands, {}, damaged)
    assert dict(summary.counts) == by_status(result)["recordings"].to_dict()
    assert (summary.bytes_before, summary.bytes_after) == (found.bytes_before, found.bytes_after)
    assert summary.minutes == pytest.approx(found.minutes)
    report = backfill_report(backfill, portions, summary, {}, stands, {})
    assert f"**{found.recordings} recordings** of these days are small now" in report
    assert f"**{found.not_small}** are not small. **2** were expired or erased since." in report


def test_the_notebook_says_what_is_wrong_with_a_table(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="nowhere' holds no audit table"):
        in_process(str(tmp_path / "nowhere"))
    write_table(tmp_path, every_status()[:1])
    (file,) = tmp_path.rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:99])
    with pytest.raises(AuditDamaged, match=f"{file.name} in the audit table cannot be read: .* move it out"):
        in_process(str(tmp_path))


@pytest.mark.slow
@given(any_rows(min_size=3, max_size=8))
@example([])
@example([row for row in every_status() if row.status in (Status.RESTORED, Status.RELEASED)])
@example([replace(every_status()[0], snr_db=None, storage_class_before=None)])
@settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # to shrink takes minutes
def test_any_table_gives_the_same_figures_everywhere(
    tmp_path_factory: pytest.TempPathFactory, rows: list[AuditRow]
) -> None:
    check(tmp_path_factory.mktemp("audit"), rows, in_process)
