"""Recordings that are no WAV any more go through every flow that follows archiving as A-law does."""

from typing import Any

import pytest

from flows.archive import archive_recordings
from flows.fixity import check_fixity
from flows.reconcile import reconcile_audit
from flows.release import release_originals
from flows.restore import restore_recordings
from recordings.table.reading import current, read_audit
from tests.bucket import DAY, ON_MINISTACK, PREFIX, Bucket, key_of
from tests.fixtures import MakeCall

pytestmark = [pytest.mark.usefixtures("prefect"), ON_MINISTACK]


@pytest.mark.parametrize(
    ("profile", "codec", "magic"), [("flac-stereo", "flac", b"fLaC"), ("opus-dual", "opus", b"OggS")]
)
def test_from_archiving_to_release_and_back(
    bucket: Bucket, audit_uri: str, a_call: MakeCall, profile: str, codec: str, magic: bytes
) -> None:
    """One recording is restored, the other one loses its original and stays checked."""
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
    assert rows["status"].to_dict() == {restored: "restored", released: "released"}
    assert (rows.loc[released, "codec_after"], rows.loc[released, "channels_after"]) == (codec, 2)
