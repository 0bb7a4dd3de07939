"""The workplace of a run: the connections that its tasks share, from beginning to end, and its use of resources."""

import gc
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property
from typing import cast

from prefect.runtime import flow_run
from prefect_aws import AwsCredentials

from recordings.handover.export import Export
from recordings.jobs.engine.job import Job
from recordings.run import Run
from recordings.s3.deleting import DeletingStore
from recordings.s3.session import Session, assume_role, make_clients_with, own_session
from recordings.s3.store import Store
from recordings.settings import settings
from recordings.table.files import open_files


class Workplace:
    """The bucket and the audit table of one run."""

    def __init__(self, run: Run | Job | Export) -> None:
        self._began_s, self._began_cpu_s = time.monotonic(), time.process_time()
        self._session = session()
        self._stores: list[Store] = []
        self.store = self._connect(run.bucket)
        self.files = open_files(run.audit_uri, self._connect)

    def destination_store(self, bucket: str) -> Store:
        """The bucket that evidence is handed over to."""
        return self._connect(bucket)

    def _connect(self, bucket: str) -> Store:
        store = Store(bucket, settings(), self._session)
        self._stores.append(store)
        return store

    @cached_property
    def deleting_store(self) -> DeletingStore:
        """The bucket with the right to delete versions; only for releases, expiries and erasures."""
        store = DeletingStore(self.store.bucket, settings(), self._session)
        self._stores.append(store)
        return store

    @property
    def requests(self) -> Mapping[str, int]:
        """S3 requests so far, by operation."""
        return sum((store.requests for store in self._stores), Counter())

    @property
    def cpu_s(self) -> float:
        """CPU seconds of this process since the run began."""
        return time.process_time() - self._began_cpu_s

    @property
    def wall_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began_s


_WORKPLACES: dict[str, Workplace] = {}  # by run id: a backfill and the runs that it starts may share a process


@contextmanager
def at_work(run: Run | Job | Export) -> Iterator[None]:
    """Open the run's one workplace for a block, and close it however the run ends."""
    _prepare_process()
    _WORKPLACES[run.run_id] = Workplace(run)
    try:
        yield
    finally:
        del _WORKPLACES[run.run_id]


def workplace(run: Run | Job | Export) -> Workplace:
    """The workplace of this run, which must be running in this process."""
    return _WORKPLACES[run.run_id]


@cache
def _prepare_process() -> None:
    """Exempt the modules loaded so far from garbage collection, which would take 65 ms of CPU each time."""
    gc.freeze()


def session() -> Session:
    """The session of a run, which acts in the role that the settings name."""
    role_arn = settings().assume_role_arn
    return session_in(role_arn) if role_arn else _session()


def session_in(role_arn: str) -> Session:
    """A session that acts in this role. CloudTrail shows the flow run beside the role."""
    made = _session()
    assume_role(made, role_arn, RoleSessionName=f"recording-archive-{flow_run.id}")
    return made


def _session() -> Session:
    """The session of the AwsCredentials block that the settings name; without one, boto3's default session."""
    name = settings().aws_credentials_block
    if name is None:
        return own_session()
    block = cast(AwsCredentials, AwsCredentials.load(name))
    made = block.model_copy(update={"assume_role_arn": None}).get_boto3_session()
    if block.assume_role_arn:  # the block's own sessions expire after the first hour
        assume_role(made, block.assume_role_arn, **block.assume_role_kwargs.get_params_override())
    make_clients_with(made, **block.aws_client_parameters.get_params_override())
    return made
