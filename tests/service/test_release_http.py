"""Releases over HTTP: every action needs the key, says what it did, and answers conflicts with their reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from bondhu.app import App
from bondhu.server import make_asgi, make_scheduler
from tests.service.stand import Clock, log, opened
from tests.service.web import Client

RELEASES, VERDICTS = "/api/v1/admin/releases", "/api/v1/admin/verdicts"
FEW = {"minimum_interactions": 100, "minimum_effective_samples": 50}
KEY = {"X-Admin-Key": "admin-dev-key-change-in-production"}


@pytest.fixture
def app(tmp_path: Path) -> App:
    made = opened(tmp_path, Clock(), training={"holdout": 0.5}, gate=FEW, release={"automatic": True, "shadow": False})
    log(made, [f"person-{number}" for number in range(200)], 6)
    made.train()
    return made


@pytest.fixture
def client(app: App) -> Client:
    return Client(make_asgi(app))


def test_the_history_shows_who_did_what_and_why(app: App, client: Client) -> None:
    said = client.get(RELEASES, **KEY).json()
    version = app.versions()[0]
    assert said["traffic"]["live"] is None
    assert (said["traffic"]["step"]["version"], said["traffic"]["step"]["share"]) == (version, 0.1)
    assert [(each["kind"], each["by"]) for each in said["history"]] == [("added", ""), ("tried", "gate")]
    assert said["versions"][0]["status"] == "trial"
    (verdict,) = client.get(f"{VERDICTS}?version={version}", **KEY).json()["verdicts"]
    assert verdict["figures"]["decision"] == "promote"


def test_an_administrator_moves_versions(app: App, client: Client) -> None:
    version = app.versions()[0]
    for action, status in (("withdraw", "retired"), ("promote", "live"), ("rollback", "retired"), ("release", "trial")):
        answer = client.post(f"{RELEASES}/{action}", {"version": version, "reason": "a test"}, **KEY)
        assert answer.status_code == 200, answer.text
        assert answer.json()["versions"][0]["status"] == status
        assert answer.json()["history"][-1]["by"] == "administrator"
    stopped = client.post(f"{RELEASES}/stop", {"reason": "it hurts"}, **KEY).json()
    assert (stopped["traffic"]["live"], stopped["traffic"]["stopped"]) == (None, True)
    assert stopped["history"][-1]["reason"] == "it hurts"


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("promot", {"reason": "x"}, 404, "Did you mean 'promote'"),
        ("promote", {"reason": "x", "version": "v9"}, 404, "There is no version 'v9'"),
        ("promote", {"reason": "x", "over": "v9"}, 409, "'baseline' is live, not 'v9'"),
        ("promote", {}, 422, "The field 'reason' is missing"),
        ("promote", {"reason": "x", "versoin": "v"}, 422, "Did you mean 'version'"),
        ("rollback", {"reason": "x"}, 422, "there is nothing to roll back"),
    ],
)
def test_an_order_that_cannot_be_followed_says_why(
    client: Client, path: str, body: dict[str, str], status: int, says: str
) -> None:
    answer = client.post(f"{RELEASES}/{path}", body, **KEY)
    assert answer.status_code == status
    error = answer.json()
    assert says in f"{error['detail']} {error['fix']}"


def test_without_the_key_nothing_moves(app: App, client: Client) -> None:
    before = app.events()
    for call in (
        client.get(RELEASES),
        client.get(VERDICTS),
        client.post(f"{RELEASES}/stop", {"reason": "x"}),
        client.post(f"{RELEASES}/stop", {"reason": "x"}, **{"X-Admin-Key": "wrong"}),
    ):
        assert call.status_code == 401
    assert app.events() is before


def test_a_release_is_looked_at_by_the_schedule_where_it_goes_on_by_itself(app: App, tmp_path: Path) -> None:
    names = {job.id: str(job.trigger) for job in make_scheduler(app).get_jobs()}
    assert names["release"] == "interval[0:10:00]"
    by_hand = opened(tmp_path / "other")
    assert "release" not in {job.id for job in make_scheduler(by_hand).get_jobs()}
