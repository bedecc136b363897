"""The dashboard as people use it: a real browser on a deployment with a past."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import ANY

import pytest
from playwright.sync_api import Browser, expect

from bondhu.log.sqlite import SqliteLog
from bondhu.ports import PUBLISHED_KEY
from tests.dashboard.browsing import DESK, PHONE, Tab, browsing, tab
from tests.dashboard.seeded import seed
from tests.service.serving import Service, eventually, serving

VIEWS = {
    "/": "Overview",
    "/dashboard/learning": "Learning",
    "/dashboard/policy": "Policy",
    "/dashboard/decisions": "Decisions",
    "/dashboard/releases": "Releases",
    "/dashboard/evaluation": "Evaluation",
    "/dashboard/health": "Health",
}
ADMIN = {"x-admin-key": PUBLISHED_KEY}
CONTEXT = {
    **dict.fromkeys(("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism"), 50.0),
    **{"content_type": "music", "mood": "happy", "time_of_day": "evening"},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as opened:
        yield opened


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a deployment with a past; nothing writes to it."""
    folder = tmp_path_factory.mktemp("past")
    seed(folder).stores.close()
    return folder


@pytest.fixture(scope="module")
def service(past: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server of it that tests only read from."""
    folder = tmp_path_factory.mktemp("served") / "deployment"
    shutil.copytree(past, folder)
    with serving(folder) as running:
        ready(running)
        yield running


@pytest.fixture
def changing(past: Path, tmp_path: Path) -> Iterator[Service]:
    """A server of a copy that a test may change."""
    shutil.copytree(past, tmp_path / "deployment")
    with serving(tmp_path / "deployment") as running:
        ready(running)
        yield running


def ready(service: Service) -> None:
    """Wait until the pages are there and have read the whole log."""
    decisions = service.ask("/api/v1/admin/system/health", **ADMIN)[1]["decisions"]

    def read() -> bool:
        connection = service.connected()
        connection.request("GET", "/")
        answer = connection.getresponse()
        return f"{decisions:,} decisions" in answer.read().decode()

    eventually(read, "the pages have not read the log")


def address(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


@pytest.fixture
def desk(browser: Browser, service: Service) -> Iterator[Tab]:
    with tab(browser, address(service)) as opened:
        yield opened


# ------------------------------------------------------------------------------------------------------- every view


@pytest.mark.parametrize("path", VIEWS)
@pytest.mark.parametrize(("colours", "size"), [("light", DESK), ("dark", DESK), ("light", PHONE)])
def test_every_view_can_be_used_by_everybody(
    browser: Browser, service: Service, path: str, colours: str, size: dict[str, int]
) -> None:
    with tab(browser, address(service), colours=colours, size=size) as opened:  # type: ignore[arg-type]  # a dict of it
        page = opened.go(path)
        expect(page.locator("h1")).to_have_text(VIEWS[path])
        expect(page.locator("nav a[aria-current=page]")).to_have_text(VIEWS[path])
        assert opened.violations() == []
        assert opened.overflow() <= 0
        assert page.locator("[style]").count() == 0


def test_all_views_are_reached_by_clicking(desk: Tab) -> None:
    page = desk.go("/")
    for path, name in VIEWS.items():
        page.get_by_role("navigation", name="Views").get_by_role("link", name=name, exact=True).click()
        page.wait_for_url(f"{desk.address}{path}")
        expect(page.locator("h1")).to_have_text(name)


def test_the_keyboard_reaches_content_and_views(desk: Tab) -> None:
    page = desk.go("/")
    page.keyboard.press("Tab")
    expect(page.locator("a.skip")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for name in ("Overview", "Learning"):
        link = page.get_by_role("navigation", name="Views").get_by_role("link", name=name, exact=True)
        link.focus()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_colours_are_chosen_and_remembered(desk: Tab) -> None:
    page = desk.go("/")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").select_option("dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


# ------------------------------------------------------------------------------------------------ figures and charts


def test_the_figures_are_those_of_the_api(desk: Tab, service: Service) -> None:
    releases = service.ask("/api/v1/admin/releases", **ADMIN)[1]
    health = service.ask("/api/v1/admin/system/health", **ADMIN)[1]
    live, trial = releases["traffic"]["live"], releases["traffic"]["step"]
    page = desk.go("/")
    assert live in page.inner_text("#state")
    assert trial["version"] in page.inner_text("#state")
    assert f"{health['decisions']:,}" in page.inner_text("#as-of")
    releasing = desk.go("/dashboard/releases").inner_text("main")
    for each in releases["versions"]:
        assert each["version"] in releasing
    assert f"{trial['share']:.0%}".replace("%", "") in releasing
    store = desk.go("/dashboard/health").locator("main")  # the store is looked at beside the page
    expect(store).to_contain_text(f"{health['decisions']:,}")
    expect(store).to_contain_text(f"{health['feedback']:,}")


def test_why_this_action_for_this_person_is_two_clicks_away(desk: Tab, service: Service) -> None:
    page = desk.go("/")
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Decisions", exact=True).click()
    page.locator("main tbody tr a").first.click()
    page.wait_for_url("**/dashboard/decisions/*")
    identity = page.url.rpartition("/")[2]
    audit = service.ask(f"/v1/decisions/{identity}", **ADMIN)[1]
    shown = page.inner_text("main")
    assert audit["why"] in shown
    assert audit["replayed"] is True
    for each in audit["candidates"]:
        assert each["action"] in shown


@pytest.mark.parametrize("path", ["/", "/dashboard/learning"])
def test_every_chart_is_there_as_csv_and_as_a_picture(desk: Tab, path: str) -> None:
    page = desk.go(path)
    links = page.get_by_role("link", name="CSV")
    assert links.count() >= 1
    for number in range(links.count()):
        answer = page.request.get(f"{desk.address}{links.nth(number).get_attribute('href')}")
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/csv")
        rows = list(csv.reader(io.StringIO(answer.text())))
        assert len({len(row) for row in rows}) == 1
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG").first.click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


# ------------------------------------------------------------------------------------------------------ what changes


def test_a_page_follows_what_happens_without_being_loaded_again(desk: Tab, service: Service) -> None:
    page = desk.go("/")
    page.evaluate("window.same = true")
    before = service.ask("/api/v1/admin/system/health", **ADMIN)[1]["decisions"]
    assert service.ask("/v1/decide", {"context": CONTEXT, "user": "somebody new"})[0] == 200
    expect(page.locator("#as-of")).to_contain_text(f"{before + 1:,} decisions")
    assert page.evaluate("window.same") is True


def test_a_slider_changes_the_answer_and_the_address_leads_others_to_it(
    browser: Browser, desk: Tab, service: Service
) -> None:
    page = desk.go("/dashboard/policy?decision=trial-0.1.0.0")  # a context that was met often enough to be known
    answer = page.locator("#does")
    before = answer.inner_html()
    slider = page.locator("input[type=range]").first
    started = slider.input_value()
    slider.focus()
    page.keyboard.press("End")
    page.wait_for_function("before => document.querySelector('#does').innerHTML !== before", arg=before)
    page.wait_for_url("**/dashboard/policy?**")
    with tab(browser, address(service)) as other:
        shared = other.go(page.url.removeprefix(desk.address))
        assert shared.locator("#does").inner_text() == answer.inner_text()
    page.go_back()
    page.wait_for_function("before => document.querySelector('#does').innerHTML === before", arg=before)
    assert page.url.endswith("/dashboard/policy?decision=trial-0.1.0.0")
    assert page.locator("input[type=range]").first.input_value() == started


# ------------------------------------------------------------------------------------------------------------- acts


def logged_in(opened: Tab, key: str) -> None:
    page = opened.go("/dashboard/login")
    page.locator("input[name=key]").fill(key)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{opened.address}/")


def test_who_operates_can_stop_everything_and_it_is_noted(browser: Browser, changing: Service) -> None:
    with tab(browser, address(changing)) as opened:
        logged_in(opened, PUBLISHED_KEY)
        page = opened.go("/dashboard/releases")
        page.locator("form[action$='/acts/stop'] button").first.click()
        assert changing.ask("/api/v1/admin/releases", **ADMIN)[1]["traffic"]["stopped"] is False  # it asks first
        page.locator("input[name=reason]").fill("people complain")
        page.locator("form[action$='/acts/stop'] button").last.click()
        page.wait_for_url("**/dashboard/releases?**")
        expect(page.locator("#state")).to_contain_text("stopped")
        assert opened.violations() == []
    assert changing.ask("/api/v1/admin/releases", **ADMIN)[1]["traffic"]["stopped"] is True
    last = changing.ask("/api/v1/admin/releases", **ADMIN)[1]["history"][-1]
    assert (last["kind"], last["reason"]) == ("stopped", "people complain")
    acts = changing.ask("/api/v1/admin/audit", **ADMIN)[1]["acts"]
    noted = [(each["arguments"]["reason"], each["status"]) for each in acts if each["arguments"].get("act") == "stop"]
    assert noted == [("people complain", 200)]  # asking what it would do is no act


def test_who_only_reads_is_shown_no_button_that_changes_anything(browser: Browser, service: Service) -> None:
    made = service.ask("/api/v1/admin/keys", {"name": "eve", "role": "reader"}, **ADMIN)
    with tab(browser, address(service)) as opened:
        logged_in(opened, made[1]["text"])
        for path in VIEWS:
            page = opened.go(path)
            assert page.locator("form[action*='/acts/'] button:enabled").count() == 0


# ---------------------------------------------------------------------------------------------------- what is hostile

HOSTILE = [
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "😀 \u202eright to left\u202c \u200f",
    "x" * 10_000,
    "{{7*7}} ${7*7} <%= 7*7 %>",
]
DECLARED = """
[domain]
name = "shop"
[context]
said = { kind = "text", buckets = 64 }
colour = { kind = "category", values = ["<i>red</i>", "blue"] }
[actions]
names = ["<script>document.title='owned'</script>", "plain"]
[reward]
signals = { like = 1.0 }
"""


def test_what_strangers_wrote_is_text(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "bondhu.toml").write_text(DECLARED, encoding="utf-8")
    with serving(tmp_path) as running:
        for number, text in enumerate(HOSTILE):
            body = {"context": {"said": text, "colour": "<i>red</i>"}, "user": f"<b>{number}</b>", "id": f"h{number}"}
            assert running.ask("/v1/decide", body) == (200, ANY)
        ready(running)
        with tab(browser, address(running)) as opened:
            for path in [*VIEWS, *(f"/dashboard/decisions/h{number}" for number in range(len(HOSTILE)))]:
                page = opened.go(path)
                assert page.title() != "owned"
                assert page.locator("main script, main img, main i, main b > script").count() == 0
                assert opened.overflow() <= 0
            assert "<script>document.title='owned'</script>" in page.inner_text("main")
    with SqliteLog(tmp_path / "data" / "log.sqlite") as log:
        assert json.loads(log.read("shop", 0, 1e12).context[0])["said"] == HOSTILE[0]
