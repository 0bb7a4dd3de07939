"""Connect's keys."""

from dataclasses import replace
from datetime import UTC, date, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.keys import date_of, time_of
from recordings.recording import Day, Recording, days_between

CONTACT = "01507b3f-1022-4cbf-97c7-58ea71d26648"
ARABIC_DIGITS = "\u0662\u0660\u0662\u0666/\u0660\u0661/\u0660\u0662"
END_OF_DAY = datetime.combine(date(2026, 11, 9), time.max, UTC)


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
    assert other.recorded_at == END_OF_DAY


@pytest.mark.parametrize("moment", ["20261109T24:00", "20261109T12:61", "20260230T12:00", "00001109T12:00"])
def test_a_time_that_does_not_exist_is_the_end_of_the_day(moment: str) -> None:
    key = f"connect/acme/CallRecordings/2026/11/09/{CONTACT}_{moment}_UTC.wav"
    assert (recording(key).contact_id, time_of(key), recording(key).recorded_at) == (CONTACT, None, END_OF_DAY)


@pytest.mark.parametrize("folder", ["2026/02/30", "2026/13/01", "0000/01/01", "2026/00/10", "2026/1/2", ARABIC_DIGITS])
def test_a_day_that_does_not_exist_is_no_day(folder: str) -> None:
    assert date_of(f"connect/acme/CallRecordings/{folder}/{CONTACT}_20261109T14:40_UTC.wav") is None


def test_the_last_day_of_the_calendar_ends() -> None:
    last = recording("9999/12/31/call.wav")
    assert replace(last, recording_date=date.max).recorded_at == datetime.max.replace(tzinfo=UTC)


def fragments(*patterns: str) -> st.SearchStrategy[str]:
    return st.one_of(*(st.from_regex(pattern, fullmatch=True) for pattern in patterns))


ALMOST = st.tuples(
    st.text(max_size=8),
    fragments(r"\d{4}/\d{2}/\d{2}/", r"[0-9]{4}/[0-9]{2}/[0-9]{2}/", r"ivr/9999/12/31/"),
    st.text(max_size=8),
    fragments(r"_\d{8}T\d{2}:\d{2}_UTC\.wav\n?", r"_[0-9]{8}T[0-9]{2}:[0-9]{2}_UTC\.wav", r"\.wav"),
).map("".join)


@given(st.one_of(st.text(), ALMOST), st.dates())
def test_no_key_raises(key: str, day: date) -> None:
    of_key = replace(recording(key), recording_date=day)
    assert of_key.recorded_at.tzinfo is UTC
    assert of_key.contact_id is None or f"{of_key.contact_id}_" in key
    assert (found := date_of(key)) is None or f"{found:%Y/%m/%d}"[-5:] in key
    assert time_of(key) is None or of_key.recorded_at == time_of(key)


def test_a_day_lies_in_two_folders() -> None:
    day = Day(prefix="p/", date=date(2026, 1, 2))
    assert day.key_prefixes == ("p/2026/01/02/", "p/ivr/2026/01/02/")


def test_days_include_both_ends() -> None:
    assert list(days_between(date(2026, 2, 28), date(2026, 3, 1))) == [date(2026, 2, 28), date(2026, 3, 1)]
