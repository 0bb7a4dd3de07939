"""Forecast what archiving would save and cost, from the listing and from the headers of a sample. Writes nothing.

Totals are ratio estimates from a simple random sample without replacement (Cochran, "Sampling Techniques", chapter 6),
with the 95 % interval of the normal approximation; where the sample is everything, they are exact.
"""

import hashlib
import heapq
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from recordings.conversion.audio import foresee
from recordings.conversion.wav import ByteStream
from recordings.decision import (
    NOT_WORTH_IT,
    WAS_DESTROYED,
    Done,
    check_is_due,
    open_source,
    weigh,
)
from recordings.errors import RecordingError, Rejected, StoreRefused, StoreUnavailable
from recordings.formatting import plural
from recordings.gate import CPU_S_PER_RECORDING, Kept, Terms, afterwards_usd, pays, work_usd
from recordings.keeping import Convertible, KeepingCost, ways_of_keeping
from recordings.pool import Pool
from recordings.pricing import CHARGED_FOR_READING, PriceList
from recordings.profiles import PROFILES, Profile
from recordings.recording import Recording
from recordings.retention import retention_of
from recordings.run import Run
from recordings.s3.store import Store

SAMPLE_SIZE = 200
_Z_95 = 1.96
_NOT_DUE = ("not-a-recording", "too-young", WAS_DESTROYED)  # the listing and the audit table alone show these
_FOUND = ("found-archived", "found-converted")  # verified and tagged like the recordings that a run archives
# Further requests of a run: about the bucket (preflight), and with a canary in each folder of recordings.
_OF_BUCKET = {"GetBucket": 8, "ListObjectsV2": 1}
_OF_CANARY = {
    **{"ListObjectsV2": 2, "PutObject": 1, "HeadObject": 3, "GetObject": 2},
    **{"GetObjectTagging": 2, "PutObjectTagging": 1},
}
_DATE_LETTERS = len("2026/01/12")

_log = logging.getLogger(__name__)


class Survey:
    """The totals of a listing, and a random sample of it. Two surveys can be added: the sample stays random."""

    __slots__ = ("billed_by_class", "bytes_by_class", "count", "final_count", "sample", "sample_size")

    def __init__(
        self, recordings: Iterable[Recording], price_list: PriceList, *, sample_size: int = SAMPLE_SIZE
    ) -> None:
        self.count, self.final_count, self.sample_size = 0, 0, sample_size
        self.bytes_by_class: Counter[str] = Counter()
        self.billed_by_class: Counter[str] = Counter()
        self.sample = heapq.nsmallest(sample_size, self._counted(recordings, price_list), key=_lot)

    def _counted(self, recordings: Iterable[Recording], price_list: PriceList) -> Iterable[Recording]:
        for each in recordings:
            self.count += 1
            self.bytes_by_class[each.storage_class] += each.size_bytes
            self.billed_by_class[each.storage_class] += price_list.billed_bytes(each.size_bytes, each.storage_class)
            yield each

    def add(self, other: "Survey") -> "Survey":
        """This survey and the other one, added up."""
        self.count += other.count
        self.final_count += other.final_count
        self.bytes_by_class += other.bytes_by_class
        self.billed_by_class += other.billed_by_class
        self.sample = heapq.nsmallest(self.sample_size, [*self.sample, *other.sample], key=_lot)
        return self


def _lot(recording: Recording) -> bytes:
    """A lot for random sampling: always the same for one recording, uniformly distributed over all of them."""
    return hashlib.blake2b(recording.key.encode(), digest_size=8).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What would become of a recording, by its headers. ``reason`` is None if it would be archived."""

    recording: Recording
    reason: str | None
    bytes_after: int = 0
    convertible: Convertible | None = None  # where the headers say that it can be converted

    @property
    def kept(self) -> Kept | None:
        """The recording as it is stored now."""
        return self.convertible.kept if self.convertible else None

    @property
    def minutes(self) -> float:
        """Its length, if it would be archived."""
        return self.kept.minutes if self.kept and self.reason is None else 0


def look_at(store: Store, recordings: Sequence[Recording], run: Run, pool: Pool) -> list[Look]:
    """Read the first bytes of each recording; nothing is written."""
    return pool.map(lambda recording: _look(store, recording, run), recordings)


def _look(store: Store, recording: Recording, run: Run) -> Look:
    try:
        check_is_due(recording, run)
        with open_source(store, recording, run) as source:
            if isinstance(source, Done):
                return Look(recording=recording, reason="found-archived")
            again = _Again(source.body)
            foreseen = foresee(again, source.original.size_bytes, run.profile)
            sizes = dict(_sizes(again, source.original.size_bytes))
        kept, stays = weigh(
            source,
            run,
            retention_of(store),
            already=foreseen.already,
            duration_s=foreseen.duration_s,
            bytes_after=foreseen.bytes_after,
        )
        return Look(
            recording=recording,
            reason=stays.code if stays else None,
            bytes_after=foreseen.bytes_after,
            convertible=Convertible(kept=kept, bytes_by_profile=sizes),
        )
    except (RecordingError, StoreRefused, StoreUnavailable) as error:
        return Look(recording=recording, reason=error.code)
    except Exception as error:
        _log.error("a bug, met at s3://%s/%s", recording.bucket, recording.key, exc_info=error)
        return Look(recording=recording, reason="bug")


class _Again:
    """A stream whose beginning can be read again, as far as it has been read."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream, self._seen, self._at = stream, bytearray(), 0

    def read(self, size_bytes: int) -> bytes:
        if self._at == len(self._seen):
            self._seen += self._stream.read(size_bytes)
        data = bytes(self._seen[self._at : self._at + size_bytes])
        self._at += len(data)
        return data

    def rewind(self) -> None:
        self._at = 0


def _sizes(stream: _Again, size_bytes: int) -> Iterator[tuple[str, int]]:
    """The size in bytes that the recording would have under each profile that can convert it."""
    for profile in PROFILES.values():
        stream.rewind()
        with suppress(Rejected):
            yield profile.name, foresee(stream, size_bytes, profile).bytes_after


def worth_it(looks: Sequence[Look], run: Run, price_list: PriceList) -> str:
    """One sentence: how many of these recordings are worth archiving, and what becomes of the others."""
    due = [look for look in looks if look.reason in (None, NOT_WORTH_IT) and look.kept]
    paying = sum(pays(look.kept, look.bytes_after, run.terms, price_list) for look in due if look.kept)
    losing = len(due) - paying
    fate = "archived all the same" if run.archive_unprofitable else "skipped"
    return (
        f"{paying:,} of {plural(len(due), 'recording')} that can be archived are worth it; {losing:,} would cost more "
        f"archived than moved by a lifecycle rule" + (f": {fate}" if losing else "")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimated total with its 95 % confidence interval."""

    low: float
    expected: float
    high: float

    def plus(self, certain: float) -> "Interval":
        """The same interval, shifted by a known amount."""
        return Interval(low=self.low + certain, expected=self.expected + certain, high=self.high + certain)


def ratio_estimate(known: Sequence[float], sought: Sequence[float], total: float, population: int) -> Interval:
    """The total of ``sought`` over a population whose total of ``known`` is ``total``, from a sample of both."""
    n, found = len(known), float(sum(sought))
    if n >= population or not sum(known):
        return Interval(low=found, expected=found, high=found)
    ratio = found / sum(known)
    residuals = sum((y - ratio * x) ** 2 for x, y in zip(known, sought, strict=True))
    variance = residuals / max(1, n - 1) / n * (1 - n / population)
    margin = _Z_95 * math.sqrt(variance) * total / (sum(known) / n)
    return Interval(low=ratio * total - margin, expected=ratio * total, high=ratio * total + margin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a run over the window would do. Sizes in bytes, money in US dollars at list prices."""

    terms: Terms
    recordings: int  # listed, and not final since earlier runs
    final: int
    looked_at: int
    bytes_listed: int
    usd_month_listed: float  # for keeping everything listed as it is; exact
    archived: Interval  # recordings
    bytes_before: Interval  # of the recordings that would be archived
    bytes_after: Interval
    minutes: Interval
    saved_month: Interval  # once originals are released
    originals_month: Interval  # until originals are released
    cost: Interval  # of archiving: requests, retrieval, CPU time, early deletion of originals
    cost_afterwards: Interval  # of releasing their originals, and of comparing table and bucket once
    saved_in_all: Interval  # by storage once originals are released, until the end of each recording's retention
    reasons: Mapping[str, int]  # of the recordings looked at that would not be archived
    keeping_costs: tuple[KeepingCost, ...]  # for all that could be archived, until the end of the retention

    @property
    def cpu_hours(self) -> float:
        """Time on one vCPU."""
        return (
            self.recordings * CPU_S_PER_RECORDING + self.minutes.expected * self.terms.profile.cpu_s_per_minute
        ) / 3600


def forecast(survey: Survey, looks: Sequence[Look], run: Run, price_list: PriceList, *, runs: int = 1) -> Forecast:
    """The totals for everything surveyed, if it is archived in this number of ``runs``."""
    sizes = [float(look.recording.size_bytes) for look in looks]
    archived = [look.reason is None for look in looks]
    bytes_listed = survey.bytes_by_class.total()

    def by_size(sought: Iterable[float]) -> Interval:
        counted = [value if small else 0.0 for value, small in zip(sought, archived, strict=True)]
        return ratio_estimate(sizes, counted, bytes_listed, survey.count)

    def all_by_size(sought: Iterable[float]) -> float:
        return ratio_estimate(sizes, [*sought], bytes_listed, survey.count).expected

    def by_count(sought: Iterable[float]) -> Interval:
        return ratio_estimate([1.0] * len(looks), [*sought], survey.count, survey.count)

    convertible = [look.convertible for look in looks]
    kept = [price_list.object_month(look.recording.size_bytes, look.recording.storage_class) for look in looks]

    def saved_at(share: float) -> list[float]:
        """Of each recording a month, where the profile leaves so much of the size that is expected of it."""
        return [
            was - price_list.object_month(round(look.bytes_after * share), run.storage_class) - price_list.tags_month(1)
            for was, look in zip(kept, looks, strict=True)
        ]

    saved = saved_at(1)
    return Forecast(
        terms=run.terms,
        recordings=survey.count,
        final=survey.final_count,
        looked_at=len(looks),
        bytes_listed=bytes_listed,
        usd_month_listed=sum(price_list.storage_month(size, name) for name, size in survey.billed_by_class.items()),
        archived=by_count(map(float, archived)),
        bytes_before=by_size(sizes),
        bytes_after=_spread(lambda share: by_size(look.bytes_after * share for look in looks), run.profile),
        minutes=by_size(look.minutes for look in looks),
        saved_month=_spread(lambda share: by_size(saved_at(share)), run.profile),
        originals_month=by_size(kept),
        cost=by_count(_cost(look, run, price_list) for look in looks).plus(
            _cost_of_runs(survey, run, price_list, runs)
        ),
        cost_afterwards=by_count(
            afterwards_usd(look.kept, run.terms, price_list) if look.reason is None and look.kept else 0.0
            for look in looks
        ),
        saved_in_all=by_size(
            month * look.kept.months_left if look.kept else 0.0 for month, look in zip(saved, looks, strict=True)
        ),
        reasons=Counter(look.reason for look in looks if look.reason),
        keeping_costs=tuple(
            KeepingCost(
                way=way, usd=all_by_size(way.cost_usd(each, price_list) if each else 0.0 for each in convertible)
            )
            for way in ways_of_keeping(run.terms)
        ),
    )


def _spread(estimate: Callable[[float], Interval], profile: Profile) -> Interval:
    """An estimate, wider by how much the size that a profile leaves differs from bucket to bucket.

    ``estimate`` takes the share of the expected size.
    """
    expected = estimate(1)
    ends = [estimate(ratio / profile.size_ratio) for ratio in profile.size_ratios]
    low, high = min(each.low for each in ends), max(each.high for each in ends)
    return Interval(low=low, expected=expected.expected, high=high)


def _cost(look: Look, run: Run, price_list: PriceList) -> float:
    """One-off cost of this recording, in US dollars."""
    if look.reason is None and look.kept:
        return work_usd(look.kept, look.bytes_after, run.terms, price_list)
    return price_list.requests(_requests(look), run.storage_class)


def _requests(look: Look) -> Mapping[str, int]:
    """The requests, by S3 operation, that a run makes about a recording that it leaves as it is."""
    if look.reason in _NOT_DUE:
        return {}
    is_head_first = look.recording.storage_class in CHARGED_FOR_READING
    has_tags = look.kept is not None and look.kept.tags > 0
    counts = Counter(GetObject=1, HeadObject=int(is_head_first), GetObjectTagging=int(has_tags))
    if look.reason in _FOUND:
        counts += Counter(GetObjectTagging=1, PutObjectTagging=1)
    return counts


def _cost_of_runs(survey: Survey, run: Run, price_list: PriceList, runs: int) -> float:
    """Cost of a run's other requests, in US dollars: listings of objects and versions, preflight, and canaries."""
    if not survey.count:
        return 0
    folders = {each.key.rpartition("/")[0][:-_DATE_LETTERS] for each in survey.sample}
    days = sum((window.end_date - window.start_date).days + 1 for window in run.windows)
    counts = Counter(
        ListObjectsV2=2 * days + survey.count // 1000, ListObjectVersions=days + survey.count // run.batch_size
    )
    for operation, count in _OF_BUCKET.items():
        counts[operation] += count * runs
    for operation, count in _OF_CANARY.items():
        counts[operation] += count * runs * len(folders)
    return price_list.requests(counts, run.storage_class)
