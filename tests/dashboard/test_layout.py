"""The frame of every page, the blocks that views are made of, and what is served beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bondhu.access import EXPLAIN, OPERATE, READ
from bondhu.app import App, open_app
from bondhu.dashboard import files, layout
from bondhu.dashboard.columns.sheets import Sheet, empty
from bondhu.dashboard.layout import Card
from bondhu.dashboard.page import Asked, Chart, Desk, Page, Progress, Table, Viewer
from bondhu.report.markup import Markup, tag
from bondhu.report.study import Figure
from bondhu.settings import FILE, load

READER = Viewer("eve", frozenset({READ, EXPLAIN}), "reader's token")
OPERATOR = Viewer("ada", frozenset({READ, EXPLAIN, OPERATE}), "a token")
NOBODY = Viewer("anybody", frozenset({READ, EXPLAIN}))
HOSTILE = '<script>alert("1")</script>\u202e😀'


class Nothing:
    """Columns of a log that holds nothing, or of which little is read."""

    def __init__(self, app: App, progress: Progress) -> None:
        self._sheet, self._progress = empty(app.domain), progress

    def sheet(self) -> Sheet:
        return self._sheet

    def progress(self) -> Progress:
        return self._progress


class Idle:
    """Errands that nobody does."""

    generation = 0

    def ask(self, key: object, work: object) -> None:
        return None

    def look(self, key: object) -> None:
        return None


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    (tmp_path / FILE).write_text('[domain]\nextends = "recommendation"\n', encoding="utf-8")
    app = open_app(load(tmp_path), now=lambda: 1_793_637_881.0)
    yield app
    app.stores.close()


NOTHING_READ = Progress(0, 0, float("nan"))


def desk(app: App, progress: Progress = NOTHING_READ) -> Desk:
    return Desk(app, Nothing(app, progress), Idle())


class Reader(HTMLParser):
    """What stands in a page: tags with their attributes in order, and the text outside of them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def chart(rows: int = 3) -> Chart:
    picture = tag("svg", role="img", aria_label="a picture")
    return Chart("some", "Some figures", picture, Table(["name", "value"], [[f"row {n}", n / 2] for n in range(rows)]))


def test_a_page_has_a_frame_and_nothing_inline(app: App) -> None:
    page = Page("Overview", [layout.section("one", "The one", layout.say("something"))])
    text = layout.document(desk(app), Asked(NOBODY), page)
    found = read(text)
    assert text.startswith('<!doctype html>\n<html lang="en"')
    names = [name for name, _ in found.tags]
    assert names.count("main") == names.count("h1") == names.count("header") == names.count("footer") == 1
    assert "style" not in names
    assert not [about for _, about in found.tags if "style" in about or any(name.startswith("on") for name in about)]
    scripts = [about["src"] for name, about in found.tags if name == "script"]
    assert scripts == [files.address(Asked(NOBODY), "dashboard.js")]
    assert "Overview · recommendation · Bondhu" in found.text


def test_the_navigation_says_where_one_is(app: App) -> None:
    def current(path: str) -> list[str | None]:
        text = layout.document(desk(app), Asked(NOBODY, path=path), Page("A view", []))
        return [about["href"] for _, about in read(text).tags if about.get("aria-current") == "page"]

    assert current("/") == ["/"]
    assert current("/dashboard/releases") == ["/dashboard/releases"]
    assert current("/dashboard/decisions/01a2") == ["/dashboard/decisions"]
    assert current("/dashboard/login") == []


def test_every_address_of_a_tenant_stands_under_its_root(app: App) -> None:
    text = layout.document(desk(app), Asked(OPERATOR, root="/domains/shop"), Page("Overview", []))
    addresses = [about[key] for _, about in read(text).tags for key in ("href", "src", "action") if key in about]
    own = [each for each in addresses if each and not each.startswith(("#", "data:"))]
    assert len(own) == 11
    assert all(each.startswith("/domains/shop") for each in own)
    assert 'data-events="/domains/shop/dashboard/events"' in text


def test_the_state_says_who_decides(app: App) -> None:
    def state() -> str:
        text = layout.document(desk(app), Asked(NOBODY), Page("Overview", []))
        return read(text[text.index('<p id="state"') : text.index('class="who"')]).text

    assert "the rule decides for everybody" in state()
    app.stop(reason="it was loud", by="ada")
    assert state().startswith("stopped the rule decides")


def test_who_is_logged_in_may_log_out_and_others_in(app: App) -> None:
    out = layout.document(desk(app), Asked(OPERATOR), Page("Overview", []))
    assert "Log out" in out
    assert 'value="a token"' in out
    inside = layout.document(desk(app), Asked(NOBODY, path="/dashboard/health"), Page("Health", []))
    assert "Log out" not in inside
    assert 'href="/dashboard/login?back=%2Fdashboard%2Fhealth"' in inside


def test_the_footer_says_how_much_of_the_log_is_read(app: App) -> None:
    told = layout.document(desk(app, Progress(200, 1_000, 1_793_000_000.0)), Asked(NOBODY), Page("Overview", []))
    assert "200 of about 1,000 decisions read so far, back to 2026-10-26 07:33 UTC" in told
    assert 'as of <time datetime="2026-11-02T16:44:41Z">2026-11-02 16:44 UTC</time>' in told


def test_hostile_words_are_text(app: App) -> None:
    parts = [
        layout.cards([Card(HOSTILE, HOSTILE, HOSTILE)]),
        layout.status("error", HOSTILE),
        layout.badge(HOSTILE),
        layout.choice(HOSTILE, HOSTILE, [HOSTILE], HOSTILE),
        layout.field("a", HOSTILE, HOSTILE, hint=HOSTILE),
        layout.verdict_line("wait", HOSTILE, word=HOSTILE),
    ]
    page = layout.document(desk(app), Asked(Viewer(HOSTILE, frozenset(), "t")), Page(HOSTILE, parts))
    assert [name for name, _ in read(page).tags].count("script") == 1
    assert HOSTILE in read(page).text


def test_commands_in_a_sentence_are_code_and_whatever_else_is_between_backticks_is_text() -> None:
    for made in (layout.say(f"Run `bondhu train` or `{HOSTILE}`."), layout.status("empty", f"`{HOSTILE}` `")):
        found = read(made)
        assert "script" not in [name for name, _ in found.tags]
        assert "code" in [name for name, _ in found.tags]
        assert HOSTILE in found.text
    assert layout.say("a ` b") == '<p class="said">a ` b</p>'
    assert "<code>bondhu train</code>" in layout.verdict_line("wait", "Run `bondhu train`.")


def test_things_are_counted_in_words() -> None:
    assert layout.counted(1, "decision") == "1 decision"
    assert layout.counted(1_200, "decision") == "1,200 decisions"
    assert layout.counted(2, "person", "people") == "2 people"


def test_a_table_that_is_stacked_says_the_column_in_every_cell() -> None:
    made = layout.table("Versions", ("name", "why"), [("v1", "good")], stacked=True)
    assert '<td class="name" data-label="why">good</td>' in made
    assert 'class="stacked"' in made


def test_an_act_can_only_be_done_by_who_may() -> None:
    asked = Asked(OPERATOR, path="/dashboard/releases")
    made = layout.act_button(asked, "promote", "Promote", kind="main", version="v1")
    about = {each.get("name"): each.get("value") for name, each in read(made).tags if name == "input"}
    assert about == {"token": "a token", "back": "/dashboard/releases", "version": "v1"}
    assert 'action="/dashboard/acts/promote"' in made
    assert 'method="post"' in made
    for viewer, why in ((READER, "a key of the role operator may do this"), (NOBODY, "Log in")):
        barred = layout.act_button(Asked(viewer), "promote", "Promote", version="v1")
        assert "<form" not in barred
        assert "disabled" in barred
        assert why in barred


def test_a_chart_can_be_taken_along() -> None:
    asked = Asked(NOBODY, path="/dashboard/learning", query={"a": "mood"})
    made = layout.chart(asked, chart())
    assert 'href="/dashboard/learning?a=mood&amp;csv=some"' in made
    assert 'data-png="some"' in made
    assert made.count("<tr>") == 4
    many = layout.chart(asked, chart(450))
    assert many.count("<tr>") == 201
    assert "the first 200 of 450 rows" in many


def test_a_section_is_known_by_its_name() -> None:
    made = layout.section("who", "Who?", layout.say("nobody"))
    assert made.startswith('<section id="who" aria-labelledby="who-title" data-live="">')
    assert "data-live" not in layout.section("who", "Who?", live=False)


def test_figures_are_written_as_their_interval_lets_them() -> None:
    assert layout.within(Figure(0.27812, 0.25, 0.31)) == ("0.278", "0.250 to 0.310")
    assert layout.within(Figure(12.3456, 2.0, 22.0), signed=True) == ("+12", "+2 to +22")
    assert layout.within(Figure(float("nan"), 0.0, 0.0)) == ("—", "")


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(5.0, "5 seconds"), (60.0, "1 minute"), (7_199.0, "1 hour"), (2.6 * 86_400, "2 days"), (0.0, "0 seconds")],
)
def test_lengths_of_time_are_told_in_their_largest_unit(seconds: float, says: str) -> None:
    assert layout.span(seconds) == says
    assert layout.ago(1_000_000.0, 1_000_000.0 + seconds).endswith(f">{says} ago</time>")
    if seconds:
        assert layout.ago(1_000_000.0 + seconds, 1_000_000.0).endswith(f">in {says}</time>")


def test_pages_lead_to_those_before_and_after() -> None:
    asked = Asked(NOBODY, path="/dashboard/decisions", query={"user": "u"})
    middle = layout.pages(asked, 2, 20, 77)
    assert "21 to 40 of 77" in middle
    assert 'href="/dashboard/decisions?user=u&amp;page=1"' in middle
    assert 'href="/dashboard/decisions?user=u&amp;page=3"' in middle
    assert "after" not in layout.pages(asked, 4, 20, 77)
    assert "0 to 0 of 0" in layout.pages(asked, 1, 20, 0)


def test_a_form_keeps_what_it_does_not_ask() -> None:
    asked = Asked(NOBODY, path="/dashboard/policy", query={"version": "v1", "x": "0.2"})
    made = layout.asking(asked, layout.slider("x", "Openness", 0.2, layout.Range(0, 1, 0.1)), keep=("version",))
    about = {each.get("name"): each.get("value") for name, each in read(made).tags if name == "input"}
    assert about == {"version": "v1", "x": "0.2"}
    assert "data-now" in made
    assert "<output" in made


def test_files_have_addresses_that_change_with_them() -> None:
    address = files.address(Asked(NOBODY, root="/domains/shop"), "dashboard.css")
    assert re.fullmatch(r"/domains/shop/dashboard/files/dashboard\.css\?v=[0-9a-f]{16}", address)
    style = files.content("dashboard.css").decode()
    assert "--one: light-dark(" in style
    assert ".plot" in style
    assert files.kind("dashboard.js") == "text/javascript; charset=utf-8"
    with pytest.raises(KeyError):
        files.content("../page.py")


def test_every_class_that_is_drawn_with_has_a_rule() -> None:
    style = files.content("dashboard.css").decode()
    drawn = layout.chart(Asked(NOBODY), chart()) + layout.status("good", "all is well") + layout.badge("x", "wait")
    classes = {name for each in re.findall(r'class="([^"]*)"', drawn) for name in each.split()}
    assert {name for name in classes if f".{name}" not in style} <= {"text", "next", "plain"}


def test_the_script_is_small_and_runs_nothing_it_was_sent() -> None:
    script = files.content("dashboard.js").decode()
    assert len(script.splitlines()) <= 260
    assert not re.search(r"\beval\b|innerHTML|new Function|document\.write|insertAdjacentHTML", script)


def test_markup_in_a_table_is_measured_without_its_tags() -> None:
    made = layout.table("Versions", ("name", "when"), [("one", layout.when(0.0)), ("two", Markup("<b>1</b>"))])
    assert 'class="long"' not in made
