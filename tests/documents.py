"""Runs what the documentation shows, in order, in a folder of its own: shell commands, Python, SQL and settings."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"(?:<!-- not run: (?P<why>[^>]*) -->\n)?^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.M | re.S)
SERVE = re.compile(r"^bondhu serve\b.*$", re.M)


@dataclass(frozen=True)
class Block:
    document: str
    line: int
    language: str
    body: str
    why_not: str | None  # the reason given in the document for not running it


def blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    name = str(path.relative_to(ROOT))
    return [
        Block(name, text[: match.start()].count("\n") + 1, match["language"], match["body"], match["why"])
        for match in FENCE.finditer(text)
    ]


def documents() -> list[Path]:
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    return found + sorted((ROOT / "examples").rglob("README.md")) + sorted((ROOT / "benchmarks").glob("*.md"))


@dataclass
class Reader:
    """Somebody who tries everything in one document, from top to bottom."""

    folder: Path
    port: int = 0
    commands: Path | None = None  # where a shell looks for programs first
    module: ModuleType = field(default_factory=lambda: ModuleType("document"))

    def __post_init__(self) -> None:
        sys.modules[self.module.__name__] = self.module  # where dataclasses look their annotations up

    def try_out(self, block: Block) -> str:
        """Run a block; returns what a shell printed. Raises where anything in it fails."""
        match block.language:
            case "bash":
                return self._shell(block)
            case "python" if "import torch" in block.body and find_spec("torch") is None:
                return "left out: PyTorch is not installed"
            case "python":
                source = compile(block.body, f"{block.document}:{block.line}", "exec")
                exec(source, self.module.__dict__)  # our own documentation
            case "toml":
                tomllib.loads(block.body)
            case "sql":
                with closing(sqlite3.connect(self.folder / "data" / "log.sqlite")) as connection:
                    connection.execute(block.body).fetchall()
        return ""

    def _shell(self, block: Block) -> str:
        body = SERVE.sub("true", block.body).replace("localhost:8000", f"localhost:{self.port}")
        told = environment(self.port)
        if self.commands:
            told["PATH"] = f"{self.commands}:{told['PATH']}"
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", body],
            check=False,
            cwd=self.folder,
            env=told,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{block.document}:{block.line}\n{body}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def serving(self) -> Iterator[None]:
        """A server on the folder's deployment while the block runs."""
        command = [sys.executable, "-m", "bondhu", "serve", "--port", str(self.port)]
        server = subprocess.Popen(command, cwd=self.folder, env=environment(self.port))
        try:
            wait_for(f"http://localhost:{self.port}/health", server)
            yield
        finally:
            server.terminate()
            server.wait(timeout=20)


def environment(port: int) -> dict[str, str]:
    """One thread of linear algebra: those of several processes wait for each other, busily, where cores are few."""
    told = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120"}
    return {"OPENBLAS_NUM_THREADS": "1", **os.environ, **told, "BONDHU_SERVER__PORT": str(port)}


def wait_for(address: str, process: subprocess.Popen[Any]) -> None:
    for _ in range(300):
        assert process.poll() is None, "the server stopped"
        try:
            urlopen(address, timeout=1).read()  # an address of our own
            return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError(f"{address} did not answer within 30 seconds")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def targets(path: Path) -> list[str]:
    """Files that a document links to."""
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))
    return [link for link in links if "://" not in link]
