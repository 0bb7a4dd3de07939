"""What a backfill came to: how the run of each portion ended, and the figures over all days."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from recordings.backfill.portions import Portion, Portions, dates_of
from recordings.backfill.standing import Standing
from recordings.formatting import label, plural

_MAX_SAID, _MAX_NAMED = 3, 50  # failed days in an exception: with their reason, and by name; the report has all


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the flow run of a portion ended: the name of its last state, what it said, and where it can be looked at."""

    state: str
    message: str
    flow_run: str  # its id
    url: str | None

    def __str__(self) -> str:
        said = f": {self.message}" if self.message else ""
        where = self.url or f"flow run {self.flow_run}"
        return f"{self.state.lower()}{said}" + (f" ({where})" if where not in said else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillSummary:
    """What a backfill came to. Counts and sums are of what its days' recordings are now, whichever run made them so."""

    days: int
    days_finished: int
    finished_before: int  # of these days, before this backfill
    failed: tuple[str, ...]  # days, or shards of large days, that are not finished
    counts: Mapping[str, int]  # by status; "planned" in a dry run
    minutes: float
    bytes_before: int
    bytes_after: int
    reasons: tuple[str, ...] = ()  # for each that is not finished, how its run ended

    def __str__(self) -> str:
        counted = ", ".join(f"{count:,} {label(status)}" for status, count in sorted(self.counts.items()))
        if "planned" in self.counts:
            left = self.days - self.finished_before
            planned = plural(self.counts["planned"], "recording")
            damaged = f". Cannot be finished: {_list_of(self.failed)}. {self.first_reasons()}" if self.failed else ""
            return f"dry run: {left} of {plural(self.days, 'day')} left to archive, {planned} planned{damaged}"
        done = f"{self.days_finished} of {plural(self.days, 'day')} finished"
        return f"{done}, {self.finished_before} of them before: {counted or 'nothing to archive'}"

    def first_reasons(self) -> str:
        """Why days are not finished, as many of them as an error should say."""
        return "; ".join(self.reasons[:_MAX_SAID])


class BackfillFailed(Exception):
    """Some days are not finished. Those that are will not be run again."""

    def __init__(self, summary: BackfillSummary) -> None:
        super().__init__(
            f"{summary}. Not finished: {_list_of(summary.failed)}. {summary.first_reasons()}. Run the backfill again "
            "to finish them; the artifact backfill-report says why each is not finished"
        )
        self.summary = summary


def _list_of(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join([*names[:_MAX_NAMED], *([f"and {plural(more, 'more day')}"] if more > 0 else [])])


def summarize_backfill(
    portions: Portions,
    finished: Container[Portion],
    stands: Mapping[Portion, Standing],
    ended: Mapping[Portion, Ended],
    damaged: Mapping[date, str],
) -> BackfillSummary:
    """The sums over all portions, those included that were finished before."""
    total = sum(stands.values(), Standing())
    failed = [each for each in portions.all if each not in finished or each.date in damaged]
    days = dates_of(portions.all)
    return BackfillSummary(
        days=len(days),
        days_finished=len(days - dates_of(failed)),
        finished_before=len(days - dates_of(portions.left)),
        failed=tuple(map(str, failed)),
        reasons=tuple(f"{each} {damaged.get(each.date) or ended.get(each, 'has no run')}" for each in failed),
        counts=dict(total.counts),
        minutes=total.minutes,
        bytes_before=total.bytes_before,
        bytes_after=total.bytes_after,
    )


def summarize_dry_run(portions: Portions, planned: int, damaged: Mapping[date, str]) -> BackfillSummary:
    """What a backfill would have to do, and which days it could not finish."""
    days, left = dates_of(portions.all), dates_of(portions.left)
    return BackfillSummary(
        days=len(days),
        days_finished=len(days - left - damaged.keys()),
        finished_before=len(days - left),
        failed=tuple(map(str, sorted(damaged))),
        reasons=tuple(f"{day} {why}" for day, why in sorted(damaged.items())),
        counts={"planned": planned},
        minutes=0,
        bytes_before=0,
        bytes_after=0,
    )
