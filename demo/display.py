"""The terminal output of ``make demo``: a progress bar during the run, a table afterwards."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from recordings.formatting import human_bytes, percent_saved

COUNTED = {"archived": "archived", "already_archived": "already", "skipped": "skipped", "rejected": "rejected"}


@contextmanager
def progress_of_the_run(console: Console) -> Iterator[None]:
    """A progress bar that follows the run's reports to the Prefect server."""
    ended = threading.Event()
    columns = (TextColumn("archiving"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=100)
        follower = threading.Thread(target=lambda: _follow(bar, task, ended))
        follower.start()
        try:
            yield
            bar.update(task, completed=100)
        finally:
            ended.set()
            follower.join()


def _follow(bar: Progress, task: TaskID, ended: threading.Event) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
    from prefect.client.schemas.sorting import ArtifactSort

    began = datetime.now(UTC)
    with get_client(sync_client=True) as client:
        while not ended.wait(0.3):
            of_runs = ArtifactFilter(key=ArtifactFilterKey(any_=["archive-progress"]))
            for artifact in client.read_artifacts(artifact_filter=of_runs, sort=ArtifactSort.CREATED_DESC, limit=1):
                if artifact.created and artifact.created >= began:
                    bar.update(task, completed=float(str(artifact.data)))


def table_of_days(rows: pd.DataFrame) -> Table:
    """One line per day of the audit table's rows, and one for the total."""
    headings = ("day", "recordings", *COUNTED.values(), "before", "after", "saved")
    table = Table(*headings, box=None, padding=(0, 1, 0, 0))
    for column in table.columns:
        column.justify, column.no_wrap = "right", True
    days = [(str(day), of_day) for day, of_day in rows.groupby("recording_date")]
    for name, group in [*days, ("all", rows)]:
        archived = group[group["status"] == "archived"]
        before, after = int(archived["bytes_before"].sum()), int(archived["bytes_after"].sum())
        counts = [str((group["status"] == status).sum()) for status in COUNTED]
        table.add_row(
            name, str(len(group)), *counts, human_bytes(before), human_bytes(after), percent_saved(before, after)
        )
    return table
