"""Several deployments behind one server: each request reaches its own, and nothing of one is seen from another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from bondhu.access import PERMISSIONS
from bondhu.access.admission import Keys, Rules
from bondhu.access.keys import Ring, Wanted
from bondhu.domains import declared
from bondhu.errors import SettingsInvalid
from bondhu.log.memory import MemoryLedger, MemoryLog
from bondhu.log.sqlite import SqliteLedger, SqliteLog
from bondhu.ports import Deployment, Ledger, Log
from bondhu.registry.memory import MemoryRegistry
from bondhu.serve.decide import Decider
from bondhu.serve.http import create_app
from bondhu.serve.parts import Parts
from bondhu.serve.replies import Application
from bondhu.serve.tenants import Tenants
from bondhu.serve.writing.thread import ThreadWriter
from tests.service.shop import CONTEXT, acting, problem
from tests.service.web import Client, Desk, error, started

ONE, OTHER, SERVER = "one", "other", "server"
ADMIN_KEYS = {name: f"the-admin-key-of-{name}" for name in (ONE, OTHER, SERVER)}
SECRET = "nobody-else-may-see-this"


class Tenant(NamedTuple):
    """One deployment, and a key of each role."""

    name: str
    root: str
    decider: Decider
    ledger: Ledger
    keys: dict[str, str]


class House(NamedTuple):
    client: Client
    tenants: dict[str, Tenant]


def tenant(name: str, log: Log, ledger: Ledger) -> Tenant:
    domain = declared.from_table({**problem(), "domain": {"name": name}})
    decider = Decider(Deployment(domain, log, MemoryRegistry()), acting)
    ring = Ring(ledger, None)
    keys = {role: ring.create(Wanted(f"{role} of {name}", role, name), "a test", 1.0).text for role in PERMISSIONS}
    return Tenant(name, "" if name == SERVER else f"/domains/{name}", decider, ledger, keys)


def interface(one: Tenant) -> Application:
    rules = Rules(ADMIN_KEYS[one.name], required=True, everywhere=one.name == SERVER)
    access = Keys(one.ledger, one.name, rules)
    return create_app(Parts(one.decider, ThreadWriter(one.decider.deployment.log), Desk(), access, ledger=one.ledger))


@pytest.fixture(params=["own stores", "one store in memory", "one SQLite file"])
def house(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[House]:
    """A server with its own deployment and two tenants."""
    if request.param == "one SQLite file":
        log, ledger = SqliteLog(tmp_path / "log.sqlite"), SqliteLedger(tmp_path / "log.sqlite")
        stores: list[tuple[Log, Ledger]] = [(log, ledger)] * 3
    elif request.param == "one store in memory":
        stores = [(MemoryLog(), MemoryLedger())] * 3
    else:
        stores = [(MemoryLog(), MemoryLedger()) for _ in range(3)]
    tenants = {name: tenant(name, *store) for name, store in zip((SERVER, ONE, OTHER), stores, strict=True)}
    apps = {name: interface(each) for name, each in tenants.items()}
    yield from (House(client, tenants) for client in started(Tenants(apps.pop(SERVER), apps)))
    for each in stores[0]:
        if isinstance(each, SqliteLog | SqliteLedger):
            each.close()


def sent(key: str) -> dict[str, str]:
    return {"X-API-Key": key}


def decided(house: House, whose: Tenant, identity: str | None = None) -> str:
    body = {"context": CONTEXT, "user": SECRET, **({"id": identity} if identity else {})}
    answer = house.client.post(f"{whose.root}/v1/decide", body, **sent(whose.keys["app"]))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def routes(house: House, whose: Tenant) -> list[tuple[str, str]]:
    document = house.client.get(f"{whose.root}/openapi.json").json()
    return [(method.upper(), path) for path, operations in document["paths"].items() for method in operations]


# --------------------------------------------------------------------------------------------------------- each its own


def test_each_tenant_answers_for_its_own_domain_and_describes_where_it_is(house: House) -> None:
    for each in house.tenants.values():
        assert house.client.get(f"{each.root}/").json()["domain"] == each.name
        document = house.client.get(f"{each.root}/openapi.json").json()
        assert document["servers"] == [{"url": each.root or "/"}]
        made = decided(house, each)
        assert each.decider.explain(made).decision["domain"] == each.name
        said = {"decision_id": made, "signal": "like", "id": f"like-{each.name}"}
        answer = house.client.post(f"{each.root}/v1/feedback", said, **sent(each.keys["app"]))
        assert answer.json()["status"] == "stored"
        shown = house.client.get(f"{each.root}/v1/decisions/{made}", **sent(each.keys["reader"])).json()
        assert [row["id"] for row in shown["feedback"]] == [f"like-{each.name}"]


def test_a_tenant_that_is_not_there_is_no_route(house: House) -> None:
    for path in ("/domains", "/domains/", "/domains/none/health", "/domains/none", "/domains/One/health", "/nowhere"):
        assert error(house.client.get(path), 404) == {
            **error(house.client.get("/nowhere"), 404),
            "detail": f"GET {path} is not a route of this server.",
        }
    for path in ("/domains/one/domains/one/health", "/domains/one/domains/other/health", "/domains/one//health"):
        assert error(house.client.get(path), 404)["code"] == "not_found"
    assert error(house.client.get("/domains/one/nowhere"), 404)["detail"] == (
        "GET /domains/one/nowhere is not a route of this server."
    )


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "ä", "x" * 65, "a%2fb"])
def test_a_name_that_cannot_stand_in_an_address_is_refused(name: str) -> None:
    async def app(*_: Any) -> None:
        return None

    with pytest.raises(SettingsInvalid):
        Tenants(app, {name: app})


# ------------------------------------------------------------------------------------------------------------- no leaks


def test_a_key_of_one_tenant_is_at_every_route_of_another_like_one_that_nobody_made(house: House) -> None:
    one, other = house.tenants[ONE], house.tenants[OTHER]
    made = decided(house, other)
    unknown = sent("bd_0123456789ab_" + "x" * 43)
    asked = 0
    for method, path in routes(house, other):
        if path in ("/", "/health") or not path.startswith(("/v1/", "/api/v1/admin")):
            continue  # open to everybody, or with a door of its own
        at = other.root + path.replace("{decision_id}", made).replace("{action}", "stop").replace("{identity}", "x")
        expected = house.client((method, at, {}, unknown))[0]
        if expected.status_code != 401:
            continue
        for role, key in one.keys.items():
            answer = house.client((method, at, {}, sent(key)))[0]
            assert (answer.status_code, answer.json()) == (401, expected.json()), (method, at, role)
            asked += 1
        answer = house.client((method, at, {}, {"X-Admin-Key": ADMIN_KEYS[ONE]}))[0]
        assert (answer.status_code, answer.json()) == (401, expected.json()), (method, at)
    assert asked >= 4 * 14


def test_a_decision_of_one_tenant_is_at_another_like_one_that_nobody_made(house: House) -> None:
    one, other = house.tenants[ONE], house.tenants[OTHER]
    theirs = decided(house, one, "order-1")
    house.client.post(f"{one.root}/v1/feedback", {"decision_id": theirs, "signal": "like", "id": "f1"})
    for path, key in ((f"{other.root}/v1/decisions/", "reader"), ("/v1/decisions/", "reader")):
        whose = other if path.startswith(other.root) else house.tenants[SERVER]
        there = error(house.client.get(path + theirs, **sent(whose.keys[key])), 404)
        nowhere = error(house.client.get(path + "order-2", **sent(whose.keys[key])), 404)
        assert json.dumps(there).replace("order-1", "ID") == json.dumps(nowhere).replace("order-2", "ID")


def test_feedback_on_a_decision_of_another_tenant_is_refused_like_on_one_that_nobody_made(house: House) -> None:
    one, other = house.tenants[ONE], house.tenants[OTHER]
    decided(house, one, "order-1")
    app = sent(other.keys["app"])

    def said(identity: str) -> dict[str, str]:
        return {"decision_id": identity, "signal": "like", "id": f"f-{identity}"}

    there = error(house.client.post(f"{other.root}/v1/feedback", said("order-1"), **app), 404)
    nowhere = error(house.client.post(f"{other.root}/v1/feedback", said("order-2"), **app), 404)
    assert json.dumps(there).replace("order-1", "ID") == json.dumps(nowhere).replace("order-2", "ID")
    both = {"feedback": [said("order-1"), said("order-2")]}
    results = house.client.post(f"{other.root}/v1/feedback/batch", both, **app).json()["results"]
    assert json.dumps(results[0]).replace("order-1", "ID") == json.dumps(results[1]).replace("order-2", "ID")
    assert one.decider.explain("order-1").feedback == []


def test_an_id_that_another_tenant_uses_tells_nothing_of_what_is_there(house: House) -> None:
    one, other = house.tenants[ONE], house.tenants[OTHER]
    decided(house, one, "order-1")
    body = {"context": CONTEXT, "user": SECRET, "id": "order-1"}
    for same in (body, {**body, "user": "somebody else", "context": {**CONTEXT, "age": 7}}):
        answer = house.client.post(f"{other.root}/v1/decide", same, **sent(other.keys["app"]))
        assert answer.status_code in (200, 409)
        if answer.status_code == 409:
            assert SECRET not in answer.text.replace(json.dumps(same), "")
            assert not {"one", "blue", "baseline"} & set(answer.text.replace('"', " ").split())
    assert one.decider.explain("order-1").decision["domain"] == ONE


def test_nothing_that_a_tenant_shows_has_anything_of_another(house: House) -> None:
    one, other = house.tenants[ONE], house.tenants[OTHER]
    made = decided(house, one)
    house.client.post(f"{one.root}/api/v1/admin/keys", {"name": SECRET, "role": "app"}, **sent(one.keys["admin"]))
    ours = {each.split("_")[1] for each in one.keys.values()}
    looked = 0
    for method, path in routes(house, other):
        if method == "GET":
            at = other.root + path.replace("{decision_id}", made)
            for role in PERMISSIONS:
                answer = house.client((method, at, None, sent(other.keys[role])))[0]
                assert answer.status_code in (200, 403, 404, 503)
                text = answer.text.replace(made, "")
                assert SECRET not in text
                assert not [each for each in ours if each in text]
                assert f'"{ONE}"' not in text
                looked += 1
    assert looked >= 8 * len(PERMISSIONS)


def test_an_admin_of_one_tenant_can_neither_see_nor_end_nor_make_keys_of_another(house: House) -> None:
    one, other = house.tenants[ONE], house.tenants[OTHER]
    theirs = other.keys["admin"].split("_")[1]
    for headers in (sent(one.keys["admin"]), {"X-Admin-Key": ADMIN_KEYS[ONE]}):
        path = f"{one.root}/api/v1/admin/keys"
        listed = house.client.get(path, **headers).json()["keys"]
        assert {each["domain"] for each in listed} == {ONE}
        for method, at in (("DELETE", f"{path}/%s"), ("POST", f"{path}/%s/rotate")):
            there, nowhere = (house.client((method, at % each, {}, headers))[0] for each in (theirs, "0" * 12))
            assert error(there, 404)["detail"].replace(theirs, "ID") == error(nowhere, 404)["detail"].replace(
                "0" * 12, "ID"
            )
            assert error(there, 404)["fix"] == error(nowhere, 404)["fix"] or theirs not in there.json()["fix"]
        every = house.client.post(path, {"name": "x", "role": "admin", "everywhere": True}, **headers)
        assert error(every, 403)["field"] == "domain"
    answer = house.client.get(f"{other.root}/api/v1/admin/keys", **sent(other.keys["admin"]))
    assert answer.status_code == 200


def test_the_audit_log_of_a_tenant_has_its_own_acts_alone(house: House) -> None:
    for name in (ONE, OTHER):
        each = house.tenants[name]
        body = {"name": f"made by {name}", "role": "reader"}
        house.client.post(f"{each.root}/api/v1/admin/keys", body, **sent(each.keys["admin"]))
    for name in (ONE, OTHER):
        each = house.tenants[name]
        acts = house.client.get(f"{each.root}/api/v1/admin/audit", **sent(each.keys["admin"])).json()["acts"]
        assert [act["arguments"]["name"] for act in acts] == [f"made by {name}"]


def test_a_key_for_all_domains_made_by_the_server_opens_tenants_that_share_its_store(house: House) -> None:
    server = house.tenants[SERVER]
    asked = {"name": "ops", "role": "reader", "everywhere": True}
    text = house.client.post("/api/v1/admin/keys", asked, **{"X-Admin-Key": ADMIN_KEYS[SERVER]}).json()["text"]
    assert house.client.get("/api/v1/admin/releases", **sent(text)).status_code == 200
    shared = house.tenants[ONE].ledger is server.ledger
    for _ in range(300):
        status = house.client.get("/domains/one/api/v1/admin/releases", **sent(text)).status_code
        if status == (200 if shared else 401):
            return
        asyncio.run(asyncio.sleep(0.01))
    raise AssertionError(f"the key for all domains still gets {status} at a tenant")


# ------------------------------------------------------------------------------------------------------------ lifespans


class Living:
    """An application that notes how it lives."""

    def __init__(self, name: str, seen: list[str], *, fails: str = "") -> None:
        self.name, self.seen, self.fails = name, seen, fails

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        for step in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{step}"
            self.seen.append(f"{self.name} {step}")
            if self.fails == "raises":
                raise RuntimeError(f"{self.name} broke")
            if self.fails == step:
                await send({"type": f"lifespan.{step}.failed", "message": f"{self.name} failed"})
                return
            await send({"type": f"lifespan.{step}.complete"})


def lived(*apps: Living) -> list[dict[str, str]]:
    """What the server is told."""
    said: list[dict[str, str]] = []
    asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, str]:
        return next(asked)

    async def send(message: Any) -> None:
        said.append(message)

    first, *others = apps
    everything: Any = Tenants(first, {each.name: each for each in others})
    asyncio.run(everything({"type": "lifespan"}, receive, send))
    return said


def test_all_applications_start_in_order_and_end_in_the_other_order() -> None:
    seen: list[str] = []
    said = lived(*(Living(name, seen) for name in "abc"))
    assert [each["type"] for each in said] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert seen == ["a startup", "b startup", "c startup", "c shutdown", "b shutdown", "a shutdown"]


@pytest.mark.parametrize("how", ["startup", "raises"])
def test_where_one_cannot_start_none_stays_up_and_the_server_is_told_why(how: str) -> None:
    seen: list[str] = []
    said = lived(Living("a", seen), Living("b", seen, fails=how), Living("c", seen))
    assert said[0]["type"] == "lifespan.startup.failed"
    assert "b " in said[0]["message"]
    assert len(said) == 1
    assert seen == ["a startup", "b startup", "a shutdown"]


def test_where_one_cannot_end_the_others_do() -> None:
    seen: list[str] = []
    said = lived(Living("a", seen), Living("b", seen, fails="shutdown"))
    assert [each["type"] for each in said] == ["lifespan.startup.complete", "lifespan.shutdown.failed"]
    assert seen[-1] == "a shutdown"


def test_requests_of_tenants_go_to_their_own_application_with_the_rest_of_the_path() -> None:
    seen: list[tuple[str, str, str]] = []

    def app(name: str) -> Application:
        async def answer(scope: Any, receive: Any, send: Any) -> None:
            seen.append((name, scope["path"], scope.get("root_path", "")))
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        return answer

    async def ask() -> None:
        transport = httpx.ASGITransport(Tenants(app("root"), {"a": app("a"), "b.c": app("b.c")}))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            for path in ("/x", "/domains/a/x/y", "/domains/b.c/", "/domains/a", "/domains/%61/x", "/domains/a%2fx"):
                await client.get(path)

    asyncio.run(ask())
    assert seen == [
        ("root", "/x", ""),
        ("a", "/x/y", "/domains/a"),
        ("b.c", "/", "/domains/b.c"),
        ("root", "/domains/a", ""),
        ("a", "/x", "/domains/a"),
        ("a", "/x", "/domains/a"),
    ]
