"""[gateway], [upstreams] and [strategies]: what cannot be is said before anything is served; and budgets, served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from bondhu.app import open_app
from bondhu.errors import BondhuError, SettingsInvalid
from bondhu.server.assembly import description
from bondhu.server.gateway import gateway_of
from bondhu.settings import from_tables, load
from tests.gateway.place import LONG, STRATEGIES, folder, served
from tests.gateway.scripted import Model, either, model

HERE = "http://127.0.0.1:9/v1"


@pytest.fixture(scope="module")
def tiny() -> Iterator[Model]:
    with model() as made:
        yield made


def opened(path: Path) -> None:
    app = open_app(load(path))
    try:
        gateway_of(app)
    finally:
        app.stores.close()


@pytest.mark.parametrize(
    ("lines", "gateway", "field", "says"),
    [
        ('url = "ftp://x"', "", "upstreams.local.url", "pattern"),
        ('key = "sk-123"', "", "upstreams.local.key", "Unknown setting"),
        ('fallback = ["lcal"]', "", "upstreams.local.fallback", "no other upstream"),
        ('fallback = ["local"]', "", "upstreams.local.fallback", "no other upstream"),
        ("retries = -1", "", "upstreams.local.retries", "greater"),
        ("timeout = 0", "", "upstreams.local.timeout", "greater"),
        ("timeuot = 3", "", "upstreams.local.timeuot", "Did you mean 'timeout'"),
        ('key_from = "NO_SUCH_KEY"', "", "upstreams.local.key_from", "holds no key"),
        ("", 'prompt = "keep"', "gateway.prompt", "'store'"),
        ("", 'prompt = "hash"', "privacy.salt", "no salt"),
        ("", "dollars_per_day = 0", "gateway.dollars_per_day", "greater"),
        ("", "promt = 3", "gateway.promt", "Did you mean 'prompt'"),
    ],
)
def test_what_cannot_be_is_named(tmp_path: Path, lines: str, gateway: str, field: str, says: str) -> None:
    path = folder(tmp_path, {"local": HERE}, upstream={"local": lines} if lines else None, gateway=gateway)
    if lines.startswith("url"):
        text = (path / "bondhu.toml").read_text()
        (path / "bondhu.toml").write_text(text.replace(f'url = "{HERE}"\n', ""))
    with pytest.raises(SettingsInvalid) as caught:
        opened(path)
    assert caught.value.field == field
    assert says in str(caught.value)
    assert "sk-123" not in str(caught.value)


def test_a_budget_needs_to_know_what_things_cost(tmp_path: Path) -> None:
    path = folder(
        tmp_path, {"local": HERE}, gateway="dollars_per_day = 1.0", strategies=STRATEGIES.replace("tiny", "new")
    )
    with pytest.raises(SettingsInvalid, match="no price of 'new'"):
        opened(path)
    text = (path / "bondhu.toml").read_text().replace("cost = {", "price = {")
    (path / "bondhu.toml").write_text(text)
    with pytest.raises(SettingsInvalid, match="signal 'cost'"):
        opened(path)


def test_strategies_without_a_gateway_are_a_mistake(tmp_path: Path) -> None:
    path = folder(tmp_path, {"local": HERE})
    text = (path / "bondhu.toml").read_text().replace("[gateway]\n", "")
    (path / "bondhu.toml").write_text(text)
    with pytest.raises(SettingsInvalid, match="no gateway"):
        opened(path)


def test_without_a_gateway_nothing_is_there(tmp_path: Path) -> None:
    path = folder(tmp_path, {"local": HERE})
    text = (path / "bondhu.toml").read_text()
    (path / "bondhu.toml").write_text(text[: text.index("[gateway]")])
    with served(path) as one:
        assert one.post("/v1/chat/completions", {})[0] == 404
        assert "/v1/chat/completions" not in json.loads(one.post("/openapi.json", None)[2])["paths"]
        assert "/v1/chat/completions" not in description(one.app)["paths"]


def test_no_other_table_is_taken(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="unknown table"):
        from_tables({"gatway": {}})


def test_keys_are_asked_for_where_they_are_needed(tiny: Model, tmp_path: Path) -> None:
    more = '[server]\nkeys = true\nadmin_key = "a-long-and-secret-key"\n'
    tiny.plays(either())
    with served(folder(tmp_path, {"local": tiny}, more=more)) as one:
        status, _, body = one.ask()
        assert (status, body["error"]["code"], body["error"]["type"]) == (
            401,
            "invalid_api_key",
            "authentication_error",
        )
        assert one.ask(Authorization="Bearer bd_wrong_key")[0] == 401
        status, _, content = one.post(
            "/api/v1/admin/keys", {"name": "app", "role": "app"}, X_Admin_Key="a-long-and-secret-key"
        )
        key = json.loads(content)["text"]
        assert one.ask(Authorization=f"Bearer {key}")[0] == 200
        assert one.ask(X_API_Key=key)[0] == 200
        assert one.post("/v1/models", None)[0] == 401
        assert one.post("/v1/models", None, Authorization=f"Bearer {key}")[0] == 200
        assert one.ask(X_Admin_Key="wrong")[0] == 401
        assert "authorization" not in tiny.asked[0].headers  # keys of the gateway stay here


def test_a_spent_budget_refuses_and_survives_a_restart(tiny: Model, tmp_path: Path) -> None:
    tiny.plays(either())
    path = folder(tmp_path, {"local": tiny}, gateway="dollars_per_day = 0.003", upstream={"local": "retries = 0"})
    body = {"messages": [{"role": "user", "content": "Hi."}], "max_tokens": 10}
    with served(path) as one:
        text = (path / "bondhu.toml").read_text().replace("[1.0, 2.0]", "[1.0, 100.0]")
        assert [one.ask(body)[0] for _ in range(3)] == [200] * 3
    (path / "bondhu.toml").write_text(text)  # answers cost more from now on: 0.0007, and 0.001 at most
    with served(path) as one:
        statuses = [one.ask(body)[0] for _ in range(5)]
        assert statuses == [200] * 3 + [429] * 2
        asked = len(tiny.asked)
    with served(path) as one:
        status, headers, told = one.ask(body)
        assert status == 429
        assert (told["error"]["type"], told["error"]["code"]) == ("insufficient_quota", "over_budget")
        assert "0.003 dollars" in told["error"]["message"]
        assert 1 < int(headers["retry-after"]) <= 86_400
        assert headers["x-should-retry"] == "false"
        assert len(tiny.asked) == asked
        assert len(one.logged()) == 6  # what is refused is no decision


def test_a_budget_holds_where_many_ask_at_once(tiny: Model, tmp_path: Path) -> None:
    tiny.plays(tiny.held(nothing_yet, either()))
    body = {"messages": [{"role": "user", "content": "Hi."}], "max_tokens": 1_000}  # 0.002 dollars, and a little
    path = folder(tmp_path, {"local": tiny}, gateway="dollars_per_day = 0.01")
    with served(path) as one, ThreadPoolExecutor(12) as pool:
        asking = [pool.submit(one.ask, body) for _ in range(12)]
        refused = [each.result() for each in islice(as_completed(asking, LONG), 8)]  # the others wait for the model
        assert {(status, headers["retry-after"]) for status, headers, _ in refused} == {(429, "1")}
        tiny.hold.set()
        assert sorted(each.result()[0] for each in asking) == [200] * 4 + [429] * 8
        assert one.ask(body)[0] == 200  # they cost less than they might have
        assert one.ask({**body, "max_tokens": 10_000})[0] == 429


async def nothing_yet(_: dict[str, Any], __: Any) -> None:
    """The first of an answer that is held."""


def test_every_error_of_settings_is_one_of_ours(tmp_path: Path) -> None:
    path = folder(tmp_path, {"local": HERE}, strategies='[strategies.model.small]\nmodel = "tiny"\nupstream = 3\n')
    with pytest.raises(BondhuError, match="upstream"):
        opened(path)
