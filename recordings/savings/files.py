"""The files of a report: the page, CSV files and a workbook, with their names below the audit table."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from recordings.pricing import PriceList
from recordings.savings.charts import charts
from recordings.savings.excel import workbook
from recordings.savings.figures import Figures, by_day
from recordings.savings.page import page
from recordings.savings.sums import Savings
from recordings.table.records import run_id_of

FOLDER = "_reports"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFile:
    """A file of a report; ``title`` is what people read, ``name`` is relative to the audit table."""

    title: str
    name: str
    content: bytes


def report_files(
    result: Savings, figures: Figures, price_list: PriceList, *, audit_uri: str, as_of: date, years: float, run: str
) -> list[ReportFile]:
    """The files of a report, the page first. ``run`` distinguishes reports of the same second."""
    stem = f"{FOLDER}/{run_id_of(datetime.now(UTC), run)}"
    sheets = {"days": by_day(result), "runs": result.runs, "not small": result.not_small}
    files = [
        ReportFile(
            title=f"{title} (CSV)",
            name=f"{stem}-{title.replace(' ', '-')}.csv",
            content=sheet.to_csv(index=False).encode(),
        )
        for title, sheet in sheets.items()
    ]
    files.append(ReportFile(title="the same for Excel", name=f"{stem}.xlsx", content=workbook(sheets)))
    beside: Mapping[str, str] = {file.title: file.name.removeprefix(f"{FOLDER}/") for file in files}
    html = page(result, figures, price_list, charts(result, price_list, as_of, years), audit_uri, beside)
    return [ReportFile(title="page", name=f"{stem}.html", content=html.encode()), *files]
