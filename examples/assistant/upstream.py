"""The model behind the assistant of the example: `transformers serve` with the models of `model`, or a script of what
they would answer, where there is no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen
from zlib import crc32

from examples.assistant.people import STYLES, THINGS, answer

SLOWEST_START = 120.0  # seconds
OF_PROMPT = {prompt: style for style, prompt in STYLES.items()}
RIGHT = {"small": 0.6, "large": 1.0}  # how often each scripted model speaks of the right thing


@contextmanager
def transformers(python: str, port: int, log: Path) -> Iterator[str]:
    """`transformers serve` of that Python; its address."""
    command = [
        Path(python).parent / "transformers",
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--device",
        "cpu",
    ]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as written:
        server = subprocess.Popen(command, env=offline, stdout=written, stderr=subprocess.STDOUT)  # noqa: S603  # it is ours
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait()


def wait_for(address: str, server: subprocess.Popen[Any]) -> None:
    """Until it answers; SystemExit where it has ended, or takes too long."""
    end = time.monotonic() + SLOWEST_START
    while time.monotonic() < end:
        if server.poll() is not None:
            raise SystemExit(f"{address} does not answer: its process has ended with {server.returncode}.")
        try:
            urlopen(address, timeout=5).read()  # noqa: S310  # an address of our own
        except (URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{address} does not answer.")


@contextmanager
def scripted() -> Iterator[str]:
    """A server that answers as the models would; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


class Scripted(BaseHTTPRequestHandler):
    """Chat completions from `people.answer`."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        model, messages = str(asked["model"]), asked["messages"]
        style = next((OF_PROMPT[each["content"]] for each in messages if each["content"] in OF_PROMPT), "plain")
        said = str(messages[-1]["content"])
        rng = Random(crc32(f"{model} {said}".encode()))  # noqa: S311  # no secret
        thing = next((each for each in said.split() if each in THINGS), THINGS[0])
        right = rng.random() < RIGHT.get(Path(model).name, 1.0)
        text = answer(style, thing if right else rng.choice(THINGS))
        used = sum(len(str(each["content"]).split()) for each in messages), len(text.split())
        body = json.dumps(completion(model, text, *used)).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def completion(model: str, text: str, asked: int, answered: int) -> dict[str, Any]:
    """A chat completion of one choice."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}
    made = int(time.time())
    return {
        "id": "x",
        "object": "chat.completion",
        "created": made,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }


def python_with_transformers() -> str | None:
    """A Python that has `transformers`: the one in BONDHU_LLM_PYTHON, or this one, or none."""
    named = os.environ.get("BONDHU_LLM_PYTHON", sys.executable)
    return named if (Path(named).parent / "transformers").exists() else None
