"""Copies of a PostgreSQL store: made while others write, and put back all at once or not at all.

`pg_dump -Fc` writes them where it is there and knows the server; else an archive of our own: a zip with the rows of
each table as `COPY .. (FORMAT binary)` writes them, all of one moment, and the version of the tables.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from bondhu.errors import InvalidInput, StoreError, StoreLocked
from bondhu.log.postgres.address import Address
from bondhu.log.postgres.copies import VERSION, Copy, damaged, find_program, looked_through
from bondhu.log.postgres.database import Connection, Database, parted
from bondhu.log.postgres.schema import IN_USE, TABLES, bring_forward, migrations
from bondhu.log.postgres.words import UNFORESEEN, in_our_words

PAUSES = (0.1, 0.2, 0.4, 0.8, 0.0)  # seconds between attempts to have the database alone
SEQUENCES = {"action_set": "id", "system_tasks": "id"}  # the column that numbers the rows; of other tables "seq"


def backup(database: Database, path: Path) -> None:
    """Write the store as it is at one moment to a new file; it is there whole or not at all. Raises InvalidInput where
    the file is there already."""
    _free(path)
    beside = path.with_name(f"{path.name}.part")
    server = database.run(lambda connection: connection.fetchval("SHOW server_version_num"))
    program = find_program("pg_dump", int(server) // 10_000)
    try:
        beside.unlink(missing_ok=True)
        beside.touch(mode=0o600, exist_ok=False)  # people are in it
        if program is None:
            asyncio.run(_archived(database.address, beside))
        else:
            _run(
                database.address,
                program,
                "--format=custom",
                "--encoding=UTF8",
                "--no-owner",
                "--no-privileges",
                f"--file={beside}",
            )
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        try:
            path.hardlink_to(beside)  # unlike a renaming, it never replaces what somebody put there meanwhile
        except FileExistsError:
            _free(path)
    except asyncpg.PostgresError as error:
        raise in_our_words(error, database.address.name) from error
    except OSError as error:
        what = f"{path} cannot be written: {error.strerror}."
        raise StoreError(what, field="path", value=str(path), fix="Mend that, or name another file.") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def restore(path: Path, where: str, password: str | None = None, *, replace: bool = False) -> None:
    """Put a backup into the database, all of it or nothing. Raises InvalidInput where that holds a log already, unless
    that may be replaced; StoreLocked where a server or anybody else uses it; StoreCorrupt or StoreTooNew, before the
    database is touched, where the backup is none that can be restored."""
    address = Address(where, password)
    if not path.is_file():
        raise InvalidInput(f"There is no backup {path}.", field="path", value=str(path), fix="Name a file.")
    copy = looked_through(path)
    try:
        asyncio.run(_restored(copy, address, replace))
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
        raise damaged(path, str(error.args[0]).splitlines()[0]) from error
    except UNFORESEEN as error:
        raise in_our_words(error, address.name) from error


async def _restored(copy: Copy, address: Address, replace: bool) -> None:
    """In one transaction: whoever is cut off leaves the log as it was."""
    connection = await address.reach()
    try:
        await _have_alone(connection, address.name)
        async with connection.transaction():
            await _make_room(connection, address.name, replace)
            await bring_forward(connection, 0, copy.version)
            for table in TABLES:
                if await connection.fetchval("SELECT to_regclass($1)", table) is not None:
                    await _fill(connection, copy, table)
            await bring_forward(connection, copy.version, len(migrations()))
        await connection.execute(
            "SELECT pg_advisory_unlock($1)", IN_USE
        )  # at once, and not when the server sees it end
    finally:
        await parted(connection)


async def _have_alone(connection: Connection, name: str) -> None:
    """Nobody else may use the log until this connection ends: they remember what the tables hold."""
    for pause in PAUSES:
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", IN_USE):
            return
        await asyncio.sleep(pause)  # the server may have yet to see that somebody has gone
    what = f"{name} is in use by a server or by another command."
    raise StoreLocked(what, field="path", value=name, fix="Stop it and try again.")


async def _make_room(connection: Connection, name: str, replace: bool) -> None:
    """Refuse a database that holds a log, or drop its tables."""
    if await connection.fetchval("SELECT to_regclass('bondhu_schema')") is None:
        return
    for table in TABLES[1:]:
        if replace or await connection.fetchval("SELECT to_regclass($1)", table) is None:
            continue
        if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table})"):  # noqa: S608  a constant
            what = f"{name} holds a log already."
            raise InvalidInput(what, field="path", value=name, fix="Say --replace to give it up.")
    await connection.execute("DROP VIEW IF EXISTS heard; DROP FUNCTION IF EXISTS all_new")
    await connection.execute(f"DROP TABLE IF EXISTS bondhu_schema, {', '.join(TABLES)}")


async def _fill(connection: Connection, copy: Copy, table: str) -> None:
    with copy.rows(table) as rows:
        await connection.copy_to_table(table, source=rows.source, columns=rows.columns, format=rows.form)
    column = SEQUENCES.get(table, "seq")
    last = f"SELECT coalesce(max({column}), 0) + 1 FROM {table}"  # noqa: S608  constants
    await connection.execute(f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), ({last}), false)")


async def _archived(address: Address, path: Path) -> None:
    """On an event loop of its own: packing takes time, and others use the database's."""
    connection = await address.connect()
    try:
        await _archive(connection, path)
    finally:
        await parted(connection)


async def _archive(connection: Connection, path: Path) -> None:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        version = await connection.fetchval("SELECT version FROM bondhu_schema")
        with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(VERSION, str(version))
            for table in TABLES:
                with archive.open(f"{table}.copy", "w", force_zip64=True) as entry:
                    await connection.copy_from_table(table, output=_to(entry), format="binary")


def _to(entry: Any) -> Any:
    async def write(data: bytes) -> None:
        entry.write(data)

    return write


def _run(address: Address, program: str, *arguments: str) -> None:
    """One of PostgreSQL's programs on this database; the password goes by the environment, which others cannot see."""
    bare, secret = address.for_programs()
    command = [program, f"--dbname={bare}", "--no-password", *arguments]
    done = subprocess.run(command, env={**os.environ, **secret}, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise StoreError(f"{address.name} cannot be copied ({told}).", fix="Mend that and try again.")


def _free(path: Path) -> None:
    if path.exists() or path.is_symlink():
        what = f"{path} is there already."
        raise InvalidInput(what, field="path", value=str(path), fix="Name a new file: a backup replaces nothing.")
