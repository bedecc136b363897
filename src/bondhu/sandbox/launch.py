"""Stands between root and a jail: makes the interpreter readable for nobody in particular, then is root no more.

Runs by itself, as `python -I -S -c <this file> '{"uid", "folders", "command", "environment"}' …`, and becomes the
command, with the other arguments at its end.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path

NEW_MOUNTS, BIND, RECURSIVE, PRIVATE = 0x00020000, 4096, 16384, 1 << 18


def closed(path: Path) -> Path | None:
    """The first folder on the way to it into which others may not go."""
    return next((each for each in [*reversed(path.parents), path] if not each.stat().st_mode & 0o001), None)


def opened(folders: list[str]) -> None:
    """In mounts of this process alone: those folders, and nothing else of what is closed on the way to them."""
    libc = ctypes.CDLL(None, use_errno=True)

    def checked(result: int, what: str) -> None:
        if result:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

    hidden = {Path(each): where for each in folders if (where := closed(Path(each)))}
    if not hidden:
        return
    checked(libc.unshare(NEW_MOUNTS), "unshare")
    checked(libc.mount(b"none", b"/", None, ctypes.c_ulong(PRIVATE | RECURSIVE), None), "mount")
    files = {each: os.open(each, os.O_PATH) for each in hidden}
    for where in set(hidden.values()):
        checked(libc.mount(b"none", bytes(where), b"tmpfs", ctypes.c_ulong(0), b"mode=0755"), f"mount on {where}")
    for path, file in files.items():
        path.mkdir(parents=True, exist_ok=True)
        source = f"/proc/self/fd/{file}".encode()
        checked(libc.mount(source, bytes(path), None, ctypes.c_ulong(BIND), None), f"mount on {path}")


def main() -> None:
    order = json.loads(sys.argv[1])
    os.umask(0o022)
    opened(order["folders"])
    os.chdir("/")
    os.setgroups([])
    os.setresgid(order["uid"], order["uid"], order["uid"])
    os.setresuid(order["uid"], order["uid"], order["uid"])
    os.execve(order["command"][0], [*order["command"], *sys.argv[2:]], order["environment"])  # noqa: S606  # no shell wanted


if __name__ == "__main__":
    main()
