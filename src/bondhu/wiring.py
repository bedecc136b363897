"""From settings to parts: the domain that they declare, the rules of the gate, and a learner that fits the domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields as fields_of
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu import learners
from bondhu.domains import declared
from bondhu.domains import recommendation as recommendation_domain
from bondhu.errors import InvalidInput, SettingsInvalid, UnknownName, nearest
from bondhu.monitor.alerts import Channel, LogChannel, Mail, Webhook
from bondhu.ports import Domain
from bondhu.settings import Alerts, Learning, Settings
from bondhu.types import Spec

GROUPED = ("category", "number", "text", "person")  # kinds of field that people can be grouped by


def checked_learner(chosen: Learning, domain: Domain) -> Learning:
    """The learner of the settings, with what it can know of the domain filled in; raises SettingsInvalid where it
    does not exist, has no such hyper-parameters, or cannot decide in this domain."""
    try:
        kind = learners.find(chosen.name)
    except UnknownName as error:
        raise SettingsInvalid(error.what, field="learner.name", value=chosen.name, fix=error.fix) from error
    given = {**_person(kind, chosen, domain), **_range(kind, domain), **chosen.hyperparameters}
    try:
        learner = learners.build(chosen.name, given)
    except InvalidInput as error:
        key = f"learner.{error.field}"
        raise SettingsInvalid(f"{key}: {error.what}", field=key, value=error.value, fix=error.fix) from error
    described = domain.describe()
    if learner.observes is MultiDiscrete and "candidates" in described:
        what = f"{chosen.name} does not see features, and candidates are known by theirs alone."
        raise SettingsInvalid(what, field="learner.name", fix="Use bandit.online_regression.")
    try:
        learner.init(_small(learner.observes, domain), np.random.default_rng(0))
    except InvalidInput as error:
        what = f"{chosen.name} cannot decide in this domain: {error.what}"
        fix = "Choose another in docs/learners.md; slates and dials are for programs of their own, not for the service."
        raise SettingsInvalid(what, field="learner.name", value=chosen.name, fix=fix) from error
    return Learning(name=chosen.name, **given)


def _person(kind: type[Any], chosen: Learning, domain: Domain) -> dict[str, Any]:
    """Where the person stands in an observation, for a learner that asks for it and was not told."""
    asks = "person" in {each.name for each in fields_of(kind)}
    if not asks or "person" in chosen.hyperparameters:
        return {}
    kinds = [each["kind"] for each in domain.describe()["fields"]]
    if "person" not in kinds:
        fix = 'Declare one: [context.person] with kind = "person".'
        raise SettingsInvalid(f"{chosen.name} needs a field that says who it is.", field="context", fix=fix)
    return {"person": kinds.index("person")}


def _range(kind: type[Any], domain: Domain) -> dict[str, Any]:
    """For a learner that has to know from where to where rewards lie: what they come to where each signal is said once
    at most. Said again it comes to more, which is clipped rather than refused, or nothing would be learned."""
    if not {each.name for each in fields_of(kind)} >= {"low", "high", "clips"}:
        return {}
    ends = [sorted((each.weight * each.low, each.weight * each.high)) for each in domain.reward.signals.values()]
    low = min(domain.reward.default, sum(min(each, 0.0) for each, _ in ends))
    high = max(domain.reward.default, sum(max(each, 0.0) for _, each in ends))
    return {"low": low, "high": high if high > low else low + 1.0, "clips": True}


def _small(observes: type[Any], domain: Domain) -> Spec:
    """The domain's spaces with few codes: whether a learner takes them at all is found out without a large table."""
    space = domain.encoder(observes).space
    if isinstance(space, MultiDiscrete):
        space = MultiDiscrete(np.minimum(space.nvec, 2))
    elif isinstance(space, Box) and len(space.shape) == 1:
        space = Box(-np.inf, np.inf, (min(space.shape[0], 4),))
    return Spec(space, Discrete(len(domain.actions)), domain.action_features)


def open_domain(settings: Settings) -> Domain:
    """The declared domain; `[domain] extends = "recommendation"` starts from the built-in one."""
    problem = dict(settings.problem)
    if not problem:
        return recommendation_domain.domain()
    table = dict(problem.get("domain", {}))
    parent, bins = table.pop("extends", None), table.pop("bins", None)
    if parent is None:
        return declared.from_table(problem)
    if parent != "recommendation":
        fix = nearest(str(parent), ["recommendation"])
        raise SettingsInvalid(
            f"domain.extends got {parent!r}, which is no built-in domain.", field="domain.extends", fix=fix
        )
    return declared.from_table(merged(recommendation_domain.table(bins), {**problem, "domain": table}))


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables laid over tables; a value replaces a value."""
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
        result[key] = merged(below[key], value) if both else value
    return result


def channels_of(settings: Alerts) -> list[Channel]:
    """Where alerts go: always into the log; to a webhook and by e-mail where they are set."""
    if settings.mail_host is not None and not settings.mail_to:
        raise SettingsInvalid("alerts.mail_host is set, but alerts.mail_to names nobody.", field="alerts.mail_to")
    channels: list[Channel] = [LogChannel()]
    if settings.webhook is not None:
        key = settings.webhook_key.get_secret_value() if settings.webhook_key else None
        channels.append(Webhook(settings.webhook.get_secret_value(), key))
    if settings.mail_host is not None:
        password = settings.mail_password.get_secret_value() if settings.mail_password else None
        to, user = tuple(settings.mail_to), settings.mail_user
        host, sender, port = settings.mail_host, settings.mail_from, settings.mail_port
        channels.append(Mail(host, sender, to, port, user, password, starttls=settings.mail_starttls))
    return channels
