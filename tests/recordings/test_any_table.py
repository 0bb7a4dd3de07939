"""Whatever an audit table holds, there is a report on it: any rows, each column null wherever the schema lets it."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import pytest
from hypothesis import Phase, example, given, settings

from recordings.charts import charts
from recordings.figures import by_day, by_reason, figures, saved_by_day, spent_by_day
from recordings.manifest import ManifestRow, Status, current, read_audit
from recordings.page import page, savings_report
from recordings.pricing import load_prices
from recordings.savings import savings
from recordings.schema import current_view, duckdb_view
from tests.recordings.tables import any_rows, every_status, write_table
from tests.recordings.test_pricing import US_EAST_1

PRICES = load_prices(US_EAST_1)
AS_OF = date(2026, 3, 15)
ARCHIVED, *_ = every_status()


def report(root: Path, rows: list[ManifestRow]) -> Any:
    """Every part of the report on a table of these rows, drawn and written."""
    files = write_table(root, rows)
    result = savings(files, PRICES)
    found = figures(result, PRICES, AS_OF, 6)
    saved = saved_by_day(result, AS_OF)
    assert found.net_so_far == pytest.approx((saved - spent_by_day(result, PRICES, saved.index)).iloc[-1])
    drawn = list(charts(result, PRICES, AS_OF, 6))
    for _, svg in drawn:
        ElementTree.fromstring(svg)  # noqa: S314 (we drew it)
    html = page(result, found, PRICES, drawn, str(root))
    text = savings_report(found, {"report": str(root / "report.html")})
    for shown in (html, text):
        assert not re.search(r"\bnan\b|\binf\b|NaT|<NA>", re.sub(r"base64,[^\"]+", "", shown))
    return result, found


@pytest.mark.slow
@given(any_rows(max_size=8))
@example([])
@example([ARCHIVED])
@example([replace(ARCHIVED, snr_db=None), replace(ARCHIVED, recording_date=date(2026, 1, 14))])
@example([row for row in every_status() if row.status in (Status.RESTORED, Status.RELEASED)])
@example(every_status())
@settings(max_examples=15, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # to shrink takes minutes
def test_any_table_yields_a_report_and_every_view(tmp_path_factory: pytest.TempPathFactory, rows: Any) -> None:
    root = tmp_path_factory.mktemp("audit")
    result, found = report(root, rows)
    recordings = {(row.recording_date, row.bucket, row.key) for row in rows}
    assert by_day(result)["recordings"].sum() == len(recordings)
    assert found.recordings + by_reason(result)["recordings"].sum() == len(recordings)
    frame = read_audit(str(root))
    assert len(frame) == len(rows)
    with duckdb.connect() as sql:
        if rows:  # DuckDB refuses a view of no file
            sql.execute(duckdb_view(str(root)))
            sql.execute(current_view())
            (counted,) = sql.execute("SELECT count(*) FROM audit_current").fetchone() or ()
            per_day = [len(current(day)) for _, day in frame.groupby("recording_date")]
            assert counted == sum(per_day)
