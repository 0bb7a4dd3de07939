"""Hand recordings over: say what it costs, or write the bag whole or not at all."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from recordings.errors import Changed, InvalidRequest
from recordings.handover.bag import bagged, fill, seal
from recordings.handover.choose import Chosen, Item, choose
from recordings.handover.export import Export, ExportSummary
from recordings.pool import Pool
from recordings.retrying import patience
from recordings.s3.store import Store
from recordings.table.files import AuditFiles


def hand_over(
    export: Export,
    store: Store,
    files: AuditFiles,
    pool: Pool,
    destination: Store | None = None,
    held: Sequence[str] = (),
) -> ExportSummary:
    """Choose the recordings and, unless it is a dry run, write the bag.

    ``destination`` is None for a local folder; ``held`` are the keys that the case holds, where the case selects.

    Raises InvalidRequest, before any recording is read, if the destination is not new or too much is selected;
    AuditDamaged, naming the file, where a file of the table cannot be read.
    """
    _check_is_new(export, destination)
    chosen = choose(export, files, held)
    if export.dry_run or not chosen.items:
        return _summary(export, chosen.items, chosen.problems)
    if destination is None:
        path = Path(export.destination.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.parent / f".{path.name}-{export.run_id}"
        try:
            handed, left = _write(unfinished, export, store, chosen, pool)
            unfinished.rename(path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    else:
        with tempfile.TemporaryDirectory(prefix="export-") as folder:
            handed, left = _write(Path(folder) / "bag", export, store, chosen, pool)
            _upload(Path(folder) / "bag", destination, export)
    return _summary(export, handed, [*chosen.problems, *left])


def _write(folder: Path, export: Export, store: Store, chosen: Chosen, pool: Pool) -> tuple[list[Item], list[str]]:
    handed, left = fill(folder, store, export, chosen, pool)
    seal(folder, export)
    return [each.item for each in handed], left


def _upload(folder: Path, destination: Store, export: Export) -> None:
    for path in bagged(folder):
        key = f"{export.destination.path}/{path.relative_to(folder).as_posix()}"
        try:
            patience()(destination.create_from, key, path)
        except Changed as error:
            raise InvalidRequest(_taken(export)) from error


def _check_is_new(export: Export, destination: Store | None) -> None:
    if destination is None:
        is_taken = Path(export.destination.path).exists()
    else:
        below = f"{export.destination.path}/"
        is_taken = patience()(lambda: next(iter(destination.list_objects(below)), None)) is not None
    if is_taken:
        raise InvalidRequest(_taken(export))


def _taken(export: Export) -> str:
    return f"destination_uri {export.destination} is there already, and no bag is ever changed: name a new folder"


def _summary(export: Export, items: Sequence[Item], problems: Sequence[str]) -> ExportSummary:
    return ExportSummary(
        run_id=export.run_id,
        dry_run=export.dry_run,
        destination=str(export.destination),
        recordings=len(items),
        size_bytes=sum(each.side.size_bytes or 0 for each in items),
        usd=sum(each.usd for each in items),
        problems=tuple(problems),
    )
