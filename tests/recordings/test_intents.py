"""Nothing is done without a row, at whatever point a release or a restore ends."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recordings.errors import StoreRefused, StoreUnavailable
from recordings.holds import reason_of
from recordings.jobs.engine import intents
from recordings.jobs.engine.deletion import Checked, Proof
from recordings.jobs.engine.intents import open_intents, runs_by_deed, set_out
from recordings.jobs.engine.job import Job, batches_of, plan_job
from recordings.jobs.engine.object_search import rows_of_keys
from recordings.jobs.engine.result import JobResult
from recordings.jobs.engine.settlement import Settlement, close_settled, settle
from recordings.jobs.engine.traces import PARTLY
from recordings.jobs.erase import erase_batch
from recordings.jobs.reconcile import reconcile_day
from recordings.jobs.release import prove_released, release_batch
from recordings.jobs.restore import restore_batch
from recordings.pool import Budget, Pool
from recordings.recording import Batch, Day
from recordings.s3.deleting import DeletingStore, Removable
from recordings.s3.objects import StoredObject
from recordings.s3.store import Store
from recordings.settings import Settings
from recordings.table.evidence import verify_audit
from recordings.table.files import AuditFiles, LocalFiles, open_files
from recordings.table.parquet import parquet_bytes, write_rows
from recordings.table.reading import current, read_audit, rows_of
from recordings.table.records import Kind, record_end, record_start
from recordings.table.rows import AuditRow, BatchRows, Status
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.fixtures import Stages
from tests.recordings.selected import selected
from tests.recordings.tables import ROW

pytestmark = pytest.mark.slow
SIX_HOURS = timedelta(hours=6)
RECORDINGS = 6  # on two days
Batched = Callable[[DeletingStore, AuditFiles, BatchRows, Job, Pool], JobResult]


class Died(BaseException):
    """The process ends here: nobody catches it."""


class Dying:
    """Lets a process die at one of its requests of a kind: before the n-th, or after it."""

    def __init__(self, request: Callable[..., Any], number: int, *, after: bool = False) -> None:
        self._request, self._left, self._after = request, number, after

    def __call__(self, *args: Any, **named: Any) -> Any:
        self._left -= 1
        if self._left < 0 or (self._left == 0 and not self._after):
            raise Died
        answer = self._request(*args, **named)
        if self._left == 0:
            raise Died
        return answer


class World:
    """Archived recordings, their table, and jobs on them without Prefect."""

    def __init__(self, bucket: Bucket, audit: Path, rows: list[AuditRow]) -> None:
        self.bucket, self.rows, self.uri = bucket, rows, str(audit)
        self.files = LocalFiles(audit)
        self.store = DeletingStore(bucket.name, Settings())
        self.pool = Pool(1, Budget(1024 * 1024))  # one thread: the n-th request is always the same

    def job(self, kind: Kind, **changes: Any) -> Job:
        job = plan_job(
            kind, bucket=self.bucket.name, audit_uri=self.uri, everything=True, **{"grace_days": 0, **changes}
        )
        record_start(self.files, job)
        return job

    def run(self, kind: Kind, files: AuditFiles | None = None) -> Job:
        """A whole run but for its end record; ``files`` may let it die."""
        job = self.job(kind)
        rows = selected(job, self.store, self.files, self.pool).rows
        work: Batched = release_batch if kind == Kind.RELEASE else restore_batch
        for batch in batches_of(rows):
            work(self.store, files or self.files, batch, job, self.pool)
        return job

    def settle(self, *, abandoned_after: timedelta = SIX_HOURS) -> Settlement:
        """As any job begins, and ends."""
        job, pool = self.job(Kind.RELEASE), Pool(2, Budget(1024))  # another process's, as it were
        settlement = settle(self.store, self.files, pool, abandoned_after=abandoned_after)
        record_end(self.files, job, totals={}, manifest=settlement.files)
        close_settled(self.files, settlement)
        return settlement

    def told(self, status: Status) -> dict[str, str]:
        """The run of each row of this status, by key; no key twice."""
        frame = read_audit(self.uri)
        rows = frame[frame["status"] == status]
        assert rows["key"].is_unique, "one row for one deed"
        return dict(zip(rows["key"], rows["run_id"], strict=True))

    def gone(self) -> set[str]:
        return {row.key for row in self.rows if row.version_before not in self._versions(row.key)}

    def restored(self) -> set[str]:
        return {row.key for row in self.rows if self.bucket.get(row.key)["ContentLength"] == row.bytes_before}

    def _versions(self, key: str) -> list[str]:
        return [version["VersionId"] for version in self.bucket.versions(key)]


@pytest.fixture
def world(bucket: Bucket, run_stages: Stages, plan: Any, a_call: Any, tmp_path: Path) -> World:
    rows: list[AuditRow] = []
    for n in range(RECORDINGS):
        bucket.put(key_of(n, DAY + timedelta(days=n % 2)), a_call(n, 0.5))
    for day in (DAY, DAY + timedelta(days=1)):
        rows += run_stages(plan(bucket.name, start_date=day, end_date=day))
    files = LocalFiles(tmp_path / "audit")
    run = replace(plan(bucket.name), run_id=rows[0].run_id)
    record_start(files, run)
    record_end(files, run, totals={}, manifest=write_rows(files, rows, run_id=run.run_id, number=1))
    return World(bucket, tmp_path / "audit", rows)


def dies(world: World, kind: Kind, files: AuditFiles | None = None) -> str:
    """The run id of a run that died."""
    with pytest.raises(Died):
        world.run(kind, files)
    return max((intent for intent in open_intents(world.files, world.bucket.name)), key=lambda i: i.written_at).run_id


def dying_files(world: World, number: int, *, after: bool) -> AuditFiles:
    files = LocalFiles(Path(world.uri))
    files.create = Dying(files.create, number, after=after)  # type: ignore[method-assign]
    return files


# Files are written in this order: the intent, the rows of the first day, of the second, the done record.
CRASHES = {"after the intent": (1, True), "before any row": (2, False), "between the days' rows": (2, True),
           "after the rows, before done": (4, False)}  # fmt: skip


@pytest.mark.parametrize("kind", [Kind.RELEASE, Kind.RESTORE])
@pytest.mark.parametrize(("number", "after"), CRASHES.values(), ids=CRASHES)
def test_a_crash_between_files(world: World, kind: Kind, number: int, after: bool) -> None:
    dead = dies(world, kind, dying_files(world, number, after=after))
    done = world.gone() if kind == Kind.RELEASE else world.restored()
    assert len(done) == (0 if (number, after) == (1, True) else RECORDINGS)
    settlement = world.settle(abandoned_after=timedelta(0))
    assert world.told(Status.RELEASED if kind == Kind.RELEASE else Status.RESTORED) == dict.fromkeys(done, dead)
    assert settlement.problems == []
    assert verify_audit(world.uri).discrepancies == ()
    assert open_intents(world.files, world.bucket.name) == []


@pytest.mark.parametrize("after", [False, True], ids=["before the request", "before its answer"])
@pytest.mark.parametrize("number", range(1, RECORDINGS + 1))
@pytest.mark.parametrize(("kind", "request_"), [(Kind.RELEASE, "delete_version"), (Kind.RESTORE, "bring_back")])
def test_a_crash_at_the_nth_deed(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: Kind, request_: str, number: int, after: bool
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(world.store, request_, Dying(getattr(world.store, request_), number, after=after))
        dead = dies(world, kind)
    done = world.gone() if kind == Kind.RELEASE else world.restored()
    assert len(done) == number - (not after)
    assert {world.settle().rows, world.settle().rows} == {len(done), 0}, "told once"
    status = Status.RELEASED if kind == Kind.RELEASE else Status.RESTORED
    assert world.told(status) == dict.fromkeys(done, dead)
    assert verify_audit(world.uri).discrepancies == ()
    second = world.run(kind).run_id
    assert world.told(status) == {row.key: dead if row.key in done else second for row in world.rows}
    assert current(read_audit(world.uri))["status"].tolist() == [status] * RECORDINGS


def test_an_erasure_that_dies_between_original_and_replacement(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is that of a release: the recording can still be held, expired and checked by what it says."""
    archived = world.rows[0]
    where: Any = {"bucket": world.bucket.name, "audit_uri": world.uri, "keys": [archived.key]}
    job = plan_job(Kind.ERASE, **where, case="1")
    record_start(world.files, job)
    [batch] = batches_of(rows_of_keys([archived.key], job, reason_of("1")))
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "delete_version", Dying(world.store.delete_version, 1, after=True))
        with pytest.raises(Died):
            erase_batch(world.store, world.files, batch, job, world.pool)
    assert world.gone() == {archived.key}
    assert [world.settle(abandoned_after=timedelta(0)).rows for _ in range(2)] == [1, 0]
    (told,) = rows_of(read_audit(world.uri).query("run_id == @job.run_id"))
    assert (told.status, str(told.reason).split(":")[0], told.original_kept) == (Status.RELEASED, PARTLY, False)
    assert (told.before, told.after) == (archived.before, archived.after)
    assert current(read_audit(world.uri)).set_index("key").loc[archived.key, "status"] == "released"


def test_an_original_that_an_erasure_deleted_is_told_if_its_replacement_proves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has overwritten the replacement, and kept its metadata."""
    key = world.rows[0].key
    forged = world.bucket.put(key, b"forged", Metadata=world.bucket.get(key)["Metadata"])
    job = plan_job(Kind.ERASE, bucket=world.bucket.name, audit_uri=world.uri, keys=[key], case="1")
    record_start(world.files, job)
    [batch] = batches_of(rows_of_keys([key], job, reason_of("1")))
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "delete_version", Dying(world.store.delete_version, 1, after=True))
        with pytest.raises(Died):
            erase_batch(world.store, world.files, batch, job, world.pool)
    assert world.gone() == {key}
    assert world.settle(abandoned_after=timedelta(0)).rows == 1
    (told,) = rows_of(read_audit(world.uri).query("run_id == @job.run_id"))
    assert (told.status, str(told.reason).split(":")[0], told.original_kept) == (Status.RELEASED, PARTLY, False)
    assert "what is left could not be confirmed: not-as-written: " in str(told.reason)
    assert (told.version_before, told.version_after) == (world.rows[0].version_before, forged["VersionId"])
    assert (told.bytes_after, told.sha256_after) == (len(b"forged"), None)


@pytest.mark.parametrize("kind", [Kind.RELEASE, Kind.RESTORE])
def test_a_settled_row_says_what_the_dead_runs_own_would_have(world: World, kind: Kind, tmp_path: Path) -> None:
    """But for the reason, and for the moments that only the dead run knew."""
    dead = dies(world, kind, dying_files(world, 2, after=False))
    intent = open_intents(world.files, world.bucket.name)[0]
    world.settle()
    (settled, *_) = rows_of(read_audit(world.uri).query("run_id == @dead").sort_values("key"))
    archived = next(row for row in world.rows if row.key == settled.key)
    assert settled.reason is not None
    assert settled.reason.startswith("settled: ")
    assert dead in settled.reason
    assert archived.state_at is not None
    assert settled.state_at is not None
    assert archived.state_at < settled.state_at <= intent.written_at + timedelta(seconds=2)
    before, after = (archived.bytes_before, archived.bytes_after)
    if kind == Kind.RESTORE:
        before, after = after, before
        assert settled.version_before == archived.version_after
        assert settled.sha256_after == archived.sha256_before
    else:
        assert (settled.version_before, settled.version_after) == (archived.version_before, archived.version_after)
        assert settled.original_kept is False
    assert (settled.bytes_before, settled.bytes_after, settled.verified) == (before, after, True)


def test_a_settler_that_dies_is_settled_too(world: World) -> None:
    dead = dies(world, Kind.RELEASE, dying_files(world, 2, after=False))
    world.job(Kind.RELEASE)
    settle(world.store, world.files, world.pool, abandoned_after=SIX_HOURS)  # and no end record
    assert world.settle().rows == 0
    assert world.told(Status.RELEASED) == dict.fromkeys(world.gone(), dead)
    assert verify_audit(world.uri).discrepancies == ()


def test_the_newest_of_two_dead_runs_did_it(world: World) -> None:
    """Both had set out to; the newer one would have settled what the older had done."""
    dies(world, Kind.RELEASE, dying_files(world, 1, after=True))
    world.settle()
    newer = dies(world, Kind.RELEASE, dying_files(world, 2, after=False))
    world.settle()
    assert world.told(Status.RELEASED) == dict.fromkeys(world.gone(), newer)


def test_a_run_that_is_settled_while_it_works_tells_the_rest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody settles it after its third deletion; it goes on, and its rows lie in a second file."""
    delete, calls = world.store.delete_version, []

    def delete_and_be_settled(*args: Any) -> Any:
        answer = delete(*args)
        calls.append(args)
        if len(calls) == 3:
            assert world.settle().rows == 3
        return answer

    monkeypatch.setattr(world.store, "delete_version", delete_and_be_settled)
    run_id = world.run(Kind.RELEASE).run_id
    assert world.told(Status.RELEASED) == dict.fromkeys((row.key for row in world.rows), run_id)
    assert open_intents(world.files, world.bucket.name) == []
    assert verify_audit(world.uri).discrepancies == ()


def test_a_deletion_of_unknown_outcome_stays_open_until_somebody_looks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = world.store.delete_version

    def answer_lost(*args: Any) -> Any:
        delete(*args)
        raise StoreUnavailable("the answer never came")

    monkeypatch.setattr("recordings.outcomes.patience", lambda: _impatient())
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "delete_version", answer_lost)
        job = world.run(Kind.RELEASE)
    record_end(world.files, job, totals={}, manifest=[])
    assert set(read_audit(world.uri).query("run_id == @job.run_id")["status"]) == {"failed"}
    assert [intent.run_id for intent in open_intents(world.files, world.bucket.name)] == [job.run_id]
    assert world.settle().rows == RECORDINGS
    assert world.told(Status.RELEASED) == dict.fromkeys(world.gone(), job.run_id)
    assert open_intents(world.files, world.bucket.name) == [], "its run has ended"


def _impatient() -> Any:
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

    return Retrying(retry=retry_if_exception_type(StoreUnavailable), stop=stop_after_attempt(1), reraise=True)


def test_what_cannot_be_looked_at_keeps_the_intent_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = dies(world, Kind.RELEASE, dying_files(world, 2, after=False))
    monkeypatch.setattr("recordings.outcomes.patience", lambda: _impatient())
    head = world.store.head

    def refused(key: str, version_id: str | None = None) -> StoredObject:
        if key == world.rows[0].key:
            raise StoreUnavailable("no answer")
        return head(key, version_id)

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "head", refused)
        settlement = world.settle(abandoned_after=timedelta(0))
    assert (settlement.rows, len(settlement.problems)) == (RECORDINGS - 1, 1)
    assert world.rows[0].key in settlement.problems[0]
    assert world.settle(abandoned_after=timedelta(0)).rows == 1
    assert world.told(Status.RELEASED) == dict.fromkeys(world.gone(), dead)
    assert verify_audit(world.uri).discrepancies == ()


def test_a_damaged_file_of_a_day_leaves_what_lies_there_unknown_and_all_else_goes_on(world: World) -> None:
    dead = dies(world, Kind.RELEASE, dying_files(world, 2, after=False))
    other = world.job(Kind.RESTORE)
    set_out(world.files, other, BatchRows(Batch(DAY + timedelta(days=1), 1, ()), []), [])  # of a day that can be read
    damaged = f"recording_date={DAY}/r0-0001.parquet"
    world.files.create(damaged, b"no Parquet")
    settlement = world.settle(abandoned_after=timedelta(0))
    of_day = [row.key for row in world.rows if row.recording_date == DAY]
    assert settlement.unsettled == dict.fromkeys(of_day, DAY)
    assert settlement.rows == RECORDINGS - len(of_day)
    (problem,) = settlement.problems
    said = f"it is not known what release {dead} had done to calls of {DAY}, so these are left out: {damaged} in the"
    assert said in problem
    assert [intent.run_id for intent in open_intents(world.files, world.bucket.name)] == [dead]
    runs = runs_by_deed(world.files, open_intents(world.files, world.bucket.name))
    assert set(runs) == {(Kind.RELEASE, row.key) for row in world.rows}
    Path(world.uri, damaged).unlink()
    assert world.settle(abandoned_after=timedelta(0)).rows == len(of_day)
    assert world.told(Status.RELEASED) == dict.fromkeys(world.gone(), dead)


def test_an_intent_of_a_bucket_that_is_not_there_deletes_nothing_on_paper(world: World) -> None:
    """Every HEAD would answer 404, as for versions that are gone."""
    from recordings.errors import StoreRefused

    dies(world, Kind.RELEASE, dying_files(world, 1, after=True))
    intent = open_intents(world.files, world.bucket.name)[0]
    batch = batches_of([replace(row, bucket="no-such-bucket") for row in intent.rows])[0]
    elsewhere = replace(world.job(Kind.RELEASE), bucket="no-such-bucket")
    set_out(world.files, elsewhere, batch, batch.rows)
    with pytest.raises(StoreRefused, match="no bucket named"):
        settle(Store("no-such-bucket", Settings()), world.files, world.pool, abandoned_after=SIX_HOURS)
    assert world.told(Status.RELEASED) == {}


def test_an_intent_names_each_original_before_the_first_goes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[set[tuple[str, str | None, date]]] = []
    delete = world.store.delete_version

    def look(*args: Any) -> Any:
        (intent,) = open_intents(world.files, world.bucket.name)
        named.append({(row.key, row.version_before, row.recording_date) for row in intent.rows})
        return delete(*args)

    monkeypatch.setattr(world.store, "delete_version", look)
    world.run(Kind.RELEASE)
    assert named == [{(row.key, row.version_before, row.recording_date) for row in world.rows}] * RECORDINGS


def test_what_is_not_proved_is_not_in_the_intent(world: World) -> None:
    key = world.rows[0].key
    world.bucket.client.delete_object_tagging(Bucket=world.bucket.name, Key=key)
    dies(world, Kind.RELEASE, dying_files(world, 1, after=True))
    (intent,) = open_intents(world.files, world.bucket.name)
    assert {row.key for row in intent.rows} == {row.key for row in world.rows} - {key}


def test_only_the_check_makes_a_proof(world: World) -> None:
    row = world.rows[0]
    with pytest.raises(TypeError, match="call prove"):
        Proof(Checked(row=row, removables=(), newest=(None, "")), row, seal=object())
    with pytest.raises(TypeError, match="call DeletingStore"):
        Removable(row.key, str(row.version_before), None, {}, seal=object())
    assert isinstance(prove_released(world.store, row, world.job(Kind.RELEASE)), Proof)
    assert not isinstance(prove_released(world.store, row, world.job(Kind.RELEASE, grace_days=30)), Proof)


def test_what_was_read_back_may_be_released_sooner(world: World) -> None:
    row = world.rows[0]
    of_proof = world.job(Kind.RELEASE, grace_days=30, grace_days_read_back=0)
    early = prove_released(world.store, row, of_proof)
    assert not isinstance(early, Proof)
    assert (early.reason or "").startswith("in-grace: archived less than 30 days ago")
    assert isinstance(prove_released(world.store, replace(row, read_back=True), of_proof), Proof)
    assert isinstance(prove_released(world.store, row, world.job(Kind.RELEASE, grace_days_read_back=30)), Proof)


def test_what_was_read_back_stays_so(world: World) -> None:
    """A release and a repair of the tag leave the replacement that was read back."""
    first, second = (
        replace(row, read_back=True, run_id="r9", started_at=datetime.now(UTC)) for row in world.rows[::2][:2]
    )
    proof = prove_released(world.store, first, world.job(Kind.RELEASE))
    assert isinstance(proof, Proof)
    assert proof.row.read_back
    write_rows(world.files, [second], run_id="r9", number=1)
    world.bucket.client.delete_object_tagging(Bucket=world.bucket.name, Key=second.key)
    day = Day(prefix=PREFIX, date=second.recording_date)
    (drift,) = reconcile_day(world.store, world.files, day, world.job(Kind.RECONCILE), world.pool)
    assert (drift.code, drift.row and drift.row.read_back) == ("tag-missing", True)


def test_an_original_that_is_there_again_after_its_release_is_a_loss(world: World) -> None:
    """As a row says that was written too early, or a version that a backup brought back."""
    released = replace(
        world.rows[0], status=Status.RELEASED, original_kept=False, run_id="r9", state_at=datetime.now(UTC)
    )
    write_rows(world.files, [released], run_id="r9", number=1)
    day = Day(prefix=PREFIX, date=DAY)
    (drift,) = reconcile_day(world.store, world.files, day, world.job(Kind.RECONCILE), world.pool)
    assert (drift.code, drift.key, drift.is_loss) == ("resurrected", released.key, True)
    assert drift.sentence == f"run r9 says that it deleted version {released.version_before}, but it is there"


def test_a_replacement_that_is_replaced_after_it_was_proved_keeps_its_original(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a batch is proved before its first deletion: that moment must not cost the last copy of a call."""
    key = world.rows[0].key
    written = intents.set_out

    def replaced_meanwhile(*args: Any) -> Any:
        world.bucket.put(key, b"theirs")
        return written(*args)

    monkeypatch.setattr("recordings.jobs.engine.deletion.set_out", replaced_meanwhile)
    world.run(Kind.RELEASE)
    assert key not in world.gone()
    assert set(world.told(Status.CHANGED)) == {key}
    assert len(world.told(Status.RELEASED)) == RECORDINGS - 1


def test_two_releases_at_once_lose_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by hand: the second runs from its beginning to its end while the first is about to delete."""
    written, runs = intents.set_out, list[str]()

    def meanwhile(*args: Any) -> Any:
        intent = written(*args)
        if len(runs) == 0:
            runs.append("the second")
            world.run(Kind.RELEASE)
        return intent

    monkeypatch.setattr("recordings.jobs.engine.deletion.set_out", meanwhile)
    world.run(Kind.RELEASE)
    frame = read_audit(world.uri)
    assert world.gone() == {row.key for row in world.rows}
    assert frame[frame["status"] == "released"].groupby("key").size().max() == 2
    assert current(frame)["status"].tolist() == ["released"] * RECORDINGS
    assert open_intents(world.files, world.bucket.name) == []
    assert verify_audit(world.uri).discrepancies == ()


def test_one_file_alone_deletes() -> None:
    """And there, one function, which takes a proof."""
    root = Path(__file__).parents[2]
    ours = [path for package in ("recordings", "tasks", "flows") for path in (root / package).rglob("*.py")]
    calls = {str(path.relative_to(root)): path.read_text().count(".delete_version(") for path in ours}
    assert {name: count for name, count in calls.items() if count} == {"recordings/jobs/engine/deletion.py": 1}


def test_reconcile_names_the_run_that_set_out(world: World) -> None:
    dead = dies(world, Kind.RELEASE, dying_files(world, 2, after=False))
    day = Day(prefix=PREFIX, date=DAY)
    runs = runs_by_deed(world.files, open_intents(world.files, world.bucket.name))
    drifts = reconcile_day(world.store, world.files, day, world.job(Kind.RECONCILE), world.pool, runs)
    assert [drift.code for drift in drifts] == ["release-untold"] * (RECORDINGS // 2)
    assert all(dead in drift.sentence for drift in drifts)


@pytest.mark.parametrize("where", ["local", "s3"])
def test_an_intent_is_read_as_it_was_written(bucket: Bucket, tmp_path: Path, where: str) -> None:
    uri = str(tmp_path / "audit") if where == "local" else f"s3://{bucket.name}/audit"
    files = open_files(uri, lambda name: Store(name, Settings()))
    write_rows(files, [replace(ROW, bucket=bucket.name, state_at=datetime.now(UTC))], run_id="r", number=1)
    rows = list(rows_of(read_audit(uri)))
    job = plan_job(Kind.RELEASE, bucket=bucket.name, audit_uri=uri, everything=True)
    intent = set_out(files, job, batches_of(rows)[0], rows)
    assert open_intents(files, bucket.name) == [intent]
    assert open_intents(files, "another") == []
    assert intent.rows == tuple(rows)


def test_a_refusal_is_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes later is not blamed on the run that was refused."""
    key, delete = world.rows[0].key, world.store.delete_version

    def refused(version: Removable) -> datetime:
        if version.key == key:
            raise StoreRefused("locked")
        return delete(version)

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "delete_version", refused)
        world.run(Kind.RELEASE)
    assert open_intents(world.files, world.bucket.name) == []
    world.bucket.client.delete_object(Bucket=world.bucket.name, Key=key, VersionId=world.rows[0].version_before)
    assert world.settle().rows == 0
    assert key not in world.told(Status.RELEASED)


def test_a_refused_recording_of_an_open_intent_is_not_owed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one's outcome is unknown, so the intent stays open; the refusal stands all the same."""
    (first, second), delete = world.rows[:2], world.store.delete_version
    ends = {first.key: StoreRefused("locked"), second.key: StoreUnavailable("no answer")}

    def deleted(version: Removable) -> datetime:
        if version.key in ends:
            raise ends[version.key]
        return delete(version)

    monkeypatch.setattr("recordings.outcomes.patience", lambda: _impatient())
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "delete_version", deleted)
        run_id = world.run(Kind.RELEASE).run_id
    intents = open_intents(world.files, world.bucket.name)
    assert runs_by_deed(world.files, intents) == {(Kind.RELEASE, second.key): run_id}
    for row in (first, second):
        world.bucket.client.delete_object(Bucket=world.bucket.name, Key=row.key, VersionId=row.version_before)
    assert world.settle().rows == 1
    assert first.key not in world.told(Status.RELEASED)


@pytest.mark.parametrize(("kind", "request_"), [(Kind.RELEASE, "delete_version"), (Kind.RESTORE, "bring_back")])
def test_a_refusal_after_a_lost_answer_is_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: Kind, request_: str
) -> None:
    """S3 had acted, and the credentials expired before the request was sent again."""
    act = getattr(world.store, request_)

    def lost_and_refused(*args: Any, **named: Any) -> Any:
        act(*args, **named)
        raise StoreRefused("ExpiredToken")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, request_, lost_and_refused)
        run_id = world.run(kind).run_id
    status = Status.RELEASED if kind == Kind.RELEASE else Status.RESTORED
    assert world.told(status) == dict.fromkeys((row.key for row in world.rows), run_id)
    assert read_audit(world.uri).query("run_id == @run_id")["reason"].str.startswith("answer-lost: ").all()
    assert open_intents(world.files, world.bucket.name) == []


def test_a_refusal_that_cannot_be_looked_at_stays_owed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    delete, head, is_refused = world.store.delete_version, world.store.head, []

    def lost_and_refused(*args: Any) -> Any:
        delete(*args)
        is_refused.append(True)
        raise StoreRefused("ExpiredToken")

    def looked_at(*args: Any) -> StoredObject:
        if is_refused:
            raise StoreRefused("ExpiredToken")
        return head(*args)

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "delete_version", lost_and_refused)
        patch.setattr(world.store, "head", looked_at)
        run_id = world.run(Kind.RELEASE).run_id
    gone = world.gone()
    assert world.settle().rows == len(gone) == 1
    assert world.told(Status.RELEASED) == dict.fromkeys(gone, run_id)


def test_a_settler_does_not_list_what_a_record_lists(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody changed the run's file: settling the run's open intent must not make it good."""
    monkeypatch.setattr("recordings.outcomes.patience", lambda: _impatient())
    delete = world.store.delete_version

    def one_lost(version: Removable) -> datetime:
        if version.key == world.rows[0].key:
            raise StoreUnavailable("no answer")
        return delete(version)

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "delete_version", one_lost)
        job = world.job(Kind.RELEASE)
        (batch,) = batches_of(selected(job, world.store, world.files, world.pool).rows)
        written = release_batch(world.store, world.files, batch, job, world.pool).files
    record_end(world.files, job, totals={}, manifest=written)
    assert verify_audit(world.uri).discrepancies == ()
    name = written[0].name
    path = Path(world.uri, name)
    untouched = path.read_bytes()
    rows = list(rows_of(read_audit(world.uri).query("run_id == @job.run_id")))
    path.write_bytes(parquet_bytes([row for row in rows if str(row.recording_date) in name][1:]))
    changed = [("changed", name)]
    assert [(each.flaw, each.name) for each in verify_audit(world.uri).discrepancies] == changed
    world.settle(abandoned_after=timedelta(0))
    assert [(each.flaw, each.name) for each in verify_audit(world.uri).discrepancies] == changed
    path.write_bytes(untouched)
    assert verify_audit(world.uri).discrepancies == (), "and brought back from a backup, it is what its run wrote"


def test_what_cannot_be_settled_is_left_to_the_next_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else this run would find the original gone and say so in its own name."""
    dead, key, head = dies(world, Kind.RELEASE, dying_files(world, 2, after=False)), world.rows[0].key, world.store.head

    def refused(name: str, version_id: str | None = None) -> StoredObject:
        if name == key:
            raise StoreRefused("no")
        return head(name, version_id)

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "head", refused)
        settlement = world.settle()
    assert f"release {dead}, {key}: refused" in "".join(settlement.problems)
    second = world.job(Kind.RELEASE)
    chosen = selected(second, world.store, world.files, world.pool, unsettled=settlement.unsettled)
    assert chosen.rows == []
    assert world.settle().rows == 1
    assert world.told(Status.RELEASED) == dict.fromkeys(world.gone(), dead)


def test_stray_and_damaged_files_stop_nobody(world: World) -> None:
    dead = dies(world, Kind.RELEASE, dying_files(world, 2, after=False))
    Path(world.uri, f"recording_date={DAY}", "_SUCCESS").write_bytes(b"")
    (sound,) = Path(world.uri, "_runs").glob("*.intent.json")
    foreign = [json.dumps({**json.loads(sound.read_bytes()), "kind": kind}).encode() for kind in ("burn", "archive")]
    damaged = {
        f"2026010{n}T000000Z-deadbeef-0001.intent.json": data
        for n, data in enumerate((b"", b"{", b"[]", b"{}", *foreign))
    }
    for name, data in damaged.items():
        Path(world.uri, "_runs", name).write_bytes(data)
    settlement = world.settle()
    assert [problem.partition(" ")[0] for problem in settlement.problems] == [f"_runs/{name}" for name in damaged]
    assert world.told(Status.RELEASED) == dict.fromkeys(world.gone(), dead)
    assert settlement.rows == RECORDINGS
