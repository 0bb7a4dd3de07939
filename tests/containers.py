"""Containers of the image that ``make image`` builds, each with what its task on ECS has."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache

from deployments.environment import TEMPLATE

IMAGE = "recording-archive:local"
_TASK = json.loads(TEMPLATE.read_text())["variables"]["properties"]
CPUS, MEMORY_MIB = _TASK["cpu"]["default"] / 1024, _TASK["memory"]["default"]


@cache
def has_docker() -> bool:
    """Whether a Docker answers: the same question as that of deployments/image.sh."""
    return bool(shutil.which("docker")) and _works("docker", "info")


@cache
def limits(cpus: float = CPUS, memory_mib: int = MEMORY_MIB) -> tuple[str, ...]:
    """The limits of a task, or none if this machine cannot set them: not every kernel lets root do so."""
    wanted = (f"--cpus={cpus}", f"--memory={memory_mib}m", f"--memory-swap={memory_mib}m")
    return wanted if _works(*_engine(), *wanted, IMAGE, "true") else ()


def command(env: Mapping[str, str], *program: str, cpus: float = CPUS, memory_mib: int = MEMORY_MIB) -> list[str]:
    """The command that runs a program in a container, by default what the image runs.

    The root is read-only; of what the image declares as a volume, the container has an empty one. A signal to the
    command reaches the program.
    """
    return [
        *_engine(),
        *limits(cpus, memory_mib),
        *(f"--env={name}={value}" for name, value in env.items()),
        IMAGE,
        *program,
    ]


def _engine() -> list[str]:
    options = ["--rm", "--read-only", "--network=host", "--pull=never"]
    if has_docker():
        return ["docker", "run", *options]
    # runc, since crun refuses some machines' cgroups; fewer files and processes, since not every root may raise limits.
    runtime = ["--runtime=runc", "--cgroup-manager=cgroupfs"]
    small = ["--log-driver=none", "--read-only-tmpfs=false", "--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"]
    return ["podman", *runtime, "run", *options, *small]


def _works(*command: str) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0
