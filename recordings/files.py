"""Where the audit table's files lie: a folder, or a prefix in S3. Files are created once and never changed."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from recordings.errors import InvalidRequest
from recordings.patience import patience
from recordings.s3.store import Store


class AuditFiles(Protocol):
    """Small files by name; names use ``/``."""

    def create(self, name: str, data: bytes) -> None:
        """Write a new file, whole or not at all. The same again is no error; another of that name stays, and is one."""

    def read(self, name: str) -> bytes:
        """A file's bytes."""

    def names(self, folder: str) -> Iterator[str]:
        """Names of the files in a folder, in order; none if there is no such folder."""


class LocalFiles:
    """A folder on this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self, name: str, data: bytes) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            _link_once(file.name, path, data)

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def names(self, folder: str) -> Iterator[str]:
        paths = sorted((self._root / folder).glob("[!.]*"))
        return (str(path.relative_to(self._root)) for path in paths)


def _link_once(temporary: str, path: Path, data: bytes) -> None:
    """Make a finished file appear under its name; one that is there already stays, and is an error if it differs."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        if path.read_bytes() != data:
            raise


class S3Files:
    """A prefix in a bucket, which may be another one than the recordings'."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = f"{prefix}/" if prefix else ""

    def create(self, name: str, data: bytes) -> None:
        patience()(self._store.create, self._prefix + name, data)

    def read(self, name: str) -> bytes:
        return patience()(self._store.get_bytes, self._prefix + name)

    def names(self, folder: str) -> Iterator[str]:
        listed = patience()(lambda: list(self._store.list_objects(f"{self._prefix}{folder}/")))
        return (item["Key"].removeprefix(self._prefix) for item in listed)


def open_files(audit_uri: str, connect: Callable[[str], Store]) -> AuditFiles:
    """The files at ``s3://bucket/prefix`` (``connect`` opens a bucket by its name) or in a local folder."""
    address = urlsplit(audit_uri)
    if address.scheme == "s3" and address.netloc:
        return S3Files(connect(address.netloc), address.path.strip("/"))
    if audit_uri and not address.scheme:
        return LocalFiles(Path(audit_uri))
    raise InvalidRequest(f"audit_uri {audit_uri!r} is neither s3://bucket/prefix nor a path to a local folder")
