"""On paper, not measured: a million recordings a day, and a hundred million once: ``python -m benchmarks.paper``.

From the CPU time by recording and by minute that was measured, the requests of the design, the price list, and S3's
request rates ("Best practices design patterns: optimizing Amazon S3 performance": for each prefix).
"""

from rich.console import Console
from rich.table import Table

from benchmarks.clients import STORAGE_CLASS
from recordings.pricing import prices
from recordings.scenarios import CPU_S_BY_MINUTE, CPU_S_BY_RECORDING, archiving_cost

WRITES_S, READS_S = 3_500, 5_500  # by S3 and prefix
REQUESTS = 2  # of either kind for a recording: PUT and PUT tags, GET and GET tags
TASKS = 16  # of a vCPU each: one for each first letter of the contact ids
AMOUNTS = {"1 million recordings a day": 1_000_000, "100 million, once": 100_000_000}
LENGTHS = {"5 min": 5.0, "10 s": 1 / 6}  # minutes


def main() -> None:
    for name, minutes in LENGTHS.items():
        cpu_s = CPU_S_BY_RECORDING + CPU_S_BY_MINUTE * minutes
        table = Table(name, "CPU h", "compute $", "requests $", "h by S3's rate, one prefix", f"h by {TASKS} tasks")
        for amount, recordings in AMOUNTS.items():
            cost = archiving_cost(recordings, recordings * minutes, STORAGE_CLASS, prices())
            by_rate_s = recordings * REQUESTS / min(WRITES_S, READS_S)
            hours = [recordings * cpu_s / 3600, by_rate_s / 3600, recordings * cpu_s / TASKS / 3600]
            cpu_h, by_rate_h, by_tasks_h = (f"{each:,.1f}" for each in hours)
            table.add_row(amount, cpu_h, f"{cost.compute_usd:,.2f}", f"{cost.requests_usd:,.0f}", by_rate_h, by_tasks_h)
        console = Console(width=110)
        console.print(table)
        console.print(
            f"{1000 * cpu_s:.0f} ms of CPU a recording: S3's write rate is the limit from "
            f"{WRITES_S / REQUESTS * cpu_s:.0f} tasks on one prefix"
        )


if __name__ == "__main__":
    main()
