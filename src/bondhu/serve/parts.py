"""What the HTTP interface of one deployment is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from bondhu.access import Access
from bondhu.access.acts import Acts
from bondhu.log.memory import MemoryLedger
from bondhu.ports import Ledger
from bondhu.serve.beside import Work
from bondhu.serve.decide import Decider
from bondhu.serve.gateway.parts import Gateway
from bondhu.serve.messages import Order
from bondhu.serve.personalizer.configuration import Kept
from bondhu.serve.replies import Limits, Message, Receive, Send
from bondhu.serve.writing import Writer
from bondhu.serve.writing.remembering import Remembering


class Operations(Protocol):
    """What an administrator can ask for; the app provides it."""

    def train(self) -> Mapping[str, Any]:
        """Run or queue a training and say what came of it; may raise TrainingInProgress."""

    def releases(self) -> Mapping[str, Any]:
        """Who decides for whom, every version, and the history."""

    def verdicts(self, version: str | None) -> Mapping[str, Any]:
        """What the gate said of a version, or of all of them."""

    def act(self, action: str, order: Order, by: str) -> Mapping[str, Any]:
        """Release, promote, roll back, withdraw or stop; may raise Conflict. Returns `releases`."""

    def erase(self, user: str, by: str, forget: Callable[[Iterable[str]], None]) -> Mapping[str, Any]:
        """Take a person out of everything; `forget` is given the ids of their decisions. Returns the certificate."""

    def health(self) -> Mapping[str, Any]:
        """`scheduled_jobs`, the state of the stores, and whatever else an operator wants to see."""


class Meter(Protocol):
    """Counts what is answered."""

    kind: str  # content type of the text

    def answered(self, route: str, status: int, seconds: float) -> None:
        """One request to a route, as the OpenAPI document writes its path."""

    def set(self, **gauges: float) -> None:
        """How things stand now in this process."""

    def text(self, version: str, domain: str) -> bytes:
        """All of it, of all processes of this server, as Prometheus reads it."""


class NoMeter:
    """Counts nothing."""

    kind = "text/plain; charset=utf-8"

    def answered(self, route: str, status: int, seconds: float) -> None:
        pass

    def set(self, **gauges: float) -> None:
        pass

    def text(self, version: str, domain: str) -> bytes:  # noqa: ARG002  as of a Meter
        return b""


class Pages(Protocol):
    """The pages of the dashboard, wherever they are drawn: an ASGI application for `serve.forwarding.is_page`."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None: ...

    async def close(self) -> None:
        """Nothing more is asked for."""


class Webhook(NamedTuple):
    """How pushed messages are known to be from whom they say."""

    key: bytes
    tolerance: float = 300.0  # seconds that a signature is good for


@dataclass(frozen=True)
class Parts:
    """One deployment's."""

    decider: Decider
    writer: Writer
    operations: Operations
    access: Access
    meter: Meter = NoMeter()
    kept: Kept = Kept()  # settings that the calls of the Personalizer tell
    ledger: Ledger = field(default_factory=MemoryLedger)  # of keys and administrative acts; default: kept nowhere
    limits: Limits = Limits()
    webhook: Webhook | None = None
    gateway: Gateway | None = None
    pages: Pages | None = None  # at `/` and below /dashboard
    streams: Callable[[Decider, Writer], Sequence[Work]] = lambda *_: ()  # consumers of feedback that comes in streams

    @cached_property
    def writing(self) -> Remembering:
        """The writer, for requests: it knows whether the last rows could be stored."""
        return Remembering(self.writer)

    @cached_property
    def acts(self) -> Acts:
        """The audit log."""
        return Acts(self.ledger, self.decider.deployment.domain.name, self.decider.now)
