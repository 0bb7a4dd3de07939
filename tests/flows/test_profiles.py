"""Recordings that are no WAV any more go through every flow that follows archiving as A-law does."""

import wave
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.archive import archive_recordings
from flows.export import export_recordings
from flows.fixity import check_fixity
from flows.reconcile import reconcile_audit
from flows.release import release_originals
from flows.restore import restore_recordings
from recordings.table.reading import current, read_audit
from recordings.table.rows import MEASURED
from tests.bucket import DAY, ON_MINISTACK, PREFIX, Bucket, key_of
from tests.fixtures import MakeCall

pytestmark = [pytest.mark.usefixtures("prefect"), ON_MINISTACK]


@pytest.mark.parametrize(
    ("profile", "codec", "magic"), [("flac-stereo", "flac", b"fLaC"), ("opus-dual", "opus", b"OggS")]
)
def test_from_archiving_to_release_and_back(
    bucket: Bucket, audit_uri: str, a_call: MakeCall, tmp_path: Path, profile: str, codec: str, magic: bytes
) -> None:
    """One recording is restored, the other one loses its original, stays checked, and is handed over."""
    restored, released = key_of(1), key_of(2)
    call = a_call(1, 1.0)
    bucket.put(restored, call, ContentType="audio/wav")
    bucket.put(released, a_call(2, 1.0))
    table: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri}
    day: dict[str, Any] = {**table, "prefixes": [PREFIX], "start_date": DAY, "end_date": DAY}
    assert archive_recordings(**day, profile=profile, readback_percent=100).counts == {"archived": 2}
    result = bucket.body(released)
    assert result.startswith(magic)

    assert restore_recordings(**table, keys=[restored], dry_run=False).counts == {"restored": 1}
    assert release_originals(**table, everything=True, grace_days=0, dry_run=False).counts == {"released": 1}

    assert (bucket.body(restored), bucket.get(restored)["ContentType"]) == (call, "audio/wav")
    assert (bucket.body(released), len(bucket.versions(released))) == (result, 1)
    checked = check_fixity(**table, prefixes=[PREFIX], sample_percent=100, dry_run=False)
    assert (checked.counts, checked.reading.recordings) == ({"checked": 1}, 1)
    assert reconcile_audit(**day).drifts == {}
    rows = current(read_audit(audit_uri)).set_index("key")
    assert dict(zip(rows.index, rows["status"], strict=True)) == {restored: "restored", released: "released"}
    assert list(rows.loc[released, ["codec_after", "channels_after"]]) == [codec, 2]
    assert rows.loc[restored, list(MEASURED)].isna().all(), "they are of a conversion, and this is the original"

    bag = tmp_path / "bag"
    export_recordings(**table, keys=[released], as_pcm=True, dry_run=False, destination_uri=str(bag))
    with wave.open(str(next(bag.rglob("*.wav")))) as file:
        assert file.getparams()[:4] == (2, 2, 8_000, 8_000)
    figures = pd.read_csv(bag / "data" / "fidelity.csv").loc[0]
    assert list(figures[list(MEASURED)].notna()) == list(rows.loc[released, list(MEASURED)].notna())
    assert figures["gain_right"] == pytest.approx(rows.loc[released, "gain_right"])

    bucket.client.delete_object_tagging(Bucket=bucket.name, Key=restored)  # which said archive=exempt
    again = archive_recordings(**day, profile="alaw-mono", readback_percent=100)
    assert again.counts == {"archived": 1, "already_archived": 1}
    assert (bucket.body(restored)[:4], bucket.body(released)) == (b"RIFF", result)
    rows = current(read_audit(audit_uri)).set_index("key")
    assert (rows.loc[restored, "codec_before"], rows.loc[restored, "codec_after"]) == ("pcm_s16le", "pcm_alaw")
