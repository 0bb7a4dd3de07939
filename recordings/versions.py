"""The versions of some keys, by as few listings as they need."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from os.path import commonprefix

from recordings.errors import Changed, StoreRefused, StoreUnavailable
from recordings.retrying import patience
from recordings.s3.objects import Version
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
