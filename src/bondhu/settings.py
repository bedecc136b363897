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
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from bondhu.errors import SettingsInvalid, nearest
from bondhu.ports import PUBLISHED_KEY

SECRET = re.compile("key|password|webhook|salt|store.log|streams")  # in the name of a setting
FILE = "bondhu.toml"
PREFIX = "BONDHU_"
FROM_FILE = "_file"  # at the end of a variable: its value is in the file that it names
PROBLEM = ("domain", "context", "actions", "reward", "baseline")


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
    log: str = "data/log.sqlite"  # a file for SQLite, or postgresql://user@host/database
    password: SecretStr | None = None  # of PostgreSQL, where the address has none
    registry: Path = Path("data/versions")
    archive: Path = Path("data/archive")  # where rows go that are older than `retain_days`
    retain_days: float | None = Field(default=None, gt=0)  # days that rows stay in the log; none: for ever
    models: Path = Path("models")  # where q_table.json is written after each training


class Server(_Table):
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    environment: str = "development"
    admin_key: SecretStr = SecretStr(PUBLISHED_KEY)  # refused by the server outside of development
    keys: bool | None = None  # whether decisions and feedback need a key; default: outside of development
    workers: int = Field(default=1, ge=1, le=64)  # processes that answer; more than one: with a writer of their own
    writer: Literal["auto", "thread", "process"] = "auto"  # who writes to SQLite; auto: a process for several workers
    waiting: int = Field(default=10_000, ge=1)  # rows waiting to be written, beyond which the answer is 503
    drain_seconds: float = Field(default=30, ge=0)  # to finish what is under way when the server is stopped
    largest_body: int = Field(default=1 << 20, ge=1024)  # bytes
    body_seconds: float = Field(default=10, gt=0)  # for a request to arrive whole
    rate: float | None = Field(default=None, gt=0)  # requests a second that a key may send, unless the key says so
    certificate: Path | None = None  # PEM, for TLS; with `certificate_key`
    certificate_key: Path | None = None
    origins: list[str] = []  # that browsers may call from (CORS); none by default
    domains: list[Path] = []  # folders of further deployments, served under /domains/NAME


class Privacy(_Table):
    """`[privacy]`: what becomes of what is personal before it is decided on and logged."""

    user: Literal["store", "hash"] = "store"
    session: Literal["store", "hash"] = "store"
    fields: dict[str, Literal["store", "hash", "drop"]] = {}  # of the context
    salt: SecretStr | None = None  # keys the hashes; whoever changes it, breaks with all that was hashed before


class Telemetry(_Table):
    """`[telemetry]`: what tools see of the server."""

    log: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"
    metrics: bool = True  # GET /metrics
    traces: str | None = None  # address of an OpenTelemetry collector, such as http://localhost:4318
    sample: float = Field(default=0.01, ge=0, le=1)  # share of requests traced, unless the caller traces them


class Stream(_Table):
    """`[[streams]]`: feedback that arrives by another way than HTTP."""

    kind: Literal["redis", "nats"]
    address: str  # such as redis://localhost:6379 or nats://localhost:4222
    name: str  # of the stream
    group: str = "bondhu"  # consumers of one group share the messages
    password: SecretStr | None = None


class Dashboard(_Table):
    """`[dashboard]`: the pages at `/`."""

    enabled: bool = True  # whether a process shows them, beside those that decide
    yields: bool = False  # whether they wait while other work takes all processors; else they take a share of them
    demo: bool = False  # whether they say that the people are simulated


class Webhooks(_Table):
    """`[webhooks]`: feedback that other services POST to /v1/webhooks/feedback, signed."""

    key: SecretStr | None = None  # of 16 bytes or more; signs them: webhook-signature (Standard Webhooks)
    tolerance: float = Field(default=300, gt=0)  # seconds that a signature is good for


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


class Gateway(_Table):
    """`[gateway]`: answers in OpenAI's chat protocol; there is none without the table."""

    prompt: Literal["store", "hash", "drop"] = "store"  # what is kept of what users write, redacted
    answer: Literal["store", "hash", "drop"] = "store"  # likewise of answers
    embedding: Path | None = None  # folder of the model that makes the vectors of the field of this name
    dollars_per_day: float | None = Field(default=None, gt=0)  # spent on answers, by UTC days; none: no limit
    breaker_failures: int = Field(default=5, ge=1)  # in a row, after which an upstream is left alone
    breaker_seconds: float = Field(default=30, gt=0)  # until one request tries it again


class Upstream(_Table):
    """`[upstreams.NAME]`: where models answer."""

    url: str = Field(pattern=r"^https?://[^\s@?#]+$")  # up to /chat/completions, such as https://api.openai.com/v1
    key_from: str = ""  # environment variable that holds the key; "": none
    timeout: float = Field(default=60, gt=0)  # seconds without a byte
    total_timeout: float = Field(default=600, gt=0)  # seconds for a whole answer
    connect_timeout: float = Field(default=5, gt=0)  # seconds
    retries: int = Field(default=2, ge=0, le=20)  # before the first byte
    fallback: list[str] = []  # upstreams that are asked when this one fails, in order
    model: str = ""  # asked for where this one stands in for another; "": the same name
    prices: dict[str, tuple[float, float]] = {}  # dollars for a million tokens in and out, by model
    usage: bool = True  # ask for the tokens of streams (`stream_options`), which not every server takes


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
    privacy: Privacy = Privacy()
    telemetry: Telemetry = Telemetry()
    dashboard: Dashboard = Dashboard()
    webhooks: Webhooks = Webhooks()
    streams: list[Stream] = []
    gateway: Gateway | None = None
    upstreams: dict[str, Upstream] = {}
    strategies: dict[str, dict[str, dict[str, Any]]] = {}  # [strategies.PART.VALUE], as domains.assistant reads them
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
        assert isinstance(env_settings, EnvSettingsSource)
        env_settings.env_vars = _secrets_read(env_settings.env_vars)
        return env_settings, init_settings

    def path(self, relative: Path | str) -> Path:
        return self.directory / relative


def _secrets() -> frozenset[str]:
    """The environment variables of settings that nobody may see."""
    tables = {name: each.annotation for name, each in Settings.model_fields.items()}
    return frozenset(
        f"{PREFIX}{name}__{key}".upper()
        for name, table in tables.items()
        for key, field in getattr(table, "model_fields", {}).items()
        if "SecretStr" in str(field.annotation)
    ) | {f"{PREFIX}STREAMS"}


SECRETS = _secrets()


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
    _no_written_secrets(rest, settings.server.environment)
    return settings.model_copy(update={"directory": directory, "problem": problem})  # not the environment's to say


def _known_variables(environment: Iterable[str], tables: list[str]) -> None:
    """Refuse a variable that looks like a setting but names no table: it would be ignored without a word."""
    for variable in environment:
        table, separator, _ = variable.removeprefix(PREFIX).lower().partition("__")
        if variable.startswith(PREFIX) and separator and table not in tables:
            what = f"The environment variable {variable} names an unknown table."
            raise SettingsInvalid(what, field=variable, fix=nearest(table, tables))


def _secrets_read(environment: Mapping[str, str | None]) -> dict[str, str | None]:
    """BONDHU_SERVER__ADMIN_KEY_FILE=/run/secrets/key stands for the first line of that file."""
    read = dict(environment)
    for variable, path in environment.items():
        name = variable.removesuffix(FROM_FILE)
        if name == variable or name.upper() not in SECRETS or path is None:
            continue
        try:
            read[name] = Path(path).read_text(encoding="utf-8").splitlines()[0]
        except (OSError, UnicodeDecodeError, IndexError) as error:
            why = error.strerror if isinstance(error, OSError) else "it holds no text"
            what = f"{variable.upper()} names {path}, which cannot be read: {why}."
            raise SettingsInvalid(what, field=variable.upper(), value=path, fix="Name a readable file.") from error
        del read[variable]
    return read


def _no_written_secrets(tables: Mapping[str, Any], environment: str) -> None:
    """Outside of development a secret comes from the environment or from a file of its own: bondhu.toml is shared."""
    if environment != "development" and urlsplit(str(dict(tables.get("store", {})).get("log", ""))).password:
        fix = f"Take it out; set {PREFIX}STORE__PASSWORD, or name a file that holds it in {PREFIX}STORE__PASSWORD_FILE."
        raise SettingsInvalid(f"The address store.log in {FILE} holds a password.", field="store.log", fix=fix)
    for table, settings in tables.items() if environment != "development" else ():
        for key in settings if isinstance(settings, Mapping) else ():
            variable = f"{PREFIX}{table}__{key}".upper()
            if variable in SECRETS:
                what = f"The secret {table}.{key} stands in {FILE}, which does not do for {environment!r}."
                fix = f"Take it out; set {variable}, or name a file that holds it in {variable}_FILE."
                raise SettingsInvalid(what, field=f"{table}.{key}", fix=fix)
    written = tables.get("streams", []) if environment != "development" else []
    for number, stream in enumerate(written if isinstance(written, list) else []):
        for key in ("password", "address"):
            if key in stream and (key == "password" or "@" in urlsplit(str(stream[key])).netloc):
                what = f"streams[{number}].{key} in {FILE} holds a password, which does not do for {environment!r}."
                fix = f"Take it out; set all streams, as JSON, in {PREFIX}STREAMS, or a file in {PREFIX}STREAMS_FILE."
                raise SettingsInvalid(what, field=f"streams[{number}].{key}", fix=fix)


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
        own = {"streams": Stream, "gateway": Gateway, "upstreams": Upstream}
        table: Any = own.get(str(first["loc"][0])) or Settings.model_fields[str(first["loc"][0])].annotation
        names = list(getattr(table, "model_fields", {}))
        return SettingsInvalid(f"Unknown setting {key}.", field=key, fix=nearest(str(first["loc"][-1]), names))
    value = first["input"]
    if SECRET.search(key) or first["type"] == "missing" or isinstance(value, Mapping | list | tuple):
        value = None  # a secret is not shown, nor a table that one may stand in
    got = "" if value is None else f" got {value!r}"
    fix = f"Mend it in {FILE} or in {PREFIX}{key.upper().replace('.', '__')}."
    return SettingsInvalid(f"Setting {key}{got}: {first['msg']}.", field=key, value=value, fix=fix)
