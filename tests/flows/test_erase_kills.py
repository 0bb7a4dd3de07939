"""Erasures killed at any moment: nothing is gone without a row or an intent, and the next run leaves nothing.

``KILLS`` sets how many are killed; the long version has 200.
"""

import json
import os
import random
import time
from pathlib import Path

import pytest

from recordings.jobs.engine import job
from recordings.table.evidence import verify_audit
from recordings.table.reading import read_audit
from tests.bucket import PREFIX, Bucket
from tests.fixtures import Setting
from tests.runs import Running, erase, erase_and_tell

pytestmark = pytest.mark.usefixtures("prefect")
KILLS = int(os.environ.get("KILLS", "6"))


@pytest.fixture
def soon_dead(monkeypatch: pytest.MonkeyPatch, setting: Setting) -> None:
    """Intents are closed by whoever settles them, whether their runs have ended or not."""
    setting(ABANDONED_AFTER_H="0.000001")
    monkeypatch.setattr(job, "BATCH_SIZE", 4)


class Contact:
    """A contact of six recordings and four analyses, two versions each."""

    def __init__(self, bucket: Bucket, audit_uri: str, number: int) -> None:
        self.bucket, self.audit_uri, self.id = bucket, Path(audit_uri), f"contact-{number}"
        times = [f"{PREFIX}{{}}2026/01/12/{self.id}_20260112T10:3{n}_UTC.wav" for n in range(3)]
        texts = [f"Analysis/Voice/2026/01/12/{self.id}_analysis_2026-01-12T10:3{n}:00Z.json" for n in range(4)]
        self.keys = [*(time.format(folder) for time in times for folder in ("", "ivr/")), *texts]
        for key in self.keys:
            bucket.put(key, b"first")
            bucket.put(key, b"second")

    def left(self) -> dict[str, int]:
        """How many versions are left of each object of which any is."""
        keys = [key for key, _, _, _ in self.bucket.snapshot() if f"/{self.id}_" in key]
        return {key: keys.count(key) for key in keys}

    def touched(self) -> set[str]:
        left = self.left()
        return {key for key in self.keys if left.get(key) != 2}

    def told(self) -> set[str]:
        """The objects that a row or an intent speaks of."""
        intents = (json.loads(path.read_text()) for path in self.audit_uri.glob("_runs/*.intent.json"))
        names = {row["key"] for intent in intents for row in intent["rows"]}
        return names | (set(read_audit(str(self.audit_uri))["key"]) if any(self.audit_uri.glob("r*/*")) else set())

    def is_requested(self) -> bool:
        return any(self.id in path.read_text() for path in self.audit_uri.glob("_runs/*.erasure.json"))

    def kill(self, moments: random.Random, whole_s: float, *, at_work: bool) -> bool:
        """Kill an erasure of it, or the run that finishes one, at a moment of its time or of its deletions."""
        asked, before = "" if self.is_requested() else self.id, len(self.touched())
        run = Running(self.bucket.name, str(self.audit_uri), asked, target=erase_and_tell)
        while at_work and run.process.is_alive() and len(self.touched()) == before < len(self.keys):
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.05 if at_work else whole_s))
        alive = run.process.is_alive()
        run.process.kill()
        run.process.join()
        time.sleep(0.2)  # a request that it had sent is carried out all the same
        return alive


@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("soon_dead")
def test_killed_at_any_moment(bucket: Bucket, audit_uri: str) -> None:
    moments = random.Random(17)  # noqa: S311 (no secret)
    killed, partly, whole_s = 0, 0, 2.0
    others = Contact(bucket, audit_uri, 99999)
    for number in range(-(-KILLS // 2)):
        contact = Contact(bucket, audit_uri, number)
        for kill in range(2):
            killed += contact.kill(moments, whole_s, at_work=(number + kill) % 3 > 0)
            assert contact.touched() <= contact.told(), "nothing is gone without a row or an intent"
            assert not contact.touched() or contact.is_requested(), "nor without the request"
            partly += 0 < len(contact.touched()) < len(contact.keys)
        began_s = time.monotonic()
        erase(bucket.name, audit_uri, "" if contact.is_requested() else contact.id)
        whole_s = time.monotonic() - began_s
        assert contact.left() == {}, "the next run leaves nothing of it"
        frame = read_audit(audit_uri)
        erased = frame[frame["status"].eq("erased") & frame["contact_id"].eq(contact.id)]
        assert set(erased["key"]) == set(contact.keys)
        assert erased["reason"].str.startswith("case: 2026-GDPR-1").all()
        print(f"erase: {2 * (number + 1)} runs so far, and no fault", flush=True)
    assert others.left() == dict.fromkeys(others.keys, 2)
    assert verify_audit(audit_uri).discrepancies == ()
    print(f"{killed} erasures killed before their end, {partly} of them with some objects gone and others not")
    assert killed > KILLS / 3
