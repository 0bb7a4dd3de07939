"""Does a run see what it must see? Tried on an object of its own, under its own role, before the first recording.

S3 leaves out of its answers what a role may not see: tags, holds and locks then look as if there were none. So an
object that has them all is written, encrypted as a recording is, and read as recordings are.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import chain, islice

from recordings.errors import Changed, StoreRefused
from recordings.finding import Finding, PreflightFailed, Severity
from recordings.patience import patience
from recordings.plan import days_of
from recordings.run import Run
from recordings.s3.objects import StoredObject
from recordings.s3.store import Store

NAME = ".recording-archive-canary"  # below the first prefix; each run overwrites it
_TAGS = {"canary": "of the recording archive"}
_LOCKED_FOR = timedelta(minutes=5)  # then it may be deleted like any other object
_DAYS_SEARCHED = 31


def check_sight(store: Store, run: Run) -> None:
    """Raise PreflightFailed with the action that is missing, if the run could lose something for want of seeing it.

    Tells the store what S3's answers may be taken to mean: ``shows_tag_counts``, ``owner``.
    """
    findings = patience()(lambda: list(_findings(store, run)))
    if findings:
        raise PreflightFailed(findings)


def _findings(store: Store, run: Run) -> Iterator[Finding]:
    key = run.prefixes[0] + NAME
    try:
        sample = _a_recording(store, run)
        yield from _look(store, key, like=sample)
    except (StoreRefused, Changed) as error:
        yield _blind("cannot-replace", f"The canary {key} cannot be written, read and marked: {error}.")


def _a_recording(store: Store, run: Run) -> StoredObject | None:
    """One of those that the run is about, for its encryption; None if its first days hold none."""
    folders = chain.from_iterable(day.key_prefixes for day in islice(days_of(run, {}), _DAYS_SEARCHED))
    keys = (item["Key"] for folder in folders for item in store.list_objects(folder))
    key = next((key for key in keys if key.endswith(".wav")), None)
    return store.head(key) if key else None


def _look(store: Store, key: str, *, like: StoredObject | None) -> Iterator[Finding]:
    locked_for = _LOCKED_FOR if store.locks_enabled else None
    version_id = store.put_canary(key, tags=_TAGS, like=like, locked_for=locked_for).version_id
    try:
        with store.read(key, version_id=version_id) as (ours, body):
            body.read(ours.size_bytes)
        with store.read(key) as (current, body):  # ours, or that of another run that began at the same moment
            body.read(current.size_bytes)
        store.shows_tag_counts = current.tag_count == len(_TAGS)
        yield from _tags(store, key, version_id)
        yield from _locks(ours) if locked_for else ()
        yield from _owner(store, ours) if store.acls_enabled else ()
    finally:
        if locked_for:
            store.put_hold(key, version_id, held=False)


def _tags(store: Store, key: str, version_id: str | None) -> Iterator[Finding]:
    """Asked for with a version id and without one: these are two permissions."""

    def are_shown() -> bool:
        return all(store.tags(key, asked_for) == _TAGS for asked_for in (None, version_id))

    def can_be_put() -> bool:
        store.put_tags(key, version_id, _TAGS)
        return True

    yield from _proved("cannot-see-tags", are_shown, f"S3 does not show the tags of {key} as they were written")
    yield from _proved("cannot-tag", can_be_put, "")


def _locks(ours: StoredObject) -> Iterator[Finding]:
    if not ours.legal_hold:
        sentence = f"{ours.key} is under legal hold, and S3 does not say so."
        yield _blind("cannot-see-holds", sentence, "s3:GetObjectLegalHold")
    if not ours.locked_until:
        yield _blind("cannot-see-locks", f"{ours.key} is locked, and S3 does not say so.", "s3:GetObjectRetention")


def _owner(store: Store, ours: StoredObject) -> Iterator[Finding]:
    def is_shown() -> bool:
        acl = store.acl(ours.key, ours.version_id)
        store.owner = acl.owner if acl else None
        return True

    yield from _proved("cannot-see-grants", is_shown, "")


def _proved(code: str, look: Callable[[], bool], otherwise: str) -> Iterator[Finding]:
    try:
        if not look():
            yield _blind(code, f"{otherwise}.")
    except StoreRefused as error:
        yield _blind(code, f"{error}.")


def _blind(code: str, sentence: str, action: str = "") -> Finding:
    way_out = f"Grant the run's role {action or 'what is missing'} (deployments/policies/archive.json has it all)."
    return Finding(code=code, severity=Severity.BLOCK, sentence=sentence, way_out=way_out)
