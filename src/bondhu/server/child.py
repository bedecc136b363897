"""A process as its supervisor sees it: started, ready, told to stop, gone; and the other end of their socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import Any

import msgspec

from bondhu import screen
from bondhu.errors import BondhuError

READY, STOP = b"ready", b"stop"


class Child:
    """A Python module run by an interpreter of its own. One socket joins both: the child says "ready" and is told
    "stop" over it, and its end tells either that the other is gone, however it went."""

    def __init__(
        self,
        module: str,
        orders: Mapping[str, Any],
        inherited: Sequence[int],
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`orders`: plain data that the module reads from its standard input; `inherited`: file descriptors in them;
        `environment`: variables that it has besides."""
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        with theirs, TemporaryFile() as given:  # not on the command line, where everybody could read it
            given.write(msgspec.json.encode({**orders, "control": theirs.fileno()}))
            given.seek(0)
            self._process = subprocess.Popen(  # noqa: S603  our own modules
                [sys.executable, "-m", module],
                stdin=given,
                pass_fds=(theirs.fileno(), *inherited),
                env={**os.environ, **environment},
                process_group=0,  # Ctrl-C at the terminal is for the supervisor alone
            )
        self.ready = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        return self._control.fileno()

    def look(self) -> int | None:
        """The exit status once it is gone; until then, notice whether it is ready."""
        with suppress(OSError):
            self.ready = self._control.recv(64) == READY or self.ready
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to finish what it is at, and end."""
        with suppress(OSError):
            self._control.send(STOP)

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """After it is gone."""
        self._control.close()


class Parent:
    """The supervisor as its child sees it."""

    def __init__(self, control: int) -> None:
        os.set_inheritable(control, False)
        self._socket = socket.socket(fileno=control)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def fileno(self) -> int:
        return self._socket.fileno()

    def say_ready(self) -> None:
        self._socket.sendall(READY)

    def said_stop(self) -> None:
        """Returns when it says stop; ends this process at once where the supervisor is gone, so that the next one finds
        the address free."""
        if not self._socket.recv(64):
            os._exit(1)

    def watch(self) -> None:
        """From a thread of its own, end this process with the supervisor, whatever else it is at."""
        threading.Thread(target=self._until_gone, name="bondhu-parent", daemon=True).start()

    def _until_gone(self) -> None:
        while True:
            self.said_stop()


def run(work: Callable[[], None]) -> None:
    """The main of a child: an expected error becomes one message and exit status 1; nothing lingers afterwards."""
    status = 0
    try:
        work()
    except BondhuError as error:
        screen.problem(error)
        status = 1
    except OSError as error:
        screen.problem(BondhuError(f"{error.filename or 'The system'}: {error.strerror or error}."))
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # threads of requests that were given up would be waited for
