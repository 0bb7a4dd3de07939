"""How near the archive path is to GET and PUT alone: ``python -m benchmarks.floor``.

The same bytes are read and a quarter of them written back: by boto3 as it comes, by boto3 with all turned off that
costs something, and by obstore, the cheapest client there is. Then by the second with what is promised for every
recording but is no conversion: both SHA-256, and its tags read and written. The archive path converts, judges, verifies
and accounts for each recording besides. All over HTTPS, on one core. Rounds are interleaved, and medians shown.
"""

import argparse
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from benchmarks.clients import Way, middle
from benchmarks.pipeline import one_round
from benchmarks.ways import (
    get_and_put_by_boto3,
    get_and_put_by_obstore,
    get_and_put_frugally,
    get_hash_put_and_tag,
    ours,
)

OURS = "ours"
WAYS: Mapping[str, Way] = {
    "boto3": get_and_put_by_boto3,
    "frugal boto3": get_and_put_frugally,
    "obstore": get_and_put_by_obstore,
    "hashed and tagged": get_hash_put_and_tag,
    OURS: ours,
}
WORKLOADS = {"10 s": {10: 120}, "1 min": {60: 60}, "5 min": {300: 48}, "30 min": {1800: 8}}
QUICK = {"10 s": {10: 4}}
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few calls, one round: to see that it works")
    quick = parser.parse_args().quick
    table = Table("CPU, ms each", *WAYS, *(f"ours / {way}" for way in WAYS if way != OURS))
    for name, lengths in (QUICK if quick else WORKLOADS).items():
        rounds = [one_round(WAYS, lengths) for _ in range(1 if quick else ROUNDS)]
        cpu_s = {way: middle([each[way] for each in rounds]).cpu_s for way in WAYS}
        each = [f"{1000 * used_s / sum(lengths.values()):.1f}" for used_s in cpu_s.values()]
        table.add_row(name, *each, *(f"{cpu_s[OURS] / cpu_s[floor]:.1f}" for floor in WAYS if floor != OURS))
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
