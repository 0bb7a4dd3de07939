"""Retry passing errors until a deadline: an outage lasts for a time, not for a number of attempts."""

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from recordings.errors import StoreUnavailable
from recordings.settings import settings

_LONGEST_PAUSE_S = 20


def patience() -> Retrying:
    """Retries calls that raise StoreUnavailable, after growing, random pauses; gives up ``patience_s`` after the start.

    Use a new one for each call: ``statistics["attempt_number"]`` is that of the last call.
    """
    return Retrying(
        retry=retry_if_exception_type(StoreUnavailable),
        stop=stop_after_delay(settings().patience_s),
        wait=wait_random_exponential(max=_LONGEST_PAUSE_S),
        reraise=True,
    )
