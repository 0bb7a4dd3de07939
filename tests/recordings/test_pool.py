"""Threads and the budget of bytes."""

import threading

import pytest

from recordings.pool import Budget, Pool


def test_results_come_in_the_order_of_the_items() -> None:
    assert Pool(8, Budget(1)).map(lambda n: n * n, range(100)) == [n * n for n in range(100)]


def test_no_more_bytes_in_flight_than_the_budget() -> None:
    lock, in_flight, most = threading.Lock(), 0, 0

    def work(size: int) -> None:
        nonlocal in_flight, most
        with lock:
            in_flight += size
            most = max(most, in_flight)
        threading.Event().wait(0.002)
        with lock:
            in_flight -= size

    Pool(16, Budget(100)).map(work, [30, 70, 40, 60, 99, 1] * 20, cost_bytes=lambda size: size)
    assert 60 < most <= 100


def test_an_item_above_the_whole_budget_gets_all_of_it() -> None:
    assert Pool(4, Budget(10)).map(lambda n: n, [1000, 1, 1000], cost_bytes=lambda n: n) == [1000, 1, 1000]


def test_a_failure_is_raised_after_the_rest_has_ended_and_frees_its_bytes() -> None:
    budget, ended = Budget(10), []

    def work(n: int) -> None:
        if n == 0:
            raise ZeroDivisionError
        threading.Event().wait(0.05)
        ended.append(n)

    pool = Pool(4, budget)
    with pytest.raises(ZeroDivisionError):
        pool.map(work, [0, 1, 2, 3], cost_bytes=lambda _: 2)
    started = list(ended)
    assert pool.map(lambda n: n, [5], cost_bytes=lambda _: 10) == [5]
    assert ended == started
