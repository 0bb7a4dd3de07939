"""The storage of the audit table's files: a folder, or a prefix in S3. Files are created once and never changed."""

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from recordings.errors import InvalidRequest
from recordings.request import S3, bucket_and_prefix, is_bucket_name
from recordings.retrying import retrying
from recordings.s3.session import Session
from recordings.s3.store import Store
from recordings.settings import settings

PARTITION = "recording_date"
_UNREAD_BUCKET = re.compile(r"_|\.\.|^\d+(\.\d+){3}$")  # some reader does not find a bucket of such a name
_UNREAD = re.compile(r"[^A-Za-z0-9!()+,./=@_~-]")  # some reader of Parquet fails on these in an s3:// address
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|.*://")
_READ_AT_ONCE, _HELD_AT_ONCE = 16, 64
_NAME_BYTES, _PATH_BYTES = 255, 800  # most file systems' limit; S3's 1,024 less what lies below


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLocation:
    """The location of an audit table: below a prefix of a bucket, or, without a bucket, in a local folder."""

    bucket: str | None
    path: str

    def __str__(self) -> str:
        return self.path if self.bucket is None else f"{S3}{self.bucket}/{self.path}".rstrip("/")


def audit_location(audit_uri: str) -> AuditLocation:
    """The location that an ``audit_uri`` means; no other function parses one.

    Raises InvalidRequest where pandas, DuckDB, Athena or Spark would not look for the table at the same place.
    """
    if not isinstance(audit_uri, str):
        raise InvalidRequest(f"audit_uri is {audit_uri!r}: give s3://bucket/prefix or a local folder")
    if audit_uri.startswith(S3):
        bucket, prefix = bucket_and_prefix(audit_uri)
        found, flaw = AuditLocation(bucket=bucket, path=prefix), _flaw_of_s3(bucket, prefix)
    else:
        found, flaw = AuditLocation(bucket=None, path=str(Path(audit_uri))), _flaw_of_folder(audit_uri)
    flaw = flaw or _flaw_of_path(found.path)
    if flaw:
        raise InvalidRequest(f"audit_uri {audit_uri!r} {flaw}" if audit_uri.strip() else f"audit_uri is empty: {flaw}")
    return found


def _flaw_of_s3(bucket: str, prefix: str) -> str | None:
    if not is_bucket_name(bucket) or _UNREAD_BUCKET.search(bucket):
        return "names no bucket: a name has 3 to 63 lower-case letters, digits, dots and hyphens, as s3://my-bucket"
    folders = prefix.split("/")
    if prefix and not set(folders).isdisjoint(("", ".", "..")):
        return "has an empty folder, or one named . or ..: write the prefix out"
    if unread := _UNREAD.search(prefix):
        return f"has {unread[0]!r} in its prefix, which some readers misread: use letters, digits and !()+,-.=@_~"
    if folders[-1].startswith(("_", ".")):
        return "ends in a folder that begins with _ or ., which readers skip: choose another name"
    return None


def _flaw_of_folder(path: str) -> str | None:
    if not path.strip():
        return "name one"
    if _ADDRESS.match(path):
        return "is neither s3://bucket/prefix nor a path to a local folder"
    if path != path.strip() or not path.isprintable() or "\\" in path:
        return "begins or ends with a space, or has a backslash or a control character: write a plain path"
    if path.startswith("~"):
        return "begins with ~, which readers take for different folders: write the home folder out"
    return None


def _flaw_of_path(path: str) -> str | None:
    folders = path.split("/")
    if any(folder.startswith(f"{PARTITION}=") for folder in folders):
        return "lies within a day of an audit table: name the table's own folder"
    if len(path.encode()) > _PATH_BYTES or any(len(folder.encode()) > _NAME_BYTES for folder in folders):
        return f"is too long: {_PATH_BYTES} bytes are enough, {_NAME_BYTES} for each folder"
    return None


class AuditFiles(Protocol):
    """Small files by name; names use ``/``."""

    def create(self, name: str, data: bytes) -> None:
        """Write a new file, whole or not at all. Repeating a write is no error; another file of that name is."""

    def read(self, name: str) -> bytes:
        """A file's bytes."""

    def names(self, folder: str) -> Iterator[str]:
        """Names of the files in a folder, in order; none if there is no such folder."""

    def folders(self) -> Iterator[str]:
        """Names of the top-level folders, in order."""


class LocalFiles:
    """A folder on this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, name: str, data: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.parent / f".{uuid.uuid4()}"  # not tempfile, whose files are private: the umask decides
        try:
            with unfinished.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _link_once(unfinished, path, data)
        finally:
            unfinished.unlink(missing_ok=True)

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def names(self, folder: str) -> Iterator[str]:
        return (f"{folder}/{entry.name}" for entry in self._entries(folder) if entry.is_file())

    def folders(self) -> Iterator[str]:
        return (entry.name for entry in self._entries() if entry.is_dir())

    def _entries(self, folder: str = "") -> list[os.DirEntry[str]]:
        """The entries of a folder, none if it does not exist; a folder that may not be read raises an error."""
        try:
            with os.scandir(self.root / folder) as entries:
                return sorted((each for each in entries if not each.name.startswith(".")), key=lambda each: each.name)
        except FileNotFoundError:
            return []


def _link_once(unfinished: Path, path: Path, data: bytes) -> None:
    """Give a finished file its name. An existing file of that name stays, and is an error if it differs."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        if path.read_bytes() != data:
            raise


class S3Files:
    """A prefix in a bucket, which may be another bucket than the recordings'."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = f"{prefix}/" if prefix else ""

    def create(self, name: str, data: bytes) -> None:
        retrying()(self._store.create, self._prefix + name, data)

    def read(self, name: str) -> bytes:
        return retrying()(self._store.get_bytes, self._prefix + name)

    def names(self, folder: str) -> Iterator[str]:
        above = f"{self._prefix}{folder}/"
        listed = retrying()(lambda: list(self._store.list_objects(above)))
        names = (item["Key"].removeprefix(above) for item in listed)
        return (f"{folder}/{name}" for name in names if name and "/" not in name and not name.startswith("."))

    def folders(self) -> Iterator[str]:
        listed = retrying()(lambda: list(self._store.list_folders(self._prefix)))
        return (prefix.removeprefix(self._prefix).rstrip("/") for prefix in listed)


def open_files(audit_uri: str, connect: Callable[[str], Store]) -> AuditFiles:
    """The files at ``s3://bucket/prefix`` (``connect`` opens a bucket by its name) or in a local folder."""
    location = audit_location(audit_uri)
    if location.bucket is None:
        return LocalFiles(Path(location.path))
    return S3Files(connect(location.bucket), location.path)


def open_table(audit_uri: str, session: Session | None = None) -> AuditFiles:
    """The files at ``audit_uri``, with this session's credentials, region and endpoint; by default boto3's own."""
    return open_files(audit_uri, lambda bucket: Store(bucket, settings(), session))


def read_each(files: AuditFiles, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """These small files in this order, each with its bytes; read some at a time."""
    with ThreadPoolExecutor(_READ_AT_ONCE) as threads:
        for start in range(0, len(names), _HELD_AT_ONCE):
            some = names[start : start + _HELD_AT_ONCE]
            yield from zip(some, threads.map(files.read, some), strict=True)


def digest_of(data: bytes) -> str:
    """The SHA-256, in hex."""
    return hashlib.sha256(data).hexdigest()
