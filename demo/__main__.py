"""The main job from nothing: an embedded S3, a Prefect server, three days of calls, one run that archives them.

Run it again: it archives nothing. Everything lies in .demo; make clean-demo removes it.
"""

import os

from demo.program import FOLDER, start
from demo.servers import prefect_server, s3_server, tell_the_rest

AUDIT = FOLDER / "audit"
ONE_LINER = (
    f".venv/bin/python -c \"from recordings.table.reading import read_audit; print(read_audit('{AUDIT}')"
    "[['recording_date', 'status', 'bytes_before', 'bytes_after']])\""
)


def main() -> None:
    print("Starting an S3 server ...", flush=True)
    with s3_server(FOLDER / "s3") as s3:
        os.environ.update(s3.env)
        _fill()
        print("Starting a Prefect server ...", flush=True)
        with prefect_server(FOLDER / "prefect") as prefect:
            os.environ.update({**prefect.env, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING"})
            print("Archiving them ...\n", flush=True)
            _archive()
            tell_the_rest()
    print("\nLook at the run in the Prefect UI:   make ui")


def _fill() -> None:
    from demo.bucket import (
        BUCKET,
        fill_bucket,
    )  # only now: what takes a moment to import is imported where Ctrl-C is quiet

    print(f"Filling s3://{BUCKET} with three days of calls ...", flush=True)
    if not fill_bucket():
        print("They are there already.")


def _archive() -> None:
    from rich.console import Console

    from demo.bucket import BUCKET
    from demo.calls import DAYS, PREFIX
    from demo.display import progress_of_the_run, table_of_days
    from flows.archive import archive_recordings  # only now: Prefect reads its address on import
    from recordings.formatting import rate_usd
    from recordings.table.reading import read_audit

    console = Console(highlight=False)
    with progress_of_the_run(console):
        summary = archive_recordings(
            bucket=BUCKET,
            prefixes=[PREFIX],
            audit_uri=str(AUDIT),
            start_date=DAYS[0],
            end_date=DAYS[-1],
            batch_size=5,
            readback_percent=10,
            archive_unprofitable=True,  # a real archive skips calls of a few seconds: they cost more than they save
        )
    frame = read_audit(str(AUDIT))
    console.print("", table_of_days(frame[frame["run_id"] == summary.run_id]), "")
    if not summary.counts.get("archived"):
        console.print(f"Nothing left to archive: {summary.final} recordings are in the audit table already.")
    per_1000 = summary.cost_per_1000_minutes_usd
    if per_1000 is not None:
        console.print(
            f"{summary.minutes_after:,.1f} minutes archived in {summary.wall_s:.1f} s. At AWS list prices that costs\n"
            f"{rate_usd(per_1000)} per 1,000 minutes, because these calls last half a minute and S3 charges per "
            "request.\nREADME.md says what longer calls cost."
        )
    console.print(f"\nThe audit table, a row for every recording looked at: {AUDIT}\n  {ONE_LINER}", soft_wrap=True)


if __name__ == "__main__":
    start("make demo", __doc__, main)
