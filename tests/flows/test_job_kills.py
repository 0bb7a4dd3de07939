"""Jobs killed at any moment: everything done gets its row, in the name of the run that did it.

``KILLS`` sets how many of each are killed; the long version has 200.
"""

import os
import random
import time
from datetime import timedelta
from pathlib import Path

import pytest

from demo.servers import Server
from flows.archive import archive_recordings
from recordings.jobs.engine import job
from recordings.table.evidence import verify_audit
from recordings.table.reading import current, read_audit
from tests.bucket import DAY, PREFIX, Bucket, key_of
from tests.fixtures import MakeCall, Setting
from tests.runs import Running, operate, operate_and_tell

pytestmark = pytest.mark.usefixtures("prefect")
KILLS = int(os.environ.get("KILLS", "6"))
KILLS_PER_ROUND = 2  # one after the other, so that settling is killed, too; then a run is left alone
RECORDINGS = 16  # of each round, on two days of its own
ROUNDS_AT_ONCE = 20  # share a bucket and a table, so that there is history

STATUS = {"release": "released", "restore": "restored", "expire": "expired"}
Versions = dict[str, set[str]]  # version ids by key


@pytest.fixture
def soon_dead(monkeypatch: pytest.MonkeyPatch, setting: Setting) -> None:
    """Intents are closed by whoever settles them; else each round would look at those of all the rounds before."""
    setting(ABANDONED_AFTER_H="0.000001")
    monkeypatch.setattr(job, "BATCH_SIZE", 4)


class Round:
    """Two days of recordings, archived: what was there, and what was done to it."""

    def __init__(self, bucket: Bucket, audit_uri: str, kind: str, number: int) -> None:
        self.bucket, self.audit_uri, self.kind, self.day = bucket, audit_uri, kind, DAY + timedelta(days=2 * number)
        table = current(read_audit(audit_uri, self.day, self.day + timedelta(days=1))).set_index("key")
        self.originals = dict(table["version_before"])
        self.replacements = dict(table["version_after"])
        self.before = self.versions()
        self.doers: dict[str, str] = {}  # the run that deleted or copied it, by key

    def versions(self) -> Versions:
        listed = self.bucket.client.list_object_versions(Bucket=self.bucket.name).get("Versions", ())
        of_round: Versions = {key: set() for key in self.originals}
        for version in listed:
            if version["Key"] in of_round:
                of_round[version["Key"]].add(version["VersionId"])
        return of_round

    def done(self) -> set[str]:
        """Whose original is gone, or has a copy above it; of an expiry, of which nothing is left."""
        if self.kind == "expire":
            return {key for key, versions in self.versions().items() if not versions}
        return {key for key, versions in self.versions().items() if versions != self.before[key]}

    def kill(self, moments: random.Random, whole_s: float, *, at_work: bool) -> bool:
        """Kill a run at a moment of its whole time, or of the short time in which it deletes or copies."""
        intents, runs, done = self._intents(), self._runs(), self.done()
        run = Running(self.bucket.name, self.audit_uri, self.kind, self.day, target=operate_and_tell)
        while at_work and run.process.is_alive() and self._intents() == intents:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.25 if at_work else whole_s))
        alive = run.process.is_alive()
        run.process.kill()
        run.process.join()
        time.sleep(0.2)  # a request that it had sent is carried out all the same
        self.doers.update(dict.fromkeys(self.done() - done, " ".join(self._runs() - runs)))
        return alive

    def _runs(self) -> set[str]:
        return {path.name.removesuffix(".start.json") for path in Path(self.audit_uri, "_runs").glob("*.start.json")}

    def _intents(self) -> int:
        return len(list(Path(self.audit_uri, "_runs").glob("*.intent.json")))

    def check(self, last_run: str) -> None:
        frame = read_audit(self.audit_uri, self.day, self.day + timedelta(days=1))
        told = frame[frame["status"] == STATUS[self.kind]]
        assert sorted(told["key"]) == sorted(self.originals), "exactly one row for each"
        doers = {**dict.fromkeys(self.originals, last_run), **self.doers}
        assert dict(zip(told["key"], told["run_id"], strict=True)) == doers, "in the name of who did it"
        assert set(current(frame)["status"]) == {STATUS[self.kind]}
        assert verify_audit(self.audit_uri).discrepancies == ()
        for key, now in self.versions().items():
            if self.kind == "expire":
                assert now == set(), "no version is left"
            elif self.kind == "release":
                assert now == {self.replacements[key]}, "the original, and nothing else, is gone"
            else:
                assert len(now) == 3, "copied once"
                assert {self.originals[key], self.replacements[key]} < now


def archive_rounds(bucket: Bucket, audit_uri: str, rounds: int, a_call: MakeCall) -> None:
    """All rounds in one run."""
    days = [DAY + timedelta(days=n) for n in range(2 * rounds)]
    for n, day in enumerate(days):
        for number in range(RECORDINGS // 2):
            bucket.put(key_of(n * RECORDINGS + number, day), a_call(number, 0.3))
    archive_recordings(
        bucket=bucket.name, prefixes=[PREFIX], audit_uri=audit_uri, start_date=days[0], end_date=days[-1], batch_size=50
    )


@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("soon_dead")
@pytest.mark.parametrize("kind", [*STATUS])
def test_killed_at_any_moment(a_call: MakeCall, tmp_path: Path, s3: Server, kind: str) -> None:
    moments = random.Random(11)  # noqa: S311 (no secret)
    killed, partly, deeds, whole_s = 0, 0, 0, 2.0
    all_rounds = -(-KILLS // KILLS_PER_ROUND)
    for first in range(0, all_rounds, ROUNDS_AT_ONCE):
        rounds = min(ROUNDS_AT_ONCE, all_rounds - first)
        bucket, audit_uri = Bucket(s3), str(tmp_path / f"audit-{first}")
        archive_rounds(bucket, audit_uri, rounds, a_call)
        for number in range(rounds):
            one = Round(bucket, audit_uri, kind, number)
            for kill in range(KILLS_PER_ROUND):
                killed += one.kill(moments, whole_s, at_work=(number + kill) % 3 > 0)
                partly += 0 < len(one.doers) < RECORDINGS
            deeds += len(one.doers)
            began_s = time.monotonic()
            summary = operate(bucket.name, audit_uri, kind, one.day)
            whole_s = time.monotonic() - began_s
            one.check(summary.run_id)
            print(f"{kind}: {(first + number + 1) * KILLS_PER_ROUND} runs so far, and no fault", flush=True)
    runs = all_rounds * KILLS_PER_ROUND
    print(
        f"{runs} runs of {kind}, {killed} killed before their end, {partly} times with some originals done and others"
    )
    print(f"not; {deeds} deeds of dead runs, each with one row, in the name of its run")
    assert killed > KILLS / 3
