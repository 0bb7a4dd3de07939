"""Connect's keys."""

from datetime import UTC, date, datetime

import pytest

from recordings.recording import Day, Recording, days_between

CONTACT = "01507b3f-1022-4cbf-97c7-58ea71d26648"


def recording(key: str) -> Recording:
    return Recording(
        bucket="b", key=key, recording_date=date(2026, 11, 9), etag='"e"', size_bytes=1, storage_class="STANDARD"
    )


def test_connects_key_names_the_contact_and_the_time() -> None:
    of_connect = recording(f"connect/acme/CallRecordings/2026/11/09/{CONTACT}_20261109T14:40_UTC.wav")
    assert of_connect.contact_id == CONTACT
    assert of_connect.recorded_at == datetime(2026, 11, 9, 14, 40, tzinfo=UTC)


@pytest.mark.parametrize("name", ["call.wav", f"{CONTACT}.wav", f"{CONTACT}_20261109T14:40_UTC.json"])
def test_another_key_is_as_old_as_its_day_at_least(name: str) -> None:
    other = recording(f"connect/acme/CallRecordings/2026/11/09/{name}")
    assert other.contact_id is None
    assert other.recorded_at == datetime(2026, 11, 10, tzinfo=UTC)


def test_a_day_lies_in_two_folders() -> None:
    day = Day(prefix="p/", date=date(2026, 1, 2))
    assert day.key_prefixes == ("p/2026/01/02/", "p/ivr/2026/01/02/")


def test_days_include_both_ends() -> None:
    assert list(days_between(date(2026, 2, 28), date(2026, 3, 1))) == [date(2026, 2, 28), date(2026, 3, 1)]
