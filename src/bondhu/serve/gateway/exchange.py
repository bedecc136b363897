"""One question and its answer, from the decision to what is logged of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from urllib.parse import quote

from bondhu.domains.assistant.strategies import Strategy
from bondhu.ports import Signal, Transcript
from bondhu.serve.gateway.keeping import Totals
from bondhu.serve.gateway.keepsakes import Keepsakes
from bondhu.serve.gateway.messages import ID, Asked
from bondhu.serve.gateway.parts import Gateway
from bondhu.serve.gateway.upstream import Upstream
from bondhu.serve.gateway.usage import Usage, cost
from bondhu.serve.replies import Headers
from bondhu.types import Decision

LARGE = 1 << 14  # bytes of a conversation
ANSWERED, FAILED, DISCONNECTED, CUT = "answered", "failed", "disconnected", "cut off"  # what becomes of an answer


@dataclass
class Exchange:
    """What is known of it so far."""

    asked: Asked
    decision: Decision
    strategy: Strategy
    totals: Totals = Totals()  # of the conversation before it
    reserved: float = 0.0  # dollars
    began: float = field(default_factory=perf_counter)
    first: float | None = None  # seconds to the first of the answer
    seconds: float = 0.0  # to its end
    upstream: str = ""
    model: str = ""
    message: Mapping[str, Any] | None = None
    finish: str | None = None
    usage: Usage = Usage()
    cost: float = 0.0  # dollars
    status: str = ""
    code: str = ""  # of what went wrong

    @property
    def large(self) -> bool:
        """Whether to mask it takes long."""
        return self.asked.size + len(str(self.message)) > LARGE

    @property
    def identity(self) -> str:
        """As the answer bears it."""
        return ID + self.decision.id

    def headers(self) -> Headers:
        """What each answer tells of its decision."""
        decision = self.decision
        told = {
            "decision": decision.id,
            "version": quote(decision.version),
            "action": quote(decision.action),
            "probability": repr(float(decision.probability)),
        }
        return [(b"x-bondhu-" + name.encode(), value.encode()) for name, value in told.items()]

    def begins(self, upstream: Upstream, model: str) -> None:
        """The first of the answer is there."""
        self.upstream, self.model = upstream.name, model
        self.first = perf_counter() - self.began

    def spent(self, upstream: Upstream, model: str, usage: Usage) -> None:
        """Count what an answer used."""
        self.usage = self.usage.plus(usage)
        self.cost += cost(usage, upstream.prices.get(model, (0.0, 0.0)))

    def ended(self, status: str, code: str = "") -> None:
        self.status, self.code = status, code
        self.seconds = perf_counter() - self.began

    def signals(self, declared: Mapping[str, Signal]) -> list[tuple[str, float]]:
        """Names and values of what is logged as feedback, as far as the domain declares them."""
        values = {
            "cost": self.cost,
            "latency": self.seconds,
            "tokens_in": float(self.usage.given),
            "tokens_out": float(self.usage.made),
        }
        if self.status == FAILED:
            values["failed"] = 1.0
        if self.status == DISCONNECTED:
            values["disconnected"] = 1.0
        bounds = {name: declared[name] for name in values if name in declared}
        return [(name, min(max(values[name], signal.low), signal.high)) for name, signal in bounds.items()]

    def transcript(self, gateway: Gateway, now: float) -> Transcript:
        """What was said, as it is kept."""
        said, answered = Keepsakes(gateway.prompt, gateway.salt), Keepsakes(gateway.answer, gateway.salt)
        messages, answer = said.all(self.asked.body["messages"]), answered.one(self.message) if self.message else {}
        body = {
            "messages": messages,
            "answer": answer,
            **({"cut": said.cut + answered.cut} if said.cut or answered.cut else {}),  # characters too many
            "finish_reason": self.finish,
            "usage": self.usage.told(),
            "upstream": self.upstream,
            "model": self.model,
            "status": self.status,
            "code": self.code,
            "seconds": self.seconds,
            "first_seconds": self.first,
            "cost": self.cost,
            "before": {"turns": self.totals.turns, "worth": self.totals.worth},
        }
        return Transcript(self.decision.id, now, body)
