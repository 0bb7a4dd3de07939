"""Real servers for the demo and the tests: S3 (ministack) and Prefect, on loopback, each stopped with its block."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.program import STOPS

HOST = "127.0.0.1"
_S3_PYTHON = Path(sys.prefix) / "s3-server" / "bin" / "python"  # with an older botocore than ours (Makefile)
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: its address, the environment that a client needs, and its own access log."""

    url: str
    env: Mapping[str, str]
    access_log: Path | None = None


@contextmanager
def s3_server(
    folder: Path, *, enforce_iam: bool = False, tls: bool = False, services: str = "s3,iam"
) -> Iterator[Server]:
    """An S3 server whose buckets persist under ``folder``; they survive a restart if this block stops the server.

    With ``enforce_iam`` it refuses what a user's policies do not allow; the user in its ``env`` may do everything. With
    ``tls`` it speaks HTTPS, and its ``env`` names the certificate authority to trust.
    """
    folder.mkdir(parents=True, exist_ok=True)
    access_log = folder / "access.log"
    listening = socket.create_server((HOST, 0))  # passed on open, so that no other process can take the port
    url = f"http{'s' if tls else ''}://{HOST}:{listening.getsockname()[1]}"
    serve = [str(_S3_PYTHON), "-m", "hypercorn", "ministack.app:app", "--bind", f"fd://{listening.fileno()}"]
    log = ["--access-logfile", str(access_log), "--access-logformat", "%(s)s %(m)s %(U)s?%(q)s"]
    env = {
        "SERVICES": services,
        "AUTH": str(enforce_iam).lower(),
        **CREDENTIALS,
        "LOG_LEVEL": "WARNING",
        "S3_PERSIST": "1",
        "PERSIST_STATE": "1",
        "S3_DATA_DIR": str(folder / "objects"),
        "STATE_DIR": str(folder / "state"),
        "TMPDIR": str(folder),
    }
    client_env = {"AWS_ENDPOINT_URL": url, **CREDENTIALS}
    if tls:
        authority, own = _certificates(folder)
        serve += ["--certfile", str(own), "--keyfile", str(own)]
        client_env |= {"AWS_CA_BUNDLE": str(authority), "SSL_CERT_FILE": str(authority)}
    with listening, child(serve + log, env, folder / "server.log", pass_fds=[listening.fileno()]) as process:
        wait_until_healthy(f"{url}/_ministack/health", process, client_env.get("SSL_CERT_FILE"))
        yield Server(url=url, env=client_env, access_log=access_log)


def _certificates(folder: Path) -> tuple[Path, Path]:
    """Files with the certificate of this server's own authority, and with the server's certificate and key."""
    import trustme  # only the benchmarks need it

    authority = trustme.CA()
    own = authority.issue_cert(HOST)
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    own.private_key_and_cert_chain_pem.write_to_path(str(folder / "own.pem"))
    return folder / "authority.pem", folder / "own.pem"


@contextmanager
def prefect_server(folder: Path) -> Iterator[Server]:
    """A Prefect server whose database lies under ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"http://{HOST}:{port}"
    env = {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    }
    serve = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    with child(serve, env, folder / "server.log") as process:
        wait_until_healthy(f"{url}/api/health", process)
        yield Server(url=url, env={"PREFECT_HOME": str(folder), "PREFECT_API_URL": f"{url}/api"})


def tell_the_rest() -> None:
    """Send this process's pending messages to the Prefect server: call it before that server ends."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()
    EventsWorker.drain_all(timeout=10)


def free_port() -> int:
    """A port that is free at this moment."""
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def child(
    command: Sequence[str], env: Mapping[str, str], log: Path, pass_fds: Sequence[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own, so that Ctrl-C does not reach it; its whole group is stopped with the block."""
    with ExitStack() as ends, log.open("ab") as output:
        with _signals_wait():  # otherwise Ctrl-C at this moment would leave an orphan
            process = subprocess.Popen(  # noqa: S603 (our own command)
                command,
                env={**os.environ, **env},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=pass_fds,
            )
            ends.callback(end, process)
        yield process


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Delay signals that would stop this process until the block ends. Only the main thread is ever interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    former = {number: signal.signal(number, lambda sent, _: came.append(sent)) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        for sent in came:
            signal.raise_signal(sent)


def run_to_end(command: Sequence[str], env: Mapping[str, str]) -> str:
    """Run a command; returns its output. Raises RuntimeError with the output if the command fails."""
    done = subprocess.run(  # noqa: S603 (our own command)
        command, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with code {done.returncode}:\n{done.stdout}")
    return done.stdout


def end(process: subprocess.Popen[bytes], grace_s: float = 15) -> None:
    """Ask the process to stop; after ``grace_s`` seconds kill its whole group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until_healthy(
    url: str, process: subprocess.Popen[Any], authority: str | None = None, patience_s: float = 120
) -> None:
    """Return when the server of this process answers. Raises RuntimeError if the process ends before that."""
    deadline = time.monotonic() + patience_s
    context = ssl.create_default_context(cafile=authority)
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with code {process.returncode}; see its server.log")
        try:
            with urllib.request.urlopen(url, timeout=5, context=context):  # noqa: S310 (loopback)
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise TimeoutError(f"{url} did not answer within {patience_s:.0f} s; see its server.log")
