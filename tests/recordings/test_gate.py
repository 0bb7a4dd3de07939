"""The gate: sums by hand, an independent one beside ours for whatever hypothesis draws, and a real bucket."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.backfill.finished import finished
from recordings.backfill.portions import Portion, parameters_of
from recordings.decision import left_as_it_is
from recordings.estimate import Look, look_at, worth_it
from recordings.gate import (
    RECONCILING,
    RELEASING,
    RELEASING_ORIGINAL,
    Terms,
    archiving_requests,
    archiving_usd,
    moving_usd,
    pays,
    staying_usd,
)
from recordings.jobs.engine.job import batches_of, plan_job
from recordings.jobs.reconcile import reconcile_day
from recordings.jobs.release import release_batch
from recordings.keeping import Convertible
from recordings.plan import list_day
from recordings.pool import Pool
from recordings.pricing import PriceList, prices
from recordings.recording import Day, Recording
from recordings.run import STORAGE_CLASSES, Run
from recordings.s3.deleting import DeletingStore
from recordings.s3.store import Store
from recordings.settings import Settings, settings
from recordings.table.files import AuditFiles
from recordings.table.parquet import write_rows
from recordings.table.records import EndRecord, Kind, end_record
from recordings.table.rows import AuditRow
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.fixtures import Listed, MakeCall, PlanRun, Stages
from tests.planned import planned
from tests.recordings.prices import PRICES, RAW, a_call_of, costs_by_hand, gated, mono


class TagsReadForLess(PriceList):
    """As it is if AWS bills reading tags as a GET of Standard: HEADs of GLACIER_IR are expensive either way."""

    def requests(self, counts: Mapping[str, float], write_class: str) -> float:
        return super().requests(counts, write_class) - self.tags_read_for_less(counts, write_class)


TAGS_READ_FOR_LESS = TagsReadForLess(**{each.name: getattr(PRICES, each.name) for each in fields(PRICES)})


def test_five_minutes_for_six_years_by_hand() -> None:
    """9,600,044 bytes are 0.0089407 GB: 72 months in GLACIER_IR, after a transition, $0.002575 + $0.00002.

    As A-law 2,400,058 bytes, 0.0022352 GB: $0.00064374. Requests: GET 0.0004, PUT 0.02, tags read 0.01 and put 0.005,
    and of listings at 0.005 one for 1,000 and one for 200: 0.03543 per 1,000. CPU 0.029 s at $0.0395 an hour:
    $0.00000032. The release: HEAD of the replacement twice and its tags at 0.01, HEAD and tags of the original at
    0.0004. The reconciliation: tags at 0.01. Both are 0.0408 per 1,000, and 4.2 ms of CPU, $0.00000005. The tag for 72
    months: $0.0000468. The original for 30 days, 0.98563 months, in Standard: $0.00020268.
    """
    kept = a_call_of(300, months=72)
    terms = Terms(storage_class="GLACIER_IR", grace_days=30)
    assert staying_usd(kept, PRICES) == pytest.approx(0.0089407 * 0.023 * 72, rel=1e-4)
    assert moving_usd(kept, "GLACIER_IR", PRICES) == pytest.approx(0.00259494, rel=1e-4)
    by_hand = 0.00064374 + 0.00003543 + 0.00000032 + 0.0000408 + 0.00000005 + 0.0000468 + 0.00020268
    assert archiving_usd(kept, mono(kept), terms, PRICES) == pytest.approx(by_hand, rel=1e-3)
    assert pays(kept, mono(kept), terms, PRICES)


@pytest.mark.parametrize(
    ("grace_days", "months", "at_least_s", "or_s"),
    [
        (30, 6, None, None),  # a month in Standard costs more than a quarter less of six in GLACIER_IR saves
        (30, 12, 162, 90),
        (30, 72, 18, 14),
        (7, 6, 160, 84),
        (7, 12, 71, 39),
        (7, 72, 17, 13),
        (1, 6, 118, 62),
        (1, 12, 62, 34),
        (1, 72, 17, 13),
    ],
)
def test_from_which_length_on_converting_pays(
    grace_days: int, months: int, at_least_s: int | None, or_s: int | None
) -> None:
    """In whole seconds; ``or_s`` if AWS bills reading tags as a GET of Standard, which the gate does not assume.

    By hand, for a year and a day's grace: above 16.4 s a result is more than 128 KiB. A second saves 24,000 bytes of 12
    months at $0.004, $0.0000010729, and costs 32,000 bytes of a day at $0.023, $0.0000000225. Requests but for the PUT,
    which costs as much as the rule's transition, are $0.00001543, those of release and reconciliation $0.0000408, CPU
    $0.00000011, 12 months of a tag $0.0000078: $0.00006414 / $0.0000010504 are 61.1 s. Tags in GLACIER_IR are read
    three times; at the lower price that is $0.0000288 less: 33.6 s.
    """
    terms = Terms(storage_class="GLACIER_IR", grace_days=grace_days)

    def first(price_list: Any) -> int | None:
        calls = (a_call_of(seconds, months=months) for seconds in range(1, 4000))
        return next((round(kept.minutes * 60) for kept in calls if pays(kept, mono(kept), terms, price_list)), None)

    assert (first(PRICES), first(TAGS_READ_FOR_LESS)) == (at_least_s, or_s)


def test_what_is_read_back_and_what_is_tagged_must_earn_more() -> None:
    """Read back: $0.03 a GB and $0.01 per 1,000. Tags of a recording: three more reads, and the original's own tags."""
    kept = a_call_of(60, months=72)
    plain, all_read = (Terms(storage_class="GLACIER_IR", grace_days=30, readback_share=share) for share in (0, 1))
    extra = archiving_usd(kept, mono(kept), all_read, PRICES) - archiving_usd(kept, mono(kept), plain, PRICES)
    assert extra == pytest.approx(mono(kept) / 1024**3 * 0.03 + 0.00001, rel=0.01)
    tagged = replace(kept, tags=5)
    extra = archiving_usd(tagged, mono(kept), plain, PRICES) - archiving_usd(kept, mono(kept), plain, PRICES)
    assert extra == pytest.approx(3 * 0.00001 + 5 * 0.00000065 * 30 / 30.4375)


def test_what_is_priced_is_what_is_asked(
    bucket: Bucket, store: Store, pool: Pool, plan: PlanRun, run_stages: Stages, a_call: MakeCall, files: AuditFiles
) -> None:
    """All requests about recordings: by a run, by the release of their originals, and by a reconciliation."""
    for number in range(3):
        bucket.put(key_of(number), a_call(number), Tagging="queue=sales")
    run = plan(bucket.name)
    rows = run_stages(run)
    assert each_of(3, store.requests) == +Counter(archiving_requests("STANDARD", has_tags=True))

    write_rows(files, rows, run_id=run.run_id, number=1)
    of_day: dict[str, Any] = {"bucket": bucket.name, "audit_uri": run.audit_uri, "start_date": DAY, "end_date": DAY}
    releasing, (batch,) = DeletingStore(bucket.name, Settings()), batches_of(rows)
    released = release_batch(releasing, files, batch, plan_job(Kind.RELEASE, grace_days=0, **of_day), pool)
    assert released.counts == {"released": 3}
    assert each_of(3, releasing.requests) == Counter(RELEASING) + Counter(RELEASING_ORIGINAL)

    store.requests.clear()
    compared = plan_job(Kind.RECONCILE, prefixes=[PREFIX], **of_day)
    assert reconcile_day(store, files, Day(prefix=PREFIX, date=DAY), compared, pool) == []
    assert each_of(3, store.requests) == RECONCILING


def each_of(recordings: int, requests: Mapping[str, int]) -> dict[str, float]:
    """Requests about one recording, by operation; DELETE is free."""
    of_one = ("HeadObject", "GetObject", "PutObject", "GetObjectTagging", "PutObjectTagging")
    return {name: requests[name] / recordings for name in of_one if requests[name]}


@given(
    seconds=st.floats(0.1, 7200),
    months=st.floats(0, 150),
    storage_class=st.sampled_from(STORAGE_CLASSES),
    target=st.sampled_from(STORAGE_CLASSES),
    tags=st.integers(0, 10),
    grace_days=st.integers(0, 90),
    readback_percent=st.sampled_from([0.0, 1.0, 100.0]),
    ratio=st.floats(0.01, 1.5),
    longer=st.floats(0, 3),
    by_kms=st.booleans(),
)
def test_nothing_that_the_gate_lets_through_costs_more_than_the_lifecycle_rule(
    seconds: float,
    months: float,
    storage_class: str,
    target: str,
    tags: int,
    grace_days: int,
    readback_percent: float,
    ratio: float,
    longer: float,
    by_kms: bool,
) -> None:
    """And nothing that would have paid is held back."""
    kept = a_call_of(seconds, months=months, storage_class=storage_class, tags=tags)
    kept = replace(kept, by_kms=by_kms, months_left_archived=months + longer)
    run = gated(planned(storage_class=target, readback_percent=readback_percent))
    terms = replace(run.terms, grace_days=grace_days)
    bytes_after = round(kept.size_bytes * ratio)
    rule, archived = costs_by_hand(kept, bytes_after, terms)
    assert pays(kept, bytes_after, terms, PRICES) == (archived < rule) or archived == pytest.approx(rule)
    rule, archived = costs_by_hand(kept, bytes_after, run.terms)
    if left_as_it_is(kept, already=False, again=False, bytes_after=bytes_after, run=run) is None:
        assert archived <= rule * (1 + 1e-9)


def test_a_run_leaves_alone_what_would_lose_money_and_the_forecast_says_so_before(
    bucket: Bucket,
    store: Store,
    pool: Pool,
    plan: PlanRun,
    listed: Listed,
    run_stages: Stages,
    a_call: MakeCall,
    converted_by_others: bytes,
) -> None:
    """At six years: two calls too short, two long enough, one too short for its tags, and one that is small already."""
    lengths = {key_of(1): 4.0, key_of(2): 16.0, key_of(3): 18.0, key_of(4): 60.0}
    for number, (key, seconds) in enumerate(lengths.items()):
        bucket.put(key, a_call(number, seconds))
    bucket.put(key_of(5), a_call(5, 18.0), Tagging="queue=sales")
    bucket.put(key_of(6), converted_by_others)
    run, before = gated(plan(bucket.name)), bucket.snapshot()
    recordings = listed(run)
    looks = {look.recording.key: look for look in look_at(store, recordings, run, pool)}
    rows: dict[str, AuditRow] = {row.key: row for row in run_stages(run)}

    states = {key: str(row.status) for key, row in rows.items()}
    assert states == {
        **{key_of(n): "skipped" for n in (1, 2, 5)},
        **{key_of(n): "archived" for n in (3, 4)},
        key_of(6): "already_archived",
    }
    for key, row in rows.items():
        assert looks[key].reason == ((row.reason or "").partition(":")[0] or None)
    assert (rows[key_of(1)].reason or "").startswith("not-worth-it: archived, its 71 months to come cost $0.0001")
    assert "a lifecycle rule moves it to GLACIER_IR for less" in (rows[key_of(6)].reason or "")
    rewritten = {key for key, *_ in set(bucket.snapshot()) - set(before)}
    assert rewritten == {key_of(3), key_of(4)}
    assert bucket.tags(key_of(1)) == {}

    rest = {row.key: str(row.status) for row in run_stages(replace(run, archive_unprofitable=True))}
    assert rest == dict.fromkeys(map(key_of, range(1, 7)), "archived")


def test_what_is_not_worth_it_is_looked_at_again_only_when_something_else_decides(
    bucket: Bucket,
    plan: PlanRun,
    run_stages: Stages,
    a_call: MakeCall,
    files: AuditFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One call is too short. One lies in GLACIER_IR for less than 90 days: not worth it now, and perhaps later."""
    bucket.put(key_of(1), a_call(1, 4.0))
    bucket.put(key_of(2), a_call(2, 16.0), StorageClass="GLACIER_IR")
    run = gated(plan(bucket.name))

    def counted(run: Run, **setting: str) -> tuple[int, int]:
        """Recordings to look at, and those final as not worth it; by a store that has seen nothing yet."""
        with monkeypatch.context() as patch:
            for name, value in setting.items():
                patch.setenv(f"ARCHIVE_{name}", value)
            for cached in (settings, prices):
                cached.cache_clear()
            listing = list_day(Store(bucket.name, Settings()), files, Day(prefix=PREFIX, date=DAY), run)
        assert len(listing.open) + listing.final_count == 2
        return len(listing.open), listing.unprofitable_count

    rows = run_stages(run)
    assert {(row.reason or "").partition(":")[0] for row in rows} == {"not-worth-it"}
    write_rows(files, rows, run_id=run.run_id, number=1)
    assert counted(run) == (1, 1)
    for other in (
        {"archive_unprofitable": True},
        {"readback_percent": 5.0},
        {"grace_days": 1},
        {"software_version": "later"},
    ):
        assert counted(replace(run, **other)) == (2, 0)
    cheaper = tmp_path / "prices.json"
    cheaper.write_text(json.dumps({**RAW, "tag_per_10000_months": 0.0064}))
    for name, value in (("RETENTION_YEARS", "7"), ("PRICE_LIST", str(cheaper))):
        assert counted(run, **{name: value}) == (2, 0)
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 3000}}
    bucket.client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": [rule]})
    assert counted(run) == (2, 0)


def test_what_is_soon_to_be_deleted_is_not_worth_it(
    bucket: Bucket, store: Store, pool: Pool, plan: PlanRun, listed: Listed, a_call: MakeCall
) -> None:
    bucket.put(key_of(1), a_call(1, 60.0))
    run = gated(plan(bucket.name))
    late = replace(run, scheduled_at=run.scheduled_at + timedelta(days=365 * 5 + 200))
    (now,), (later,) = (look_at(store, listed(each), each, pool) for each in (run, late))
    assert (now.reason, later.reason) == (None, "not-worth-it")
    assert now.kept
    assert later.kept
    assert now.kept.months_left - later.kept.months_left == pytest.approx((365 * 5 + 200) / 30.4375)


def test_a_sample_says_what_is_worth_it_and_what_becomes_of_the_rest() -> None:
    looks = [
        look_of(300),
        look_of(5, reason="not-worth-it"),
        replace(look_of(300), reason="truncated", convertible=None),
    ]
    run = gated(planned(readback_percent=1.0))
    said = worth_it(looks, run, PRICES)
    assert said == (
        "1 of 2 recordings that can be archived are worth it; 1 would cost more archived than moved by a lifecycle "
        "rule: skipped"
    )
    assert worth_it(looks, replace(run, archive_unprofitable=True), PRICES).endswith(": archived all the same")


def look_of(seconds: float, reason: str | None = None) -> Look:
    kept = a_call_of(seconds, months=72)
    recording = Recording(
        bucket="b", key=key_of(1), recording_date=DAY, etag='"e"', size_bytes=kept.size_bytes, storage_class="STANDARD"
    )
    return Look(
        recording=recording,
        reason=reason,
        bytes_after=mono(kept),
        convertible=Convertible(kept=kept, bytes_by_profile={"alaw-mono": mono(kept)}),
    )


def test_a_backfill_takes_a_day_as_finished_only_if_its_run_did_as_much() -> None:
    """A day whose unprofitable recordings were skipped is not finished for a backfill that wants them archived."""
    run = gated(planned(readback_percent=1.0))
    day = Portion(date=run.start_date)
    everything = replace(run, archive_unprofitable=True)

    def done(told: dict[str, Any]) -> EndRecord:
        record = {"run": told, "counts": {"archived": 1, "skipped": 1}, "unrecorded": 0, "files": []}
        end = end_record(f"{run.run_id}.end.json", json.dumps(record).encode())
        assert end is not None
        return end

    told = jsonable(run)
    assert day in finished([done(told)], run)
    assert day not in finished([done(told)], everything)
    del told["archive_unprofitable"]  # by a version that archived everything
    assert day in finished([done(told)], everything)
    assert parameters_of(day, everything)["archive_unprofitable"]


def jsonable(run: Run) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(json.dumps(asdict(run), default=str))
    return fields
