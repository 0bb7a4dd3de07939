"""The marks on objects: tags that people and runs set, and metadata where an object has no room for another tag."""

from collections.abc import Mapping

from recordings.errors import Skipped

MAX_TAGS = 10  # "Categorizing your storage using tags" in the S3 user guide
CONVERTED_TAG = ("converted", "True")
EXEMPT_TAG = ("archive", "exempt")
EXEMPT_METADATA = ("archive-exempt", "true")  # says the same where tags are full
HOLD_TAG = "legal-hold"  # its value names cases: recordings/holds.py


def check_not_exempt(tags: Mapping[str, str], metadata: Mapping[str, str]) -> None:
    """Raises Skipped where a mark says that no run may replace or delete the recording."""
    if EXEMPT_TAG in tags.items() or EXEMPT_METADATA in metadata.items():
        raise Skipped("exempt", "marked archive=exempt")


def without_converted(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags without ``converted=True``, which no object may have before it is verified."""
    return {name: value for name, value in tags.items() if (name, value) != CONVERTED_TAG}


def is_committed(tags: Mapping[str, str]) -> bool:
    """Whether the tags say converted=True; where they leave no room for it, the provenance counts instead."""
    return CONVERTED_TAG in tags.items() or (len(tags) >= MAX_TAGS and CONVERTED_TAG[0] not in tags)
