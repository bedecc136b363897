"""What the gateway measured stays as it measured it: applications neither say it nor take it back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bondhu.domains.assistant.feedback import MEASURED, SIGNALS
from bondhu.errors import NotAllowed
from bondhu.serve.decide import Decider, Said
from bondhu.serve.hearing import hear
from bondhu.serve.parts import Webhook
from bondhu.serve.writing.thread import ThreadWriter
from tests.gateway.place import folder, served
from tests.gateway.scripted import model, whole
from tests.service.shop import CONTEXT, decider
from tests.service.test_webhooks import KEY, NOW, PATH, signed
from tests.service.web import opened


def test_every_signal_of_the_gateway_is_refused_from_outside_and_so_is_taking_it_back(tmp_path: Path) -> None:
    with model() as tiny, served(folder(tmp_path, {"local": tiny})) as one:
        tiny.plays(whole("Five."))
        _, _, body = one.ask()
        identity = body["id"]
        before = one.facts(identity)[1]
        row = next(each for each in one.app.log.find(identity.removeprefix("chatcmpl-"))[1] if each.signal == "cost")
        said: list[dict[str, Any]] = [{"signal": name, "value": 1.0} for name in sorted(MEASURED)]
        said += [{"signal": "like", "value": value, "replaces": row.id} for value in (None, 1.0)]
        for each in said:
            status, _, content = one.post("/v1/feedback", {"decision_id": identity, **each})
            told = json.loads(content)
            assert (status, told["code"]) == (403, "not_allowed")
            assert "measured by this server alone" in told["detail"]
            assert told["field"] == ("replaces" if "replaces" in each else "signal")
        many = {"feedback": [{"decision_id": identity, **each} for each in said]}
        results = json.loads(one.post("/v1/feedback/batch", many)[2])["results"]
        assert [each["status"] for each in results] == ["refused"] * len(said)
        assert one.facts(identity)[1] == before
        for signal in ("like", "retry"):  # an application has a button "again", too
            assert one.post("/v1/feedback", {"decision_id": identity, "signal": signal})[0] == 200


@pytest.fixture
def measuring() -> Decider:
    one = decider(now=lambda: NOW)
    one.own = {"watched"}
    return one


async def streamed(one: Decider, said: list[Said]) -> list[str]:
    """What becomes of messages of a stream."""
    writer = ThreadWriter(one.deployment.log)
    await writer.start()
    heard = await hear(one, writer, said)
    await writer.close()
    return [each.status for each in heard]


def test_so_it_is_in_a_program_from_a_webhook_and_from_a_stream(measuring: Decider) -> None:
    for client in opened(measuring, webhook=Webhook(KEY)):
        made = client.post("/v1/decide", {"context": CONTEXT}).json()["id"]
        own = measuring.measured(made, [("watched", 0.5)], NOW)
        measuring.commit([], own)
        said = [Said(made, "watched", 1.0), Said(made, "like", None, replaces=own[0].id)]
        body = json.dumps({"feedback": [{"decision_id": made, "signal": "watched"}]}).encode()
        assert client.post(PATH, body, **signed(body)).json()["results"][0]["status"] == "refused"
        assert client.post("/v1/feedback", {"decision_id": made, "signal": "watched"}).status_code == 403
        taken_back = {"decision_id": made, "signal": "like", "value": None, "replaces": own[0].id}
        assert client.post("/v1/feedback", taken_back).status_code == 403
        for each in said:
            with pytest.raises(NotAllowed, match="'watched' is measured by this server alone"):
                measuring.hear([each])
        assert asyncio.run(streamed(measuring, [*said, Said(made, "like")])) == ["refused", "refused", "stored"]
        found = measuring.deployment.log.find(made)
        assert found is not None
        assert [each.signal for each in found[1]] == ["watched", "like"]


def test_what_is_measured_is_declared_without_weight() -> None:
    assert {name: SIGNALS[name].weight for name in MEASURED} == dict.fromkeys(MEASURED, 0.0)
