"""The tables, as numbered scripts: brought forward when a store is opened, never back."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

from bondhu.errors import StoreError, StoreTooNew

HERE = files("bondhu.log.postgres")
NAMED = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)
QUERIES = {name: text.strip() for name, text in NAMED.findall(HERE.joinpath("queries.sql").read_text("utf-8"))}

TABLES = ["action_set", "decision", "feedback", "system_tasks", "ledger", "transcript"]
MIGRATING = 0x626F6E6468750001  # key of the lock of whoever brings the tables forward
IN_USE = 0x626F6E6468750002  # key of the lock that every connection shares, and who restores a backup has alone


def migrations() -> list[str]:
    """The scripts in order; a store at version n has had the first n."""
    folder = HERE.joinpath("migrations")
    return [each.read_text("utf-8") for each in sorted(folder.iterdir(), key=lambda each: each.name)]


async def migrate(connection: Any, name: str) -> None:
    """Bring the tables forward, one process at a time, each script whole or not at all; raises StoreTooNew, or
    StoreError where the tables are another program's."""
    if await connection.fetchval("SHOW server_encoding") != "UTF8":
        raise StoreError(f"{name} does not keep text as UTF-8.", fix="Make one with `createdb -E UTF8 -T template0`.")
    scripts = migrations()
    if await _version(connection, name, len(scripts)) == len(scripts):
        return
    await connection.execute("SELECT pg_advisory_lock($1)", MIGRATING)
    try:
        version = await _version(connection, name, len(scripts))
        if version == 0:  # asked while nobody else of ours can make them
            await _refuse_tables_of_another(connection, name)
        await bring_forward(connection, version, len(scripts))
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", MIGRATING)


async def bring_forward(connection: Any, version: int, last: int) -> None:
    """Run the scripts after this version up to the last one, each whole or not at all."""
    for number, script in enumerate(migrations()[version:last], start=version + 1):
        async with connection.transaction():
            await connection.execute("CREATE TABLE IF NOT EXISTS bondhu_schema (version integer NOT NULL)")
            await connection.execute(script)
            await connection.execute("DELETE FROM bondhu_schema")
            await connection.execute("INSERT INTO bondhu_schema VALUES ($1)", number)


async def _version(connection: Any, name: str, newest: int) -> int:
    """How many scripts the tables have had."""
    if await connection.fetchval("SELECT to_regclass('bondhu_schema')") is None:
        return 0
    version: int = await connection.fetchval("SELECT coalesce(max(version), 0) FROM bondhu_schema")
    if version > newest:
        raise StoreTooNew(
            f"{name} has version {version}; this release of Bondhu knows versions up to {newest}.",
            value=version,
            fix="Upgrade Bondhu, or restore an older backup.",
        )
    return version


async def _refuse_tables_of_another(connection: Any, name: str) -> None:
    there = await connection.fetchval(
        "SELECT min(relname) FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
        " AND relname = ANY ($1::text[])",
        TABLES,
    )
    if there is not None:
        what = f"{name} has a table {there!r} of another program."
        raise StoreError(what, fix="Name another database for the log.")
