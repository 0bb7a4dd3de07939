"""An erasure of a key with any history: all of its versions go, or none does."""

import os
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.holds import reason_of
from recordings.jobs.engine.intents import open_intents
from recordings.jobs.engine.job import batches_of, plan_job
from recordings.jobs.engine.object_search import ObjectSearch, rows_of_keys
from recordings.jobs.engine.settlement import settle
from recordings.jobs.erase import Erasure, erase_batch, requested_by
from recordings.jobs.reconcile import _asks_for
from recordings.keys import contact_of
from recordings.pool import Budget, Pool
from recordings.request import Selection
from recordings.s3.deleting import DeletingStore, Removable
from recordings.s3.store import Store
from recordings.settings import Settings
from recordings.table.evidence import verify_audit
from recordings.table.files import LocalFiles
from recordings.table.reading import read_audit
from recordings.table.records import Kind, record_end, record_start
from recordings.table.rows import Status
from recordings.versions import versions_of
from tests.bucket import DAY, ON_BOTH, PREFIX, Bucket, key_of

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


@pytest.mark.parametrize(("start", "end"), [(5, None), (None, -5), (5, 9), (1, 1), (0, 0), (None, None)])
def test_a_repair_leaves_out_what_an_erasure_takes(
    bucket: Bucket, tmp_path: Path, start: int | None, end: int | None
) -> None:
    """Days from that of the call. Only both dates narrow where an erasure looks, and it looks on the days beside."""
    dates = [None if days is None else DAY + timedelta(days=days) for days in (start, end)]
    bucket.put(key := key_of(1), b"")
    job = plan_job(
        Kind.ERASE, bucket=bucket.name, audit_uri=str(tmp_path), prefixes=[PREFIX],
        contact_ids=[str(contact_of(key))], start_date=dates[0], end_date=dates[1], case="1",
    )  # fmt: skip
    search = ObjectSearch(job, Store(bucket.name, Settings()), LocalFiles(tmp_path))
    erased = [key for keys in search for key in keys]
    assert _asks_for(requested_by(job), key) is bool(erased)


def test_an_erasure_comes_after_what_was_written_in_the_same_second(bucket: Bucket, tmp_path: Path) -> None:
    """Some servers list fractions of a second, and S3's clock in answers has none."""
    keys, files = [key_of(n) for n in range(5)], LocalFiles(tmp_path / "a")
    written = {key: (bucket.put(key, b"new"), bucket.versions(key)[0]["LastModified"])[1] for key in keys}
    job = plan_job(
        Kind.ERASE, bucket=bucket.name, audit_uri=str(tmp_path / "a"), prefixes=[PREFIX], keys=keys, case="1"
    )
    [batch] = batches_of(rows_of_keys(keys, job, reason_of("1")))
    erase_batch(DeletingStore(bucket.name, Settings()), files, batch, job, Pool(2, Budget(1024)))
    rows = read_audit(str(tmp_path / "a")).set_index("key")
    assert rows["status"].eq("erased").all()
    assert all(rows.loc[key, "state_at"] > at for key, at in written.items())


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


CONTACT = str(contact_of(key_of(1)))


def erase_all(bucket: Bucket, audit: Path) -> Erasure:
    """A whole run over the contact, as the flow has it."""
    store, files, pool = DeletingStore(bucket.name, Settings()), LocalFiles(audit), Pool(1, Budget(1024))
    asked: dict[str, Any] = {"bucket": bucket.name, "audit_uri": str(audit), "prefixes": [PREFIX]}
    job = plan_job(Kind.ERASE, **asked, contact_ids=[CONTACT], case="2026-GDPR-1")
    record_start(files, job)
    erasure = Erasure(job, store, files)
    for batches in erasure:
        erasure.add(batches, [erase_batch(store, files, batch, job, pool) for batch in batches])
    record_end(files, job, totals={}, manifest=erasure.sums.files)
    erasure.conclude()
    return erasure


@pytest.mark.slow
@pytest.mark.parametrize("moment", [1, 2, 4, 5])
def test_two_erasures_at_once(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """The second runs from its beginning to its end before the first one's n-th deletion."""
    keys = [f"{PREFIX}2026/01/12/{CONTACT}_20260112T0{hour}:00_UTC.wav" for hour in range(3)]
    for key in (*keys, *keys):
        bucket.put(key, b"a call")
    delete, deletions, others = DeletingStore.delete_version, list[str](), list[Erasure]()

    def meanwhile(store: DeletingStore, removable: Removable) -> datetime:
        deletions.append(removable.key)
        if len(deletions) == moment and not others:
            others.append(erase_all(bucket, tmp_path))
        return delete(store, removable)

    monkeypatch.setattr(DeletingStore, "delete_version", meanwhile)
    first = erase_all(bucket, tmp_path)
    assert others
    assert (first.problems, others[0].problems) == ([], [])
    assert bucket.snapshot() == []
    rows = read_audit(str(tmp_path))
    assert set(rows[rows["status"].eq("erased")]["key"]) == set(keys)
    assert not rows["reason"].str.startswith("bug").any()
    assert open_intents(LocalFiles(tmp_path), bucket.name) == []
    assert verify_audit(str(tmp_path)).discrepancies == ()


@pytest.mark.slow
def test_a_folder_of_more_keys_than_a_listing_has(bucket: Bucket, tmp_path: Path) -> None:
    """Each key is found once, also where a page of the listing ends between two versions of it."""
    count = 10_000 if os.environ.get("FULL") else 500
    keys = [f"Analysis/Voice/2026/01/12/{CONTACT}_analysis_2026-01-12T00:00:00Z.json"]
    keys += [f"{PREFIX}2026/01/12/{CONTACT}-{n:05d}_20260112T00:00_UTC.wav" for n in range(count)]
    for key in (keys[1], *keys, *keys):
        bucket.put(key, b"1")
    contacts = tuple(str(contact_of(key)) for key in keys)
    wanted = Selection(bucket=bucket.name, prefixes=(PREFIX,), contact_ids=contacts, start_date=DAY, end_date=DAY)
    everywhere = replace(wanted, start_date=None, end_date=None)
    store = Store(bucket.name, Settings())
    for each in (everywhere, wanted):
        search = ObjectSearch(each, store, LocalFiles(tmp_path))
        assert sorted(key for some in search for key in some) == sorted(keys)
        assert search.in_vain == []
    assert store.requests["ListObjectVersions"] < 200, "not a listing for each contact"


KEY = f"{PREFIX}2026/01/12/{CONTACT}_20260112T00:00_UTC.wav"


class Died(BaseException):
    """The process ends here: nobody catches it."""


def erase_and_die(bucket: Bucket, audit: Path, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """A run that ends at its first deletion: before it, or after it."""
    delete = DeletingStore.delete_version

    def dying(store: DeletingStore, removable: Removable) -> datetime:
        if after:
            delete(store, removable)
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(DeletingStore, "delete_version", dying)
        with pytest.raises(Died):
            erase_all(bucket, audit)


def rows_settled(bucket: Bucket, audit: Path) -> int:
    store, files, pool = DeletingStore(bucket.name, Settings()), LocalFiles(audit), Pool(1, Budget(1024))
    return settle(store, files, pool, abandoned_after=timedelta(hours=6)).rows


@pytest.mark.slow
@ON_BOTH
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("what", ["marker", "unversioned"])
def test_a_dead_erasure_is_settled_by_what_is_listed(
    bucket: Bucket,
    unversioned_bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    after: bool,
) -> None:
    """No HEAD shows a delete marker: it would look as if it were gone."""
    there = bucket if what == "marker" else unversioned_bucket
    if what == "marker":
        there.client.delete_object(Bucket=there.name, Key=KEY)
    else:
        there.put(KEY, b"a call")
    erase_and_die(there, tmp_path, monkeypatch, after=after)
    assert rows_settled(there, tmp_path) == int(after)
    assert bool(there.snapshot()) is not after


@pytest.mark.slow
def test_an_erasure_that_wrote_its_rows_and_died_is_told_once(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any, **__: Any) -> None:
        raise Died

    bucket.put(KEY, b"a call")
    with monkeypatch.context() as patch:
        patch.setattr("recordings.jobs.engine.intents.record_done", dies)
        with pytest.raises(Died):
            erase_all(bucket, tmp_path)
    assert [rows_settled(bucket, tmp_path) for _ in range(2)] == [0, 0]
    assert read_audit(str(tmp_path))["status"].tolist() == ["erased"]


@pytest.mark.slow
@pytest.mark.parametrize("versioning", ["never set", "suspended"])
def test_a_second_erasure_of_a_key_is_told_where_all_objects_have_the_same_version_id(
    bucket: Bucket, unversioned_bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, versioning: str
) -> None:
    there = unversioned_bucket if versioning == "never set" else bucket
    if versioning == "suspended":
        there.client.put_bucket_versioning(Bucket=there.name, VersioningConfiguration={"Status": "Suspended"})
    there.put(KEY, b"a call")
    assert erase_all(there, tmp_path).sums.counts == {"erased": 1}
    there.put(KEY, b"brought back")
    erase_and_die(there, tmp_path, monkeypatch, after=True)
    assert [rows_settled(there, tmp_path) for _ in range(2)] == [1, 0]
    assert read_audit(str(tmp_path))["status"].tolist() == ["erased"] * 2


@pytest.mark.slow
def test_a_short_key_is_found_without_listing_all_that_begins_alike(bucket: Bucket) -> None:
    for number in range(30):
        bucket.put(f"a/{number}", b"1")
    bucket.put("a", b"1")
    store = Store(bucket.name, Settings())
    pages, listing = list[str](), store.list_versions

    def small(prefix: str, **more: Any) -> Any:
        for page in listing(prefix, **{**more, "page_size": 3}):
            pages.append(prefix)
            yield page

    store.list_versions = small  # type: ignore[method-assign]
    assert ([each.key for each in versions_of(store, "a")], len(pages)) == (["a"], 1)
    assert (versions_of(store, "a/"), len(pages)) == ([], 2)
