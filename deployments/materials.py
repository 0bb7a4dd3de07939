"""``python -m deployments.materials``: print the part of requirements/production.txt that the image installs.

The lock is for every Python and platform that the project supports; ``make sbom`` lists what is in the image. A line
that is left out stays as an empty one, so that the numbers of lines are those of the lock.
"""

import re
from pathlib import Path

from packaging.requirements import Requirement

LOCK = Path(__file__).parents[1] / "requirements" / "production.txt"
PYTHON = "3.13"  # of the image
MACHINES = ("x86_64", "aarch64")


def installed(lock: str) -> str:
    """The lock without the packages that no image installs."""
    parts = re.split(r"^(?=[a-z0-9])", lock, flags=re.M)
    return "".join(part if _is_installed(part) else "\n" * part.count("\n") for part in parts)


def _is_installed(part: str) -> bool:
    if not part[:1].isalnum():  # the comment at the top
        return True
    marker = Requirement(part.splitlines()[0].removesuffix("\\")).marker
    return marker is None or any(marker.evaluate(_environment(machine)) for machine in MACHINES)


def _environment(machine: str) -> dict[str, str]:
    version = f"{PYTHON}.0"
    return {
        **{"python_version": PYTHON, "python_full_version": version, "implementation_version": version},
        **{"implementation_name": "cpython", "platform_python_implementation": "CPython"},
        **{"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": machine},
        **{"platform_release": "", "platform_version": ""},
    }


if __name__ == "__main__":
    print(installed(LOCK.read_text()), end="")
