"""The report on several instances: a line for each, and their sum."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from html import escape

from recordings.formatting import human_bytes, percent_saved, plural, usd
from recordings.savings.figures import Figures
from recordings.savings.files import FOLDER, ReportFile
from recordings.savings.page import document, table
from recordings.table.records import run_id_of

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFigures:
    """What archiving has saved in one instance; without figures, why there are none."""

    name: str
    figures: Figures | None = None
    problem: str = ""


class EstateIncomplete(Exception):
    """The report was published, and lacks instances: the message names them and says why."""


def _count(number: float) -> str:
    return f"{number:,.0f}"


# Each column: what it says, its number in one instance, and how a number is written.
_COLUMNS: Sequence[tuple[str, Callable[[Figures], float], Callable[[float], str]]] = (
    ("small now", lambda of: of.recordings, _count),
    ("not small", lambda of: of.not_small, _count),
    ("minutes", lambda of: of.minutes, lambda number: f"{number:,.1f}"),
    ("before", lambda of: of.bytes_before, human_bytes),
    ("after", lambda of: of.bytes_after, human_bytes),
    ("saved per month now", lambda of: of.saved_now, usd),
    ("once originals are released", lambda of: of.saved_once_released, usd),
    ("saved less spent on runs so far", lambda of: of.saved_so_far - of.spent_on_runs, usd),
    ("originals waiting", lambda of: of.originals_waiting, _count),
    ("overdue", lambda of: of.originals_overdue, _count),
)
_HEADINGS = ("instance", *(heading for heading, _, _ in _COLUMNS))


def estate_rows(instances: Sequence[InstanceFigures]) -> list[Row]:
    """A row for each instance that has figures, and the sum of them."""
    found = [(each.name, each.figures) for each in instances if each.figures]
    rows = [(name, *(write(number(of)) for _, number, write in _COLUMNS)) for name, of in found]
    return [*rows, ("all", *(write(sum(number(of) for _, of in found)) for _, number, write in _COLUMNS))]


def estate_heading(instances: Sequence[InstanceFigures]) -> str:
    """The subject of the report, and its first figure."""
    found = [each.figures for each in instances if each.figures]
    before, after = (sum(getattr(of, name) for of in found) for name in ("bytes_before", "bytes_after"))
    return f"Call recordings of {plural(len(found), 'instance')}: {percent_saved(before, after)} smaller"


def estate_file(instances: Sequence[InstanceFigures], as_of: date, run: str) -> ReportFile:
    """The page, as a file beside an audit table. ``run`` distinguishes reports of the same second."""
    title = estate_heading(instances)
    lines = "".join(f"<p>{escape(line)}</p>" for line in (*_method(instances, as_of), *problems(instances)))
    body = f"<h1>{escape(title)}</h1>{table(_HEADINGS, estate_rows(instances))}{lines}"
    name = f"{FOLDER}/{run_id_of(datetime.now(UTC), run)}-estate.html"
    return ReportFile(title="page", name=name, content=document(title, body).encode())


def estate_report(instances: Sequence[InstanceFigures], as_of: date, page: str) -> str:
    """The same in Markdown; ``page`` is the address of the page."""
    head = f"| {' | '.join(_HEADINGS)} |\n|---|{'--:|' * len(_COLUMNS)}"
    lines = "\n".join(f"| {' | '.join(row)} |" for row in estate_rows(instances))
    rest = [*_method(instances, as_of), *problems(instances), f"The page: `{page}`"]
    return "\n\n".join([f"# {estate_heading(instances)}", f"{head}\n{lines}", *rest])


def problems(instances: Sequence[InstanceFigures]) -> list[str]:
    """A sentence for each instance without figures."""
    return [f"{each.name} is not in the sum: {each.problem}" for each in instances if each.problem]


def _method(instances: Sequence[InstanceFigures], as_of: date) -> list[str]:
    standing = max((each.figures.spent_standing for each in instances if each.figures), default=0.0)
    return [
        f"As of {as_of} (UTC), from the instances' audit tables, each at its own list prices.",
        f"Worker and server, which all instances share, have cost {usd(standing)} so far; no line has them.",
    ]
