"""Pages that people read in Prefect. What they say stands in the audit table, too: a run does not depend on them."""

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger


def publish(page: str, *, key: str, description: str) -> None:
    """Publish a Markdown page as an artifact; if Prefect does not take it, say so in the log and go on."""
    try:
        create_markdown_artifact(page, key=key, description=description)
    except Exception:
        get_run_logger().exception("the artifact %s could not be published", key)
