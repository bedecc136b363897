"""Brings logs into a deployment, and its own out of it; declares a deployment from a log that has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from time import time
from typing import Any, NamedTuple

from rich.progress import Progress, TaskID

from bondhu import screen
from bondhu.access.keys import KIND as KEY
from bondhu.access.keys import known
from bondhu.app import App
from bondhu.doors import imported, masks
from bondhu.errors import BondhuError, InvalidInput, SettingsInvalid
from bondhu.log.archive import Archived, archive
from bondhu.log.backup import restore
from bondhu.log.checks import encode
from bondhu.log.importers import ColumnMapping, ImportReport, open_source, suggest_domain, to_toml
from bondhu.log.join import settlement
from bondhu.log.moving import Moved, move_in, move_out
from bondhu.log.parquet import Written, pairs_of, rows_of
from bondhu.log.stores import Stores, is_postgres, open_stores
from bondhu.ports import Entry
from bondhu.settings import FILE, Settings
from bondhu.train.window import DAY


def mapping_of(pairs: Sequence[str]) -> ColumnMapping | None:
    """From the command line's `part=column`, with `context.field=column` and `signals.name=column`."""
    table: dict[str, Any] = {}
    for pair in pairs:
        part, separator, column = pair.partition("=")
        if not separator or not part or not column:
            raise InvalidInput(
                f"--map got {pair!r}.", field="map", value=pair, fix="Write part=column, such as action=arm."
            )
        group, _, name = part.partition(".")
        if name and group in ("context", "signals"):
            table.setdefault(group, {})[name] = column
        else:
            table[part] = _typed(part, column)
    return ColumnMapping.from_table(table) if table else None


def _typed(part: str, column: str) -> Any:
    """A probability may be a number instead of a column; a delay must be one; fields may be listed."""
    if part == "context":
        return column.split(",")
    try:
        return float(column) if part in ("probability", "delay") else column
    except ValueError:
        if part == "delay":
            raise InvalidInput(
                f"--map delay got {column!r}.", field="delay", value=column, fix="Give seconds."
            ) from None
        return column


def declare_from(path: Path, directory: Path, kind: str | None, mapping: ColumnMapping | None) -> Path:
    """Write a bondhu.toml whose fields, actions and signals are those of the log."""
    file = directory / FILE
    if file.exists():
        raise InvalidInput(
            f"{file} is there already.", field="directory", fix="Import without --declare, or move it away."
        )
    with screen.console.status("Reading the log …"):
        tables = suggest_domain(path, kind, mapping)
    directory.mkdir(parents=True, exist_ok=True)
    rest = resources.files("bondhu").joinpath("template.toml").read_text("utf-8")
    file.write_text(to_toml(tables) + rest, encoding="utf-8")
    return file


def import_log(
    app: App, path: Path, kind: str | None, mapping: ColumnMapping | None, *, strict: bool = False
) -> ImportReport:
    """Append every good row to the log; importing the same file again changes nothing."""
    source, masked = open_source(path, app.domain, kind, mapping, strict=strict), masks(app.settings, app.domain)
    with screen.progress() as bar:
        task = bar.add_task(f"Importing {path.name} (bytes)", total=source.size)
        for chunk in source.chunks():
            app.deployment.log.append(imported(masked, chunk.decisions), chunk.feedback)
            bar.update(task, completed=chunk.done)
    return source.report


def import_facts(app: App, path: Path) -> Moved:
    """Append what `bondhu export FOLDER` or `bondhu archive` wrote, as it arrived once; importing it again changes
    nothing."""
    with screen.progress() as bar:
        task = bar.add_task(f"Importing {path.name} (decisions)", total=sum(map(rows_of, pairs_of(path))))
        return move_in(app.stores, app.domain.name, path, lambda done: bar.advance(task, done))


def export_facts(app: App, folder: Path) -> Written:
    """Write all that the store holds of the domain, as it arrived, to a new folder."""
    with screen.progress() as bar:
        total = app.log.summary(app.domain.name).decisions
        task = bar.add_task(f"Writing {folder.name} (decisions)", total=total)
        return move_out(app.stores, app.domain.name, folder, lambda done: bar.advance(task, done))


def archive_old(app: App, days: float | None) -> Archived:
    """Move decisions older than these days, or than `[store] retain_days`, to the archive."""
    days = app.settings.store.retain_days if days is None else days
    if days is None:
        fix = "Set [store] retain_days, or say --days."
        raise SettingsInvalid("Nothing says how long rows stay in the log.", field="store.retain_days", fix=fix)
    settled = settlement(app.domain) / DAY
    if days < settled:
        what = f"Decisions younger than {settled:g} days may not be settled: they are not to leave the log."
        raise InvalidInput(what, field="days", value=days, fix=f"Give {settled:g} days or more.")
    folder = app.settings.path(app.settings.store.archive)
    with app.stores.alone("archive"), screen.progress() as bar:
        before = app.now() - days * DAY
        task = bar.add_task("Archiving (decisions)", total=None)
        return archive(app.log, app.domain, before, folder, now=app.now(), told=lambda done: bar.advance(task, done))


class Restored(NamedTuple):
    """What became of a store in whose place a backup was put."""

    where: str  # which store, without its password
    carried: Mapping[str, int]  # entries of the ledger, by kind, that were newer than the backup and were kept
    lost: bool  # whether the ledger that there was could not be read
    good: list[str]  # ids of the keys that are good now, where newer entries were lost


def restore_backup(settings: Settings, path: Path, *, replace: bool) -> Restored:
    """Put a backup in the place of the store. Facts are as they were then; but what the ledger has noted since is kept,
    so that no revoked key opens anything again and no certificate is lost. Raises as the store's `restore`."""
    before = _ledger(settings) if replace else []
    where = _put_back(settings, path, replace=replace)
    stores = _stores(settings)
    try:
        there = Counter(encode(each[1:]) for kind in stores.ledger.kinds() for each in stores.ledger.entries(kind))
        carried: Counter[str] = Counter()
        for entry in before or ():
            there[encode(entry[1:])] -= 1
            if there[encode(entry[1:])] < 0:
                stores.ledger.note(entry.kind, entry.domain, entry.body, time=entry.time)
                carried[entry.kind] += 1
        lost = before is None
        good = [name for name, key in known(stores.ledger.entries(KEY) if lost else ()).items() if key.good(time())]
    finally:
        stores.close()
    return Restored(where, carried, lost, good)


def _ledger(settings: Settings) -> list[Entry] | None:
    """All that the store has noted, oldest first; None where it cannot be read."""
    store = settings.store
    if not is_postgres(store.log) and not settings.path(store.log).exists():
        return []
    try:
        stores = _stores(settings)
        try:
            return sorted(each for kind in stores.ledger.kinds() for each in stores.ledger.entries(kind))
        finally:
            stores.close()
    except BondhuError:
        return None


def _stores(settings: Settings) -> Stores:
    password = settings.store.password.get_secret_value() if settings.store.password else None
    return open_stores(settings.store.log, settings.directory, password)


def _put_back(settings: Settings, path: Path, *, replace: bool) -> str:
    """The backup in the place of the store; which store that is, without its password."""
    store = settings.store
    if is_postgres(store.log):
        from bondhu.log.postgres.address import Address
        from bondhu.log.postgres.backup import restore as restore_postgres

        password = store.password.get_secret_value() if store.password else None
        restore_postgres(path, store.log, password, replace=replace)
        return Address(store.log, password).name
    with screen.progress() as bar:
        task = bar.add_task(f"Restoring {path.name} (pages)", total=None)
        told = partial(_pages, bar, task)
        restore(path, settings.path(store.log), replace=replace, told=told)
    return store.log


def _pages(bar: Progress, task: TaskID, done: int, pages: int) -> None:
    bar.update(task, completed=done, total=pages)
