"""Does the server honour If-Match: does it write only if an ETag is current? AWS does; other servers are tried."""

from recordings.errors import StoreUnavailable
from recordings.finding import Finding, block
from recordings.s3.store import Store

_NEVER_WRITTEN = ".conditional-write-probe"
_WRITTEN = ".conditional-write-probe-object"
_STALE_ETAG = '"00000000000000000000000000000000"'
_TRIES = 5  # other runs may probe the same object at the same moment


def find_conditional_writes(store: Store, prefix: str) -> list[Finding]:
    """Findings on the server's If-Match; one empty object below ``prefix`` stays behind. Raises StoreRefused."""
    absent, present = prefix + _NEVER_WRITTEN, prefix + _WRITTEN
    if store.takes_probe(absent, if_match=_STALE_ETAG):
        return [_ignored(f"{absent} was written although no such object was there")]
    if not _takes_current(store, present):
        return [_refused(present)]
    if store.takes_probe(present, if_match=_STALE_ETAG):
        return [_ignored(f"{present} was overwritten although the request named another ETag than its current one")]
    return []


def _takes_current(store: Store, key: str) -> bool:
    """Whether the server overwrites an object on the condition of its current ETag."""
    etag = store.put_probe(key)
    for _ in range(_TRIES):
        if store.takes_probe(key, if_match=etag):
            return True
        known, etag = etag, store.head(key).etag
        if etag == known:
            return False
    raise StoreUnavailable(f"others wrote {key} each time that this run was about to overwrite it")


def _ignored(what_happened: str) -> Finding:
    return block(
        "no-conditional-writes",
        f"The server ignores If-Match on PUT: {what_happened}.",
        "Use a server that honours If-Match, and delete the probe.",
    )


def _refused(key: str) -> Finding:
    return block(
        "conditional-writes-refused",
        f"The server refuses PUT with If-Match even where the ETag is the current one (tried on {key}): each recording "
        "would end up as changed, and none would be archived.",
        "Use a server that honours If-Match.",
    )
