"""Deletions: of single versions, and only of those that a check of this run has found free."""

from collections.abc import Mapping
from datetime import datetime

from recordings.errors import Skipped
from recordings.s3.objects import StoredObject, Version, answered_at
from recordings.s3.store import Store

_SEAL = object()


class Removable:
    """Proof that one version may be deleted: no deletion without it. Only the checks of ``DeletingStore`` make one."""

    __slots__ = ("key", "stored", "tags", "version_id")

    def __init__(
        self, key: str, version_id: str, stored: StoredObject | None, tags: Mapping[str, str], *, seal: object
    ) -> None:
        if seal is not _SEAL:
            raise TypeError("a version is removable if its check says so: call DeletingStore.removable")
        self.key = key
        self.version_id = version_id
        self.stored = stored  # as HEAD showed it; None for a delete marker
        self.tags = tags  # a delete marker has none


class DeletingStore(Store):
    """A bucket whose versions may be deleted. Only a release, an expiry and an erasure open one."""

    def needs_mfa(self) -> bool:
        """Whether versions can be deleted only with the root user's device (MFA Delete)."""
        return self.versioning().get("MFADelete") == "Enabled"

    def removable(self, key: str, version_id: str) -> Removable:
        """Proof that S3 does not hold this version. Raises Skipped if it does, Changed if the version is gone.

        The caller looks at the version's tags, too. S3 itself refuses to delete a version with a lock or hold that it
        hides from this role.
        """
        if not version_id:  # DELETE without a version id would put a marker over the object
            raise ValueError(f"{key}: a deletion needs the id of a version")
        stored = self.head(key, version_id)
        if stored.held:
            raise Skipped("held", f"version {version_id} is under a legal hold")
        if stored.locked_until and stored.locked_until > stored.answered_at:
            raise Skipped("locked", f"version {version_id} is locked until {stored.locked_until:%Y-%m-%d}")
        return Removable(key, version_id, stored, self.tags(key, version_id), seal=_SEAL)

    def removable_marker(self, marker: Version) -> Removable:
        """The same for a delete marker: S3 can neither lock nor hold one."""
        if marker.etag:
            raise ValueError(f"{marker.key}: version {marker.version_id} is no delete marker")
        return Removable(marker.key, marker.version_id, None, {}, seal=_SEAL)

    def delete_version(self, removable: Removable) -> datetime:
        """Delete exactly this version, for good; returns the time of the deletion by S3's clock."""
        answer = self._request("delete_object", Key=removable.key, VersionId=removable.version_id)
        return answered_at(answer)
