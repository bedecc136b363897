"""Calls of Azure AI Personalizer: every field, as its public documents and its clients have them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gymnasium.spaces import Box

from bondhu.app import App
from bondhu.domains.ranking import template
from bondhu.errors import InvalidInput, SettingsInvalid
from bondhu.log.join import join
from bondhu.registry.lifecycle import APPLICATION, EXPLORED
from bondhu.serve.personalizer import pending
from bondhu.serve.personalizer.configuration import duration, seconds, shown
from bondhu.server.configuring import kept_of
from bondhu.types import Decision
from tests.documents import environment, free_port, wait_for
from tests.service.eater import LIKED, MEALS, MINUTE, asked, deployment
from tests.service.stand import HOUR, Clock
from tests.service.web import ADMIN, Client, opened

V1, V2 = "/personalizer/v1.0", "/personalizer/v1.1-preview.1"
ABOUT = [{"timeOfDay": "noon"}, {"device": {"mobile": True}}]
RANK: dict[str, Any] = {"contextFeatures": ABOUT, "actions": MEALS}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> App:
    return deployment(tmp_path, clock)


@pytest.fixture
def client(app: App) -> Iterator[Client]:
    yield from opened(app.decider())


def trouble(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error of a response, after checking that it has the service's shape."""
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json()
    assert set(body) == {"error"}
    assert body["error"]["code"] == code
    assert body["error"]["message"]
    return body["error"]  # type: ignore[no-any-return]


def logged(app: App, name: str) -> Decision:
    found = app.deployment.log.find(name)
    assert found is not None
    return found[0]


# ----------------------------------------------------------------------------------------------------------------- rank


@pytest.mark.parametrize("version", ["/v1.0", "/v1.1-preview.1", "/v1.1-preview.2", "/v1.1-preview.3", ""])
def test_rank_answers_in_every_version_of_the_service(client: Client, version: str) -> None:
    answer = client.post(f"/personalizer{version}/rank", {**RANK, "eventId": "e1"})
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == {"ranking", "eventId", "rewardActionId"}
    assert body["eventId"] == "e1"
    assert {each["id"] for each in body["ranking"]} == {each["id"] for each in MEALS}
    assert sum(each["probability"] for each in body["ranking"]) == pytest.approx(1.0)
    assert body["ranking"][0]["id"] == body["rewardActionId"]


def test_what_is_listed_first_is_the_rule_and_exploration_is_on_top_of_it(client: Client) -> None:
    chances = {each["id"]: each["probability"] for each in client.post(f"{V1}/rank", RANK).json()["ranking"]}
    assert chances == pytest.approx({"pasta": 0.85, "ice cream": 0.05, "juice": 0.05, "salad": 0.05})


def test_excluded_actions_keep_their_place_with_probability_0(app: App, client: Client) -> None:
    body = client.post(f"{V1}/rank", {**RANK, "eventId": "x", "excludedActions": ["pasta", "juice", "other"]}).json()
    assert [body["ranking"][0], body["ranking"][2]] == [
        {"id": "pasta", "probability": 0.0},
        {"id": "juice", "probability": 0.0},
    ]
    left = {each["id"]: each["probability"] for each in body["ranking"] if each["probability"]}
    assert left == pytest.approx({"ice cream": 0.9, "salad": 0.1})
    assert logged(app, "x").allowed == ("actions-2", "actions-4")


def test_the_log_holds_what_was_sent_and_the_probability_that_was_told(app: App, client: Client) -> None:
    body = client.post(f"{V1}/rank", {**RANK, "eventId": "e"}).json()
    made = logged(app, "e")
    assert made.context == {"contextFeatures": ABOUT, "actions": MEALS}
    taken = int(made.action.removeprefix("actions-")) - 1
    assert MEALS[taken]["id"] == body["rewardActionId"]
    assert made.probability == body["ranking"][0]["probability"]
    audit = client.get("/v1/decisions/e", **ADMIN).json()
    assert audit["replayed"]
    assert audit["decision"]["context"]["actions"][taken]["id"] == body["rewardActionId"]


def test_a_retry_gets_the_first_answer_and_another_request_under_its_id_is_refused(client: Client) -> None:
    first = client.post(f"{V1}/rank", {**RANK, "eventId": "e"}).json()
    assert client.post(f"{V1}/rank", {**RANK, "eventId": "e"}).json() == first
    trouble(client.post(f"{V1}/rank", {**RANK, "contextFeatures": [], "eventId": "e"}), 409, "InvalidRankRequest")


def test_event_ids_of_any_length_and_letters_work(app: App, client: Client) -> None:
    for name in ("x" * 256, "naïve/路", "tab\tin it"):
        assert client.post(f"{V1}/rank", {**RANK, "eventId": name}).json()["eventId"] == name
        assert logged(app, pending.logged_as(name)).context["actions"] == MEALS
    assert client.post(f"{V1}/events/{'x' * 256}/reward", {"value": 1}).status_code == 204
    trouble(client.post(f"{V1}/rank", {**RANK, "eventId": "x" * 257}), 400, "InvalidRankRequest")


@pytest.mark.parametrize(
    ("change", "target"),
    [
        ({"actions": []}, "actions"),
        ({"actions": [{"id": f"a{n}"} for n in range(51)]}, "actions"),
        ({"actions": [{"id": "a", "features": ["x"]}]}, "actions[0].features[0]"),
        ({"actions": [{"id": "a"}, {"id": "a"}]}, "actions"),
        ({"actions": [{"id": "a" * 257}]}, "actions[0].id"),
        ({"actions": [{"features": []}]}, "actions[0].id"),
        ({"excludedActions": [each["id"] for each in MEALS]}, "excludedActions"),
        ({"contextFeatures": {"a": 1}}, "contextFeatures"),
        ({"deferActivation": "yes"}, "deferActivation"),
    ],
)
def test_requests_that_make_no_sense_are_refused_with_the_field(
    client: Client, change: dict[str, Any], target: str
) -> None:
    assert trouble(client.post(f"{V1}/rank", {**RANK, **change}), 400, "InvalidRankRequest")["target"] == target


def test_other_errors_have_the_services_shape_on_these_routes_only(client: Client) -> None:
    trouble(client.post(f"{V1}/rank", b"{"), 400, "InvalidRankRequest")
    trouble(client.post("/personalizer/v3.0/rank", RANK), 404, "ResourceNotFound")
    trouble(client.post(f"{V1}/multislot/rank", RANK), 404, "ResourceNotFound")
    trouble(client.get(f"{V1}/configurations/service"), 401, "401")
    assert client.post("/v1/decide", b"{").headers["content-type"] == "application/problem+json"


# --------------------------------------------------------------------------------------------------------------- reward


def test_rewards_from_minus_1_to_1_are_logged_and_others_refused(app: App, client: Client) -> None:
    client.post(f"{V1}/rank", {**RANK, "eventId": "e"})
    for value in (-1, 0.25, 1):
        assert client.post(f"{V1}/events/e/reward", {"value": value}).content == b""
    found = app.deployment.log.find("e")
    assert found is not None
    assert [each.value for each in found[1]] == [-1.0, 0.25, 1.0]
    for value in (1.01, -2, "1", None):
        trouble(client.post(f"{V1}/events/e/reward", {"value": value}), 400, "InvalidRewardRequest")
    trouble(client.post(f"{V1}/events/never/reward", {"value": 1}), 404, "ResourceNotFound")


def test_a_reward_sent_again_by_the_client_counts_once(app: App, client: Client) -> None:
    client.post(f"{V1}/rank", {**RANK, "eventId": "e"})
    again = {"x-ms-client-request-id": "9f1c"}
    for value in (0.5, 0.5, 0.75):
        assert client.post(f"{V1}/events/e/reward", {"value": value}, **again).status_code == 204
    found = app.deployment.log.find("e")
    assert found is not None
    assert sorted(each.value or 0.0 for each in found[1]) == [0.5, 0.75]


@pytest.mark.parametrize(("aggregate", "worth"), [("first", 0.5), ("sum", 0.75)])
def test_several_rewards_count_as_the_first_or_as_their_sum(
    tmp_path: Path, clock: Clock, aggregate: str, worth: float
) -> None:
    app = deployment(tmp_path, clock, reward={"aggregate": aggregate, "default": -0.5})
    for client in opened(app.decider()):
        for name in ("silent", "said", "late"):
            client.post(f"{V1}/rank", {**RANK, "eventId": name})
        for value in (0.5, 0.25):
            client.post(f"{V1}/events/said/reward", {"value": value})
            clock.now += MINUTE
        clock.now += HOUR
        client.post(f"{V1}/events/late/reward", {"value": 1})
    records = app.deployment.log.read("personalizer", 0, 1e12)
    batch = join(app.domain, records, start=0.0, end=clock.now, observes=Box).batch
    assert dict(zip(records.id, batch.reward.tolist(), strict=True)) == {"silent": -0.5, "said": worth, "late": -0.5}


def test_the_aggregation_is_one_of_two(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="aggregate"):
        deployment(tmp_path, Clock(), reward={"aggregate": "mean"})


# ------------------------------------------------------------------------------------------------------------- activate


def test_a_deferred_event_counts_once_it_is_activated_with_what_was_said_before(
    app: App, client: Client, clock: Clock
) -> None:
    ranked = client.post(f"{V1}/rank", {**RANK, "eventId": "d", "deferActivation": True}).json()
    assert app.deployment.log.find("d") is None
    assert client.post(f"{V1}/events/d/reward", {"value": 0.5}).status_code == 204
    clock.now += 5 * MINUTE
    for _ in range(2):
        assert client.post(f"{V1}/events/d/activate").status_code == 204
    made = logged(app, "d")
    assert made.time == clock.now - 5 * MINUTE
    assert made.context["actions"][int(made.action[8:]) - 1]["id"] == ranked["rewardActionId"]
    assert client.get("/v1/decisions/d", **ADMIN).json()["replayed"]
    found = app.deployment.log.find("d")
    assert found is not None
    assert [each.value for each in found[1]] == [0.5]
    assert len(app.deployment.log.read("personalizer", 0, 1e12).id) == 1


def test_a_deferred_event_that_is_not_activated_never_counts(app: App, client: Client, clock: Clock) -> None:
    client.post(f"{V1}/rank", {**RANK, "eventId": "d", "deferActivation": True})
    client.post(f"{V1}/rank", {**RANK, "eventId": "other"})
    client.post(f"{V1}/events/d/reward", {"value": 1})
    clock.now += 11 * MINUTE
    trouble(client.post(f"{V1}/events/d/activate"), 400, "InvalidEventIdToActivate")
    trouble(client.post(f"{V1}/events/never/activate"), 404, "ResourceNotFound")
    assert client.post(f"{V1}/events/other/activate").status_code == 204
    records = app.deployment.log.read("personalizer", 0, 1e12)
    assert (records.id, len(records.feedback_value)) == (["other"], 0)
    assert pending.forget(app.log, "personalizer", clock.now - 10 * MINUTE) == 1
    assert app.deployment.log.find("deferred:d") is None


def test_a_deferred_event_survives_the_death_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "bondhu.toml").write_text(template())
    port = free_port()
    base = f"http://127.0.0.1:{port}{V1}"

    def served() -> subprocess.Popen[bytes]:
        server = subprocess.Popen(
            [sys.executable, "-m", "bondhu", "serve", "--port", str(port)],
            cwd=tmp_path, env=environment(port), stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(f"http://127.0.0.1:{port}/health", server)
        return server

    server = served()
    try:
        ranked = httpx.post(f"{base}/rank", json={**RANK, "eventId": "d", "deferActivation": True}).json()
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        server = served()
        assert httpx.post(f"{base}/events/d/reward", json={"value": 1}).status_code == 204
        assert httpx.post(f"{base}/events/d/activate").status_code == 204
        again = httpx.post(f"{base}/rank", json={**RANK, "eventId": "d"}).json()
    finally:
        server.kill()
        server.wait()
    assert again == ranked


# ----------------------------------------------------------------------------------------------------------- multi-slot


SLOTS = [
    {"id": "main", "features": [{"size": "large"}], "excludedActions": ["juice"], "baselineAction": "salad"},
    {"id": "side", "features": [{"size": "small"}], "baselineAction": "pasta"},
    {"id": "foot", "baselineAction": "juice"},
]
SEVERAL: dict[str, Any] = {**RANK, "slots": SLOTS, "eventId": "m"}


def test_each_slot_gets_another_action_and_is_a_decision_of_one_session(app: App, client: Client) -> None:
    body = client.post(f"{V2}/multislot/rank", SEVERAL).json()
    assert body["eventId"] == "m"
    assert [each["id"] for each in body["slots"]] == ["main", "side", "foot"]
    taken = [each["rewardActionId"] for each in body["slots"]]
    assert len(set(taken)) == 3
    made = [logged(app, name) for name in ("m", "m/side", "m/foot")]
    assert {each.session for each in made} == {"m"}
    assert [len(each.allowed) for each in made] == [3, 3, 2]
    assert made[0].context["actions"][0]["id"] == "salad"
    assert made[0].context["contextFeatures"][-1] == {"slot": {"id": "main", "features": [{"size": "large"}]}}
    assert client.post(f"{V2}/multislot/rank", SEVERAL).json() == body


def test_rewards_of_slots_reach_their_decisions(app: App, client: Client) -> None:
    client.post("/personalizer/multislot/rank", SEVERAL)
    sent = {"reward": [{"slotId": "main", "value": 0.5}, {"slotId": "foot", "value": -1}]}
    assert client.post(f"{V2}/multislot/events/m/reward", sent).status_code == 204
    found = {name: app.deployment.log.find(name) for name in ("m", "m/side", "m/foot")}
    assert {name: [each.value for each in pair[1]] for name, pair in found.items() if pair} == {
        "m": [0.5], "m/side": [], "m/foot": [-1.0],
    }  # fmt: skip
    wrong = {"reward": [{"slotId": "top", "value": 0.5}]}
    trouble(client.post(f"{V2}/multislot/events/m/reward", wrong), 400, "InvalidRewardRequest")
    trouble(client.post(f"{V2}/multislot/events/never/reward", sent), 404, "ResourceNotFound")


def test_slots_are_activated_together(app: App, client: Client) -> None:
    client.post(f"{V2}/multislot/rank", {**SEVERAL, "deferActivation": True})
    sent = {"reward": [{"slotId": "main", "value": 0.5}, {"slotId": "foot", "value": 1}]}
    assert client.post(f"{V2}/multislot/events/m/reward", sent).status_code == 204
    assert app.deployment.log.read("personalizer", 0, 1e12).id == []
    for _ in range(2):
        assert client.post(f"{V2}/multislot/events/m/activate").status_code == 204
    records = app.deployment.log.read("personalizer", 0, 1e12)
    assert records.id == ["m", "m/side", "m/foot"]
    assert records.feedback_value.tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("slots", "target"),
    [
        ([SLOTS[1], SLOTS[1]], "slots[1].id"),
        ([{"id": "a", "baselineAction": "soup"}], "slots[0].baselineAction"),
        ([{**SLOTS[0], "baselineAction": "juice"}], "slots[0].baselineAction"),
        ([SLOTS[1], {"id": "a", "baselineAction": "pasta"}], "slots[1].baselineAction"),
        ([{"id": "a"}], "slots[0].baselineAction"),
        ([], "slots"),
    ],
)
def test_slots_that_make_no_sense_are_refused(client: Client, slots: list[Any], target: str) -> None:
    answer = client.post(f"{V2}/multislot/rank", {**SEVERAL, "slots": slots})
    assert trouble(answer, 400, "InvalidRankRequest")["target"] == target


# -------------------------------------------------------------------------------------------------------- configuration


def test_the_configuration_shows_what_is_in_force(tmp_path: Path, clock: Clock) -> None:
    app = deployment(tmp_path, clock, reward={"wait": 14_400.0, "default": 0.1}, release={"apprentice": True})
    for client in opened(app.decider()):
        body = client.get(f"{V1}/configurations/service", **ADMIN).json()
    assert body == {
        "rewardWaitTime": "PT4H", "defaultReward": 0.1, "rewardAggregation": "earliest", "explorationPercentage": 0.2,
        "modelExportFrequency": "PT0S", "modelRetrainDays": 7, "logMirrorEnabled": False, "logRetentionDays": -1,
        "learningMode": "Apprentice", "isAutoOptimizationEnabled": False,
    }  # fmt: skip


def test_what_is_in_force_may_be_sent_back_and_what_cannot_be_honoured_is_refused(client: Client) -> None:
    path = f"{V1}/configurations/service"
    now = client.get(path, **ADMIN).json()
    assert client(("PUT", path, now, ADMIN))[0].json() == now

    def refused(code: str, **change: Any) -> str:
        return str(trouble(client(("PUT", path, {**now, **change}, ADMIN))[0], 400, code)["message"])

    assert "exploration.rate = 0.3 in" in refused("OperationNotAllowed", explorationPercentage=0.3)
    wait = refused("OperationNotAllowed", rewardWaitTime="PT1H30M", rewardAggregation="sum", learningMode="Apprentice")
    assert 'reward.wait = 5400, reward.aggregate = "sum", release.apprentice = true in bondhu.toml' in wait
    assert "evaluate" in refused("OperationNotAllowed", isAutoOptimizationEnabled=True)
    assert "automatic = false" in refused("OperationNotAllowed", learningMode="LoggingOnly")
    for name, value in (
        ("rewardWaitTime", "10 minutes"), ("rewardWaitTime", "P3D"), ("defaultReward", 2), ("learningMode", "Lazy"),
        ("rewardAggregation", "median"), ("explorationPercentage", 20), ("logRetentionDays", 0), ("other", 1),
    ):  # fmt: skip
        refused("InvalidServiceConfiguration", **{name: value})


def test_the_configuration_tells_the_schedule_and_the_retention(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "bondhu.toml").write_text("")
    app = deployment(tmp_path, clock, store={"retain_days": 90})
    os.utime(tmp_path / "bondhu.toml", (1_700_000_000, 1_700_000_000))
    kept = kept_of(app)
    body = shown(app.decider(), kept)
    assert (body["logRetentionDays"], body["modelExportFrequency"]) == (90, "P1D")
    assert body["lastConfigurationEditDate"] == "2023-11-14T22:13:20.000Z"
    assert kept_of(deployment(tmp_path, clock, schedule={"day_of_week": "mon"})).train_every == 7 * 86_400.0
    assert kept_of(deployment(tmp_path, clock, schedule={"enabled": False})).train_every == 0.0


@pytest.mark.parametrize(
    ("text", "value"), [("PT10M", 600.0), ("P1DT2H", 93_600.0), ("PT0.5S", 0.5), ("P2D", 172_800.0)]
)
def test_durations_are_read_and_written(text: str, value: float) -> None:
    assert (seconds("a", text), duration(value)) == (value, text)
    for wrong in ("P", "PT", "10", "PT-1M", None, "P1Y"):
        with pytest.raises(InvalidInput, match="a is"):
            seconds("a", wrong)


def test_what_the_service_told_of_itself(app: App, client: Client) -> None:
    assert client.get(f"{V1}/status/service").json()["apiStatus"] == "Valid"
    assert client.get(f"{V1}/configurations/policy", **ADMIN).json() == {"name": "baseline", "arguments": ""}
    assert client.get(f"{V1}/model/properties", **ADMIN).json() == {}
    trouble(client.get(f"{V1}/logs/properties", **ADMIN), 404, "ResourceNotFound")
    client.post(f"{V1}/rank", RANK)
    day = {"from": "2026-11-18T12:00:00.000Z", "to": "2026-11-18T12:00:00.000Z"}
    assert client.get(f"{V1}/logs/properties", **ADMIN).json() == {"dateRange": day}
    for path in ("/configurations/policy", "/logs", "/model"):
        trouble(client(("DELETE", f"{V1}{path}", None, ADMIN))[0], 400, "OperationNotAllowed")


# --------------------------------------------------------------------------------------------------- its clients' bytes


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (
            "/personalizer/rank?api-version=2022-09-01-preview",
            b'{"actions": [{"id": "Video1", "features": [{"videoType": "documentary", "videoLength": 35, "director": '
            b'"CarlSagan"}, {"mostWatchedByAge": "50-55"}]}, {"id": "Video2", "features": [{"videoType": "movie", '
            b'"videoLength": 120, "director": "StevenSpielberg"}, {"mostWatchedByAge": "40-45"}]}], "contextFeatures": '
            b'[{"currentFeatures": {"day": "tuesday", "time": "night", "weather": "rainy"}}, {"userContext": '
            b'{"payingUser": true, "favoriteGenre": "documentary"}}], "deferActivation": true, '
            b'"eventId": "sdk-deferred"}',
            201,
        ),
        ("/personalizer/events/sdk-deferred/reward?api-version=2022-09-01-preview", b'{"value": 0.8}', 204),
        ("/personalizer/events/sdk-deferred/activate?api-version=2022-09-01-preview", b"", 204),
    ],
)
def test_requests_as_the_python_client_sends_them_are_answered(
    client: Client, path: str, body: bytes, status: int
) -> None:
    """Recorded from azure-ai-personalizer 1.0.0b1; its headers: Content-Type, x-ms-client-request-id and the key."""
    headers = {
        "content-type": "application/json",
        "ocp-apim-subscription-key": "secret",
        "x-ms-client-request-id": "8c0f",
    }
    if status == 204:
        client.post("/personalizer/rank", {**RANK, "eventId": "sdk-deferred", "deferActivation": True})
    assert client.post(path, body, **headers).status_code == status


def test_the_subscription_key_is_the_key_here(client: Client) -> None:
    path = f"{V1}/configurations/service"
    good = {"ocp-apim-subscription-key": ADMIN["X-Admin-Key"]}
    assert client.get(path, **good).status_code == 200
    trouble(client.get(path, **{"ocp-apim-subscription-key": "another"}), 401, "401")


# ------------------------------------------------------------------------------------------------------------- learning


def test_an_apprentice_follows_what_is_listed_first_and_learns_it(tmp_path: Path, clock: Clock) -> None:
    app = deployment(tmp_path, clock, release={"apprentice": True})
    for client in opened(app.decider()):
        chances = client.post(f"{V1}/rank", {**RANK, "eventId": "e", "excludedActions": ["pasta"]}).json()["ranking"]
    told = {each["id"]: each["probability"] for each in chances}
    assert told == pytest.approx({"pasta": 0.0, "ice cream": 1 - 0.2 + 0.2 / 3, "juice": 0.2 / 3, "salad": 0.2 / 3})
    assert logged(app, "e").version in (APPLICATION, EXPLORED)


@pytest.mark.parametrize("seed", range(5))
def test_it_learns_who_likes_what_from_plain_calls(tmp_path: Path, seed: int) -> None:
    """Six kinds of visit, four meals in any order: 1 for the meal they like. By chance 1 in 4 is right."""
    clock, rng = Clock(), np.random.default_rng(seed)
    app = deployment(tmp_path, clock, exploration={"rate": 1.0})

    def visits(one: App, count: int) -> float:
        earned = 0
        for client in opened(one.decider()):
            for start in range(0, count, 100):
                people = [asked(rng, eventId=f"{seed}-{clock.now:.0f}-{start + n}") for n in range(100)]
                ranked = client(*(("POST", f"{V1}/rank", body) for _, body in people))
                liked = [
                    LIKED[who] == each.json()["rewardActionId"] for (who, _), each in zip(people, ranked, strict=True)
                ]
                client(
                    *(("POST", f"{V1}/events/{body['eventId']}/reward", {"value": float(good)})
                      for (_, body), good in zip(people, liked, strict=True))
                )  # fmt: skip
                earned += sum(liked)
        return earned / count

    before = visits(app, 800)
    clock.now += HOUR
    app.train()
    app.promote(reason="test")
    clock.now += MINUTE
    after = visits(deployment(tmp_path, clock, exploration={"rate": 0.1}), 200)
    assert 0.18 < before < 0.32
    assert after > 0.8
