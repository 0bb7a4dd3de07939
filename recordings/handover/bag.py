"""The bag: a folder with the audio, the rows and figures about it, and a checksum of each file (RFC 8493)."""

import csv
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any

import bagit  # type: ignore[import-untyped]  # has no stubs

from recordings.conversion.expand import expand
from recordings.errors import RecordingError, StoreRefused, StoreUnavailable, Unproven
from recordings.handover.choose import Chosen
from recordings.handover.export import Export
from recordings.handover.item import Item
from recordings.pool import Pool
from recordings.profiles import PROFILES
from recordings.retrying import retrying
from recordings.s3.objects import StoredObject
from recordings.s3.store import Body, Store
from recordings.table.rows import MEASURED

_LONGEST_NAME = 200  # of a file or folder; most file systems take 255 bytes
_UNSAFE = re.compile(r"[^A-Za-z0-9/._-]")  # some file system refuses these, as Windows does a colon
_FIDELITY = (*MEASURED, "duration_before_s", "duration_after_s")
_SMALL = {each.codec for each in PROFILES.values()}
_README = """\
Recordings handed over from bucket {bucket} by run {run_id}{case}.
Selection: {selection}.

audio/          the recordings{pcm}
analyses/       the files of Contact Lens about the same contacts: transcripts and analyses, including redacted ones
index.csv       for each of these files: its key, version and SHA-256 in the bucket, and what it is
missing.txt     what was asked for but is not in this bag, and the contacts for which Contact Lens has no files
provenance.csv  the headers and metadata of each object in the bucket, including the original that it was made from
fidelity.csv    how faithful each small recording is to its original, as measured when the recording was made
audit.parquet   every row of the audit table about what was selected, in this bag or not, such as certificates of
                destruction; audit.csv has the same rows

The manifest beside data/ has the SHA-256 of each file. Any BagIt tool can check that no file is missing or changed:
bagit.py --validate <the folder that contains data/>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """An object in the bag."""

    item: Item
    file: str  # its path below data/
    stored: StoredObject
    sha256_read: str  # of the object, hex
    is_expanded: bool

    @property
    def record(self) -> Mapping[str, Any]:
        """What the end record says of it."""
        named = {"key": self.item.row.key, "version_id": self.stored.version_id, "sha256": self.sha256_read}
        return {**named, "what": str(self.item.what), "file": self.file}


def fill(folder: Path, store: Store, export: Export, chosen: Chosen, pool: Pool) -> tuple[list[Handed], list[str]]:
    """Write the files of the bag; returns the objects in it, and a sentence for each that is not."""
    folder.mkdir(parents=True)
    named = list(zip(chosen.items, _names(chosen.items), strict=True))
    got = pool.map(lambda each: _fetched(folder, store, export, each), named)
    handed = [each for each in got if isinstance(each, Handed)]
    _write_csv(folder / "index.csv", map(_index_line, handed))
    _write_csv(folder / "provenance.csv", (line for each in handed for line in _provenance_lines(each)))
    _write_csv(folder / "fidelity.csv", (_fidelity_line(each) for each in handed if not each.item.is_of_contact_lens))
    chosen.rows.to_parquet(folder / "audit.parquet", index=False)
    chosen.rows.to_csv(folder / "audit.csv", index=False)
    left = [each for each in got if isinstance(each, str)]
    (folder / "missing.txt").write_text("".join(f"{each}\n" for each in _missing(chosen, left)), encoding="utf-8")
    (folder / "README.txt").write_text(_readme(export), encoding="utf-8")
    return handed, left


def seal(folder: Path, export: Export) -> None:
    """Make the folder a bag, and prove it. bagit changes the working directory, so that it runs in its own process."""
    about = f"{export.selection}{f'; case {export.case}' if export.case and not export.is_by_case else ''}"
    said = ["--external-identifier", export.run_id, "--external-description", about]
    command = [sys.executable, "-m", "bagit", "--quiet", "--sha256", *said, str(folder)]
    made = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 (no shell, and words of ours come first)
    if made.returncode:
        raise OSError(f"bagit could not make a bag of {folder}: {made.stderr.strip()}")
    bagit.Bag(str(folder)).validate()


def digest(folder: Path) -> str:
    """The SHA-256 of the bag's manifest, and so of all that it lists: another bag has another one."""
    return hashlib.sha256((folder / "manifest-sha256.txt").read_bytes()).hexdigest()


def bagged(folder: Path) -> Iterator[Path]:
    """The bag's files in the order in which to copy them: what makes the folder a bag comes last."""
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    return iter(sorted(files, key=lambda each: (each.parent == folder, each.name == "bagit.txt")))


def _missing(chosen: Chosen, left: Sequence[str]) -> Iterator[str]:
    yield from (*chosen.problems, *left)
    if chosen.without_analysis is None:
        yield "files of Contact Lens: not looked for; select by contacts, keys or a case to include them"
    yield from (f"contact {each}: Contact Lens has no files" for each in chosen.without_analysis or ())


def _names(items: Sequence[Item]) -> Iterator[str]:
    """A file for each item, none of which is also a folder: some file systems do not tell capitals from small ones."""
    wished = [_name(item) for item in items]
    taken = {str(folder).lower() for name in wished for folder in PurePosixPath(name).parents}
    for number, name in enumerate(wished, start=1):
        names = chain([name], (f"{name}-{more}" for more in count(number)))
        free = next(each for each in names if each.lower() not in taken)
        taken.add(free.lower())
        yield free


def _name(item: Item) -> str:
    folder = "audio" if item.row.key.lower().endswith(".wav") or not item.is_of_contact_lens else "analyses"
    safe = _UNSAFE.sub("_", item.row.key).replace("..", "__").strip("/")
    return "/".join([folder, *(part[-_LONGEST_NAME:] for part in safe.split("/") if part not in ("", "."))])


def _fetched(folder: Path, store: Store, export: Export, named: tuple[Item, str]) -> Handed | str:
    item, name = named
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return retrying()(_fetch, path, name, store, export, item)
    except (RecordingError, StoreRefused, StoreUnavailable, OSError) as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return f"{item.row.key}: {error.strerror if isinstance(error, OSError) else error}"


def _fetch(path: Path, name: str, store: Store, export: Export, item: Item) -> Handed:
    """Raises Unproven or Changed where the bytes are not those that the table says: they are no evidence then."""
    is_expanded = export.as_pcm and item.side.codec in _SMALL
    etag = None if item.side.version or item.side.sha256 else item.side.etag  # all that a listing told
    read = store.read(item.row.key, if_match=etag, version_id=item.side.version)
    with read as (stored, body), path.open("wb") as out:
        sha256 = expand(body, stored.size_bytes, out) if is_expanded else _copy(body, out)
    if item.side.sha256 not in (None, sha256):
        place = f"s3://{item.row.bucket}/{item.row.key}"
        raise Unproven("checksum-differs", f"{place}: expected SHA-256 {item.side.sha256}, found {sha256}")
    return Handed(item=item, file=name, stored=stored, sha256_read=sha256, is_expanded=is_expanded)


def _copy(body: Body, out: Any) -> str:
    digest = hashlib.sha256()
    for block in body.blocks():
        digest.update(block)
        out.write(block)
    return digest.hexdigest()


def _index_line(each: Handed) -> Mapping[str, Any]:
    row = each.item.row
    return {
        "file": each.file,
        "which": each.item.what,
        "expanded_to_pcm": each.is_expanded,
        "contact_id": row.contact_id,
        "recording_date": row.recording_date,
        "bucket": row.bucket,
        "key": row.key,
        "version_id": each.stored.version_id,
        "size_bytes": each.stored.size_bytes,
        "sha256_in_table": each.item.side.sha256,
        "sha256_as_read": each.sha256_read,
    }


def _provenance_lines(each: Handed) -> Iterator[Mapping[str, Any]]:
    stored = each.stored
    said = {
        "etag": stored.etag,
        "storage_class": stored.storage_class,
        "last_modified": stored.last_modified.isoformat(),
        "content_type": stored.content_type,
        "legal_hold": stored.legal_hold,
        "locked_until": stored.locked_until,
        **{f"x-amz-meta-{name}": value for name, value in sorted(stored.metadata.items())},
    }
    return ({"file": each.file, "name": name, "value": value} for name, value in said.items())


def _fidelity_line(each: Handed) -> Mapping[str, Any]:
    row = each.item.row
    return {"file": each.file, "profile": row.profile, **{name: getattr(row, name) for name in _FIDELITY}}


def _write_csv(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[str] | None = None
        for line in lines:
            if writer is None:
                writer = csv.DictWriter(file, list(line))
                writer.writeheader()
            writer.writerow(line)


def _readme(export: Export) -> str:
    pcm = ", A-law, FLAC and Opus expanded to 16-bit PCM" if export.as_pcm else ""
    case = f", case {export.case}" if export.case else ""
    return _README.format(bucket=export.bucket, run_id=export.run_id, case=case, selection=export.selection, pcm=pcm)
