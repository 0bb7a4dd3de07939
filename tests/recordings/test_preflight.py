"""Each finding, on a bucket that has it, or behind a proxy that answers as such a bucket would."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from demo.servers import Server
from recordings.errors import StoreRefused, StoreUnavailable
from recordings.finding import ACCEPTABLE, Finding, PreflightFailed, Severity
from recordings.pool import Pool
from recordings.preflight.checks import all_findings, check_bucket
from recordings.preflight.conditional import find_conditional_writes
from recordings.s3.store import Store
from recordings.settings import Settings
from tests.bucket import PREFIX, PROBE, Bucket, key_of
from tests.faults import FaultyProxy, faulty_proxy

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(autouse=True)
def recording(request: pytest.FixtureRequest) -> None:
    """Something lies in the bucket: an empty one is a finding of its own."""
    for name in {"bucket", "unversioned_bucket"} & set(request.fixturenames):
        request.getfixturevalue(name).put(key_of(1), b"call")


def findings(store: Store, **options: Any) -> dict[str, Finding]:
    found = all_findings(store, options.pop("prefixes", [PREFIX]), **{"oldest_days": 13, **options})
    return {finding.code: finding for finding in found}


def codes(store: Store, **options: Any) -> dict[str, Severity]:
    return {code: finding.severity for code, finding in findings(store, **options).items()}


class Answering(FaultyProxy):
    """Faultless, but ``answer`` may change what a request is or what comes of it: None passes it on as it is."""

    def __init__(self, upstream: str, answer: Callable[["Answering", web.Request], Answer | None]) -> None:
        super().__init__(upstream, probability=0)
        self.answer = answer
        self.strips_if_match = False

    async def _forward(self, request: web.Request) -> Answer:
        changed = await asyncio.to_thread(self.answer, self, request)
        if changed:
            return changed
        if self.strips_if_match:
            headers = request.headers.copy()
            headers.pop("If-Match", None)
            request = request.clone(headers=headers)
        return await super()._forward(request)


@contextmanager
def behind(
    s3: Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Any], *, strips: bool = False
) -> Iterator[Store]:
    """The bucket's store, behind a proxy that answers so."""
    proxy = Answering(s3.url, answer)
    proxy.strips_if_match = strips
    with faulty_proxy(proxy) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield Store(bucket.name, Settings(max_attempts=1))


def error(status: int, code: str) -> Answer:
    return status, {"Content-Type": "application/xml"}, f"<Error><Code>{code}</Code></Error>".encode()


def lifecycle(bucket: Bucket, **rule: Any) -> None:
    whole = {"ID": "keep", "Status": "Enabled", "Filter": {"Prefix": ""}, **rule}
    bucket.client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": [whole]})


NOTES = {"kept-for": Severity.INFO, "left-alone-stays": Severity.INFO, "originals-cost": Severity.INFO}


def test_a_sound_bucket_has_only_notes(store: Store) -> None:
    assert codes(store) == NOTES


def test_looking_leaves_one_probe_and_touches_no_recording(bucket: Bucket, store: Store) -> None:
    before = bucket.snapshot()
    codes(store)
    codes(store)
    assert bucket.snapshot() == before
    assert {each["Size"] for each in bucket.versions(PREFIX + PROBE)} == {0}


def test_a_dry_look_sends_no_write(bucket: Bucket, store: Store) -> None:
    before = len(bucket.requests())
    codes(store, may_write=False)
    assert {method for method, _ in bucket.requests()[before:]} == {"GET"}


@pytest.mark.parametrize("status", ["never", "Suspended"])
def test_unversioned(unversioned_bucket: Bucket, status: str) -> None:
    bucket = unversioned_bucket
    if status != "never":
        bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": status})
    assert codes(Store(bucket.name, Settings()))["unversioned"] is Severity.BLOCK


def test_a_server_that_ignores_if_match(bucket: Bucket, s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with behind(s3, bucket, monkeypatch, lambda *_: None, strips=True) as store:
        found = findings(store)["no-conditional-writes"]
    assert found.severity is Severity.BLOCK
    assert "was written although no such object was there" in found.sentence


def test_a_server_that_ignores_if_match_where_something_lies(
    bucket: Bucket, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = f"/{bucket.name}/{PREFIX}.conditional-write-probe"

    def refuses_only_the_absent(_: Answering, request: web.Request) -> Answer | None:
        return error(404, "NoSuchKey") if request.path == absent else None

    with behind(s3, bucket, monkeypatch, refuses_only_the_absent, strips=True) as store:
        assert "was overwritten although" in findings(store)["no-conditional-writes"].sentence


def test_a_server_that_honours_if_match_only_where_something_lies(
    bucket: Bucket, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def writes_the_absent(_: Answering, request: web.Request) -> Answer | None:
        return (200, {"ETag": '"e"'}, b"") if request.path.endswith(".conditional-write-probe") else None

    with behind(s3, bucket, monkeypatch, writes_the_absent) as store:
        assert codes(store)["no-conditional-writes"] is Severity.BLOCK


@pytest.mark.parametrize(
    ("status", "code", "finding"),
    [
        (412, "PreconditionFailed", "conditional-writes-refused"),
        (404, "NoSuchKey", "conditional-writes-refused"),
        (501, "NotImplemented", "cannot-see-conditional-writes"),
    ],
)
def test_a_server_that_refuses_every_if_match(
    bucket: Bucket, s3: Server, monkeypatch: pytest.MonkeyPatch, status: int, code: str, finding: str
) -> None:
    def refuse(_: Answering, request: web.Request) -> Answer | None:
        return error(status, code) if "If-Match" in request.headers else None

    with behind(s3, bucket, monkeypatch, refuse) as store, pytest.raises(PreflightFailed, match=f"^{finding}: "):
        check_bucket(store, [PREFIX], oldest_days=13, may_write=True, accept=["no-conditional-writes"])


def test_another_run_that_probes_at_the_same_moment(
    bucket: Bucket, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [3]

    def write_first(_: Answering, request: web.Request) -> None:
        if "If-Match" in request.headers and request.path.endswith(PROBE) and left[0]:
            left[0] -= 1
            bucket.put(PREFIX + PROBE, bytes([left[0]]))

    with behind(s3, bucket, monkeypatch, write_first) as store:
        assert "conditional-writes-refused" not in codes(store)
        assert left == [0]
        left[0] = 99
        with pytest.raises(StoreUnavailable, match=r"others wrote .* each time"):
            find_conditional_writes(store, PREFIX)


def test_retention_restarts_only_for_old_recordings(bucket: Bucket, store: Store) -> None:
    lifecycle(bucket, Expiration={"Days": 2190})
    assert "retention-restarts" not in codes(store)
    assert codes(store, oldest_days=400)["retention-restarts"] is Severity.BLOCK


def test_originals_expire(bucket: Bucket, store: Store) -> None:
    lifecycle(bucket, NoncurrentVersionExpiration={"NoncurrentDays": 1})
    assert codes(store)["originals-expire"] is Severity.BLOCK


def test_a_rule_that_expires_on_a_date(bucket: Bucket, store: Store) -> None:
    lifecycle(bucket, Expiration={"Date": datetime(2031, 5, 1, tzinfo=UTC)})
    found = findings(store)["expires-on-date"]
    assert found.severity is Severity.BLOCK
    assert "on 2031-05-01" in found.sentence


@pytest.mark.parametrize("frozen", ["GLACIER", "DEEP_ARCHIVE"])
def test_originals_frozen(bucket: Bucket, store: Store, frozen: str) -> None:
    lifecycle(bucket, NoncurrentVersionTransitions=[{"NoncurrentDays": 3, "StorageClass": frozen}])
    found = findings(store)["originals-frozen"]
    assert found.severity is Severity.WARN
    assert f"{frozen} 3 days after" in found.sentence


@pytest.mark.parametrize(
    ("to", "tag", "codes_then"),
    [
        ("GLACIER_IR", {}, set()),
        ("DEEP_ARCHIVE", {}, {"moved-colder"}),
        ("DEEP_ARCHIVE", {"Tag": {"Key": "converted", "Value": "True"}}, {"left-alone-stays"}),
    ],
)
def test_what_moves_recordings(
    bucket: Bucket, store: Store, to: str, tag: dict[str, Any], codes_then: set[str]
) -> None:
    """Those that a run leaves alone are never tagged."""
    lifecycle(bucket, Transitions=[{"Days": 30, "StorageClass": to}], Filter=tag or {"Prefix": ""})
    assert codes(store).keys() & {"moved-colder", "left-alone-stays"} == codes_then


def test_originals_that_move_to_a_class_of_immediate_access(bucket: Bucket, store: Store) -> None:
    lifecycle(bucket, NoncurrentVersionTransitions=[{"NoncurrentDays": 3, "StorageClass": "GLACIER_IR"}])
    assert "originals-frozen" not in codes(store)


@pytest.mark.parametrize("combine", [False, True])
@pytest.mark.parametrize(("tag", "concerns"), [("converted=True", False), ("queue=sales", True)])
def test_rules_by_tag(bucket: Bucket, store: Store, tag: str, concerns: bool, combine: bool) -> None:
    name, value = tag.split("=")
    one = {"Key": name, "Value": value}
    by_tag = {"And": {"Prefix": PREFIX, "Tags": [one]}} if combine else {"Tag": one}
    lifecycle(bucket, NoncurrentVersionExpiration={"NoncurrentDays": 1}, Expiration={"Days": 9}, Filter=by_tag)
    found = findings(store, oldest_days=400)
    assert ("originals-expire" in found) is concerns
    assert f"(for objects tagged {tag})" in found["retention-restarts"].sentence
    assert "Let expire_recordings delete by the day of the call" in found["retention-restarts"].way_out


@pytest.mark.parametrize("rule", [{"Status": "Disabled"}, {"Filter": {"Prefix": "elsewhere/"}}])
def test_rules_that_do_not_concern_recordings(bucket: Bucket, store: Store, rule: dict[str, Any]) -> None:
    lifecycle(bucket, NoncurrentVersionExpiration={"NoncurrentDays": 1}, **rule)
    assert "originals-expire" not in codes(store)


def test_subscribers_run_again(bucket: Bucket, store: Store) -> None:
    bucket.client.put_bucket_notification_configuration(
        Bucket=bucket.name, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    assert codes(store)["subscribers-run-again"] is Severity.WARN


def test_replicated(bucket: Bucket, store: Store) -> None:
    rule = {"ID": "all", "Status": "Enabled", "Priority": 1, "Filter": {}}
    rule["DeleteMarkerReplication"] = {"Status": "Disabled"}
    rule["Destination"] = {"Bucket": f"arn:aws:s3:::{bucket.name}"}
    configuration = {"Role": "arn:aws:iam::000000000000:role/replicate", "Rules": [rule]}
    bucket.client.put_bucket_replication(Bucket=bucket.name, ReplicationConfiguration=configuration)
    assert codes(store)["replicated"] is Severity.WARN


def test_compliance_lock(bucket: Bucket, store: Store) -> None:
    lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    assert codes(store)["compliance-lock"] is Severity.BLOCK


def test_governance_lock_says_what_locks_anew(bucket: Bucket, store: Store) -> None:
    lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Years": 2}}}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    found = findings(store)["governance-lock"]
    assert found.severity is Severity.INFO
    assert "for 2 years" in found.sentence


def test_mfa_delete(bucket: Bucket, s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server at hand forgets it."""
    both = b"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>"

    def answer(_: Answering, request: web.Request) -> Answer | None:
        return (200, {"Content-Type": "application/xml"}, both) if "versioning" in request.query else None

    with behind(s3, bucket, monkeypatch, answer) as store:
        assert codes(store) == {"mfa-delete": Severity.WARN, **NOTES}


@pytest.mark.parametrize("ownership", ["ObjectWriter", "BucketOwnerPreferred", None])
def test_acls_enabled(bucket: Bucket, store: Store, ownership: str | None) -> None:
    if ownership:
        controls = {"Rules": [{"ObjectOwnership": ownership}]}
        bucket.client.put_bucket_ownership_controls(Bucket=bucket.name, OwnershipControls=controls)
    else:
        bucket.client.delete_bucket_ownership_controls(Bucket=bucket.name)
    assert codes(store)["acls-enabled"] is Severity.WARN
    assert store.acls_enabled


def test_acls_disabled(bucket: Bucket, store: Store) -> None:
    controls = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    bucket.client.put_bucket_ownership_controls(Bucket=bucket.name, OwnershipControls=controls)
    assert not store.acls_enabled


LOOKS = {
    "prefixes": "list-type",
    "versioning": "versioning",
    "lifecycle": "lifecycle",
    "object-lock": "object-lock",
    "object-ownership": "ownershipControls",
    "notifications": "notification",
    "replication": "replication",
    "conditional-writes": None,  # the only PUT
}


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (405, "MethodNotAllowed"), (501, "NotImplemented")]
)
@pytest.mark.parametrize("look", LOOKS)
def test_what_may_not_be_looked_at_is_one_finding(
    bucket: Bucket, s3: Server, monkeypatch: pytest.MonkeyPatch, look: str, status: int, code: str
) -> None:
    def refuse(_: Answering, request: web.Request) -> Answer | None:
        is_it = LOOKS[look] in request.query if LOOKS[look] else request.method == "PUT"
        return error(status, code) if is_it else None

    with behind(s3, bucket, monkeypatch, refuse) as store:
        found, kept = codes(store), findings(store)["kept-for"].sentence
        must = look in ("prefixes", "versioning", "conditional-writes")
        assert found.pop(f"cannot-see-{look}") is (Severity.BLOCK if must else Severity.WARN)
        unknown = {"left-alone-stays"} if look == "lifecycle" else set()
        assert found.keys() == NOTES.keys() - unknown
        unread = "lifecycle rules cannot be read: recordings count as kept for 6 years" in kept
        assert unread == (look == "lifecycle")


def test_a_bucket_of_which_nothing_may_be_seen(bucket: Bucket, s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = behind(s3, bucket, monkeypatch, lambda *_: error(403, "AccessDenied"))
    with refuse as store, pytest.raises(StoreRefused, match="s3:ListBucket"):
        codes(store)


@pytest.mark.parametrize(
    ("prefix", "there"),
    [
        ("connect/Acme/CallRecordings/", "what lies below 'connect/': acme/"),
        ("connect/acme/", "what lies below 'connect/acme/': CallRecordings/"),
        (f"{PREFIX}2026/", f"what lies below '{PREFIX}2026/': 01/"),
        ("else/where/entirely/", "what lies below '': connect/"),
    ],
)
def test_a_misspelt_prefix_is_named_with_what_lies_there(store: Store, prefix: str, there: str) -> None:
    alone = findings(store, prefixes=[prefix])["nothing-below-prefix"]
    assert alone.severity is Severity.BLOCK
    assert repr(prefix) in alone.sentence
    assert there in alone.sentence
    beside_a_right_one = findings(store, prefixes=[prefix, PREFIX])["nothing-below-prefix"]
    assert beside_a_right_one.severity is Severity.WARN


def test_prefixes_that_hold_days_of_agents_or_of_the_ivr(bucket: Bucket, store: Store) -> None:
    bucket.put("ivr-only/ivr/2026/01/12/x.wav", b"")
    assert "nothing-below-prefix" not in codes(store, prefixes=["ivr-only/"])
    bucket.put("2026/01/12/x.wav", b"")
    assert "nothing-below-prefix" not in codes(store, prefixes=[""])


@pytest.mark.slow
def test_more_than_one_page_right_below_a_prefix_may_hide_days(bucket: Bucket, store: Store, pool: Pool) -> None:
    pool.map(lambda number: bucket.put(f"flat/{number:04}.wav", b""), range(1001))
    assert "nothing-below-prefix" not in codes(store, prefixes=["flat/"])


def test_an_empty_prefix_can_be_accepted(bucket: Bucket) -> None:
    looks: dict[str, Any] = {"oldest_days": 13, "may_write": True}
    store = Store(bucket.name, Settings())
    with pytest.raises(PreflightFailed, match="nothing-below-prefix"):
        check_bucket(store, ["new/"], accept=[], **looks)
    assert check_bucket(store, ["new/"], accept=["nothing-below-prefix"], **looks)


def test_a_finding_that_can_be_accepted_says_so(unversioned_bucket: Bucket) -> None:
    found = all_findings(Store(unversioned_bucket.name, Settings()), ["a/"], oldest_days=13)
    blocking = {finding.code: finding for finding in found if finding.severity is Severity.BLOCK}
    assert set(blocking) == {"unversioned", "nothing-below-prefix"}
    assert all(ACCEPTABLE[code] in finding.way_out for code, finding in blocking.items())


def check(bucket: str, accept: list[str]) -> Callable[[], Any]:
    return lambda: check_bucket(Store(bucket, Settings()), [PREFIX], oldest_days=13, may_write=True, accept=accept)


def test_a_blocking_finding_stops_unless_accepted(unversioned_bucket: Bucket) -> None:
    with pytest.raises(
        PreflightFailed, match=r"Enable versioning: .* Or accept=\[\"unversioned\"\]: originals are overwritten"
    ):
        check(unversioned_bucket.name, [])()
    findings = check(unversioned_bucket.name, ["unversioned"])()
    assert findings[0].code == "unversioned"


@pytest.mark.usefixtures("s3")
def test_a_missing_bucket_is_named() -> None:
    with pytest.raises(StoreRefused, match="there is no bucket named 'no-such-bucket-anywhere'"):
        check("no-such-bucket-anywhere", [])()
