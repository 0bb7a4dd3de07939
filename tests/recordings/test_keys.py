"""The layouts of keys: which object is of which contact, and where to look for all of a contact's objects."""

import json
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from recordings.keys import Content, contact_of, date_of, layout_of, places_of, time_of
from recordings.settings import Settings
from tests.bucket import Bucket
from tests.fixtures import Setting

CONTACT = "01507b3f-1022-4cbf-97c7-58ea71d26648"
DAY = date(2026, 3, 31)
PREFIX = "connect/acme/CallRecordings/"
MINUTE, SECOND = datetime(2026, 3, 31, 21, 14, tzinfo=UTC), datetime(2026, 3, 31, 21, 14, 16, tzinfo=UTC)
ID, TIME = "(?P<contact_id>[0-9a-f-]+)", "(?P<time>[0-9T:]+)"
KEYS = {
    f"{PREFIX}2026/03/31/{CONTACT}_20260331T21:14_UTC.wav": (Content.RECORDING, MINUTE),
    f"{PREFIX}ivr/2026/03/31/{CONTACT}_20260331T21:14_UTC.wav": (Content.IVR_RECORDING, MINUTE),
    f"Analysis/Voice/2026/03/31/{CONTACT}_analysis_2026-03-31T21:14:16Z.json": (Content.ANALYSIS, SECOND),
    f"Analysis/Voice/ivr/2026/03/31/{CONTACT}_analysis_2026-03-31T21:14:16Z.json": (Content.ANALYSIS, SECOND),
    f"Analysis/Voice/Redacted/2026/03/31/{CONTACT}_analysis_redacted_2026-03-31T21:14:16Z.json": (
        Content.REDACTED_ANALYSIS,
        SECOND,
    ),
    f"Analysis/Voice/ivr/Redacted/2026/03/31/{CONTACT}_analysis_redacted_2026-03-31T21:14:16Z.json": (
        Content.REDACTED_ANALYSIS,
        SECOND,
    ),
    f"Analysis/Voice/Redacted/2026/03/31/{CONTACT}_call_recording_redacted_2026-03-31T21:14:16Z.wav": (
        Content.REDACTED_RECORDING,
        SECOND,
    ),
}


@pytest.mark.parametrize("key", KEYS)
def test_each_layout_says_what_it_holds_of_whom_and_of_when(key: str) -> None:
    layout = layout_of(key)
    assert layout is not None
    assert (layout.holds, time_of(key)) == KEYS[key]
    assert (contact_of(key), date_of(key)) == (CONTACT, DAY)


def test_a_name_in_a_foreign_folder_still_names_its_contact() -> None:
    key = f"elsewhere/2026/03/31/{CONTACT}_analysis_2026-03-31T21:14:16Z.json"
    assert (layout_of(key), contact_of(key)) == (None, CONTACT)


@pytest.mark.parametrize(
    ("key", "day"),
    [
        (f"{PREFIX}2026/03/31/sub/{CONTACT}_20260331T21:14_UTC.wav", DAY),
        (f"{PREFIX}2026/03/31/a/b/c.wav", DAY),
        ("2026/03/31/a/b.wav", DAY),
        ("2025/01/01/2026/03/31/a/b.wav", DAY),
        (f"{PREFIX}2026/02/30/sub/b.wav", None),
        (f"{PREFIX}12026/03/31/sub/b.wav", None),
        (f"{PREFIX}2026/03/31", None),
    ],
)
def test_the_day_is_that_of_the_folder_at_whatever_depth(key: str, day: date | None) -> None:
    assert date_of(key) == day


def test_a_folder_is_known_by_its_whole_name() -> None:
    assert layout_of(f"MyAnalysis/Voice/2026/03/31/{CONTACT}_analysis_2026-03-31T21:14:16Z.json") is None


@pytest.mark.parametrize("root", ["", "connect/acme/"])
def test_the_places_of_a_contact_hold_all_that_a_bucket_has_of_it(bucket: Bucket, root: str) -> None:
    keys = {key if key.startswith(PREFIX) else root + key for key in KEYS}
    others = {key.replace(CONTACT, f"{CONTACT[:-1]}9") for key in keys} | {
        key.replace("03/31", "03/29") for key in keys
    }
    alike = {key.replace(CONTACT, f"{CONTACT}0") for key in keys}
    for key in keys | others | alike:
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"x")
    listed = {
        item["Key"]
        for place in places_of(CONTACT, PREFIX, [DAY])
        for item in bucket.client.list_objects_v2(Bucket=bucket.name, Prefix=place).get("Contents", [])
    }
    assert listed == keys | alike
    assert {key for key in listed if contact_of(key) == CONTACT} == keys


def test_contact_lens_may_count_a_call_to_the_next_day() -> None:
    places = places_of(CONTACT, PREFIX, [DAY])
    assert f"Analysis/Voice/Redacted/2026/04/01/{CONTACT}" in places
    assert f"Analysis/Voice/2026/03/30/{CONTACT}" in places
    assert len(places) == len(set(places))


@pytest.fixture
def with_patterns(setting: Setting) -> None:
    pattern = {
        "name": "the recorder before Connect",
        "folder": "imported/",
        "file_name": r"(?P<time>[0-9]{14})-(?P<contact_id>[0-9]+)\.wav",
        "time_format": "%Y%m%d%H%M%S",
    }
    setting(KEY_PATTERNS=json.dumps([pattern]))


@pytest.mark.usefixtures("with_patterns")
def test_settings_add_the_layouts_of_imported_recordings() -> None:
    key = "imported/2026/03/31/20260331211416-4711.wav"
    layout = layout_of(key)
    assert layout is not None
    assert layout.name == "the recorder before Connect"
    assert (contact_of(key), time_of(key)) == ("4711", SECOND)
    assert "imported/2026/03/31/4711" not in places_of("4711", PREFIX, [DAY]), "the id does not begin the name"
    assert {"imported/2026/03/31/", f"{PREFIX}imported/2026/03/31/"} <= set(places_of("4711", PREFIX, [DAY]))


@pytest.mark.parametrize(
    ("file_name", "key", "contact"),
    [
        (rf"REC_{ID}_{TIME}_UTC\.wav", f"imported/2026/03/31/REC_{CONTACT}_20260331T21:14_UTC.wav", CONTACT),
        (rf"REC_{ID}_{TIME}_UTC\.wav", f"imported/ivr/2026/03/31/{CONTACT}_20260331T21:14_UTC.wav", CONTACT),
        (r"(?P<contact_id>.+)\.wav", "imported/2026/03/31/4711.wav", "4711"),
        (r"(?P<contact_id>.+)\.wav", f"{PREFIX}2026/03/31/{CONTACT}_20260331T21:14_UTC.wav", CONTACT),
        (r"(?P<contact_id>.+)\.wav", f"{PREFIX}ivr/2026/03/31/{CONTACT}_20260331T21:14_UTC.wav", CONTACT),
        (
            r"(?P<contact_id>.+)\.wav",
            f"elsewhere/2026/03/31/{CONTACT}_call_recording_redacted_2026-03-31T21:14:16Z.wav",
            CONTACT,
        ),
    ],
)
def test_the_folder_decides_between_two_layouts_that_a_name_fits(
    setting: Setting, file_name: str, key: str, contact: str
) -> None:
    pattern = {"name": "other", "folder": "imported/", "file_name": file_name, "time_format": "%Y%m%dT%H:%M"}
    setting(KEY_PATTERNS=json.dumps([pattern]))
    assert contact_of(key) == contact


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ({"file_name": "("}, r"file_name '\(' is not a regular expression"),
        ({"file_name": r".*\.wav"}, r"has no group contact_id: put \(\?P<contact_id>"),
        ({"folder": "/imported"}, "folder '/imported' is not a folder: begin it without a slash"),
        ({"time_format": "%Y%Y"}, "time_format '%Y%Y' is not a format of strptime"),
        ({"tiem_format": "%Y"}, "tiem_format"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused_by_its_name(pattern: dict[str, str], said: str) -> None:
    complete = {"name": "old", "file_name": "(?P<contact_id>.+)", **pattern}
    with pytest.raises(ValidationError, match=said):
        Settings.model_validate({"key_patterns": [complete]})


PARTS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["/", "ivr/", "Analysis/Voice/", "Redacted/", "2026/03/31/", "9999/99/99/", CONTACT, "\n"]),
    st.sampled_from(["_analysis_", "_analysis_redacted_", "_call_recording_redacted_", "_20260331T24:61_UTC.wav"]),
    st.sampled_from(["2026-03-31T21:14:16Z.json", "2026-02-30T25:14:16Z.wav", "_20260331T21:14_UTC.wav"]),
)


@given(st.lists(PARTS, max_size=8).map("".join))
def test_no_key_raises(key: str) -> None:
    contact, moment, layout = contact_of(key), time_of(key), layout_of(key)
    assert contact is None or f"{contact}_" in key
    assert moment is None or (contact is not None and moment.tzinfo is UTC)
    assert layout is None or contact is not None
    assert date_of(key) is None or f"{date_of(key):%m/%d}/" in key


@given(st.sampled_from(sorted(KEYS)), st.text(st.characters(exclude_characters="/_"), min_size=1, max_size=40))
def test_each_contact_is_found_in_its_places(key: str, contact_id: str) -> None:
    of_contact = key.replace(CONTACT, contact_id)
    assert contact_of(of_contact) == contact_id
    assert any(of_contact.startswith(place) for place in places_of(contact_id, PREFIX, [DAY]))


@given(st.text(max_size=20), st.dates())
def test_any_prefix_and_day_have_places(prefix: str, day: date) -> None:
    assert all(CONTACT in place for place in places_of(CONTACT, prefix, [day]))
