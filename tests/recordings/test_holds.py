"""Several cases hold one recording, whoever holds and lifts at the same moment, and wherever a run dies."""

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from threading import Event, Thread
from time import sleep
from typing import Any, Protocol
from unittest.mock import Mock

import pytest

from demo.servers import Server
from recordings.errors import InvalidRequest, Skipped
from recordings.holds import BEFORE, case_of, cases_in, check_case, check_no_case_holds, reason_of, with_cases
from recordings.jobs import hold
from recordings.jobs.engine import deletion
from recordings.jobs.engine.cases import cases_now
from recordings.jobs.engine.job import Job, batches_of, plan_job
from recordings.jobs.engine.object_search import rows_of_keys
from recordings.jobs.engine.result import JobResult
from recordings.jobs.engine.settlement import settle
from recordings.jobs.erase import erase_batch
from recordings.jobs.hold import hold_batch
from recordings.jobs.release import release_batch
from recordings.pool import Budget, Pool
from recordings.s3.deleting import DeletingStore
from recordings.s3.store import Store
from recordings.settings import Settings
from recordings.table.files import AuditFiles, LocalFiles
from recordings.table.parquet import write_rows
from recordings.table.reading import read_audit
from recordings.table.records import Kind, record_start
from recordings.table.rows import AuditRow, BatchRows
from tests.bucket import ON_BOTH, ON_MINISTACK, PREFIX, Bucket, key_of
from tests.faults import ErrorProxy, HidingProxy, S3Error, faulty_proxy
from tests.fixtures import MakeCall, PlanRun, Stages

pytestmark = pytest.mark.slow

KEY = key_of(1)
UNDATED = "exports/odd"


class Died(BaseException):
    """The process ends here: nobody catches it."""


class Desk:
    """Holds, lifts and erases one key, as a batch of a run does."""

    def __init__(self, bucket: Bucket, audit: Path, *, locks: bool) -> None:
        if locks:
            lock = {"ObjectLockEnabled": "Enabled"}
            bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
        self.bucket, self.uri, self.files, self.locks = bucket, str(audit), LocalFiles(audit), locks
        self.store, self.pool = DeletingStore(bucket.name, Settings()), Pool(1, Budget(1024))

    def hold(self, case: str, key: str = KEY, *, lift: bool = False, files: AuditFiles | None = None) -> JobResult:
        job = self._job(Kind.LIFT if lift else Kind.HOLD, key, case)
        return hold_batch(self.store, files or self.files, self._batch(job, key, None), job, self.pool)

    def lift(self, case: str, key: str = KEY) -> JobResult:
        return self.hold(case, key, lift=True)

    def erase(self, key: str = KEY) -> JobResult:
        job = self._job(Kind.ERASE, key, "GDPR-1")
        return erase_batch(self.store, self.files, self._batch(job, key, reason_of("GDPR-1")), job, self.pool)

    def release(self, rows: list[AuditRow]) -> JobResult:
        job = plan_job(Kind.RELEASE, bucket=self.bucket.name, audit_uri=self.uri, everything=True, grace_days=0)
        record_start(self.files, job)
        [batch] = batches_of(rows)
        return release_batch(self.store, self.files, batch, job, self.pool)

    def _job(self, kind: Kind, key: str, case: str) -> Job:
        job = plan_job(kind, bucket=self.bucket.name, audit_uri=self.uri, prefixes=[PREFIX], keys=[key], case=case)
        record_start(self.files, job)
        return job

    def _batch(self, job: Job, key: str, reason: str | None) -> BatchRows:
        [batch] = batches_of(rows_of_keys([key], job, reason))
        return batch

    def held(self, key: str = KEY) -> list[bool]:
        """Of each version, whether S3 shows it as held."""
        return [self._is_held(key, version["VersionId"]) for version in self.bucket.versions(key)]

    def _is_held(self, key: str, version: str) -> bool:
        asked = {"Bucket": self.bucket.name, "Key": key, "VersionId": version}
        if self.locks:
            return bool(self.bucket.client.head_object(**asked).get("ObjectLockLegalHoldStatus") == "ON")
        tags = self.bucket.client.get_object_tagging(**asked)["TagSet"]
        return "legal-hold" in {tag["Key"] for tag in tags}

    def cases(self, key: str = KEY) -> set[str]:
        job = self._job(Kind.HOLD, key, "any")
        return set(cases_now(self.files, self.bucket.name, rows_of_keys([key], job, None), run_id="").of(key))


@pytest.fixture(params=[True, False], ids=["Object Lock", "tags"])
def desk(request: pytest.FixtureRequest, bucket: Bucket, tmp_path: Path) -> Desk:
    for key in (KEY, UNDATED):
        bucket.put(key, b"first")
        bucket.put(key, b"second", Tagging="queue=sales")
    return Desk(bucket, tmp_path / "audit", locks=request.param)


class Meet(Protocol):
    def __call__(
        self, where: object, name: str, other: Callable[[], object], *, after: bool, nth: int = ...
    ) -> None: ...


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> Meet:
    """Lets another run work from its beginning to its end at a moment of this one."""

    def meet(where: object, name: str, other: Callable[[], object], *, after: bool, nth: int = 1) -> None:
        original, calls = getattr(where, name), iter(range(1, 100))

        def met(*args: Any, **named: Any) -> Any:
            is_now = next(calls) == nth
            if is_now and not after:
                other()
            answer = original(*args, **named)
            if is_now and after:
                other()
            return answer

        monkeypatch.setattr(where, name, met)

    return meet


@ON_BOTH
@pytest.mark.parametrize("key", [KEY, UNDATED])
def test_each_case_holds_until_it_is_lifted(desk: Desk, key: str) -> None:
    assert desk.hold("A", key).counts == {"held": 1}
    assert desk.hold("B", key).counts == {"held": 1}
    assert (desk.held(key), desk.cases(key)) == ([True, True], {"A", "B"})
    assert desk.erase(key).reasons["held"] == 1
    assert desk.lift("A", key).counts == {"lifted": 1}
    assert (desk.held(key), desk.cases(key)) == ([True, True], {"B"})
    assert desk.lift("C", key).reasons == {"not-held": 1}
    assert desk.lift("B", key).counts == {"lifted": 1}
    assert (desk.held(key), desk.cases(key)) == ([False, False], set())
    assert desk.bucket.tags(key) == {"queue": "sales"}
    assert desk.erase(key).counts == {"erased": 1}


@ON_BOTH
@pytest.mark.parametrize("which", [0, 1], ids=["the newest version", "an old version"])
@pytest.mark.parametrize("value", ["theirs", ""])
def test_what_others_had_held_before_stays_held(desk: Desk, which: int, value: str) -> None:
    version = desk.bucket.versions(KEY)[which]["VersionId"]
    asked: dict[str, Any] = {"Bucket": desk.bucket.name, "Key": KEY, "VersionId": version}
    if desk.locks:
        desk.bucket.client.put_object_legal_hold(**asked, LegalHold={"Status": "ON"})
    else:
        desk.bucket.client.put_object_tagging(**asked, Tagging={"TagSet": [{"Key": "legal-hold", "Value": value}]})
    for case in ("A", "B"):
        desk.hold(case)
    for case in ("A", "B"):
        assert desk.lift(case).counts == {"lifted": 1}
    assert desk.held()[which]
    assert desk.erase().reasons["held"] == 1


def test_others_that_have_lifted_theirs_hold_no_longer(bucket: Bucket, tmp_path: Path) -> None:
    """The next series of our holds begins without them."""
    versions = [bucket.put(KEY, b"")["VersionId"] for _ in range(2)]
    desk = Desk(bucket, tmp_path / "audit", locks=True)
    asked: list[Any] = [{"Bucket": bucket.name, "Key": KEY, "VersionId": version} for version in versions]
    desk.bucket.client.put_object_legal_hold(**asked[0], LegalHold={"Status": "ON"})
    desk.hold("A")
    desk.lift("A")
    assert desk.held() == [True, True]
    for each in asked:
        desk.bucket.client.put_object_legal_hold(**each, LegalHold={"Status": "OFF"})
    desk.hold("A")
    desk.lift("A")
    assert desk.held() == [False, False]


def test_a_lift_says_that_others_still_hold_only_where_s3_shows_it(bucket: Bucket, tmp_path: Path) -> None:
    asked: Any = {"Bucket": bucket.name, "Key": KEY, "VersionId": bucket.put(KEY, b"")["VersionId"]}
    desk = Desk(bucket, tmp_path / "audit", locks=True)
    reasons = []
    for is_ended in (False, True):
        bucket.client.put_object_legal_hold(**asked, LegalHold={"Status": "ON"})
        desk.hold("A")
        if is_ended:
            bucket.client.put_object_legal_hold(**asked, LegalHold={"Status": "OFF"})
        desk.lift("A")
        reasons += read_audit(desk.uri).sort_values("started_at")["reason"].tolist()[-1:]
    assert reasons == ["case: A; still held for others, who had held it before", "case: A"]


@pytest.mark.parametrize("which", [0, 1], ids=["the newest version", "an old version"])
def test_without_room_for_a_tag_no_version_is_held(bucket: Bucket, tmp_path: Path, which: int) -> None:
    for _ in range(2):
        bucket.put(KEY, b"")
    desk = Desk(bucket, tmp_path / "audit", locks=False)
    version = bucket.versions(KEY)[which]["VersionId"]
    full = [{"Key": f"t{n}", "Value": "x"} for n in range(10)]
    bucket.client.put_object_tagging(Bucket=bucket.name, Key=KEY, VersionId=version, Tagging={"TagSet": full})
    assert desk.hold("A").reasons == {"no-room-for-hold": 1}
    assert desk.held() == [False, False]


def test_an_unversioned_object_is_tagged(unversioned_bucket: Bucket, tmp_path: Path) -> None:
    unversioned_bucket.put(KEY, b"")
    desk = Desk(unversioned_bucket, tmp_path / "audit", locks=False)
    assert desk.hold("A").counts == {"held": 1}
    assert unversioned_bucket.tags(KEY) == {"legal-hold": "A"}
    assert desk.erase().reasons["held"] == 1
    assert desk.lift("A").counts == {"lifted": 1}
    assert unversioned_bucket.tags(KEY) == {}


MOMENTS = [("set_out", False), ("set_out", True), ("write_and_close", False), ("write_and_close", True)]


@pytest.mark.parametrize(("moment", "after"), MOMENTS)
def test_a_case_that_begins_while_another_is_lifted_holds(desk: Desk, meeting: Meet, moment: str, after: bool) -> None:
    desk.hold("A")
    meeting(hold, moment, lambda: desk.hold("B"), after=after)
    desk.lift("A")
    assert (desk.held(), desk.cases()) == ([True, True], {"B"})
    desk.lift("B")
    assert desk.held() == [False, False]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_case_that_begins_at_a_request_of_a_lift_holds(
    desk: Desk, meeting: Meet, nth: int, after: bool, tmp_path: Path
) -> None:
    other = Desk(desk.bucket, tmp_path / "audit", locks=desk.locks)  # a process of its own, as it were
    desk.hold("A")
    meeting(desk.store, "put_hold" if desk.locks else "put_tags", lambda: other.hold("B"), after=after, nth=nth)
    desk.lift("A")
    assert "B" in desk.cases()
    assert desk.held() == [True, True]


@pytest.mark.parametrize(("moment", "after"), [("cases_now", False), *MOMENTS])
def test_a_hold_within_a_lifting_of_its_case_wins(desk: Desk, meeting: Meet, moment: str, after: bool) -> None:
    """Whatever becomes of it, the table says what S3 shows, and one more lifting frees all."""
    desk.hold("A")
    meeting(hold, moment, lambda: desk.hold("A"), after=after)
    desk.lift("A")
    if moment == "cases_now":  # the hold was over before the lifting began
        assert (desk.held(), desk.cases()) == ([False, False], set())
        return
    assert (desk.held(), desk.cases()) == ([True, True], {"A"})
    assert desk.lift("A").counts == {"lifted": 1}
    assert (desk.held(), desk.cases()) == ([False, False], set())


@pytest.mark.parametrize("is_held", [True, False])
@pytest.mark.parametrize(("moment", "after"), [("cases_now", False), *MOMENTS])
def test_a_hold_around_a_lifting_of_its_case_wins(
    desk: Desk, meeting: Meet, moment: str, after: bool, is_held: bool
) -> None:
    if is_held:
        desk.hold("A")
    meeting(hold, moment, lambda: desk.lift("A"), after=after)
    desk.hold("A")
    if (moment, after) == ("write_and_close", True):  # the hold was over before the lifting began
        assert (desk.held(), desk.cases()) == ([False, False], set())
        return
    assert (desk.held(), desk.cases()) == ([True, True], {"A"})
    assert desk.lift("A").counts == {"lifted": 1}
    assert (desk.held(), desk.cases()) == ([False, False], set())


@pytest.mark.parametrize(("nth", "lifts_first"), [(2, True), (3, True), (2, False), (3, False)])
def test_a_hold_between_the_looks_of_a_lifting_of_its_case_wins(
    desk: Desk, meeting: Meet, nth: int, lifts_first: bool
) -> None:
    desk.hold("A")
    meeting(hold, "cases_now", lambda: desk.hold("A", lift=not lifts_first), after=True, nth=nth)
    desk.hold("A", lift=lifts_first)
    assert (desk.held(), desk.cases()) == ([True, True], {"A"})
    assert desk.lift("A").counts == {"lifted": 1}
    assert (desk.held(), desk.cases()) == ([False, False], set())


@pytest.mark.parametrize(("moment", "after"), MOMENTS)
def test_two_cases_at_once_both_hold(desk: Desk, meeting: Meet, moment: str, after: bool) -> None:
    meeting(hold, moment, lambda: desk.hold("B"), after=after)
    desk.hold("A")
    assert desk.cases() == {"A", "B"}
    if not desk.locks:
        assert cases_in(desk.bucket.tags(KEY)) == {"A", "B"}
    desk.lift("A")
    assert desk.held() == [True, True]


def test_two_first_cases_at_once_do_not_take_each_other_for_others(desk: Desk, meeting: Meet) -> None:
    meeting(hold, "cases_now", lambda: desk.hold("B"), after=True)
    desk.hold("A")
    for case in ("A", "B"):
        assert desk.lift(case).counts == {"lifted": 1}
    assert (desk.held(), desk.cases()) == ([False, False], set())


@pytest.mark.parametrize(("moment", "after"), MOMENTS)
def test_two_lifts_at_once_leave_no_hold_behind(desk: Desk, meeting: Meet, moment: str, after: bool) -> None:
    for case in ("A", "B"):
        desk.hold(case)
    meeting(hold, moment, lambda: desk.lift("B"), after=after)
    desk.lift("A")
    assert (desk.held(), desk.cases()) == ([False, False], set())


@pytest.mark.parametrize(("moment", "after"), MOMENTS)
def test_a_hold_beside_an_erasure_is_kept_or_told_as_failed(
    desk: Desk, meeting: Meet, moment: str, after: bool
) -> None:
    """Never is a row ``held`` above an object that is deleted afterwards."""
    told = list[JobResult]()
    meeting(deletion, moment, lambda: told.append(desk.hold("A")), after=after)
    erased = desk.erase()
    if told[0].counts == {"held": 1}:
        assert erased.reasons["held"] == 1
        assert desk.held() == [True, True]
    else:
        assert told[0].counts in ({"failed": 1}, {"changed": 1})
        assert erased.counts["erased"] == (not desk.held())


@pytest.fixture
def archived(bucket: Bucket, run_stages: Stages, plan: PlanRun, a_call: MakeCall, tmp_path: Path) -> list[AuditRow]:
    """A recording with its original, and its rows."""
    bucket.put(KEY, a_call())
    rows = run_stages(plan(bucket.name))
    write_rows(LocalFiles(tmp_path / "audit"), rows, run_id=rows[0].run_id, number=1)
    return rows


def test_a_hold_is_not_green_if_a_release_deletes_what_it_has_tagged(
    bucket: Bucket, archived: list[AuditRow], meeting: Meet, tmp_path: Path
) -> None:
    """The release looks for cases before the hold sets out, and has told of its deletion when the hold looks again."""
    desk = Desk(bucket, tmp_path / "audit", locks=False)
    has_looked, is_tagged = Event(), Event()

    def wait() -> None:
        has_looked.set()
        assert is_tagged.wait(60)

    def let_it_end() -> None:
        is_tagged.set()
        release.join()

    release = Thread(target=desk.release, args=[archived])
    meeting(deletion, "cases_now", wait, after=True)
    meeting(hold, "cases_now", let_it_end, after=False, nth=3)
    release.start()
    assert has_looked.wait(60)
    assert desk.hold("A").reasons == {"being-deleted": 1}
    assert desk.held() == [True], "the original is gone"
    assert desk.hold("A").counts == {"held": 1}


@pytest.mark.parametrize("kind", [Kind.RELEASE, Kind.ERASE])
def test_nothing_is_deleted_below_what_somebody_holds_by_hand_at_the_last_moment(
    bucket: Bucket, archived: list[AuditRow], meeting: Meet, tmp_path: Path, kind: Kind
) -> None:
    """S3 itself keeps only the version that is held, and an older one would go first."""
    desk = Desk(bucket, tmp_path / "audit", locks=True)
    asked: Any = {"Bucket": bucket.name, "Key": KEY, "LegalHold": {"Status": "ON"}}
    meeting(deletion, "set_out", lambda: bucket.client.put_object_legal_hold(**asked), after=True)
    told = desk.release(archived) if kind is Kind.RELEASE else desk.erase()
    assert told.counts == {"skipped": 1}
    assert told.reasons["held"] == 1
    assert len(bucket.versions(KEY)) == 2


@pytest.mark.parametrize(("lift", "nth"), [(False, 1), (False, 2), (True, 3)])
def test_if_an_original_is_deleted_meanwhile_the_recording_is_held_or_lifted(
    desk: Desk, meeting: Meet, lift: bool, nth: int
) -> None:
    """As a release does; ``nth`` is the listing after which it comes."""
    asked = {"Bucket": desk.bucket.name, "Key": KEY, "VersionId": desk.bucket.versions(KEY)[1]["VersionId"]}
    if lift:
        desk.hold("A")
    meeting(hold, "_objects", lambda: desk.bucket.client.delete_object(**asked), after=True, nth=nth)
    assert desk.hold("A", lift=lift).counts == {"lifted" if lift else "held": 1}
    assert desk.held() == [not lift]


@pytest.mark.parametrize("lift", [False, True])
def test_what_s3_refuses_is_told_as_refused(
    s3: Server, desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lift: bool
) -> None:
    """Its way out is another one than that of a row whose outcome is unknown."""
    if lift:
        desk.hold("A")
    with faulty_proxy(HidingProxy(s3.url, without=["s3:PutObjectLegalHold", "s3:PutObjectVersionTagging"])) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        told = Desk(desk.bucket, tmp_path / "audit", locks=desk.locks).hold("A", lift=lift)
    assert (told.counts, told.reasons) == ({"failed": 1}, {"refused": 1})
    assert desk.cases() == ({"A"} if lift else set())


def test_through_an_access_point_that_does_not_tell_of_object_lock_no_tag_stands_in_for_a_hold(
    s3: Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What S3 holds is not deleted through it, and what is free is."""
    bucket.put(KEY, b"")
    error = S3Error(status=405, code="MethodNotAllowed", message="The specified method is not allowed.")
    proxy = ErrorProxy(s3.url, error, lambda asked: asked.operation == "GetObjectLockConfiguration")
    with faulty_proxy(proxy) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setattr(Store, "is_aws", True)
        desk = Desk(bucket, tmp_path / "audit", locks=True)
        assert desk.hold("A").reasons == {"refused": 1}
        assert (bucket.tags(KEY), desk.held()) == ({}, [False])
        for status, ends in (("ON", "skipped"), ("OFF", "erased")):
            bucket.client.put_object_legal_hold(Bucket=bucket.name, Key=KEY, LegalHold={"Status": status})
            assert desk.erase().counts == {ends: 1}


class Dying:
    """Lets a process die before its n-th request, or after it."""

    def __init__(self, request: Callable[..., Any], number: int, *, after: bool) -> None:
        self._request, self._left, self._after = request, number, after

    def __call__(self, *args: Any, **named: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Died
        answer = self._request(*args, **named)
        if self._left == 0:
            raise Died
        return answer


@pytest.mark.parametrize(("number", "after"), [(1, False), (1, True), (2, False), (2, True)])
def test_a_killed_hold_is_told_and_its_lift_frees_all(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    with monkeypatch.context() as patch:
        _let_die(desk, patch, number, after=after)
        with pytest.raises(Died):
            desk.hold("A")
    assert desk.erase().reasons["held"] == 1, "as long as nobody has looked what the dead run has done"
    _settle(desk)
    assert "A" in desk.cases()
    assert desk.hold("A").counts == {"held": 1}
    assert desk.held() == [True, True]
    assert desk.lift("A").counts == {"lifted": 1}
    assert desk.held() == [False, False], "the dead run's hold is ours, and not one that others had set before"


@pytest.mark.parametrize(("number", "after"), [(1, False), (1, True), (2, False), (2, True)])
def test_a_killed_lift_is_finished_by_the_next(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    desk.hold("A")
    with monkeypatch.context() as patch:
        _let_die(desk, patch, number, after=after)
        with pytest.raises(Died):
            desk.lift("A")
    assert desk.erase().reasons["held"] == 1
    _settle(desk)
    is_told = "A" not in desk.cases()
    assert is_told is ((number, after) == (2, True))
    if not is_told:
        assert desk.lift("A").counts == {"lifted": 1}
    assert desk.held() == [False, False]
    assert desk.erase().counts == {"erased": 1}


def test_a_dead_lift_does_not_count_once_its_case_holds_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for case in ("A", "B"):
        desk.hold(case)
    with monkeypatch.context() as patch:
        patch.setattr(hold, "write_and_close", Mock(side_effect=Died))
        with pytest.raises(Died):
            desk.lift("B")
    assert desk.hold("B").counts == {"held": 1}
    assert desk.lift("A").counts == {"lifted": 1}
    assert (desk.held(), desk.cases()) == ([True, True], {"B"})


def test_a_clock_that_is_ahead_does_not_change_the_order_of_holds(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is that of S3's clock, which has whole seconds."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(minutes=5)

    desk.hold("A")
    with monkeypatch.context() as patch:
        patch.setattr("recordings.observed.datetime", Ahead)
        desk.lift("A")
    sleep(1)
    desk.hold("A")
    assert (desk.held(), desk.cases()) == ([True, True], {"A"})


def test_a_killed_lift_may_free_what_another_case_has_just_begun_to_hold(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A race that is left: the table keeps the recording from our runs, and holding it again mends S3's side."""
    other = Desk(desk.bucket, tmp_path / "audit", locks=desk.locks)
    desk.hold("A")
    name = "put_hold" if desk.locks else "put_tags"
    put, calls = getattr(desk.store, name), list[Any]()

    def dies(*args: Any, **named: Any) -> None:
        if not calls:
            other.hold("B")
        calls.append(args)
        put(*args, **named)
        if len(calls) == 2:
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(desk.store, name, dies)
        with pytest.raises(Died):
            desk.lift("A")
    assert False in desk.held()
    _settle(desk)
    assert desk.erase().reasons["held"] == 1
    assert desk.hold("B").counts == {"held": 1}
    assert (desk.held(), desk.cases()) == ([True, True], {"B"})


def test_a_bucket_that_gets_object_lock_later_keeps_no_tag_of_a_case_that_ended(bucket: Bucket, tmp_path: Path) -> None:
    """Else the tag would hold the object for ever: from then on, holds are set in another way."""
    bucket.put(KEY, b"first")
    bucket.put(KEY, b"second", Tagging="queue=sales")
    for case in ("A", "B"):
        assert Desk(bucket, tmp_path / "audit", locks=False).hold(case).counts == {"held": 1}
    desk = Desk(bucket, tmp_path / "audit", locks=True)
    assert desk.lift("A").counts == {"lifted": 1}
    assert (desk.cases(), bucket.tags(KEY)) == ({"B"}, {"queue": "sales", "legal-hold": "B"})
    assert desk.erase().reasons["held"] == 1
    assert desk.lift("B").counts == {"lifted": 1}
    assert bucket.tags(KEY) == {"queue": "sales"}
    assert desk.erase().counts == {"erased": 1}


@ON_MINISTACK
def test_requests_of_a_hold_and_of_its_end(desk: Desk) -> None:
    """What decision 60 says, of an object with two versions."""
    counts = []
    for lift in (False, True):
        before = len(desk.bucket.requests())
        desk.hold("A", lift=lift)
        asked = desk.bucket.requests_by_kind(before)
        asked.pop("GET", None)  # once per run: whether the bucket has Object Lock
        counts.append(dict(asked))
    held, lifted = counts
    if desk.locks:
        assert held == {"LIST versions": 4, "HEAD": 1 + 4 * 2, "PUT": 2}
        assert lifted == {"LIST versions": 3, "HEAD": 1 + 2, "GET tags": 2 * 2, "PUT": 2}
    else:
        assert held == {"LIST versions": 4, "HEAD": 1, "GET tags": 4 * 2, "PUT tags": 2}
        assert lifted == {"LIST versions": 3, "HEAD": 1, "GET tags": 3 * 2, "PUT tags": 2}


def _let_die(desk: Desk, patch: pytest.MonkeyPatch, number: int, *, after: bool) -> None:
    name = "put_hold" if desk.locks else "put_tags"
    patch.setattr(desk.store, name, Dying(getattr(desk.store, name), number, after=after))


def _settle(desk: Desk) -> None:
    settled = settle(desk.store, desk.files, desk.pool, abandoned_after=timedelta(hours=6))
    assert not settled.problems


@pytest.mark.parametrize("case", ["", " ", "a b", "x" * 65, "-a", "a;b"])
def test_a_name_that_no_tag_could_carry_is_refused(case: str) -> None:
    with pytest.raises(InvalidRequest, match="give a name of at most 64"):
        check_case(case)


def test_a_tag_carries_256_characters() -> None:
    names = [f"{n:064d}" for n in range(4)]
    assert cases_in(with_cases({}, names[:3])) == set(names[:3])
    with pytest.raises(Skipped, match="too-many-cases"):
        with_cases({}, names)


def test_a_tag_without_a_value_holds() -> None:
    with pytest.raises(Skipped, match="held for unnamed"):
        check_no_case_holds({"legal-hold": ""})
    check_no_case_holds({"queue": "sales"})


def test_the_case_is_read_from_any_reason_of_ours() -> None:
    for reason in (reason_of("A"), f"{reason_of('A')}; {BEFORE}", f"{reason_of('A')}; settled: done by run r"):
        assert case_of(reason) == "A"
    assert case_of("held: under a hold") is None
