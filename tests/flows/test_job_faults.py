"""An answer that S3 hides, refuses or rewords affects one recording only, in every job that changes the bucket."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from aiohttp import web

from demo.servers import Server
from flows.archive import archive_recordings
from flows.erase import erase_recordings
from flows.expire import expire_recordings
from flows.export import export_recordings
from flows.fixity import check_fixity
from flows.hold import hold_recordings
from flows.reconcile import reconcile_audit
from flows.release import release_originals
from flows.restore import restore_recordings
from recordings.errors import InvalidRequest
from recordings.jobs.engine.summary import JobFailed, JobSummary
from recordings.retention_rules import RetentionRule
from recordings.table.evidence import verify_audit
from recordings.table.reading import read_audit
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.faults import FaultyProxy, faulty_proxy
from tests.fixtures import MakeCall, Setting

pytestmark = pytest.mark.usefixtures("prefect")
KEY = key_of(1)
MFA = "<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>"


Answer = Callable[[web.Request], web.Response | None]


class Meddler(FaultyProxy):
    """Answers some requests itself, and takes headers out of the answers to the others."""

    def __init__(self, upstream: str, answer: Answer, hidden: tuple[str, ...] = ()) -> None:
        super().__init__(upstream, probability=0)
        self._answer, self._hidden = answer, hidden

    async def handle(self, request: web.Request) -> web.StreamResponse:
        return self._answer(request) or await super().handle(request)

    async def _forward(self, request: web.Request) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = await super()._forward(request)
        return status, {name: value for name, value in headers.items() if not self._is_hidden(name)}, body

    def _is_hidden(self, name: str) -> bool:
        return name.lower().startswith(self._hidden) if self._hidden else False


class Through(Protocol):
    def __call__(self, answer: Answer = ..., hidden: tuple[str, ...] = ...) -> AbstractContextManager[None]: ...


@pytest.fixture
def through(s3: Server, monkeypatch: pytest.MonkeyPatch) -> Through:
    """Everything between here and S3 goes through a meddler."""

    @contextmanager
    def meddled(answer: Answer = lambda _: None, hidden: tuple[str, ...] = ()) -> Iterator[None]:
        with faulty_proxy(Meddler(s3.url, answer, hidden)) as address, monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", address)
            yield

    return meddled


def refusing(method: str, what: str, *, status: int = 403, code: str = "AccessDenied") -> Answer:
    """Refuses the requests of this method whose path and query have ``what`` in them."""

    def answer(request: web.Request) -> web.Response | None:
        if request.method != method or what not in request.path_qs:
            return None
        body = "" if method == "HEAD" else f"<Error><Code>{code}</Code><Message>no</Message></Error>"
        return web.Response(status=status, text=body, content_type="application/xml")

    return answer


def contact(number: int) -> str:
    return key_of(number).rpartition("/")[2][:36]


def test_a_hidden_checksum_is_read_from_the_body(
    bucket: Bucket, originals: dict[str, str], audit_uri: str, through: Through
) -> None:
    with through(hidden=("x-amz-checksum",)):
        assert release_originals(
            bucket=bucket.name, audit_uri=audit_uri, everything=True, grace_days=0, dry_run=False
        ).counts == {"released": 3}


def protect(bucket: Bucket, version_id: str, what: str) -> None:
    """Hold or lock a version of KEY."""
    names = {"Bucket": bucket.name, "Key": KEY, "VersionId": version_id}
    bucket.client.put_object_lock_configuration(
        Bucket=bucket.name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
    )
    if what == "hold":
        bucket.client.put_object_legal_hold(**names, LegalHold={"Status": "ON"})
    else:
        until = datetime.now(UTC) + timedelta(days=1)
        bucket.client.put_object_retention(**names, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until})


@pytest.mark.parametrize("what", ["hold", "lock"])
def test_a_hidden_hold_is_not_taken_for_none(
    bucket: Bucket, originals: dict[str, str], audit_uri: str, through: Through, what: str
) -> None:
    """S3 itself refuses to delete what is held or locked, whatever it shows."""
    protect(bucket, originals[KEY], what)
    with through(hidden=("x-amz-object-lock",)), pytest.raises(JobFailed) as failed:
        release_originals(bucket=bucket.name, audit_uri=audit_uri, everything=True, grace_days=0, dry_run=False)
    assert failed.value.summary.counts == {"failed": 1, "released": 2}
    assert originals[KEY] in [version["VersionId"] for version in bucket.versions(KEY)]
    assert release_originals(
        bucket=bucket.name, audit_uri=audit_uri, everything=True, grace_days=0, dry_run=False
    ).counts == {"skipped": 1}


def destroy(flow: str, bucket: Bucket, audit_uri: str, *, dry_run: bool = False) -> JobSummary:
    """Release, expire or erase the day's three recordings."""
    place: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "dry_run": dry_run}
    summary: JobSummary
    if flow == "release":
        summary = release_originals(**place, everything=True, grace_days=0)
    elif flow == "expire":
        summary = expire_recordings(**place, prefixes=[PREFIX], rules=[RetentionRule(keep_days=30)])
    else:
        contacts = [contact(number) for number in range(3)]
        summary = erase_recordings(**place, prefixes=[PREFIX], contact_ids=contacts, case="1", missing_ok=True)
    return summary


DESTROYED = {"expire": "expired", "erase": "erased"}


@pytest.mark.parametrize("what", ["hold", "lock"])
@pytest.mark.parametrize("flow", DESTROYED)
def test_a_hold_that_nothing_shows_costs_no_version(
    bucket: Bucket, originals: dict[str, str], audit_uri: str, through: Through, flow: str, what: str
) -> None:
    """S3 refuses the deletion of the original, which goes first: so the replacement stays, too."""
    protect(bucket, originals[KEY], what)
    before = bucket.versions(KEY)
    with through(hidden=("x-amz-object-lock",)), pytest.raises(JobFailed) as failed:
        destroy(flow, bucket, audit_uri)
    assert failed.value.summary.counts == {"failed": 1, DESTROYED[flow]: 2}
    assert [each["VersionId"] for each in bucket.versions(KEY)] == [each["VersionId"] for each in before]
    assert destroy(flow, bucket, audit_uri).counts == {"skipped": 1}


@pytest.mark.parametrize("flow", DESTROYED)
def test_a_destruction_that_is_refused_costs_one_and_is_made_up_for(
    bucket: Bucket, originals: dict[str, str], audit_uri: str, through: Through, flow: str
) -> None:
    with through(refusing("DELETE", contact(1))), pytest.raises(JobFailed) as failed:
        destroy(flow, bucket, audit_uri)
    assert failed.value.summary.counts == {"failed": 1, DESTROYED[flow]: 2}
    assert {key for key in originals if bucket.versions(key)} == {KEY}
    destroy(flow, bucket, audit_uri)
    assert bucket.snapshot() == []
    told = read_audit(audit_uri).query("status == @DESTROYED[@flow]")
    assert sorted(told["key"]) == sorted(originals)
    assert verify_audit(audit_uri).discrepancies == ()


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("flow", ["release", *DESTROYED])
def test_mfa_delete_is_said_before_anything_is_done(
    bucket: Bucket, originals: dict[str, str], audit_uri: str, through: Through, flow: str, dry_run: bool
) -> None:
    before = bucket.snapshot(), sorted(Path(audit_uri).rglob("*"))

    def answer(request: web.Request) -> web.Response | None:
        asks = request.method == "GET" and "versioning" in request.query
        return web.Response(text=MFA, content_type="application/xml") if asks else None

    with through(answer), pytest.raises(InvalidRequest, match="MFA Delete enabled: no role can delete"):
        destroy(flow, bucket, audit_uri, dry_run=dry_run)
    assert (bucket.snapshot(), sorted(Path(audit_uri).rglob("*"))) == before


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (400, "NeverHeardOf"), (409, "AlsoNew")])
def test_a_deletion_that_is_refused_costs_one(
    bucket: Bucket, originals: dict[str, str], audit_uri: str, through: Through, status: int, code: str
) -> None:
    with through(refusing("DELETE", contact(1), status=status, code=code)), pytest.raises(JobFailed):
        release_originals(bucket=bucket.name, audit_uri=audit_uri, everything=True, grace_days=0, dry_run=False)
    gone = {key for key in originals if originals[key] not in [each["VersionId"] for each in bucket.versions(key)]}
    assert gone == set(originals) - {KEY}
    release_originals(bucket=bucket.name, audit_uri=audit_uri, everything=True, grace_days=0, dry_run=False)
    told = read_audit(audit_uri).query("status == 'released'")
    assert sorted(told["key"]) == sorted(originals)
    assert verify_audit(audit_uri).discrepancies == ()


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (refusing("HEAD", contact(7), status=400), {"unreadable": 1}),
        (refusing("HEAD", contact(7)), {"unreadable": 1}),
    ],
)
def test_what_cannot_be_looked_at_is_a_drift(
    bucket: Bucket,
    originals: dict[str, str],
    audit_uri: str,
    through: Through,
    a_call: MakeCall,
    answer: Answer,
    found: dict[str, int],
) -> None:
    bucket.put(key_of(7), a_call())
    with through(answer):
        summary = reconcile_audit(
            bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY
        )
    assert summary.drifts == found


def test_a_recording_of_the_table_that_cannot_be_looked_at_ends_a_reconciliation_red(
    bucket: Bucket, originals: dict[str, str], audit_uri: str, through: Through
) -> None:
    refused = refusing("GET", f"{contact(1)}_20260112T00%3A01_UTC.wav?tagging")
    with through(refused), pytest.raises(JobFailed, match="not-compared") as failed:
        reconcile_audit(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    assert failed.value.summary.drifts == {"not-compared": 1}


@pytest.mark.parametrize("status", [400, 403])
def test_a_restore_by_provenance_passes_over_what_it_cannot_look_at(
    bucket: Bucket, originals: dict[str, str], tmp_path: Path, through: Through, status: int
) -> None:
    lost = str(tmp_path / "lost")
    with through(refusing("HEAD", contact(1), status=status)), pytest.raises(JobFailed) as failed:
        restore_recordings(bucket=bucket.name, audit_uri=lost, everything=True, dry_run=False)
    summary = failed.value.summary
    assert (summary.counts, summary.reasons) == ({"restored": 2, "skipped": 1}, {"unreadable": 1})
    rows = read_audit(str(tmp_path / "lost")).query("status == 'skipped'")
    assert rows["key"].tolist() == [KEY]
    assert rows["reason"].str.startswith("unreadable: ").all()


def check(bucket: Bucket, audit_uri: str, **more: Any) -> JobSummary:
    parameters: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "dry_run": False, "sample_percent": 0}
    summary: JobSummary = check_fixity(**{**parameters, **more})
    return summary


def test_a_hidden_checksum_is_read_from_the_body_by_a_check(
    bucket: Bucket, originals: dict[str, str], audit_uri: str, through: Through
) -> None:
    with through(hidden=("x-amz-checksum",)):
        summary = check(bucket, audit_uri)
    assert (summary.counts, summary.reading.recordings) == ({"checked": 3}, 3)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (400, "NeverHeardOf"), (503, "SlowDown")])
def test_what_a_check_cannot_see_is_no_loss(
    bucket: Bucket,
    originals: dict[str, str],
    audit_uri: str,
    through: Through,
    setting: Setting,
    method: str,
    status: int,
    code: str,
) -> None:
    """It fails for this recording alone, and the next check finds it intact."""
    setting(PATIENCE_S=0, MAX_ATTEMPTS=1)
    with through(refusing(method, contact(1), status=status, code=code)), pytest.raises(JobFailed) as failed:
        check(bucket, audit_uri, sample_percent=100)
    summary = failed.value.summary
    assert summary.counts == {"checked": 2, "failed": 1}
    assert not {"vanished", "changed-since", "checksum-differs"} & set(summary.reasons)
    assert check(bucket, audit_uri, sample_percent=100).counts == {"checked": 3}
    assert verify_audit(audit_uri).discrepancies == ()


DRY: dict[str, Callable[..., Any]] = {
    "release": lambda **place: release_originals(**place, everything=True, grace_days=0),
    "restore": lambda **place: restore_recordings(**place, start_date=DAY, include_held=True),
    "expire": lambda **place: expire_recordings(**place, prefixes=[PREFIX], rules=[RetentionRule(keep_days=30)]),
    "erase": lambda **place: erase_recordings(**place, prefixes=[PREFIX], contact_ids=[contact(1)], case="1"),
    "erase-deferred": lambda **place: erase_recordings(**place, prefixes=[PREFIX]),
    "hold": lambda **place: hold_recordings(**place, prefixes=[PREFIX], start_date=DAY, case="2"),
    "lift": lambda **place: hold_recordings(**place, prefixes=[PREFIX], start_date=DAY, case="0", lift=True),
    "check": lambda **place: check_fixity(**place, sample_percent=100),
    "export": lambda **place: export_recordings(
        **place, case="0", destination_uri=f"s3://{place['bucket']}/_exports/a"
    ),
}


@pytest.mark.parametrize("name", DRY)
def test_a_dry_run_only_reads(bucket: Bucket, s3: Server, originals: dict[str, str], name: str) -> None:
    """As the server's log shows; the table lies in the same bucket, and a request to erase is open."""
    audit_uri = f"s3://{bucket.name}/audit"
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    place: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri}
    hold_recordings(**place, prefixes=[PREFIX], keys=[KEY], case="0", dry_run=False)
    with suppress(JobFailed):
        erase_recordings(**place, prefixes=[PREFIX], keys=[KEY], case="1", dry_run=False)
    before, since = bucket.snapshot(), len(bucket.requests())
    DRY[name](**place, dry_run=True)
    assert {method for method, _ in bucket.requests()[since:]} <= {"GET", "HEAD"}
    assert bucket.snapshot() == before
