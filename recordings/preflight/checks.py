"""Is this bucket safe to work on? Inspects its configuration, and tries a server that is not AWS with empty objects."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from recordings.errors import Changed, InvalidRequest, StoreRefused
from recordings.finding import Finding, PreflightFailed, Severity, block
from recordings.lifecycle_rules import rules_that_concern
from recordings.places import nothing_below
from recordings.preflight.conditional import find_conditional_writes
from recordings.preflight.lifecycle import effects_of, moves_nothing
from recordings.retention import retention_of
from recordings.s3.store import Store

Look = Callable[[], Iterable[Finding]]
# These must be seen before anything is written; for the others, a warning says that they could not be inspected.
_MUST_BE_SEEN = ("prefixes", "versioning", "conditional-writes")


def all_findings(store: Store, prefixes: Sequence[str], *, oldest_days: int, may_write: bool = True) -> list[Finding]:
    """All findings, most serious first. A refused look is a finding, too.

    ``oldest_days`` is the age of the oldest recordings to be rewritten. ``may_write`` permits tests that need to write.
    Raises StoreRefused where nothing at all can be inspected: there is no such bucket.
    """
    findings = [*_configuration(store, prefixes, oldest_days), *(_tried(store, prefixes) if may_write else ())]
    return _by_severity(findings)


def check_bucket(
    store: Store, prefixes: Sequence[str], *, oldest_days: int, may_write: bool, accept: Sequence[str]
) -> list[Finding]:
    """The findings, if none of them blocks or all that do are accepted; raises PreflightFailed otherwise.

    Nothing is written to a bucket whose configuration blocks the run: it stays untouched.
    """
    findings = _configuration(store, prefixes, oldest_days)
    _raise_unless_accepted(findings, accept)
    if may_write:
        findings += _tried(store, prefixes)
        _raise_unless_accepted(findings, accept)
    return _by_severity(findings)


def _raise_unless_accepted(findings: Sequence[Finding], accept: Sequence[str]) -> None:
    blocking = [finding for finding in findings if finding.severity is Severity.BLOCK and finding.code not in accept]
    if blocking:
        raise PreflightFailed(blocking)


def _by_severity(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: list(Severity).index(finding.severity))


def _configuration(store: Store, prefixes: Sequence[str], oldest_days: int) -> list[Finding]:
    """Findings that reading can show. Raises StoreRefused if every look is refused."""
    looks: dict[str, Look] = {
        "prefixes": lambda: nothing_below(store, prefixes),
        "versioning": lambda: _versioning(store),
        "lifecycle": lambda: _lifecycle(store, prefixes, oldest_days),
        "object-lock": lambda: _object_lock(store),
        "object-ownership": lambda: _object_ownership(store),
        "notifications": lambda: _notifications(store),
        "replication": lambda: _replication(store),
    }
    seen = {name: _seen(look) for name, look in looks.items()}
    refusals = [found for found in seen.values() if isinstance(found, Exception)]
    if len(refusals) == len(looks):
        raise refusals[0]
    told = [finding for name, found in seen.items() for finding in _told(name, found)]
    return [*told, kept_for(store, prefixes), *_originals()]


def _tried(store: Store, prefixes: Sequence[str]) -> list[Finding]:
    """Findings that only a write can show. AWS is known to honour If-Match."""
    if store.is_aws:
        return []
    return _told("conditional-writes", _seen(lambda: find_conditional_writes(store, prefixes[0])))


def check_prefixes(store: Store, prefixes: Sequence[str]) -> list[Finding]:
    """A finding for each prefix below which nothing can lie; the only check of flows that only read recordings.

    Raises InvalidRequest if that is so for all of them.
    """
    found = nothing_below(store, prefixes)
    if any(finding.severity is Severity.BLOCK for finding in found):
        raise InvalidRequest("\n".join(f"{finding.code}: {finding.sentence}" for finding in found))
    return found


def _seen(look: Look) -> list[Finding] | StoreRefused | Changed:
    try:
        return list(look())
    except (StoreRefused, Changed) as error:  # Changed: access points answer 405 to requests that they do not know
        return error


def _told(name: str, found: list[Finding] | StoreRefused | Changed) -> list[Finding]:
    """The findings of a look, or a finding that it was refused."""
    if isinstance(found, list):
        return found
    code, sentence = f"cannot-see-{name}", f"{found}."
    way_out = "Grant the role this access, or check this part of the bucket's configuration yourself."
    if name in _MUST_BE_SEEN:
        return [block(code, sentence, way_out)]
    return [Finding(code=code, severity=Severity.WARN, sentence=sentence, way_out=way_out)]


def _versioning(store: Store) -> Iterator[Finding]:
    versioning = store.versioning()
    status = versioning.get("Status", "")
    if status != "Enabled":
        yield block(
            "unversioned",
            f"Versioning of bucket {store.bucket} is {status.lower() or 'off'}, so a replaced original would be gone.",
            "Enable versioning: aws s3api put-bucket-versioning --versioning-configuration Status=Enabled --bucket "
            f"{store.bucket}",
        )
    if versioning.get("MFADelete") == "Enabled":
        yield Finding(
            code="mfa-delete",
            severity=Severity.WARN,
            sentence="MFA Delete is enabled: only the root user, with its MFA device, can delete an original.",
            way_out="Have the root user switch MFA Delete off before you release originals.",
        )


def _lifecycle(store: Store, prefixes: Sequence[str], oldest_days: int) -> Iterator[Finding]:
    rules = rules_that_concern(store.lifecycle_rules, prefixes)
    for rule in rules:
        yield from effects_of(rule, oldest_days)
    yield from moves_nothing(rules)


def _object_lock(store: Store) -> Iterator[Finding]:
    retention = store.default_retention()
    period = _period(retention)
    if retention.get("Mode") == "COMPLIANCE":
        yield block(
            "compliance-lock",
            f"Bucket {store.bucket} locks every version in compliance mode for {period}, originals included.",
            "Wait until the originals' locks end before archiving.",
        )
    if retention.get("Mode") == "GOVERNANCE":
        yield Finding(
            code="governance-lock",
            severity=Severity.INFO,
            sentence=f"Bucket {store.bucket} locks each new version in governance mode for {period}: a replacement "
            "gets a new lock unless it carries over its original's; an original stays locked until its own lock ends.",
            way_out="Release originals after their locks have ended: the role of the release does not bypass locks.",
        )


def _period(retention: Mapping[str, Any]) -> str:
    return f"{retention['Days']} days" if "Days" in retention else f"{retention.get('Years', 0)} years"


def _object_ownership(store: Store) -> Iterator[Finding]:
    if store.object_ownership() != "BucketOwnerEnforced":
        yield Finding(
            code="acls-enabled",
            severity=Severity.WARN,
            sentence=f"ACLs are enabled in bucket {store.bucket}: a recording that an ACL opens to others, or "
            "that another account owns, is skipped, since its replacement would lose those grants or that owner.",
            way_out="Disable ACLs (object ownership BucketOwnerEnforced) to have such recordings archived, too.",
        )


def _notifications(store: Store) -> Iterator[Finding]:
    for kind, subscribers in store.notifications().items():
        events = {
            event
            for each in cast(Sequence[Any], subscribers or ({},))
            for event in each.get("Events", ("s3:ObjectCreated:*",))
        }
        if any(event.startswith("s3:ObjectCreated") for event in events):
            yield Finding(
                code="subscribers-run-again",
                severity=Severity.WARN,
                sentence=f"The bucket's {kind} will report every rewritten recording as if it were a new call.",
                way_out="Have the subscriber ignore objects whose metadata has archive-run-id.",
            )


def _replication(store: Store) -> Iterator[Finding]:
    if any(rule.get("Status") == "Enabled" for rule in store.replication_rules()):
        yield Finding(
            code="replicated",
            severity=Severity.WARN,
            sentence="Replication copies each rewritten recording once more; originals stay at the destination, too.",
            way_out="Allow for the cost of these copies, or leave these prefixes out of the replication rule.",
        )


def kept_for(store: Store, prefixes: Sequence[str]) -> Finding:
    """How long recordings are kept, as far as the bucket shows."""
    return Finding(
        code="kept-for",
        severity=Severity.INFO,
        sentence=retention_of(store).sentence(prefixes),
        way_out="This period decides which recordings are worth archiving; if it is wrong, set "
        "ARCHIVE_RETENTION_RULES or ARCHIVE_RETENTION_YEARS.",
    )


def _originals() -> Iterator[Finding]:
    yield Finding(
        code="originals-cost",
        severity=Severity.INFO,
        sentence="Each original stays as a noncurrent version, at its former price, until somebody releases it.",
        way_out="The run's report states what they cost.",
    )
