"""The lifecycle rules of a bucket: which objects a rule acts on, and when it deletes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

Rule = Mapping[str, Any]  # as GetBucketLifecycleConfiguration answers it


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a lifecycle rule looks at in an object."""

    key: str
    size_bytes: int
    tags: Mapping[str, str]
    written_at: datetime  # the rule's days count from then on


def hidden_at(rule: Rule, written_at: datetime) -> datetime | None:
    """When the rule puts a delete marker above an object written then; None where it never does."""
    expiration = rule.get("Expiration", {})
    if expiration.get("Days"):
        return written_at + timedelta(days=expiration["Days"])
    on: datetime | None = expiration.get("Date")
    return on


def noncurrent_days(rule: Rule) -> int | None:
    """Days after which noncurrent versions are deleted; None where the rule deletes none, or keeps the newest."""
    expiration = rule.get("NoncurrentVersionExpiration", {})
    days: int | None = expiration.get("NoncurrentDays")
    return None if expiration.get("NewerNoncurrentVersions") else days


def is_enabled(rule: Rule) -> bool:
    """Whether the rule is enabled, so that S3 acts on it."""
    return bool(rule.get("Status") == "Enabled")


def covers(rule: Rule, stored: Stored) -> bool:
    """Whether an enabled rule acts on this object."""
    wanted = _filter(rule)
    larger, smaller = wanted.get("ObjectSizeGreaterThan", -1), wanted.get("ObjectSizeLessThan", float("inf"))
    return (
        stored.key.startswith(prefix_of(rule))
        and tags_of(rule).items() <= stored.tags.items()
        and larger < stored.size_bytes < smaller
    )


def rules_that_concern(rules: Sequence[Rule], prefixes: Sequence[str]) -> list[Rule]:
    """The enabled rules that may cover something under the prefixes, whatever their filters by size or tag."""
    return [rule for rule in rules if is_enabled(rule) and _overlaps(rule, prefixes)]


def _overlaps(rule: Rule, prefixes: Sequence[str]) -> bool:
    of_rule = prefix_of(rule)
    return any(of_rule.startswith(prefix) or prefix.startswith(of_rule) for prefix in prefixes)


def prefix_of(rule: Rule) -> str:
    """The rule's prefix; empty where the rule covers the whole bucket."""
    return str(_filter(rule).get("Prefix") or rule.get("Prefix") or "")


def tags_of(rule: Rule) -> dict[str, str]:
    """The tags that an object must have for the rule to cover it."""
    wanted = _filter(rule)
    tags = [wanted["Tag"]] if "Tag" in wanted else wanted.get("Tags", ())
    return {tag["Key"]: tag["Value"] for tag in tags}


def name_of(rule: Rule) -> str:
    """The rule's name for people."""
    tags = ", ".join(f"{name}={value}" for name, value in tags_of(rule).items())
    return f"Lifecycle rule {rule.get('ID', '(unnamed)')}" + (f" (for objects tagged {tags})" if tags else "")


def _filter(rule: Rule) -> Mapping[str, Any]:
    """The rule's conditions: S3 puts a single one directly into the filter, several below ``And``."""
    found: Mapping[str, Any] = rule.get("Filter", {})
    return {**found, **found.get("And", {})}
