"""What releasing a month costs in Prefect: ``python -m benchmarks.releasing``.

The flow releases 20,000 originals of each of thirty days on a real Prefect server, with its tasks, intents, rows and
records; only S3 is left out: each proof holds, and each deletion is done at once.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

from benchmarks.orchestration import SERVER_TABLES, growth_of_server
from benchmarks.upkeep import GRACE_MONTH_LEFT, LEFT_DAYS, fill
from demo.servers import CREDENTIALS, prefect_server, run_to_end
from recordings.jobs import release
from recordings.jobs.engine import deletion
from recordings.jobs.engine.job import Job, begun
from recordings.table.rows import AuditRow, Status


def release_here(root: str) -> None:
    """Release the originals that are due, and print what that took."""
    from flows.release import release_originals  # reads the server's address from the environment

    def proved(_: object, row: AuditRow, job: Job) -> deletion.Proof:
        now = datetime.now(UTC)
        gone = replace(begun(row, job), status=Status.RELEASED, original_kept=False, state_at=now, finished_at=now)
        checked = deletion.Checked(row=gone, removables=(), newest=(None, ""))
        return deletion.Proof(checked, gone, seal=deletion._SEAL)

    began_s = time.monotonic()
    with (
        patch.object(release, "prove_released", proved),
        patch.object(deletion, "delete_proved", lambda _, proof: proof.row),
        patch("recordings.jobs.engine.course.check_may_delete", lambda _: None),
    ):
        summary = release_originals(
            bucket="recordings", audit_uri=root, everything=True, dry_run=False, grace_days=GRACE_MONTH_LEFT
        )
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {"wall_s": time.monotonic() - began_s, "cpu_s": used.ru_utime + used.ru_stime}
    print(json.dumps({**figures, "peak_mb": used.ru_maxrss / 1000, "released": summary.counts["released"]}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few recordings a day: to see that it works")
    parser.add_argument("--recordings", type=int, default=20_000, help="a day")
    parser.add_argument("--root", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.root:
        release_here(options.root)
        return
    with tempfile.TemporaryDirectory() as folder, prefect_server(Path(folder) / "prefect") as server:
        table, database = Path(folder) / "table", Path(folder) / "prefect"
        table.mkdir()
        fill(table, LEFT_DAYS, 50 if options.quick else options.recordings, LEFT_DAYS)
        before = growth_of_server(database)
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.releasing", "--root", str(table)]
        shown = run_to_end(command, {**os.environ, **CREDENTIALS, **server.env})
        figures = json.loads(next(line for line in shown.splitlines() if line.startswith("{")))
        time.sleep(3)  # the server writes with a delay
        after = growth_of_server(database)
    grown = {name: after[name] - before[name] for name in after}
    shown_as = Table(f"a release of {figures['released']:,} originals", "")
    shown_as.add_row(
        "the flow", f"{figures['cpu_s']:.0f} s CPU, {figures['wall_s']:.0f} s, {figures['peak_mb']:.0f} MB"
    )
    shown_as.add_row("task runs, events, log lines", ", ".join(f"{grown[name]:,.0f}" for name in SERVER_TABLES))
    shown_as.add_row("the server", f"{grown['cpu_s']:.1f} s CPU, its database {grown['database_mb']:.1f} MB more")
    shown_as.add_row("the longest artifact", f"{after['longest_artifact']:,.0f} characters")
    Console(width=120).print(shown_as)


if __name__ == "__main__":
    main()
