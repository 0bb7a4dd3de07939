"""A forecast, by its own flow and by a dry run, with real Prefect and S3 servers, writes nothing anywhere."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.archive import archive_recordings
from flows.estimate import estimate_savings
from recordings.errors import InvalidRequest
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.deployed import artifact
from tests.fixtures import MakeCall

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture
def window(bucket: Bucket, a_call: MakeCall, tmp_path: Path) -> dict[str, Any]:
    """Ten calls over three days."""
    for n in range(10):
        bucket.put(key_of(n, DAY + timedelta(days=n % 3)), a_call(n, 1.0 + n))
    return {
        "bucket": bucket.name,
        "prefixes": [PREFIX],
        "audit_uri": str(tmp_path / "audit"),
        "start_date": DAY,
        "end_date": DAY + timedelta(days=2),
    }


def test_the_forecast_is_what_the_run_then_does(window: dict[str, Any]) -> None:
    ahead = estimate_savings(**window)
    summary = archive_recordings(**window)
    assert (ahead.recordings, ahead.archived.expected) == (10, 10)
    assert (ahead.bytes_before.expected, ahead.bytes_after.expected) == (summary.bytes_before, summary.bytes_after)
    assert ahead.minutes.expected == pytest.approx(summary.minutes_after)
    again = estimate_savings(**window)
    assert (again.recordings, again.final) == (0, 10)


def test_there_is_no_forecast_of_a_misspelt_prefix(window: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"nothing-below-prefix: .* what lies below 'connect/': acme/"):
        estimate_savings(**{**window, "prefixes": ["connect/Acme/CallRecordings/"]})


def test_a_prefix_below_which_nothing_lies_is_told_beside_one_that_is_right(window: dict[str, Any]) -> None:
    assert estimate_savings(**{**window, "prefixes": [PREFIX, "connect/Acme/CallRecordings/"]}).recordings == 10
    assert "**warning, nothing-below-prefix**" in artifact("savings-forecast")


def test_an_empty_date_is_one_left_out(window: dict[str, Any]) -> None:
    """The default is the week that ended seven days ago, which holds none of these calls."""
    assert estimate_savings(**{**window, "start_date": "", "end_date": " "}).recordings == 0
    assert "Nothing to archive; 0 recordings accounted for by earlier runs." in artifact("savings-forecast")


@pytest.mark.parametrize("way", ["estimate", "dry run"])
def test_nothing_at_all_is_written(bucket: Bucket, window: dict[str, Any], way: str) -> None:
    before, sent = bucket.snapshot(), len(bucket.requests())
    if way == "estimate":
        estimate_savings(**window)
        text = artifact("savings-forecast")
    else:
        archive_recordings(**window, dry_run=True)
        text = artifact("archive-report")
    assert {method for method, _ in bucket.requests()[sent:]} == {"GET"}
    assert bucket.snapshot() == before
    assert not Path(window["audit_uri"]).exists()
    assert "10 recordings left to archive" in text
    assert "the headers of each were read" in text
    assert "| recordings archived | 10 | exact |" in text
