"""What a backup holds, whichever kind it is: the version of the tables, and the rows of each.

Only rows are taken from it. The tables are made by our own scripts, so that no statement of a file is ever run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from zipfile import BadZipFile, ZipFile

from bondhu.errors import StoreCorrupt, StoreError, StoreTooNew
from bondhu.log.postgres.schema import migrations

DUMP = b"PGDMP"  # how a file begins that pg_dump wrote
VERSION = "version"  # entry of our own archive
BLOCK = 1 << 19  # bytes sent at a time
BEGIN = re.compile(rb'COPY \S+ \(([a-z_", ]+)\) FROM stdin;\n')
END = b"\\.\n"
DAMAGED = (BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError)


class Rows(NamedTuple):
    """Of one table, as `COPY` reads them."""

    source: Any  # a file, or an asynchronous iterator of bytes
    form: str  # "text" or "binary"
    columns: list[str] | None  # None: all, in their order


class Copy(Protocol):
    """A backup that has been looked through."""

    version: int

    def rows(self, table: str) -> Any:
        """A context of Rows; raises StoreCorrupt where they are not there whole."""
        ...


def looked_through(path: Path) -> Copy:
    """The backup at `path`, every byte of which has been read; raises StoreCorrupt, StoreTooNew or StoreError."""
    try:
        with path.open("rb") as file:
            dumped = file.read(len(DUMP)) == DUMP
        copy = Dumped(path) if dumped else Archived(path)
    except OSError as error:
        what = f"{path} cannot be read: {error.strerror}."
        raise StoreError(what, field="path", value=str(path), fix="Mend that, or name another file.") from error
    newest = len(migrations())
    if copy.version > newest:
        what = f"{path} has version {copy.version}; this release of Bondhu knows versions up to {newest}."
        raise StoreTooNew(what, value=copy.version, fix="Upgrade Bondhu, or use an older backup.")
    return copy


def damaged(path: Path, why: object) -> StoreCorrupt:
    return StoreCorrupt(f"{path} is no backup, or damaged ({why}).", fix="Use another backup.")


class Archived:
    """An archive of our own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with ZipFile(path) as archive:
                self.version = int(archive.read(VERSION))
                if archive.testzip() is not None:
                    raise BadZipFile("a part of it has changed")
        except DAMAGED as error:
            raise damaged(path, error) from error

    @contextmanager
    def rows(self, table: str) -> Iterator[Rows]:
        try:
            with ZipFile(self._path) as archive, archive.open(f"{table}.copy") as entry:
                yield Rows(entry, "binary", None)
        except DAMAGED as error:
            raise damaged(self._path, error) from error


class Dumped:
    """What pg_dump wrote, read by pg_restore."""

    def __init__(self, path: Path) -> None:
        self._path = path
        program = find_program("pg_restore", 0)
        if program is None:
            raise StoreError("pg_restore is not there.", fix="Install PostgreSQL's client programs.")
        self._command = [program, "--data-only", "--exit-on-error"]
        whole = [*self._command, f"--file={os.devnull}", str(path.absolute())]
        done = subprocess.run(whole, capture_output=True, text=True, check=False)  # noqa: S603  our program
        if done.returncode:
            told = (done.stderr.strip().splitlines() or ["no reason given"])[0]
            if "unsupported version" in told:
                raise StoreError(f"{path} cannot be read ({told}).", fix="Install newer PostgreSQL client programs.")
            raise damaged(path, told)
        with self._lines("bondhu_schema") as lines:
            version = [line.strip() for line in lines if line.strip().isdigit()]
        if len(version) != 1:
            raise StoreError(f"{path} is no backup of a log.", fix="Name a file that `bondhu backup` wrote.")
        self.version = int(version[0])

    @contextmanager
    def _lines(self, table: str) -> Iterator[Iterable[bytes]]:
        """Of the script that puts this table's rows into it; raises StoreCorrupt where it was cut off."""
        command = [*self._command, "--file=-", f"--table={table}", str(self._path.absolute())]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=quiet) as process:  # noqa: S603  our program
            assert process.stdout is not None
            try:
                yield process.stdout
                for _ in process.stdout:
                    pass
                if process.wait():
                    raise damaged(self._path, f"pg_restore ended with {process.returncode} in table {table}")
            except BaseException:
                process.kill()
                raise

    @contextmanager
    def rows(self, table: str) -> Iterator[Rows]:
        with self._lines(table) as lines:
            begun = next(filter(None, map(BEGIN.fullmatch, lines)), None)
            if begun is None:
                raise damaged(self._path, f"it has no rows of table {table}")
            columns = [name.strip('"') for name in begun[1].decode().split(", ")]
            yield Rows(self._until_the_end(lines, table), "text", columns)

    async def _until_the_end(self, lines: Iterable[bytes], table: str) -> AsyncIterator[bytes]:
        """The rows of the table that has begun."""
        block = bytearray()
        for line in lines:
            if line == END:
                yield bytes(block)
                return
            block += line
            if len(block) >= BLOCK:
                yield bytes(block)
                block.clear()
        raise damaged(self._path, f"the rows of table {table} are cut off")


def find_program(name: str, major: int) -> str | None:
    """The program's path, if it knows servers of this major version."""
    found = shutil.which(name)
    if found is None:
        return None
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    version = re.search(r"(\d+)(\.\d+|devel|beta|rc)", told)
    return found if version and int(version[1]) >= major else None
