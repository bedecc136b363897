"""Clients that know what they were promised: which decisions and feedback were acknowledged, and which are in doubt."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter, sleep
from typing import Any, NamedTuple

from benchmarks.load import Line, framed
from benchmarks.serving_processes import post

PATIENCE = 60.0  # seconds that a client waits for an answer
AGAIN = 0.02  # seconds before a client that was refused sends the next request
RESENT = 300  # of the requests that were refused
DECIDE, FEEDBACK = "/v1/decide", "/v1/feedback"
EXPECTED = {"200", "202", "503", "broken"}  # answers that a fault may bring; "broken": the connection ended


class Sent(NamedTuple):
    """One request under an id of the client's own, so that it can be sent again."""

    path: str
    body: Mapping[str, Any]
    cut: bool = False  # whether the connection ended before the answer


@dataclass
class Promises:
    """What some clients were told."""

    decisions: dict[str, tuple[str, float]] = field(default_factory=dict)  # acknowledged: action and probability
    feedback: set[str] = field(default_factory=set)  # acknowledged
    unsure: list[Sent] = field(default_factory=list)  # refused, or the connection ended before the answer
    answers: Counter[str] = field(default_factory=Counter)  # by status, or "broken"
    longest: float = 0.0  # seconds of one request

    def kept(self, sent: Sent, answer: Mapping[str, Any]) -> None:
        if sent.path == DECIDE:
            self.decisions[sent.body["id"]] = answer["action"], answer["probability"]
        else:
            self.feedback.add(sent.body["id"])

    def join(self, other: Promises) -> None:
        self.decisions |= other.decisions
        self.feedback |= other.feedback
        self.unsure += other.unsure
        self.answers += other.answers
        self.longest = max(self.longest, other.longest)


class Clients:
    """Threads that decide and give feedback as fast as they are answered, until they are stopped."""

    def __init__(self, port: int, count: int, prefix: str, contexts: Sequence[Mapping[str, Any]]) -> None:
        self._port, self._prefix, self._contexts = port, prefix, contexts
        self._stopped = threading.Event()
        self._promises = [Promises() for _ in range(count)]
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]

    def start(self) -> Clients:
        for each in self._threads:
            each.start()
        return self

    def stop(self) -> Promises:
        """What all of them were told."""
        self._stopped.set()
        for each in self._threads:
            each.join()
        whole = Promises()
        for promises in self._promises:
            whole.join(promises)
        return whole

    def answered(self) -> int:
        return sum(each.answers["200"] for each in self._promises)

    def _run(self, number: int) -> None:
        told, line, turn = self._promises[number], None, 0
        while not self._stopped.is_set():
            turn += 1
            name = f"{self._prefix}-{number}-{turn}"
            context = self._contexts[(number * 131 + turn) % len(self._contexts)]
            sent = Sent(DECIDE, {"id": name, "context": context, "user": f"u{turn % 500}"})
            line, good = self._ask(line, sent, told)
            if good and turn % 2:
                about = {"id": f"f-{name}", "decision_id": name, "signal": "like"}
                line, good = self._ask(line, Sent(FEEDBACK, about), told)
            if not good:
                sleep(AGAIN)
        if line is not None:
            line.socket.close()

    def _ask(self, line: Line | None, sent: Sent, told: Promises) -> tuple[Line | None, bool]:
        """Send one request; the connection to go on with, and whether it was acknowledged."""
        begin = perf_counter()
        try:
            if line is None:
                line = Line(self._port)
                line.socket.settimeout(PATIENCE)
            line.send(framed(sent.path, json.dumps(sent.body).encode()), begin)
            answer = line.answer()
            while answer is None:
                answer = line.answer()
        except OSError:
            if line is not None:
                line.socket.close()
            told.unsure.append(sent._replace(cut=True))
            told.answers["broken"] += 1
            return None, False
        finally:
            told.longest = max(told.longest, perf_counter() - begin)
        status = answer[9:12].decode()
        told.answers[status] += 1
        good = status in ("200", "202")
        if good:
            told.kept(sent, json.loads(answer.partition(b"\r\n\r\n")[2]))
        else:
            told.unsure.append(sent)
        return line, good


def again(port: int, promises: Promises) -> int:
    """Send once more everything that was cut off, and the latest of what was refused; how many are refused even now."""
    refused = 0
    cut, others = ([each for each in promises.unsure if each.cut is kind] for kind in (True, False))
    for sent in (*cut, *others[-RESENT:]):
        for _ in range(5):
            try:
                status, answer = post(port, sent.path, sent.body)
            except OSError:
                status, answer = 0, None
            if status in (200, 202):
                promises.kept(sent, answer)
                break
            if status == 404:  # feedback on a decision that was never made
                break
            sleep(AGAIN * 10)
        else:
            refused += 1
    return refused
