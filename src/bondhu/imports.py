"""Brings logs made elsewhere into a deployment, and declares one from a log that has none."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from bondhu import screen
from bondhu.app import App
from bondhu.errors import InvalidInput
from bondhu.log.importers import ColumnMapping, ImportReport, open_source, suggest_domain, to_toml
from bondhu.settings import FILE


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
    source = open_source(path, app.domain, kind, mapping, strict=strict)
    with screen.progress() as bar:
        task = bar.add_task(f"Importing {path.name} (bytes)", total=source.size)
        for chunk in source.chunks():
            app.deployment.log.append(chunk.decisions, chunk.feedback)
            bar.update(task, completed=chunk.done)
    return source.report
