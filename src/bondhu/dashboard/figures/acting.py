"""Versions ready to act, kept between pages, and what each of them would do in one context."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from bondhu.app import App
from bondhu.errors import BondhuError
from bondhu.ports import Registry
from bondhu.registry import lifecycle
from bondhu.registry.lifecycle import BASELINE
from bondhu.serve.explain import believed, exploration
from bondhu.serve.live import Live, masks
from bondhu.types import Acting, Decision

KEPT = 8  # versions of one registry that stay loaded: reading one and checking its files takes a tenth of a second
_taking = Lock()  # pages and errands are drawn and done by threads of their own
_kept: WeakKeyDictionary[Registry, dict[tuple[Any, ...], Acting]] = WeakKeyDictionary()


class Option(NamedTuple):
    """One action, as one version sees it in one context."""

    action: str
    probability: float
    value: float | None  # expected reward or return; None where the version does not say
    low: float | None  # 95 %
    high: float | None
    tries: float | None  # decisions behind the value


class Answer(NamedTuple):
    """What one version does in one context."""

    version: str
    options: tuple[Option, ...]  # of the allowed actions, in declared order
    problem: str = ""  # why there are none

    @property
    def blank(self) -> bool:
        """Whether the version knows values and yet nothing of this context: every action is alike to it."""
        alike = {each._replace(action="") for each in self.options}
        return len(self.options) > 1 and len(alike) == 1 and self.options[0].value is not None

    @property
    def likeliest(self) -> list[Option]:
        """The options that are taken most: several where they are equally good."""
        most = max((each.probability for each in self.options), default=0.0)
        return [each for each in self.options if each.probability >= most * (1 - 1e-12)]


def acting(app: App, version: str) -> Acting:
    """A version among the actions of today, with the exploration of the settings on top: as it decides."""
    rate = app.settings.exploration.rate

    def load() -> Acting:
        return Live.explored(app.acting(version), rate)

    return _loaded(app, ("now", version, tuple(app.domain.actions), rate), load)


def as_it_acted(app: App, allowed: Sequence[str]) -> Callable[[str | None], Acting]:
    """How a decision among these actions is made again, as `serve.decide.Decider.explain` does: among the actions that
    the version was trained for, unless newer ones were allowed, or in another order."""

    def restored(name: str | None) -> Acting:
        version = name or BASELINE
        trained = _loaded(app, ("trained", version), lambda: app.as_trained(version))
        if [name for name in trained.actions if name in allowed] == list(allowed):
            return trained
        return _loaded(app, ("present", version, tuple(app.domain.actions)), lambda: app.acting(version))

    return restored


def _loaded(app: App, key: tuple[Any, ...], load: Callable[[], Acting]) -> Acting:
    """The version known by `key`, loaded once while it is looked at. Raises BondhuError."""
    with _taking:
        kept = _kept.setdefault(app.deployment.registry, {})
        found = kept.get(key)
    found = found or load()  # two threads may load the same one: neither waits for the other
    with _taking:
        kept.pop(key, None)
        kept[key] = found  # at the end: it was looked at last
        while len(kept) > KEPT:
            del kept[next(iter(kept))]
    return found


def answer(app: App, version: str, context: Mapping[str, Any]) -> Answer:
    """What a version does in a context that the domain takes. What it cannot is a problem and not an error."""
    try:
        able = acting(app, version)
        observation = able.encoder.one(context)[None]
        allowed, (names,) = masks(able.actions, [app.domain.choices(context)])
        chances = able.policy.distribution(observation, allowed)[0].tolist()
        known = believed(able, observation)
    except BondhuError as error:
        return Answer(version, (), str(error))
    except Exception as error:  # a learner of somebody's own may raise anything; the other versions can still answer
        return Answer(version, (), f"It cannot act in this context: {type(error).__name__}: {error}")
    options = zip(able.actions, chances, known, strict=True)
    return Answer(version, tuple(Option(name, p, *of) for name, p, of in options if name in names))


def compared(app: App, older: str | None) -> tuple[str, ...]:
    """The live version, the rule, and the one that they are to be seen beside: each once. That is `older`; else the one
    that was live before, or the one that is being released, or the newest one."""
    events = app.events()
    now = lifecycle.traffic(events)
    live, before = now.live or BASELINE, lifecycle.previous(events)
    released = now.step.version if now.step else None
    others = [name for name in (before, released, *reversed(app.versions())) if name not in (None, BASELINE, live)]
    return tuple(dict.fromkeys((live, BASELINE, older or next(iter(others), None) or BASELINE)))


def never_seen(actions: int) -> str:
    """What is said of a version to which all of so many actions are alike."""
    return f"This version has never seen such a context: all {actions} actions are alike to it."


def explored(decision: Decision, able: Acting) -> bool:
    """Whether another action was likelier than the one that was taken."""
    observation = able.encoder.one(decision.context)[None]
    allowed, _ = masks(able.actions, [decision.allowed])
    chances = Live.explored(able, exploration(decision)).policy.distribution(observation, allowed)[0]
    return bool(chances[able.actions.index(decision.action)] < chances.max())
