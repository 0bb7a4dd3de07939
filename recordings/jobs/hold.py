"""Put a recording under a legal hold for a case, or lift the hold of a case. Several cases can hold one recording.

All versions are held, so that neither a release nor a lifecycle rule takes the original. Where the bucket has Object
Lock, S3 enforces the hold, and the audit table names the cases; elsewhere the tag ``legal-hold`` names them.

A hold's intent is written before S3 is asked, and a lifting looks at intents after it has lifted: so a case that holds
while another case's hold is lifted is seen by one of the two. Where one run holds and another lifts for the same case,
the hold wins: the lifting undoes its work, or the row of the hold stands after the lifting's.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from recordings.errors import AuditDamaged, Changed, Skipped, StoreRefused, StoreUnavailable, Unproven
from recordings.holds import BEFORE, case_of, cases_in, named_by, place_of, reason_of, with_cases
from recordings.jobs.engine.cases import Cases, cases_now, unknown_case
from recordings.jobs.engine.intents import confirmed, set_out, write_and_close
from recordings.jobs.engine.job import Job
from recordings.jobs.engine.object_search import ObjectSearch, rows_of_keys
from recordings.jobs.engine.result import JobResult
from recordings.jobs.engine.traces import shows_hold, trace_of_hold, trace_of_lifting
from recordings.jobs.engine.work import Work
from recordings.marks import HOLD_TAG, MAX_TAGS
from recordings.outcomes import accounted
from recordings.pool import Pool
from recordings.s3.objects import Version
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.records import Kind
from recordings.table.rows import AuditRow, BatchRows, Status
from recordings.versions import versions_of

T = TypeVar("T")


def hold_batch(store: Store, files: AuditFiles, batch: BatchRows, job: Job, pool: Pool) -> JobResult:
    """Look at each recording, record the intent, set or lift the holds, look once more, write the rows."""
    cases = cases_now(files, job.bucket, batch.rows, run_id=job.run_id)
    looked = pool.map(lambda row: accounted(row, lambda: _planned(store, row, job, cases)), batch.rows)
    if any(map(_was_before, looked)):  # or another case of ours has begun since the cases were read
        cases = cases_now(files, job.bucket, batch.rows, run_id=job.run_id)
        by_us = {row.key for row in looked if _was_before(row) and cases.of(row.key)}
        looked = [replace(row, reason=reason_of(str(job.case))) if row.key in by_us else row for row in looked]
    wanted = [row for row in looked if row.status is job.traits.done]
    rows = [row for row in looked if row.status is not job.traits.done]
    if job.dry_run:
        return JobResult(job, looked, [])
    intent = set_out(files, job, batch, wanted)
    unknown = {row.key: replace(row, status=Status.FAILED) for row in wanted}
    deleting = dict[str, str]()  # as seen by any look: a run that has told how its deletion ended is seen no more

    def on_each(rows: Sequence[AuditRow], act: Callable[[Store, AuditRow, Cases], AuditRow]) -> list[AuditRow]:
        """The rows after the act, for which other runs' holds are looked up anew; failed ones stay as they are."""
        now = cases_now(files, job.bucket, wanted, run_id=job.run_id)
        deleting.update(now.deleting)
        now = replace(now, deleting=deleting)
        undone = [row for row in rows if row.status is not job.traits.done]
        due = [row for row in rows if row.status is job.traits.done]
        return [*undone, *pool.map(lambda row: accounted(unknown[row.key], lambda: act(store, row, now)), due)]

    done = on_each(on_each(wanted, _changed), _proved)
    rows += confirmed(store, intent, done, pool, look=_found)
    return JobResult(job, rows, write_and_close(files, intent, rows))


def _was_before(row: AuditRow) -> bool:
    return row.status is Status.HELD and BEFORE in str(row.reason)


def _planned(store: Store, row: AuditRow, job: Job, cases: Cases) -> AuditRow:
    """The row as it will be. Raises Changed or Skipped where there is nothing to hold or to lift."""
    versions = _objects(store, row.key)
    case, reason = str(job.case), reason_of(str(job.case))
    newest = store.head(row.key, versions[-1].version_id)
    if job.kind is Kind.LIFT:
        tags = _of_each(store, row.key, versions, lambda each: store.tags(row.key, each.version_id))
        named = {name for each in tags for name in cases_in(each)}
        if case not in cases.of(row.key) | named:
            raise Skipped("not-held", f"case {case} does not hold it")
    elif store.locks_enabled:
        reason += f"; {BEFORE}" if _is_held(store, row.key, versions) and not cases.of(row.key) else ""
    else:
        _of_each(store, row.key, versions, lambda each: _with_room(store, row.key, each, {case}))
    return replace(
        row,
        status=Status.HELD if job.kind is Kind.HOLD else Status.LIFTED,
        reason=reason,
        bytes_after=newest.size_bytes,
        etag_after=newest.etag,
        version_after=newest.version_id,
        storage_class_after=newest.storage_class,
        state_at=cases.next_place((row.key, case), newest.answered_at),
        finished_at=datetime.now(UTC),
    )


def _objects(store: Store, key: str) -> list[Version]:
    """The key's versions without delete markers, the newest last. Raises Changed where there are none."""
    versions = [version for version in versions_of(store, key) if not version.is_marker]
    if not versions:
        raise Changed("gone", "no version of it is left")
    return versions


def _of_each(store: Store, key: str, versions: Iterable[Version], act: Callable[[Version], T]) -> list[T]:
    """What the act returns for each version that is not deleted meanwhile. Raises Changed where none is left."""
    done = list[T]()
    for version in versions:
        try:
            done.append(act(version))
        except Changed:
            if version.version_id in {each.version_id for each in _objects(store, key)}:
                raise
    return done


def _with_room(store: Store, key: str, version: Version, more: Collection[str]) -> tuple[dict[str, str], bool]:
    """The version's tags with more cases, and whether that changes them. Raises Skipped where there is no room."""
    tags = store.tags(key, version.version_id)
    held = with_cases(tags, cases_in(tags) | frozenset(more))
    if len(held) > MAX_TAGS:
        raise Skipped(
            "no-room-for-hold",
            f"version {version.version_id} has {MAX_TAGS} tags, so there is no room for {HOLD_TAG}: remove one",
        )
    return held, held != tags


def _changed(store: Store, row: AuditRow, cases: Cases) -> AuditRow:
    """Set the hold of the row's case on all versions, or take it away; the holds of other cases stay."""
    case = str(case_of(row.reason))
    others = cases.others(row.key, case)
    if row.status is Status.HELD:
        _hold(store, row.key, others | {case})
        return row
    cases.check_not_held_again(row)
    stays = store.locks_enabled and bool(others or row.key in cases.held_before)

    def lift(version: Version) -> None:
        tags = store.tags(row.key, version.version_id)
        if case in cases_in(tags):  # with Object Lock, too: the tag may be older than the bucket's Object Lock
            store.put_tags(row.key, version.version_id, with_cases(tags, cases_in(tags) - {case}))
        if store.locks_enabled and not stays:
            store.put_hold(row.key, version.version_id, held=False)

    _of_each(store, row.key, _objects(store, row.key), lift)
    return row


def _hold(store: Store, key: str, cases: Collection[str]) -> None:
    """Hold all versions; by tag, for these cases, too."""

    def hold(version: Version) -> None:
        if store.locks_enabled:
            if not store.head(key, version.version_id).legal_hold:
                store.put_hold(key, version.version_id, held=True)
            return
        tags, is_new = _with_room(store, key, version, cases)
        if is_new:
            store.put_tags(key, version.version_id, tags)

    _of_each(store, key, _objects(store, key), hold)


def _proved(store: Store, row: AuditRow, cases: Cases) -> AuditRow:
    """The row, if S3 shows it so on all versions.

    Two runs at once may each have undone what the other did: so whichever looks last holds again for every case.
    """
    case = str(case_of(row.reason))
    others = cases.others(row.key, case)
    if row.status is Status.HELD:
        _hold(store, row.key, others | {case})
        _check_not_being_deleted(store, row, cases)
        return replace(_seen(store, row), state_at=cases.next_place(named_by(row), place_of(row)[0]))
    try:
        cases.check_not_held_again(row)
    except Changed:
        _hold(store, row.key, others | {case})
        raise
    if others:
        _hold(store, row.key, others)
    stays = others or (row.key in cases.held_before and _is_held(store, row.key, _objects(store, row.key)))
    if store.locks_enabled and stays:
        still_for = ", ".join(sorted(others)) or "others, who had held it before"
        return replace(row, reason=f"{row.reason}; still held for {still_for}")
    return _seen(store, row)


def _is_held(store: Store, key: str, versions: Iterable[Version]) -> bool:
    """Whether S3 itself holds any of the versions."""
    return any(_of_each(store, key, versions, lambda each: store.head(key, each.version_id).legal_hold))


def _check_not_being_deleted(store: Store, row: AuditRow, cases: Cases) -> None:
    """Without Object Lock, S3 deletes what a tag holds: a deletion begun before may still come, or has come since."""
    if not store.locks_enabled and (run_id := cases.deleting.get(row.key)):
        raise Unproven("being-deleted", f"run {run_id} set out to delete it before it was tagged: hold it again later")


def _seen(store: Store, row: AuditRow) -> AuditRow:
    """The row, if S3 shows all versions as the row says. Raises Unproven, and Changed where no version is left."""
    case = str(case_of(row.reason))
    held = row.status is Status.HELD

    def look(version: Version) -> None:
        if shows_hold(store, row.key, version.version_id, case) is not held:
            shown = "not held" if held else "held"
            raise Unproven(
                "hold-differs",
                f"S3 shows version {version.version_id} as {shown}, the opposite of what the run asked for",
            )

    _of_each(store, row.key, _objects(store, row.key), look)
    return row


def _found(store: Store, row: AuditRow) -> AuditRow:
    """As ``_seen``. Raises Skipped where nothing was done, so that a refusal stays one."""
    trace = trace_of_hold if row.status is Status.HELD else trace_of_lifting
    trace(store, row)
    return _seen(store, row)


class Holding(Work):
    """The objects to hold, or whose hold is lifted."""

    def __iter__(self) -> Iterator[list[BatchRows]]:
        search = ObjectSearch(self._job, self._store, self._files, with_markers=False)
        try:
            for keys in search:
                yield from self._batched_apart(rows_of_keys(keys, self._job, None))
        except (StoreRefused, StoreUnavailable) as error:
            self.problems.append(f"the bucket could not be listed to the end: {error}")
            return
        self.problems += search.unread
        self._asked_in_vain(search.in_vain)
        if self._job.kind is Kind.LIFT and not self.sums.counts[Status.LIFTED] and self.sums.reasons["not-held"]:
            try:
                self._asked_in_vain(unknown_case(str(self._job.case), self._files, self._job.bucket))
            except AuditDamaged as error:
                self.problems.append(f"whether the case has ever held anything is not known: {error}")
