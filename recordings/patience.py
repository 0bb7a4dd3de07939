"""Trying again what may pass."""

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from recordings.errors import StoreUnavailable
from recordings.settings import settings

_LONGEST_PAUSE_S = 20


def patience() -> Retrying:
    """Calls again what raised StoreUnavailable, after growing, random pauses; raises it when attempts are used up."""
    return Retrying(
        retry=retry_if_exception_type(StoreUnavailable),
        stop=stop_after_attempt(settings().rounds),
        wait=wait_random_exponential(max=_LONGEST_PAUSE_S),
        reraise=True,
    )
