"""``make demo``: the main job from nothing, on an embedded S3. Run it again: it archives nothing."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from demo.bucket import BUCKET, fill_bucket
from demo.calls import DAYS, PREFIX
from demo.servers import prefect_server, s3_server, tell_the_rest

FOLDER = Path(".demo")
AUDIT = FOLDER / "audit"


def main() -> None:
    console = Console(highlight=False)
    with s3_server(FOLDER / "s3") as s3, ThreadPoolExecutor(1) as background:
        os.environ.update(s3.env)
        filling = background.submit(fill_bucket)  # while Prefect starts, which takes longer
        console.print(f"An S3 server at {s3.url}, a Prefect server beside it ...")
        with prefect_server(FOLDER / "prefect") as prefect:
            os.environ.update({**prefect.env, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING"})
            filled = filling.result()
            console.print(
                f"s3://{BUCKET} {'filled with three days of calls' if filled else 'as the last demo left it'}.\n"
            )
            _archive(console)
            tell_the_rest()
    console.print("\nLook at the run in the Prefect UI:   make ui")


def _archive(console: Console) -> None:
    from flows.archive import archive_recordings  # only now: Prefect reads its address on import
    from recordings.manifest import read_audit
    from recordings.reporting import usd

    with _progress_of_the_run(console):
        summary = archive_recordings(
            bucket=BUCKET,
            prefixes=[PREFIX],
            audit_uri=str(AUDIT),
            start_date=DAYS[0],
            end_date=DAYS[-1],
            batch_size=5,
            readback_percent=10,
        )
    frame = read_audit(str(AUDIT))
    console.print("", _table(frame[frame["run_id"] == summary.run_id]), "")
    if not summary.counts.get("archived"):
        console.print(f"Nothing left to archive: {summary.settled} recordings are settled in the audit table.")
    per_1000 = summary.cost_per_1000_minutes_usd
    if per_1000 is not None:
        console.print(
            f"{summary.minutes_after:,.1f} minutes archived in {summary.wall_s:.1f} s; at AWS list prices "
            f"{usd(per_1000)} per 1,000 minutes (requests and Fargate time)."
        )
    shown = "['recording_date', 'status', 'bytes_before', 'bytes_after']"
    python = f"from recordings.manifest import read_audit; print(read_audit('{AUDIT}')[{shown}])"
    read = f'.venv/bin/python -c "{python}"'
    console.print(f"\nThe audit table, a row for every recording looked at: {AUDIT}\n  {read}", soft_wrap=True)


@contextmanager
def _progress_of_the_run(console: Console) -> Iterator[None]:
    """A bar that shows what the run tells the Prefect server of its progress."""
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


def _table(rows: pd.DataFrame) -> Table:
    """A line per day, and one for all."""
    from recordings.reporting import human_bytes, percent_saved

    headings = {"archived": "archived", "already_archived": "already", "skipped": "skipped", "rejected": "rejected"}
    table = Table("day", "recordings", *headings.values(), "before", "after", "saved", box=None, padding=(0, 1, 0, 0))
    for column in table.columns:
        column.justify, column.no_wrap = "right", True
    days = [(str(day), of_day) for day, of_day in rows.groupby("recording_date")]
    for name, group in [*days, ("all", rows)]:
        archived = group[group["status"] == "archived"]
        before, after = int(archived["bytes_before"].sum()), int(archived["bytes_after"].sum())
        counts = [str((group["status"] == status).sum()) for status in headings]
        sizes = (human_bytes(before), human_bytes(after), percent_saved(before, after))
        table.add_row(name, str(len(group)), *counts, *sizes)
    return table


if __name__ == "__main__":
    main()
