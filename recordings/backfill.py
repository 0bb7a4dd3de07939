"""A long date range, cut into portions that are runs of their own; what is finished is known from the runs' records."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

from recordings.errors import InvalidRequest
from recordings.evidence import end_records
from recordings.files import AuditFiles
from recordings.history import DeadRuns, covered_ids, is_like, is_old, open_records, record_start
from recordings.patience import patience
from recordings.pool import Pool
from recordings.recording import Day, Window, days_between
from recordings.reporting import human_bytes
from recordings.run import Run
from recordings.s3.store import Store

Record = Mapping[str, Any]  # of a run that ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """What is to be archived, as one run over all of it would be told, and how it is cut."""

    run: Run
    deployment: str  # that archives a portion; empty: this process does
    max_parallel: int
    shard_above: int


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Portion:
    """A UTC day, or what of it begins with ``shard``: the work of one run."""

    date: date
    shard: str = ""

    def __str__(self) -> str:
        return f"{self.date} {self.shard}".rstrip()


def plan_backfill(run: Run, *, deployment: str, max_parallel: int, shard_above: int) -> Backfill:
    """The backfill, if all its recordings are old enough. Raises InvalidRequest."""
    if run.end_date > _youngest(run.scheduled_at, run.min_age_days):
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
        "shard": portion.shard,
    }


class Portions:
    """All portions of a backfill, and those that no run had finished when it began. A plain class, as Batch is."""

    __slots__ = ("all", "left")

    def __init__(self, portions: Iterable[Portion], settled: Container[Portion]) -> None:
        self.all = sorted(portions)
        self.left = [portion for portion in self.all if portion not in settled]

    def __str__(self) -> str:
        return f"{len(self.left)} portions to archive, {len(self.all) - len(self.left)} finished before"


def find_portions(backfill: Backfill, settled: Container[Portion], store: Store, pool: Pool) -> Portions:
    """The portions of all days. Days that were finished whole are not listed."""
    days = list(days_between(backfill.run.start_date, backfill.run.end_date))
    unfinished = [day for day in days if Portion(date=day) not in settled]
    cut = pool.map(lambda day: patience()(portions_of, day, store, backfill), unfinished)
    whole = [Portion(date=day) for day in days if day not in unfinished]
    return Portions([*whole, *(portion for of_day in cut for portion in of_day)], settled)


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


def finished(records: Iterable[Record], run: Run) -> dict[Portion, Record]:
    """Portions that such a run, or one that did at least as much, has finished; the newest record of each."""
    return {
        Portion(date=day, shard=record["run"]["shard"]): record
        for record in records
        if _did_as_much(record, run)
        for day in days_between(_date(record, "start_date"), _date(record, "end_date"))
        if day <= _youngest(datetime.fromisoformat(record["run"]["scheduled_at"]), record["run"]["min_age_days"])
    }


def _did_as_much(record: Record, run: Run) -> bool:
    theirs = record["run"]
    return (
        "shard" in theirs  # an archiving run, and not one of a release that had no shards
        and (theirs["bucket"], theirs["profile_name"], theirs["storage_class"])
        == (run.bucket, run.profile_name, run.storage_class)
        and set(run.prefixes) <= set(theirs["prefixes"])
        and theirs["include_held"] >= run.include_held
        and not (record["counts"].get("failed") or record["unrecorded"] or record.get("unlisted"))
        and not (record["counts"].get("changed") and not record["counts"].get("archived"))
    )


def _date(record: Record, name: str) -> date:
    return date.fromisoformat(record["run"][name])


def _youngest(scheduled_at: datetime, min_age_days: int) -> date:
    return scheduled_at.date() - timedelta(days=min_age_days)


def record_backfill(files: AuditFiles, backfill: Backfill, **more: Any) -> None:
    """Say what is to be done, before anything is: if it dies, scheduled runs take up what is left."""
    record_start(files, backfill.run, backfill={"max_parallel": backfill.max_parallel}, **more)


def dead_backfills(files: AuditFiles, run: Run, *, abandoned_after: timedelta) -> DeadRuns:
    """The first week with unfinished days of each backfill like this run that died; none if dates were given.

    Only a week, because a run holds the keys of all that it takes up. A backfill lives while runs begin in its window.
    """
    if not run.catches_up:
        return {}
    opened = open_records(files)
    recent = [record for each, record in opened.items() if not is_old(each, run, abandoned_after)]
    dead = {
        each: record
        for each, record in opened.items()
        if "backfill" in record and is_old(each, run, abandoned_after) and is_like(record, run)
        if not any(_lies_in(other, record) for other in recent)
    }
    if not dead:
        return {}
    settled, covered = finished(end_records(files), run), covered_ids(files)
    weeks = (list(_weeks_left(run_id, record, settled, covered)) for run_id, record in dead.items())
    return dict(left[0] for left in weeks if left)


def _lies_in(inner: Record, outer: Record) -> bool:
    if "backfill" in inner or not inner["start_date"]:  # an operation over all dates
        return False
    return bool(outer["start_date"] <= inner["start_date"] <= outer["end_date"])  # ISO dates sort as text


def _weeks_left(
    run_id: str, record: Record, settled: Mapping[Portion, Record], covered: Container[str]
) -> Iterator[tuple[str, list[Window]]]:
    start, end = date.fromisoformat(record["start_date"]), date.fromisoformat(record["end_date"])
    for number, days in groupby(days_between(start, end), key=lambda day: (day - start).days // 7):
        left = [day for day in days if Portion(date=day) not in settled]
        name = f"{run_id}-week-{number + 1}"
        if left and name not in covered:
            prefixes = record["prefixes"]
            yield name, [Window(prefix=each, start_date=day, end_date=day) for day in left for each in prefixes]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillSummary:
    """What a backfill came to. Counts and sums are of the runs that archived its portions, whenever they did."""

    portions: int
    finished_before: int
    failed: tuple[str, ...]  # portions that are not finished
    counts: Mapping[str, int]  # by status
    minutes: float
    bytes_before: int
    bytes_after: int

    def __str__(self) -> str:
        counted = ", ".join(f"{count:,} {status.replace('_', ' ')}" for status, count in sorted(self.counts.items()))
        done = f"{self.portions - len(self.failed)} of {self.portions} portions finished"
        return f"{done}, {self.finished_before} of them before: {counted or 'no recordings'}"


class BackfillFailed(Exception):
    """Some portions are not finished. Those that are will not be run again."""

    def __init__(self, summary: BackfillSummary) -> None:
        super().__init__(f"{summary}. Not finished: {', '.join(summary.failed)}. Run it again for these")
        self.summary = summary


def summarize_backfill(portions: Portions, settled: Mapping[Portion, Record]) -> BackfillSummary:
    """The sums over all portions, those included that were finished before."""
    records = {settled[each]["run"]["run_id"]: settled[each] for each in portions.all if each in settled}.values()
    return BackfillSummary(
        portions=len(portions.all),
        finished_before=len(portions.all) - len(portions.left),
        failed=tuple(str(each) for each in portions.all if each not in settled),
        counts=dict(sum((Counter[str](record["counts"]) for record in records), Counter[str]())),
        minutes=sum(record["minutes"] for record in records),
        bytes_before=sum(record["bytes_before"] for record in records),
        bytes_after=sum(record["bytes_after"] for record in records),
    )


def backfill_rows(
    portions: Portions, settled: Mapping[Portion, Record], states: Mapping[Portion, str]
) -> list[dict[str, str]]:
    """A line for each portion, for people."""
    return [_line(each, settled.get(each), states.get(each, "finished before")) for each in portions.all]


def _line(portion: Portion, record: Record | None, state: str) -> dict[str, str]:
    if record is None:
        return {"portion": str(portion), "state": state, "run": "", "recordings": "", "saved": ""}
    counted = ", ".join(f"{count:,} {status}" for status, count in sorted(record["counts"].items()))
    return {
        "portion": str(portion),
        "state": state,
        "run": record["run"]["run_id"],
        "recordings": counted or "none left",
        "saved": human_bytes(record["bytes_before"] - record["bytes_after"]),
    }
