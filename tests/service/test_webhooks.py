"""Feedback that another service signs: who sent it is checked, and what is delivered again counts once."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from bondhu.access.signatures import key_of, signature, verified
from bondhu.errors import SettingsInvalid, Unauthorized
from bondhu.serve.decide import Decider
from bondhu.serve.parts import Webhook
from tests.service.shop import CONTEXT, decider
from tests.service.web import Client, error, opened

KEY = b"0123456789abcdef"
NOW = 1_700_000_000.0  # seconds
PATH = "/v1/webhooks/feedback"


@pytest.fixture
def one() -> Decider:
    return decider(now=lambda: NOW)


@pytest.fixture
def client(one: Decider) -> Iterator[Client]:
    yield from opened(one, webhook=Webhook(KEY))


def signed(body: bytes, identity: str = "msg_1", at: float = NOW, key: bytes = KEY) -> dict[str, str]:
    time = str(int(at))
    return {
        "webhook-id": identity,
        "webhook-timestamp": time,
        "webhook-signature": signature(key, identity, time, body),
    }


def likes(client: Client, count: int = 1) -> bytes:
    made = [client.post("/v1/decide", {"context": CONTEXT}).json()["id"] for _ in range(count)]
    return json.dumps({"feedback": [{"decision_id": each, "signal": "like"} for each in made]}).encode()


def test_the_signature_is_that_of_the_published_example() -> None:
    """Standard Webhooks, the example of its specification."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    seal = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert seal == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_signed_message_is_heard_and_the_same_again_counts_once(client: Client, one: Decider) -> None:
    body = likes(client, 2)
    for _ in range(3):
        answer = client.post(PATH, body, **signed(body))
        assert answer.status_code == 200
        assert [each["status"] for each in answer.json()["results"]] == ["stored", "stored"]
    assert [each["id"] for each in answer.json()["results"]] == ["webhook:msg_1:0", "webhook:msg_1:1"]
    assert one.deployment.log.summary("shop").feedback == 2


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": str(int(NOW) + 1)},
        {"webhook-timestamp": "now"},
    ],
)
def test_whatever_was_changed_the_refusal_is_the_same(client: Client, one: Decider, change: dict[str, str]) -> None:
    body = likes(client)
    told = error(client.post(PATH, body, **{**signed(body), **change}), 401)
    assert told["detail"] == "The webhook's signature is not right."
    assert one.deployment.log.summary("shop").feedback == 0


def test_an_old_message_is_refused_and_a_changed_body_too(client: Client) -> None:
    body = likes(client)
    told = error(client.post(PATH, body, **signed(body, at=NOW - 301)), 401)
    assert "too long ago" in told["detail"]
    assert error(client.post(PATH, body + b" ", **signed(body)), 401)["detail"].endswith("is not right.")
    assert client.post(PATH, body, **signed(body, at=NOW - 299)).status_code == 200


def test_one_of_several_signatures_is_enough_while_a_key_is_changed(client: Client) -> None:
    body = likes(client)
    old, new = signed(body, key=b"the old key of it"), signed(body)
    both = {**new, "webhook-signature": f"{old['webhook-signature']} {new['webhook-signature']}"}
    assert client.post(PATH, body, **both).status_code == 200


def test_what_is_refused_does_not_keep_the_rest_from_being_stored(client: Client, one: Decider) -> None:
    rows: list[dict[str, Any]] = json.loads(likes(client))["feedback"]
    body = json.dumps({"feedback": [{**rows[0], "signal": "lik"}, rows[0]]}).encode()
    told = client.post(PATH, body, **signed(body)).json()["results"]
    assert [each["status"] for each in told] == ["refused", "stored"]
    assert told[0]["error"]["fix"] == "Did you mean 'like'?"
    assert one.deployment.log.summary("shop").feedback == 1


def test_without_a_key_there_is_no_such_route(one: Decider) -> None:
    clients = opened(one)
    assert next(clients).post(PATH, b"{}", **signed(b"{}")).status_code == 404
    next(clients, None)


def test_a_key_is_a_text_or_base64_behind_its_mark() -> None:
    assert key_of("plain text of some length") == b"plain text of some length"
    assert key_of(f"whsec_{b64encode(KEY).decode()}") == KEY
    with pytest.raises(SettingsInvalid, match="not Base64"):
        key_of("whsec_*")
    for short in ("", "whsec_", "plain text", "whsec_MfKQ", f"whsec_{b64encode(KEY[1:]).decode()}"):
        with pytest.raises(SettingsInvalid, match=r"has \d+ bytes, and needs 16") as caught:
            key_of(short)
        assert caught.value.field == "webhooks.key"
    for timestamp in ("", "²", "-1", "1e9"):
        headers = {**signed(b""), "webhook-timestamp": timestamp}
        headers["webhook-signature"] = signature(KEY, headers["webhook-id"], timestamp, b"")
        with pytest.raises(Unauthorized):
            verified(headers, b"", KEY, now=NOW, tolerance=300.0)
