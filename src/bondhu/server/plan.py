"""What a server is to run, from settings that were read and checked whole; on demand by an interpreter of its own, so
that new settings are checked by the release that is installed now."""

from __future__ import annotations

import ssl
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from bondhu.app import App, open_app
from bondhu.errors import SettingsInvalid
from bondhu.log.stores import is_postgres
from bondhu.server.assembly import composed, writer_of
from bondhu.settings import FILE, Settings, from_tables, load

CHECKING = 120.0  # seconds that a check of settings may take


class Asked(msgspec.Struct, frozen=True):
    """What was said on the command line."""

    directory: str
    workers: int | None = None  # None: as the settings say
    writer: str | None = None  # likewise


class Folder(msgspec.Struct, frozen=True):
    """A deployment as its settings were when they were checked: whoever edits the file changes nothing that runs."""

    path: str
    text: str  # of bondhu.toml

    @classmethod
    def of(cls, app: App) -> Folder:
        path = app.settings.directory.resolve()
        return cls(str(path), (path / FILE).read_text(encoding="utf-8"))

    def opened(self) -> App:
        """The deployment; raises BondhuError."""
        return open_app(from_tables(tomllib.loads(self.text), Path(self.path)))


def as_served(app: App, workers: int) -> App:
    """The deployment with as many workers as there really are: what they share is divided by that number."""
    server = app.settings.server.model_copy(update={"workers": workers})
    return replace(app, settings=app.settings.model_copy(update={"server": server}))


class Plan(msgspec.Struct, frozen=True):
    """What the supervisor needs to know."""

    folders: list[Folder]  # the first one is at the root
    stores: list[str | None]  # by deployment: the SQLite file that a process writes to; None: workers write themselves
    workers: int
    drain_seconds: float
    keeper: bool  # whether anything is scheduled
    single: bool  # whether one process does all of it
    pages: bool = False  # whether another one shows pages


def apps_of(app: App) -> list[App]:
    """The deployment and the others that [server] domains names; raises SettingsInvalid where two have one name."""
    others = [open_app(load(app.settings.path(folder))) for folder in app.settings.server.domains]
    names = [each.domain.name for each in (app, *others)]
    for name in names:
        if names.count(name) > 1:
            what = f"Two deployments of this server are called {name!r}."
            raise SettingsInvalid(what, field="server.domains", value=name, fix="Give one another [domain] name.")
    return [app, *others]


def plan_of(apps: Sequence[App], asked: Asked) -> Plan:
    """The plan for these deployments; raises SettingsInvalid."""
    server = apps[0].settings.server
    workers, writer = asked.workers or server.workers, asked.writer or server.writer
    embedded = [not is_postgres(app.settings.store.log) for app in apps]
    if writer == "thread" and workers > 1 and any(embedded):
        fix = 'Set it to "auto" or "process", or run one worker.'
        what = f"{workers} workers cannot each write to one SQLite file."
        raise SettingsInvalid(what, field="server.writer", value=writer, fix=fix)
    single = workers == 1 and (writer != "process" or not any(embedded))
    files = [app.settings.path(app.settings.store.log).resolve() for app in apps]
    return Plan(
        [Folder.of(app) for app in apps],
        [str(file) if inside else None for file, inside in zip(files, embedded, strict=True)],
        workers,
        server.drain_seconds,
        any(app.settings.schedule.enabled for app in apps),
        single,
        any(app.settings.dashboard.enabled for app in apps),
    )


def check(apps: Sequence[App]) -> None:
    """Try what could keep a worker from starting; raises BondhuError."""
    check_certificate(apps[0].settings)
    composed(apps, [writer_of(app) for app in apps])


def check_certificate(settings: Settings) -> None:
    """Raises SettingsInvalid where TLS was asked for and cannot be had."""
    certificate, key = settings.server.certificate, settings.server.certificate_key
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        what, fix = "TLS needs a certificate and its key; one is set.", "Set certificate and certificate_key."
        raise SettingsInvalid(what, field="server.certificate", fix=fix)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings.path(certificate), settings.path(key), password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        what, fix = f"TLS cannot use {certificate} with {key.name}: {error}.", "Name two PEM files."
        raise SettingsInvalid(what, field="server.certificate", fix=fix) from error


def checked_anew(asked: Asked) -> Plan | None:
    """The plan as a new interpreter makes it; None where it refused, after it said why."""
    command = [sys.executable, "-m", "bondhu.server.checking", msgspec.json.encode(asked).decode()]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=CHECKING, check=True)  # noqa: S603  ours
        return msgspec.json.decode(done.stdout, type=Plan)
    except (subprocess.SubprocessError, OSError, msgspec.MsgspecError):
        return None
