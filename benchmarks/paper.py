"""Estimates, not measured: a million recordings per day, and a hundred million once: ``python -m benchmarks.paper``.

The estimates follow from the measured CPU time per recording and per minute, the requests of the design, the price
list, and S3's request rates per prefix ("Best practices design patterns: optimizing Amazon S3 performance"). Prints
Markdown.
"""

from benchmarks.clients import STORAGE_CLASS
from recordings.gate import CPU_S_PER_MINUTE, CPU_S_PER_RECORDING
from recordings.pricing import prices
from recordings.savings.scenarios import archiving_cost

WRITES_S, READS_S = 3_500, 5_500  # per second and prefix, by S3's documentation
REQUESTS = 2  # of each kind per recording: PUT and PUT tags, GET and GET tags
TASKS = 16  # of one vCPU each: one per first letter of the contact ids
AMOUNTS = {"1 million recordings a day": 1_000_000, "100 million, once": 100_000_000}
LENGTHS = {"5 min": 5.0, "10 s": 1 / 6}  # minutes


def main() -> None:
    print(f"| | CPU each | CPU | compute | requests | at S3's rate | by {TASKS} tasks | tasks to reach that rate |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for length, minutes in LENGTHS.items():
        cpu_s = CPU_S_PER_RECORDING + CPU_S_PER_MINUTE * minutes
        recordings_s = min(WRITES_S, READS_S) / REQUESTS
        for amount, recordings in AMOUNTS.items():
            cost = archiving_cost(recordings, recordings * minutes, STORAGE_CLASS, prices())
            seconds = recordings * cpu_s, recordings / recordings_s, recordings * cpu_s / TASKS
            cpu, by_s3, by_tasks = (f"{each / 3600:,.1f} h" for each in seconds)
            usd = f"${cost.compute_usd:,.2f} | ${cost.requests_usd:,.0f}"
            name = f"{amount}, {length} each | {1000 * cpu_s:.0f} ms"
            print(f"| {name} | {cpu} | {usd} | {by_s3} | {by_tasks} | {recordings_s * cpu_s:.0f} |")


if __name__ == "__main__":
    main()
