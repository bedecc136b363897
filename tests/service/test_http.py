"""The HTTP interface: statuses, shapes, retries, hostile input."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bondhu.serve.decide import Decider
from bondhu.serve.ids import Ids
from bondhu.serve.replies import LARGEST_BODY
from tests.service.shop import CONTEXT, decider
from tests.service.web import TRIGGER, Client, error, opened, stored


@pytest.fixture
def one() -> Decider:
    return decider()


@pytest.fixture
def client(one: Decider) -> Iterator[Client]:
    yield from opened(one)


# --------------------------------------------------------------------------------------------------------------- decide


def test_a_decision_is_logged_before_it_is_answered(client: Client, one: Decider) -> None:
    response = client.post("/v1/decide", {"context": CONTEXT, "user": "ann"})
    assert response.status_code == 200
    answer = response.json()
    assert answer == {"id": answer["id"], "action": "blue", "probability": 1.0, "version": "baseline"}
    found = one.deployment.log.find(answer["id"])
    assert found is not None
    assert found[0].context == CONTEXT


def test_a_batch_is_decided_in_order(client: Client, one: Decider) -> None:
    requests = [{"context": {**CONTEXT, "age": age}, "id": f"d{age}"} for age in range(100)]
    response = client.post("/v1/decide/batch", {"requests": requests})
    assert [each["id"] for each in response.json()["decisions"]] == [f"d{age}" for age in range(100)]
    assert stored(one) == 100
    assert client.post("/v1/decide/batch", {"requests": []}).json() == {"decisions": []}


def test_a_batch_with_a_bad_request_stores_nothing_and_names_it(client: Client, one: Decider) -> None:
    bad = {"requests": [{"context": CONTEXT}, {"context": {**CONTEXT, "mood": "hapy"}}]}
    told = error(client.post("/v1/decide/batch", bad), 422)
    assert (told["field"], told["value"], told["fix"]) == ("requests[1].context.mood", "hapy", "Did you mean 'happy'?")
    assert stored(one) == 0


def test_a_retry_gets_the_same_answer_and_another_request_a_conflict(client: Client, one: Decider) -> None:
    body = {"context": CONTEXT, "id": "order-1"}
    assert client.post("/v1/decide", body).json() == client.post("/v1/decide", body).json()
    told = error(client.post("/v1/decide", {**body, "context": {**CONTEXT, "age": 1}}), 409)
    assert (told["code"], told["value"]) == ("duplicate_id", "order-1")
    assert stored(one) == 1


def test_fifty_at_once_are_each_logged_once(client: Client, one: Decider) -> None:
    calls = [("POST", "/v1/decide", {"context": CONTEXT, "id": f"d{number % 40}"}) for number in range(50)]
    answers = client(*calls)
    assert {each.status_code for each in answers} == {200}
    assert len({each.json()["id"] for each in answers}) == 40
    assert stored(one) == 40


def test_one_conflict_among_many_at_once_fails_alone(client: Client, one: Decider) -> None:
    client.post("/v1/decide", {"context": CONTEXT, "id": "d7"})
    calls = [("POST", "/v1/decide", {"context": {**CONTEXT, "age": 2}, "id": f"d{number}"}) for number in range(20)]
    answers = client(*calls)
    assert [each.status_code for each in answers] == [409 if number == 7 else 200 for number in range(20)]
    assert stored(one) == 20


# ------------------------------------------------------------------------------------------------------------- feedback


def test_feedback_is_stored_and_shown_in_the_audit_record(client: Client) -> None:
    made = client.post("/v1/decide", {"context": CONTEXT}).json()["id"]
    response = client.post("/v1/feedback", {"decision_id": made, "signal": "watched", "value": 0.5, "id": "w1"})
    assert (response.status_code, response.json()) == (200, {"id": "w1", "decision_id": made, "status": "stored"})
    audit = client.get(f"/v1/decisions/{made}").json()
    assert audit["decision"]["id"] == made
    assert audit["decision"]["allowed"] == ["red", "blue", "green"]
    assert [(each["action"], each["probability"], each["value"]) for each in audit["candidates"]] == [
        ("red", 0.0, 1.0),
        ("blue", 1.0, 3.0),
        ("green", 0.0, 2.0),
    ]
    assert (audit["explored"], audit["replayed"]) == (False, True)
    assert [(each["id"], each["value"]) for each in audit["feedback"]] == [("w1", 0.5)]


def test_early_feedback_waits_and_then_belongs_to_its_decision(client: Client) -> None:
    early = Ids()(1, time.time())[0]
    response = client.post("/v1/feedback", {"decision_id": early, "signal": "like", "id": "f1"})
    assert (response.status_code, response.json()["status"]) == (202, "waiting")
    assert error(client.get(f"/v1/decisions/{early}"), 404)["value"] == early
    client.post("/v1/decide", {"context": CONTEXT, "id": early})
    assert [each["id"] for each in client.get(f"/v1/decisions/{early}").json()["feedback"]] == ["f1"]


def test_feedback_on_an_unknown_decision_is_not_found_and_not_stored(client: Client, one: Decider) -> None:
    told = error(client.post("/v1/feedback", {"decision_id": "order-9", "signal": "like"}), 404)
    assert told["detail"] == "No decision 'order-9'."
    assert told["code"] == "unknown_name"
    client.post("/v1/decide", {"context": CONTEXT, "id": "order-9"})
    assert one.explain("order-9").feedback == []


def test_a_batch_of_feedback_stores_the_good_and_says_why_not_the_rest(client: Client, one: Decider) -> None:
    made = client.post("/v1/decide", {"context": CONTEXT}).json()["id"]
    client.post("/v1/feedback", {"decision_id": made, "signal": "like", "id": "f1"})
    said = [
        {"decision_id": made, "signal": "like", "id": "f1"},
        {"decision_id": made, "signal": "lik"},
        {"decision_id": "order-9", "signal": "like"},
        {"decision_id": made, "signal": "watched", "value": 0.5, "id": "f1"},
        {"decision_id": made, "signal": "watched", "value": 0.5, "id": "f2"},
        {"decision_id": Ids()(1, time.time())[0], "signal": "like"},
    ]
    results = client.post("/v1/feedback/batch", {"feedback": said}).json()["results"]
    assert [each["status"] for each in results] == ["stored", "refused", "refused", "refused", "stored", "waiting"]
    assert [each.get("error", {}).get("code") for each in results[1:4]] == [
        "invalid_input",
        "unknown_name",
        "duplicate_id",
    ]
    assert results[1]["error"]["fix"] == "Did you mean 'like'?"
    assert [each["id"] for each in one.explain(made).feedback] == ["f1", "f2"]


def test_feedback_is_taken_back_with_null(client: Client, one: Decider) -> None:
    made = client.post("/v1/decide", {"context": CONTEXT}).json()["id"]
    client.post("/v1/feedback", {"decision_id": made, "signal": "like", "id": "f1"})
    assert client.post(
        "/v1/feedback", {"decision_id": made, "signal": "like", "value": None, "replaces": "f1"}
    ).is_success
    assert len(one.deployment.log.read("shop", 0, 1e12).feedback_value) == 0
    assert (
        error(client.post("/v1/feedback", {"decision_id": made, "signal": "like", "value": None}), 422)["field"]
        == "replaces"
    )


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("path", "body", "status", "field", "fix"),
    [
        ("/v1/decide", b"", 400, None, "JSON"),
        ("/v1/decide", b"{", 400, None, "JSON"),
        ("/v1/decide", b'{"context": {"age": NaN}}', 400, None, "JSON"),
        ("/v1/decide", b'{"context": {"mood": "\xff"}}', 400, None, "JSON"),
        ("/v1/decide", b'{"context": {"mood": "\\ud800"}}', 400, None, "JSON"),
        ("/v1/decide", b'{"context": {"a": ' + b"[" * 200_000, 400, None, "JSON"),
        ("/v1/decide", b'{"context": ' + b'{"a":' * 200_000, 400, None, "JSON"),
        ("/v1/decide", {}, 422, "context", "'context'"),
        ("/v1/decide", [], 422, None, "openapi"),
        ("/v1/decide", {"context": []}, 422, "context", "openapi"),
        ("/v1/decide", {"contxt": CONTEXT}, 422, "contxt", "'context'"),
        ("/v1/decide", {"context": CONTEXT, "alowed": ["red"]}, 422, "alowed", "'allowed'"),
        ("/v1/decide", {"context": CONTEXT, "id": 5}, 422, "id", "openapi"),
        ("/v1/decide", {"context": CONTEXT, "id": ""}, 422, "id", "128"),
        ("/v1/decide", {"context": CONTEXT, "id": "a\u0000b"}, 422, "id", "printable"),
        ("/v1/decide", {"context": CONTEXT, "user": "x" * 200}, 422, "user", "128"),
        ("/v1/decide", {"context": {**CONTEXT, "mod": 1}}, 422, "mod", ""),
        ("/v1/decide", {"context": {**CONTEXT, "age": 1e300}}, 422, "age", "100"),
        ("/v1/decide", {"context": {**CONTEXT, "age": 10**400}}, 422, "age", "100"),
        ("/v1/decide", {"context": {**CONTEXT, "age": "30; DROP TABLE decisions"}}, 422, "age", "100"),
        ("/v1/decide", {"context": {**CONTEXT, "mood": ["happy"]}}, 422, "mood", ""),
        ("/v1/decide", {"context": {**CONTEXT, "mood": None}}, 422, "mood", ""),
        ("/v1/decide", {"context": CONTEXT, "allowed": ["gren"]}, 404, "allowed", "'green'"),
        ("/v1/decide", {"context": CONTEXT, "allowed": []}, 422, "allowed", "at least one"),
        (
            "/v1/decide/batch",
            {"requests": [{"context": {**CONTEXT, "age": 10**400}}] * 2},
            422,
            "requests[0].context.age",
            "100",
        ),
        ("/v1/decide/batch", {"requests": [{"contxt": {}}]}, 422, "requests[0].contxt", "'context'"),
        ("/v1/decide/batch", {"requests": [{"id": "a"}]}, 422, "requests[0].context", "'context'"),
        ("/v1/decide/batch", {"request": []}, 422, "request", "'requests'"),
        ("/v1/decide/batch", {"requests": [{"context": CONTEXT}] * 1001}, 422, "requests", "1000"),
        ("/v1/feedback", {"decision_id": "d", "signal": "lik"}, 422, "signal", "'like'"),
        ("/v1/feedback", {"decision_id": "d", "signal": "like", "value": 2}, 422, "value", "0 to 1"),
        ("/v1/feedback", {"decision_id": "d", "signal": "like", "value": "1"}, 422, "value", "openapi"),
        ("/v1/feedback", {"decision_id": "d", "signal": "like", "valu": 1}, 422, "valu", "'value'"),
        ("/v1/feedback", {"signal": "like"}, 422, "decision_id", "decision_id"),
        ("/v1/feedback", {"decision_id": "d\n", "signal": "like"}, 422, "decision_id", "printable"),
        ("/v1/feedback/batch", {"feedback": [{"decision_id": "d", "signal": "like"}] * 1001}, 422, "feedback", "1000"),
    ],
)
def test_a_bad_body_gets_one_clear_error(  # noqa: PLR0917
    client: Client, one: Decider, path: str, body: Any, status: int, field: str | None, fix: str
) -> None:
    told = error(client.post(path, body), status)
    assert told["field"] == field
    assert fix in told["fix"]
    assert stored(one) == 0


def test_a_body_over_the_limit_is_refused(client: Client) -> None:
    body = json.dumps({"context": {**CONTEXT, "mood": "x" * LARGEST_BODY}}).encode()
    assert error(client.post("/v1/decide", body), 413)["code"] == "too_large"


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/decide", 405, "POST"),
        ("DELETE", "/v1/feedback/batch", 405, "POST"),
        ("POST", "/health", 405, "GET"),
        ("GET", TRIGGER, 405, "POST"),
        ("GET", "/v1/decid", 404, None),
        ("GET", "/../../etc/passwd", 404, None),
    ],
)
def test_other_routes_and_methods_are_refused_in_the_same_shape(
    client: Client, method: str, path: str, status: int, allow: str | None
) -> None:
    response = client((method, path))[0]
    assert error(response, status)["code"] == ("not_found" if status == 404 else "method_not_allowed")
    assert response.headers.get("allow") == allow


@pytest.mark.parametrize(
    "identity", ["../../etc/passwd", "'; DROP TABLE decisions; --", "%00", "a/b/c", "😀", "%ff%fe"]
)
def test_hostile_ids_are_looked_up_and_not_found(client: Client, identity: str) -> None:
    assert error(client.get("/v1/decisions/" + identity.replace("../", "%2e%2e%2f")), 404)["code"] == "unknown_name"


@pytest.mark.parametrize("identity", ["../../etc/passwd", "'; DROP TABLE decisions; --", "a/b", "😀", "x" * 128])
def test_any_printable_text_can_be_an_id(client: Client, identity: str) -> None:
    assert client.post("/v1/decide", {"context": CONTEXT, "id": identity, "user": identity}).json()["id"] == identity
    assert client.post("/v1/feedback", {"decision_id": identity, "signal": "like", "id": identity}).status_code == 200
    path = "/v1/decisions/" + "".join(f"%{byte:02x}" for byte in identity.encode())
    assert client.get(path).json()["decision"]["id"] == identity


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PARTS = st.dictionaries(
    st.sampled_from(["context", "id", "session", "user", "allowed", "decision_id", "signal", "value"]), JSON
)


@given(body=JSON | PARTS | st.builds(lambda parts, seen: {**parts, "context": {**CONTEXT, "age": seen}}, PARTS, JSON))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_json_makes_the_server_fail(client: Client, body: Any) -> None:
    answers = client(
        *(("POST", path, json.dumps(body).encode()) for path in ("/v1/decide", "/v1/feedback", "/v1/decide/batch"))
    )
    assert all(each.status_code in (200, 404, 409, 422) for each in answers), [each.text for each in answers]
