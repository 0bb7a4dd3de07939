"""Hand recordings over: say what it costs, or write the bag whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from recordings.errors import Changed, InvalidRequest
from recordings.handover.bag import Handed, bagged, digest, fill, seal
from recordings.handover.beside import look_beside
from recordings.handover.choose import Chosen, choose
from recordings.handover.export import Export, ExportSummary
from recordings.handover.item import Item
from recordings.pool import Pool
from recordings.retrying import retrying
from recordings.s3.store import Store
from recordings.table.files import AuditFiles
from recordings.table.records import Circumstances, record_end, record_start


def hand_over(
    export: Export,
    store: Store,
    files: AuditFiles,
    pool: Pool,
    destination: Store | None = None,
    held: Sequence[str] = (),
    circumstances: Circumstances | None = None,
) -> ExportSummary:
    """Choose the recordings and, unless it is a dry run, write the bag; records under ``_runs/`` list its objects.

    ``destination`` is None for a local folder; ``held`` are the keys that the case holds, where the case selects.

    Raises InvalidRequest, before any recording is read, if the destination is not new or too much is selected;
    AuditDamaged, naming the file, where a file of the table cannot be read.
    """
    _check_is_new(export, destination)
    chosen = choose(export, files, held)
    if export.names_few or held:
        chosen = _with_what_has_no_rows(export, store, chosen, pool)
    if export.dry_run or not chosen.items:
        return _summary(export, chosen, chosen.items, ())
    record_start(files, export, circumstances=circumstances)
    bag = _bag_in_s3(export, store, chosen, pool, destination) if destination else _bag(export, store, chosen, pool)
    summary = _summary(export, chosen, [each.item for each in bag.handed], bag.left)
    told = {"handed": [each.record for each in bag.handed], "manifest_sha256": bag.manifest_sha256}
    record_end(files, export, totals={**asdict(summary), **told}, manifest=())
    return summary


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bag:
    handed: list[Handed]
    left: list[str]  # a sentence for each object that is not in the bag
    manifest_sha256: str


def _bag(export: Export, store: Store, chosen: Chosen, pool: Pool) -> _Bag:
    path = Path(export.destination.path)
    unfinished = path.parent / f".{path.name}-{export.run_id}"
    try:
        bag = _write(unfinished, export, store, chosen, pool)
        unfinished.rename(path)
        return bag
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _bag_in_s3(export: Export, store: Store, chosen: Chosen, pool: Pool, destination: Store) -> _Bag:
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        bag = _write(Path(folder) / "bag", export, store, chosen, pool)
        _upload(Path(folder) / "bag", destination, export)
        return bag


def _with_what_has_no_rows(export: Export, store: Store, chosen: Chosen, pool: Pool) -> Chosen:
    items = (*chosen.items, *look_beside(export, store, chosen.rows, pool))
    told = {each.row.contact_id for each in items if each.is_of_contact_lens}
    silent = sorted(set(chosen.rows["contact_id"].dropna()) - told)
    return replace(chosen, items=items, without_analysis=tuple(silent))


def _write(folder: Path, export: Export, store: Store, chosen: Chosen, pool: Pool) -> _Bag:
    handed, left = fill(folder, store, export, chosen, pool)
    seal(folder, export)
    return _Bag(handed=handed, left=left, manifest_sha256=digest(folder))


def _upload(folder: Path, destination: Store, export: Export) -> None:
    for path in bagged(folder):
        key = f"{export.destination.path}/{path.relative_to(folder).as_posix()}"
        try:
            retrying()(destination.create_from, key, path)
        except Changed as error:
            raise InvalidRequest(_taken(export)) from error


def _check_is_new(export: Export, destination: Store | None) -> None:
    if destination is None:
        path = Path(export.destination.path)
        is_taken = path.exists()
        _check_is_writable(path, export)
    else:
        below = f"{export.destination.path}/"
        is_taken = retrying()(lambda: next(iter(destination.list_objects(below)), None)) is not None
    if is_taken:
        raise InvalidRequest(_taken(export))


def _check_is_writable(path: Path, export: Export) -> None:
    """Raises InvalidRequest where this machine lets nobody write the bag, before anything is read."""
    above = next(each for each in path.parents if each.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise InvalidRequest(
            f"destination_uri {export.destination}: {above} is not a folder that this run may write to: name another"
        )


def _taken(export: Export) -> str:
    return f"destination_uri {export.destination} exists already, and no run changes a bag: name a new folder"


def _summary(export: Export, chosen: Chosen, items: Sequence[Item], left: Sequence[str]) -> ExportSummary:
    analyses = sum(each.is_of_contact_lens for each in items)
    return ExportSummary(
        run_id=export.run_id,
        dry_run=export.dry_run,
        destination=str(export.destination),
        recordings=len(items) - analyses,
        analyses=analyses,
        without_analysis=len(chosen.without_analysis or ()),
        size_bytes=sum(each.side.size_bytes or 0 for each in items),
        usd=sum(each.usd for each in items),
        problems=(*chosen.problems, *left),
    )
