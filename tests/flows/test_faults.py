"""Whatever fails between us and S3: nothing is lost or done twice, and no row wrongly reports a change by others.

``FAULT_RECORDINGS`` sets how many recordings go through; the long version has 2,000.
"""

import logging
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prefect.client.orchestration import get_client

from demo.servers import Server
from flows.archive import archive_recordings
from recordings.conversion.audio import convert
from recordings.errors import StoreRefused, StoreUnavailable
from recordings.profiles import PROFILES
from recordings.s3.store import Store
from recordings.settings import Settings
from recordings.summary import RunFailed
from tests.bucket import DAY, ON_BOTH_IN_FULL, ON_MINISTACK, PREFIX, Bucket, key_of
from tests.faults import FAULTS, FaultyProxy, faulty_proxy
from tests.fixtures import MakeCall, Setting

pytestmark = [pytest.mark.usefixtures("prefect"), ON_BOTH_IN_FULL]
RECORDINGS = int(os.environ.get("FAULT_RECORDINGS", "40"))


@pytest.fixture
def impatient(setting: Setting) -> None:
    """Requests give up after a second, so that the test need not wait long for those that are never answered."""
    setting(TIMEOUT_S=1)


@pytest.mark.timeout(3000)
@pytest.mark.usefixtures("impatient")
def test_five_percent_of_each_fault(
    bucket: Bucket, s3: Server, a_call: MakeCall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [a_call(seed, 0.5) for seed in range(20)]
    wanted = [_result(body) for body in bodies]
    for number in range(RECORDINGS):
        bucket.put(key_of(number), bodies[number % 20], Tagging="queue=sales")
    proxy = FaultyProxy(s3.url, probability=0.05)
    with faulty_proxy(proxy) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        summary = archive_recordings(
            bucket=bucket.name,
            prefixes=[PREFIX],
            audit_uri=str(tmp_path / "audit"),
            start_date=DAY,
            end_date=DAY,
            batch_size=50,
            readback_percent=5,
        )
    assert summary.counts == {"archived": RECORDINGS}
    frame = pd.read_parquet(tmp_path / "audit").set_index("key")
    assert len(frame) == RECORDINGS
    assert frame["verified"].all()
    assert frame["tagged"].all()
    assert frame["attempts"].max() > 1
    for number in range(RECORDINGS):
        key = key_of(number)
        versions = bucket.versions(key)
        assert len(versions) == 2, "converted once, and only once"
        old = next(version for version in versions if not version["IsLatest"])
        assert bucket.body(key) == wanted[number % 20]
        assert bucket.body(key, old["VersionId"]) == bodies[number % 20]
        assert bucket.tags(key) == {"queue": "sales", "converted": "True"}
    assert set(FAULTS) < set(proxy.injected)
    print(f"{RECORDINGS} recordings, injected: {dict(proxy.injected)}; retried: {(frame['attempts'] > 1).sum()}")


PERMANENT = {
    "expired": "the credentials have expired: renew them",
    "skewed": "this machine's clock differs from S3's",
    "denied": "the role needs s3:ListBucket there",
    "unknown-key": "there is no such access key",
    "bad-signature": "the secret key does not fit",
}


@pytest.mark.parametrize(("fault", "sentence"), PERMANENT.items())
def test_what_will_not_pass_is_said_and_nothing_touched(
    bucket: Bucket,
    s3: Server,
    a_call: MakeCall,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    sentence: str,
) -> None:
    bucket.put(key_of(1), a_call())
    before = bucket.snapshot()
    with faulty_proxy(FaultyProxy(s3.url, probability=1, faults=(fault,))) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(StoreRefused, match=sentence):
            archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=str(tmp_path / "audit"))
    assert bucket.snapshot() == before


@ON_MINISTACK  # takes any secret
def test_no_secret_is_told_to_anybody(
    bucket: Bucket,
    s3: Server,
    a_call: MakeCall,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A run that fails half way, with the loudest logging: neither its output nor its table nor its artifacts tell."""
    secret = "sEcReT" + "0123456789abcdefABCDEF" * 2
    bucket.put(key_of(1), a_call())
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"token-{secret}")
    monkeypatch.setattr(Store, "put_tags", _refused)
    caplog.set_level(logging.INFO)
    with pytest.raises(RunFailed) as failed:
        archive_recordings(
            bucket=bucket.name, prefixes=[PREFIX], audit_uri=str(tmp_path / "audit"), start_date=DAY, end_date=DAY
        )
    with get_client(sync_client=True) as client:
        artifacts = [str(artifact.data) for artifact in client.read_artifacts()]
        logs = [log.message for log in client.read_logs()]
    table = pd.read_parquet(tmp_path / "audit").to_csv()
    records = "".join(path.read_text() for path in (tmp_path / "audit" / "_runs").iterdir())
    told = "".join([*capfd.readouterr(), caplog.text, repr(failed.value), *artifacts, *logs, table, records])
    assert "refused" in told
    assert secret not in told
    assert "X-Amz-Signature" not in told
    assert "Credential=" not in told


def _refused(_: Store, key: str, *__: Any) -> None:
    """For recordings; the canary's tags are left as they are."""
    if key.endswith(".wav"):
        raise StoreRefused("PutObjectTagging was refused")


def _result(body: bytes) -> bytes:
    from io import BytesIO

    return bytes(convert(BytesIO(body), len(body), PROFILES["alaw-mono"]).body)


@pytest.mark.parametrize("fault", ["truncated", "lost", "reset"])
def test_an_answer_that_breaks_off_may_pass(
    bucket: Bucket, s3: Server, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Also where the answer is an error's: botocore reads that body outside of what it retries."""
    with faulty_proxy(FaultyProxy(s3.url, probability=1, faults=(fault,))) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(StoreUnavailable), Store(bucket.name, Settings(max_attempts=1)).read("no-such-key"):
            pass
