"""Start and stop the demo's programs: one at a time in their folder, and without a traceback at Ctrl-C."""

import argparse
import fcntl
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

FOLDER = Path(".demo")
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, kill, a closed terminal


def start(command: str, description: str | None, program: Callable[[], None]) -> None:
    """Run a program of the demo from its command line, as the only one in the demo's folder.

    The exit code is 0 after --help, 1 if another program is using the folder, 130 if a signal stopped the program.
    """
    argparse.ArgumentParser(usage=command, description=description).parse_args()
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()
        logging.disable()  # an interruption needs no log lines
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)  # one signal is enough: stopping the servers takes a moment
        raise KeyboardInterrupt

    for number in STOPS:
        signal.signal(number, stop)
    try:
        with only_user_of_the_folder(command):
            program()
    except BaseException:
        if not stopped.is_set():
            raise
        print("\nStopped, with all servers.", flush=True)
        os._exit(130)  # a normal exit would wait for Prefect's client, whose server has ended


@contextmanager
def only_user_of_the_folder(command: str) -> Iterator[None]:
    """Keep other programs out until the block or this process ends. Raises SystemExit if another one is running."""
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "in-use-by").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            user = lock.read() or "Another program"
            sys.exit(
                f"{user} is using {FOLDER.absolute()}. End it (Ctrl-C in its terminal), then start {command} again."
            )
        lock.truncate(0)
        lock.write(f"{command} (process {os.getpid()})")
        lock.flush()
        yield


if __name__ == "__main__":
    start("make clean-demo", "Remove the demo's data.", lambda: shutil.rmtree(FOLDER))
