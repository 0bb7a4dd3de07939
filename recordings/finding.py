"""The findings of preflight about a bucket: how serious each is, and which of them an operator may accept."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from recordings.errors import InvalidRequest

NOTHING_BELOW = "nothing-below-prefix"
# Risks that an operator may accept: their codes, and what accepting each means.
ACCEPTABLE = {
    "unversioned": "originals are overwritten for good: nothing can be restored",
    "no-conditional-writes": "a recording that somebody else writes at the same moment may be lost",
    "retention-restarts": "rewritten recordings are kept for longer than the lifecycle rule was meant to keep them",
    "expires-on-date": "recordings and what replaced them are deleted on that day",
    "originals-expire": "originals vanish before anybody has looked at their replacements",
    "compliance-lock": "originals cannot be released before their lock ends: archiving only adds cost until then",
    NOTHING_BELOW: "the run does not fail, but does not count as a success; meant for new instances",
    "cannot-see-versioning": "if versioning is off, originals are overwritten for good",
    "cannot-see-conditional-writes": "a recording that somebody else writes at the same moment may be lost",
}


class Severity(StrEnum):
    """What a finding means for a run."""

    BLOCK = "block"
    WARN = "warn"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A fact about the bucket that an operator should know before anything is written."""

    code: str
    severity: Severity
    sentence: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence} {self.way_out}"


class PreflightFailed(InvalidRequest):
    """The bucket is not safe to work on, and the operator has not accepted the risk."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = tuple(findings)


def block(code: str, sentence: str, way_out: str) -> Finding:
    """A finding that stops a run; its way out says how to accept it, if it can be accepted."""
    accepting = f' Or accept=["{code}"]: {ACCEPTABLE[code]}.' if code in ACCEPTABLE else ""
    return Finding(code=code, severity=Severity.BLOCK, sentence=sentence, way_out=way_out + accepting)
