"""The effects of the bucket's lifecycle rules on recordings, and on originals once they are replaced."""

from collections.abc import Iterator, Sequence

from recordings.finding import Finding, Severity, block
from recordings.lifecycle_rules import Rule, name_of, tags_of
from recordings.marks import CONVERTED_TAG

_MONTH_DAYS = 30
_SHORTEST_GRACE_DAYS = 7
# Classes whose objects must be restored by S3 before they can be read ("Using Amazon S3 storage classes").
_FROZEN = ("GLACIER", "DEEP_ARCHIVE")


def effects_of(rule: Rule, oldest_days: int) -> Iterator[Finding]:
    """Findings on one rule. ``oldest_days`` is the age of the oldest recordings to be rewritten."""
    yield from _expiration(rule, oldest_days)
    yield from _colder(rule)
    if CONVERTED_TAG not in tags_of(rule).items():  # tags belong to a version, and no original has this one
        yield from _originals(rule)


def _expiration(rule: Rule, oldest_days: int) -> Iterator[Finding]:
    expiration = rule.get("Expiration", {})
    if expiration.get("Days", 0) and oldest_days > _MONTH_DAYS:
        yield block(
            "retention-restarts",
            f"{name_of(rule)} deletes recordings {expiration['Days']} days after they were written, "
            f"and rewriting recordings that are {oldest_days} days old restarts that count.",
            "Let expire_recordings delete by the day of the call, with the same period in ARCHIVE_RETENTION_RULES, and "
            f"accept this or remove the rule; or shorten the rule's period by {oldest_days} days; or archive "
            "recordings within a month of the call.",
        )
    if "Date" in expiration:
        yield block(
            "expires-on-date",
            f"{name_of(rule)} deletes recordings and replacements on {expiration['Date']:%Y-%m-%d}, and from then on "
            "everything that is written later.",
            "Remove the rule, or change it to count days.",
        )


def _colder(rule: Rule) -> Iterator[Finding]:
    """Findings on rules that move recordings into classes that a run may not choose, and so never compares with."""
    for transition in rule.get("Transitions", ()):
        if transition["StorageClass"] in _FROZEN and CONVERTED_TAG not in tags_of(rule).items():
            yield Finding(
                code="moved-colder",
                severity=Severity.WARN,
                sentence=f"{name_of(rule)} moves recordings to {transition['StorageClass']}, where unconverted "
                "recordings can cost less than recordings archived here. Runs ignore this: a run compares its cost "
                "only with a lifecycle rule to the storage class that it archives to.",
                way_out="Compare the ways in docs/costs.md before you archive, or have the rule move only what is "
                "tagged converted=True.",
            )


def moves_nothing(rules: Sequence[Rule]) -> Iterator[Finding]:
    """A finding, if no rule on recordings moves the recordings that stay unconverted."""
    if any(rule.get("Transitions") and CONVERTED_TAG not in tags_of(rule).items() for rule in rules):
        return
    yield Finding(
        code="left-alone-stays",
        severity=Severity.INFO,
        sentence="No lifecycle rule moves recordings to another storage class: those that are left alone, because they "
        "are short or damaged, stay at the price of the class that they are in.",
        way_out="Once the backlog is archived, add deployments/lifecycle/left-alone-to-glacier-ir.json.",
    )


def _originals(rule: Rule) -> Iterator[Finding]:
    kept = rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")
    if kept is not None and kept < _SHORTEST_GRACE_DAYS:
        yield block(
            "originals-expire",
            f"{name_of(rule)} deletes originals {kept} days after they were replaced.",
            f"Change the rule to keep originals for at least {_SHORTEST_GRACE_DAYS} days.",
        )
    for transition in rule.get("NoncurrentVersionTransitions", ()):
        if transition["StorageClass"] in _FROZEN:
            yield Finding(
                code="originals-frozen",
                severity=Severity.WARN,
                sentence=f"{name_of(rule)} moves originals to {transition['StorageClass']} "
                f"{transition.get('NoncurrentDays', 0)} days after they were replaced: restoring an "
                "original then takes hours, since S3 must thaw it first.",
                way_out="Release originals before that day, or move them to GLACIER_IR.",
            )
