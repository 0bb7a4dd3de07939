"""Carry over to the new version what others changed on the old one between our GET and our PUT."""

from collections.abc import Mapping
from urllib.parse import unquote_plus

from recordings.errors import Unproven
from recordings.marks import MAX_TAGS, without_converted
from recordings.s3.objects import UNVERSIONED, StoredObject, Written
from recordings.s3.store import Store


def carry_late_changes(store: Store, replaced: StoredObject, sent: Mapping[str, str], written: Written) -> None:
    """Copy late changes to the new version. ``sent`` are the tags with which the replacement was written.

    Raises Unproven where the replacement does not accept the tags that it must have.
    """
    old = replaced.version_id or UNVERSIONED
    if written.version_id is None or written.version_id == old:
        return  # without versioning there is no old version
    if sent:
        _carry_tags(store, replaced.key, sent, old=old, new=written.version_id)
    if replaced.legal_hold and not store.head(replaced.key, old).legal_hold:
        store.put_hold(replaced.key, written.version_id, held=False)


def _carry_tags(store: Store, key: str, sent: Mapping[str, str], *, old: str, new: str) -> None:
    on_old, on_new = without_converted(store.tags(key, old)), store.tags(key, new)
    wanted = {**on_old, **_of_others(sent, on_old, on_new)}
    if wanted == on_new:
        return
    if len(wanted) <= MAX_TAGS:
        store.put_tags(key, new, wanted)
    found = store.tags(key, new)
    if wanted.items() - found.items():
        raise Unproven("tags-differ", f"the replacement must have the tags {wanted} and has {found}")


def _of_others(sent: Mapping[str, str], on_old: Mapping[str, str], on_new: Mapping[str, str]) -> dict[str, str]:
    """The tags that others have set on the new version since: not ours, nor ours as a server misread them.

    Where the same tag has changed on the old version, too, the old version's value counts.
    """
    ours = {(name, unquote_plus(value)) for name, value in sent.items()} | set(sent.items())
    return {
        name: value
        for name, value in on_new.items()
        if (name, value) not in ours and (name, unquote_plus(value)) not in ours and on_old.get(name) == sent.get(name)
    }
