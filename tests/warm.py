"""`bondhu` without loading it for each command: a process that has loaded it forks for every call.

`warm()` gives a folder whose `bondhu` hands its words, folder, environment and streams over. A call still has a process
of its own, which starts where the installed command starts, ends as any process does, and gives its exit status.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path

READY = b"ready\n"
CALL = """#!{python} -IS
import json, os, socket, sys
told = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as line:
    line.connect({address!r})
    socket.send_fds(line, [len(told).to_bytes(8, "big")], [0, 1, 2])
    line.sendall(told)
    sys.exit(int(line.recv(16) or b"1"))  # nothing where its process was killed
"""


@contextmanager
def warm(environment: Mapping[str, str]) -> Iterator[Path]:
    """A folder to put first in PATH, while the block runs; `environment` is what loads the command."""
    with tempfile.TemporaryDirectory(prefix="bondhu-") as name:  # short: the address of a socket has 100 letters
        command, address = Path(name) / "bondhu", str(Path(name) / "line")
        command.write_text(CALL.format(python=sys.executable, address=address), encoding="utf-8")
        command.chmod(0o755)
        start = [sys.executable, "-P", __file__, address]
        with subprocess.Popen(start, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == READY
            yield command.parent
        # it ends when its input does


def serve(address: str) -> None:
    """Fork for every call until the input ends; returns in the forked process, which is to be the command."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        heard: list[socket.socket | int] = [listening, 0]
        os.write(1, READY)
        while True:
            ended = 0 in select.select(heard, [], [])[0]
            with suppress(ChildProcessError):  # there is none
                while os.waitpid(-1, 0 if ended else os.WNOHANG)[0]:
                    pass
            if ended:
                raise SystemExit
            line, _ = listening.accept()
            if os.fork() == 0:
                break
            line.close()
    with line:
        command = os.fork()
        if command:
            status = os.waitpid(command, 0)[1]
            line.sendall(str(os.waitstatus_to_exitcode(status)).encode())
            os._exit(0)
        take_over(line)


def take_over(line: socket.socket) -> None:
    """The words, the folder, the environment and the streams of who called."""
    size, streams, _, _ = socket.recv_fds(line, 8, 3)
    with line.makefile("rb") as told:
        words, folder, environment = json.loads(told.read(int.from_bytes(size, "big")))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["bondhu", *words]


if __name__ == "__main__":
    main = entry_points(group="console_scripts")["bondhu"].load()
    serve(sys.argv[1])
    main()
