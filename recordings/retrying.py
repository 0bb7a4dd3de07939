"""Retry passing errors until a deadline: an outage lasts for a time, not for a number of attempts."""

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from recordings.errors import StoreUnavailable
from recordings.settings import settings

_LONGEST_PAUSE_S = 20


def retrying() -> Retrying:
    """A caller that retries what raises StoreUnavailable, after growing, random pauses, until a deadline.

    The deadline is ``patience_s`` after the first attempt. Use a new caller for each call:
    ``statistics["attempt_number"]`` is that of the last call.
    """
    return Retrying(
        retry=retry_if_exception_type(StoreUnavailable),
        stop=stop_after_delay(settings().patience_s),
        wait=wait_random_exponential(max=_LONGEST_PAUSE_S),
        reraise=True,
    )
