"""Conversations as MLflow traces: one a session, a span a turn, feedback as assessments.

The id of a trace is a hash of the session, and the trace says in a tag what it holds: a conversation that has not
changed is not told again, one that went on, or was judged since, takes the place of its earlier trace.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from bondhu.errors import StoreError
from bondhu.monitor.tracking.conversations import Answered, Conversation

DIGEST, PERSON = "bondhu.digest", "bondhu.person."  # tags; the second one goes on with who it is
LONGEST = 250  # characters of a tag or a preview
PAGE = 100  # traces looked up or deleted at a time
SECOND, MILLI = 1_000_000_000, 1_000  # nanoseconds, milliseconds


class Traces:
    """Of one experiment."""

    def __init__(self, client: Any, address: str, experiment: str) -> None:
        from mlflow.tracing.client import TracingClient

        self._client, self._experiment = client, experiment
        self._traces: Any = TracingClient(address)

    def tell(self, conversation: Conversation) -> bool:
        """Whether there was anything new to tell."""
        from mlflow.exceptions import MlflowException

        trace, digest = identity(conversation), digest_of(conversation)
        try:
            known = self._traces.get_trace_info(trace).tags.get(DIGEST, "")
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
                raise
            known = None
        if known == digest:
            return False
        if known is not None:
            self._client.delete_traces(self._experiment, trace_ids=[trace])
        self._begin(trace, conversation)
        spans = spans_of(trace, conversation)
        self._traces.log_spans(self._experiment, spans)
        for turn, span in zip(conversation.turns, spans[1:], strict=True):
            for assessment in assessments(turn, span.span_id):
                self._traces.log_assessment(trace, assessment)
        self._client.set_trace_tag(trace, DIGEST, digest)  # last: what was cut off before is told again
        return True

    def _begin(self, trace: str, conversation: Conversation) -> None:
        from mlflow.entities import TraceInfo, TraceLocation, TraceState

        first, last = conversation.turns[0], conversation.turns[-1]
        metadata = {"mlflow.trace.session": conversation.session[:LONGEST]}
        if len(conversation.users) == 1:
            metadata["mlflow.trace.user"] = conversation.users[0][:LONGEST]
        people = {f"{PERSON}{person(user)}": "yes" for user in conversation.users}
        self._traces.start_trace(
            TraceInfo(
                trace_id=trace,
                trace_location=TraceLocation.from_experiment_id(self._experiment),
                request_time=int(first.start * MILLI),
                execution_duration=max(int((last.end - first.start) * MILLI), 0),
                state=TraceState.ERROR if last.failed else TraceState.OK,
                request_preview=_preview(first.messages[-1].get("content") if first.messages else ""),
                response_preview=_preview(last.answer),
                trace_metadata=metadata,
                tags={"mlflow.traceName": conversation.domain, **people},
            )
        )

    def forget(self, users: Collection[str]) -> int:
        """Delete the traces of the person with these names; how many."""
        gone = 0
        for user in users:
            while found := self._of(user):
                self._client.delete_traces(self._experiment, trace_ids=found)
                gone += len(found)
        return gone

    def _of(self, user: str) -> list[str]:
        asked = f"tags.`{PERSON}{person(user)}` = 'yes'"  # a hash: nothing in a name is read as a filter
        found = self._client.search_traces(
            locations=[self._experiment], filter_string=asked, max_results=PAGE, include_spans=False
        )
        return [each.info.trace_id for each in found]


def identity(conversation: Conversation) -> str:
    """The trace of a session, the same each time."""
    return f"tr-{_key(conversation)}"


def _key(conversation: Conversation) -> str:
    return blake2b(f"{conversation.domain}\0{conversation.session}".encode(), digest_size=16).hexdigest()


def digest_of(conversation: Conversation) -> str:
    """Changes with anything that a trace shows."""
    return blake2b(_json(conversation).encode(), digest_size=16).hexdigest()


def person(user: str) -> str:
    """What a tag says of who it is, so that it can be asked for."""
    return blake2b(user.encode(), digest_size=16).hexdigest()


# ---------------------------------------------------------------------------------------------------------------- spans


def spans_of(trace: str, conversation: Conversation) -> list[Any]:
    """The conversation, then its turns."""
    turns = conversation.turns
    times = (turns[0].start, max(each.end for each in turns))
    said = {**_said(turns[0].messages, turns[-1].answer), "bondhu.turns": len(turns)}
    root = _span(trace, _Names("conversation", "", "AGENT"), times, said)
    return [root, *(_turn_span(trace, number, each) for number, each in enumerate(turns, start=1))]


def _turn_span(trace: str, number: int, turn: Answered) -> Any:
    attributes = {f"bondhu.{name}": value for name, value in turn.attributes.items()}
    attributes |= {**_said(turn.messages, turn.answer), "bondhu.decision": turn.id}
    if turn.tokens is not None:
        read, written = turn.tokens
        used = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
        attributes["mlflow.chat.tokenUsage"] = used
    names = _Names(f"turn {number}", turn.id, "CHAT_MODEL")
    return _span(trace, names, (turn.start, turn.end), attributes, failed=turn.failed)


def _said(messages: Sequence[Mapping[str, Any]], answer: Any) -> dict[str, Any]:
    return {"mlflow.spanInputs": {"messages": list(messages)}, "mlflow.spanOutputs": answer}


class _Names(NamedTuple):
    """How a span is called."""

    called: str
    key: str  # what makes its id within the trace; "" for the root
    kind: str


def _span(
    trace: str, names: _Names, times: tuple[float, float], attributes: Mapping[str, Any], *, failed: bool = False
) -> Any:
    from mlflow.entities import Span
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

    number = int(trace.removeprefix("tr-"), 16)

    def context(name: str) -> SpanContext:
        digest = blake2b(f"{trace} {name}".encode(), digest_size=8).digest()
        return SpanContext(number, int.from_bytes(digest, "big"), is_remote=False, trace_flags=TraceFlags(1))

    told = {"mlflow.traceRequestId": trace, "mlflow.spanType": names.kind, **attributes}
    return Span(
        ReadableSpan(
            name=names.called,
            context=context(names.key),
            parent=context("") if names.key else None,
            attributes={name: _json(value) for name, value in told.items()},
            start_time=int(times[0] * SECOND),
            end_time=int(times[1] * SECOND),
            status=Status(StatusCode.ERROR if failed else StatusCode.OK),
        )
    )


def assessments(turn: Answered, span: str) -> Iterator[Any]:
    """What people said of a turn."""
    from mlflow.entities import AssessmentSource, Feedback

    for signal, value in turn.said.items():
        yield Feedback(
            name=signal,
            value=value,
            source=AssessmentSource(source_type="HUMAN", source_id="user"),
            span_id=span,
            metadata={"decision": turn.id},
        )


def _preview(text: Any) -> str:
    content = text.get("content") if isinstance(text, dict) else text
    return (content if isinstance(content, str) else _json(content))[:LONGEST]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def told_in_our_words(error: Exception, address: str) -> StoreError:
    """What MLflow says when it cannot be reached or refuses, as our own error."""
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return StoreError(f"MLflow at {address} does not take it: {said}", field="to", fix="See that it runs; try again.")
