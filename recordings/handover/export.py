"""What is to be handed over, checked before anything is read, and what came of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

from recordings.build import SOFTWARE_VERSION
from recordings.errors import InvalidRequest
from recordings.formatting import human_bytes, plural, usd
from recordings.holds import check_case
from recordings.keys import date_of
from recordings.request import S3, Selection, bucket_and_prefix, check_bucket_name, checked_selection
from recordings.table.files import audit_location
from recordings.table.records import Kind, run_id_of

_MAX_NAMED = 20


class AudioVersion(StrEnum):
    """Which audio of a recording is handed over."""

    REPLACEMENT = "replacement"  # what is current: the small recording, or the original of one that was never converted
    ORIGINAL = "original"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A folder that does not exist yet: below a prefix of a bucket, or, without a bucket, on this machine."""

    bucket: str | None
    path: str

    def __str__(self) -> str:
        return self.path if self.bucket is None else f"{S3}{self.bucket}/{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Export(Selection):
    """An export of evidence, and the recordings that it is asked to hand over."""

    run_id: str
    audit_uri: str
    case: str
    destination: Destination
    version: AudioVersion
    as_pcm: bool
    dry_run: bool
    started_at: datetime
    kind: Kind = Kind.EXPORT
    software_version: str = SOFTWARE_VERSION

    @property
    def is_by_case(self) -> bool:
        """Whether the case selects: nothing else does, and prefixes only narrow."""
        dates = self.start_date or self.end_date
        return bool(self.case) and not (self.contact_ids or self.keys or self.of_run or dates)

    @property
    def names_few(self) -> bool:
        """Whether contacts or keys are named, so that looking for each one's analyses costs little."""
        return bool(self.contact_ids or self.keys)

    @property
    def selection(self) -> str:
        """What was asked for, in words."""
        held = f"all that case {self.case} holds" if self.is_by_case else ""
        return "; ".join(filter(None, [held, self._selected]))

    @property
    def _selected(self) -> str:
        said = [
            _named("contacts", self.contact_ids),
            _named("keys", self.keys),
            f"run {self.of_run}" if self.of_run else "",
            f"calls from {self.start_date or 'the first day'} to {self.end_date or 'the last'}"
            if self.start_date or self.end_date
            else "",
            f"below {', '.join(self.prefixes)}" if self.prefixes != ("",) else "",
        ]
        return "; ".join(filter(None, said))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    """What an export has handed over, or would."""

    run_id: str
    dry_run: bool
    destination: str
    recordings: int  # in the bag
    analyses: int  # objects of Contact Lens in the bag
    without_analysis: int  # contacts for which Contact Lens has no files
    size_bytes: int  # as it is read
    usd: float  # requests and retrieval at list prices, without data transfer out of AWS
    problems: tuple[str, ...]  # recordings that were asked for and are not in the bag, and contacts without any

    def __str__(self) -> str:
        would = "would be " if self.dry_run else ""
        analyses = f" and {plural(self.analyses, 'object')} of Contact Lens" if self.analyses else ""
        said = f"{plural(self.recordings, 'recording')}{analyses} ({human_bytes(self.size_bytes)}) {would}handed over"
        silent = plural(self.without_analysis, "contact")
        none = [f"Contact Lens has no files for {silent}"] if self.without_analysis else []
        cost = f"reading them {'would cost' if self.dry_run else 'cost'} {usd(self.usd)} at list prices"
        step = ["run it again with dry_run=False to write the bag"] if self.dry_run and self.recordings else []
        dry = "dry run: " if self.dry_run else ""
        return (
            f"{dry}export {self.run_id} to {self.destination}: {'; '.join([said, cost, *none, *self.problems, *step])}"
        )


class ExportFailed(Exception):
    """Something that was asked for is not in the bag; what could be handed over is."""

    def __init__(self, summary: ExportSummary) -> None:
        super().__init__(str(summary))
        self.summary = summary


def plan_export(
    *,
    bucket: str,
    audit_uri: str,
    destination_uri: str,
    flow_run_id: str | None = None,
    prefixes: Sequence[str] | None = None,
    start_date: date | None = None,
    end_date: date | None = None,
    contact_ids: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    of_run: str | None = None,
    case: str = "",
    version: str = AudioVersion.REPLACEMENT,
    as_pcm: bool = False,
    dry_run: bool = True,
) -> Export:
    """The export's parameters, checked. Raises InvalidRequest naming the parameter and the way out."""
    selection = checked_selection(
        bucket,
        prefixes=prefixes,
        start_date=start_date,
        end_date=end_date,
        contact_ids=contact_ids,
        keys=keys,
        of_run=of_run,
    )
    if version not in list(AudioVersion):
        raise InvalidRequest(f"version is {version!r}: choose one of {', '.join(AudioVersion)}")
    started_at = datetime.now(UTC)
    export = Export(
        run_id=run_id_of(started_at, flow_run_id or str(uuid4())),
        **asdict(selection),
        audit_uri=str(audit_location(audit_uri)),
        case=check_case(case) if case.strip() else "",
        destination=_destination(destination_uri),
        version=AudioVersion(version),
        as_pcm=as_pcm,
        dry_run=dry_run,
        started_at=started_at,
    )
    _check_is_beside_recordings(export)
    if not export.selection:
        raise InvalidRequest(
            "nothing is selected, so nothing was read: give contact_ids, keys, start_date, end_date, prefixes, run_id "
            "or case"
        )
    return export


def _check_is_beside_recordings(export: Export) -> None:
    """Raises InvalidRequest for a folder of a day of recordings: runs would take the bag's audio for recordings."""
    folders = export.destination.path.split("/")
    days = (date_of(f"{'/'.join(folders[:count])}/") for count in range(3, len(folders) + 1))
    if export.destination.bucket == export.bucket and any(days):
        raise InvalidRequest(
            f"destination_uri {export.destination} lies in the folder of a day of recordings, where runs would take "
            "the bag's audio for recordings: name another folder"
        )


def _named(noun: str, names: Sequence[str] | None) -> str:
    """The first names and how many more: the list becomes part of a command and of the bag's description."""
    more = len(names or ()) - _MAX_NAMED
    return f"{noun} {', '.join((names or ())[:_MAX_NAMED])}{f' and {more:,} more' if more > 0 else ''}" if names else ""


def _destination(uri: str) -> Destination:
    """Raises InvalidRequest for what names no folder."""
    if not uri.strip():
        raise InvalidRequest(
            "destination_uri is empty: give s3://bucket/prefix or a local folder that does not exist yet"
        )
    if not uri.startswith(S3):
        if "://" in uri:
            raise InvalidRequest(
                f"destination_uri {uri!r} is neither s3://bucket/prefix nor a local folder: give one of these"
            )
        return Destination(bucket=None, path=str(Path(uri).expanduser().absolute()))
    bucket, prefix = bucket_and_prefix(uri)
    check_bucket_name(bucket)
    if not prefix:
        raise InvalidRequest(f"destination_uri {uri!r} names no folder: give one, such as {uri.rstrip('/')}/case-1")
    return Destination(bucket=bucket, path=prefix)
