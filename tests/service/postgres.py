"""A PostgreSQL cluster for the tests: made in a folder of its own, started on a free port, thrown away afterwards.

Import the fixtures `cluster` and `address` into a test file to use them. They skip where PostgreSQL is not installed.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest

USERS = """
local all all trust
host all locked 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""
SECONDS = 30.0  # to start or stop
_number = count(1)


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, or None."""
    found = shutil.which("initdb")
    if found and Path(found).resolve().with_name("postgres").exists():
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


class Cluster:
    """One server with its data. `user` is the superuser "bondhu"; "locked" needs a password."""

    def __init__(self, fsync: bool = False, **settings: str) -> None:
        """`settings`: of postgresql.conf."""
        found = programs()
        assert found is not None
        self._programs = found
        self._as = _account()
        self.folder = Path(tempfile.mkdtemp(prefix="bondhu-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self._settings = {"fsync": "on" if fsync else "off", "full_page_writes": "on" if fsync else "off", **settings}
        if self._as:
            shutil.chown(self.folder, self._as["user"])
        self._make()
        self.start()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def address(self, database: str = "postgres", user: str = "bondhu") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def _make(self) -> None:
        command = ["initdb", "-D", str(self.data), "-U", "bondhu", "-E", "UTF8", "--locale=C", "-A", "trust", "-N"]
        self._call(command)
        with (self.data / "pg_hba.conf").open("w") as file:
            file.write(USERS)
        with (self.data / "postgresql.conf").open("a") as file:
            plain = {
                "listen_addresses": "127.0.0.1",
                "unix_socket_directories": str(self.folder),
                "max_wal_size": "4GB",
            }
            for name, value in {**plain, "shared_buffers": "128MB", "max_connections": "60", **self._settings}.items():
                file.write(f"{name} = '{value}'\n")

    def _call(self, command: list[str]) -> None:
        program = [str(self._programs / command[0]), *command[1:]]
        done = subprocess.run(program, cwd="/", capture_output=True, text=True, check=False, **self._as)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Returns when it answers."""
        assert self._process is None
        command = [str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, **self._as)
        _wait_for(self._answers)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        ready = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0

    def stop(self, how: int = signal.SIGINT) -> None:
        """SIGINT: at once, in good order. Returns when it has ended."""
        if self._process is not None:
            self.resume()
            self._process.send_signal(how)
            self._process.wait(SECONDS)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill(self) -> None:
        """All of its processes at once, as kill -9 does."""
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
        assert self._process is not None
        self._process.wait(SECONDS)
        _wait_for(lambda: not _children(self._process.pid) and not self._left())  # type: ignore[union-attr]  # it runs
        self._process = None

    def _left(self) -> bool:
        """Whether a process of this data folder is still there: the server would refuse to start."""
        return any(_working_folder(int(each.name)) == self.data for each in Path("/proc").glob("[0-9]*"))

    def hang(self) -> None:
        """It keeps its connections and takes new ones, but answers nobody, until `resume`."""
        for process in self.processes():
            os.kill(process, signal.SIGSTOP)

    def resume(self) -> None:
        for process in self.processes():
            os.kill(process, signal.SIGCONT)

    def processes(self) -> list[int]:
        """The server first, then its children."""
        assert self._process is not None
        return [self._process.pid, *_children(self._process.pid)]

    def read_only(self, yes: bool) -> None:
        """For everybody, from the next transaction on."""
        self.run(
            f"ALTER SYSTEM SET default_transaction_read_only = {'on' if yes else 'off'}", "SELECT pg_reload_conf()"
        )
        _wait_for(lambda: self.fetch("SHOW default_transaction_read_only") == [("on" if yes else "off",)])

    def run(self, *statements: str, database: str = "postgres") -> None:
        async def main(connection: Any) -> None:
            await connection.execute("SET default_transaction_read_only = off")
            for statement in statements:
                await connection.execute(statement)

        self._with(main, database)

    def fetch(self, query: str, *values: Any, database: str = "postgres") -> list[tuple[Any, ...]]:
        async def main(connection: Any) -> list[tuple[Any, ...]]:
            return list(map(tuple, await connection.fetch(query, *values)))

        found: list[tuple[Any, ...]] = self._with(main, database)
        return found

    def _with(self, work: Any, database: str) -> Any:
        import asyncpg

        async def main() -> Any:
            connection = await asyncpg.connect(self.address(database))
            try:
                return await work(connection)
            finally:
                await connection.close()

        return asyncio.run(main())

    def create(self) -> str:
        """Name of a new database."""
        name = f"test_{next(_number)}"
        self.run(f"CREATE DATABASE {name}")
        return name

    def drop(self, name: str) -> None:
        self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def needed() -> None:
    """Skip the test where there is no PostgreSQL."""
    pytest.importorskip("asyncpg")
    if programs() is None:
        pytest.skip("PostgreSQL's initdb is not installed")


@cache
def _shared(config: pytest.Config) -> Cluster:
    made = Cluster()
    config.add_cleanup(made.remove)
    return made


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """One server for all tests of a run: leave it running and writable."""
    needed()
    return _shared(request.config)


@contextmanager
def own_cluster(fsync: bool = False, **settings: str) -> Iterator[Cluster]:
    """A server for one test, which may do with it what it likes."""
    needed()
    made = Cluster(fsync, **settings)
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def address(cluster: Cluster) -> Iterator[str]:
    """A database of its own, as a postgresql:// address."""
    name = cluster.create()
    yield cluster.address(name)
    cluster.drop(name)


def _account() -> dict[str, str]:
    """PostgreSQL does not run as root: whom it runs as then."""
    if os.geteuid() != 0:
        return {}
    names = {each.pw_name for each in pwd.getpwall()}
    name = "postgres" if "postgres" in names else "nobody"
    return {"user": name, "group": pwd.getpwnam(name).pw_gid}  # type: ignore[dict-item]  # a number will do


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _children(process: int) -> list[int]:
    try:
        return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))
    except OSError:
        return []


def _working_folder(process: int) -> Path | None:
    try:
        return Path(f"/proc/{process}/cwd").readlink()
    except OSError:
        return None


def _wait_for(what: Any) -> None:
    until = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < until, "the server takes too long"
        time.sleep(0.01)
