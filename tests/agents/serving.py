"""A server on a free port of this machine that speaks OpenAI's protocol of chat completions, well or badly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from bondhu.agents.conversation import fenced, program_in
from bondhu.agents.ngrams import NGrams, tokens_of

Headers = Mapping[str, str]


class Served(NamedTuple):
    """One reply of the server."""

    status: int
    body: bytes
    headers: Headers = MappingProxyType({})
    says: int | None = None  # bytes the reply promises, where those are not the body's


@dataclass
class Server:
    """The address, and what was asked of it."""

    url: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    closing: Event = field(default_factory=Event)


Answering = Callable[[dict[str, Any], Server], Served]


@contextmanager
def serving(answering: Answering) -> Iterator[Server]:
    """The server while the block runs. `answering` gets the request and the server, and gives the reply."""
    server = Server("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.asked.append({"path": self.path, **request})
            server.keys.append(self.headers["authorization"])
            reply = answering(request, server)
            self.send_response(reply.status)
            for name, value in {"content-type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(reply.says or len(reply.body)))
            self.end_headers()
            try:
                self.wfile.write(reply.body)
            except OSError:
                self.close_connection = True  # who asked has heard enough

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        server.url = f"http://127.0.0.1:{http.server_port}/v1"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            http.shutdown()
            thread.join()


def completion(*texts: str | None, usage: Any = None) -> Served:
    """A chat completion as the protocol has it."""
    choices = [{"index": number, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
               for number, text in enumerate(texts)]  # fmt: skip
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": choices}
    return Served(200, json.dumps(body if usage is None else {**body, "usage": usage}).encode())


def saying(*texts: str, usage: Any = None) -> Answering:
    """One after another, as many as are asked for, from the first again."""
    said = [0]

    def answer(request: dict[str, Any], _: Server) -> Served:
        chosen = [texts[(said[0] + number) % len(texts)] for number in range(request["n"])]
        said[0] += request["n"]
        return completion(*chosen, usage=usage)

    return answer


def thinking(model: NGrams, entry: str) -> Answering:
    """A real, if weak, model: it draws the line of the program in the prompt anew that surprises it most."""

    def answer(request: dict[str, Any], _: Server) -> Served:
        prompt = "\n".join(each["content"] for each in request["messages"])
        source, rng = program_in(prompt, entry) or "", np.random.default_rng(request["seed"])
        drawn = [model.repaired(source, rng, request["temperature"]) for _ in range(request["n"])]
        counts = {"prompt_tokens": len(tokens_of(prompt)), "completion_tokens": sum(map(len, map(tokens_of, drawn)))}
        return completion(*(f"Here it is.\n{fenced(each)}" for each in drawn), usage=counts)

    return answer
