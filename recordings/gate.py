"""Is a recording worth converting? The costs of leaving, moving and archiving it until the end of its retention.

Pure functions of a price list. All amounts are US dollars from now on, for one recording. The cost of archiving
includes what follows it: a release deletes the original, and a reconciliation compares the replacement with the table
once. Worker, server and a task's waiting time are not counted, since they cost the same without the recording.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from recordings.pricing import CHARGED_FOR_READING, MONTH_DAYS, PriceList
from recordings.profiles import DEFAULT, Profile
from recordings.request import BATCH_SIZE
from recordings.s3.objects import KMS

# Our own CPU time (docs/performance.md, the whole path over HTTPS): to move, convert to A-law, judge and hash a minute;
# and everything that a run does for a recording of next to no length, Prefect's share included.
CPU_S_PER_MINUTE = DEFAULT.cpu_s_per_minute
CPU_S_PER_RECORDING = 0.005
# Of its release and of its reconciliation: 0.7 and 0.14 times what archiving a call of two seconds took beside them.
_CPU_S_BY_RELEASE, _CPU_S_BY_RECONCILIATION = 0.0035, 0.0007
_KEYS_PER_LISTING = 1000
# Requests of a release and a reconciliation about one replacement, without its share of listings. DELETE is free.
RELEASING = {"HeadObject": 2, "GetObjectTagging": 1}
RELEASING_ORIGINAL = {"HeadObject": 1, "GetObjectTagging": 1}  # those of a release about the original
RECONCILING = {"GetObjectTagging": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A recording as it is stored in the bucket, and for how long it must still be kept."""

    storage_class: str
    size_bytes: int
    minutes: float
    tags: int
    age_days: float
    months_left: float
    months_left_archived: float  # for a replacement: an expiration rule counts from the day on which it was written
    by_kms: bool = False  # S3 asks KMS for each GET and PUT: SSE-KMS without a bucket key


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms of archiving: class, grace period, share read back, profile."""

    storage_class: str
    grace_days: int  # for which an original is kept after archiving
    readback_share: float = 0  # share of the results that are read back, from 0 to 1
    batch_size: int = BATCH_SIZE
    profile: Profile = DEFAULT


def staying_usd(kept: Kept, price_list: PriceList) -> float:
    """Cost if the recording stays where it is, as it is."""
    return price_list.object_month(kept.size_bytes, kept.storage_class) * kept.months_left


def moving_usd(kept: Kept, storage_class: str, price_list: PriceList) -> float:
    """Cost if a lifecycle rule moves the recording unchanged into the class; free if it is there already."""
    if kept.storage_class == storage_class:
        return staying_usd(kept, price_list)
    transition = price_list.of_class(storage_class).transition_per_1000 / 1000
    early = _early(kept, kept.age_days, price_list)
    return transition + early + _storing(kept.size_bytes, storage_class, kept.months_left, price_list)


def archiving_usd(kept: Kept, bytes_after: int, terms: Terms, price_list: PriceList) -> float:
    """Cost if the recording is converted, tagged and kept under ``terms``, and its original deleted after the grace."""
    grace_months = terms.grace_days / MONTH_DAYS
    original = price_list.object_month(kept.size_bytes, kept.storage_class) + price_list.tags_month(kept.tags)
    return (
        work_usd(kept, bytes_after, terms, price_list)
        + afterwards_usd(kept, terms, price_list)
        + price_list.requests(_listings(terms), terms.storage_class)
        + _storing(bytes_after, terms.storage_class, kept.months_left_archived, price_list)
        + price_list.tags_month(1) * kept.months_left_archived
        + original * grace_months
    )


def work_usd(kept: Kept, bytes_after: int, terms: Terms, price_list: PriceList) -> float:
    """Cost of requests for this recording alone, retrieval, CPU time, and early deletion of its original."""
    counts = archiving_requests(kept.storage_class, has_tags=kept.tags > 0, by_kms=kept.by_kms)
    return (
        price_list.requests(counts, terms.storage_class)
        + price_list.kms(counts)
        + price_list.reading(kept.size_bytes, kept.storage_class)
        + price_list.task(CPU_S_PER_RECORDING + kept.minutes * terms.profile.cpu_s_per_minute)
        + terms.readback_share
        * reading_back_usd(
            bytes_after,
            kept.minutes,
            terms.storage_class,
            price_list,
            by_kms=kept.by_kms,
            cpu_s_per_minute=terms.profile.decoding_cpu_s_per_minute,
        )
        + _early(kept, kept.age_days + terms.grace_days, price_list)
    )


def reading_back_usd(
    size_bytes: int,
    minutes: float,
    storage_class: str,
    price_list: PriceList,
    *,
    by_kms: bool = False,
    cpu_s_per_minute: float = CPU_S_PER_MINUTE,
) -> float:
    """Cost of reading a result from S3 once more and decoding it."""
    counts = {"GetObject": 1, KMS: int(by_kms)}
    request = price_list.requests(counts, storage_class) + price_list.kms(counts)
    return request + price_list.reading(size_bytes, storage_class) + price_list.task(minutes * cpu_s_per_minute)


def afterwards_usd(kept: Kept, terms: Terms, price_list: PriceList) -> float:
    """One-off cost of what follows archiving: release and reconciliation."""
    releasing = releasing_usd(kept.storage_class, terms.storage_class, price_list)
    return releasing + reconciling_usd(terms.storage_class, price_list)


def releasing_usd(original_class: str, storage_class: str, price_list: PriceList) -> float:
    """Cost of checking a replacement twice, checking its original, and deleting the original."""
    of_replacement = price_list.requests(RELEASING, storage_class)
    of_original = price_list.requests(RELEASING_ORIGINAL, original_class)
    return of_replacement + of_original + price_list.task(_CPU_S_BY_RELEASE)


def reconciling_usd(storage_class: str, price_list: PriceList) -> float:
    """Cost of comparing a replacement with the audit table, once."""
    return price_list.requests(RECONCILING, storage_class) + price_list.task(_CPU_S_BY_RECONCILIATION)


def archiving_requests(storage_class: str, *, has_tags: bool, by_kms: bool = False) -> Mapping[str, int]:
    """The requests for one archived recording, by S3 operation, plus those of S3 to KMS; without shares of listings.

    Tags are read on both versions, so that none is lost.
    """
    return Counter(
        HeadObject=int(storage_class in CHARGED_FOR_READING),
        GetObject=1,
        PutObject=1,
        GetObjectTagging=4 if has_tags else 1,
        PutObjectTagging=1,
        **{KMS: 2 * int(by_kms)},
    )


def pays(kept: Kept, bytes_after: int, terms: Terms, price_list: PriceList) -> bool:
    """Whether archiving costs less than leaving the recording alone, and than moving it by a lifecycle rule."""
    return archiving_usd(kept, bytes_after, terms, price_list) < cheapest_unconverted_usd(kept, terms, price_list)


def cheapest_unconverted_usd(kept: Kept, terms: Terms, price_list: PriceList) -> float:
    """Cost of leaving the recording, or of moving it by a lifecycle rule into the class of ``terms``: the lower one."""
    return min(staying_usd(kept, price_list), moving_usd(kept, terms.storage_class, price_list))


def _listings(terms: Terms) -> Mapping[str, float]:
    """A recording's share of the listings of its day and of its batch."""
    return {"ListObjectsV2": 1 / _KEYS_PER_LISTING, "ListObjectVersions": 1 / terms.batch_size}


def _storing(size_bytes: int, storage_class: str, months: float, price_list: PriceList) -> float:
    """Storage of a new object in the class; an early deletion is billed for the minimum storage duration."""
    minimum_months = price_list.of_class(storage_class).minimum_storage_days / MONTH_DAYS
    return price_list.object_month(size_bytes, storage_class) * max(months, minimum_months)


def _early(kept: Kept, age_days: float, price_list: PriceList) -> float:
    """What deleting or moving the recording at this age costs, if it leaves its class early."""
    billed = price_list.billed_bytes(kept.size_bytes, kept.storage_class)
    return price_list.early_deletion(billed, kept.storage_class, age_days)
