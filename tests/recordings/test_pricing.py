"""Prices by hand."""

import pytest

from recordings.pricing import GB, billed_bytes, compute_cost, is_dearer, requests_cost, storage_per_month


def test_a_small_object_is_billed_as_128_kib_in_glacier_ir() -> None:
    assert billed_bytes(1, "GLACIER_IR") == 131072
    assert billed_bytes(131073, "GLACIER_IR") == 131073
    assert billed_bytes(1, "STANDARD") == 1


def test_storage_of_a_terabyte_for_a_month() -> None:
    assert storage_per_month(1024 * GB, "STANDARD") == pytest.approx(23.552)
    assert storage_per_month(1024 * GB, "GLACIER_IR") == pytest.approx(4.096)


def test_requests_of_a_million_recordings() -> None:
    """GET $0.40, PUT into GLACIER_IR $20, two tagging requests $10, 2 listings for each 200 recordings $0.05."""
    million = {
        "GetObject": 1_000_000,
        "PutObject": 1_000_000,
        "GetObjectTagging": 1_000_000,
        "PutObjectTagging": 1_000_000,
        "ListObjectVersions": 5_000,
        "ListObjectsV2": 5_000,
    }
    assert requests_cost(million, "GLACIER_IR") == pytest.approx(30.45)


def test_an_hour_of_one_vcpu_with_its_memory() -> None:
    assert compute_cost(3600) == pytest.approx(0.0395)


def test_dearer_is_by_byte_kept() -> None:
    assert is_dearer("STANDARD", "GLACIER_IR")
    assert not is_dearer("GLACIER_IR", "GLACIER_IR")
