"""What S3's refusals, and botocore's own, come out as: known codes, unknown ones, and what they say."""

import random
import string
from typing import Any

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from recordings.errors import BodyDiffers, Changed, Skipped, StoreRefused, StoreUnavailable
from recordings.s3.errors import Asked, action_of, translated, translating

OBJECT = Asked(bucket="b", key="k", version_id=None)
VERSION = Asked(bucket="b", key="k", version_id="v1")
BUCKET = Asked(bucket="b", key=None, version_id=None)


def answer(
    code: str, status: int = 400, said: str = "S3 says so.", operation: str = "GetObject", about: Asked = OBJECT
) -> Exception:
    response: Any = {"Error": {"Code": code, "Message": said}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return translated(ClientError(response, operation), operation, about)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("about", [OBJECT, VERSION, BUCKET], ids=["object", "version", "bucket"])
def test_a_code_that_no_table_knows_is_a_refusal_in_s3s_words(seed: int, about: Asked) -> None:
    draw = random.Random(seed)  # noqa: S311 (no secret)
    code = "".join(draw.choices(string.ascii_letters, k=12))
    error = answer(code, draw.choice([400, 403, 405, 409, 412, 501]), operation="PutObject", about=about)
    assert isinstance(error, StoreRefused)
    assert code in str(error)
    assert "S3 says so." in str(error)
    assert str(about) in str(error)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("SlowDown", 503, StoreUnavailable),
        ("NobodyKnowsThisOne", 500, StoreUnavailable),
        ("NobodyKnowsThisOne", 429, StoreUnavailable),
        ("KMS.ThrottlingException", 400, StoreUnavailable),
        ("KMS.DisabledException", 400, StoreRefused),
        ("KMS.KMSInvalidStateException", 400, StoreRefused),
        ("InvalidTag", 400, StoreRefused),
        ("NotImplemented", 501, StoreRefused),
        ("PreconditionFailed", 412, Changed),
        ("NoSuchVersion", 404, Changed),
    ],
)
def test_what_may_pass_is_told_from_what_does_not(code: str, status: int, kind: type) -> None:
    assert type(answer(code, status)) is kind


@pytest.mark.parametrize("operation", ["GetObject", "CopyObject"])
def test_what_lies_frozen_needs_a_thaw(operation: str) -> None:
    assert str(answer("InvalidObjectState", 403, operation=operation)).startswith("needs-thaw: ")


@pytest.mark.parametrize("operation", ["GetObject", "CopyObject"])
def test_only_a_foreign_key_is_one(operation: str) -> None:
    said = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided."
    assert isinstance(answer("InvalidRequest", said=said, operation=operation), Skipped)
    assert isinstance(answer("InvalidRequest", said="This is something else.", operation=operation), StoreRefused)


@pytest.mark.parametrize(
    ("operation", "about", "action"),
    [
        ("HeadObject", OBJECT, "s3:GetObject"),
        ("HeadObject", VERSION, "s3:GetObjectVersion"),
        ("DeleteObject", VERSION, "s3:DeleteObjectVersion"),
        ("GetObjectTagging", OBJECT, "s3:GetObjectTagging"),
        ("GetObjectTagging", VERSION, "s3:GetObjectVersionTagging"),
        ("PutObjectTagging", VERSION, "s3:PutObjectVersionTagging"),
        ("GetObjectLegalHold", VERSION, "s3:GetObjectLegalHold"),
        ("ListObjectVersions", BUCKET, "s3:ListBucketVersions"),
        ("GetBucketOwnershipControls", BUCKET, "s3:GetBucketOwnershipControls"),
    ],
)
def test_the_action_named_is_the_one_that_iam_checks(operation: str, about: Asked, action: str) -> None:
    named = str(answer("AccessDenied", 403, operation=operation, about=about)).partition("the role needs ")[2]
    assert named.partition(" ")[0].rstrip(",") == action


def test_no_action_is_named_that_does_not_exist() -> None:
    assert "s3:CopyObject" not in action_of("CopyObject")
    assert "s3:HeadObject" not in action_of("HeadObject")


def test_what_aws_says_was_denied_is_what_is_named() -> None:
    said = (
        "User: arn:aws:sts::1:assumed-role/archive/x is not authorized to perform: kms:Decrypt on resource: "
        "arn:aws:kms:us-east-1:1:key/k because no identity-based policy allows the kms:Decrypt action"
    )
    message = str(answer("AccessDenied", 403, said))
    assert said in message
    assert message.endswith("the role needs kms:Decrypt there")


def test_a_method_that_is_not_allowed_on_a_bucket_deletes_nothing() -> None:
    """As an access point's alias answers some requests."""
    error = answer("MethodNotAllowed", 405, "Not on this resource.", operation="GetBucketVersioning", about=BUCKET)
    assert isinstance(error, StoreRefused)
    assert "deleted" not in str(error)
    assert isinstance(answer("MethodNotAllowed", 405, operation="PutObject"), StoreRefused)
    assert isinstance(answer("MethodNotAllowed", 405, operation="GetObject", about=VERSION), Changed)


@pytest.mark.parametrize("said", [{"Code": "SomethingNew", "Message": None}, {"Code": "SomethingNew"}, {}])
def test_an_error_that_says_little_is_no_bug(said: dict[str, str]) -> None:
    answer_of_s3: Any = {"Error": said, "ResponseMetadata": {"HTTPStatusCode": 409}}
    error = translated(ClientError(answer_of_s3, "PutObject"), "PutObject", OBJECT)
    assert isinstance(error, StoreRefused)
    assert said.get("Code", "409") in str(error)


def test_what_granting_would_not_mend_is_not_called_a_missing_grant() -> None:
    assert "the role needs" not in str(answer("AllAccessDisabled", 403))
    assert "the role needs" in str(answer("AccessDenied", 403))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.CredentialRetrievalError(provider="container-role", error_msg="429"), StoreUnavailable),
        (exceptions.EndpointConnectionError(endpoint_url="http://s3"), StoreUnavailable),
        (exceptions.MetadataRetrievalError(error_msg="429"), StoreUnavailable),
        (ResponseParserError("no XML"), StoreUnavailable),
        (exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), StoreUnavailable),
        (exceptions.ResponseStreamingError(error="the connection was reset"), StoreUnavailable),
        (OSError("the connection was reset"), StoreUnavailable),
        (exceptions.FlexibleChecksumError(error_msg="Expected checksum a"), BodyDiffers),
        (exceptions.NoCredentialsError(), StoreRefused),
        (exceptions.ParamValidationError(report="metadata is not ASCII"), StoreRefused),
        (exceptions.UnauthorizedSSOTokenError(), StoreRefused),
        (exceptions.BotoCoreError(), StoreRefused),
    ],
)
def test_botocores_own_errors_are_ours_too(error: Exception, kind: type) -> None:
    assert type(translated(error, "GetObject", OBJECT)) is kind


def test_renewed_credentials_that_have_expired_may_be_renewed_again() -> None:
    """botocore raises a RuntimeError for them; any other one is a bug."""
    with pytest.raises(StoreUnavailable), translating("GetObject", OBJECT):
        raise RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired.")
    with pytest.raises(RuntimeError, match="a bug"), translating("GetObject", OBJECT):
        raise RuntimeError("a bug")
