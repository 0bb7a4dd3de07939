"""Runtime settings: from the environment (``ARCHIVE_THREADS=32``), never from flow parameters."""

from functools import cache
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024


class Settings(BaseSettings):
    """Endpoint, region and credentials are boto3's own (``AWS_ENDPOINT_URL`` and friends), not repeated here."""

    model_config = SettingsConfigDict(env_prefix="ARCHIVE_", frozen=True)

    threads: int = Field(16, ge=1, le=256, description="Recordings worked on at once, over all batches of a process")
    bytes_in_flight: int = Field(256 * MIB, ge=MIB, description="Memory for results not yet uploaded, over all threads")
    batches_in_flight: int = Field(4, ge=1, le=64, description="Batches that a run works on at once")
    batch_bytes: int = Field(2048 * MIB, ge=MIB, description="A batch holds at most so many bytes of recordings")
    max_attempts: int = Field(5, ge=1, le=20, description="Attempts per S3 request, if boto3's retry quota permits")
    patience_s: float = Field(
        600, ge=0, description="Seconds for which what may pass is tried again, per recording and stage"
    )
    timeout_s: float = Field(60, gt=0, description="Seconds to wait for a connection and for each read from it")
    abandoned_after_h: float = Field(
        6, gt=0, description="A run that started so long ago and never finished counts as dead; its window is revisited"
    )
    rejects_alarm_percent: float = Field(
        1, ge=0, description="A run that rejects a larger share of its recordings says so in an event"
    )
    retention_years: float = Field(
        6, gt=0, description="For how long what no lifecycle rule of the bucket deletes is kept; horizon of reports"
    )
    grace_days: int = Field(
        7, ge=0, description="Days for which an original stays: a release's default, and what forecasts and gate count"
    )
    skip_unprofitable: bool = Field(
        True, description="Leave alone what would cost more archived than under a lifecycle rule that only moves it"
    )
    price_list: Path | None = Field(
        None, description="JSON file of another region's or a negotiated price list; us-east-1's by default"
    )
    aws_credentials_block: str | None = Field(None, description="Name of a Prefect AwsCredentials block to use")


@cache
def settings() -> Settings:
    """The process's settings, read once."""
    return Settings()
