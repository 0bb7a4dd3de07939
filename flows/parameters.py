"""The parameters that several flows take: their bounds, what the run form offers, and what an empty field means."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from recordings.handover.export import AudioVersion
from recordings.profiles import PROFILES
from recordings.request import BATCH_SIZE_RANGE, DAYS_RANGE, LOOKBACK_RANGE, PERCENT_RANGE, Range
from recordings.run import STORAGE_CLASSES


def _one_of(names: Sequence[str]) -> Any:
    return Field(json_schema_extra={"enum": list(names)})


def _within(allowed: Range) -> Any:
    return Field(ge=allowed.minimum, le=allowed.maximum)


def _left_out(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _required(value: Any) -> Any:
    if _left_out(value) is None:
        raise ValueError("the field is empty: give a UTC day, such as 2026-01-12")
    return value


def _trimmed(value: Any) -> Any:
    return "" if value is None else value.strip() if isinstance(value, str) else value


Day = Annotated[date | None, BeforeValidator(_left_out)]  # empty: the run decides
RequiredDay = Annotated[date, BeforeValidator(_required)]
GraceDays = Annotated[int | None, _within(DAYS_RANGE), BeforeValidator(_left_out)]  # empty: decided elsewhere
Words = Annotated[str, BeforeValidator(_trimmed)]  # empty: not asked for
ProfileName = Annotated[str, _one_of([*PROFILES])]
StorageClass = Annotated[str, _one_of(STORAGE_CLASSES)]
VersionName = Annotated[str, _one_of(list(AudioVersion))]
AgeDays = Annotated[int, _within(DAYS_RANGE)]
LookbackDays = Annotated[int, _within(LOOKBACK_RANGE)]
Percent = Annotated[float, _within(PERCENT_RANGE)]
BatchSize = Annotated[int, _within(BATCH_SIZE_RANGE)]


class Table(BaseModel):
    """The audit table of an instance."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, description="What people call the instance")
    audit_uri: str = Field(description="The audit table: s3://bucket/prefix, or a local folder")
    role_arn: str = Field("", description="ARN of the role that may read the table. Empty: the run's own role")
    price_list: str = Field("", description="JSON file of the instance's prices. Empty: those of the settings")


Tables = Annotated[list[Table], Field(min_length=1)]
