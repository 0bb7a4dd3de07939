"""The few classes of errors; each message names the input and the way out."""


class RecordingError(Exception):
    """An error about one recording: the recording gets a row with this reason, and the run goes on.

    ``code`` is a short stable word for counting, such as ``truncated``; ``str(error)`` is ``"<code>: <sentence>"``, the
    audit table's ``reason``.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code = code


class Rejected(RecordingError):
    """The recording cannot be converted faithfully: it is left as it is."""


class Changed(RecordingError):
    """Somebody else wrote, replaced or deleted the recording since it was listed: their version stays."""


class Unproven(RecordingError):
    """S3 does not show what we wrote: the recording counts as failed."""


class Skipped(RecordingError):
    """The recording is deliberately left alone: held, exempt, too young, not a recording."""


class StoreUnavailable(Exception):
    """S3 or the network failed in a way that may pass; retried per request, per recording, and per task."""

    code = "unavailable"


class BodyDiffers(StoreUnavailable):
    """A body does not have the checksum that S3 keeps with it: garbled on the way, which may pass, or at rest."""


class StoreRefused(Exception):
    """S3 refused for good: no permission, no such bucket, bad credentials."""

    code = "refused"


class InvalidRequest(ValueError):
    """The run's parameters cannot be carried out as given."""


class AuditDamaged(Exception):
    """A file of the audit table cannot be read: truncated, overwritten, or not ours. ``name`` is its name there."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(name, cause)
        self.name = name
        self.cause = cause

    def __str__(self) -> str:
        return (
            f"{self.name} in the audit table cannot be read: {self.cause}. Restore the file from a backup (in S3, from "
            "its previous version). If an archiving run wrote it, you may instead move it out of the table and let "
            "reconcile_audit with repair write its rows again. Leave any other file there: nobody can write its rows "
            "again, and its intent below _runs/ stands in for them. verify_audit names every file that was "
            "changed"
        )
