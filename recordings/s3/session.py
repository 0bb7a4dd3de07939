"""The session that makes clients, and how a client signs, counts its attempts and names itself."""

import base64
import threading
from datetime import datetime
from functools import cache, partial
from typing import Any

import boto3
import botocore.session
from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import IncompleteReadError
from botocore.utils import parse_timestamp

from recordings.build import SOFTWARE_VERSION
from recordings.errors import StoreRefused
from recordings.s3.errors import translating_for_client

Session = boto3.Session
_one_at_a_time = threading.Lock()  # a session must not be used by several threads; its clients may

# Shown in CloudTrail and access logs. botocore composes its own text for each request, in 7 % of the request's time.
USER_AGENT = f"connect-recording-archive/{SOFTWARE_VERSION} boto3/{boto3.__version__}"


class _Signer(S3SigV4Auth):
    """botocore's own signer instead of CRT's, which wraps each body in a stream, for which it copies the body."""

    def payload(self, request: Any) -> str:
        """The body's SHA-256, hex. It is not computed again where a header has it, since S3 checks the header."""
        known = request.headers.get("x-amz-checksum-sha256")
        return base64.b64decode(known).hex() if known else str(super().payload(request))


_SIGNATURE = "s3v4-of-the-checksum"
AUTH_TYPE_MAPS[_SIGNATURE] = _Signer  # under a name of its own, so that other clients of the process keep their signer


def sign_by_checksum(client: Any) -> None:
    """Make this client sign with our signer wherever it would use botocore's for S3."""
    client.meta.events.register_first("choose-signer.s3", _ours_for_s3v4)


def _ours_for_s3v4(signature_version: Any, context: Any, **_: Any) -> str | None:
    chosen = context.get("auth_type") or signature_version
    return _SIGNATURE if chosen in ("s3v4", "v4") and signature_version in ("s3v4", "v4") else None


@cache
def _models() -> Any:
    """botocore's model of S3: reading it takes 45 ms, so all sessions share it."""
    return botocore.session.get_session().get_component("data_loader")


def own_session() -> Session:
    """A session without botocore's guessing of timestamp formats, which takes two thirds of a listing's time."""
    session = botocore.session.get_session()
    session.register_component("data_loader", _models())
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
    return boto3.Session(botocore_session=session)


def s3_client(session: Session, config: Config) -> Any:
    """A client of S3. Raises StoreRefused for an invalid configuration, such as a profile that does not exist.

    Raises StoreUnavailable where the credentials could not be fetched, which may pass.
    """
    with translating_for_client(), _one_at_a_time:
        client = session.client("s3", config=config)
    client.meta.events.register("before-parse.s3", _check_is_whole)
    return client


def _check_is_whole(response_dict: Any, operation_model: Any, **_: Any) -> None:
    """Raise IncompleteReadError for an answer that broke off: since 1.43.115, botocore does not compare its length.

    It would take a broken-off error for one without a code. Bodies of recordings are streams, which check themselves.
    """
    body, expected = response_dict["body"], response_dict["headers"].get("content-length")
    if isinstance(body, bytes) and expected and operation_model.http["method"] != "HEAD" and len(body) < int(expected):
        raise IncompleteReadError(actual_bytes=len(body), expected_bytes=int(expected))


def make_clients_with(session: Session, *, config: Config | None = None, **parameters: Any) -> None:
    """Set an endpoint, a bundle of authorities, or other parameters for all clients that a session makes."""
    session._session.set_default_client_config(config or Config())
    session.client = partial(session.client, **parameters)  # type: ignore[method-assign]


def assume_role(session: Session, role_arn: str, **how: Any) -> None:
    """Make a session act in a role from now on; its credentials are renewed before they expire."""
    own = session.get_credentials()
    if own is None:
        raise StoreRefused(f"there are no credentials with which to assume {role_arn}")
    core = session._session
    fetcher = AssumeRoleCredentialFetcher(core.create_client, own, role_arn, extra_args=how)
    core._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")  # type: ignore[attr-defined]


def _timestamp(value: Any) -> datetime:
    """A time in S3's XML format (ISO 8601), or in any other format that botocore reads, as in headers."""
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return parse_timestamp(value)
