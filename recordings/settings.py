"""Runtime settings: from the environment (``ARCHIVE_THREADS=32``), never from flow parameters."""

import re
from collections import defaultdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from recordings.errors import InvalidRequest
from recordings.retention_rules import EXAMPLE, RetentionRule, checked_rules

MIB = 1024 * 1024


def _file_name(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ValueError(f"file_name {pattern!r} is not a regular expression: {error}") from None
    if "contact_id" not in groups:
        raise ValueError(
            f"file_name {pattern!r} has no group contact_id: put (?P<contact_id>...) around the contact id"
        )
    return pattern


def _time_format(form: str) -> str:
    moment = datetime(2000, 1, 2, 3, 4, 5, tzinfo=UTC)
    try:
        datetime.strptime(moment.strftime(form), form)  # noqa: DTZ007 (only whether it can be read)
    except (ValueError, re.error) as error:
        raise ValueError(
            f"time_format {form!r} is not a format of strptime: {error}; write it as '%Y%m%dT%H%M%S'"
        ) from None
    return form


def _folder(folder: str) -> str:
    if folder and (folder.startswith("/") or not folder.endswith("/")):
        raise ValueError(
            f"folder {folder!r} is not a folder: begin it without a slash and end it with one, as 'imported/'"
        )
    return folder


class KeyPattern(BaseModel):
    """How another recorder names recordings that were imported: ``<folder>YYYY/MM/DD/<file name>``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="What people call this recorder")
    folder: Annotated[str, AfterValidator(_folder)] = Field("", description="What comes before the day; empty: any")
    file_name: Annotated[str, AfterValidator(_file_name)] = Field(
        description="Regular expression of the whole file name, with the group contact_id, and time if the name says it"
    )
    time_format: Annotated[str, AfterValidator(_time_format)] = Field(
        "%Y%m%dT%H%M%S", description="Python's strptime format of the group time; UTC by default"
    )


def _rules(rules: tuple[RetentionRule, ...]) -> tuple[RetentionRule, ...]:
    return checked_rules(rules) if rules else ()


class Settings(BaseSettings):
    """Endpoint, region and credentials are boto3's own (``AWS_ENDPOINT_URL`` and friends), not repeated here."""

    model_config = SettingsConfigDict(env_prefix="ARCHIVE_", frozen=True)

    threads: int = Field(16, ge=1, le=256, description="Recordings worked on at once, over all batches of a process")
    bytes_in_flight: int = Field(256 * MIB, ge=MIB, description="Memory for results not yet uploaded, over all threads")
    batches_in_flight: int = Field(4, ge=1, le=64, description="Batches that a run works on at once")
    batch_bytes: int = Field(2048 * MIB, ge=MIB, description="A batch holds at most so many bytes of recordings")
    max_attempts: int = Field(5, ge=1, le=20, description="Attempts per S3 request, if boto3's retry quota permits")
    patience_s: float = Field(
        600,
        ge=0,
        description="Seconds for which passing errors are retried, per recording and stage, listing, or table file",
    )
    timeout_s: float = Field(60, gt=0, description="Seconds to wait for a connection and for each read from it")
    abandoned_after_h: float = Field(
        6, gt=0, description="Hours after which an unfinished run counts as dead, and a later run revisits its window"
    )
    rejects_alarm_percent: float = Field(
        1, ge=0, description="A run that rejects a larger share of its recordings says so in an event"
    )
    retention_years: float = Field(
        6, gt=0, description="Years for which recordings are kept if no lifecycle rule deletes them; horizon of reports"
    )
    retention_rules: Annotated[tuple[RetentionRule, ...], AfterValidator(_rules)] = Field(
        (), description="How many days after the call recordings are kept: JSON, as expire_recordings takes them"
    )
    grace_days: int = Field(
        7, ge=0, description="Days for which originals stay: the default of releases; forecasts and runs count them"
    )
    skip_unprofitable: bool = Field(
        True, description="Leave alone recordings that would cost more archived than moved by a plain lifecycle rule"
    )
    price_list: Path | None = Field(
        None, description="JSON file of another region's or a negotiated price list; us-east-1's by default"
    )
    key_patterns: tuple[KeyPattern, ...] = Field(
        (),
        description="Layouts of imported recordings: a JSON list of objects with name, folder, file_name, time_format",
    )
    aws_credentials_block: str | None = Field(None, description="Name of a Prefect AwsCredentials block to use")
    assume_role_arn: str | None = Field(
        None,
        pattern=r"^arn:[a-z-]+:iam::[0-9]{12}:role/.+$",
        description="ARN of a role to act in, as of another account: for the bucket and the audit table",
    )


@cache
def settings() -> Settings:
    """The process's settings, read once. Raises InvalidRequest, which names the variable and the way out."""
    try:
        return Settings()
    except ValidationError as error:
        flaws = defaultdict[str, list[str]](list)
        for each in error.errors():
            flaws[str(each["loc"][0])].append(_flaw(each))
        said = (f"{_variable(name)}: {'; '.join(found)}: {_way_out(name)}" for name, found in flaws.items())
        raise InvalidRequest("; ".join(said)) from error
    except SettingsError as error:  # only its text names the field
        name = next(name for name in Settings.model_fields if f'"{name}"' in str(error))
        raise InvalidRequest(f"{_variable(name)} is not valid JSON ({error.__cause__}): {_way_out(name)}") from error


def _flaw(error: ErrorDetails) -> str:
    """``rule 2, keep_days: Input should be a valid integer, found 'x'``."""
    name, *place = error["loc"]
    noun = "rule" if name == "retention_rules" else "entry"
    where = ", ".join(f"{noun} {each + 1}" if isinstance(each, int) else each for each in place)
    said = error["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
    found = "" if error["type"] in ("value_error", "missing") else f", found {error['input']!r}"
    return f"{where}{': ' if where else ''}{said}{found}"


def _variable(name: str) -> str:
    return f"ARCHIVE_{name.upper()}"


def _way_out(name: str) -> str:
    if name == "retention_rules":
        return f"give rules as {EXAMPLE}, or unset it"
    return f"correct it, or unset it ({Settings.model_fields[name].description})"
