"""Spans of requests for an OpenTelemetry collector: an application around the application, of a share of requests.

A caller that traces (W3C `traceparent`, sampled) is always followed, so that its traces are whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bondhu.monitor.metrics import ROUTES

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
SAMPLED = 1  # the bit of the flags of a `traceparent` that asks to be followed; others may be set beside it


class Traced:
    """`app` with a span around every request that is followed."""

    def __init__(self, app: Application, exporter: SpanExporter, share: float, draw: Callable[[], float]) -> None:
        """`share` of requests whose caller does not trace; `draw` gives uniform numbers in [0, 1)."""
        self._app, self._share, self._draw = app, share, draw
        self._provider = TracerProvider(resource=Resource.create({"service.name": "bondhu"}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("bondhu")
        self._parents = TraceContextTextMapPropagator()

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            self._provider.shutdown()  # what is waiting is sent
            return
        parent = next((value for name, value in scope.get("headers", ()) if name == b"traceparent"), None)
        followed = sampled(parent) if parent is not None else self._draw() < self._share
        if scope["type"] != "http" or not followed:
            await self._app(scope, receive, send)
            return
        await self._followed(self._context(parent), scope, receive, send)

    def _context(self, parent: bytes | None) -> Context:
        return self._parents.extract({"traceparent": parent.decode("latin-1")} if parent else {}, Context())

    async def _followed(self, context: Context, scope: Message, receive: Any, send: Any) -> None:
        route = scope["path"] if scope["path"] in ROUTES else "other"  # other paths may name a person
        name = f"{scope['method']} {route}"
        about = {"http.request.method": scope["method"], "http.route": route}
        with self._tracer.start_as_current_span(name, context, SpanKind.SERVER, about) as span:

            async def noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            await self._app(scope, receive, noting)


def sampled(parent: bytes) -> bool:
    """Whether a `traceparent` (version-trace-span-flags) asks to be followed."""
    try:
        return bool(int(parent.split(b"-")[3], 16) & SAMPLED)
    except (ValueError, IndexError):
        return False


def collector(address: str) -> SpanExporter:
    """Sends spans to a collector by OTLP over HTTP, such as http://localhost:4318."""
    return OTLPSpanExporter(endpoint=f"{address.rstrip('/')}/v1/traces", timeout=5)
