"""Does a run see everything that it must see? Tried on canary objects, under its own role, before the first recording.

S3 omits from its answers what a role may not see: tags, holds and locks then seem not to exist. So wherever recordings
lie, the run writes an object that has them all, encrypted as a recording is, and reads it as it reads recordings.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice, takewhile

from recordings.errors import Changed, RecordingError, StoreRefused
from recordings.finding import Finding, PreflightFailed, Severity
from recordings.plan import days_of
from recordings.recording import Day
from recordings.retrying import patience
from recordings.run import Run
from recordings.s3.objects import Encryption, Sight, StoredObject, Version
from recordings.s3.store import Store

NAME = ".recording-archive-canary"  # below each prefix and its ivr/; each run overwrites it
_TAGS = {"canary": "of the recording archive"}
_LOCKED_FOR = timedelta(minutes=5)  # after that, it may be deleted like any other object
_DEAD_AFTER = timedelta(hours=1)  # a canary still held after that belongs to a run that was killed
_SLACK = timedelta(minutes=5)  # the longest time that a run may take from looking at older canaries to writing its own
_SAMPLE = 5  # recordings whose encryption is looked at


def check_sight(store: Store, run: Run) -> Sight:
    """How the run's role may read S3's answers.

    Raises PreflightFailed, naming the missing action, if the run could lose something that its role may not see.
    """
    places = patience()(lambda: list(_places(store, run)))
    if findings := [finding for place in places for finding in place.findings]:
        raise PreflightFailed(findings)
    owners = [place.owner for place in places if place.owner]
    return Sight(
        shows_tag_counts=bool(places) and all(place.shows_tag_count for place in places),
        owner=owners[-1] if owners else None,
    )


def _places(store: Store, run: Run) -> Iterator["_Place"]:
    """A canary for each folder that has recordings, tried."""
    for folder in _folders(run):
        keys = list(islice(_recordings_below(store, run, folder), _SAMPLE))
        if keys:
            place = _Place(store, folder + NAME)
            place.findings = list(_tried(place, _encryptions(store, keys)))
            yield place


def _folders(run: Run) -> list[str]:
    """The folders of recordings: permissions are granted by prefix, and may differ from one folder to the next."""
    return [folder for prefix in run.prefixes for folder in (prefix, f"{prefix}ivr/")]


def _recordings_below(store: Store, run: Run, folder: str) -> Iterator[str]:
    """Keys of the window's recordings below one folder. A day that cannot be listed is reported by the listing."""
    places = (place for day in days_of(run, {}) for place in day.key_prefixes if _folder_of(day, place) == folder)
    for place in places:
        with suppress(StoreRefused):
            yield from (item["Key"] for item in store.list_objects(place) if item["Key"].endswith(".wav"))


def _folder_of(day: Day, place: str) -> str:
    """The run's prefix above a day's folder, or that prefix's ivr/."""
    return place.removesuffix(f"{day.date:%Y/%m/%d}/{day.shard}")


def _encryptions(store: Store, keys: list[str]) -> list[Encryption]:
    """The different encryptions of these objects. One that cannot be looked at is left out: its row will report it."""
    found: list[Encryption] = []
    for key in keys:
        try:
            encryption = store.head(key).encryption
        except (RecordingError, StoreRefused):
            continue
        if encryption not in found:
            found.append(encryption)
    return found or [Encryption()]


class _Place:
    """One canary: its key, and what was seen of it."""

    def __init__(self, store: Store, key: str) -> None:
        self.store, self.key = store, key
        self.shows_tag_count = False
        self.owner: str | None = None
        self.findings: list[Finding] = []


def _tried(place: _Place, encryptions: list[Encryption]) -> Iterator[Finding]:
    """Try each encryption until one works: a disabled key affects only the recordings that use it."""
    refusals: list[Exception] = []
    for encryption in encryptions:
        try:
            return (yield from list(_look(place, encryption)))
        except (StoreRefused, Changed) as error:
            refusals.append(error)
    yield _blind("cannot-replace", f"The run could not write, read or mark the test object {place.key}: {refusals[0]}.")


def _look(place: _Place, encryption: Encryption) -> Iterator[Finding]:
    store, key = place.store, place.key
    locked_for = _LOCKED_FOR if store.locks else None
    if locked_for:
        _let_go(store, key)
    version_id = store.put_canary(key, tags=_TAGS, encryption=encryption, locked_for=locked_for).version_id
    if locked_for:
        store.put_hold(key, version_id, held=True)
    try:
        with store.read(key, version_id=version_id) as (ours, body):
            body.read(ours.size_bytes)
        with store.read(key) as (current, body):  # our own canary, or that of another run that began at the same moment
            body.read(current.size_bytes)
        place.shows_tag_count = current.tag_count == len(_TAGS)
        yield from _tags(store, key, version_id)
        yield from _locks(ours) if locked_for else ()
        yield from _owner(place, ours) if store.acls_enabled else ()
    finally:
        if locked_for:
            store.put_hold(key, version_id, held=False)


def _let_go(store: Store, key: str) -> None:
    """Lift the holds that killed runs left on the canary: nothing else would ever make these versions deletable.

    Every run does so before it writes. So the run that wrote the newest version has handled all that were old enough
    then, and this run checks only the newest and those that have become old enough since, however many versions there
    are.
    """
    versions = _newest_first(store, key)
    newest = next(versions, None)
    if newest is None:
        return
    now = _lift_dead(store, key, newest)
    seen_until = newest.last_modified - _DEAD_AFTER - _SLACK
    for version in takewhile(lambda each: each.last_modified >= seen_until, versions):
        if now - version.last_modified > _DEAD_AFTER:
            _lift_dead(store, key, version)


def _newest_first(store: Store, key: str) -> Iterator[Version]:
    """The versions of the key, without delete markers, page by page in S3's order."""
    with suppress(StoreRefused):  # a role that may not list versions may still archive
        pages = store.list_versions(key)
        yield from (version for page in pages for version in page if version.key == key and not version.is_marker)


def _lift_dead(store: Store, key: str, version: Version) -> datetime:
    """Lift the version's hold if its run is dead; returns the current time by S3's clock."""
    try:
        left = store.head(key, version.version_id)
    except Changed:  # somebody deleted it
        return version.last_modified
    if left.legal_hold and left.answered_at - left.last_modified > _DEAD_AFTER:
        store.put_hold(key, left.version_id, held=False)
    return left.answered_at


def _tags(store: Store, key: str, version_id: str | None) -> Iterator[Finding]:
    """Findings on the tags, requested with a version id and without one: these are two permissions."""

    def are_shown() -> bool:
        return all(store.tags(key, asked_for) == _TAGS for asked_for in (None, version_id))

    def can_be_put() -> bool:
        store.put_tags(key, version_id, _TAGS)
        return True

    yield from _proved("cannot-see-tags", are_shown, f"S3 does not show the tags of {key} as they were written")
    yield from _proved("cannot-tag", can_be_put, "")


def _locks(ours: StoredObject) -> Iterator[Finding]:
    if not ours.legal_hold:
        sentence = f"The test object {ours.key} is under legal hold, but S3 does not show the hold."
        yield _blind("cannot-see-holds", sentence, "s3:GetObjectLegalHold")
    if not ours.locked_until:
        sentence = f"The test object {ours.key} is locked, but S3 does not show the lock."
        yield _blind("cannot-see-locks", sentence, "s3:GetObjectRetention")


def _owner(place: _Place, ours: StoredObject) -> Iterator[Finding]:
    def is_shown() -> bool:
        acl = place.store.acl(ours.key, ours.version_id)
        place.owner = acl.owner if acl else None
        return True

    yield from _proved("cannot-see-grants", is_shown, "")


def _proved(code: str, look: Callable[[], bool], otherwise: str) -> Iterator[Finding]:
    try:
        if not look():
            yield _blind(code, f"{otherwise}.")
    except StoreRefused as error:
        yield _blind(code, f"{error}.")


def _blind(code: str, sentence: str, action: str = "") -> Finding:
    """A finding that blocks. ``action`` is the missing permission, where S3's sentence does not name it."""
    granted = action or "the missing action"
    way_out = "No recording was changed. Correct the cause, then run again."
    if action or "the role needs" in sentence:
        way_out = f"Grant the run's role {granted}: deployments/policies/archive.json has all it needs."
    return Finding(code=code, severity=Severity.BLOCK, sentence=sentence, way_out=way_out)
