"""The forecast and the run decide alike, whatever lies in the bucket."""

import struct
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.conversion.audio import convert
from recordings.estimate import Look, look_at
from recordings.holds import reason_of
from recordings.pool import Pool
from recordings.profiles import PROFILES
from recordings.resample import resample_recording
from recordings.run import STORAGE_CLASSES
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.parquet import write_rows
from recordings.table.rows import DESTROYED, AuditRow, Status
from tests.bucket import Bucket, key_of
from tests.fixtures import Listed, MakeCall, PlanRun
from tests.recordings.tables import ARCHIVED, NOW

KEY = key_of(1)
PCM, ALAW, MULAW = 1, 6, 7


def wav(tag: int, bits: int, channels: int, rate_hz: int, frames: int) -> bytes:
    """Quiet noise, the same for the same arguments."""
    random = np.random.default_rng(frames)
    if tag == PCM and bits == 16:
        data = random.normal(0, 900, frames * channels).astype("<i2").tobytes()
    else:
        middle = 128 if tag == PCM else 213
        data = random.integers(middle - 20, middle + 20, frames * channels, np.uint8).tobytes()
    align = channels * bits // 8
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, channels, rate_hz, rate_hz * align, align, bits)
    chunk = struct.pack("<4sI", b"data", len(data)) + data + b"\0" * (len(data) & 1)
    return struct.pack("<4sI4s", b"RIFF", 4 + len(fmt) + len(chunk), b"WAVE") + fmt + chunk


wavs = st.builds(
    lambda form, *shape: wav(*form, *shape),
    st.sampled_from([(PCM, 16), (PCM, 8), (ALAW, 8), (MULAW, 8)]),
    st.integers(1, 3),
    st.sampled_from([4000, 8000, 16000]),
    st.integers(1, 3000),
)


@st.composite
def flacs(draw: st.DrawFn) -> bytes:
    body = wav(PCM, 16, draw(st.integers(1, 2)), 8000, draw(st.integers(100, 2000)))
    return bytes(convert(BytesIO(body), len(body), PROFILES["flac-stereo"]).body)


damaged = st.one_of(st.binary(max_size=60), wavs.map(lambda body: body[:30]))


class Decide(Protocol):
    def __call__(self, body: bytes, properties: dict[str, str], **parameters: Any) -> tuple[Look, AuditRow]: ...


@pytest.fixture
def decided(bucket: Bucket, plan: PlanRun, store: Store, pool: Pool, listed: Listed) -> Decide:
    """What the forecast says of an object, and the row that the run makes of the same one."""

    def both(body: bytes, properties: dict[str, str], **parameters: Any) -> tuple[Look, AuditRow]:
        bucket.put(KEY, body, **properties)
        run = plan(bucket.name, **parameters)
        (recording,) = listed(run)
        (look,) = look_at(store, [recording], run, pool)
        return look, resample_recording(store, recording, run)

    return both


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(wavs, flacs(), damaged),
    tags=st.sampled_from(["", "archive=exempt", "queue=sales", "legal-hold=2026-CV-1", "legal-hold="]),
    include_held=st.booleans(),
    storage_class=st.sampled_from(["STANDARD", "GLACIER_IR"]),
    profile=st.sampled_from([*PROFILES]),
    target=st.sampled_from(STORAGE_CLASSES),
)
def test_forecast_and_run_agree(
    decided: Decide, body: bytes, tags: str, include_held: bool, storage_class: str, profile: str, target: str
) -> None:
    parameters = {"profile": profile, "storage_class": target, "include_held": include_held}
    look, row = decided(body, {"Tagging": tags, "StorageClass": storage_class}, **parameters)
    small_enough = row.status is Status.ARCHIVED or str(row.reason).startswith("not-smaller")
    if profile in ("flac-stereo", "opus-dual") and small_enough:
        assert look.reason in (None, "not-smaller")  # how small they get, only the encoder knows
    elif row.status is Status.ARCHIVED:
        assert (look.reason, look.bytes_after) == (None, row.bytes_after)
    else:
        assert look.reason == str(row.reason).partition(":")[0]


@pytest.mark.parametrize("status", DESTROYED)
@pytest.mark.parametrize("copy", [b"as it was", b"another object"])
@pytest.mark.parametrize("overwrite_converted", [False, True])
def test_a_copy_of_what_a_run_destroyed_is_neither_read_nor_archived(
    bucket: Bucket, files: AuditFiles, decided: Decide, status: Status, copy: bytes, overwrite_converted: bool
) -> None:
    """Though the table once showed this very content as archived, so that no run had to look at it."""
    etag = bucket.put("else", b"as it was")["ETag"]  # the same bytes have the same ETag under any key
    was = replace(ARCHIVED, bucket=bucket.name, key=KEY, etag_after=etag)
    gone = replace(was, run_id="r9", status=status, verified=False, tagged=False, state_at=NOW)
    write_rows(files, [was, gone], run_id="r9", number=1)
    asked = len(bucket.requests())
    look, row = decided(copy, {}, overwrite_converted=overwrite_converted)
    assert look.reason == "destroyed"
    assert row.status is Status.SKIPPED
    assert row.reason == f"destroyed: run r9 {status} it on 2026-02-01; somebody has brought it back"
    assert bucket.requests_by_kind(asked) == {"PUT": 1, "LIST": 2}


@pytest.mark.parametrize("include_held", [False, True])
def test_a_hold_by_tag_counts_as_one_by_s3_does(
    bucket: Bucket, decided: Decide, a_call: MakeCall, include_held: bool
) -> None:
    look, row = decided(a_call(), {"Tagging": "legal-hold=2026-CV-1 2026-CV-2"}, include_held=include_held)
    if include_held:
        assert (look.reason, row.status) == (None, Status.ARCHIVED)
        assert bucket.tags(KEY) == {"legal-hold": "2026-CV-1 2026-CV-2"}
    else:
        said = "held: held for 2026-CV-1, 2026-CV-2, as its tag legal-hold says"
        assert (look.reason, row.status, row.reason) == ("held", Status.SKIPPED, said)


@pytest.mark.parametrize("include_held", [False, True])
def test_a_hold_that_only_the_table_knows_counts_as_well(
    bucket: Bucket, files: AuditFiles, decided: Decide, a_call: MakeCall, include_held: bool
) -> None:
    """Somebody has taken it away in S3; a case that was lifted no longer counts."""
    was = replace(ARCHIVED, bucket=bucket.name, key=KEY, status=Status.HELD, verified=False, tagged=False)
    held = [replace(was, reason=reason_of(case)) for case in ("2026-CV-1", "2026-CV-2")]
    later = was.started_at + timedelta(hours=1)
    lifted = replace(was, reason=reason_of("2026-CV-2"), status=Status.LIFTED, started_at=later)
    write_rows(files, [*held, lifted], run_id="r9", number=1)
    look, row = decided(a_call(), {}, include_held=include_held)
    said = ("held", Status.SKIPPED, "held: held for 2026-CV-1")
    assert (look.reason, row.status, row.reason) == ((None, Status.ARCHIVED, None) if include_held else said)


def test_what_one_forecast_cannot_look_at_is_one_forecasts_reason(
    bucket: Bucket,
    plan: PlanRun,
    store: Store,
    pool: Pool,
    listed: Listed,
    a_call: MakeCall,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def buggy(*_: Any) -> None:
        raise TypeError("nobody foresaw this")

    bucket.put(KEY, a_call())
    run = plan(bucket.name)
    monkeypatch.setattr("recordings.estimate.foresee", buggy)
    assert [look.reason for look in look_at(store, listed(run), run, pool)] == ["bug"]
