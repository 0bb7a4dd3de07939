"""A long date range, cut into portions that are runs of their own; what is finished is known from the runs' records.

A portion is a day, or a part of a very large one. People are told of days.
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain
from typing import Any

from recordings.dead_runs import DeadRuns, is_like, is_old
from recordings.errors import AuditDamaged, InvalidRequest
from recordings.finding import Finding, Severity
from recordings.formatting import human_bytes, label, percent_saved, plural
from recordings.pool import Pool
from recordings.recording import Day, Window, days_between, span
from recordings.reports.findings import findings_report
from recordings.retrying import patience
from recordings.run import Run
from recordings.s3.session import Session
from recordings.s3.store import Store
from recordings.standing import Standing, standing_of
from recordings.table.files import AuditFiles
from recordings.table.records import (
    COVERED,
    RUNS,
    Circumstances,
    EndRecord,
    Kind,
    StartRecord,
    end_records,
    open_records,
    record_covered,
    record_start,
    run_ids,
)
from recordings.table.rows import SMALL

_MAX_SAID, _MAX_NAMED = 3, 50  # failed days in an exception: with their reason, and by name; the report has all
_LINES_SHOWN = 1000
_WEEK_DAYS = 7
_DAYS_AT_ONCE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """What is to be archived, as one run over all of it would be told, and how it is cut."""

    run: Run
    deployment: str  # that archives a portion; empty: this process does
    max_parallel: int
    shard_above: int
    findings: tuple[Finding, ...] = ()  # of preflight


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Portion:
    """A UTC day, or what of it begins with ``shard``: the work of one run."""

    date: date
    shard: str = ""

    def __str__(self) -> str:
        return f"{self.date} {self.shard}".rstrip()


def plan_backfill(run: Run, *, deployment: str, max_parallel: int, shard_above: int) -> Backfill:
    """The backfill, if all its recordings are old enough. Raises InvalidRequest."""
    if run.end_date > run.youngest_day:
        raise InvalidRequest(
            f"end_date {run.end_date} is too late: recordings of the last {run.min_age_days} days are left alone"
        )
    return Backfill(run=run, deployment=deployment, max_parallel=max_parallel, shard_above=shard_above)


def parameters_of(portion: Portion, run: Run) -> dict[str, Any]:
    """The parameters of archive_recordings with which it archives the portion, fit for JSON."""
    return {
        "bucket": run.bucket,
        "prefixes": list(run.prefixes),
        "audit_uri": run.audit_uri,
        "start_date": portion.date.isoformat(),
        "end_date": portion.date.isoformat(),
        "min_age_days": run.min_age_days,
        "profile": run.profile_name,
        "storage_class": run.storage_class,
        "include_held": run.include_held,
        "accept": list(run.accept),
        "batch_size": run.batch_size,
        "readback_percent": run.readback_percent,
        "archive_unprofitable": run.archive_unprofitable,
        "shard": portion.shard,
    }


class Portions:
    """All portions of a backfill, and those that no run had finished when it began. A plain class, as Batch is."""

    __slots__ = ("all", "left")

    def __init__(self, portions: Iterable[Portion], settled: Container[Portion]) -> None:
        self.all = sorted(portions)
        self.left = [portion for portion in self.all if portion not in settled]

    def __str__(self) -> str:
        left = len(dates_of(self.left))
        return f"{plural(left, 'day')} to archive, {len(dates_of(self.all)) - left} finished before"


def dates_of(portions: Iterable[Portion]) -> set[date]:
    """The days of which these are, or are parts."""
    return {portion.date for portion in portions}


def days_to_cut(run: Run, settled: Container[Portion]) -> tuple[list[date], list[Portion]]:
    """The days whose recordings have to be counted, and the portions that are known: days that were finished whole."""
    days = list(days_between(run.start_date, run.end_date))
    whole = [Portion(date=day) for day in days if Portion(date=day) in settled]
    return [day for day in days if Portion(date=day) not in settled], whole


def find_portions(days: Sequence[date], backfill: Backfill, store: Store, pool: Pool) -> list[Portion]:
    """The portions of these days, each of which is listed. Of its keys only counts are kept."""
    return list(chain.from_iterable(pool.map(lambda day: patience()(portions_of, day, store, backfill), days)))


def portions_of(day: date, store: Store, backfill: Backfill) -> list[Portion]:
    """The whole day, or its shards of at most ``shard_above`` recordings, as far as two letters can cut it."""
    letters = Counter(
        item["Key"].removeprefix(folder)[:2]
        for prefix in backfill.run.prefixes
        for folder in Day(prefix=prefix, date=day).key_prefixes
        for item in store.list_objects(folder)
    )
    return [Portion(date=day, shard=shard) for shard in shards_of(letters, backfill.shard_above)]


def shards_of(letters: Mapping[str, int], shard_above: int) -> list[str]:
    """The fewest first letters that cut these names (counted by their first two) finely enough."""
    if sum(letters.values()) <= shard_above:
        return [""]
    first = Counter[str]()
    for pair, count in letters.items():
        first[pair[:1]] += count
    fine = {pair for pair in letters if first[pair[:1]] > shard_above}
    return sorted(fine | {letter for letter, count in first.items() if count <= shard_above})


def finished(records: Iterable[EndRecord], run: Run) -> dict[Portion, str]:
    """Portions that such a run, or one that did at least as much, has finished; the id of the last that did."""
    return dict(done for end in records for done in _done_by(end, run))


def _done_by(end: EndRecord, run: Run) -> list[tuple[Portion, str]]:
    shard = end.run.shard
    if shard is None or not _did_as_much(end, run):
        return []
    first, last = end.run.dates
    days = days_between(first, min(last, end.run.youngest_day, run.end_date))
    return [(Portion(date=day, shard=shard), end.run.run_id) for day in days]


def finished_since(files: AuditFiles, run: Run) -> dict[Portion, str]:
    """The same by the records of runs that began on the first day of calls or later: no other can have done it."""
    return finished(end_records(files, run.start_date), run)


def _did_as_much(end: EndRecord, run: Run) -> bool:
    theirs = end.run
    return (
        (theirs.bucket, theirs.profile_name, theirs.storage_class) == (run.bucket, run.profile_name, run.storage_class)
        and set(run.prefixes) <= set(theirs.prefixes)
        and theirs.include_held >= run.include_held
        and theirs.archive_unprofitable >= run.archive_unprofitable
        and end.counts is not None
        and end.unrecorded == 0
        and not (end.counts.get("failed") or end.unlisted)
        and not (end.counts.get("changed") and not end.counts.get("archived"))
    )


def record_backfill(files: AuditFiles, backfill: Backfill, circumstances: Circumstances | None = None) -> None:
    """Say what is to be done, before anything is: if it dies, scheduled runs take up what is left."""
    cut = {"max_parallel": backfill.max_parallel}
    record_start(files, backfill.run, backfill=cut, circumstances=circumstances)


def dead_backfills(
    files: AuditFiles, opened: Sequence[StartRecord], run: Run, *, abandoned_after: timedelta
) -> DeadRuns:
    """The first week that is left of each open backfill like this run that died; none if dates were given.

    Only a week, because a run holds the keys of all that it takes up. A backfill lives while runs begin in its window.
    What is left of it is known by the names of the records that say which weeks are covered: no end record is read.
    """
    if not run.catches_up:
        return {}
    backfills = [start for start in opened if start.kind is Kind.BACKFILL and is_like(start, run)]
    recent = [start for start in opened if start.kind is not Kind.BACKFILL and not is_old(start, run, abandoned_after)]
    old = [start for start in backfills if is_old(start, run, abandoned_after)]
    dead = [start for start in old if not any(_begins_in(each, start) for each in recent)]
    if not dead:
        return {}
    covered = run_ids(files.names(RUNS), COVERED)
    return dict(filter(None, (_first_week_left(start, covered) for start in dead)))


def _begins_in(inner: StartRecord, outer: StartRecord) -> bool:
    """Whether its first day is one of the other's; what does not narrow has none."""
    start, end = outer.dates
    return inner.start_date is not None and start <= inner.start_date <= end


def _first_week_left(dead: StartRecord, covered: Container[str]) -> tuple[str, list[Window]] | None:
    start, end = dead.dates
    for day in range(0, (end - start).days + 1, _WEEK_DAYS):
        first = start + timedelta(days=day)
        name = _name_of_week(dead.run_id, first, start)
        if name not in covered:
            last = first + min(timedelta(days=_WEEK_DAYS - 1), end - first)
            return name, [Window(prefix=each, start_date=first, end_date=last) for each in dead.prefixes]
    return None


def _name_of_week(run_id: str, day: date, start: date) -> str:
    """As the record says that the week of this day is covered, of a backfill that begins on ``start``."""
    return f"{run_id}-week-{(day - start).days // _WEEK_DAYS + 1}"


class Weeks:
    """The weeks of a backfill, each recorded as covered once nothing of it is left: if it dies, the others are."""

    def __init__(self, files: AuditFiles, run: Run, left: Iterable[Portion]) -> None:
        self._files, self._run = files, run
        self._left: dict[str, set[Portion]] = {
            self._name(day): set() for day in days_between(run.start_date, run.end_date)
        }
        for portion in left:
            self._left[self._name(portion.date)].add(portion)
        self._cover([name for name, portions in self._left.items() if not portions])

    def finished(self, portion: Portion) -> None:
        """Say that a run has finished this portion."""
        name = self._name(portion.date)
        self._left[name].discard(portion)
        if not self._left[name]:
            self._cover([name])

    def _name(self, day: date) -> str:
        return _name_of_week(self._run.run_id, day, self._run.start_date)

    def _cover(self, names: Iterable[str]) -> None:
        record_covered(self._files, names, self._run)


def record_backfill_end(files: AuditFiles, run: Run, *, is_finished: bool) -> None:
    """Say that the backfill is over; if all is finished, so are those that died and would have done no more."""

    done = [start.run_id for start in open_records(files) if _does_no_more(start, run)] if is_finished else []
    record_covered(files, {run.run_id, *done}, run)


def _does_no_more(start: StartRecord, run: Run) -> bool:
    """Whether it is a backfill that would have done nothing that this one has not."""
    first, last = start.dates
    within = start.kind is Kind.BACKFILL and is_like(start, run) and run.start_date <= first and last <= run.end_date
    did_less = start.include_held <= run.include_held and start.archive_unprofitable <= run.archive_unprofitable
    return within and did_less


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
    failed: tuple[str, ...]  # days that are not finished, or parts of large days
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


def stand(
    backfill: Backfill, portions: Portions, session: Session | None
) -> tuple[Mapping[Portion, Standing], Mapping[date, str]]:
    """What the recordings of each portion are now, by the audit table; for days that it does not show, why not."""
    damaged: dict[date, str] = {}
    shards: dict[date, list[str]] = {}
    for portion in portions.all:
        shards.setdefault(portion.date, []).append(portion.shard)

    def read(day: date) -> Mapping[str, Standing]:
        try:
            return standing_of(day, shards[day], backfill.run, session)
        except AuditDamaged as error:
            damaged[day] = str(error)
            return {}

    with ThreadPoolExecutor(_DAYS_AT_ONCE) as threads:  # not all that the pool has: each holds the rows of its day
        found = list(zip(shards, threads.map(read, shards), strict=True))
    stands = {Portion(date=day, shard=shard): each for day, of_day in found for shard, each in of_day.items()}
    return stands, damaged


def summarize_backfill(
    portions: Portions,
    settled: Container[Portion],
    stands: Mapping[Portion, Standing],
    ended: Mapping[Portion, Ended],
    damaged: Mapping[date, str],
) -> BackfillSummary:
    """The sums over all portions, those included that were finished before."""
    total = sum(stands.values(), Standing())
    failed = [each for each in portions.all if each not in settled or each.date in damaged]
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


def backfill_report(
    backfill: Backfill,
    portions: Portions,
    summary: BackfillSummary,
    settled: Mapping[Portion, str],
    stands: Mapping[Portion, Standing],
    ended: Mapping[Portion, Ended],
) -> str:
    """The backfill's page, in Markdown: what is not finished first."""
    run = backfill.run
    lines = [_line(each, settled.get(each), stands.get(each), ended.get(each)) for each in portions.all[:_LINES_SHOWN]]
    more = [f"And {plural(len(portions.all) - len(lines), 'more line')}."] if len(portions.all) > len(lines) else []
    sections = [
        f"# Backfill of {run.bucket}, {span(run.start_date, run.end_date)}: "
        f"{summary.days_finished} of {plural(summary.days, 'day')} finished",
        _not_finished(summary),
        _small_now(summary),
        "\n".join(["| day | state | recordings | saved | last run |", "|---|---|---|--:|---|", *lines]),
        *more,
        findings_report(backfill.findings),
    ]
    return "\n\n".join(filter(None, sections))


def _small_now(summary: BackfillSummary) -> str:
    """Of which recordings the sums are: those that are small now, as in the savings report."""
    small = sum(summary.counts.get(status, 0) for status in SMALL)
    others = sum(summary.counts.values()) - small
    return (
        f"**{plural(small, 'recording')}** of these days {'is' if small == 1 else 'are'} small now, whichever run "
        f"archived them: **{summary.minutes:,.1f}** minutes, "
        f"**{human_bytes(summary.bytes_before)} → {human_bytes(summary.bytes_after)}**, "
        f"{percent_saved(summary.bytes_before, summary.bytes_after)} smaller. "
        f"**{others:,}** {'is' if others == 1 else 'are'} not."
    )


def _not_finished(summary: BackfillSummary) -> str:
    if not summary.reasons:
        return ""
    lines = [f"- {reason}" for reason in summary.reasons[:_LINES_SHOWN]]
    way_out = "Run the backfill again to finish them: it skips the days that are finished."
    return "\n".join(["## Not finished", "", *lines, "", way_out])


def _line(portion: Portion, run_id: str | None, stands: Standing | None, ended: Ended | None) -> str:
    """A portion for people: how it ended, and what its recordings are now."""
    state = ended.state if ended else "finished before"
    run = run_id or (ended.flow_run if ended else "")
    name = f"[{run}]({ended.url})" if ended and ended.url else run
    if stands is None:
        return f"| {portion} | not finished | audit table damaged | unknown | {name} |"
    counted = ", ".join(f"{count:,} {label(status)}" for status, count in sorted(stands.counts.items()))
    saved = human_bytes(stands.bytes_before - stands.bytes_after)
    return f"| {portion} | {state} | {counted or 'nothing to archive'} | {saved} | {name} |"


def days_left(run: Run, portions: Portions) -> list[Day]:
    """What is left, below each prefix."""
    left = ((prefix, portion) for prefix in run.prefixes for portion in portions.left)
    return [Day(prefix=prefix, date=portion.date, shard=portion.shard) for prefix, portion in left]


def damage_found(damaged: Mapping[date, str]) -> list[Finding]:
    """Why a backfill could not finish these days, before it has begun."""
    return [
        Finding(
            code="audit-damaged",
            severity=Severity.WARN,
            sentence=f"The backfill cannot finish {day} until its audit table can be read.",
            way_out=f"{why}.",
        )
        for day, why in sorted(damaged.items())
    ]


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
