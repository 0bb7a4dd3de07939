"""What the codes mean that stand in rows, reports and logs, and what to do about each. A test keeps it complete."""

from collections.abc import Mapping
from dataclasses import dataclass

EXPLAINED = "docs/audit-table.md explains every word and code."  # what pages end with


@dataclass(frozen=True, slots=True)
class Term:
    """What a code means, and what to do about it: a plain sentence each. The second may be empty."""

    meaning: str
    way_out: str = ""


_RERUN = "Run the same dates again."
_NEXT_RUN = "Nothing: the next run over this day tries again."
_LEFT_ALONE = "Nothing: the recording stays as it is."
_LISTEN = "Listen to the recording; if it is damaged, nothing can be done here, and it stays as it is."
_REPORT_BUG = "Report it with the run's log: this software met something that it was not written for."

# The column `status`.
STATUSES: Mapping[str, Term] = {
    "archived": Term("The run replaced the recording with a small one, verified it and kept the original."),
    "already_archived": Term("The recording was small before the run began; the run confirmed it and wrote a row."),
    "restored": Term("The original is the current version again."),
    "released": Term("The original was deleted; only the small recording is left."),
    "expired": Term("The recording's retention had ended: the run deleted all its versions."),
    "erased": Term("The run deleted all versions of the object, because a request to erase asked for it."),
    "held": Term("A case holds the object: no run deletes it, and only with `include_held` does a run replace it."),
    "lifted": Term("The hold of a case has ended."),
    "skipped": Term("The recording was left as it is on purpose; the reason says why."),
    "changed": Term("Somebody else wrote or deleted the recording during the run; what they left there stays."),
    "rejected": Term("The recording cannot be converted faithfully; it was left as it is."),
    "failed": Term("The run could not finish this recording.", "Read the reason; the next run tries again."),
    "checked": Term("The small recording still has the bytes that it had when it was archived; nothing was changed."),
}

# What stands before the colon in the column `reason`.
REASONS: Mapping[str, Term] = {
    "acl-grants": Term(
        "An access control list (ACL) opens the recording to others, and a replacement would lose that.",
        "Disable ACLs on the bucket (object ownership BucketOwnerEnforced), then run the same dates again.",
    ),
    "answer-lost": Term("S3's answer was lost, and a second look showed that the work was done."),
    "being-deleted": Term(
        "A run had set out to delete the object before it was tagged, and S3 does not prevent the deletion.",
        "Hold the object again when that run has ended.",
    ),
    "bad-flac": Term("The object is a FLAC file that is damaged, or lacks its length or checksum.", _LISTEN),
    "bad-fmt": Term("The WAV header contradicts itself.", _LISTEN),
    "bad-opus": Term("The object is an Ogg file that is damaged, or that this pipeline did not write.", _LISTEN),
    "bad-samples": Term("Some samples are not numbers.", _LISTEN),
    "bug": Term("This software failed in a way that nobody foresaw; the log has the traceback.", _REPORT_BUG),
    "case": Term("The case, or the request to erase, for which this was done."),
    "changed": Term(
        "Somebody else wrote or deleted the recording during the run; what they left there stays.", _NEXT_RUN
    ),
    "changed-since": Term(
        "What lies there is not what the audit table says: somebody overwrote the recording.",
        "Run reconcile_audit over the day; archive the day again if the new content is a recording.",
    ),
    "checksum-differs": Term(
        "The small recording does not have the bytes that it had when it was archived.",
        "Restore the original if it is still there, or bring the bytes back from a replica; report it to AWS.",
    ),
    "clipped": Term("Much of the sound is louder than the new format can hold.", _LISTEN),
    "destroyed": Term(
        "A run of this software had expired or erased the recording, and somebody has brought it back.",
        "Find out what copied it back: replication, a backup, or a person; then erase it: no expiry deletes it.",
    ),
    "empty": Term("The object has no bytes.", _LEFT_ALONE),
    "exempt": Term(
        "A version of the recording is marked archive=exempt, as a restore does.",
        "To archive it, remove the tag, or the metadata entry, archive=exempt.",
    ),
    "found-archived": Term("An earlier run archived the recording, and the audit table had no row for it."),
    "found-converted": Term("Somebody else had already converted the recording to the format asked for."),
    "found-gone": Term(
        "The original had been deleted before this release, and not by a release.",
        "Look into CloudTrail and the lifecycle rules for what deletes noncurrent versions.",
    ),
    "gone": Term("No version of the object was left when the run came to it."),
    "held": Term(
        "The recording, or its original, is under a legal hold.",
        "Lift the hold, or archive or restore with include_held=True; a release waits for the hold to be lifted.",
    ),
    "held-again": Term(
        "Another run is to hold the object for the same case, or has held it since this lifting began: it stays held.",
        "If the case has ended, lift it again.",
    ),
    "hold-differs": Term(
        "S3 does not show the hold as the run had set it.",
        "Run the same flow again; if that does not help, look at the role's permissions.",
    ),
    "in-grace": Term("The recording was archived less than grace_days ago, so its original is kept for now."),
    "in-retention": Term(
        "The rule that covers the recording keeps it for longer.",
        "Nothing: a later run deletes it once its retention has ended.",
    ),
    "locked": Term("Object Lock protects the original until the date given.", "Release it after that date."),
    "machine": Term(
        "The machine that ran this failed, for instance because its disk was full.",
        f"Fix the machine as the sentence says. {_RERUN}",
    ),
    "marker-left": Term(
        "All versions of the recording are gone, and the delete marker above them is still there.",
        "Run the expiry or the erasure again.",
    ),
    "metadata-full": Term("The object's metadata leaves no room for what a replacement has to record.", _LEFT_ALONE),
    "needs-key": Term("The recording is encrypted with a key that only its owner has (SSE-C).", _LEFT_ALONE),
    "needs-thaw": Term(
        "The object lies in a storage class that cannot be read at once.",
        f"Restore it from that class with S3 (aws s3api restore-object). {_RERUN}",
    ),
    "no-audio": Term("The WAV file holds no sound.", _LEFT_ALONE),
    "no-fmt": Term("The WAV header does not say what format the sound has.", _LISTEN),
    "not-a-recording": Term("The object's key does not end in .wav.", _LEFT_ALONE),
    "not-archived": Term("What lies there now is not a replacement that this software wrote.", _LEFT_ALONE),
    "not-as-written": Term(
        "The object says that this software wrote it, but its bytes are not those that were written.",
        "Find out who wrote it (CloudTrail); the original may still be there as an earlier version.",
    ),
    "not-carried": Term("A replacement would lose something that the object has; the sentence names it.", _LEFT_ALONE),
    "not-deleted": Term(
        "A release ended before it deleted the original, which is still there.", "Run the release again."
    ),
    "not-done": Term("A run ended before it had set or lifted the hold.", "Run hold_recordings again."),
    "not-held": Term("The case does not hold the object.", "Check the name of the case."),
    "not-in-table": Term(
        "The audit table does not know the recording, so nobody can say what it is.",
        "Archive its day first, or check audit_uri.",
    ),
    "not-read": Term(
        "The stored checksum is right. It was the recording's turn to be read, too, but its class cannot be read "
        "at once.",
        "To check its bytes, too, let S3 Batch Operations compute its checksum.",
    ),
    "not-restored": Term("A restore ended before it brought the original back.", "Run the restore again."),
    "not-smaller": Term("The conversion would take as many bytes as the recording, or more.", _LEFT_ALONE),
    "only-a-law": Term(
        "The recording is A-law, which is itself a conversion; Opus is made only from originals.", _LEFT_ALONE
    ),
    "not-worth-it": Term(
        "Until the end of its retention, the recording would cost more archived than left alone or moved to the same "
        "storage class by a lifecycle rule, because it is short or soon to be deleted.",
        "Have a lifecycle rule move it, which costs the least; archive_unprofitable=True archives it all the same.",
    ),
    "not-wav": Term("The object is not a WAV file, whatever its key says.", _LISTEN),
    "original-differs": Term(
        "The original's ETag or size is not what the audit table says, so it was not deleted.",
        "Compare the version with the row before you do anything else.",
    ),
    "original-gone": Term(
        "The original no longer exists in the bucket.",
        "If no release deleted it, look into CloudTrail and the lifecycle rules; the small recording is still there.",
    ),
    "original-missing": Term(
        "Right after the replacement was written, S3 no longer listed the original.",
        "Look at once for a lifecycle rule or a person that deletes noncurrent versions.",
    ),
    "other-owner": Term(
        "Another AWS account owns the object, and would not own a replacement.",
        "Disable ACLs on the bucket (object ownership BucketOwnerEnforced), then run the same dates again.",
    ),
    "partial-frame": Term("The sound ends in the middle of a sample.", _LISTEN),
    "partly-deleted": Term(
        "The run was to delete the whole recording; the original is gone, and the replacement is still there.",
        "Run the expiry or the erasure again.",
    ),
    "provenance-differs": Term(
        "The replacement does not name this original as the one it was made from, so the original was kept.",
        "Compare the object's metadata with the row before you do anything else.",
    ),
    "reads-back-differently": Term(
        "The bytes that S3 returned when the run read the replacement back are not those that it wrote.",
        "Restore the original; report it to AWS.",
    ),
    "refused": Term(
        "S3 refused a request for good; the sentence has S3's own code, such as AccessDenied.",
        f"Grant or fix what the sentence names. {_RERUN}",
    ),
    "replacement-differs": Term(
        "S3 shows other bytes, another version or another storage class than the row says.",
        "Find out who wrote the object (CloudTrail); the original is kept.",
    ),
    "replacement-missing": Term(
        "S3 does not list the replacement that was just written.",
        "Look for a lifecycle rule or a person that deletes new objects; the original is kept.",
    ),
    "restored-differs": Term(
        "After the restore, S3 shows bytes that differ from the original's.",
        "Run the restore again and compare the versions.",
    ),
    "resurrected": Term(
        "A run of this software had deleted the recording, and it is there again.",
        "Find out what copied it back: replication, a backup, or a person.",
    ),
    "retention": Term("The rule by which the retention had ended."),
    "row-missing": Term(
        "The object was archived by a run whose row is not in the audit table.",
        "Run reconcile_audit with repair=True: it writes the row.",
    ),
    "settled": Term(
        "A run ended before it could write this row; a later run looked at the bucket and wrote it under that run's id."
    ),
    "short-read": Term(
        "S3 delivered fewer or more bytes than the object has.",
        "Nothing: the recording stays as it is; see whether this happens again.",
    ),
    "speakers-cancel": Term(
        "Mixing the two channels to one would erase speech, because one is the inverse of the other.",
        "Archive the day with a profile that keeps the channels apart, such as alaw-stereo.",
    ),
    "stage-failed": Term(
        "A whole batch failed in one stage; the sentence has the error.",
        f"Fix what the error names. {_RERUN} If it is a bug, report it.",
    ),
    "superseded": Term(
        "Somebody wrote or deleted the recording right after the run; what they left there stays.", _NEXT_RUN
    ),
    "no-room-for-hold": Term(
        "A version has ten tags already, as many as S3 allows, so none is left for the tag `legal-hold`.",
        "Remove a tag that is no longer needed, and hold the object again.",
    ),
    "tag-limit": Term(
        "The object has ten tags already, as many as S3 allows, so only its metadata says it is converted."
    ),
    "tag-missing": Term(
        "The replacement is not tagged converted=True.", "Run reconcile_audit with repair=True: it sets the tag."
    ),
    "tags-differ": Term(
        "The replacement does not have the tags that the original had.",
        "Compare the tags of the two versions and set those that are missing.",
    ),
    "tags-too-long": Term("The object's tags are too long to be sent with a replacement.", _LEFT_ALONE),
    "too-large": Term("The object, or its conversion, would take more memory than a run has.", _LEFT_ALONE),
    "too-long": Term("The recording is longer than a call can be.", _LISTEN),
    "too-many-cases": Term(
        "The names of so many cases do not fit into one tag.",
        "Enable Object Lock on the bucket, or lift a case that has ended.",
    ),
    "too-young": Term("The call is more recent than min_age_days.", "Nothing: a later run archives it."),
    "trailing-data": Term("The file has bytes after the sound that no program would read.", _LISTEN),
    "truncated": Term("The file claims more sound than it holds: it was cut off.", _LISTEN),
    "unavailable": Term("S3 or the network failed for longer than the run was willing to wait.", _RERUN),
    "unfaithful": Term("The conversion did not sound like the recording, so it was not uploaded.", _REPORT_BUG),
    "unknown": Term(
        "The run could not find out whether the work was done, because S3 did not answer afterwards.",
        "Nothing: the next run looks again and writes the row.",
    ),
    "unproven": Term(
        "The audit table does not prove that the original may be deleted, so it was kept.",
        "Run reconcile_audit with repair=True, then release again.",
    ),
    "underway": Term(
        "A run has set out to delete the recording, or to bring it back, and has not said how that ended.",
        "Nothing: the next run looks at it again.",
    ),
    "unreadable": Term(
        "The object may not be read; the sentence has S3's answer.", f"Grant or fix what the sentence names. {_RERUN}"
    ),
    "unsupported": Term("The sound has a format that this software does not convert.", _LEFT_ALONE),
    "vanished": Term(
        "Nothing is left of a recording that the audit table says is there.",
        "Run reconcile_audit over the day, and look into CloudTrail for who deleted it.",
    ),
}

# How the audit table and the bucket may differ, as a reconciliation finds it.
DIFFERENCES: Mapping[str, Term] = {
    "bug": Term("The comparison itself failed, in a way that nobody foresaw.", _REPORT_BUG),
    "changed-since": Term(
        "The current version is not the one that the table knows, and no run of this software wrote it.",
        "Find out who wrote it (CloudTrail). The next archiving run over the day treats it as a new recording.",
    ),
    "class-differs": Term(
        "The storage class is not the one that the table says.", "Look for a lifecycle rule that moves objects."
    ),
    "erase-untold": Term(
        "An erasure deleted the recording, or a part of it, and ended before it wrote its row.",
        "Run reconcile_audit with repair=True: it writes the row; the next erasure deletes the rest.",
    ),
    "expire-untold": Term(
        "An expiry deleted the recording, or a part of it, and ended before it wrote its row.",
        "Run reconcile_audit with repair=True: it writes the row; the next expiry deletes the rest.",
    ),
    "new-since": Term(
        "An object was added after its day was archived: the table has rows for others of that day, but not for it.",
        "Archive that day again.",
    ),
    "not-compared": Term(
        "S3 refused to show a recording for which the table has a row; the sentence has S3's answer.",
        "Grant what the sentence names, and compare that day again.",
    ),
    "original-gone": Term(
        "The original is gone, and no release deleted it.",
        "Look into CloudTrail and the lifecycle rules for what deletes noncurrent versions.",
    ),
    "release-untold": Term(
        "A release deleted the original and ended before it wrote its row.",
        "Run reconcile_audit with repair=True: it writes the row.",
    ),
    "restore-untold": Term(
        "A restore brought the original back and ended before it wrote its row.",
        "Run reconcile_audit with repair=True: it writes the row.",
    ),
    "resurrected": Term(
        "The audit table says that a run deleted the original, or the whole recording, but it is there.",
        "Find out who brought it back (CloudTrail), for instance from a backup.",
    ),
    "retention-overdue": Term(
        "The call is older than ARCHIVE_RETENTION_RULES allows or, if that is not set, than ARCHIVE_RETENTION_YEARS.",
        "Let expire_recordings delete it; what is held, locked or exempt stays.",
    ),
    "row-missing": Term(
        "The object was archived by a run whose row is not in the audit table.",
        "Run reconcile_audit with repair=True: it writes the row.",
    ),
    "tag-missing": Term(
        "The replacement is not tagged converted=True.", "Run reconcile_audit with repair=True: it sets the tag."
    ),
    "unavailable": Term("S3 or the network failed during the comparison.", _RERUN),
    "unreadable": Term("S3 refused to show the object; the sentence has its answer.", "Grant what the sentence names."),
    "vanished": Term(
        "The table says that there is a recording, but there is none.",
        "Find out who deleted it (CloudTrail); an earlier version may still be there.",
    ),
}

_UNKNOWN = Term(
    'This version does not know the code; it may be S3\'s own (S3 API reference, "Error responses").',
    "Read the sentence beside the code.",
)


def meaning(code: str) -> str:
    """What a reason, a difference or a status means, in one sentence."""
    return _term(code).meaning


def way_out(code: str) -> str:
    """What to do about it, in one sentence; empty where nothing is to be done."""
    return _term(code).way_out


def _term(code: str) -> Term:
    """Reasons come first: where a difference has the same code, ask ``DIFFERENCES`` for its own words."""
    return next((table[code] for table in (REASONS, DIFFERENCES, STATUSES) if code in table), _UNKNOWN)


def code_of(reason: str | None) -> str:
    """The code before a reason's colon; empty where there is no reason."""
    return (reason or "").partition(":")[0]


def tables() -> str:
    """All of it in Markdown, for docs/audit-table.md."""
    sections = (("status", STATUSES), ("reason", REASONS), ("difference", DIFFERENCES))
    return "\n\n".join(_table(heading, terms) for heading, terms in sections)


def _table(heading: str, terms: Mapping[str, Term]) -> str:
    lines = [f"| `{code}` | {term.meaning} | {term.way_out} |" for code, term in terms.items()]
    return "\n".join([f"| {heading} | meaning | what to do |", "|---|---|---|", *lines])
