"""An erasure of a key with any history: all of its versions go, or none does."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.holds import reason_of
from recordings.jobs.engine.job import batches_of, plan_job
from recordings.jobs.engine.object_search import rows_of_keys
from recordings.jobs.erase import erase_batch
from recordings.pool import Budget, Pool
from recordings.s3.deleting import DeletingStore
from recordings.settings import Settings
from recordings.table.files import LocalFiles
from recordings.table.records import Kind
from recordings.table.rows import Status
from tests.bucket import PREFIX, Bucket, key_of

STEPS = st.lists(st.sampled_from(["put", "hide", "hold", "free", "tag", "untag", "delete"]), min_size=1, max_size=8)


class Model:
    """What a key's history leaves: for each version, what holds it; None for a delete marker."""

    def __init__(self) -> None:
        self.versions = dict[str, set[str] | None]()

    def erase(self) -> dict[Status, int]:
        if not self.versions:
            return {Status.CHANGED: 1}
        if any(self.versions.values()):
            return {Status.SKIPPED: 1}
        self.versions.clear()
        return {Status.ERASED: 1}


@pytest.mark.slow
@pytest.mark.s3_servers("seaweed")  # ministack does not show the tags of what lies below a delete marker
def test_any_history(bucket: Bucket, tmp_path: Path) -> None:
    lock = {"ObjectLockEnabled": "Enabled"}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    store, pool, numbers = DeletingStore(bucket.name, Settings()), Pool(2, Budget(1024)), iter(range(10_000))

    @settings(suppress_health_check=[HealthCheck.too_slow])
    @given(STEPS, st.data())
    def check(steps: list[str], data: st.DataObject) -> None:
        key, model = key_of(next(numbers)), Model()
        bucket.put(f"{key}.txt", b"begins alike")
        for step in steps:
            _take(bucket, key, model, step, data)
        job = plan_job(
            Kind.ERASE, bucket=bucket.name, audit_uri=str(tmp_path / "a"), prefixes=[PREFIX], keys=[key], case="1"
        )
        [batch] = batches_of(rows_of_keys([key], job, reason_of("1")))
        assert erase_batch(store, LocalFiles(tmp_path / "a"), batch, job, pool).counts == model.erase()
        assert {version for name, version, _, _ in bucket.snapshot(key) if name == key} == model.versions.keys()
        assert bucket.versions(f"{key}.txt")

    check()


def _take(bucket: Bucket, key: str, model: Model, step: str, data: st.DataObject) -> None:
    objects = [version for version, held in model.versions.items() if held is not None]
    if step == "put":
        model.versions[bucket.put(key, b"a call")["VersionId"]] = set()
    elif step == "hide":
        model.versions[bucket.client.delete_object(Bucket=bucket.name, Key=key)["VersionId"]] = None
    elif objects:
        version = data.draw(st.sampled_from(objects))
        asked: dict[str, Any] = {"Bucket": bucket.name, "Key": key, "VersionId": version}
        held = model.versions[version]
        assert held is not None
        if step in ("hold", "free"):
            on = step == "hold"
            bucket.client.put_object_legal_hold(**asked, LegalHold={"Status": "ON" if on else "OFF"})
            (held.add if on else held.discard)("hold")
        elif step in ("tag", "untag"):
            tags = [{"Key": "legal-hold", "Value": "A"}] if step == "tag" else []
            bucket.client.put_object_tagging(**asked, Tagging={"TagSet": tags})
            (held.add if tags else held.discard)("tag")
        elif "hold" not in held:
            bucket.client.delete_object(**asked)
            del model.versions[version]
