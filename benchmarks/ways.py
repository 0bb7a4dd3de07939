"""Ways to convert a day's recordings, or only to move them: ours, common alternatives, and GET and PUT alone.

Each is a function that ``benchmarks.clients`` measures: ``way(bucket, day)``.
"""

import base64
import hashlib
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import obstore
from botocore.config import Config
from obstore.store import S3Store

from benchmarks import ffmpeg
from benchmarks.clients import PREFIX, STORAGE_CLASS, THREADS
from recordings.conversion.pcm import BLOCK_BYTES
from recordings.ledger import Ledger
from recordings.plan import Plan, list_day
from recordings.pool import shared_pool
from recordings.recording import Batch, Day
from recordings.resample import resample_batch
from recordings.run import Run, plan_run
from recordings.s3.objects import Sight
from recordings.s3.store import Store
from recordings.settings import settings
from recordings.table.files import LocalFiles
from recordings.table.rows import BatchRows, Status
from recordings.tag import tag_batch
from recordings.verify import verify_batch


def ours(bucket: str, day: date) -> None:
    """The archive path."""
    with tempfile.TemporaryDirectory() as audit_uri:
        run = planned(bucket, day, audit_uri)
        store, files = Store(bucket, settings()), LocalFiles(Path(audit_uri))
        store.sight = Sight(shows_tag_counts=True)  # a run proves this before its first recording
        of_day = Day(prefix=PREFIX, date=day)
        plan = Plan([of_day], [list_day(store, files, of_day, run)], run)
        ledger = Ledger(files, run)
        for number, wave in enumerate(plan.waves, start=1):
            with ThreadPoolExecutor(settings().batches_in_flight) as batches:
                tagged = list(batches.map(lambda batch: _through_all_stages(store, batch, run), wave))
            left = [row for batch in tagged for row in batch.rows if row.status is not Status.ARCHIVED]
            if left:
                raise RuntimeError(f"{len(left)} recordings were not archived: {left[0].status}, {left[0].reason}")
            ledger.enter_wave(number, wave, [tagged], last=number == len(plan.waves))


def by_flow(bucket: str, day: date) -> None:
    """The archive path as a flow run, on the Prefect server that the environment names."""
    from flows.archive import archive_recordings  # imported only here: the other ways do without Prefect

    with tempfile.TemporaryDirectory() as audit_uri:
        archive_recordings(
            bucket=bucket,
            prefixes=[PREFIX],
            audit_uri=audit_uri,
            start_date=day,
            end_date=day,
            archive_unprofitable=True,
        )


def planned(bucket: str, day: date, audit_uri: str) -> Run:
    """A run over one day, with the flow's defaults."""
    return plan_run(
        flow_run_id=str(uuid.uuid4()),
        scheduled_at=datetime.combine(day + timedelta(days=8), datetime.min.time(), UTC),
        bucket=bucket,
        prefixes=[PREFIX],
        audit_uri=audit_uri,
        start_date=day,
        end_date=day,
        min_age_days=7,
        lookback_days=7,
        profile="alaw-mono",
        storage_class=STORAGE_CLASS,
        dry_run=False,
        archive_unprofitable=True,  # short calls cost more archived, and a run leaves them alone otherwise
        overwrite_converted=False,
        include_held=False,
        accept=[],
        batch_size=200,
        readback_percent=1.0,
    )


def _through_all_stages(store: Store, batch: Batch, run: Run) -> BatchRows:
    pool = shared_pool()
    verified = verify_batch(store, resample_batch(store, batch, run, pool), pool, run.readback_percent)
    return BatchRows(batch, tag_batch(store, verified, pool))


def request_and_process(bucket: str, day: date) -> None:
    """The pattern of the published AWS sample."""
    s3 = client()

    def work(key: str, folder: Path) -> None:
        named = {"Bucket": bucket, "Key": key}
        tags = s3.get_object_tagging(**named)["TagSet"]
        url = s3.generate_presigned_url("get_object", Params=named, ExpiresIn=3600)
        ffmpeg.run("-i", url, "-ac", "1", "-ar", "8000", folder / "between.wav")
        ffmpeg.run("-i", folder / "between.wav", "-c:a", "pcm_alaw", folder / "result.wav")
        s3.upload_file(str(folder / "result.wav"), bucket, key)
        s3.copy_object(**named, CopySource=named, StorageClass=STORAGE_CLASS, MetadataDirective="COPY")
        s3.put_object_tagging(**named, Tagging={"TagSet": [*tags, {"Key": "converted", "Value": "True"}]})

    _for_each(s3, bucket, day, work)


def good_script(bucket: str, day: date) -> None:
    """The simplest script that converts the recordings."""
    s3 = client()

    def work(key: str, folder: Path) -> None:
        s3.download_file(bucket, key, str(folder / "source.wav"))
        ffmpeg.run("-i", folder / "source.wav", "-ac", "1", "-ar", "8000", "-c:a", "pcm_alaw", folder / "result.wav")
        s3.upload_file(str(folder / "result.wav"), bucket, key, ExtraArgs={"StorageClass": STORAGE_CLASS})

    _for_each(s3, bucket, day, work)


def _for_each(s3: Any, bucket: str, day: date, work: Callable[[str, Path], None]) -> None:
    def in_folder(key: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            work(key, Path(folder))

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(in_folder, keys_of(s3, bucket, day)))


def keys_of(s3: Any, bucket: str, day: date) -> Iterator[str]:
    """The keys of the day's recordings."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{PREFIX}{day:%Y/%m/%d}/"):
        yield from (item["Key"] for item in page["Contents"])


def client() -> Any:
    """boto3 as most people set it up: its defaults, and one connection per thread."""
    return boto3.client("s3", config=Config(max_pool_connections=2 * THREADS))


def get_and_put_by_boto3(bucket: str, day: date) -> None:
    """GET each recording and PUT a quarter of it, by boto3 with its defaults: no conversion, no proof, no tag."""
    _get_and_put(client(), bucket, day)


def get_and_put_frugally(bucket: str, day: date) -> None:
    """The same by boto3 with all costly features turned off."""
    _get_and_put(_frugal_client(), bucket, day)


def _get_and_put(s3: Any, bucket: str, day: date) -> None:
    def work(key: str) -> None:
        answer = s3.get_object(Bucket=bucket, Key=key)
        quarter = _quarter(answer["ContentLength"], iter(lambda: answer["Body"].read(BLOCK_BYTES), b""))
        s3.put_object(Bucket=bucket, Key=key, Body=quarter, StorageClass=STORAGE_CLASS)

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(work, keys_of(s3, bucket, day)))


def get_hash_put_and_tag(bucket: str, day: date) -> None:
    """The frugal way plus what every recording is promised: both SHA-256 hashes, and the tag beside the others."""
    s3 = _frugal_client()

    def work(key: str) -> None:
        named = {"Bucket": bucket, "Key": key}
        answer, source = s3.get_object(**named), hashlib.sha256()
        quarter = _quarter(
            answer["ContentLength"], _hashed(iter(lambda: answer["Body"].read(BLOCK_BYTES), b""), source)
        )
        checksum = base64.b64encode(hashlib.sha256(quarter).digest()).decode()
        s3.put_object(**named, Body=quarter, StorageClass=STORAGE_CLASS, ChecksumSHA256=checksum)
        tags = s3.get_object_tagging(**named)["TagSet"]
        s3.put_object_tagging(**named, Tagging={"TagSet": [*tags, {"Key": "converted", "Value": "True"}]})

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(work, keys_of(s3, bucket, day)))


def get_and_put_by_obstore(bucket: str, day: date) -> None:
    """The same by the cheapest client there is."""
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    authority = Path(os.environ["SSL_CERT_FILE"]).read_bytes()
    options: Any = {"http1_only": True, "root_certificate": authority}
    store = S3Store(bucket, endpoint=endpoint, virtual_hosted_style_request=False, client_options=options)

    def work(key: str) -> None:
        answer = obstore.get(store, key)
        quarter = _quarter(answer.meta["size"], answer.stream(BLOCK_BYTES))
        obstore.put(store, key, quarter, attributes={"Storage-Class": STORAGE_CLASS}, use_multipart=False)

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(work, keys_of(client(), bucket, day)))


def _frugal_client() -> Any:
    """boto3 at its cheapest: it adds no checksum to a body, and signs none."""
    config = Config(
        max_pool_connections=2 * THREADS,
        request_checksum_calculation="when_required",
        s3={"payload_signing_enabled": False},
    )
    return boto3.client("s3", config=config)


def _hashed(blocks: Iterable[bytes], digest: Any) -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block


def _quarter(size_bytes: int, blocks: Iterable[bytes]) -> bytearray:
    """As many bytes as a conversion would leave; the rest is read and discarded."""
    kept = bytearray()
    for block in blocks:
        kept += memoryview(block)[: size_bytes // 4 - len(kept)]
    return kept
