"""The versions of keys: how to list them with few requests, and in which order to delete them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from os.path import commonprefix

from recordings.errors import Changed, Skipped, StoreRefused, StoreUnavailable
from recordings.retrying import patience
from recordings.s3.objects import UNVERSIONED, Version
from recordings.s3.store import Store

_LARGEST_PAGE = 1000  # "ListObjectVersions" in the S3 API reference, MaxKeys


def versions_by_key(store: Store, keys: Sequence[str]) -> Mapping[str, list[Version]]:
    """The versions of these keys, by one walk; empty if S3 refuses it: then each recording is looked up by itself."""
    try:
        return patience()(_walk, store, keys)
    except (StoreUnavailable, StoreRefused, Changed):
        return {}


def _walk(store: Store, keys: Sequence[str]) -> Mapping[str, list[Version]]:
    """All versions of these sorted keys, by one walk over the range they span.

    Where so many other keys lie between them that separate requests would be cheaper, the walk stops with what it has.
    """
    found: dict[str, list[Version]] = defaultdict(list)
    if not keys:
        return found
    wanted, requests_by_key = set(keys), 2 * len(keys)
    page_size = min(_LARGEST_PAGE, 2 * len(keys) + 2)
    pages = store.list_versions(
        commonprefix(keys),  # noqa: RUF071 (S3 prefixes are strings, not paths)
        after_key=keys[0][:-1],
        page_size=page_size,
    )
    for number, page in enumerate(pages, start=1):
        for version in page:
            if version.key in wanted:
                found[version.key].append(version)
        reached = max((version.key for version in page), default="")
        if reached > keys[-1]:
            break
        if number == requests_by_key:
            found.pop(reached, None)  # the next page may hold more of its versions
            break
    return found


def versions_below(store: Store, prefixes: Iterable[str]) -> Mapping[str, list[Version]]:
    """All versions and delete markers below the prefixes, by key, in S3's order; without folders' placeholders."""
    found: dict[str, list[Version]] = defaultdict(list)
    for prefix in prefixes:
        for page in store.list_versions(prefix):
            for version in page:
                if not version.key.endswith("/"):
                    found[version.key].append(version)
    return found


def newest_of(store: Store, key: str, *, is_marker: bool) -> tuple[str, str]:
    """Version id and ETag of the newest version; of a delete marker, which answers no HEAD, by a listing.

    Raises Skipped where the newest version is under a hold.
    """
    if not is_marker:
        current = store.head(key)
        if current.held:
            raise Skipped("held", "the newest version is under a legal hold")
        return current.version_id or UNVERSIONED, current.etag
    newest = next((version for version in versions_of(store, key) if version.is_current), None)
    return (newest.version_id, newest.etag) if newest else ("", "")


def versions_of(store: Store, key: str) -> list[Version]:
    """All versions and delete markers of one key, in the order in which to delete them: the newest last.

    So a crash in between leaves what a reader expects: the newest version, or nothing below a delete marker.
    """
    found = list[Version]()
    for page in store.list_versions(key):
        found += (version for version in page if version.key == key)
        if any(version.key != key for version in page):  # what begins alike comes after the key itself
            break
    return in_order(found)


def in_order(versions: Sequence[Version]) -> list[Version]:
    """The versions of one key in the order in which to delete them. ``versions`` is as S3 lists them: newest first.

    S3's order decides between two versions of the same second, so never order what is ordered already.
    """
    oldest_first = list(reversed(versions))
    return sorted(oldest_first, key=lambda version: (version.is_current, version.last_modified))
