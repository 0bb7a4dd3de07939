"""How long a recording is kept: until a lifecycle rule or one of the operator's own rules deletes it.

What neither deletes is kept as the setting ``retention_years`` says.

In a bucket with versioning, an expiration only puts a delete marker above an object. The object's bytes cost money
until a rule on noncurrent versions deletes them ("Lifecycle configuration elements" in the S3 User Guide). So an
expiration counts only together with such a rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from recordings.formatting import plural
from recordings.lifecycle_rules import (
    Rule,
    Stored,
    covers,
    hidden_at,
    is_enabled,
    name_of,
    noncurrent_days,
    rules_that_concern,
)
from recordings.pricing import MONTH_DAYS
from recordings.retention_rules import RetentionRule, rule_for
from recordings.s3.store import Store
from recordings.settings import settings

_YEAR_DAYS = 12 * MONTH_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The bucket's lifecycle rules, and how long after the call a recording is kept where none of these deletes it."""

    rules: tuple[Rule, ...] | None  # the enabled rules; None where S3 does not show them
    otherwise_years: float  # where no rule of either kind deletes it
    own_rules: tuple[RetentionRule, ...] = ()  # by which expire_recordings deletes

    def ends_at(self, stored: Stored, recorded_at: datetime) -> datetime:
        """When the object's bytes are deleted."""
        covering = [rule for rule in self.rules or () if covers(rule, stored)]
        hidden = [end for rule in covering if (end := hidden_at(rule, stored.written_at))]
        deleted = [days for rule in covering if (days := noncurrent_days(rule)) is not None]
        ends = [min(hidden) + timedelta(days=min(deleted))] if hidden and deleted else []
        if self.own_rules:
            keep_days = rule_for(self.own_rules, stored.key, stored.tags).keep_days
            day = datetime.combine(recorded_at.date(), time.min, recorded_at.tzinfo)
            ends += [] if keep_days is None else [day + timedelta(days=keep_days + 1)]
        return min(ends, default=recorded_at + timedelta(days=self.otherwise_years * _YEAR_DAYS))

    def sentence(self, prefixes: Sequence[str]) -> str:
        """One sentence: how long recordings below the prefixes count as kept, and why."""
        setting = self._setting
        if self.rules is None:
            return f"The bucket's lifecycle rules cannot be read: recordings count as kept {setting}."
        concerning = rules_that_concern(self.rules, prefixes)
        hiding = [rule for rule in concerning if rule.get("Expiration", {}).keys() & {"Days", "Date"}]
        deleting = [rule for rule in concerning if noncurrent_days(rule) is not None]
        if not hiding:
            return f"No lifecycle rule deletes recordings: they count as kept {setting}."
        named = "; ".join(_told(rule) for rule in hiding)
        if not deleting:
            return (
                f"{named}. But no rule deletes noncurrent versions, so you still pay for hidden recordings: "
                f"recordings count as kept {setting}."
            )
        later = "; ".join(f"{name_of(rule)}: {plural(noncurrent_days(rule) or 0, 'day')} later" for rule in deleting)
        return f"{named}. Their bytes are deleted by {later}. What no rule deletes counts as kept {setting}."

    @property
    def _setting(self) -> str:
        """How long what no lifecycle rule deletes is kept, in words."""
        years = f"for {self.otherwise_years:g} years"
        if not self.own_rules:
            return f"{years} after the call, as ARCHIVE_RETENTION_YEARS says"
        said = "; ".join(rule.said if rule.keep_days is None else f"for {rule.said}" for rule in self.own_rules)
        is_endless = any(rule.keep_days is None for rule in self.own_rules)
        return f"{said}, as ARCHIVE_RETENTION_RULES says" + (f" (for ever counts as {years})" if is_endless else "")


def retention_of(store: Store) -> Retention:
    """The retention by the bucket's rules, as they were at the first request."""
    rules = store.visible_lifecycle_rules
    enabled = None if rules is None else tuple(rule for rule in rules if is_enabled(rule))
    return Retention(rules=enabled, otherwise_years=settings().retention_years, own_rules=settings().retention_rules)


def lifecycle_may_have_deleted(retention: Retention, stored: Stored, now: datetime, *, is_versioned: bool) -> bool:
    """Whether the bucket's lifecycle rules may have hidden the object and deleted its bytes by now."""
    covering = [rule for rule in retention.rules or () if covers(rule, stored)]
    hidden = [max(end, stored.written_at) for rule in covering if (end := hidden_at(rule, stored.written_at))]
    deleted = [days for rule in covering if (days := noncurrent_days(rule)) is not None] if is_versioned else [0]
    return bool(hidden and deleted) and min(hidden) + timedelta(days=min(deleted)) <= now


def _told(rule: Rule) -> str:
    expiration = rule["Expiration"]
    days, on = expiration.get("Days"), expiration.get("Date")
    when = f"{plural(days, 'day')} after they were written" if days else f"on {on:%Y-%m-%d}"
    return f"{name_of(rule)} hides recordings {when}"
