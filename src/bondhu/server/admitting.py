"""Who is let in to a deployment, and within which limits, as the settings say."""

from __future__ import annotations

from bondhu.access.admission import Keys, Rules
from bondhu.app import App
from bondhu.serve.replies import Limits


def access_of(app: App, host: App | None = None) -> Keys:
    """The access of a deployment; `host`: the one at the root of the server, whose keys for all domains count here as
    well and whose administrator alone may make such keys."""
    server, first = app.settings.server, host or app
    required = server.environment != "development" if server.keys is None else server.keys
    rules = Rules(
        server.admin_key.get_secret_value(),
        required,
        server.rate,
        first.settings.server.workers,
        everywhere=first is app,
    )
    ledgers = (app.ledger,) if first is app else (app.ledger, first.ledger)
    return Keys(ledgers, app.domain.name, rules, app.now)


def limits_of(app: App) -> Limits:
    """What a request may cost before anybody looks at what it says."""
    server = app.settings.server
    return Limits(server.largest_body, server.body_seconds, frozenset(server.origins))
