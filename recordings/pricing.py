"""What S3, KMS and Fargate charge, as dated data, and the costs that follow. All amounts are US dollars.

``prices/us-east-1.json`` gives the source page and the month of each price. ``ARCHIVE_PRICE_LIST`` names another file
of the same form, for another region or a negotiated discount. Everything here is a pure function of a price list.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from functools import cache
from pathlib import Path

from recordings.errors import InvalidRequest
from recordings.s3.objects import KMS
from recordings.settings import settings

GB = 1024**3  # S3 bills in binary gigabytes
MONTH_DAYS = 365.25 / 12
_MONTH_HOURS = MONTH_DAYS * 24
_MAX_MONTHS_OLD = 12
_STANDARD = "STANDARD"
_US_EAST_1 = Path(__file__).parent / "prices" / "us-east-1.json"

# "Requests-Tier1" of "STANDARD, RRS, and tags", whatever the object's class ("Understanding your AWS billing and usage
# reports for Amazon S3").
_STANDARD_TIER_1 = ("ListObjectsV2", "ListObjectVersions", "PutObjectTagging")
_READ_TAGS = "GetObjectTagging"
# Classes that charge for each byte read ("Amazon S3 pricing"): look at the headers before asking for the body.
CHARGED_FOR_READING = ("GLACIER_IR", "STANDARD_IA", "ONEZONE_IA")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPrice:
    """The prices of one storage class. ``per_1000`` means per 1,000 requests, ``gb`` per binary gigabyte."""

    storage_gb_month: float
    write_per_1000: float
    read_per_1000: float
    transition_per_1000: float = 0  # a lifecycle rule moving an object into this class
    retrieval_gb: float = 0
    minimum_billable_bytes: int = 0  # a smaller object is billed as one of this size
    minimum_storage_days: int = 0  # an object that is deleted earlier is billed as if it had stayed so long
    cheaper_above_gb: tuple[tuple[float, float], ...] = ()  # (volume in GB, price per GB-month from there on)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSize:
    """The size of a Fargate task, which is billed for what it reserves, busy or not."""

    vcpu: float
    memory_gb: float


RUN_TASK = TaskSize(vcpu=1, memory_gb=2)
WORKER_TASK = TaskSize(vcpu=0.25, memory_gb=0.5)
SERVER_TASK = TaskSize(vcpu=0.5, memory_gb=1)  # a self-hosted Prefect server; its database is not priced here


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The page and the month (such as 2026-11) of a price."""

    page: str
    as_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """List prices of a region, each with its source, and the costs computed from them."""

    region: str
    sources: Mapping[str, Source]  # by the name of the price; ``classes`` stands for all classes
    classes: Mapping[str, ClassPrice]
    tag_per_10000_months: float
    kms_per_10000: float
    fargate_vcpu_hour: float
    fargate_gb_hour: float

    @property
    def as_of(self) -> str:
        """The month of the oldest of these prices."""
        return min(each.as_of for each in self.sources.values())

    @property
    def source(self) -> str:
        """The pages that the prices were taken from."""
        pages = dict.fromkeys(each.page for each in self.sources.values())
        return f"List prices in US dollars: {'; '.join(pages)}"

    def is_old(self, today: date) -> bool:
        """Whether any price is more than twelve months old."""
        year, month = map(int, self.as_of.split("-"))
        return (today.year - year) * 12 + today.month - month > _MAX_MONTHS_OLD

    def of_class(self, storage_class: str) -> ClassPrice:
        """The prices of a class; those of Standard for a class that is not listed, such as REDUCED_REDUNDANCY."""
        return self.classes.get(storage_class, self.classes[_STANDARD])

    def billed_bytes(self, size_bytes: int, storage_class: str) -> int:
        """The size that S3 bills for an object: at least the class's minimum billable size."""
        return max(size_bytes, self.of_class(storage_class).minimum_billable_bytes)

    def storage_month(self, billed_bytes: float, storage_class: str) -> float:
        """Cost of keeping this many billed bytes for a month, at the price of the first gigabyte."""
        return billed_bytes / GB * self.of_class(storage_class).storage_gb_month

    def object_month(self, size_bytes: int, storage_class: str) -> float:
        """Cost of keeping an object of this size for a month."""
        return self.storage_month(self.billed_bytes(size_bytes, storage_class), storage_class)

    def volume_month(self, size_gb: float, storage_class: str) -> float:
        """Cost of keeping a whole account's volume in the class for a month, volume discounts included."""
        price = self.of_class(storage_class)
        steps = [(0.0, price.storage_gb_month), *price.cheaper_above_gb]
        ends = [*(start for start, _ in steps[1:]), float("inf")]
        return sum(
            max(0.0, min(size_gb, end) - start) * gb_month for (start, gb_month), end in zip(steps, ends, strict=True)
        )

    def tags_month(self, tags: float) -> float:
        """Cost of keeping this many object tags for a month."""
        return tags / 10_000 * self.tag_per_10000_months

    def requests(self, counts: Mapping[str, float], write_class: str) -> float:
        """Cost of S3 requests, counted by operation, where PUTs write objects of this class.

        GETs are priced as reads from Standard (``reading`` is the surcharge of other classes), HEADs and
        GetObjectTagging as requests for objects of ``write_class``; for the latter, see ``tags_read_for_less``.
        """
        standard, target = self.of_class(_STANDARD), self.of_class(write_class)
        tier_1 = sum(counts.get(operation, 0) for operation in _STANDARD_TIER_1)
        writes = counts.get("PutObject", 0)
        looks = counts.get("HeadObject", 0) + counts.get(_READ_TAGS, 0)
        reads = sum(counts.values()) - counts.get(KMS, 0) - tier_1 - writes - looks
        return (
            tier_1 * standard.write_per_1000
            + writes * target.write_per_1000
            + looks * target.read_per_1000
            + reads * standard.read_per_1000
        ) / 1000

    def tags_read_for_less(self, counts: Mapping[str, float], write_class: str) -> float:
        """By how much ``requests`` are cheaper if AWS charges for reading tags as for a GET of Standard.

        "Understanding your AWS billing and usage reports for Amazon S3" leaves it open: ``Requests-Tier1`` names tags,
        and both ``Requests-Tier2`` and ``Requests-GIR-Tier2`` are "GET and all other" requests. The higher
        price counts.
        """
        more = self.of_class(write_class).read_per_1000 - self.of_class(_STANDARD).read_per_1000
        return counts.get(_READ_TAGS, 0) / 1000 * more

    def kms(self, counts: Mapping[str, int]) -> float:
        """Cost of the requests to KMS among the counted ones."""
        return counts.get(KMS, 0) / 10_000 * self.kms_per_10000

    def reading(self, size_bytes: int, storage_class: str) -> float:
        """The surcharge for reading one object, compared with reading it from Standard."""
        price = self.of_class(storage_class)
        surcharge = (price.read_per_1000 - self.of_class(_STANDARD).read_per_1000) / 1000
        return size_bytes / GB * price.retrieval_gb + surcharge

    def early_deletion(self, billed_bytes: float, storage_class: str, age_days: float) -> float:
        """What S3 charges for the rest of the minimum storage duration, if an object of this age is deleted."""
        left_days = max(0, self.of_class(storage_class).minimum_storage_days - age_days)
        return self.storage_month(billed_bytes, storage_class) * left_days / MONTH_DAYS

    def task(self, seconds: float, size: TaskSize = RUN_TASK) -> float:
        """Cost of a Fargate task of this size for this many seconds."""
        return seconds / 3600 * (size.vcpu * self.fargate_vcpu_hour + size.memory_gb * self.fargate_gb_hour)

    @property
    def standing_month(self) -> float:
        """Cost of worker and server for a month; both run whether there is work or not."""
        return self.task(_MONTH_HOURS * 3600, WORKER_TASK) + self.task(_MONTH_HOURS * 3600, SERVER_TASK)


def load_prices(path: Path) -> PriceList:
    """A price list from a JSON file of the form of ``prices/us-east-1.json``. Raises InvalidRequest naming the file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        classes = {name: ClassPrice(**price) for name, price in data.pop("classes").items()}
        sources = {name: Source(**source) for name, source in data.pop("sources").items()}
        return PriceList(classes=classes, sources=sources, **data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRequest(f"price list {path}: {error}. It must have the form of {_US_EAST_1.name}") from error


@cache
def prices() -> PriceList:
    """The price list that the settings name; us-east-1's by default."""
    return load_prices(settings().price_list or _US_EAST_1)


def costs_more(storage_class: str, other: str) -> bool:
    """Whether a byte kept in the one costs more than in the other."""
    of_class = prices().of_class
    return of_class(storage_class).storage_gb_month > of_class(other).storage_gb_month


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What work cost, by kind. Marginal is the cost of one more recording; all-in is the amount on the bill."""

    requests_usd: float = 0
    kms_usd: float = 0
    retrieval_usd: float = 0  # reading from classes that charge for it
    compute_usd: float = 0  # CPU time of the run's task
    waiting_usd: float = 0  # the rest of the task's time: Fargate bills reserved, not used
    standing_usd: float = 0  # worker and server

    @property
    def marginal_usd(self) -> float:
        """Requests, KMS, retrieval and CPU time."""
        return self.requests_usd + self.kms_usd + self.retrieval_usd + self.compute_usd

    @property
    def all_in_usd(self) -> float:
        """Marginal cost plus waiting, worker and server."""
        return self.marginal_usd + self.waiting_usd + self.standing_usd

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)})


def run_cost(
    price_list: PriceList,
    counts: Mapping[str, int],
    *,
    write_class: str,
    retrieval_usd: float,
    cpu_s: float,
    wall_s: float,
    standing_days: float,
) -> Cost:
    """The cost of a run from what it measured; worker and server are charged for ``standing_days``."""
    return Cost(
        requests_usd=price_list.requests(counts, write_class),
        kms_usd=price_list.kms(counts),
        retrieval_usd=retrieval_usd,
        compute_usd=price_list.task(cpu_s),
        waiting_usd=price_list.task(max(0, wall_s - cpu_s)),
        standing_usd=price_list.standing_month * standing_days / MONTH_DAYS,
    )


def break_even_months(spent_usd: float, saved_usd_month: float) -> float | None:
    """Months until savings have paid for what was spent; None if they never do."""
    return spent_usd / saved_usd_month if saved_usd_month > 0 else None
