"""A PostgreSQL cluster of the benchmarks' own: made in a folder, started at a free port, stopped and thrown away."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import sleep
from typing import Any

from benchmarks.serving_processes import HOST, STARTING, descendants, free_port

NAME = "bondhu"
SETTINGS = {
    "listen_addresses": HOST,
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "wal_buffers": "16MB",
    "max_wal_size": "4GB",
    "max_connections": "50",
    "logging_collector": "off",
}


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, or None."""
    found = shutil.which("initdb")
    if found and Path(found).resolve().with_name("postgres").exists():
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@dataclass
class Cluster:
    """One cluster with one database."""

    folder: Path
    programs: Path
    port: int
    user: str | None  # whom its processes belong to: PostgreSQL does not run as root
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"postgresql://{NAME}@{HOST}:{self.port}/{NAME}"

    def pids(self) -> list[int]:
        return [self.process.pid, *descendants(self.process.pid)] if self.process else []

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        places = ["-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder)]
        with (self.folder / "log").open("ab") as output:
            command = [str(self.programs / "postgres"), *places, *settings]
            self.process = subprocess.Popen(command, stdout=output, stderr=output, cwd=self.folder, **self._as_user())
        for _ in range(int(STARTING / 0.1)):
            if self._run("pg_isready", "-q", check=False) == 0:
                return
            sleep(0.1)
        raise RuntimeError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()[-2000:]}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: at once but in order; SIGQUIT: as in a crash."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)

    def signal(self, which: signal.Signals) -> None:
        """To the postmaster and every backend."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, which)

    def sql(self, *statements: str, database: str = NAME) -> None:
        for each in statements:
            self._run("psql", "-X", "-q", "-d", database, "-c", each)

    def sound(self, database: str = NAME) -> bool:
        """Whether PostgreSQL's own checker finds heap and indexes whole."""
        return self._run("pg_amcheck", "-d", database, "--install-missing", "--heapallindexed", check=False) == 0

    def make(self) -> None:
        self._initialise()
        self.start()
        self.sql(f"CREATE DATABASE {NAME}", database="postgres")

    def database(self, name: str) -> str:
        """The address of another database in it, made anew."""
        self.sql(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}", database="postgres")
        return f"postgresql://{NAME}@{HOST}:{self.port}/{name}"

    def _initialise(self) -> None:
        self.folder.mkdir()
        if self.user:
            shutil.chown(self.folder, self.user)
        options = ["-D", str(self.folder / "data"), "-U", NAME, "-A", "trust", "-E", "UTF8", "--no-locale"]
        command = [str(self.programs / "initdb"), *options]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, **self._as_user())

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        command = [str(self.programs / program), "-h", HOST, "-p", str(self.port), "-U", NAME, *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=self.folder, timeout=120)
        if check and done.returncode:
            raise RuntimeError(f"{program}: {done.stderr}")
        return done.returncode

    def _as_user(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        known = pwd.getpwnam(self.user)
        return {"user": known.pw_uid, "group": known.pw_gid, "extra_groups": []}


def owner() -> str | None:
    """Whom the cluster may belong to: us, unless we are root."""
    if os.geteuid():
        return None
    names = {each.pw_name for each in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


def missing() -> str | None:
    """Why there can be no cluster here, or None."""
    if programs() is None:
        return "PostgreSQL is not installed"
    if os.geteuid() == 0 and owner() is None:
        return "there is no user that PostgreSQL could run as"
    if find_spec("asyncpg") is None:
        return "asyncpg is not installed"
    return None


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A running cluster in a new folder; `missing()` says beforehand whether there can be one."""
    found = programs()
    if found is None:
        raise RuntimeError("PostgreSQL is not installed.")
    made = Cluster(folder, found, free_port(), owner())
    try:
        made.make()
        yield made
    finally:
        if made.process:
            made.signal(signal.SIGCONT)
            made.stop(signal.SIGQUIT)


def settings(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Statements that set these for the whole cluster and put them in force."""
    return [*(f"ALTER SYSTEM SET {name} = {value}" for name, value in pairs), "SELECT pg_reload_conf()"]
