"""The notes of a release: its part of CHANGELOG.md. ``python -m deployments.release_notes v1.2.3``."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def release_notes(tag: str, root: Path = ROOT) -> str:
    """The changelog's section of the version that the tag names.

    Raises ValueError if the tag, the version in pyproject.toml and the changelog do not agree, or if the section has no
    date.
    """
    version = tag.removeprefix("v")
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    if version != declared:
        raise ValueError(f"the tag is {tag}, but pyproject.toml says {declared}: tag v{declared}, or raise the version")
    sections = re.split(r"^## ", (root / "CHANGELOG.md").read_text(), flags=re.M)[1:]
    found = next((each for each in sections if re.match(rf"{re.escape(version)}\b(?![.\d-])", each)), None)
    if found is None:
        raise ValueError(f"CHANGELOG.md has no section ## {version}: write one")
    heading, _, body = found.partition("\n")
    if not re.search(r"\d{4}-\d{2}-\d{2}$", heading.strip()):
        raise ValueError(f"CHANGELOG.md says {heading!r}: give the date of the release, as ## {version}, 2026-01-31")
    return body.strip() + "\n"


def main() -> None:
    """Print the notes; without a tag, or where something does not agree, say so and end with an error."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m deployments.release_notes v1.2.3")
    try:
        print(release_notes(sys.argv[1]), end="")
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
