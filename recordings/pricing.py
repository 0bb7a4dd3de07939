"""What S3 and Fargate charge, as data, and what a run costs. US dollars, us-east-1, November 2026, list prices.

Sources: "Amazon S3 pricing" (storage, requests, tags), "AWS Fargate pricing" (Linux, ARM).
"""

from collections.abc import Mapping

GB = 1024**3  # S3 bills in binary gigabytes
STORAGE_PER_GB_MONTH = {
    "STANDARD": 0.023,
    "INTELLIGENT_TIERING": 0.023,
    "STANDARD_IA": 0.0125,
    "ONEZONE_IA": 0.01,
    "GLACIER_IR": 0.004,
    "GLACIER": 0.0036,
    "DEEP_ARCHIVE": 0.00099,
}
SMALLEST_BILLED_BYTES = {"STANDARD_IA": 128 * 1024, "ONEZONE_IA": 128 * 1024, "GLACIER_IR": 128 * 1024}
WRITE_PER_1000 = {
    "STANDARD": 0.005,
    "INTELLIGENT_TIERING": 0.005,
    "STANDARD_IA": 0.01,
    "ONEZONE_IA": 0.01,
    "GLACIER_IR": 0.02,
}
STANDARD_WRITE_PER_1000 = 0.005  # also LIST and tagging, whatever the object's class
STANDARD_READ_PER_1000 = 0.0004  # requests by class of object are priced apart only where they are dearer and many
TAG_PER_10_000_MONTHS = 0.01
VCPU_HOUR = 0.03238  # Fargate, Linux on ARM
MEMORY_GB_HOUR = 0.00356
TASK_MEMORY_GB = 2

_LISTS_AND_TAGS = ("ListObjectsV2", "ListObjectVersions", "GetObjectTagging", "PutObjectTagging")


def is_dearer(storage_class: str, other: str) -> bool:
    """Whether a byte kept in the one costs more than in the other."""
    return STORAGE_PER_GB_MONTH[storage_class] > STORAGE_PER_GB_MONTH[other]


def billed_bytes(size_bytes: int, storage_class: str) -> int:
    """What S3 bills an object as: some classes have a smallest size."""
    return max(size_bytes, SMALLEST_BILLED_BYTES.get(storage_class, 0))


def storage_per_month(size_bytes: float, storage_class: str) -> float:
    """Dollars a month for keeping so many billed bytes."""
    return size_bytes / GB * STORAGE_PER_GB_MONTH[storage_class]


def requests_cost(requests: Mapping[str, int], storage_class: str) -> float:
    """Dollars for requests counted by S3 operation, where PUTs write objects of this class."""
    lists_and_tags = sum(requests.get(operation, 0) for operation in _LISTS_AND_TAGS)
    writes = requests.get("PutObject", 0)
    reads = sum(requests.values()) - lists_and_tags - writes
    return (
        lists_and_tags * STANDARD_WRITE_PER_1000
        + writes * WRITE_PER_1000[storage_class]
        + reads * STANDARD_READ_PER_1000
    ) / 1000


def compute_cost(cpu_s: float) -> float:
    """Dollars of a Fargate task of one vCPU for so much CPU time, its memory included."""
    return cpu_s / 3600 * (VCPU_HOUR + TASK_MEMORY_GB * MEMORY_GB_HOUR)
