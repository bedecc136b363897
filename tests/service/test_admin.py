"""The cold routes: the administrator's, health, and the OpenAPI document."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bondhu.access.administrator import check_admin_key, same_key
from bondhu.domains import declared
from bondhu.errors import InvalidInput, SettingsInvalid, TrainingInProgress
from bondhu.ports import Event
from bondhu.serve.decide import Decider
from bondhu.serve.ids import Ids
from tests.service.shop import CONTEXT, decider, version
from tests.service.web import ADMIN, JOB, KEY, SYSTEM, TRIGGER, Client, Desk, error, opened


@pytest.fixture
def one() -> Decider:
    return decider()


@pytest.fixture
def client(one: Decider) -> Iterator[Client]:
    yield from opened(one)


def test_a_training_runs_off_the_event_loop() -> None:
    desk = Desk()
    for client in opened(decider(), desk):
        response = client.post(TRIGGER, None, **ADMIN)
        assert (response.status_code, response.json()) == (200, {"status": "completed", "average_reward": 0.5})
    assert desk.threads != []
    assert not {"MainThread", "asyncio_0"} & set(desk.threads)


def test_a_second_training_at_once_is_a_conflict() -> None:
    for client in opened(decider(), Desk(TrainingInProgress())):
        assert error(client.post(TRIGGER, None, **ADMIN), 409)["code"] == "training_in_progress"


def test_what_nobody_foresaw_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    for client in opened(decider(), Desk(RuntimeError("the password is swordfish"))):
        told = error(client.post(TRIGGER, None, **ADMIN), 500)
        assert told["code"] == "internal_error"
        assert "swordfish" not in str(told)
    assert "swordfish" in caplog.text


def test_system_health_has_the_scheduled_jobs_and_the_version_in_force(client: Client) -> None:
    body = client.get(SYSTEM, **ADMIN).json()
    assert body["scheduled_jobs"] == [JOB]
    assert (body["status"], body["live_version"], body["database"], body["problem"]) == ("ok", "baseline", "ok", None)
    assert body["waiting_to_be_written"] == 0


@pytest.mark.parametrize("given_key", [None, "", "wrong", KEY + "x", KEY[:-1], "ключ"])
@pytest.mark.parametrize(("method", "path"), [("POST", TRIGGER), ("GET", SYSTEM)])
def test_without_the_key_nothing_is_done_or_revealed(
    given_key: str | None, method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk()
    for client in opened(decider(), desk):
        headers = {} if given_key is None else {"X-Admin-Key": given_key.encode()}
        told = error(client((method, path, None, headers))[0], 401)
        assert KEY not in str(told)
    assert desk.threads == []
    assert "Refused with 401" in caplog.text
    assert KEY not in caplog.text
    assert not given_key or given_key not in caplog.text


def test_a_server_outside_of_development_needs_a_key_of_its_own() -> None:
    seed = "admin-dev-key-change-in-production"
    for key in (seed, "", "short", " " * 40):
        with pytest.raises(SettingsInvalid) as caught:
            check_admin_key(key, "production")
        assert "BONDHU_SERVER__ADMIN_KEY" in caught.value.fix
        assert seed not in str(caught.value)
    check_admin_key(seed, "development")
    check_admin_key("0123456789abcdef", "production")
    assert same_key("0123456789abcdef", "0123456789abcdef")
    assert not same_key("", "")


def test_health_needs_no_key_and_tells_a_damaged_version(client: Client, one: Decider) -> None:
    assert client.get("/health").json() == {"status": "ok", "live_version": "baseline", "problem": None}
    one.deployment.registry.add(version("v1"))
    one.deployment.registry.record("shop", Event(1.0, "promoted", "v1", "test", {}))
    one.live.restore = failing
    body = client.get("/health").json()
    assert (body["status"], body["live_version"]) == ("degraded", "baseline")
    assert client.post("/v1/decide", {"context": CONTEXT}).json()["version"] == "baseline"


def failing(name: str | None) -> Any:
    raise InvalidInput(f"{name} cannot be restored.")


def test_the_root_says_what_this_is(client: Client) -> None:
    body = client.get("/").json()
    assert (body["name"], body["domain"]) == ("bondhu", "shop")
    for link in ("openapi", "health"):
        assert client.get(body["links"][link]).status_code == 200


# -------------------------------------------------------------------------------------------------------------- openapi


def test_the_document_covers_every_route_and_its_references_resolve(client: Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert set(document["paths"]) == {
        "/",
        "/health",
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/decide",
        "/v1/decide/batch",
        "/v1/feedback",
        "/v1/feedback/batch",
        "/v1/decisions/{decision_id}",
        TRIGGER,
        SYSTEM,
        "/api/v1/admin/releases",
        "/api/v1/admin/releases/{action}",
        "/api/v1/admin/verdicts",
        "/api/v1/admin/keys",
        "/api/v1/admin/keys/{identity}",
        "/api/v1/admin/keys/{identity}/rotate",
        "/api/v1/admin/audit",
        "/v1/users/{user}",
    }
    references = [each.split("/")[-1] for each in found(document, "$ref")]
    assert references
    assert set(references) <= set(document["components"]["schemas"])
    assert document["components"]["securitySchemes"]["AdminKey"]["name"] == "X-Admin-Key"
    operations = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(operations)) == len(operations)


def test_every_example_of_the_document_works_when_sent(client: Client) -> None:
    document = client.get("/openapi.json").json()
    sent = alike = 0
    key = client.post("/api/v1/admin/keys", {"name": "a test", "role": "app"}, **ADMIN).json()["key"]["id"]
    for path, operations in document["paths"].items():
        if "requestBody" in operations.get("post", {}):
            body = operations["post"]["requestBody"]["content"]["application/json"]["example"]
            body = json.loads(
                json.dumps(body).replace("0199b0a4-7c00-7000-8000-000000000001", Ids()(1, time.time())[0])
            )
            response = client.post(path.replace("{action}", "stop").replace("{identity}", key), body, **ADMIN)
            sent += 1
            assert response.is_success, response.text
            answers = operations["post"]["responses"][str(response.status_code)].get("content", {})
            if "example" in answers.get("application/json", {}):
                assert shape(response.json()) == shape(answers["application/json"]["example"])
                alike += 1
    assert (sent, alike) == (7, 6)


@pytest.mark.parametrize("kind", ["category", "number", "text", "vector"])
def test_the_example_context_is_one_that_the_domain_accepts(kind: str) -> None:
    from bondhu.serve.openapi import example_context

    fields = {
        "category": {"values": ["a", "b"]},
        "number": {"range": [5, 9], "bins": 2},
        "text": {},
        "vector": {"size": 3},
    }
    domain = declared.from_table(
        {
            "domain": {"name": "d"},
            "context": {"x": {"kind": kind, **fields[kind]}},
            "actions": {"names": ["a", "b"]},
            "reward": {"signals": {"like": 1.0}},
        }
    )
    assert len(domain.columns([json.dumps(example_context(domain)).encode()])["x"]) == 1


def found(value: Any, key: str) -> Iterator[Any]:
    """Every value under this key, however deep."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inside:
        if name == key:
            yield each
        else:
            yield from found(each, key)


def shape(value: Any) -> Any:
    """A JSON value without its content."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value).__name__
