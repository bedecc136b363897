"""What the HTTP interface of a deployment is put together from. Who adds a part adds a line here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

from bondhu.access.administrator import check_admin_key
from bondhu.access.signatures import key_of
from bondhu.app import App
from bondhu.log.stores import is_postgres
from bondhu.serve.forwarding import Forwarding
from bondhu.serve.http import Interface, cold, create_app, described, interface
from bondhu.serve.parts import Parts, Webhook
from bondhu.serve.replies import Application
from bondhu.serve.tenants import Tenants
from bondhu.serve.writing import Writer
from bondhu.serve.writing.process import ProcessWriter
from bondhu.serve.writing.thread import ThreadWriter
from bondhu.server.administration import Administration
from bondhu.server.admitting import access_of, limits_of
from bondhu.server.configuring import kept_of
from bondhu.server.gateway import gateway_of
from bondhu.server.sockets import PAGES
from bondhu.server.telling import meter_of, traced
from bondhu.settings import Webhooks
from bondhu.streams.opening import consumers


class Place(NamedTuple):
    """Where a worker stands among those that share the work."""

    own: int = 0  # from 0
    shared: Path | None = None  # a folder for what they share; None: there is one process


ALONE = Place()


def parts_of(app: App, writer: Writer, host: App | None = None, place: Place = ALONE) -> Parts:
    """The parts of one deployment; raises SettingsInvalid for an administrator's key that is not safe to run with.
    `host`: the deployment at the root of the server, where it is another."""
    server = app.settings.server
    check_admin_key(server.admin_key.get_secret_value(), server.environment)
    return Parts(
        app.decider(),
        writer,
        Administration(app),
        access_of(app, host),
        meter=meter_of(app, place.shared, place.own),
        ledger=app.ledger,
        limits=limits_of(app),
        kept=kept_of(app),
        webhook=webhook_of(app.settings.webhooks),
        gateway=gateway_of(app),
        pages=pages_of(app, place),
        streams=partial(consumers, app.settings.streams, place.own),
    )


def make_asgi(app: App, writer: Writer | None = None, host: App | None = None, place: Place = ALONE) -> Application:
    """The ASGI application of one deployment; without a writer, one that fits its store in this process."""
    return create_app(parts_of(app, writer or writer_of(app), host, place))


def description(app: App) -> dict[str, Any]:
    """The OpenAPI document of a deployment."""
    parts = parts_of(app, writer_of(app))
    return described(cold(parts), parts)


def pages_of(app: App, place: Place) -> Forwarding | None:
    """The way to the process that shows pages, where there is one."""
    return Forwarding(str(place.shared / PAGES)) if place.shared and app.settings.dashboard.enabled else None


def webhook_of(settings: Webhooks) -> Webhook | None:
    """How pushed feedback is known, where a key is set."""
    return Webhook(key_of(settings.key.get_secret_value()), settings.tolerance) if settings.key else None


def writer_of(app: App, socket: str | None = None) -> Writer:
    """Who has rows committed for this process; `socket` leads to the process that writes, where there is one."""
    server = app.settings.server
    waiting = max(1, server.waiting // server.workers)
    if socket:
        return ProcessWriter(socket, waiting)
    if is_postgres(app.settings.store.log):  # what it needs is installed where there is PostgreSQL only
        from bondhu.log.postgres.log import PostgresLog
        from bondhu.serve.writing.postgres import PostgresWriter

        return PostgresWriter(cast(PostgresLog, app.log), waiting)
    return ThreadWriter(app.log, waiting)


def composed(apps: Sequence[App], writers: Sequence[Writer], place: Place = ALONE) -> Interface:
    """One application for several deployments: the first at the root, the others under /domains/NAME."""
    first, direct = interface(parts_of(apps[0], writers[0], None, place))
    rest = zip(apps[1:], writers[1:], strict=True)
    others = {app.domain.name: make_asgi(app, writer, apps[0], place) for app, writer in rest}
    app = Tenants(first, others) if others else first
    if apps[0].settings.telemetry.traces is not None:
        return Interface(traced(app, apps[0].settings), None)  # spans are made on the long way
    return Interface(app, direct)
