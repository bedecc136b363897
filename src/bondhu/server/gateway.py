"""The gateway of a deployment as its settings say, checked whole before anything is served."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import product

from bondhu.app import App
from bondhu.domains.assistant.strategies import Strategies, strategies
from bondhu.errors import SettingsInvalid, nearest
from bondhu.privacy.masks import SHORTEST_SALT
from bondhu.serve.gateway.breaker import Rules
from bondhu.serve.gateway.parts import Gateway
from bondhu.serve.gateway.spending import COST
from bondhu.serve.gateway.upstream import Upstream
from bondhu.server.embedding import embedding_of
from bondhu.settings import Settings


def gateway_of(app: App) -> Gateway | None:
    """The gateway; None where there is no table [gateway]. Raises SettingsInvalid."""
    settings, own = app.settings, app.settings.gateway
    if own is None:
        if settings.strategies:  # addresses alone may be those of another deployment, from the environment
            what = "There is a table [strategies], but no gateway."
            raise SettingsInvalid(what, field="strategies", fix="Add a table [gateway].")
        return None
    salt = settings.privacy.salt.get_secret_value() if settings.privacy.salt else ""
    for name in ("prompt", "answer"):
        if getattr(own, name) == "hash" and len(salt.strip()) < SHORTEST_SALT:
            what = f'gateway.{name} is "hash", but there is no salt of {SHORTEST_SALT} characters.'
            fix = "Set BONDHU_PRIVACY__SALT to a long random text, such as `openssl rand -hex 32` prints, and keep it."
            raise SettingsInvalid(what, field="privacy.salt", fix=fix)
    upstreams = {name: _upstream(name, settings) for name in settings.upstreams}
    parts = {part: tuple(values) for part, values in app.domain.describe()["actions"]}
    chosen = strategies(parts, settings.strategies)
    chosen.complete(upstreams)
    if own.dollars_per_day is not None:
        _check_budget(app, chosen, upstreams)
    return Gateway(
        chosen,
        upstreams,
        app.stores.transcripts,
        own.prompt,
        own.answer,
        salt.encode(),
        own.dollars_per_day,
        settings.server.workers,
        Rules(own.breaker_failures, own.breaker_seconds),
        embedding_of(app),
    )


def _upstream(name: str, settings: Settings) -> Upstream:
    """One table with its key."""
    table = settings.upstreams[name]
    for other in table.fallback:
        if other not in settings.upstreams or other == name:
            fix = nearest(other, [each for each in settings.upstreams if each != name])
            what = f"The upstream {name!r} falls back to {other!r}, which is no other upstream."
            raise SettingsInvalid(what, field=f"upstreams.{name}.fallback", value=other, fix=fix)
    if any(price < 0 for pair in table.prices.values() for price in pair):
        raise SettingsInvalid(
            "A price is below 0.", field=f"upstreams.{name}.prices", fix="Write dollars for a million tokens."
        )
    key = os.environ.get(table.key_from, "").strip() if table.key_from else ""
    if table.key_from and (not key or not key.isprintable() or not key.isascii()):
        what = f"The environment variable {table.key_from} holds no key for the upstream {name!r}."
        fix = f'Set it, or write key_from = "" below [upstreams.{name}] where no key is needed.'
        raise SettingsInvalid(what, field=f"upstreams.{name}.key_from", value=table.key_from, fix=fix)
    return Upstream(
        name,
        table.url.rstrip("/"),
        key,
        table.timeout,
        table.connect_timeout,
        table.retries,
        tuple(table.fallback),
        table.prices,
        table.model,
        table.usage,
        table.total_timeout,
    )


def _check_budget(app: App, chosen: Strategies, upstreams: Mapping[str, Upstream]) -> None:
    """Raises SettingsInvalid where money could be spent that nobody counts."""
    if COST not in app.domain.reward.signals:
        what = "gateway.dollars_per_day needs the signal 'cost', by which the log knows what was spent."
        fix = "Add cost = { weight = 0, range = [0, 100] } to the signals of [reward]."
        raise SettingsInvalid(what, field="reward.signals", fix=fix)
    for values in product(*chosen.parts.values()):
        strategy = chosen.of("/".join(values))
        first = upstreams[strategy.upstream]
        asked = {first.name: strategy.model}
        asked.update({name: upstreams[name].model or strategy.model for name in first.fallback})
        judge, colon, judging = strategy.judge.partition(":")
        for name, model in (*asked.items(), *(((judge, judging),) if colon else ())):
            if model not in upstreams[name].prices:
                what = f"gateway.dollars_per_day is set, but upstreams.{name}.prices has no price of {model!r}."
                fix = f"Add {model!r} = [dollars, dollars] for a million tokens in and out; [0, 0] where it is free."
                raise SettingsInvalid(what, field=f"upstreams.{name}.prices", value=model, fix=fix)
