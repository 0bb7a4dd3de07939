"""Reports of S3 Batch Operations' *Compute checksum*, joined with the audit table."""

import base64
import csv
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from flows.erase import erase_recordings
from flows.release import release_originals
from recordings.checksums import compare_checksums
from recordings.errors import InvalidRequest
from recordings.keys import contact_of
from tests.bucket import DAY, PREFIX, Bucket, key_of

KEY = key_of(1)
# As the S3 user guide shows them.
FAILED = (
    '"error details: {""failureMessage"":"Task 2845ca0d Internal server error, please retry", ""errorCode"": "500"}"'
)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "6217b0fab0de85c408b4be96aeaca9b195a7daa5.csv"


def lines_of(bucket: Bucket, *, encoded: bool = False, versions: bool = True) -> list[list[str]]:
    """What a job over all versions, or over what is current, reports: the bytes are hashed here as S3 hashes them."""
    listed = bucket.client.list_object_versions(Bucket=bucket.name)["Versions"]
    return [
        [
            bucket.name,
            quote(each["Key"], safe="/") if encoded else each["Key"],
            each["VersionId"] if versions else "",
            *("succeeded", "200", ""),
            message(bucket.body(each["Key"], each["VersionId"])),
        ]
        for each in listed
        if each["Key"].endswith((".wav", ".txt")) and (versions or each["IsLatest"])
    ]


def message(body: bytes, algorithm: str = "SHA256") -> str:
    digest = hashlib.sha256(body)
    told = {
        "checksum_base64": base64.b64encode(digest.digest()).decode(),
        "etag": "3c3c1813042989094598e4b57ecbdc82",
        "checksumAlgorithm": algorithm,
        "checksumType": "FULL_OBJECT",
        "checksum_hex": digest.hexdigest().upper(),
    }
    return json.dumps(told).replace("=", "\\u003d")


def write(report: Path, lines: list[list[str]]) -> None:
    with report.open("w", newline="") as file:
        csv.writer(file).writerows(lines)


@pytest.mark.parametrize("encoded", [False, True])
def test_replacements_and_originals_are_proved(
    bucket: Bucket, archived: dict[str, str], audit_uri: str, report: Path, encoded: bool
) -> None:
    bucket.put(f"notes/{DAY:%Y/%m/%d}/readme.txt", b"not of the table")
    write(report, lines_of(bucket, encoded=encoded))
    found = compare_checksums(report, audit_uri)
    assert (found.intact, found.differing, found.not_computed, found.unknown, found.named) == (6, 0, 0, 1, [])
    assert str(found) == f"{report}: 6 objects intact, 0 differing, 0 resurrected, 0 not computed, 1 not in the table"


def test_without_versions_the_current_ones_are_meant(
    bucket: Bucket, archived: dict[str, str], audit_uri: str, report: Path
) -> None:
    release_originals(bucket=bucket.name, audit_uri=audit_uri, everything=True, grace_days=0, dry_run=False)
    write(report, lines_of(bucket, versions=False))
    assert compare_checksums(report, audit_uri).intact == 3


def test_an_object_that_differs_is_named_with_what_was_expected_and_found(
    bucket: Bucket, archived: dict[str, str], audit_uri: str, report: Path
) -> None:
    lines = lines_of(bucket)
    (line,) = [each for each in lines if each[:3] == [bucket.name, KEY, archived[KEY]]]
    line[-1] = message(b"rotten")
    write(report, lines)
    found = compare_checksums(report, audit_uri)
    expected, rotten = (hashlib.sha256(body).hexdigest() for body in (bucket.body(KEY, archived[KEY]), b"rotten"))
    assert (found.intact, found.differing) == (5, 1)
    path = f"s3://{bucket.name}/{KEY} (version {archived[KEY]})"
    assert found.named == [f"{path}: expected SHA-256 {expected}, found {rotten}"]


@pytest.mark.parametrize("encoded", [False, True])
def test_what_is_there_after_its_destruction_is_resurrected(
    bucket: Bucket, archived: dict[str, str], audit_uri: str, report: Path, encoded: bool
) -> None:
    """Whatever its bytes are, and even if they could not be hashed."""
    was = lines_of(bucket, encoded=encoded)
    where: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False}
    erase_recordings(**where, contact_ids=[contact_of(KEY)], case="2026-GDPR-1")
    bucket.put(KEY, b"brought back")
    again = [line for line in lines_of(bucket, encoded=encoded) if was[2][1] == line[1]]
    write(report, [*was, *again, [*again[0][:3], "failed", "200", "PermanentFailure", "no"]])
    found = compare_checksums(report, audit_uri)
    assert (found.intact, found.resurrected, found.differing, found.not_computed) == (4, 4, 0, 0)
    assert len(found.named) == 4
    assert f"{again[0][2]}): resurrected: run 20" in found.named[2]
    assert found.named[2].endswith(" erased it, and the report has it")


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [("404", "NoSuchKey", "The specified key does not exist."), ("403", "AccessDenied", "Access Denied")],
)
def test_what_a_task_does_not_find_is_not_resurrected(
    bucket: Bucket, archived: dict[str, str], audit_uri: str, report: Path, status: str, code: str, said: str
) -> None:
    """The list of objects is older than the destruction. A role that may not list buckets is told 403."""
    where: dict[str, Any] = {"bucket": bucket.name, "audit_uri": audit_uri, "prefixes": [PREFIX], "dry_run": False}
    erase_recordings(**where, contact_ids=[contact_of(KEY)], case="2026-GDPR-1")
    write(report, [[bucket.name, KEY, archived[KEY], "failed", status, code, said]])
    found = compare_checksums(report, audit_uri)
    assert (found.resurrected, found.not_computed) == (0, 1)
    assert found.named == [f"s3://{bucket.name}/{KEY} (version {archived[KEY]}): the task failed: {said}"]


def test_tasks_that_failed_and_other_checksums_prove_nothing(
    bucket: Bucket, archived: dict[str, str], audit_uri: str, report: Path
) -> None:
    crc = ",".join([bucket.name, KEY, "", "succeeded", "200", "", '"' + message(b"", "CRC32").replace('"', '""') + '"'])
    garbled = f"{bucket.name},{KEY},,succeeded,200,,what?"
    report.write_text("\n".join([crc, garbled, f"{bucket.name},{KEY},,failed,200,PermanentFailure,{FAILED}"]))
    found = compare_checksums(report, audit_uri)
    assert (found.intact, found.not_computed) == (0, 3)
    assert "ask for SHA256 of the full object" in found.named[0]
    assert "its message is not understood: what?" in found.named[1]
    assert "the task failed: error details" in found.named[2]


def test_what_is_no_report_is_refused(archived: dict[str, str], audit_uri: str, report: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read: No such file or directory; copy it here first"):
        compare_checksums(report, audit_uri)
    report.write_text('{"Format": "Report_CSV_20180820"}\n')
    with pytest.raises(InvalidRequest, match="line 1 has 1 field, not 7: give a CSV file of the results folder"):
        compare_checksums(report, audit_uri)
    with pytest.raises(InvalidRequest, match="holds no audit table"):
        compare_checksums(report, str(tmp_path / "lost"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (gzip.compress(b"recordings,key,,succeeded,200,,{}"), "is not text: unpack it if it is compressed"),
        (b"a,b,,succeeded,200,," + b"x" * 200_000, "is not CSV: field larger than field limit"),
        (b"bucket,key\n", "line 1 has 2 fields, not 7"),
    ],
    ids=["compressed", "a line without an end", "too few columns"],
)
def test_a_damaged_report_is_named(
    archived: dict[str, str], audit_uri: str, report: Path, data: bytes, said: str
) -> None:
    report.write_bytes(data)
    with pytest.raises(InvalidRequest, match=f"{report.name}', {said}.*: give a CSV file of the results folder"):
        compare_checksums(report, audit_uri)


@pytest.mark.parametrize("checksum", ["", "AAAA", "what?" * 9, None, 7])
def test_what_is_no_sha_256_proves_nothing(
    bucket: Bucket, archived: dict[str, str], audit_uri: str, report: Path, checksum: Any
) -> None:
    told = {**json.loads(message(b"")), "checksum_base64": checksum}
    write(report, [[bucket.name, KEY, "", "succeeded", "200", "", json.dumps(told)]])
    found = compare_checksums(report, audit_uri)
    assert (found.not_computed, found.differing) == (1, 0)
    assert "its message is not understood" in found.named[0]


def test_a_mark_of_the_encoding_belongs_to_no_bucket(
    bucket: Bucket, archived: dict[str, str], audit_uri: str, report: Path
) -> None:
    """As spreadsheets write it at the beginning of a file."""
    write(report, lines_of(bucket))
    report.write_bytes(b"\xef\xbb\xbf" + report.read_bytes())
    assert compare_checksums(report, audit_uri).intact == 6
