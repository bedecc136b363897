"""Runs the attacks of attacks.txt, each with an honest program after it, and says what was gained.

As a program (`python -m tests.sandbox.attacks namespaces`) it needs the standard library alone: any user can run it.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import randbits, token_hex
from typing import Any

from bondhu.sandbox.pool import open_sandbox
from bondhu.sandbox.program import Call, Limits, Outcome, Program, Sandbox

FILE = Path(__file__).parent / "attacks.txt"
LIMITS = Limits(cpu=0.05, wall=0.4, memory=96)
PATIENT = Limits(cpu=2.0, wall=30.0)
HONEST = "def f(x, y):\n    return [x + y, (x, {y: str(x)})]"
ENVIRONMENT = "SECRET_OF_THE_HOST"


@dataclass(frozen=True)
class Attack:
    kind: str
    name: str
    source: str


def attacks() -> list[Attack]:
    _, *parts = re.split(r"^### (\w+): (.+)\n", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    deep, control = "(" * 5000 + "1" + ")" * 5000, "\1" * 200_000
    sources = (source.replace("@DEEP@", deep).replace("@CONTROL@", control) for source in parts[2::3])
    return [Attack(*each) for each in zip(parts[::3], parts[1::3], sources, strict=True)]


@dataclass(frozen=True)
class Host:
    """What there is to attack, and what would show that it was."""

    targets: dict[str, Any]
    secrets: tuple[int, ...]
    folder: Path
    listening: tuple[socket.socket, ...]

    def touched(self) -> list[str]:
        """What is not as it was."""
        file = self.folder / "open"
        ready = select.select(self.listening, [], [], 0)[0]
        changed = (file.read_text(), file.stat().st_mode, file.stat().st_mtime) != self.before
        names = sorted(each.name for each in self.folder.iterdir())
        more = names != ["listening", "open"]
        return [*(str(each) for each in ready), *["the file"] * changed, *["the folder"] * more]

    @property
    def before(self) -> tuple[str, int, float]:
        return str(self.secrets[0]), 0o100666, 1e9


@contextmanager
def host() -> Iterator[Host]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        secrets = tuple(1 << 50 | randbits(50) for _ in range(3))
        os.environ[ENVIRONMENT] = str(secrets[1])
        (folder / "open").write_text(str(secrets[0]))
        folder.chmod(0o777)
        (folder / "open").chmod(0o666)
        mark = token_hex(8)
        kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        tcp, udp = (stack.enter_context(socket.socket(socket.AF_INET, kind)) for kind in kinds)
        tcp.bind(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        named, abstract = (stack.enter_context(socket.socket(socket.AF_UNIX, kind)) for kind in (kinds[1], kinds[0]))
        named.bind(str(folder / "listening"))
        (folder / "listening").chmod(0o777)
        abstract.bind("\0" + mark)
        tcp.listen()
        abstract.listen()
        os.utime(folder / "open", (1e9, 1e9))
        targets = {"folder": str(folder), "file": str(folder / "open"), "pid": os.getpid(), "mark": mark}
        targets |= {"port": tcp.getsockname()[1], "socket": str(folder / "listening"), "abstract": mark}
        yield Host(targets, secrets, folder, (tcp, udp, named, abstract))


def gains(outcome: Outcome, secrets: Sequence[int]) -> bool:
    """Whether an answer is right, says True, or holds what only the host knows."""
    values = [each.value for each in outcome.answers if each.kind == "value"]
    return any(value is True or any(str(each) in repr(value) for each in secrets) for value in values)


def honest(sandbox: Sandbox) -> bool:
    """Whether an honest program is answered rightly."""
    numbers = [(randbits(40), randbits(40)) for _ in range(3)]
    outcome = sandbox.run(Program(HONEST, "f", tuple(Call(each) for each in numbers), limits=PATIENT))
    right = [[x + y, (x, {y: str(x)})] for x, y in numbers]
    return outcome.ended == "done" and [each.value for each in outcome.answers] == right


def attack(sandbox: Sandbox, each: Attack, target: Host) -> tuple[bool, str]:
    """Whether it has gained anything, and how it ended."""
    expected = 1 << 50 | randbits(50)  # what the tests of this task would compare with: it is here, and nowhere else
    again = each.kind == "persist"  # twice, and the second one must not find what the first one has left
    program = Program(each.source, "f", (Call((target.targets,)),) * (1 if again else 2), limits=LIMITS)
    outcomes = [sandbox.run(program) for _ in range(2 if again else 1)]
    won = any(gains(outcome, (*target.secrets, expected)) for outcome in outcomes)
    return won or bool(target.touched()), outcomes[0].ended


def descendants() -> int:
    """How many processes come from this one."""
    return len(tree())


def tree(root: int | None = None) -> list[int]:
    """Processes that come from one, or from this one."""
    root = root or os.getpid()
    parents: dict[int, int] = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(each.parent.name)] = int(each.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
    found = {root}
    while grown := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= grown
    return sorted(found - {root})


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def settled(expected: tuple[int, int]) -> tuple[int, int]:
    """Processes and file descriptors, once they are as expected: what was killed needs a moment. At most 5 s later."""
    for _ in range(100):
        if (descendants(), descriptors()) == expected:
            break
        time.sleep(0.05)
    return descendants(), descriptors()


def assault(sandbox: Sandbox, chosen: Sequence[Attack]) -> dict[str, Any]:
    """Names of attacks that gained something, of those after which an honest program was wrong, and how each ended."""
    won, wrong, ended = [], [], {}
    with host() as target:
        before = (descendants(), descriptors())
        for each in chosen:
            gained, ended[each.name] = attack(sandbox, each, target)
            won += [each.name] * gained
            wrong += [each.name] * (not honest(sandbox))
        after = settled(before)
    counts = {"before": list(before), "after": list(after)}
    return {"won": won, "wrong": wrong, "ended": ended, "user": os.geteuid(), **counts}


if __name__ == "__main__":
    with open_sandbox(1, sys.argv[1]) as opened:
        print(json.dumps(assault(opened, attacks())))
