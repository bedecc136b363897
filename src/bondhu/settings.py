"""One table of settings: `bondhu.toml`, overridden by environment variables such as BONDHU_SERVER__PORT=9000.

The tables that declare the problem (`domain`, `context`, `actions`, `reward`, `baseline`) are kept as they are in
`Settings.problem`; the rest become frozen records whose defaults and meanings stand here and nowhere else.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bondhu.errors import SettingsInvalid, nearest

FILE = "bondhu.toml"
PROBLEM = ("domain", "context", "actions", "reward", "baseline")
DEVELOPMENT_KEY = "admin-dev-key-change-in-production"  # refused by the server outside of development


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Learning(BaseModel):
    """`[learner]`: which algorithm, and its hyper-parameters under their own names."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str = "tabular.q_learning"

    @property
    def hyperparameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Exploration(_Table):
    rate: float = Field(0.0, ge=0, le=1)  # share of decisions drawn at random; at 0 nothing can be evaluated


class Training(_Table):
    days_back: float = Field(7, gt=0)  # days of feedback a scheduled training reads
    min_interactions_per_user: int = Field(5, ge=1)  # users with fewer decisions in the window are left out
    holdout: float = Field(0.2, ge=0, lt=1)  # share of people whose decisions are kept back to judge candidates
    auto_promote: bool = False  # whether a candidate that passes the gate goes live by itself
    seed: int = 0


class Schedule(_Table):
    enabled: bool = True
    day_of_week: str = "mon"
    hour: int = Field(1, ge=0, le=23)
    timezone: str = "UTC"


class Store(_Table):
    log: Path = Path("data/log.sqlite")
    registry: Path = Path("data/versions")
    models: Path = Path("models")  # where q_table.json is written after each training


class Server(_Table):
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    environment: str = "development"
    admin_key: SecretStr = SecretStr(DEVELOPMENT_KEY)


class Settings(BaseSettings):
    """Everything an operator can set."""

    model_config = SettingsConfigDict(env_prefix="BONDHU_", env_nested_delimiter="__", frozen=True, extra="forbid")
    learner: Learning = Learning()
    exploration: Exploration = Exploration()
    training: Training = Training()
    schedule: Schedule = Schedule()
    gate: dict[str, Any] = {}  # the rules of evaluate.gate by name
    store: Store = Store()
    server: Server = Server()
    directory: Path = Path(".")  # where bondhu.toml stands; relative paths in [store] start here
    problem: dict[str, Any] = {}

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
    return from_tables(tables, directory)


def from_tables(tables: dict[str, Any], directory: Path = Path(".")) -> Settings:
    """Settings from the tables of a `bondhu.toml`; raises SettingsInvalid naming the key, its value and the fix."""
    problem = {name: table for name, table in tables.items() if name in PROBLEM}
    rest = {name: table for name, table in tables.items() if name not in PROBLEM}
    known = [name for name in Settings.model_fields if name not in ("directory", "problem")]
    for name in rest:
        if name not in known:
            raise SettingsInvalid(f"{FILE} has an unknown table [{name}].", field=name, fix=nearest(name, known + list(PROBLEM)))
    try:
        return Settings(**rest, directory=directory, problem=problem)
    except ValidationError as error:
        raise _explained(error) from error


def _explained(error: ValidationError) -> SettingsInvalid:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and len(first["loc"]) > 1:
        table = Settings.model_fields[str(first["loc"][0])].annotation
        names = list(getattr(table, "model_fields", {}))
        return SettingsInvalid(f"Unknown setting {key}.", field=key, fix=nearest(str(first["loc"][-1]), names))
    secret = "key" in key
    value = "" if secret else f" {first['input']!r}"
    return SettingsInvalid(f"Setting {key} got{value}: {first['msg']}.", field=key, value=None if secret else first["input"])
