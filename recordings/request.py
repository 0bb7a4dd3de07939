"""What people ask for, checked before anything is touched. Each refusal names the parameter and the way out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple

from recordings.errors import InvalidRequest

# "General purpose bucket naming rules" in the S3 user guide, and the underscore that older buckets may have. Aliases of
# access points look alike.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
# "Referencing access points" in the S3 user guide. An Object Lambda access point (s3-object-lambda) is not accepted:
# its answers differ from the objects in the bucket.
_ACCESS_POINT = re.compile(r"arn:aws[a-z-]*:s3:[a-z0-9-]*:[0-9]{12}:accesspoint[/:][a-z0-9.-]{1,63}")
S3 = "s3://"
MAX_DAYS = 36500
MIN_AGE_DAYS = 7  # until analytics are done, unless another number is asked for
LOOKBACK_DAYS = 7  # so that the next runs pick up a day that was missed
READBACK_PERCENT = 1.0  # of the results of archiving, unless another share is asked for
BATCH_SIZE = 200  # recordings that one task run of archiving works on, unless another number is asked for
FIRST_DAY = date(2000, 1, 1)  # no recording is older: an earlier date is a typing error
_BEFORE_A_NAME = re.compile(r"s3[an]?://|arn:aws[a-z-]*:s3:::", re.IGNORECASE)


class Range(NamedTuple):
    """The lowest and the highest number that a parameter accepts, in the run form and in the code."""

    minimum: int
    maximum: int


DAYS_RANGE = Range(0, MAX_DAYS)  # of ages and grace periods
LOOKBACK_RANGE = Range(1, MAX_DAYS)
BATCH_SIZE_RANGE = Range(1, 1000)
PERCENT_RANGE = Range(0, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which recordings are asked for. Dates are of the calls, UTC, inclusive. None and empty do not narrow."""

    bucket: str
    prefixes: tuple[str, ...]  # ("",): the whole bucket
    start_date: date | None = None
    end_date: date | None = None
    contact_ids: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    of_run: str | None = None  # the run that archived them

    @property
    def names(self) -> tuple[str, tuple[str, ...]] | None:
        """The column by which recordings are asked for by name, and the names: keys, or contacts; None if neither."""
        if self.keys:
            return "key", self.keys
        return ("contact_id", self.contact_ids) if self.contact_ids else None


def bucket_and_prefix(uri: str) -> tuple[str, str]:
    """What an ``s3://bucket/prefix`` names; either may be empty, and neither is checked."""
    bucket, _, prefix = uri.removeprefix(S3).rstrip("/").partition("/")
    return bucket, prefix


def is_bucket_name(bucket: str) -> bool:
    """Whether a bucket can have this name, or an access point this alias."""
    return _BUCKET.fullmatch(bucket) is not None


def check_bucket_name(bucket: str) -> None:
    """Raises InvalidRequest for an address, an ARN of a bucket, or any other text that cannot be a bucket's name."""
    if not bucket.strip():
        raise InvalidRequest("bucket is empty: name the bucket")
    if not (is_bucket_name(bucket) or _ACCESS_POINT.fullmatch(bucket)):
        bare = _BEFORE_A_NAME.sub("", bucket.strip(), count=1).partition("/")[0].lower()
        example = bare if is_bucket_name(bare) and bare != bucket else "my-connect-bucket"
        raise InvalidRequest(
            f"bucket is {bucket!r}: give the bare name, such as {example!r}, or the ARN of an access point. Names have "
            "3 to 63 lower-case letters, digits, dots and hyphens; what follows the name belongs in prefixes"
        )


def checked_selection(
    bucket: str,
    *,
    prefixes: Sequence[str] | None,
    start_date: date | None,
    end_date: date | None,
    contact_ids: Sequence[str] | None,
    keys: Sequence[str] | None,
    of_run: str | None,
) -> Selection:
    """The recordings that are asked for, checked. Raises InvalidRequest naming the parameter and the way out."""
    check_bucket_name(bucket)
    check_dates(start_date, end_date)
    return Selection(
        bucket=bucket,
        prefixes=normal_prefixes([""] if prefixes is None else prefixes),
        start_date=start_date,
        end_date=end_date,
        contact_ids=_contacts(contact_ids),
        keys=check_entries("keys", keys),
        of_run=(of_run or "").strip() or None,
    )


def normal_prefixes(prefixes: Sequence[str]) -> tuple[str, ...]:
    """Each prefix once, ending in a slash, without the ivr/ folder of another; the root is the empty prefix.

    Raises InvalidRequest.
    """
    if isinstance(prefixes, str) or not prefixes:
        raise InvalidRequest(f"prefixes is {prefixes!r}: give a list, such as ['connect/<alias>/CallRecordings/']")
    for prefix in prefixes:
        _check_prefix(prefix)
    if "" in prefixes and len(set(prefixes)) > 1:
        raise InvalidRequest(f"prefixes is {list(prefixes)!r}: '' is the whole bucket; leave '' or the others out")
    normal = dict.fromkeys(prefix.rstrip("/") + "/" if prefix else "" for prefix in prefixes)
    return tuple(prefix for prefix in normal if prefix.removesuffix("ivr/") == prefix or prefix[:-4] not in normal)


def _check_prefix(prefix: str) -> None:
    if prefix != prefix.strip():
        raise InvalidRequest(f"prefixes has {prefix!r}: take the spaces out; '' is the whole bucket")
    if "://" in prefix or prefix.lower().startswith("arn:"):
        raise InvalidRequest(
            f"prefixes has {prefix!r}: give what follows the bucket's name, such as 'connect/<alias>/...'"
        )
    if prefix.startswith("/"):
        raise InvalidRequest(f"prefixes has {prefix!r}: keys begin without a slash, as {prefix.lstrip('/')!r}")


def check_entries(parameter: str, entries: Sequence[str] | None) -> tuple[str, ...]:
    """The entries, each once; none if the parameter was left out.

    Raises InvalidRequest for a list without an entry, or with a blank one: a mistake must not come to mean all. Forms
    leave the field out, and a program that computed an empty list found nobody.
    """
    if entries is None:
        return ()
    if not entries:
        raise InvalidRequest(f"{parameter} is an empty list, which selects nothing: fill it in, or leave it out")
    if not all(each.strip() for each in entries):
        raise InvalidRequest(f"{parameter} has an empty entry: fill it in or take it out")
    return tuple(dict.fromkeys(entries))


def _contacts(contact_ids: Sequence[str] | None) -> tuple[str, ...]:
    """The same of contacts, without spaces around them; a key, in contrast, may end in a space."""
    return tuple(dict.fromkeys(each.strip() for each in check_entries("contact_ids", contact_ids)))


def check_dates(start_date: date | None, end_date: date | None) -> None:
    """Raises InvalidRequest for an empty range of dates, or for dates on which no call can have been recorded."""
    today = datetime.now(UTC).date()
    if start_date and end_date and start_date > end_date:
        raise InvalidRequest(f"start_date {start_date} is later than end_date {end_date}: swap them, or leave one out")
    for name, day in (("start_date", start_date), ("end_date", end_date)):
        if day and day > today:
            raise InvalidRequest(f"{name} {day} lies in the future: today is {today} (UTC)")
        if day and day < FIRST_DAY:
            raise InvalidRequest(f"{name} {day} lies before {FIRST_DAY}: check the year")


def check_range(parameter: str, value: float, allowed: Range) -> None:
    """Raises InvalidRequest for a number outside the range."""
    if not allowed.minimum <= value <= allowed.maximum:
        raise InvalidRequest(f"{parameter} is {value}: it must be from {allowed.minimum} to {allowed.maximum}")
