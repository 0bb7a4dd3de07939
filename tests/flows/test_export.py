"""Evidence is handed over as a bag that any BagIt tool accepts, with the bytes that the audit table says."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import bagit
import pandas as pd
import pytest

from demo.servers import Server
from flows.erase import erase_recordings
from flows.export import export_recordings
from flows.hold import hold_recordings
from flows.release import release_originals
from flows.restore import restore_recordings
from recordings import keys
from recordings.errors import InvalidRequest
from recordings.handover.export import ExportFailed
from recordings.keys import contact_of
from recordings.table.evidence import verify_audit
from recordings.table.files import LocalFiles
from recordings.table.reading import read_audit
from recordings.table.records import Kind, open_records
from recordings.table.rows import Status
from tests.bucket import DAY, ON_BOTH_IN_FULL, PREFIX, Bucket, key_of
from tests.faults import ErrorProxy, S3Error, faulty_proxy
from tests.fixtures import Export, MakeCall, Setting

pytestmark = [pytest.mark.usefixtures("prefect"), ON_BOTH_IN_FULL]
KEY = key_of(1)
CONTACT = str(contact_of(KEY))
UNKNOWN = key_of(9)  # no run has archived it


@pytest.fixture
def export(bucket: Bucket, audit_uri: str, tmp_path: Path) -> Export:
    to_bag = partial(export_recordings, destination_uri=str(tmp_path / "bag"), dry_run=False)
    return partial(to_bag, bucket=bucket.name, audit_uri=audit_uri)


def index_of(bag: Path) -> dict[str, dict[str, str]]:
    with (bag / "data" / "index.csv").open(newline="") as file:
        return {line["key"]: line for line in csv.DictReader(file)}


def test_a_contact_is_handed_over_with_all_that_is_known_of_it(
    bucket: Bucket, originals: dict[str, str], export: Export, audit_uri: str, tmp_path: Path
) -> None:
    before = bucket.snapshot()
    summary = export(contact_ids=[CONTACT], case="4711")
    assert (summary.recordings, summary.problems) == (1, ())
    bag = bagit.Bag(str(tmp_path / "bag"))
    bag.validate()
    assert bag.info["External-Identifier"] == summary.run_id
    assert bag.info["External-Description"] == f"contacts {CONTACT}; case 4711"
    data = tmp_path / "bag" / "data"
    (line,) = index_of(tmp_path / "bag").values()
    assert (data / line["file"]).read_bytes() == bucket.body(KEY)
    assert line["sha256_as_read"] == line["sha256_in_table"] == hashlib.sha256(bucket.body(KEY)).hexdigest()
    assert (line["which"], line["contact_id"], line["key"]) == ("replacement", CONTACT, KEY)
    assert ":" not in line["file"], "Windows has no such files"
    rows = read_audit(audit_uri).query("key == @KEY")
    assert pd.read_parquet(data / "audit.parquet")["sha256_before"].tolist() == rows["sha256_before"].tolist()
    assert len(pd.read_csv(data / "audit.csv")) == len(rows) == 1
    assert pd.read_csv(data / "fidelity.csv")["snr_db"].tolist() == pytest.approx(rows["snr_db"].tolist())
    provenance = pd.read_csv(data / "provenance.csv").set_index("name")["value"]
    metadata = bucket.get(KEY)["Metadata"]
    assert {name: provenance[f"x-amz-meta-{name}"] for name in metadata} == metadata
    assert "case 4711" in (data / "README.txt").read_text()
    assert bucket.snapshot() == before


def test_what_contact_lens_wrote_goes_into_the_bag(
    bucket: Bucket,
    originals: dict[str, str],
    export: Export,
    audit_uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Transcripts, redacted ones too, of the day before or after; not those of another contact whose id begins alike.

    One that a case holds is handed over in the version that the case holds, though it is hidden since.
    """
    other = str(contact_of(key_of(0)))
    lens = {
        f"Analysis/Voice/2026/01/12/{CONTACT}_analysis_2026-01-12T00:01:00Z.json": b"{}",
        f"Analysis/Voice/Redacted/2026/01/13/{CONTACT}_analysis_redacted_2026-01-13T00:01:00Z.json": b"[]",
        f"connect/Analysis/Voice/Redacted/2026/01/11/{CONTACT}_call_recording_redacted_2026-01-11T23:59:00Z.wav": b"R",
    }
    others = f"Analysis/Voice/2026/01/12/{CONTACT}0_analysis_2026-01-12T00:01:00Z.json"
    for key, body in {**lens, others: b"of another"}.items():
        bucket.put(key, body)
    summary = export(contact_ids=[CONTACT, other])
    assert (summary.recordings, summary.analyses, summary.without_analysis) == (2, 3, 1)
    assert "2 recordings and 3 objects of Contact Lens" in str(summary)
    assert "Contact Lens has no files for 1 contact" in str(summary)
    bag = tmp_path / "bag"
    index = index_of(bag)
    assert {key: (bag / "data" / index[key]["file"]).read_bytes() for key in lens} == lens
    assert sorted(index[key]["which"] for key in lens) == ["analysis", "redacted-analysis", "redacted-recording"]
    assert {index[key]["sha256_as_read"] for key in lens} == {
        hashlib.sha256(each).hexdigest() for each in lens.values()
    }
    assert set(index) == {*lens, KEY, key_of(0)}
    assert f"contact {other}: Contact Lens has no files" in (bag / "data" / "missing.txt").read_text()
    bagit.Bag(str(bag)).validate()
    monkeypatch.setattr(keys, "_FEW_CONTACTS", 0)  # whole days are listed then
    export(contact_ids=[CONTACT, other], destination_uri=str(tmp_path / "listed"))
    assert index_of(tmp_path / "listed").keys() == index.keys()
    analysis = next(iter(lens))
    hold_recordings(
        bucket=bucket.name, audit_uri=audit_uri, prefixes=[PREFIX], dry_run=False, case="A", keys=[analysis]
    )
    bucket.client.delete_object(Bucket=bucket.name, Key=analysis)
    held = export(case="A", destination_uri=str(tmp_path / "held"))
    assert (held.recordings, held.analyses, held.problems) == (0, 2, ()), "and what lies beside it"
    assert (tmp_path / "held" / "data" / index_of(tmp_path / "held")[analysis]["file"]).read_bytes() == b"{}"


def test_recordings_of_a_contact_that_no_run_has_archived_go_into_the_bag(
    bucket: Bucket, originals: dict[str, str], export: Export, tmp_path: Path
) -> None:
    """Of the days and prefixes asked for, and not if keys select."""
    leg = f"{PREFIX}2026/01/12/{CONTACT}_20260112T23:59_UTC.wav"
    of_ivr = f"{PREFIX}ivr/2026/01/11/{CONTACT}_20260111T23:59_UTC.wav"
    others = f"{PREFIX}2026/01/12/{CONTACT}0_20260112T23:59_UTC.wav"
    for key in (leg, of_ivr, others):
        bucket.put(key, key.encode())
    assert export(contact_ids=[CONTACT], case="4711").recordings == 3
    index = index_of(tmp_path / "bag")
    assert {key: line["which"] for key, line in index.items()} == {
        KEY: "replacement",
        leg: "original",
        of_ivr: "original",
    }
    assert (tmp_path / "bag" / "data" / index[leg]["file"]).read_bytes() == leg.encode()
    dry: dict[str, Any] = {"dry_run": True, "destination_uri": str(tmp_path / "n")}
    assert export(contact_ids=[CONTACT], start_date=DAY, end_date=DAY, **dry).recordings == 2
    assert export(contact_ids=[CONTACT], prefixes=[f"{PREFIX}2026/"], **dry).recordings == 2
    assert export(contact_ids=[CONTACT], keys=[KEY], **dry).recordings == 1
    assert export(keys=[KEY], **dry).recordings == 1
    assert export(contact_ids=[CONTACT], start_date=DAY, version="original", **dry).recordings == 2


def test_records_say_who_was_handed_what(
    bucket: Bucket, originals: dict[str, str], export: Export, audit_uri: str, tmp_path: Path
) -> None:
    before = set(os.listdir(f"{audit_uri}/_runs"))
    export(keys=[KEY], dry_run=True)
    assert set(os.listdir(f"{audit_uri}/_runs")) == before
    bucket.put(f"{PREFIX}gone.wav", b"1")
    with pytest.raises(ExportFailed) as failed:
        export(keys=[KEY, f"{PREFIX}gone.wav"], case="4711")
    run_id = failed.value.summary.run_id
    assert set(os.listdir(f"{audit_uri}/_runs")) - before == {f"{run_id}.start.json", f"{run_id}.end.json"}
    files = LocalFiles(Path(audit_uri))
    end = json.loads(files.read(f"_runs/{run_id}.end.json"))
    assert (end["run"]["kind"], end["run"]["case"], end["destination"]) == ("export", "4711", str(tmp_path / "bag"))
    (handed,) = end["handed"]
    assert (handed["key"], handed["sha256"]) == (KEY, hashlib.sha256(bucket.body(KEY)).hexdigest())
    assert handed["version_id"] == bucket.get(KEY)["VersionId"]
    manifest = (tmp_path / "bag" / "manifest-sha256.txt").read_bytes()
    assert end["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()
    start = json.loads(files.read(f"_runs/{run_id}.start.json"))
    assert start["circumstances"]["flow_run_id"].replace("-", "").endswith(run_id[-8:])
    verification = verify_audit(audit_uri)
    assert (verification.discrepancies, verification.runs) == ((), 2)
    assert [each.kind for each in open_records(files)] == []


def test_an_original_is_handed_over_byte_for_byte(
    bucket: Bucket, originals: dict[str, str], export: Export, tmp_path: Path
) -> None:
    export(keys=[KEY], version="original")
    (line,) = index_of(tmp_path / "bag").values()
    assert (line["which"], line["version_id"]) == ("original", originals[KEY])
    assert (tmp_path / "bag" / "data" / line["file"]).read_bytes() == bucket.body(KEY, originals[KEY])


def test_as_pcm_every_program_plays_it_and_it_is_what_ffmpeg_decodes(
    bucket: Bucket, originals: dict[str, str], export: Export, tmp_path: Path
) -> None:
    from imageio_ffmpeg import get_ffmpeg_exe

    export(keys=[KEY], as_pcm=True)
    (line,) = index_of(tmp_path / "bag").values()
    path, small = tmp_path / "bag" / "data" / line["file"], tmp_path / "small.wav"
    assert line["expanded_to_pcm"] == "True"
    assert line["sha256_as_read"] == hashlib.sha256(bucket.body(KEY)).hexdigest()
    small.write_bytes(bucket.body(KEY))
    decoded = [
        subprocess.run(
            [get_ffmpeg_exe(), "-v", "error", "-i", str(each), "-f", "s16le", "-"], capture_output=True, check=True
        ).stdout
        for each in (path, small)
    ]
    assert decoded[0] == decoded[1] == path.read_bytes()[44:]
    assert len(decoded[0]) == 2 * 8000, "a second, mono"


def test_a_bag_in_s3_is_whole_and_never_changed(
    bucket: Bucket, originals: dict[str, str], export: Export, tmp_path: Path
) -> None:
    destination = f"s3://{bucket.name}/handed/case-1"
    assert export(start_date=DAY, destination_uri=destination).recordings == 3
    for item in bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="handed/")["Contents"]:
        path = tmp_path / item["Key"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bucket.body(item["Key"]))
    bag = tmp_path / "handed" / "case-1"
    bagit.Bag(str(bag)).validate()
    assert {key: line["key"] for key, line in index_of(bag).items()} == {key: key for key in originals}
    with pytest.raises(InvalidRequest, match="exists already, and no run changes a bag: name a new folder"):
        export(start_date=DAY, destination_uri=destination)


def test_a_dry_run_says_the_cost_first_and_writes_nothing(
    bucket: Bucket, originals: dict[str, str], export: Export, tmp_path: Path
) -> None:
    summary = export(start_date=DAY, end_date=DAY, dry_run=True)
    size_bytes = sum(len(bucket.body(key)) for key in originals)
    assert (summary.recordings, summary.size_bytes) == (3, size_bytes)
    assert summary.usd == pytest.approx(3 * 0.01 / 1000 + size_bytes / 1024**3 * 0.03)
    assert "reading them would cost less than 1 cent at list prices; run it again with dry_run=False" in str(summary)
    assert not (tmp_path / "bag").exists()


def test_what_cannot_be_handed_over_is_named_and_the_others_are(
    bucket: Bucket, originals: dict[str, str], export: Export, audit_uri: str, tmp_path: Path
) -> None:
    """Deleted, overwritten under the same version's name, or never there."""
    gone, unknown = key_of(0), f"{PREFIX}unknown.wav"
    for version in bucket.versions(gone):
        bucket.client.delete_object(Bucket=bucket.name, Key=gone, VersionId=version["VersionId"])
    with pytest.raises(ExportFailed) as failed:
        export(keys=[gone, KEY, unknown], contact_ids=None)
    problems = failed.value.summary.problems
    assert failed.value.summary.recordings == 1
    assert problems[0] == f"key {unknown}: the audit table has no row for it in this selection"
    assert problems[1].startswith(f"{gone}: changed: s3://{bucket.name}/{gone} (version ")
    bagit.Bag(str(tmp_path / "bag")).validate()
    assert list(index_of(tmp_path / "bag")) == [KEY]


def test_bytes_that_the_table_does_not_know_are_no_evidence(
    bucket: Bucket, originals: dict[str, str], export: Export, audit_uri: str, tmp_path: Path
) -> None:
    from recordings.table.parquet import write_rows
    from recordings.table.reading import rows_of

    (row,) = (row for row in rows_of(read_audit(audit_uri)) if row.key == KEY)
    assert row.state_at
    forged = replace(row, run_id="r2", sha256_after="0" * 64, state_at=row.state_at + timedelta(seconds=1))
    write_rows(LocalFiles(Path(audit_uri)), [forged], run_id="r2", number=1)
    with pytest.raises(ExportFailed, match=f"expected SHA-256 {'0' * 64}, found {row.sha256_after}"):
        export(contact_ids=[CONTACT])
    bagit.Bag(str(tmp_path / "bag")).validate()
    assert not list((tmp_path / "bag").rglob("*.wav"))


def test_released_and_restored_recordings(
    bucket: Bucket, originals: dict[str, str], export: Export, audit_uri: str, tmp_path: Path
) -> None:
    place: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "dry_run": False}
    restore_recordings(**place, contact_ids=[CONTACT])
    release_originals(**place, everything=True, grace_days=0)
    assert export(start_date=DAY).recordings == 3
    assert {key: line["which"] for key, line in index_of(tmp_path / "bag").items()} == {
        key: "original" if key == KEY else "replacement" for key in originals
    }
    with pytest.raises(ExportFailed, match="released its original; version=replacement hands over what is left"):
        export(start_date=DAY, version="original", destination_uri=str(tmp_path / "originals"))
    assert list(index_of(tmp_path / "originals")) == [KEY]


def test_what_no_run_could_archive_is_handed_over_as_it_is(
    bucket: Bucket, originals: dict[str, str], export: Export, audit_uri: str, a_call: MakeCall, tmp_path: Path
) -> None:
    from flows.archive import archive_recordings

    bucket.put(key_of(9), truncated := a_call(9)[:-99])
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    export(keys=[key_of(9)])
    (line,) = index_of(tmp_path / "bag").values()
    assert (tmp_path / "bag" / "data" / line["file"]).read_bytes() == truncated


def test_what_was_overwritten_since_a_run_left_it_alone_is_not_handed_over(
    bucket: Bucket, originals: dict[str, str], export: Export, audit_uri: str, tmp_path: Path
) -> None:
    from flows.archive import archive_recordings

    bucket.put(UNKNOWN, b"not WAV")
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    bucket.put(UNKNOWN, b"other bytes")
    with pytest.raises(ExportFailed, match=f"{UNKNOWN}: changed: "):
        export(keys=[UNKNOWN])
    assert index_of(tmp_path / "bag") == {}


def test_what_a_case_holds_is_handed_over_whatever_later_runs_say_of_it(
    bucket: Bucket, originals: dict[str, str], export: Export, audit_uri: str, a_call: MakeCall, tmp_path: Path
) -> None:
    """An erasure leaves the analysis, and an archiving run the recording, which somebody has overwritten since."""
    from flows.archive import archive_recordings

    analysis = f"Analysis/Voice/2026/01/12/{contact_of(UNKNOWN)}_analysis_2026-01-12T00:01:00Z.json"
    bucket.put(UNKNOWN, unknown := a_call(9))
    bucket.put(analysis, b"{}")
    place: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False}
    hold_recordings(**place, case="A", keys=[UNKNOWN, analysis])
    assert erase_recordings(**place, case="GDPR-1", keys=[analysis]).reasons == {"held": 1}
    bucket.put(UNKNOWN, a_call(10))
    archive_recordings(bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=DAY, end_date=DAY)
    summary = export(case="A")
    assert (summary.recordings, summary.analyses, summary.problems) == (1, 1, ())
    index, data = index_of(tmp_path / "bag"), tmp_path / "bag" / "data"
    assert (index[analysis]["which"], index[analysis]["file"].partition("/")[0]) == ("analysis", "analyses")
    assert (data / index[UNKNOWN]["file"]).read_bytes() == unknown
    assert "has no files" not in (data / "missing.txt").read_text()


def test_what_no_row_names_a_version_of_is_missing(
    bucket: Bucket, originals: dict[str, str], export: Export, audit_uri: str, tmp_path: Path
) -> None:
    """As of a row of an erasure that has left the object alone."""
    bucket.put(UNKNOWN, b"held by hand", Tagging="legal-hold=")
    place: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False}
    assert erase_recordings(**place, case="GDPR-1", keys=[UNKNOWN]).reasons == {"held": 1}
    with pytest.raises(ExportFailed, match=f"{UNKNOWN}: no row says which version of it is meant"):
        export(keys=[KEY, UNKNOWN])
    assert list(index_of(tmp_path / "bag")) == [KEY]


def test_a_case_alone_hands_over_what_it_holds_now(
    bucket: Bucket, originals: dict[str, str], export: Export, audit_uri: str, a_call: MakeCall, tmp_path: Path
) -> None:
    """Also what was held before any run archived it; neither what only another case holds nor what was freed."""
    bucket.put(UNKNOWN, unknown := a_call(9))
    hold: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False}
    hold_recordings(**hold, case="A", keys=[*originals, UNKNOWN])
    hold_recordings(**hold, case="B", keys=[*originals])
    hold_recordings(**hold, case="A", keys=[key_of(0)], lift=True)
    bucket.put(UNKNOWN, b"written after the hold")
    summary = export(case=" A ")
    index = index_of(tmp_path / "bag")
    assert (summary.problems, sorted(index)) == ((), sorted({*originals, UNKNOWN} - {key_of(0)}))
    assert (tmp_path / "bag" / "data" / index[UNKNOWN]["file"]).read_bytes() == unknown
    assert bagit.Bag(str(tmp_path / "bag")).info["External-Description"] == "all that case A holds"
    below = export(case="A", prefixes=[PREFIX], dry_run=True, destination_uri=str(tmp_path / "n"))
    assert below.recordings == 3, "prefixes narrow what the case holds: they select nothing beside it"
    with pytest.raises(InvalidRequest, match="case A holds nothing below connect/other/: leave prefixes out"):
        export(case="A", prefixes=["connect/other"], destination_uri=str(tmp_path / "n"))
    labelled = export(case="A", keys=[key_of(0)], destination_uri=str(tmp_path / "labelled"))
    assert labelled.recordings == 1, "beside a selection, the case is a label"


@pytest.mark.parametrize("case", ["B", "C"])
def test_a_case_that_holds_nothing_hands_over_nothing(
    bucket: Bucket, originals: dict[str, str], export: Export, audit_uri: str, tmp_path: Path, case: str
) -> None:
    hold: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False}
    for lift in (False, True):
        hold_recordings(**hold, case="B", keys=[KEY], lift=lift)
    said = {
        "B": "case B no longer holds anything: of 1 object that it held, the last was freed by run 20",
        "C": "case is 'C': the audit table has no hold of a case of this name; it has B, so nothing was read: give con",
    }
    with pytest.raises(InvalidRequest, match=said[case]):
        export(case=case)
    assert not (tmp_path / "bag").exists()


def test_a_hold_whose_run_died_before_its_rows_counts(
    bucket: Bucket, originals: dict[str, str], export: Export, audit_uri: str, tmp_path: Path
) -> None:
    from recordings.holds import reason_of
    from recordings.jobs.engine.intents import set_out
    from recordings.jobs.engine.job import batches_of, plan_job
    from recordings.jobs.engine.object_search import rows_of_keys

    job = plan_job(Kind.HOLD, bucket=bucket.name, audit_uri=audit_uri, keys=[KEY], case="A")
    rows = [replace(row, status=Status.HELD) for row in rows_of_keys([KEY], job, reason_of("A"))]
    set_out(LocalFiles(Path(audit_uri)), job, batches_of(rows)[0], rows)
    assert export(case="A").recordings == 1
    assert list(index_of(tmp_path / "bag")) == [KEY]


def test_what_was_erased_is_named_and_its_certificate_handed_over(
    bucket: Bucket, originals: dict[str, str], export: Export, audit_uri: str, tmp_path: Path
) -> None:
    place: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX]}
    erase_recordings(**place, contact_ids=[CONTACT], case="2026-GDPR-1", dry_run=False)
    with pytest.raises(ExportFailed, match=f"{KEY}: run 20.* erased it, so no version is left"):
        export(keys=sorted(originals))
    rows = pd.read_csv(tmp_path / "bag" / "data" / "audit.csv")
    assert sorted(rows[rows["key"] == KEY]["status"]) == ["archived", "erased"]
    assert pd.read_parquet(tmp_path / "bag" / "data" / "audit.parquet")["key"].tolist() == rows["key"].tolist()
    bucket.put(KEY, b"brought back")
    with pytest.raises(ExportFailed, match=f"{KEY}: run 20.* erased it, so no version is left"):
        export(contact_ids=[CONTACT], destination_uri=str(tmp_path / "again"))
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "nothing is selected, so nothing was read: give contact_ids"),
        ({"contact_ids": []}, "contact_ids is an empty list"),
        ({"keys": [" "]}, "keys has an empty entry"),
        ({"keys": ["k"], "version": "both"}, "version is 'both': choose one of replacement, original"),
        ({"keys": ["k"], "destination_uri": ""}, "destination_uri is empty"),
        (
            {"keys": ["k"], "destination_uri": "s3://bucket-only"},
            "names no folder: give one, such as s3://bucket-only/case-1",
        ),
        ({"keys": ["k"], "destination_uri": "https://x/y"}, "is neither s3://bucket/prefix nor a local folder"),
        ({"keys": ["k"], "audit_uri": "lost"}, "holds no audit table"),
        ({"keys": ["k"], "destination_uri": "/etc/hostname/bag"}, "/etc/hostname is not a folder that this run may"),
    ],
)
def test_mistakes_are_refused_before_anything_is_read(
    originals: dict[str, str], export: Export, changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    if changes.get("audit_uri"):
        changes = {**changes, "audit_uri": str(tmp_path / "lost")}
    with pytest.raises(InvalidRequest, match=said):
        export(**changes)
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize("below", ["", "/case-1", "/a/b"])
def test_no_bag_lies_where_runs_would_take_it_for_recordings(
    bucket: Bucket, originals: dict[str, str], export: Export, below: str
) -> None:
    before = bucket.snapshot()
    with pytest.raises(InvalidRequest, match="lies in the folder of a day of recordings"):
        export(keys=[KEY], destination_uri=f"s3://{bucket.name}/{PREFIX}{DAY:%Y/%m/%d}{below}")
    assert bucket.snapshot() == before


def test_a_home_folder_is_written_out(
    originals: dict[str, str], export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    summary = export(keys=[KEY], destination_uri="~/bags/case-1")
    assert summary.destination == str(tmp_path / "bags" / "case-1")
    bagit.Bag(summary.destination).validate()


def test_one_object_that_never_arrives_costs_itself(
    originals: dict[str, str],
    export: Export,
    tmp_path: Path,
    s3: Server,
    setting: Setting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setting(PATIENCE_S=0, MAX_ATTEMPTS=1)
    slow_down = S3Error(status=503, code="SlowDown", message="Please reduce your request rate.")
    proxy = ErrorProxy(s3.url, slow_down, lambda asked: asked.operation == "GetObject" and asked.key == KEY)
    with faulty_proxy(proxy) as address, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(ExportFailed, match="SlowDown"):
            export(start_date=DAY)
    bagit.Bag(str(tmp_path / "bag")).validate()
    assert set(index_of(tmp_path / "bag")) == set(originals) - {KEY}
    assert f"{KEY}: " in (tmp_path / "bag" / "data" / "missing.txt").read_text()


def test_any_name_of_an_object_makes_a_file_of_its_own(
    bucket: Bucket, originals: dict[str, str], export: Export, audit_uri: str, tmp_path: Path
) -> None:
    """Longer than file systems take, with folders that mean others, or different in nothing that they can tell.

    Also one that is a folder of another, and one that another would be renamed to.
    """
    names = [
        f"notes/{'long' * 100}.txt",
        "notes/./a.txt",
        "notes/a.txt",
        "notes/../a.txt",
        "notes//A.TXT",
        "a:b",
        "a_b",
        "a:b-4",  # the fourth key in order, a_b, would be renamed to this
        "odd",
        "ODD/1",
        "odd/1",
    ]
    for number, name in enumerate(names):
        bucket.put(name, f"{number}".encode())
    hold: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False}
    hold_recordings(**hold, case="A", keys=names)
    assert export(case="A").problems == ()
    index = index_of(tmp_path / "bag")
    found = {key: (tmp_path / "bag" / "data" / line["file"]).read_text() for key, line in index.items()}
    assert found == {name: str(number) for number, name in enumerate(names)}
    bagit.Bag(str(tmp_path / "bag")).validate()


def test_a_file_that_this_machine_cannot_write_costs_its_object(
    bucket: Bucket, originals: dict[str, str], export: Export, audit_uri: str, tmp_path: Path
) -> None:
    """Its path is longer than Linux takes; those of the others are not."""
    bucket.put(long := "/".join(["long" * 40] * 6), b"1")
    bucket.put("short", b"2")
    hold: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False}
    hold_recordings(**hold, case="A", keys=[long, "short"])
    deep = tmp_path.joinpath(*["deep" * 50] * ((3800 - len(str(tmp_path))) // 201))
    with pytest.raises(ExportFailed, match=f"{long}: File name too long"):
        export(case="A", destination_uri=str(deep / "bag"))
    bagit.Bag(str(deep / "bag")).validate()
    assert list(index_of(deep / "bag")) == ["short"]


def test_an_export_that_fails_leaves_no_half_a_bag(
    bucket: Bucket, originals: dict[str, str], export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where bagit is not installed."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(OSError, match="bagit could not make a bag"):
        export(keys=[KEY])
    assert [each.name for each in tmp_path.iterdir() if "bag" in each.name] == []
