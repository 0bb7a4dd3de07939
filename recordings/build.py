"""Which build of this software runs. Rows, records and requests name it; a new build retries rejected recordings."""

import os

from recordings import __version__

_COMMIT_DIGITS = 12


def version_of(commit: str) -> str:
    """The version with the commit as its local part, as ``0.1.0+3f2a9c41d0be``; ``.dirty`` if files differed."""
    name, _, state = commit.strip().partition("-")
    return f"{__version__}+{'.'.join(filter(None, (name[:_COMMIT_DIGITS], state)))}" if name else __version__


# The image's build sets the variable. A checkout is no build: its runs name the release alone.
SOFTWARE_VERSION = version_of(os.environ.get("ARCHIVE_COMMIT", ""))
