"""What the bucket's lifecycle rules would do to recordings, and to originals once they are replaced."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recordings.finding import Finding, Severity, block
from recordings.tag import CONVERTED_TAG

Rule = Mapping[str, Any]  # as GetBucketLifecycleConfiguration answers it
_MONTH_DAYS = 30
_SHORTEST_GRACE_DAYS = 7
# Classes that must be thawed before they can be read ("Using Amazon S3 storage classes").
_FROZEN = ("GLACIER", "DEEP_ARCHIVE")


def rules_that_concern(rules: Sequence[Rule], prefixes: Sequence[str]) -> list[Rule]:
    """The enabled rules that cover anything under the prefixes; a filter by size or tag may or may not: they count."""
    return [rule for rule in rules if rule.get("Status") == "Enabled" and _overlaps(rule, prefixes)]


def _overlaps(rule: Rule, prefixes: Sequence[str]) -> bool:
    filters = rule.get("Filter", {})
    of_rule = filters.get("Prefix") or filters.get("And", {}).get("Prefix") or rule.get("Prefix") or ""
    return any(of_rule.startswith(prefix) or prefix.startswith(of_rule) for prefix in prefixes)


def effects_of(rule: Rule, oldest_days: int) -> Iterator[Finding]:
    """Findings on one rule. ``oldest_days`` is the age of the oldest recordings to be rewritten."""
    yield from _expiration(rule, oldest_days)
    if CONVERTED_TAG not in _tags(rule).items():  # tags belong to a version: no original has this one
        yield from _originals(rule)


def _expiration(rule: Rule, oldest_days: int) -> Iterator[Finding]:
    expiration = rule.get("Expiration", {})
    if expiration.get("Days", 0) and oldest_days > _MONTH_DAYS:
        yield block(
            "retention-restarts",
            f"{_name(rule)} deletes recordings {expiration['Days']} days after they were written, "
            f"and rewriting those that are {oldest_days} days old restarts that clock.",
            "Shorten the rule's period by as many days, or archive recordings within a month of the call.",
        )
    if "Date" in expiration:
        yield block(
            "expires-on-date",
            f"{_name(rule)} deletes recordings and replacements on {expiration['Date']:%Y-%m-%d}, and from then on "
            "whatever is written later.",
            "Remove the rule, or let it count days.",
        )


def _originals(rule: Rule) -> Iterator[Finding]:
    kept = rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")
    if kept is not None and kept < _SHORTEST_GRACE_DAYS:
        yield block(
            "originals-expire",
            f"{_name(rule)} deletes originals {kept} days after they were replaced.",
            f"Give them at least {_SHORTEST_GRACE_DAYS} days.",
        )
    for transition in rule.get("NoncurrentVersionTransitions", ()):
        if transition["StorageClass"] in _FROZEN:
            yield Finding(
                code="originals-frozen",
                severity=Severity.WARN,
                sentence=f"{_name(rule)} moves originals to {transition['StorageClass']} "
                f"{transition.get('NoncurrentDays', 0)} days after they were replaced: restoring one then takes a thaw "
                "of hours.",
                way_out="Release originals before that day, or move them to GLACIER_IR.",
            )


def _name(rule: Rule) -> str:
    tags = ", ".join(f"{name}={value}" for name, value in _tags(rule).items())
    return f"Lifecycle rule {rule.get('ID', '(unnamed)')}" + (f" (for objects tagged {tags})" if tags else "")


def _tags(rule: Rule) -> dict[str, str]:
    filters = rule.get("Filter", {})
    tags = [filters["Tag"]] if "Tag" in filters else filters.get("And", {}).get("Tags", ())
    return {tag["Key"]: tag["Value"] for tag in tags}
