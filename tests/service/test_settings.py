"""Settings: the file, the environment over it, and one clear error for everything that is wrong with either."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bondhu.errors import SettingsInvalid
from bondhu.ruling import gate_rules
from bondhu.settings import FILE, from_tables, load
from tests.service.shop import problem


def written(path: Path, text: str) -> Path:
    (path / FILE).write_text(text, encoding="utf-8")
    return path


def test_the_file_is_read_and_the_rest_keeps_its_defaults(tmp_path: Path) -> None:
    settings = load(written(tmp_path, "[server]\nport = 9000\n[training]\ndays_back = 14\n[domain]\nname = 'x'\n"))
    assert (settings.server.port, settings.server.host) == (9000, "127.0.0.1")
    assert (settings.training.days_back, settings.training.min_interactions_per_user) == (14, 5)
    assert (settings.schedule.day_of_week, settings.schedule.hour) == ("mon", 1)
    assert settings.problem == {"domain": {"name": "x"}}
    assert settings.path(settings.store.log) == tmp_path / "data" / "log.sqlite"


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BONDHU_SERVER__PORT", "9001")
    monkeypatch.setenv("BONDHU_LEARNER__LEARNING_RATE", "0.2")
    monkeypatch.setenv("BONDHU_GATE__MUST_BEAT_LIVE", "false")
    settings = load(written(tmp_path, "[server]\nport = 9000\nhost = 'here'\n[learner]\ndiscount = 0.5\n"))
    assert (settings.server.port, settings.server.host) == (9001, "here")
    assert settings.learner.hyperparameters == {"learning_rate": 0.2, "discount": 0.5}
    assert gate_rules(settings.gate).must_beat_live is False


def test_the_directory_and_the_problem_are_not_the_environments_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BONDHU_DIRECTORY", "/somewhere/else")
    settings = from_tables(dict(problem()), tmp_path)
    assert settings.directory == tmp_path
    assert settings.problem == problem()


def test_without_a_file_there_are_defaults_or_an_error_where_it_is_needed(tmp_path: Path) -> None:
    assert load(tmp_path, needed=False).server.port == 8000
    with pytest.raises(SettingsInvalid, match=r"no bondhu.toml in .*`bondhu init`"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[servr]\nport = 1\n", r"unknown table \[servr\].*Did you mean 'server'\?"),
        ("[rewards]\n", r"unknown table \[rewards\].*Did you mean 'reward'\?"),
        ("[server]\nprot = 1\n", r"Unknown setting server\.prot.*Did you mean 'port'\?"),
        ("[training]\nholdout = 1.0\n", r"training\.holdout got 1\.0: Input should be less than 1.*TRAINING__HOLDOUT"),
        ("[training]\ndays_back = nan\n", r"training\.days_back got nan: .*finite number"),
        ("[exploration]\nrate = -0.1\n", r"exploration\.rate got -0\.1: .*greater than or equal to 0"),
        ("[server]\nport = 'http'\n", r"server\.port got 'http': .*valid integer"),
        ("[schedule]\nenabled = 'often'\n", r"schedule\.enabled got 'often': .*valid boolean"),
        ("server = 5\n", r"server got 5: "),
        ("[server\n", r"is not TOML: .*line 1.*Mend that line"),
    ],
)
def test_every_mistake_names_the_key_the_value_and_the_fix(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsInvalid, match=message) as caught:
        load(written(tmp_path, text))
    assert caught.value.fix


def test_a_file_that_is_no_text_or_no_file_is_one_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsInvalid, match="is not TOML"):
        load(tmp_path)
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    with pytest.raises(SettingsInvalid, match="cannot be read: Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("BONDHU_SERVER__PROT", "1", r"Unknown setting server\.prot.*Did you mean 'port'\?"),
        ("BONDHU_SERVR__PORT", "1", r"BONDHU_SERVR__PORT names an unknown table.*Did you mean 'server'\?"),
        ("BONDHU_SERVER__PORT", "99999", r"server\.port got '99999': .*less than or equal to 65535"),
        ("BONDHU_SERVER", "abc", r'environment variable cannot be read: .*"server".*BONDHU_SERVER__PORT=9000'),
    ],
)
def test_a_mistake_in_the_environment_is_one_error(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsInvalid, match=message):
        from_tables({})


def test_the_administrators_key_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = from_tables({"server": {"admin_key": "hush-hush"}})
    assert settings.server.admin_key.get_secret_value() == "hush-hush"
    assert "hush" not in repr(settings)
    wrong: list[dict[str, Any]] = [
        {"admin_key": 778899},
        {"admin_key": ["778899"]},
        {"admin_key": "778899", "port": -1},
    ]
    for table in wrong:
        with pytest.raises(SettingsInvalid) as caught:
            from_tables({"server": table})
        chain = f"{caught.value} {caught.value.value} {caught.value.__cause__}"
        assert "778899" not in chain


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"margn": 0.1}, r"Unknown setting gate\.margn.*Did you mean 'margin'\?"),
        ({"margin": "much"}, r"gate\.margin got 'much'.*Write a number"),
        ({"margin": float("nan")}, r"gate\.margin got nan.*Write a number"),
        ({"margin": True}, r"gate\.margin got True.*Write a number"),
        ({"must_beat_live": 1}, r"gate\.must_beat_live got 1.*true or false"),
    ],
)
def test_the_rules_of_the_gate_are_checked(table: dict[str, Any], message: str) -> None:
    assert gate_rules({"margin": 1, "must_beat_live": False}).margin == 1
    with pytest.raises(SettingsInvalid, match=message):
        gate_rules(table)


def test_a_secret_is_read_from_the_file_that_a_variable_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("out-of-a-file\n", encoding="utf-8")
    monkeypatch.setenv("BONDHU_SERVER__ADMIN_KEY_FILE", str(tmp_path / "key"))
    assert from_tables({}).server.admin_key.get_secret_value() == "out-of-a-file"
    (tmp_path / "key").unlink()
    with pytest.raises(
        SettingsInvalid, match=r"BONDHU_SERVER__ADMIN_KEY_FILE names .*key, which cannot be read: No such"
    ):
        from_tables({})
    monkeypatch.delenv("BONDHU_SERVER__ADMIN_KEY_FILE")
    monkeypatch.setenv("BONDHU_SERVER__PORT_FILE", "x")
    with pytest.raises(SettingsInvalid, match=r"Unknown setting server\.port_file"):
        from_tables({})


def test_outside_of_development_no_secret_stands_in_the_shared_file() -> None:
    tables = {"server": {"environment": "production", "admin_key": "a-long-and-secret-key"}}
    with pytest.raises(SettingsInvalid, match=r"The secret server\.admin_key stands in bondhu\.toml") as caught:
        from_tables(tables)
    assert "BONDHU_SERVER__ADMIN_KEY_FILE" in str(caught.value)
    assert "secret-key" not in str(caught.value)
    assert from_tables({"server": {**tables["server"], "environment": "development"}}).server.port == 8000


STREAM = {"kind": "redis", "address": "redis://localhost", "name": "told"}


@pytest.mark.parametrize(
    "streams",
    [
        [{"kind": "redis", "address": "redis://localhost", "password": "hunter2"}],
        [{**STREAM, "password": ["hunter2"]}],
        [{**STREAM, "name": {"password": "hunter2"}}],
        [{**STREAM, "kind": "hunter2"}],
        ["hunter2"],
        "hunter2",
    ],
)
def test_no_error_about_a_stream_shows_what_stands_in_it(streams: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> str:
        with pytest.raises(SettingsInvalid) as caught:
            from_tables({} if "BONDHU_STREAMS" in os.environ else {"streams": streams})
        return f"{caught.value!r} {caught.value} {caught.value.value} {caught.value.fix}"

    assert "hunter2" not in said()
    monkeypatch.setenv("BONDHU_STREAMS", json.dumps(streams) if not isinstance(streams, str) else streams)
    assert "hunter2" not in said()


def test_a_table_in_the_place_of_a_value_is_not_shown() -> None:
    with pytest.raises(SettingsInvalid, match=r"server\.port") as caught:
        from_tables({"server": {"port": {"admin": "hunter2"}}})
    assert "hunter2" not in str(caught.value)
    assert caught.value.value is None


def test_an_unknown_setting_of_a_stream_is_told_its_nearest_name() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        from_tables({"streams": [{**STREAM, "pasword": "hunter2"}]})
    assert caught.value.fix == "Did you mean 'password'?"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"password": "hunter2"}, "streams[1].password"),
        ({"address": "redis://:hunter2@localhost"}, "streams[1].address"),
        ({"address": "nats://hunter2@localhost", "kind": "nats"}, "streams[1].address"),
    ],
)
def test_outside_of_development_a_streams_password_does_not_stand_in_the_file(
    more: dict[str, str], field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = [STREAM, {**STREAM, **more}]
    assert len(from_tables({"streams": streams}).streams) == 2
    production = {"server": {"environment": "production"}}
    with pytest.raises(SettingsInvalid) as caught:
        from_tables({"streams": streams, **production})
    assert caught.value.field == field
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("BONDHU_STREAMS", json.dumps(streams))
    assert len(from_tables(production).streams) == 2
    monkeypatch.delenv("BONDHU_STREAMS")
    (tmp_path / "streams").write_text(json.dumps(streams), encoding="utf-8")
    monkeypatch.setenv("BONDHU_STREAMS_FILE", str(tmp_path / "streams"))
    assert len(from_tables(production).streams) == 2
