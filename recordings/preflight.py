"""Is this bucket safe to work on? Looks at its configuration and writes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from recordings.errors import InvalidRequest, StoreRefused
from recordings.s3.store import Store

_MONTH_DAYS = 30
_SHORTEST_GRACE_DAYS = 7
_PROBE = ".conditional-write-probe"
# What an operator may take upon himself, by code, and what he then accepts.
ACCEPTABLE = {
    "unversioned": "originals are overwritten for good: nothing can be restored",
    "no-conditional-writes": "a recording that somebody else writes at the same moment may be lost",
    "retention-restarts": "rewritten recordings live longer than the lifecycle rule meant them to",
    "originals-expire": "originals vanish before anybody has looked at their replacements",
    "compliance-lock": "originals cannot be released before their lock ends: archiving only adds cost until then",
}


class Severity(StrEnum):
    """What a finding means for a run."""

    BLOCK = "block"
    WARN = "warn"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about the bucket that an operator should know before anything is written."""

    code: str
    severity: Severity
    sentence: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence} {self.way_out}"


class PreflightFailed(InvalidRequest):
    """The bucket is not safe to work on, and nobody has accepted that."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = tuple(findings)


def inspect_bucket(store: Store, prefixes: Sequence[str], *, oldest_days: int, may_write: bool = True) -> list[Finding]:
    """All findings, gravest first. Raises StoreRefused where not even looking is allowed.

    ``oldest_days`` is the age of the oldest recordings to be rewritten. ``may_write`` permits the one probe, which asks
    the server to refuse a write; AWS needs none.
    """
    findings = [
        *_versioning(store),
        *_conditional_writes(store, prefixes, may_write=may_write),
        *_visible(_lifecycle, store, prefixes, oldest_days),
        *_visible(_object_lock, store),
        *_visible(_notifications, store),
        *_visible(_replication, store),
        *_originals(),
    ]
    return sorted(findings, key=lambda finding: list(Severity).index(finding.severity))


def check_bucket(
    store: Store, prefixes: Sequence[str], *, oldest_days: int, may_write: bool, accept: Sequence[str]
) -> list[Finding]:
    """The findings, if none of them blocks or all that do are accepted; raises PreflightFailed otherwise."""
    for prefix in prefixes:
        next(iter(store.list_objects(prefix)), None)  # no such bucket, no permission: said before anything else
    findings = inspect_bucket(store, prefixes, oldest_days=oldest_days, may_write=may_write)
    blocking = [finding for finding in findings if finding.severity is Severity.BLOCK and finding.code not in accept]
    if blocking:
        raise PreflightFailed(blocking)
    return findings


def _block(code: str, sentence: str, way_out: str) -> Finding:
    accepting = f'{way_out} Or accept=["{code}"]: {ACCEPTABLE[code]}.'
    return Finding(code=code, severity=Severity.BLOCK, sentence=sentence, way_out=accepting)


def _versioning(store: Store) -> Iterator[Finding]:
    status = store.versioning()
    if status != "Enabled":
        yield _block(
            "unversioned",
            f"Versioning of bucket {store.bucket} is {status.lower() or 'off'}, so a replaced original would be gone.",
            "Enable it: aws s3api put-bucket-versioning --versioning-configuration Status=Enabled --bucket "
            f"{store.bucket}",
        )


def _conditional_writes(store: Store, prefixes: Sequence[str], *, may_write: bool) -> Iterator[Finding]:
    if store.is_aws or not may_write or store.refuses_stale_writes(prefixes[0] + _PROBE):
        return
    yield _block(
        "no-conditional-writes",
        f"The server ignores If-Match on PUT: the probe {prefixes[0] + _PROBE} was written and now lies there, empty.",
        "Use a server that honours If-Match, and delete the probe.",
    )


def _visible(look: Any, store: Store, *arguments: Any) -> list[Finding]:
    """What ``look`` finds, or a warning that this part of the configuration may not be read."""
    try:
        return list(look(store, *arguments))
    except StoreRefused as error:
        code = f"cannot-see-{look.__name__.strip('_').replace('_', '-')}"
        return [Finding(code=code, severity=Severity.WARN, sentence=f"{error}.", way_out="Grant it, or look yourself.")]


def _lifecycle(store: Store, prefixes: Sequence[str], oldest_days: int) -> Iterator[Finding]:
    for rule in store.lifecycle_rules():
        if rule.get("Status") != "Enabled" or not _concerns(rule, prefixes):
            continue
        name = rule.get("ID", "(unnamed)")
        if rule.get("Expiration", {}).get("Days", 0) and oldest_days > _MONTH_DAYS:
            yield _block(
                "retention-restarts",
                f"Lifecycle rule {name} deletes recordings {rule['Expiration']['Days']} days after they were written, "
                f"and writing those of {oldest_days} days ago again starts that clock anew.",
                "Shorten the rule by as much, or archive recordings within a month of the call.",
            )
        kept = rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")
        if kept is not None and kept < _SHORTEST_GRACE_DAYS:
            yield _block(
                "originals-expire",
                f"Lifecycle rule {name} deletes originals {kept} days after they were replaced.",
                f"Give them at least {_SHORTEST_GRACE_DAYS} days.",
            )


def _concerns(rule: Mapping[str, Any], prefixes: Sequence[str]) -> bool:
    """Whether a lifecycle rule covers anything under the prefixes; a filter by tag or size may or may not: yes."""
    filters = rule.get("Filter", {})
    of_rule = filters.get("Prefix") or filters.get("And", {}).get("Prefix") or rule.get("Prefix") or ""
    return any(of_rule.startswith(prefix) or prefix.startswith(of_rule) for prefix in prefixes)


def _object_lock(store: Store) -> Iterator[Finding]:
    if store.default_lock_mode() == "COMPLIANCE":
        yield _block(
            "compliance-lock",
            f"Bucket {store.bucket} locks every version in compliance mode, originals included.",
            "Wait until the originals' locks end before archiving.",
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
                sentence=f"{kind} of the bucket is told of every rewritten recording as if it were a new call.",
                way_out="Let the subscriber ignore objects whose metadata has archive-run-id.",
            )


def _replication(store: Store) -> Iterator[Finding]:
    if any(rule.get("Status") == "Enabled" for rule in store.replication_rules()):
        yield Finding(
            code="replicated",
            severity=Severity.WARN,
            sentence="Replication copies each rewritten recording once more; originals stay at the destination, too.",
            way_out="Count that cost, or leave these prefixes out of the replication rule.",
        )


def _originals() -> Iterator[Finding]:
    yield Finding(
        code="originals-cost",
        severity=Severity.INFO,
        sentence="Each original stays as a noncurrent version, at its former price, until somebody releases it.",
        way_out="The run's report states what they cost.",
    )
