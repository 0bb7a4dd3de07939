"""What a run did: counts, bytes, minutes, money."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from recordings.decision import NOT_WORTH_IT
from recordings.formatting import label, plural
from recordings.glossary import code_of
from recordings.plan import Plan
from recordings.pricing import Cost, prices, run_cost
from recordings.run import Run
from recordings.table.rows import AuditRow, ManifestFile, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Sums over rows. Sizes, minutes and dollars cover the recordings that the run itself archived."""

    counts: Counter[str] = field(default_factory=Counter)  # by status
    reasons: Counter[str] = field(default_factory=Counter)  # by the code of the reason
    minutes: float = 0
    bytes_before: int = 0
    bytes_after: int = 0
    usd_per_month_before: float = 0  # for keeping them as they were
    usd_per_month_after: float = 0  # for keeping the replacements
    usd_per_month_originals: float = 0  # for the originals that still exist
    usd_per_month_tags: float = 0
    usd_reading: float = 0  # spent on reading from classes that charge for it, for archived recordings and all others

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)})


def tally(rows: Iterable[AuditRow]) -> Tally:
    """The sums of these rows."""
    total = Tally()
    for row in rows:
        total += _of(row)
    return total


def _of(row: AuditRow) -> Tally:
    counts = Counter([row.status.value])
    reasons = Counter([code_of(row.reason)] if row.reason else [])
    if row.status is not Status.ARCHIVED:
        return Tally(counts=counts, reasons=reasons, usd_reading=_reading_usd(row))
    before, after = row.bytes_before or 0, row.bytes_after or 0
    before_usd = _usd_per_month(before, row.storage_class_before)
    return Tally(
        counts=counts,
        reasons=reasons,
        minutes=(row.duration_after_s or 0) / 60,
        bytes_before=before,
        bytes_after=after,
        usd_per_month_before=before_usd,
        usd_per_month_after=_usd_per_month(after, row.storage_class_after),
        usd_per_month_originals=before_usd if row.original_kept else 0,
        usd_per_month_tags=prices().tags_month(1) if row.tagged else 0,
        usd_reading=_reading_usd(row),
    )


def _usd_per_month(size_bytes: int, storage_class: str | None) -> float:
    kept_in = storage_class or "STANDARD"
    return prices().object_month(size_bytes, kept_in)


def _reading_usd(row: AuditRow) -> float:
    """Cost of retrieving the source, if its body was read, and the replacement, if it was read back."""
    was_read = row.status in (Status.ARCHIVED, Status.REJECTED) or code_of(row.reason) == NOT_WORTH_IT
    source_read = was_read and row.storage_class_before is not None
    source = prices().reading(row.bytes_before or 0, row.storage_class_before or "STANDARD") if source_read else 0
    back = prices().reading(row.bytes_after or 0, row.storage_class_after or "STANDARD") if row.read_back else 0
    return source + back


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a flow run returns. ``bytes`` and ``minutes`` are of the recordings it archived."""

    run_id: str
    counts: Mapping[str, int]  # by status; "planned" in a dry run
    final: int  # recordings in the window that earlier runs had dealt with, so that this run did not look at them
    unprofitable: int = 0  # of the final ones, those not worth archiving
    minutes_after: float
    bytes_before: int
    bytes_after: int
    manifest_files: tuple[str, ...]  # names below the audit table
    requests: Mapping[str, int]  # by S3 operation, retries included
    cpu_s: float
    wall_s: float
    cost_usd: float  # requests, KMS, retrieval and CPU time, at list prices
    unrecorded: int  # planned recordings without a row
    unlisted: tuple[str, ...] = ()  # days that could not be listed, each with the reason
    damaged: tuple[str, ...] = ()  # unreadable files of the audit table: their recordings were looked at again
    cost: Cost = field(default_factory=Cost)  # the same by kind, and the remaining costs on the bill
    dry_run: bool = False
    empty_prefix: bool = False  # nothing at all lies below one of the prefixes

    @property
    def recordings(self) -> int:
        """How many recordings the run looked at."""
        return sum(self.counts.values())

    @property
    def listed(self) -> int:
        """How many recordings lie in the window."""
        return self.recordings + self.unrecorded + self.final

    @property
    def counts_for_schedule(self) -> bool:
        """Whether a scheduled run did its work: not if it failed, wrote nothing, or found nothing in its window."""
        return self.succeeded and not self.dry_run and not self.empty_prefix and bool(self.listed)

    @property
    def succeeded(self) -> bool:
        """All recordings are accounted for, none failed, the table is whole, and not every write was refused."""
        failed = self.counts.get(Status.FAILED, 0)
        return not (self.unrecorded or self.unlisted or self.damaged or failed or self.all_changed)

    @property
    def all_changed(self) -> bool:
        """S3 refused some writes as conflicting and accepted none: the server may refuse every condition."""
        return bool(self.counts.get(Status.CHANGED, 0)) and not self.counts.get(Status.ARCHIVED, 0)

    def rejects_more_than(self, percent: float) -> bool:
        """Whether the run rejected more than this percentage of its recordings."""
        return 100 * self.counts.get(Status.REJECTED, 0) > percent * self.recordings

    @property
    def cost_per_1000_minutes_usd(self) -> float | None:
        """The run's cost per 1,000 minutes archived; None if it archived nothing."""
        return self.cost_usd / self.minutes_after * 1000 if self.minutes_after else None

    def __str__(self) -> str:
        counted = ", ".join(f"{count:,} {label(status)}" for status, count in sorted(self.counts.items()))
        trouble = [
            *([f"no row for {plural(self.unrecorded, 'recording')}"] if self.unrecorded else ()),
            *(f"could not list {each}" for each in self.unlisted[:3]),
            *([f"and {plural(len(self.unlisted) - 3, 'more day')}"] if len(self.unlisted) > 3 else ()),
            *(f"file {each} of the audit table cannot be read" for each in self.damaged[:3]),
            *([f"and {plural(len(self.damaged) - 3, 'more file')}"] if len(self.damaged) > 3 else ()),
        ]
        earlier = f" ({self.final:,} accounted for by earlier runs)" if self.final else ""
        done = [counted] if self.recordings else [] if trouble else [f"nothing to archive{earlier}"]
        return f"run {self.run_id}: {'; '.join([*done, *trouble])}"


class RunFailed(Exception):
    """The run ended, but something in it failed. Its rows and its record are written.

    ``first`` names the first recordings that failed, each with its reason, and where the others are listed.
    """

    def __init__(self, summary: RunSummary, first: str = "") -> None:
        why = first or "The rows' reasons say why"
        super().__init__(f"{summary}. {why}; the next run over these dates takes up what failed")
        self.summary = summary


def summarize(
    run: Run,
    plan: Plan,
    sums: Tally,
    manifest: Sequence[ManifestFile],
    *,
    requests: Mapping[str, int],
    cpu_s: float,
    wall_s: float,
    empty_prefix: bool = False,
) -> RunSummary:
    """The run's sums, its files, and what it used. Worker and server are charged for a full day, as for a daily run."""
    cost = run_cost(
        prices(),
        requests,
        write_class=run.storage_class,
        retrieval_usd=sums.usd_reading,
        cpu_s=cpu_s,
        wall_s=wall_s,
        standing_days=1,
    )
    counts = {"planned": plan.recordings} if run.dry_run else dict(sums.counts)
    return RunSummary(
        run_id=run.run_id,
        counts=counts,
        final=plan.final_count,
        unprofitable=plan.unprofitable_count,
        minutes_after=sums.minutes,
        bytes_before=sums.bytes_before,
        bytes_after=sums.bytes_after,
        manifest_files=tuple(file.name for file in manifest),
        requests=requests,
        cpu_s=cpu_s,
        wall_s=wall_s,
        cost_usd=cost.marginal_usd,
        unrecorded=plan.recordings - sum(counts.values()),
        unlisted=tuple(plan.unlisted),
        damaged=tuple(plan.damaged),
        cost=cost,
        dry_run=run.dry_run,
        empty_prefix=empty_prefix,
    )


def as_totals(summary: RunSummary, sums: Tally) -> dict[str, Any]:
    """The figures that go into the run's record."""
    counted = ("counts", "final", "unprofitable", "unrecorded", "unlisted", "damaged")
    names = (*counted, "requests", "cpu_s", "wall_s", "cost_usd")
    of_sums = ("reasons", "minutes", "bytes_before", "bytes_after")
    figures = {name: getattr(summary, name) for name in names} | {name: getattr(sums, name) for name in of_sums}
    return {**figures, "cost": asdict(summary.cost)}
