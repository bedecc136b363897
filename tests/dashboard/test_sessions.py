"""Who may look: sessions begin with a key, are kept in memory, and end with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.requests import Request

from bondhu.access.admission import Keys, Rules
from bondhu.access.keys import Ring, Wanted
from bondhu.dashboard.page import Asked
from bondhu.dashboard.web import sessions
from bondhu.dashboard.web.application import host_of, way_back
from bondhu.dashboard.web.sessions import NOBODY, Sessions, cookie, identities, same_origin
from bondhu.errors import NotAllowed, TooManyRequests, Unauthorized
from bondhu.log.memory import MemoryLedger
from tests.dashboard.visiting import ADMIN, COOKIE, House, Visitor, housed
from tests.service.serving import deployment, eventually, serving
from tests.service.stand import Clock

ADMINISTRATOR = "the-administrators-key"
REQUIRED = "wait = 3600\n[server]\nkeys = true\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One process, whose pages are for those who have a key."""
    with housed(tmp_path_factory.mktemp("keys"), more=REQUIRED) as running:
        yield running
        assert running.service.stop() == 0


class Door:
    """Sessions of keys in memory, with clocks of their own."""

    def __init__(self, *, required: bool = True, development: bool = True) -> None:
        self.ledger, self.clock = MemoryLedger(), Clock(0.0)
        self.ring = Ring(self.ledger, None)
        rules = Rules(ADMINISTRATOR, required)
        self.access = Keys(self.ledger, "shop", rules, lambda: 2_000.0)
        self.sessions = Sessions(self.access, development=development, clock=self.clock)

    def key(self, role: str = "reader") -> str:
        made = self.ring.create(Wanted(f"a {role}", role, "shop"), "a test", 1_000.0)
        self.access.refresh()
        return made.text


# -------------------------------------------------------------------------------------------------------- who is let in


def test_who_has_not_logged_in_is_sent_to_the_form_and_sees_nothing_of_the_deployment(house: House) -> None:
    visitor = house.visitor()
    seen = visitor.get("/dashboard/decisions?page=2")
    assert seen.status == 303
    assert seen.headers["location"] == "/dashboard/login?back=%2Fdashboard%2Fdecisions%3Fpage%3D2"
    form = visitor.get(seen.headers["location"])
    assert form.status == 200
    assert 'name="key"' in form.text
    assert "shop" not in form.text
    assert visitor.get("/dashboard/nowhere").status == 303
    assert visitor.get("/dashboard/events").status == 401
    assert visitor.get("/dashboard/health", **{"x-part": "main"}).status == 401


def test_a_reader_logs_in_looks_and_logs_out(house: House) -> None:
    visitor = house.visitor("reader")
    seen = visitor.get("/dashboard/health")
    assert seen.status == 200
    assert "a reader" in seen.text
    old = visitor.cookie
    assert visitor.post("/dashboard/logout", {"token": visitor.token}).status == 303
    assert "Max-Age=0" in visitor.set
    visitor.cookie = old
    assert visitor.get("/dashboard/health").status == 303


def test_the_cookie_is_of_no_use_to_scripts_and_to_other_sites(house: House) -> None:
    visitor = house.visitor("reader")
    assert visitor.set == f"{COOKIE}={visitor.cookie}; Path=/; HttpOnly; SameSite=Strict"
    assert len(visitor.cookie) >= 43  # 256 bits
    secured = house.visitor()
    own = f"https://127.0.0.1:{house.service.port}"
    assert secured.post("/dashboard/login", {"key": house.keys["reader"]}, Origin=own).status == 303
    assert secured.set.endswith("; Secure")


def test_every_login_has_another_session_and_ends_the_one_before(house: House) -> None:
    visitor = house.visitor("reader")
    first = visitor.cookie
    assert visitor.log_in(house.keys["operator"]).status == 303
    assert visitor.cookie != first
    old = Visitor(visitor.port)
    old.cookie = first
    assert old.get("/dashboard/health").status == 303


def test_a_key_that_is_only_for_deciding_does_not_open_the_pages(house: House) -> None:
    seen = house.visitor().log_in(house.keys["app"])
    assert seen.status == 403
    assert "set-cookie" not in seen.headers
    assert "reader, operator, admin" in seen.text


def test_a_wrong_key_is_told_so_and_noted_without_the_key(house: House) -> None:
    seen = house.visitor().log_in("bd_wrong_key-that-nobody-has")
    assert seen.status == 401
    assert "This key is not known." in seen.text
    noted = house.acts()[-1]
    assert (noted["what"], noted["status"], noted["address"]) == ("POST /dashboard/login", 401, "127.0.0.1")
    assert "wrong" not in str(noted)


def test_the_administrators_key_of_the_settings_logs_in(house: House) -> None:
    visitor = house.visitor()
    assert visitor.log_in(ADMIN).status == 303
    assert "administrator" in visitor.get("/dashboard/health").text


def test_a_login_from_a_page_of_another_site_is_refused(house: House) -> None:
    said = {"key": house.keys["reader"]}
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": ""},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ):
        seen = house.visitor().post("/dashboard/login", said, **headers)
        assert (seen.status, "set-cookie" in seen.headers) == (403, False), headers


def test_a_revoked_key_ends_its_session(house: House) -> None:
    ring = Ring(house.app.ledger, None)
    made = ring.create(Wanted("a guest", "reader", "shop"), "a test", house.app.now())
    visitor = house.visitor()
    assert eventually(lambda: visitor.log_in(made.text).status == 303 or None)
    assert visitor.get("/dashboard/health").status == 200
    ring.revoke(made.key.id, "a test", house.app.now())
    eventually(lambda: visitor.get("/dashboard/health").status == 303)


# -------------------------------------------------------------------------------------------------------- where it goes


@pytest.mark.parametrize(
    ("back", "location"),
    [
        ("/dashboard/releases", "/dashboard/releases"),
        ("/dashboard/decisions?page=2&action=a%26b", "/dashboard/decisions?page=2&action=a%26b"),
        ("/dashboard/decisions/a%20b", "/dashboard/decisions/a%20b"),
        ("", "/"),
        ("/", "/"),
        ("https://evil.example/dashboard/health", "/"),
        ("//evil.example/dashboard/health", "/"),
        ("/\\evil.example", "/"),
        ("/dashboard/decisions/../../x", "/"),
        ("/dashboard/decisions/%2e%2e/%2E%2e/x", "/"),
        ("/dashboard/decisions/.", "/"),
        ("/dashboard/decisions/a..b", "/dashboard/decisions/a..b"),
        ("/dashboard/events", "/"),
        ("/dashboard/logout", "/"),
        ("javascript:alert(1)", "/"),
        ("/dashboard/health\r\nSet-Cookie: a=b", "/"),
    ],
)
def test_after_logging_in_one_is_where_one_wanted_to_be_and_never_elsewhere(
    house: House, back: str, location: str
) -> None:
    visitor = house.visitor()
    seen = visitor.log_in(house.keys["reader"], back)
    assert (seen.status, seen.headers["location"]) == (303, location)


def test_the_way_back_stays_below_the_deployment() -> None:
    asked = Asked(NOBODY, "/domains/shop", "/dashboard/login")
    assert way_back(asked, "/domains/shop/dashboard/health?a=1") == "/domains/shop/dashboard/health?a=1"
    assert way_back(asked, "/dashboard/health") == "/domains/shop/"
    assert way_back(asked, "/domains/shoplifter/dashboard/health") == "/domains/shop/"


# ------------------------------------------------------------------------------------------------------------ their end


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("shop.example:8471", "shop.example:8471"),
        ("[::1]:80", "[::1]:80"),
        ("shop; rm -rf ~", ""),
        ("$(id)", ""),
        ("", ""),
        ("a" * 300, ""),
    ],
)
def test_only_a_name_by_which_a_server_can_be_asked_gets_into_commands(said: str, shown: str) -> None:
    scope = {"type": "http", "headers": [(b"host", said.encode())]}
    assert host_of(Request(scope)) == shown


def test_a_session_ends_twelve_hours_after_somebody_did_something() -> None:
    door = Door()
    identity, _ = door.sessions.begin(door.key(), "10.0.0.1")
    door.clock.now = 11 * 3600.0
    assert door.sessions.of([identity]) is not None
    door.clock.now = 22 * 3600.0
    assert door.sessions.of([identity], idle=True) is not None  # a page that is open does not keep it
    door.clock.now = 23.1 * 3600.0
    assert door.sessions.of([identity]) is None
    assert len(door.sessions) == 0


def test_there_are_never_more_than_a_thousand_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST", 3)
    door, made = Door(), []
    key = door.key()
    for number in range(4):
        made.append(door.sessions.begin(key, "10.0.0.1")[0])
        if number == 2:
            assert door.sessions.of([made[0]]) is not None  # the second is idle for longest now
    assert [door.sessions.of([each]) is not None for each in made] == [True, False, True, True]


def test_what_was_a_reader_may_not_become_more_by_guessing() -> None:
    door = Door()
    identity, session = door.sessions.begin(door.key(), "10.0.0.1")
    assert session.viewer.may == {"read", "explain"}
    assert session.sent(session.token)
    assert not session.sent("")
    assert not session.sent("é" + session.token)
    assert door.sessions.of([identity[:-1], "", "x" * 10_000, "é"]) is None


@pytest.mark.parametrize(
    ("required", "development", "anybody"),
    [(False, True, True), (True, True, False), (False, False, False), (True, False, False)],
)
def test_anybody_looks_in_development_without_keys_and_nowhere_else(
    required: bool, development: bool, anybody: bool
) -> None:
    door = Door(required=required, development=development)
    assert (door.sessions.viewer(None) is not None) is anybody
    _, session = door.sessions.begin(door.key(), "10.0.0.1")
    assert door.sessions.viewer(session) == session.viewer


def test_outside_development_pages_take_a_key_though_deciding_takes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"{ADMINISTRATOR}-of-this-test"
    monkeypatch.setenv("BONDHU_SERVER__ADMIN_KEY", key)
    more = 'wait = 3600\n[server]\nenvironment = "production"\nkeys = false\n'
    with serving(deployment(tmp_path, more=more)) as service:
        visitor = Visitor(service.port)
        eventually(lambda: visitor.get("/dashboard/login").status == 200)
        assert service.decide()[0] == 200
        assert visitor.get("/api/v1/admin/releases").status == 401
        seen = visitor.get("/dashboard/decisions")
        assert (seen.status, seen.headers["location"]) == (303, "/dashboard/login?back=%2Fdashboard%2Fdecisions")
        assert visitor.log_in(key).status == 303
        assert visitor.get("/dashboard/decisions").status == 200
        assert service.stop() == 0


def test_without_keys_anybody_looks_and_nobody_acts() -> None:
    door = Door(required=False)
    viewer = door.sessions.viewer(None)
    assert viewer is not None
    assert (viewer.name, viewer.may, viewer.token) == ("anybody", {"read", "explain"}, "")
    assert Door().sessions.viewer(None) is None


def test_keys_cannot_be_tried_one_after_another() -> None:
    door = Door()
    for _ in range(5):
        with pytest.raises(Unauthorized):
            door.sessions.begin("a guess", "10.0.0.1")
    for key in ("a guess", "bd_a_guess", ADMINISTRATOR):
        with pytest.raises(TooManyRequests) as refused:
            door.sessions.begin(key, "10.0.0.1")
        assert refused.value.seconds == pytest.approx(10.0)
    door.sessions.begin(ADMINISTRATOR, "10.0.0.2")  # elsewhere nobody has tried
    door.clock.now += 10.0
    door.sessions.begin(ADMINISTRATOR, "10.0.0.1")
    for _ in range(5):  # who had that key begins anew
        with pytest.raises(Unauthorized):
            door.sessions.begin("a guess", "10.0.0.1")


def test_wrong_keys_from_the_same_address_keep_nobody_out_whose_key_is_good() -> None:
    door = Door()
    for _ in range(5):
        with pytest.raises(Unauthorized):
            door.sessions.begin("bd_a_guess", "10.0.0.1")
    for _ in range(10):
        assert door.sessions.begin(door.key(), "10.0.0.1")[1].caller.name == "a reader"
    with pytest.raises(TooManyRequests):  # who has a key guesses the administrator's no faster
        door.sessions.begin("a guess", "10.0.0.1")


def test_of_ipv6_a_whole_network_is_one() -> None:
    door = Door()
    for number in range(5):
        with pytest.raises(Unauthorized):
            door.sessions.begin("a guess", f"2001:db8::{number}")
    with pytest.raises(TooManyRequests):
        door.sessions.begin("a guess", "2001:db8::ffff:1")
    with pytest.raises(NotAllowed):
        door.sessions.begin(door.key("app"), "2001:db8:0:1::1")


@pytest.mark.parametrize("key", ["", " ", "é", "ключ", "bd_", "bd__", "x" * 10_000, "\n"])
def test_what_is_no_key_opens_nothing(key: str) -> None:
    with pytest.raises(Unauthorized):
        Door().sessions.begin(key, "10.0.0.1")


# -------------------------------------------------------------------------------------------------------------- headers


def test_ids_are_found_among_other_cookies() -> None:
    headers = [(b"cookie", b"theme=dark; bondhu_session=one; bondhu_sessions=x"), (b"cookie", b"bondhu_session=two")]
    assert identities(headers) == ["one", "two"]
    assert len(identities([(b"cookie", b"; ".join([b"bondhu_session=x"] * 1000))])) == 8


def test_the_cookie_is_for_the_deployment_alone() -> None:
    assert cookie("x", "/domains/a", secure=True).split("; ")[1:] == [
        "Path=/domains/a",
        "HttpOnly",
        "SameSite=Strict",
        "Secure",
    ]


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"host": "a.example", "origin": "https://a.example"}, True),
        ({"host": "a.example:8000", "origin": "http://a.example:8000"}, True),
        ({"host": "inner", "origin": "https://a.example", "sec-fetch-site": "same-origin"}, True),
        ({"host": "a.example", "origin": "https://a.example", "sec-fetch-site": "cross-site"}, False),
        ({"host": "a.example", "origin": "https://b.example"}, False),
        ({"host": "a.example", "origin": "null"}, False),
        ({"host": "a.example", "sec-fetch-site": "none"}, False),
        ({"host": "a.example"}, False),
        ({"host": "", "origin": ""}, False),
    ],
)
def test_a_form_is_ours_where_the_browser_says_so(headers: dict[str, str], ours: bool) -> None:
    assert same_origin(headers) is ours
