"""One table of settings: `bondhu.toml`, overridden by environment variables such as BONDHU_SERVER__PORT=9000.

The tables that declare the problem (`domain`, `context`, `actions`, `reward`, `baseline`) are kept as they are in
`Settings.problem`; the rest become frozen records whose defaults and meanings stand here and nowhere else.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from bondhu.errors import SettingsInvalid, nearest

SECRET = re.compile("key|password|webhook")  # in the name of a setting
FILE = "bondhu.toml"
PREFIX = "BONDHU_"
PROBLEM = ("domain", "context", "actions", "reward", "baseline")
DEVELOPMENT_KEY = "admin-dev-key-change-in-production"  # refused by the server outside of development


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class Learning(BaseModel):
    """`[learner]`: which algorithm, and its hyper-parameters under their own names."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str = "tabular.q_learning"

    @model_validator(mode="before")
    @classmethod
    def _from_environment(cls, table: Any) -> Any:
        return _values(table)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Exploration(_Table):
    rate: float = Field(default=0.0, ge=0, le=1)  # share of decisions drawn at random; at 0 nothing can be evaluated
    learner: bool = False  # whether versions trained from now on act with the learner's own exploration


class Training(_Table):
    days_back: float = Field(default=7, gt=0)  # days of feedback a scheduled training reads
    min_interactions_per_user: int = Field(default=5, ge=1)  # users with fewer decisions in the window are left out
    holdout: float = Field(default=0.2, ge=0, lt=1)  # share of people whose decisions are kept back to judge candidates
    seed: int = Field(default=0, ge=0)


class Schedule(_Table):
    enabled: bool = True
    day_of_week: str = "mon"
    hour: int = Field(default=1, ge=0, le=23)
    timezone: str = "UTC"
    release_minutes: float = Field(default=10, gt=0)  # between two looks at the release under way
    watch_minutes: float = Field(default=60, gt=0)  # between two looks at drift and falling rewards


class Store(_Table):
    log: Path = Path("data/log.sqlite")
    registry: Path = Path("data/versions")
    models: Path = Path("models")  # where q_table.json is written after each training


class Server(_Table):
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    environment: str = "development"
    admin_key: SecretStr = SecretStr(DEVELOPMENT_KEY)


class Alerts(_Table):
    quiet_hours: float = Field(default=6, ge=0)  # in which the same alert is not told again
    webhook: SecretStr | None = None  # address that alerts are POSTed to
    webhook_key: SecretStr | None = None  # signs them: X-Bondhu-Signature
    mail_host: str | None = None
    mail_port: int = Field(default=587, ge=1, le=65535)
    mail_from: str = "bondhu@localhost.localdomain"
    mail_to: list[str] = []
    mail_user: str | None = None
    mail_password: SecretStr | None = None
    mail_starttls: bool = True


class Settings(BaseSettings):
    """Everything an operator can set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid", hide_input_in_errors=True
    )
    learner: Learning = Field(default_factory=Learning)
    exploration: Exploration = Exploration()
    training: Training = Training()
    schedule: Schedule = Schedule()
    alerts: Alerts = Alerts()
    gate: dict[str, Any] = {}  # the rules of evaluate.gate by name
    release: dict[str, Any] = {}  # the rules of release.rules by name
    store: Store = Store()
    server: Server = Server()
    directory: Path = Path(".")  # where bondhu.toml stands; relative paths in [store] start here
    problem: dict[str, Any] = {}

    @field_validator("gate", "release", mode="before")
    @classmethod
    def _from_environment(cls, table: Any) -> Any:
        return _values(table)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file."""
        return env_settings, init_settings

    def path(self, relative: Path) -> Path:
        return self.directory / relative


def load(directory: Path = Path("."), *, needed: bool = True) -> Settings:
    """Read `bondhu.toml` in `directory`; without the file, defaults, or SettingsInvalid where it is needed."""
    file = directory / FILE
    if not file.exists():
        if needed:
            raise SettingsInvalid(f"There is no {FILE} in {directory.resolve()}.", fix="Write one with `bondhu init`.")
        return from_tables({}, directory)
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{file} is not TOML: {error}.", fix="Mend that line.") from error
    except OSError as error:
        raise SettingsInvalid(f"{file} cannot be read: {error.strerror}.", fix="Make it a readable file.") from error
    return from_tables(tables, directory)


def from_tables(tables: dict[str, Any], directory: Path = Path(".")) -> Settings:
    """Settings from the tables of a `bondhu.toml`; raises SettingsInvalid naming the key, its value and the fix."""
    problem = {name: table for name, table in tables.items() if name in PROBLEM}
    rest = {name: table for name, table in tables.items() if name not in PROBLEM}
    known = [name for name in Settings.model_fields if name not in ("directory", "problem")]
    for name in rest:
        if name not in known:
            fix = nearest(name, [*known, *PROBLEM])
            raise SettingsInvalid(f"{FILE} has an unknown table [{name}].", field=name, fix=fix)
    _known_variables(os.environ, known)
    try:
        settings = Settings(**rest)
    except ValidationError as error:
        raise _explained(error) from error
    except SettingsError as error:
        what = f"An environment variable cannot be read: {error}."
        raise SettingsInvalid(what, fix=f"Set one value a variable, such as {PREFIX}SERVER__PORT=9000.") from error
    return settings.model_copy(update={"directory": directory, "problem": problem})  # not the environment's to say


def _known_variables(environment: Iterable[str], tables: list[str]) -> None:
    """Refuse a variable that looks like a setting but names no table: it would be ignored without a word."""
    for variable in environment:
        table, separator, _ = variable.removeprefix(PREFIX).lower().partition("__")
        if variable.startswith(PREFIX) and separator and table not in tables:
            what = f"The environment variable {variable} names an unknown table."
            raise SettingsInvalid(what, field=variable, fix=nearest(table, tables))


def _values(table: Any) -> Any:
    """A table whose settings have no declared types here: the environment's text becomes numbers and truth values."""
    if not isinstance(table, Mapping):
        return table
    return {name: _value(value) if isinstance(value, str) else _values(value) for name, value in table.items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _explained(error: ValidationError) -> SettingsInvalid:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and len(first["loc"]) > 1:
        table = Settings.model_fields[str(first["loc"][0])].annotation
        names = list(getattr(table, "model_fields", {}))
        return SettingsInvalid(f"Unknown setting {key}.", field=key, fix=nearest(str(first["loc"][-1]), names))
    value = None if SECRET.search(key) else first["input"]  # a secret is not shown
    got = "" if value is None else f" got {value!r}"
    fix = f"Mend it in {FILE} or in {PREFIX}{key.upper().replace('.', '__')}."
    return SettingsInvalid(f"Setting {key}{got}: {first['msg']}.", field=key, value=value, fix=fix)
