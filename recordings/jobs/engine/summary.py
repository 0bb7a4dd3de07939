"""The summary of a job: what its flow returns, or fails with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from recordings.formatting import label, plural
from recordings.glossary import code_of
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.kinds import TRAITS
from recordings.jobs.engine.result import DONE_OTHERWISE, SUCCEEDED, JobSums, Reading
from recordings.table.records import Kind
from recordings.table.rows import ManifestFile, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """The result of a job's flow. In a dry run, the counts say what would be done."""

    run_id: str
    kind: Kind
    dry_run: bool
    counts: Mapping[str, int]  # by status
    reasons: Mapping[str, int]  # by the code of the reason
    original_bytes: int  # of the originals restored or released; of all versions expired or erased
    usd_month: float  # cost of keeping these for a month, in US dollars at list prices
    manifest_files: tuple[str, ...]
    drifts: Mapping[str, int]  # differences found by a reconciliation, by code
    unrecorded: int  # requested recordings that have no row
    lost: Mapping[str, int] = field(default_factory=dict)  # recordings found to be lost, by code
    settled: int = 0  # rows written on behalf of earlier runs that died before they wrote them
    notes: tuple[str, ...] = ()  # information for people, such as why there was nothing to do
    problems: tuple[str, ...] = ()  # what was not found, was lost, or could not be read or written
    reading: Reading = field(default_factory=Reading)  # by a check
    next_step: str = ""  # how to do what a dry run only looked at

    @property
    def succeeded(self) -> bool:
        """Whether every recording asked for is accounted for, none failed, and all that was asked for was found."""
        return not (self.unrecorded or self.problems or self.counts.get(Status.FAILED.value, 0))

    @property
    def counts_for_schedule(self) -> bool:
        """Whether a scheduled job did its work: not if it failed, or was a dry run of what is to change the bucket."""
        return self.succeeded and (TRAITS[self.kind].looks_only or not self.dry_run)

    def __str__(self) -> str:
        would = "would be " if self.dry_run else ""
        ends = [f"{count:,} {would}{label(status)}" for status, count in sorted(self.counts.items())]
        differences = [f"{count:,} {code}" for code, count in sorted(self.drifts.items())]
        settled = f"{plural(self.settled, 'row')} written for earlier runs that died" if self.settled else ""
        unknown = f"{plural(self.unrecorded, 'recording')} without a row" if self.unrecorded else ""
        found = f"table and bucket differ: {', '.join(differences)}" if differences else ""
        said = [*filter(None, (", ".join(ends), found, settled, unknown)), *_shortened(self.problems, 3, "problem")]
        notes = _shortened(self.notes, 10, "note")
        said = [*(said or [TRAITS[self.kind].nothing_to_do]), *notes, *filter(None, [self.next_step])]
        dry = "dry run: " if would and not TRAITS[self.kind].looks_only else ""
        return f"{dry}{self.kind} {self.run_id}: {'; '.join(said)}"


def _shortened(said: Sequence[str], limit: int, what: str) -> Iterator[str]:
    """The first texts, up to the limit, and how many more there are."""
    yield from said[:limit]
    if len(said) > limit:
        yield f"and {plural(len(said) - limit, f'more {what}')}"


class JobFailed(Exception):
    """The job ended, but something in it failed. Its rows and its record are written."""

    def __init__(self, summary: JobSummary) -> None:
        super().__init__(f"{summary}. The artifact {summary.kind}-report has all of it, and says what to do")
        self.summary = summary


def summarize(
    job: Job,
    sums: JobSums,
    *,
    drifts: Mapping[str, int],
    lost: Mapping[str, int],
    settled: int,
    manifest: Sequence[ManifestFile],
    notes: Sequence[str],
    problems: Sequence[str],
) -> JobSummary:
    """The summary of the whole job."""
    return JobSummary(
        run_id=job.run_id,
        kind=job.kind,
        dry_run=job.dry_run,
        counts=dict(sums.counts),
        reasons=dict(sums.reasons),
        original_bytes=sums.size_bytes,
        usd_month=sums.usd_month,
        manifest_files=tuple(file.name for file in manifest),
        drifts=dict(drifts),
        unrecorded=sums.unrecorded,
        lost=dict(lost),
        settled=settled,
        notes=tuple(notes),
        problems=(*sums.without_result, *problems, *_not_done(job, sums)),
        reading=sums.reading,
        next_step=_next_step(job, sums.counts),
    )


def _next_step(job: Job, counts: Mapping[str, int]) -> str:
    to_do = counts.get(job.traits.done or "", 0)
    if not job.dry_run or not to_do:
        return ""
    is_selected = job.narrows or job.everything or not job.traits.ways_to_select
    selecting = "" if is_selected else " and everything=True, or with a selection"
    what = f"{job.traits.verb or job.kind} {plural(to_do, job.traits.noun)}"
    return f"nothing was written: to {what}, run it again with dry_run=False{selecting}"


def _not_done(job: Job, sums: JobSums) -> Iterator[str]:
    """The recordings that failed; in a restore also each that does not come back, unless that was expected."""
    wants_all = job.traits.wants_all and not job.missing_ok
    would = f"{'would not be' if job.dry_run else 'was not'} {job.traits.participle}"
    left = [row for row in sums.failures if wants_all or row.status is Status.FAILED]
    gone = [row for row in sums.failures if code_of(row.reason) in DONE_OTHERWISE]
    yield from (f"{row.key} {would}: {row.reason}" for row in [*left, *gone])
    failed = [status for status in sums.counts if status == Status.FAILED or (wants_all and status not in SUCCEEDED)]
    otherwise = sum(sums.reasons[code] for code in DONE_OTHERWISE)
    more = sum(sums.counts[status] for status in failed) + otherwise - len(left) - len(gone)
    if more > 0:
        there = "" if job.dry_run else f"; the audit table has them all, as rows of run {job.run_id}"
        yield f"{plural(more, f'more {job.traits.noun}')} {would}{there}"
