"""If one kind of request for one recording always fails with an unknown error, all other recordings are still done.

Each case has a day of its own in one bucket, and a second day for cases in which a day fails as a whole. A day has
four recordings, of which one is hit. ``SEED`` draws other errors.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from demo.servers import Server
from flows.archive import archive_recordings
from flows.erase import erase_recordings
from flows.estimate import estimate_savings
from flows.expire import expire_recordings
from flows.fixity import check_fixity
from flows.hold import hold_recordings
from flows.reconcile import reconcile_audit
from flows.release import release_originals
from flows.report import report_savings
from flows.restore import restore_recordings
from recordings import errors
from recordings.conversion.audio import convert
from recordings.jobs.engine.summary import JobFailed
from recordings.jobs.engine.traces import PARTLY
from recordings.keys import contact_of
from recordings.profiles import PROFILES
from recordings.retention_rules import RetentionRule
from recordings.summary import RunFailed
from recordings.table.reading import read_audit
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.deployed import artifact
from tests.faults import RARE_ERRORS, ErrorProxy, S3Error, faulty_proxy, unknown_error
from tests.fixtures import MakeCall
from tests.s3_requests import S3Request

RECORDINGS = 4
BAD = 1  # neither the first nor the last
SEED = int(os.environ.get("SEED", "12"))
KMS_DISABLED, KMS_STATE, INVALID_TAG, INVALID_REQUEST = RARE_ERRORS


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The bad recording's requests for ``operation``, from the ``nth`` on (counted from 0), are answered with an error.

    ``lost``: the server has acted all the same. ``error`` is drawn at random where it is None.
    """

    flow: str
    operation: str
    nth: int = 0
    lost: bool = False
    error: S3Error | None = None

    def __str__(self) -> str:
        words = (self.flow, self.operation, str(self.nth), "lost" * self.lost, self.error.code if self.error else "")
        return "-".join(filter(None, words))


def cases(flow: str, **counts: int) -> list[Case]:
    """A case for each of the bad recording's requests: so many of each operation."""
    return [Case(flow=flow, operation=name, nth=nth) for name, count in counts.items() for nth in range(count)]


# What a run asks for each recording, in Standard-IA (so HEAD first), tagged, and read back. A test keeps it complete.
REQUESTS = {
    "restore": {
        **{"HeadObject": 3, "GetObjectLegalHold": 1, "GetObjectRetention": 1},
        **{"GetObjectTagging": 2, "CopyObject": 1, "GetObject": 1},
    },
    "release": {"HeadObject": 3, "GetObjectTagging": 2, "DeleteObject": 1},
    "expire": {"HeadObject": 3, "GetObjectTagging": 3, "DeleteObject": 2},
    "erase": {"HeadObject": 3, "GetObjectTagging": 3, "DeleteObject": 2},
    "hold": {"HeadObject": 1, "GetObjectTagging": 8, "PutObjectTagging": 2},
    "check": {"HeadObject": 1, "GetObject": 1},
    "reconcile rows": {"HeadObject": 1, "GetObjectTagging": 1, "PutObjectTagging": 1},
    "reconcile tags": {"GetObjectTagging": 2, "PutObjectTagging": 1},
    "archive": {"HeadObject": 2, "GetObject": 2, "GetObjectTagging": 4, "PutObject": 1, "PutObjectTagging": 1},
    "estimate": {"GetObject": 1, "GetObjectTagging": 1},
}
LISTED = {
    "expire": ("ListObjectVersions",),
    "reconcile rows": ("ListObjectVersions",),
    "archive": ("ListObjectsV2",),  # without ListObjectVersions each recording is proved by itself
    "estimate": ("ListObjectsV2",),
}
DESTROYING = ("expire", "erase")  # all versions of a recording
RARE = [
    Case(flow="restore", operation="CopyObject", lost=True),
    Case(flow="restore", operation="CopyObject", error=INVALID_REQUEST),
    Case(flow="restore", operation="CopyObject", error=KMS_STATE),
    Case(flow="release", operation="DeleteObject", lost=True),
    Case(flow="expire", operation="DeleteObject", lost=True),
    Case(flow="expire", operation="DeleteObject", nth=1, lost=True),
    Case(flow="erase", operation="DeleteObject", lost=True),
    Case(flow="hold", operation="PutObjectTagging", lost=True),
    Case(flow="archive", operation="PutObject", lost=True),
    Case(flow="archive", operation="PutObject", error=KMS_DISABLED),
    Case(flow="archive", operation="PutObject", error=INVALID_TAG),
    Case(flow="archive", operation="PutObjectTagging", lost=True),
    Case(flow="archive", operation="GetObject", error=KMS_STATE),
]
CASES = [case for flow, counts in REQUESTS.items() for case in cases(flow, **counts)] + RARE
LISTINGS = [Case(flow=flow, operation=operation) for flow, operations in LISTED.items() for operation in operations]
FAULTLESS = [Case(flow=flow, operation="none") for flow in REQUESTS]
# Those that begin with archived recordings come first, so that one run archives them all; two days for each.
ORDER = sorted([*CASES, *LISTINGS, *FAULTLESS], key=lambda case: case.flow in ("archive", "estimate"))
STARTS_ARCHIVED = sum(case.flow not in ("archive", "estimate") for case in ORDER)


class World:
    """A bucket with two days for each case, and its audit table."""

    def __init__(self, bucket: Bucket, audit_uri: str, calls: list[bytes], upstream: str) -> None:
        self.bucket, self.audit_uri, self.upstream = bucket, audit_uri, upstream
        self._calls = calls
        self.converted = [bytes(convert(BytesIO(call), len(call), PROFILES["alaw-mono"]).body) for call in calls]

    def with_table(self, audit_uri: str) -> "World":
        """The same bucket with another audit table."""
        return World(self.bucket, audit_uri, self._calls, self.upstream)

    def fill(self, day: date) -> None:
        for number in range(RECORDINGS):
            body = self._calls[number]
            self.bucket.put(key_of(number, day), body, Tagging="queue=sales", StorageClass="STANDARD_IA")

    def run_archive(self, first: date, last: date, readback_percent: float = 100) -> Any:
        return archive_recordings(
            self.bucket.name,
            [PREFIX],
            self.audit_uri,
            start_date=first,
            end_date=last,
            readback_percent=readback_percent,
        )

    def rows(self, day: date) -> pd.DataFrame:
        return read_audit(self.audit_uri, day, day)

    def tags(self, key: str, version_id: str) -> dict[str, str]:
        answer = self.bucket.client.get_object_tagging(Bucket=self.bucket.name, Key=key, VersionId=version_id)
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def original(self, number: int) -> bytes:
        return self._calls[number]

    def state(self, day: date) -> dict[str, Any]:
        """By key, all that a run can change of a recording: its versions, and the tags of the current one."""
        lines: dict[str, list[Any]] = {key_of(number, day): [] for number in range(RECORDINGS)}
        for line in self.bucket.snapshot(f"{PREFIX}{day:%Y/%m/%d}/"):
            lines[line[0]].append(line)
        return {key: (versions, self.bucket.tags(key) if versions else {}) for key, versions in lines.items()}


@pytest.fixture(scope="module")
def world(
    ministack: Server, prefect: Server, a_call: MakeCall, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in ministack.env.items():
            environment.setenv(name, value)
        calls = [a_call(number, 0.5) for number in range(RECORDINGS)]
        world = World(Bucket(ministack), str(tmp_path_factory.mktemp("world") / "audit"), calls, ministack.url)
        for case in ORDER[:STARTS_ARCHIVED]:
            world.fill(day_of(case))
            if case in LISTINGS:
                world.fill(day_of(case) + timedelta(days=1))
        world.run_archive(DAY, day_of(ORDER[STARTS_ARCHIVED]), readback_percent=0)
        yield world


def day_of(case: Case) -> date:
    return DAY + timedelta(days=2 * ORDER.index(case))


def error_of(case: Case) -> S3Error:
    return case.error or unknown_error(1000 * SEED + ORDER.index(case))


def lose_rows_and_tags(world: World, day: date) -> None:
    for file in Path(world.audit_uri).glob(f"recording_date={day}/*"):
        file.unlink()
    lose_tags(world, day)


def lose_tags(world: World, day: date) -> None:
    for number in range(RECORDINGS):
        world.bucket.client.delete_object_tagging(Bucket=world.bucket.name, Key=key_of(number, day))


PREPARE: dict[str, Callable[[World, date], None]] = {
    "reconcile rows": lose_rows_and_tags,
    "reconcile tags": lose_tags,
    "archive": World.fill,
    "estimate": World.fill,
}


def prepare(case: Case, world: World, day: date) -> None:
    if case.flow in PREPARE:
        PREPARE[case.flow](world, day)


def run(flow: str, world: World, first: date, last: date) -> Any:
    """The flow over these days."""
    name, audit = world.bucket.name, world.audit_uri
    days: dict[str, Any] = {"start_date": first, "end_date": last}
    place: dict[str, Any] = {"bucket": name, "audit_uri": audit}
    match flow:
        case "archive":
            return world.run_archive(first, last)
        case "restore":
            return restore_recordings(**place, **days, dry_run=False)
        case "release":
            return release_originals(**place, **days, grace_days=0, dry_run=False)
        case "check":
            return check_fixity(**place, **days, sample_percent=100, dry_run=False)
        case "expire":
            rules = [RetentionRule(keep_days=1)]
            return expire_recordings(**place, **days, prefixes=[PREFIX], rules=rules, dry_run=False)
        case "erase":
            return erase_recordings(
                **place,
                **days,
                contact_ids=[str(contact_of(key_of(n, first))) for n in range(RECORDINGS)],
                prefixes=[PREFIX],
                case="A",
                missing_ok=True,
                dry_run=False,
            )
        case "hold":
            return hold_recordings(
                **place,
                **days,
                contact_ids=[str(contact_of(key_of(n, first))) for n in range(RECORDINGS)],
                prefixes=[PREFIX],
                case="A",
                dry_run=False,
            )
        case "estimate":
            return estimate_savings(name, [PREFIX], audit, **days)
        case _:
            return reconcile_audit(**place, **days, prefixes=[PREFIX], repair=True)


def is_red(flow: str, world: World, first: date, last: date) -> tuple[bool, Any]:
    """Whether the run ended red after it had done and written what it could; and its summary."""
    try:
        return False, run(flow, world, first, last)
    except (RunFailed, JobFailed) as failed:
        return True, failed.summary


def is_done(flow: str, world: World, day: date, number: int) -> bool:
    """Whether the bucket shows the recording as the flow should leave it."""
    key = key_of(number, day)
    if flow in DESTROYING:
        return not world.bucket.versions(key)
    versions, body, tags = world.bucket.versions(key), world.bucket.body(key), world.bucket.tags(key)
    converted = body == world.converted[number] and tags.get("converted") == "True"
    match flow:
        case "restore":
            return body == world.original(number) and tags["archive"] == "exempt"
        case "release":
            return converted and len(versions) == 1
        case "hold":
            held = [world.tags(key, version["VersionId"]).get("legal-hold") for version in versions]
            return converted and held == ["A", "A"]
        case _:
            return converted and len(versions) == 2


def check_nothing_is_lost(flow: str, world: World, day: date) -> None:
    """What is current is the original or its faithful conversion; the original is kept, unless it was released."""
    for number in range(RECORDINGS):
        key = key_of(number, day)
        bodies = [world.bucket.body(key, version["VersionId"]) for version in world.bucket.versions(key)]
        if flow in DESTROYING:
            assert world.converted[number] in bodies or not bodies, "the newest version goes last"
            continue
        assert world.bucket.body(key) in (world.original(number), world.converted[number])
        assert flow == "release" or world.original(number) in bodies


def check_changes_have_rows(before: dict[str, Any], after: dict[str, Any], rows: pd.DataFrame) -> None:
    changed = {key for key in after if after[key] != before[key]}
    assert changed <= set(rows["key"])


DONE = {
    "archive": {"archived", "already_archived"},
    "restore": {"restored"},
    "release": {"released"},
    "expire": {"expired"},
    "erase": {"erased"},
    "hold": {"held"},
    "check": {"checked"},
    "reconcile rows": {"already_archived"},
    "reconcile tags": {"already_archived"},
}


def written_by(case: Case, world: World, day: date, before: pd.DataFrame) -> pd.DataFrame:
    """The rows that the case's run wrote."""
    rows = world.rows(day)
    return rows[~rows["run_id"].isin(set(before["run_id"]))] if len(before) else rows


def told(case: Case) -> tuple[str, ...]:
    """What people must be told of the error. A HEAD's answer has no body: only the status arrives."""
    error = error_of(case)
    return (str(error.status),) if case.operation == "HeadObject" else (error.code, error.message)


def hits(case: Case) -> Callable[[S3Request], bool]:
    bad = key_of(BAD, day_of(case))
    return lambda asked: asked.operation == case.operation and asked.key == bad


def hits_listing(case: Case) -> Callable[[S3Request], bool]:
    below = f"{PREFIX}{day_of(case):%Y/%m/%d}/"
    return lambda asked: asked.operation == case.operation and asked.prefix.startswith(below)


@pytest.mark.parametrize("case", [case for case in CASES if case.flow in DONE], ids=str)
def test_the_others_are_done_and_written(case: Case, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    day, bad = day_of(case), key_of(BAD, day_of(case))
    prepare(case, world, day)
    earlier, before = world.rows(day), world.state(day)
    proxy = ErrorProxy(world.upstream, error_of(case), hits(case), after=case.nth, lost=case.lost)
    with faulty_proxy(proxy) as address, monkeypatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", address)
        red, summary = is_red(case.flow, world, day, day)
    assert proxy.hit, "the run made no such request"

    rows = written_by(case, world, day, earlier).set_index("key", drop=False)
    check_nothing_is_lost(case.flow, world, day)
    check_changes_have_rows(before, world.state(day), rows)
    good = [number for number in range(RECORDINGS) if number != BAD]
    assert all(is_done(case.flow, world, day, number) for number in good)
    assert {key_of(number, day) for number in good} <= set(rows["key"])
    assert set(rows.drop(bad, errors="ignore")["status"]) <= DONE[case.flow]
    if bad in rows.index and rows.loc[bad, "status"] in DONE[case.flow]:  # proved in another way, or by a lost answer
        assert is_done(case.flow, world, day, BAD)
    elif bad in rows.index:
        is_partly = case.flow in DESTROYING and str(rows.loc[bad, "reason"]).startswith(PARTLY)
        assert rows.loc[bad, "status"] == ("released" if is_partly else "failed")
        assert all(words in str(rows.loc[bad, "reason"]) for words in told(case))
        assert red
    else:  # a reconciliation writes no row about what it cannot look at
        assert summary.drifts.get("unreadable", 0) + summary.drifts.get("not-compared", 0) == 1
        assert red == ("not-compared" in summary.drifts)
        assert all(words in artifact("reconcile-differences") for words in told(case))

    red, summary = is_red(case.flow, world, day, day)  # once the error has passed
    assert not red, summary
    assert is_done(case.flow, world, day, BAD)
    statuses = world.rows(day).set_index("key").loc[[bad], "status"]
    assert set(statuses) & DONE[case.flow]


@pytest.mark.parametrize("case", [case for case in CASES if case.flow == "estimate"], ids=str)
def test_a_forecast_counts_what_it_cannot_look_at(case: Case, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    day = day_of(case)
    world.fill(day)
    before = world.state(day)
    proxy = ErrorProxy(world.upstream, error_of(case), hits(case), after=case.nth)
    with faulty_proxy(proxy) as address, monkeypatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", address)
        ahead = run("estimate", world, day, day)
    assert proxy.hit
    assert (ahead.looked_at, ahead.archived.expected) == (RECORDINGS, RECORDINGS - 1)
    assert sum(ahead.reasons.values()) == 1
    assert world.state(day) == before


@pytest.mark.parametrize("case", LISTINGS, ids=str)
def test_a_listing_that_fails_costs_its_day(
    case: Case, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The day after is done and written; the run ends red and says what S3 said."""
    day, other = day_of(case), day_of(case) + timedelta(days=1)
    for each in (day, other):
        prepare(case, world, each)
    earlier, before = world.rows(day), {each: world.state(each) for each in (day, other)}
    proxy = ErrorProxy(world.upstream, error_of(case), hits_listing(case))
    with faulty_proxy(proxy) as address, monkeypatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises((RunFailed, JobFailed, errors.StoreRefused)) as failed:
            run(case.flow, world, day, other)
    assert proxy.hit
    said = "".join([caplog.text, str(failed.value), *world.rows(day)["reason"].dropna()])
    assert all(words in said for words in told(case))
    for each in (day, other):
        check_nothing_is_lost(case.flow, world, each)
        check_changes_have_rows(before[each], world.state(each), written_by(case, world, each, earlier))
    if case.flow != "estimate":
        assert all(is_done(case.flow, world, other, number) for number in range(RECORDINGS))
        assert not is_red(case.flow, world, day, other)[0]
        assert all(is_done(case.flow, world, day, number) for number in range(RECORDINGS))


@pytest.mark.parametrize("case", FAULTLESS, ids=lambda case: case.flow)
def test_every_request_for_a_recording_is_in_the_matrix(
    case: Case, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = day_of(case)
    prepare(case, world, day)
    proxy = ErrorProxy(world.upstream, error_of(case), lambda _: False)
    with faulty_proxy(proxy) as address, monkeypatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", address)
        run(case.flow, world, day, day)
    assert Counter(asked.operation for asked in proxy.seen if asked.key == key_of(BAD, day)) == REQUESTS[case.flow]


@pytest.mark.parametrize("what", ["recording_date=", "_runs/", "listing"])
def test_a_report_that_cannot_read_its_table_says_what_s3_said(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    folder = f"audit-{what.strip('_/=')}"
    audit_uri, error = f"s3://{world.bucket.name}/{folder}", unknown_error(SEED + len(what))
    day = DAY + timedelta(days=2 * len(ORDER))
    reported = world.with_table(audit_uri)
    reported.fill(day)
    reported.run_archive(day, day)
    before = world.bucket.snapshot(folder)

    def hit(asked: S3Request) -> bool:
        if what == "listing":
            return asked.operation == "ListObjectsV2" and asked.prefix.startswith(folder)
        return asked.operation == "GetObject" and asked.key.startswith(f"{folder}/{what}")

    proxy = ErrorProxy(world.upstream, error, hit)
    with faulty_proxy(proxy) as address, monkeypatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises((errors.StoreRefused, errors.StoreUnavailable, errors.InvalidRequest)) as failed:
            report_savings(audit_uri)
    assert proxy.hit
    assert error.code in str(failed.value)
    assert world.bucket.snapshot(folder) == before
    assert report_savings(audit_uri).bytes_before
