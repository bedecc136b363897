"""What operators do from a page: with a key that may, a token, a page of ours and a second yes; and it is all noted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bondhu.dashboard.web.acts import WHAT
from bondhu.dashboard.web.confirming import effects
from bondhu.registry import lifecycle
from tests.dashboard.shopping import PEOPLE, shop
from tests.dashboard.visiting import House, Visitor, housed
from tests.service.serving import eventually

REASON = "the people in <the> shop asked & waited 🙂"
FINAL = {"confirmed": "yes", "reason": REASON}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Two workers, and two versions that nobody has released."""
    with housed(tmp_path_factory.mktemp("acts"), "--workers", "2", versions=2) as running:
        yield running
        assert running.service.stop() == 0


@pytest.fixture
def operator(house: House) -> Visitor:
    """Somebody with the role, where the rule is in force and nothing is under way."""
    house.app.stop(reason="a test begins")
    return house.visitor("operator")


def live(house: House) -> str:
    return house.app.live() or "baseline"


# --------------------------------------------------------------------------------------------------------- what is done


def test_an_act_is_asked_for_once_more_and_says_what_it_does(house: House, operator: Visitor) -> None:
    first = house.app.versions()[0]
    before = len(house.app.events())
    seen = operator.act("promote", version=first, over="baseline")
    assert seen.status == 200
    assert f"{first} decides for everybody from now on, in place of baseline." in seen.text
    assert "people who were decided for in the last 7 days" in seen.text
    assert 'name="confirmed" value="yes"' in seen.text
    assert 'name="reason"' in seen.text
    assert (len(house.app.events()), live(house)) == (before, "baseline")


def test_people_of_the_holdout_are_not_counted_among_those_for_whom_it_changes(tmp_path: Path) -> None:
    made = shop(tmp_path, release={"holdout": 0.3})
    for number in range(120):
        made.decide(number)
    version = made.train()
    made.app.promote(version, reason="test")
    for number in range(120):
        made.decide(number)
    sheet = made.desk.decisions.sheet()
    held = len(set(sheet.user[sheet.variant.among("holdout")].tolist()))
    assert 0 < held < PEOPLE
    told = (
        f"That is {PEOPLE - held} of the {PEOPLE} people who were decided for in the last 7 days; the other {held} are"
    )
    for act in ("stop", "rollback", "promote"):
        assert effects(made.desk, act, {"version": version, "over": version})[1].startswith(told), act
    made.app.stop(reason="test")
    assert effects(made.desk, "stop", {"over": "baseline"})[1] == "It changes nothing for anybody."


def test_promoted_rolled_back_and_stopped(house: House, operator: Visitor) -> None:
    first, second = house.app.versions()[:2]
    for version in (first, second):
        seen = operator.act("promote", version=version, over=live(house), **FINAL)
        assert (seen.status, seen.headers["location"]) == (303, "/dashboard/releases?done=promote")
        assert live(house) == version
    event = house.app.events()[-1]
    assert (event.kind, event.by, event.reason) == ("promoted", "a operator", REASON)
    assert operator.act("rollback", over=second, **FINAL).headers["location"] == "/dashboard/releases?done=rollback"
    assert live(house) == first
    assert operator.act("stop", over="whatever it is", **FINAL).status == 303
    assert live(house) == "baseline"
    assert lifecycle.traffic(house.app.events()).stopped


def test_a_release_begins_and_is_withdrawn(house: House, operator: Visitor) -> None:
    first = house.app.versions()[0]
    seen = operator.act("release", version=first, over="baseline", unproven="yes")
    assert "The gate is not asked" in seen.text
    assert "It decides for nobody yet." in seen.text
    assert operator.act("release", version=first, over="baseline", unproven="yes", **FINAL).status == 303
    step = lifecycle.traffic(house.app.events()).step
    assert step is not None
    assert (step.version, step.share) == (first, 0.0)
    assert operator.act("withdraw", version="another", **FINAL).status == 409
    assert operator.act("withdraw", version=first, **FINAL).status == 303
    assert lifecycle.traffic(house.app.events()).step is None


def test_what_the_gate_does_not_let_pass_is_not_released(house: House, operator: Visitor) -> None:
    first = house.app.versions()[0]
    seen = operator.act("release", version=first, over="baseline", **FINAL)
    assert seen.status == 409
    assert "The gate says" in seen.text
    assert lifecycle.traffic(house.app.events()).step is None
    assert (house.acts()[-1]["what"], house.acts()[-1]["status"]) == (WHAT, 409)


def test_who_looked_before_the_versions_changed_changes_nothing(house: House, operator: Visitor) -> None:
    first, second = house.app.versions()[:2]
    house.app.promote(first, reason="somebody else was faster")
    for act in ("promote", "rollback", "release"):
        seen = operator.act(act, version=second, over="baseline", **FINAL)
        assert (seen.status, live(house)) == (409, first), act
        assert f"&#x27;{first}&#x27; is live, not &#x27;baseline&#x27; as the page showed." in seen.text


def test_a_training_does_not_keep_the_page_waiting_and_its_outcome_is_a_task(house: House, operator: Visitor) -> None:
    before = len(house.app.tasks.recent("rl_training", 100))
    asked = operator.act("train")
    assert "what comes of it is a candidate" in asked.text
    assert 'name="reason"' not in asked.text
    seen = operator.act("train", confirmed="yes")
    assert seen.status == 303
    assert seen.headers["location"] in [
        f"/dashboard/health?done={each}" for each in ("training", "skipped", "completed")
    ]
    eventually(lambda: len(house.app.tasks.recent("rl_training", 100)) == before + 1)
    assert house.acts()[-1]["arguments"] == {"act": "train"}


def test_while_somebody_trains_nobody_else_does(house: House, operator: Visitor) -> None:
    with house.app.stores.alone("train"):
        seen = operator.act("train", confirmed="yes")
    assert seen.status == 409
    assert house.acts()[-1]["status"] == 409


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_without_a_reason_nothing_is_done(house: House, operator: Visitor, reason: str) -> None:
    first = house.app.versions()[0]
    seen = operator.act("promote", version=first, over="baseline", reason=reason, confirmed="yes")
    assert (seen.status, live(house)) == (422, "baseline")
    assert 'name="confirmed" value="yes"' in seen.text


@pytest.mark.parametrize(
    ("act", "said", "status"),
    [
        ("promote", {"version": "nobody"}, 404),
        ("erase", {}, 404),
        ("", {}, 404),
        ("rollback/../stop", {}, 404),
        ("withdraw", {}, 422),
    ],
)
def test_what_cannot_be_done_is_told(
    house: House, operator: Visitor, act: str, said: dict[str, str], status: int
) -> None:
    before = len(house.app.events())
    seen = operator.act(act, **said, **FINAL)
    assert (seen.status, len(house.app.events())) == (status, before)
    assert house.acts()[-1]["status"] == status


def test_everything_done_is_in_the_audit_log_as_acts_of_the_api_are(house: House, operator: Visitor) -> None:
    first = house.app.versions()[0]
    operator.act("promote", version=first, over="baseline", **FINAL)
    noted = house.acts()[-1]
    assert noted["what"] == "POST /dashboard/acts/{act}"
    assert noted["arguments"] == {"act": "promote", "version": first, "over": "baseline", "reason": REASON}
    assert (noted["who"], noted["role"], noted["status"]) == ("a operator", "operator", 200)
    assert (noted["address"], noted["key"]) == ("127.0.0.1", house.keys["operator"].split("_")[1])
    assert noted["request"]


def test_what_was_done_is_said_in_words_of_a_list(house: House, operator: Visitor) -> None:
    said = "The version is live: it decides for everybody."
    assert said in operator.get("/dashboard/health?done=promote").text
    strange = operator.get("/dashboard/health?done=%3Cb%3Epromote")
    assert strange.status == 200
    assert "promote" not in strange.text
    assert "done=" not in operator.get("/dashboard/health?done=promote").text


# ------------------------------------------------------------------------------------------------------- who may not


def after(house: House, status: int) -> tuple[int, str, object, list[str]]:
    """What was answered, who is live, and what was noted: the status, and the names of the arguments."""
    noted = house.acts()[-1]
    arguments = noted["arguments"]
    assert isinstance(arguments, dict)
    return status, live(house), noted["status"], list(arguments)


def refusal(status: int) -> tuple[int, str, object, list[str]]:
    """Nothing has happened, and of what was sent nothing is kept."""
    return status, "baseline", status, ["act"]


def test_a_reader_changes_nothing_also_not_by_hand(house: House, operator: Visitor) -> None:
    reader = house.visitor("reader")
    first = house.app.versions()[0]
    said = {"version": first, "over": "baseline", **FINAL}
    assert after(house, reader.act("promote", **said).status) == refusal(403)
    assert (house.acts()[-1]["who"], house.acts()[-1]["role"]) == ("a reader", "reader")
    stolen = {"token": operator.token, **said}
    assert after(house, reader.post("/dashboard/acts/promote", stolen).status) == refusal(403)


def test_nobody_acts_without_a_session(house: House, operator: Visitor) -> None:
    first = house.app.versions()[0]
    said = {"token": operator.token, "version": first, "over": "baseline", **FINAL}
    assert after(house, house.visitor().post("/dashboard/acts/promote", said).status) == refusal(401)
    assert house.acts()[-1]["who"] == "unknown"
    key = {"X_API_Key": house.keys["operator"]}
    assert house.visitor().post("/dashboard/acts/promote", said, **key).status == 401
    assert house.visitor().get("/dashboard/health").status == 200  # where no keys are asked for, anybody looks


@pytest.mark.parametrize("token", [None, "", "wrong", "of another session", "longer"])
def test_without_the_sessions_own_token_nothing_is_done(house: House, operator: Visitor, token: str | None) -> None:
    first = house.app.versions()[0]
    own = {"of another session": house.visitor("operator").token, "longer": operator.token + "x"}
    sent = {} if token is None else {"token": own.get(token, token)}
    said = {**sent, "version": first, "over": "baseline", **FINAL}
    assert after(house, operator.post("/dashboard/acts/promote", said).status) == refusal(403)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
    ],
)
def test_a_page_of_another_site_does_nothing(house: House, operator: Visitor, headers: dict[str, str]) -> None:
    first = house.app.versions()[0]
    said = {"token": operator.token, "version": first, "over": "baseline", **FINAL}
    assert after(house, operator.post("/dashboard/acts/promote", said, **headers).status) == refusal(403)


def test_a_link_does_nothing(house: House, operator: Visitor) -> None:
    first = house.app.versions()[0]
    asked = f"/dashboard/acts/promote?token={operator.token}&version={first}&over=baseline&confirmed=yes&reason=x"
    assert operator.get(asked).status == 405
    assert operator.get("/dashboard/logout").status == 405
    assert live(house) == "baseline"
    assert operator.get("/dashboard/health").status == 200


def test_only_forms_are_read(house: House, operator: Visitor) -> None:
    first = house.app.versions()[0]
    said = {"token": operator.token, "version": first, "over": "baseline", **FINAL}
    seen = operator.post("/dashboard/acts/promote", said, Content_Type="text/plain")
    assert (seen.status, live(house)) == (422, "baseline")
