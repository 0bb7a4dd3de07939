"""Retention rules of the operator's own: how many days after the call a recording is kept.

They count from the day of the call, not from the day on which a recording was last written, as lifecycle rules do.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from recordings.errors import InvalidRequest
from recordings.request import MAX_DAYS

RETENTION = "retention"  # the code of the reason of an expired row, which names the rule
EXAMPLE = '[{"tag": "retention=short", "keep_days": 90}, {"keep_days": 2190}]'
IN_RETENTION = "in-retention"  # of a row that such a rule keeps
_DECIDED = (f"{RETENTION}: kept ", f"{IN_RETENTION}: kept ")


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RetentionRule:
    """Recordings below a prefix, with a tag, or both, are kept for so many whole UTC days after the day of the call."""

    prefix: str = Field(default="", description="Recordings whose keys begin with this text. Empty: all.")
    tag: str = Field(default="", description="Recordings with this tag, such as retention=short. Empty: any tags.")
    keep_days: int | None = Field(
        ge=0, le=MAX_DAYS, strict=True, description="Whole days after the day of the call. None: kept for ever."
    )

    @property
    def is_default(self) -> bool:
        """Whether the rule covers every recording."""
        return not (self.prefix or self.tag)

    def covers(self, key: str, tags: Mapping[str, str]) -> bool:
        """Whether the rule is about a recording with this key and these tags."""
        name, _, value = self.tag.partition("=")
        return key.startswith(self.prefix) and (not self.tag or tags.get(name) == value)

    def has_ended(self, call: date, today: date) -> bool:
        """Whether a call of that day need no longer be kept."""
        return self.keep_days is not None and call <= self.last_ended(today)

    def last_ended(self, today: date) -> date:
        """The last day whose calls need no longer be kept. Of a rule that keeps for ever, no day."""
        return date.min if self.keep_days is None else today - timedelta(days=self.keep_days + 1)

    def hides(self, later: "RetentionRule") -> bool:
        """Whether a later rule never counts, since this one covers all that the later one covers."""
        return later.prefix.startswith(self.prefix) and self.tag in ("", later.tag)

    @property
    def said(self) -> str:
        """The rule in words: ``90 days after the call (rule for what is tagged retention=short)``."""
        below, tagged = f"below {self.prefix}" if self.prefix else "", f"tagged {self.tag}" if self.tag else ""
        whom = " and ".join(filter(None, (below, tagged)))
        kept = (
            "for ever"
            if self.keep_days is None
            else f"{self.keep_days} day{'' if self.keep_days == 1 else 's'} after the call"
        )
        return f"{kept} (rule for {f'what is {whom}' if whom else 'all other recordings'})"


def checked_rules(rules: Sequence[RetentionRule]) -> tuple[RetentionRule, ...]:
    """The rules, of which the first that covers a recording decides. Raises InvalidRequest."""
    if not rules:
        raise InvalidRequest(
            "rules is empty, so everything is kept: give rules here or in ARCHIVE_RETENTION_RULES, the last one with "
            f"keep_days alone, as {EXAMPLE}"
        )
    for number, rule in enumerate(rules, start=1):
        name, equals, value = rule.tag.partition("=")
        if rule.tag and not (name and equals and value):
            raise InvalidRequest(
                f"rule {number} has the tag {rule.tag!r}: give a name and a value, such as retention=short"
            )
        if (name, value) != (name.strip(), value.strip()):
            raise InvalidRequest(
                f"rule {number} has the tag {rule.tag!r}: take out the spaces around its name and its value, or the "
                "rule covers nothing, and a later one decides"
            )
        if rule.prefix != rule.prefix.strip() or rule.prefix.startswith("/") or "://" in rule.prefix:
            raise InvalidRequest(
                f"rule {number} has the prefix {rule.prefix!r}: give what keys begin with, without spaces around it, "
                "a slash before it, or s3://"
            )
        _check_counts(number, rule, rules)
    if not rules[-1].is_default:
        raise InvalidRequest(
            "the last rule has a prefix or a tag, so no rule says how long other recordings are kept: add a rule "
            "with keep_days alone; null keeps these recordings for ever"
        )
    return tuple(rules)


def _check_counts(number: int, rule: RetentionRule, rules: Sequence[RetentionRule]) -> None:
    hidden = next((later for later, each in enumerate(rules[number:], start=number + 1) if rule.hides(each)), None)
    if hidden:
        raise InvalidRequest(
            f"rule {hidden} never counts, since rule {number} comes first and covers all that rule {hidden} covers: "
            f"put rule {number} after rule {hidden}, or take one of them out"
        )


def rule_for(rules: Sequence[RetentionRule], key: str, tags: Mapping[str, str]) -> RetentionRule:
    """The rule that decides: the first that covers the recording. The last one of checked rules covers all."""
    return next(rule for rule in rules if rule.covers(key, tags))


def may_have_ended(rules: Sequence[RetentionRule], key: str, call: date, today: date) -> bool:
    """Whether some tags would make the recording one that need no longer be kept: only then its tags matter."""
    return True in possible_ends(rules, key, call, today)


def possible_ends(rules: Sequence[RetentionRule], key: str, call: date, today: date) -> set[bool]:
    """Whether the recording's retention has ended, under each rule that some tags would make the deciding one."""
    found = set[bool]()
    for rule in rules:
        if key.startswith(rule.prefix):
            found.add(rule.has_ended(call, today))
            if not rule.tag:
                break
    return found


def rule_of(reason: str | None) -> str | None:
    """The rule that decided, in words, as the reason of an expired or a kept row names it; None in other reasons."""
    said = (reason or "").partition("; ")[0]
    return next((said.removeprefix(each) for each in _DECIDED if said.startswith(each)), None)
