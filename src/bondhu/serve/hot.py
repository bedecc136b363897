"""The routes that every request of an app takes: plain ASGI and msgspec in front of the framework, for speed.

One request for a decision, from its bytes to its answer:

1. `Hot.__call__` lets it in, reads the body and decodes it to a `Request` (`Contexts`); it joins its turn of the event
   loop (`Turn`) and waits.
2. When the loop comes round, `Decider.choose` makes a `Decision` for each request of that turn: which versions act
   (`Live`), who is given which (`registry.share`), what the version does in this context (`Rows`), and what the
   decision's id draws from that (`ids.uniform_of`).
3. `Writer.submit` has them committed, all of a turn together. Then each request is answered, or told its own error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import msgspec

from bondhu.access import DECIDE
from bondhu.access.acts import Acts, Where
from bondhu.errors import InvalidInput, Unauthorized
from bondhu.serve.hearing import hear
from bondhu.serve.messages import (
    LARGEST_BATCH,
    Answer,
    Answers,
    Heard,
    HeardMany,
    Problem,
    Request,
    Said,
    SaidMany,
    Sent,
    SentMany,
)
from bondhu.serve.parts import NoMeter, Parts
from bondhu.serve.replies import (
    UNKNOWN,
    Application,
    Headers,
    Message,
    Receive,
    Send,
    Shape,
    decoder,
    knocks,
    refused,
    request_id,
    respond,
    whole,
)
from bondhu.serve.turn import Turn
from bondhu.types import Decision, Feedback

Told = tuple[int, msgspec.Struct]  # status and body
Whose = tuple[str, str | None, str | None]  # id of a decision, the user who speaks of it, and what that replaces
Handler = Callable[[bytes], Awaitable[Told]]


class Hot:
    """Answers decide and feedback; hands everything else to the application behind it."""

    def __init__(self, behind: Application, parts: Parts) -> None:
        self._behind, self._decider, self._writer = behind, parts.decider, parts.writer
        self._submit = parts.writing.submit
        self._admit, self._acts = parts.access.admit, parts.acts
        self._meter = None if isinstance(parts.meter, NoMeter) else parts.meter
        self._stored = Turn(self._store, lambda feedback, _: [*map(stored, feedback)])
        self._found = Turn(self._look_up, lambda _, standings: standings)
        self.routes = {
            "/v1/decide": self._deciding(),
            "/v1/decide/batch": reading(SentMany, self._decide_many),
            "/v1/feedback": reading(Said, self._feedback),
            "/v1/feedback/batch": reading(SaidMany, self._feedback_many),
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        route = self.routes.get(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self._behind(scope, receive, send)
            return
        began = perf_counter()
        answer: msgspec.Struct
        headers: Headers = ()
        try:
            if scope["method"] != "POST":
                status, answer, headers = not_taken(scope)
            else:
                self._admit(scope["headers"], DECIDE)
                status, answer = await route(await whole(receive))
        except Exception as error:
            self.noted(scope, error)
            status, answer, headers = refused(error)
        await respond(send, status, answer, headers)  # outside: what goes wrong with an answer has no second one
        self.count(scope["path"], status, perf_counter() - began)

    def begin(self, path: str, headers: Headers, body: bytes) -> Awaitable[Told]:
        """The same of a request that is whole already, to be answered by somebody else (`serve.direct`)."""
        self._admit(headers, DECIDE)
        return self.routes[path](body)

    def noted(self, scope: Mapping[str, Any], error: Exception) -> None:
        """Have an administrator's key that was refused noted in the audit log, in a thread."""
        noted(self._acts, scope, error)

    def count(self, path: str, status: int, seconds: float) -> None:
        if self._meter:
            self._meter.answered(path, status, seconds)

    # --------------------------------------------------------------------------------------------------------- decide

    def _deciding(self) -> Handler:
        """One decision from the bytes of a request."""
        decode, read, join = decoder(Sent), self._decider.contexts.request, Turn(self._decided, self._answers)

        def handle(body: bytes) -> Awaitable[Told]:
            return join(read(decode(body)))

        return handle

    def _decided(self, requests: list[Request]) -> asyncio.Future[list[Decision]]:
        """Decisions on all the requests of a turn, on their way to the log."""
        return self._submit(self._decider.choose(requests, wait=False))

    def _answers(self, _: list[Request], decisions: list[Decision]) -> list[Told]:
        return [(200, answer(each)) for each in self._decider.remember(decisions)]

    async def _decide_many(self, many: SentMany) -> Told:
        limited("requests", many.requests)
        if not many.requests:
            return 200, Answers([])
        decisions = self._decider.remember(await self._decided(self._decider.contexts.requests(many.requests)))
        return 200, Answers([answer(each) for each in decisions])

    # ------------------------------------------------------------------------------------------------------- feedback

    def _feedback(self, said: Said) -> Awaitable[Told]:
        feedback = self._decider.checked(said)
        known = self._decider.remembers(feedback.decision_id, said.user) and not self._decider.own
        return self._stored(feedback) if known else self._looked_up(feedback, said.user)

    async def _looked_up(self, feedback: Feedback, user: str | None) -> Told:
        """Of a decision that is not remembered, or is only this user's to speak of."""
        status = await self._found((feedback.decision_id, user, feedback.replaces))
        if isinstance(status, Exception):
            raise status
        told = await self._stored(feedback)
        return (202, Heard(feedback.id, feedback.decision_id, status)) if status == "waiting" else told

    def _store(self, feedback: list[Feedback]) -> asyncio.Future[list[Decision]]:
        """All the feedback of a turn, on its way to the log."""
        return self._submit([], feedback)

    def _look_up(self, asked: list[Whose]) -> asyncio.Future[list[str | Exception]]:
        """How decisions stand that are not remembered: the log is asked in a thread, once for all of a turn."""
        return asyncio.get_running_loop().run_in_executor(None, self._standings, asked)

    def _standings(self, asked: Sequence[Whose]) -> list[str | Exception]:
        return [self._standing(*each) for each in asked]

    def _standing(self, identity: str, user: str | None, replaces: str | None) -> str | Exception:
        try:
            return self._decider.standing(identity, user, replaces)
        except Exception as error:
            return error

    async def _feedback_many(self, many: SaidMany) -> Told:
        limited("feedback", many.feedback)
        return 200, HeardMany(await hear(self._decider, self._writer, many.feedback))


def noted(acts: Acts, scope: Mapping[str, Any], error: Exception) -> None:
    """Have an administrator's key that was refused noted in the audit log, in a thread."""
    if isinstance(error, Unauthorized) and knocks(scope["headers"]):
        client = scope.get("client")
        where, what = Where(str(client[0]) if client else "unknown", request_id()), f"{scope['method']} {scope['path']}"
        asyncio.get_running_loop().run_in_executor(None, acts.note, UNKNOWN, what, {}, error.status, where)


def stored(feedback: Feedback) -> Told:
    return 200, Heard(feedback.id, feedback.decision_id, "stored")


def reading(shape: type[Shape], handler: Callable[[Shape], Awaitable[Told]]) -> Handler:
    """A handler of bytes from a handler of their content."""
    decode = decoder(shape)

    def handle(body: bytes) -> Awaitable[Told]:
        return handler(decode(body))

    return handle


def not_taken(scope: Message) -> tuple[int, Problem, Headers]:
    """The answer to another method than POST."""
    what = f"{scope['path']} does not take {scope['method']}."
    wrong = Problem("Method not allowed", 405, "method_not_allowed", what, fix="Use POST.")
    return 405, wrong, ((b"allow", b"POST"),)


def limited(name: str, items: Sequence[Any]) -> None:
    """Refuse a batch that would make single decisions wait."""
    if len(items) > LARGEST_BATCH:
        what = f"There are {len(items)} items in {name!r}."
        raise InvalidInput(what, field=name, value=len(items), fix=f"Send at most {LARGEST_BATCH} at a time.")


def answer(decision: Decision) -> Answer:
    return Answer(decision.id, decision.action, decision.probability, decision.version)
