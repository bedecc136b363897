"""The sockets of a server: the one it listens at, and as many open files as the system lets it have."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import socket
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import NamedTuple

from bondhu.errors import SettingsInvalid

BACKLOG = 2048  # connections that wait to be accepted, while workers start for instance
MOST_CONNECTIONS = 4_000  # of one process; more are answered 503 at once
RESERVED = 200  # open files that are not connections
PAGES = "pages"  # in a folder of sockets, the one of the process that shows pages
PREFIX, HELD = "bondhu-", "held"  # of a folder's name; the file in it that is locked as long as its supervisor lives


class Folder(NamedTuple):
    """A folder of sockets that nobody else may enter."""

    path: Path
    lock: int  # an open file; the system lets go of it however the process ends

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def own_folder() -> Folder:
    """A new one among the temporary files."""
    path = Path(mkdtemp(prefix=PREFIX))
    beside = path / f"{HELD}.part"
    lock = os.open(beside, os.O_CREAT | os.O_RDWR, 0o600)  # those who are started do not inherit it
    fcntl.flock(lock, fcntl.LOCK_EX)
    beside.rename(path / HELD)  # so that nobody finds it before it is locked
    return Folder(path, lock)


def remove_leftovers() -> list[Path]:
    """Remove our folders whose supervisor is gone without having removed them; returns which."""
    removed = []
    for path in Path(gettempdir()).glob(f"{PREFIX}*"):
        try:
            if path.lstat().st_uid != os.getuid():
                continue
            lock = os.open(path / HELD, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:  # not one of these, or gone already
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
        except OSError:  # somebody holds it
            continue
        finally:
            os.close(lock)
    return removed


def listening(host: str, port: int) -> socket.socket:
    """A socket at this address; raises SettingsInvalid where it cannot be had."""
    try:
        return socket.create_server((host, port), backlog=BACKLOG)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error  # below 0: the host is unknown
        what = f"Cannot listen at {host}:{port}: {why}."
        fix = "Choose another with --host and --port, or stop what uses this one."
        raise SettingsInvalid(what, field="server.port", value=port, fix=fix) from error


def for_workers(path: Path) -> socket.socket:
    """A Unix socket at this path, for whoever may enter the folder."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(BACKLOG)
    return listener


def most_connections() -> int:
    """How many connections a process takes: as many as it may have open files for, once that limit is raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + RESERVED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, min(MOST_CONNECTIONS, soft - RESERVED))
