"""Metrics that add up over workers, logs that tools read, spans that reach a collector."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from bondhu.monitor.logs import write_logs
from bondhu.monitor.metrics import ROUTES, Metrics
from bondhu.monitor.traces import Traced, collector

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNFOLLOWED = PARENT[:-2] + b"00"


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(text.decode())
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def test_the_rows_of_all_workers_add_up_whichever_is_asked(tmp_path: Path) -> None:
    first, second = Metrics(tmp_path / "metrics", 2, 0), Metrics(tmp_path / "metrics", 2, 1)
    first.answered("/v1/decide", 200, 0.0004)
    second.answered("/v1/decide", 200, 0.003)
    second.answered("/v1/decide", 503, 9.0)
    second.answered("/v1/users/ann", 404, 0.01)
    second.set(rows_waiting=7)
    for asked in (first, second):
        found = samples(asked.text("v1", "shop"))
        assert found["bondhu_requests_total", "/v1/decide", "2xx"] == 2
        assert found["bondhu_requests_total", "/v1/decide", "503"] == 1
        assert found["bondhu_requests_total", "other", "4xx"] == 1
        assert found["bondhu_request_seconds_bucket", "0.0005", "/v1/decide"] == 1
        assert found["bondhu_request_seconds_bucket", "0.005", "/v1/decide"] == 2
        assert found["bondhu_request_seconds_bucket", "+Inf", "/v1/decide"] == 3
        assert found["bondhu_request_seconds_sum", "/v1/decide"] == pytest.approx(9.0034)
        assert found["bondhu_rows_waiting", "1"] == 7
        assert found["bondhu_live_version", "shop", "v1"] == 1


def test_a_worker_that_is_replaced_goes_on_where_the_one_before_stopped(tmp_path: Path) -> None:
    Metrics(tmp_path / "metrics").answered("/v1/feedback", 202, 0.1)
    again = Metrics(tmp_path / "metrics")
    again.answered("/v1/feedback", 200, 0.1)
    assert samples(again.text("v1", "shop"))["bondhu_requests_total", "/v1/feedback", "2xx"] == 2


def test_no_label_comes_from_a_request() -> None:
    metrics = Metrics()
    metrics.answered("/v1/users/somebody@example.org", 404, 0.1)
    assert b"somebody" not in metrics.text("v1", "shop")
    assert {name[1] for name in samples(metrics.text("v1", "shop")) if name[0] == "bondhu_requests_total"} == {*ROUTES}


@pytest.fixture
def quiet() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def test_a_line_of_the_log_is_an_object_with_the_request_and_the_error(quiet: None) -> None:
    stream = io.StringIO()
    write_logs("json", "info", lambda: "req-7", stream)
    try:
        raise ValueError("no such mood\nInjected: line")
    except ValueError:
        logging.getLogger("bondhu.serve").exception("It failed for %s.", "somebody")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    told = json.loads(lines[0])
    assert (told["level"], told["logger"], told["request_id"]) == ("error", "bondhu.serve", "req-7")
    assert told["message"] == "It failed for somebody."
    assert "ValueError: no such mood" in told["exception"]


def test_text_says_the_same_and_the_level_holds(quiet: None) -> None:
    stream = io.StringIO()
    write_logs("text", "warning", lambda: "req-8", stream)
    logging.getLogger("bondhu").info("hidden")
    logging.getLogger("bondhu").warning("shown")
    assert stream.getvalue().endswith("Z WARNING bondhu [req-8] shown\n")
    assert "hidden" not in stream.getvalue()


async def answering(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 503 if scope["path"] == "/busy" else 200})


def ask(app: Traced, *requests: tuple[str, bytes | None]) -> None:
    """Send requests, then end the application, which sends its spans off."""

    async def all_of_them() -> None:
        async def send(_: Any) -> None: ...

        async def receive() -> dict[str, Any]:
            return {}

        for path, parent in requests:
            headers = [(b"traceparent", parent)] if parent else []
            await app({"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send)
        await app({"type": "lifespan"}, receive, send)

    asyncio.run(all_of_them())


def test_a_share_is_followed_and_whoever_traces_always() -> None:
    spans = InMemorySpanExporter()
    draws = iter([0.005, 0.5])
    app = Traced(answering, spans, 0.01, lambda: next(draws))
    ask(app, ("/v1/decide", None), ("/v1/decide", None), ("/v1/decide", PARENT), ("/v1/decide", UNFOLLOWED))
    followed = spans.get_finished_spans()
    assert [each.name for each in followed] == ["POST /v1/decide"] * 2
    assert followed[1].parent is not None
    assert f"{followed[1].parent.span_id:016x}" == "b7ad6b7169203331"


def test_a_span_says_how_it_went_and_nothing_of_people() -> None:
    spans = InMemorySpanExporter()
    ask(Traced(answering, spans, 1.0, lambda: 0.0), ("/v1/users/ann", None), ("/busy", None))
    person, busy = spans.get_finished_spans()
    assert dict(person.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "other",
        "http.response.status_code": 200,
    }
    assert "ann" not in person.to_json()
    assert not busy.status.is_ok


def test_spans_reach_a_collector_over_http() -> None:
    bodies: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        ask(Traced(answering, collector(address), 1.0, lambda: 0.0), ("/v1/decide", PARENT))
        thread.join(20)
    assert [path for path, _ in bodies] == ["/v1/traces"]
    assert bytes.fromhex("0af7651916cd43dd8448eb211c80319c") in bodies[0][1]
