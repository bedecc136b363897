"""The process that shows pages: beside every server, no weight on those who decide, and never missed for long."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bondhu.app import open_app
from bondhu.dashboard.files import NAMES, mark
from bondhu.dashboard.page import Asked
from bondhu.dashboard.web.drawing import VIEWS
from bondhu.dashboard.web.sessions import NOBODY
from bondhu.errors import InvalidInput, StoreError
from bondhu.log.sqlite import SqliteLog
from bondhu.server.sockets import PREFIX
from bondhu.settings import load
from bondhu.types import Decision
from tests.dashboard.visiting import ADMIN, House, Visitor, housed, showing
from tests.service.serving import Clients, Service, alive, deployment, eventually, serving
from tests.service.shop import ACTIONS

ALONE, SEVERAL = (), ("--workers", "2")


@pytest.fixture(scope="module", params=[ALONE, SEVERAL], ids=["alone", "several"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server of one process, and one of several."""
    with housed(tmp_path_factory.mktemp("pages"), *request.param, versions=1) as running:
        yield running
        assert running.service.stop() == 0
        assert list(running.service.temporary.glob(f"{PREFIX}*")) == []


def shower(service: Service) -> int:
    """The process that shows pages, once there is one."""
    return int(eventually(lambda: showing(service))[0])


# ------------------------------------------------------------------------------------------------------- what is shown


@pytest.mark.parametrize("path", VIEWS)
def test_every_view_is_shown_to_anybody_in_development(house: House, path: str) -> None:
    seen = house.visitor().get(path)
    assert seen.status == 200, seen.text
    assert seen.headers["content-type"] == "text/html; charset=utf-8"
    assert seen.text.startswith("<!doctype html>")
    assert f'href="{path}" aria-current="page"' in seen.text
    assert seen.headers["cache-control"] == "no-store"
    assert seen.headers["x-content-type-options"] == "nosniff"
    assert seen.headers["referrer-policy"] == "same-origin"
    assert seen.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert len(seen.headers.get("x-request-id", "")) > 8
    assert " style=" not in seen.text


def test_the_rest_of_the_server_is_as_strict_as_before(house: House) -> None:
    seen = house.visitor().get("/healthz")
    assert seen.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert house.service.decide()[0] == 200


def test_a_page_is_compressed_for_whoever_takes_it_and_its_headers_are_had_alone(house: House) -> None:
    visitor = house.visitor()
    small = visitor.get("/dashboard/releases", **{"Accept-Encoding": "br, gzip"})
    assert small.headers["content-encoding"] == "gzip"
    assert gzip.decompress(small.body).startswith(b"<!doctype html>")
    assert "content-encoding" not in visitor.get("/dashboard/releases", **{"Accept-Encoding": "gzip;q=0"}).headers
    head = visitor.get("/dashboard/releases", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 1000


def test_files_are_kept_for_ever_at_addresses_that_change_with_them(house: House) -> None:
    visitor = house.visitor()
    page = visitor.get("/dashboard/health").text
    for name in NAMES:
        address = f"/dashboard/files/{name}?v={mark(name)}"
        assert address in page
        seen = visitor.get(address)
        assert (seen.status, seen.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
        assert visitor.get(f"/dashboard/files/{name}?v=older").headers["cache-control"] == "no-cache"
    assert visitor.get("/dashboard/files/../page.py").status == 404
    assert visitor.get("/dashboard/files/..%2Fpage.py").status == 404


def test_an_address_that_is_not_there_says_which_one_is_near(house: House) -> None:
    seen = house.visitor().get("/dashboard/lerning")
    assert seen.status == 404
    assert 'href="/dashboard/learning"' in seen.text
    assert "data-events" not in seen.text
    assert "Go to the page learning" in seen.text
    assert house.visitor().get("/dashboard/decisions/").status == 404


def test_the_short_address_leads_to_the_first_view(house: House) -> None:
    for path in ("/dashboard", "/dashboard/"):
        seen = house.visitor().get(path)
        assert (seen.status, seen.headers["location"]) == (308, "/")


def test_what_is_sent_to_a_view_is_refused(house: House) -> None:
    visitor = house.visitor()
    assert visitor.post("/dashboard/learning", {}).status == 405
    assert visitor.get("/dashboard/learning", "DELETE").status == 404  # no route of the interface


def test_a_query_that_is_too_much_is_refused_in_words(house: House) -> None:
    seen = house.visitor().get("/dashboard/decisions?" + "&".join(f"a{number}=1" for number in range(101)))
    assert seen.status == 422
    assert "More than 100 things are asked at once." in seen.text


def test_hostile_words_in_an_address_are_words(house: House) -> None:
    for path in ("/dashboard/%3Cscript%3Ealert(1)%3C/script%3E", "/dashboard/decisions/%3Cscript%3E%F0%9F%99%82%80"):
        seen = house.visitor().get(path)
        assert seen.status == 404
        assert b"<script>" not in seen.body


def test_every_chart_of_a_page_is_a_file_as_well(house: House) -> None:
    visitor = house.visitor()
    assert house.service.decide()[0] == 200

    def charts() -> list[str]:
        return [each.partition('"')[0] for each in visitor.get("/").text.split('id="chart-')[1:]]

    for name in eventually(charts):
        seen = visitor.get(f"/?csv={name}")
        assert seen.status == 200
        assert seen.headers["content-type"] == "text/csv; charset=utf-8"
        assert seen.headers["content-disposition"] == f'attachment; filename="{name}.csv"'
        assert seen.text.count("\r\n") >= 1
    lost = visitor.get("/?csv=nothing%22%0d%0a")
    assert lost.status == 404
    assert "There is no chart" in lost.text


def test_pages_know_what_all_workers_count(house: House) -> None:
    assert house.service.decide()[0] == 200
    assert "/v1/decide" in eventually(lambda: text_with(house, "/dashboard/health?a=1", "/v1/decide"))


def text_with(house: House, path: str, words: str) -> str:
    text = house.visitor().get(path).text
    return text if words in text else ""


# ----------------------------------------------------------------------------------------------------- a process apart


def test_those_who_decide_go_first(house: House) -> None:
    process = shower(house.service)
    assert os.getpriority(os.PRIO_PROCESS, process) == os.getpriority(os.PRIO_PROCESS, house.service.process.pid) + 10


def test_when_it_is_killed_decisions_go_on_and_the_next_one_shows_pages(house: House) -> None:
    before, visitor = shower(house.service), house.visitor("reader")
    with Clients(house.service.port).running() as clients:
        clients.more(50)
        os.kill(before, signal.SIGKILL)
        eventually(lambda: visitor.get("/dashboard/login").status == 503)
        away = visitor.get("/dashboard/health")
        clients.more(50)
        eventually(lambda: visitor.get("/dashboard/login").status == 200)
    assert (set(clients.statuses), clients.failures) == ({200}, [])
    if away.status == 503:  # it may be back already
        assert away.headers["retry-after"] == "2"
    assert shower(house.service) != before
    assert visitor.get("/dashboard/health").status == 200  # where no keys are asked for


def test_it_cannot_write_decisions(tmp_path: Path) -> None:
    now, row = time.time(), ("shop", "a", "a", None)
    one = Decision("a", *row[:2], row[3], now, {}, ACTIONS, "red", 1.0, (), "baseline", "live")
    with SqliteLog(tmp_path / "log.sqlite") as log:
        log.append([one])
        assert log.find("a") is not None
        log.database.only_read()
        with pytest.raises(StoreError):
            log.append([one._replace(id="b")])
        with pytest.raises(StoreError):
            log.forget(["a"], [])
        with log.database.reading() as first, log.database.reading() as second:
            assert [each.pragma("query_only") for each in (first, second)] == [1, 1]
        assert log.find("a") is not None
        assert log.find("b") is None


# -------------------------------------------------------------------------------------------------- beginning and end


def test_switched_off_there_are_no_pages_and_no_process(tmp_path: Path) -> None:
    with serving(deployment(tmp_path, more="[dashboard]\nenabled = false")) as service:
        assert service.ask("/dashboard/learning")[0] == 404
        assert service.ask("/")[1]["domain"] == "shop"
        assert service.decide()[0] == 200
        assert showing(service) == []
        assert service.stop() == 0


@pytest.mark.parametrize("name", ["<b>shop</b>", "..", "a shop", "s" * 101])
def test_a_domain_that_could_have_no_folder_is_refused_before_anything_is_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        open_app(load(deployment(tmp_path, name=name)))
    assert str(refused.value).startswith(f"The domain name {name!r} cannot be a folder or file. Use up to 100 letters")
    assert [each.name for each in tmp_path.iterdir()] == ["bondhu.toml"]


@pytest.mark.parametrize("options", [ALONE, SEVERAL], ids=["alone", "several"])
def test_when_the_server_is_killed_it_goes_as_well(tmp_path: Path, options: tuple[str, ...]) -> None:
    with serving(deployment(tmp_path), *options) as service:
        process = shower(service)
        assert alive(process)
        service.process.kill()
        eventually(lambda: not alive(process))


def test_a_server_that_is_reloaded_has_pages_of_its_new_settings(tmp_path: Path) -> None:
    with serving(deployment(tmp_path), *SEVERAL) as service:
        visitor, before = Visitor(service.port), shower(service)
        eventually(lambda: visitor.get("/dashboard/health").status == 200)
        deployment(tmp_path, actions=(*ACTIONS, "violet"))
        service.process.send_signal(signal.SIGHUP)
        eventually(lambda: showing(service) not in ([], [before]) and not alive(before))
        eventually(lambda: visitor.get("/dashboard/policy").status == 200)
        assert "violet" in visitor.get("/dashboard/policy").text
        assert service.stop() == 0


# -------------------------------------------------------------------------------------------------- several deployments


def test_each_deployment_has_pages_sessions_and_acts_of_its_own(tmp_path: Path) -> None:
    deployment(tmp_path / "other", name="other", more="[server]\nkeys = true")
    deployment(tmp_path / "quiet", name="quiet", more="[dashboard]\nenabled = false")
    first = deployment(tmp_path / "first", more='[server]\ndomains = ["../other", "../quiet"]')
    with serving(first, *SEVERAL) as service:
        root, other = Visitor(service.port), Visitor(service.port, "/domains/other")
        eventually(lambda: root.get("/").status == 200)
        assert "<title>Health · shop · Bondhu</title>" in root.get("/dashboard/health").text
        away = other.get("/dashboard/health?a=1")
        assert away.headers["location"] == (
            "/domains/other/dashboard/login?back=%2Fdomains%2Fother%2Fdashboard%2Fhealth%3Fa%3D1"
        )
        assert other.log_in(ADMIN, "/domains/other/dashboard/health?a=1").headers["location"] == (
            "/domains/other/dashboard/health?a=1"
        )
        assert "Path=/domains/other;" in other.set
        page = other.get("/dashboard/health")
        assert "<title>Health · other · Bondhu</title>" in page.text
        assert 'href="/domains/other/dashboard/releases"' in page.text
        assert 'data-events="/domains/other/dashboard/events?since=' in page.text
        assert other.get("/").status == 200
        style = f"/dashboard/files/dashboard.css?v={mark('dashboard.css')}"
        assert f'href="{Asked(NOBODY, "/domains/other").link(style.partition("?")[0])}?' in page.text
        assert other.get(style).status == 200
        root.cookie = other.cookie  # it is nobody's here
        assert (
            root.post("/dashboard/acts/stop", {"token": other.token, "reason": "x", "confirmed": "yes"}).status == 401
        )
        done = other.act("stop", reason="a test", confirmed="yes")
        assert done.headers["location"] == "/domains/other/dashboard/releases?done=stop"
        assert Visitor(service.port, "/domains/quiet").get("/dashboard/health").status == 404
        assert Visitor(service.port, "/domains/nobody").get("/dashboard/health").status == 404
        assert service.stop() == 0
    kinds = {name: [each.kind for each in open_app(load(tmp_path / name)).events()] for name in ("first", "other")}
    assert kinds == {"first": [], "other": ["stopped"]}


# ------------------------------------------------------------------------------------------------------ who goes first


@pytest.mark.parametrize(("yields", "policy", "niceness"), [(True, "SCHED_IDLE", 0), (False, "SCHED_OTHER", 10)])
def test_whoever_decides_goes_before_whoever_shows(yields: bool, policy: str, niceness: int) -> None:
    code = f"import os; from bondhu.server.showing import stand_back; stand_back(yields={yields}); "
    code += "print(os.sched_getscheduler(0), os.nice(0))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert [int(each) for each in said] == [getattr(os, policy), os.nice(0) + niceness]
