"""What `bondhu doctor --server` says of servers that are well, and of such as are not."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from bondhu.monitor.metrics import Metrics
from bondhu.monitor.visit import HEADERS, local, visit
from bondhu.ports import PUBLISHED_KEY

Answer = tuple[int, str]


def well(_: str, headers: Any) -> Answer:
    """A server that is as it should be."""
    return (401, "{}") if headers.get("x-admin-key") else (200, '{"status": "ok", "troubles": []}')


@contextmanager
def server(answer: Callable[[str, Any], Answer], guarded: bool = True, tls: Path | None = None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, body = answer(self.path, self.headers)
            self.send_response(status)
            for name in HEADERS if guarded else ():
                self.send_header(name, "set")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "certificate.pem", tls / "key.pem")
            http.socket = context.wrap_socket(http.socket, server_side=True)
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()


def cases(address: str, key: str | None = None, now: datetime | None = None, **more: Any) -> dict[str, str]:
    return {each.case: each.evidence for each in visit(address, key, now or datetime.now(UTC), **more)}


def test_a_server_that_is_well_has_no_findings() -> None:
    with server(well) as address:
        assert cases(address) == {}


def test_nobody_at_the_address_is_a_finding() -> None:
    with server(well) as address:
        pass
    assert list(cases(address)) == ["server not reachable"]


def test_what_it_is_not_ready_for_is_told() -> None:
    def away(path: str, headers: Any) -> Answer:
        return (503, '{"troubles": ["The writer is away."]}') if path == "/readyz" else well(path, headers)

    with server(away) as address:
        assert cases(address) == {"server not ready": "The writer is away."}


def test_the_published_key_and_missing_headers_are_found() -> None:
    def naive(path: str, headers: Any) -> Answer:
        assert headers.get("x-admin-key") in (None, PUBLISHED_KEY)
        return 200, '{"status": "ok"}'

    with server(naive, guarded=False) as address:
        assert list(cases(address)) == ["published key", "headers missing"]


def test_clocks_that_differ_are_found() -> None:
    with server(well) as address:
        found = cases(address, now=datetime.now(UTC) + timedelta(seconds=90))
    assert list(found) == ["clocks differ"]


def test_strain_is_read_from_the_metrics() -> None:
    metrics = Metrics()
    for _ in range(95):
        metrics.answered("/v1/decide", 200, 0.001)
    for _ in range(5):
        metrics.answered("/v1/decide", 503, 0.001)
    metrics.set(loop_lag_seconds=0.75)

    def strained(path: str, headers: Any) -> Answer:
        if path == "/metrics":
            return (200, metrics.text("v1", "shop").decode()) if headers["x-api-key"] == "reader" else (403, "{}")
        return well(path, headers)

    with server(strained) as address:
        assert cases(address, "reader") == {
            "too busy": "5.0 % of the requests were answered 503.",
            "event loop late": "An event loop came 0.75 s late to a timer.",
        }
        assert cases(address, "app") == {"key refused": "/metrics answers 403."}


@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", "[1]", '{"troubles": null}', "{}", "1"])
def test_a_proxys_page_is_told_from_bondhus_answer(body: str) -> None:
    def page(path: str, headers: Any) -> Answer:
        return (503, body) if path == "/readyz" else well(path, headers)

    with server(page) as address:
        what = "/readyz answers 503 with something that is not Bondhu's answer."
        assert cases(address) == {"not Bondhu's answer": what}


@pytest.mark.parametrize("body", ["<html>hello</html>", "{}", "", "bondhu_requests_total 5\n", "up 1\n", "a{b="])
def test_metrics_that_are_not_bondhus_are_a_finding(body: str) -> None:
    if body.startswith("bondhu"):
        body = "# TYPE bondhu_requests_total counter\n" + body

    def page(path: str, headers: Any) -> Answer:
        return (200, body) if path == "/metrics" else well(path, headers)

    with server(page) as address:
        assert cases(address, "reader") == {
            "not Bondhu's answer": "/metrics answers with something that is not Bondhu's answer."
        }


@pytest.mark.parametrize("address", ["http://[::1", "http://h:99999999", "http://\x00", "", "localhost", "http://[x]"])
def test_an_address_that_is_none_is_a_finding(address: str) -> None:
    assert len(visit(address, None, datetime.now(UTC))) == 1


def test_a_key_that_no_header_can_carry_is_a_finding_that_does_not_show_it() -> None:
    with server(well) as address:
        for key in ("k\u00e9y", "bd_1_2\n"):
            (found,) = visit(address, key, datetime.now(UTC))
            assert found.case == "no key"
            assert key not in str(found)


def test_a_certificate_that_ends_soon_is_found(tmp_path: Path) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "5", "-subj", "/CN=127.0.0.1"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run([*made, *files], check=True, cwd=tmp_path, capture_output=True)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
    with server(well, tls=tmp_path) as address:
        assert list(cases(address, verify=trusting)) == ["certificate ends"]
        assert list(cases(address)) == ["server not reachable"]


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("http://localhost:8000", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:80", True),
        ("http://10.0.0.1", False),
        ("https://bondhu.example.org", False),
    ],
)
def test_only_this_machine_may_go_without_keys_and_tls(address: str, inside: bool) -> None:
    assert local(address) is inside
