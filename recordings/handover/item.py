"""One object to hand over."""

from dataclasses import dataclass

from recordings.keys import OF_CONTACT_LENS
from recordings.pricing import prices
from recordings.table.rows import AuditRow, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One object to hand over: which version, and the SHA-256 that it must have (None: the table knows none)."""

    row: AuditRow
    what: str  # "replacement" or "original"; for an object of Contact Lens its content, as "analysis"
    side: Side

    @property
    def is_of_contact_lens(self) -> bool:
        """Whether Contact Lens wrote it, and no run has archived it."""
        return self.what in OF_CONTACT_LENS

    @property
    def usd(self) -> float:
        """Cost of reading it, requests and retrieval, at list prices."""
        storage_class = self.side.storage_class or "STANDARD"
        counts = {"GetObject": 1}
        return prices().requests(counts, storage_class) + prices().reading(self.side.size_bytes or 0, storage_class)
