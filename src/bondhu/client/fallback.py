"""What an application does by itself while the service is away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bondhu.serve.ids import Draws, Ids
from bondhu.serve.messages import Answer, Heard, Request, Said

Fallback = Callable[[Request], tuple[str, float]]  # the action to take, and its probability
VERSION = "fallback"  # of an answer that the service did not give: nobody logged it, nothing is learned from it
PREFIX = "fallback-"  # of its id
_ids = Ids()


def otherwise(action: str) -> Fallback:
    """Always this action."""
    return lambda _: (action, 1.0)


def baseline_of(directory: Path | str) -> Fallback:
    """The baseline rule of a bondhu.toml, as the service itself would follow it."""
    from gymnasium.spaces import MultiDiscrete  # an application that only calls a server needs none of these

    from bondhu.serve.live import masks
    from bondhu.settings import load
    from bondhu.wiring import open_domain

    domain = open_domain(load(Path(directory)))
    rule, encoder, actions = domain.baseline(), domain.encoder(MultiDiscrete), tuple(domain.actions)

    def decide(request: Request) -> tuple[str, float]:
        allowed, _ = masks(actions, [request.allowed])
        draws = Draws(domain.name, [request.id or ""])
        choice = rule.sample(encoder.one(request.context)[None], allowed, draws)
        return actions[int(choice.action[0])], float(choice.probability[0])

    return decide


def answered(fallback: Fallback, request: Request) -> Answer:
    """The answer of the application itself."""
    action, probability = fallback(request)
    return Answer(f"{PREFIX}{request.id}", action, probability, VERSION)


def is_ours(said: Said) -> bool:
    """Whether feedback is about a decision that the service knows nothing of: it is not sent."""
    return said.decision_id.startswith(PREFIX)


def unheard(said: Said) -> Heard:
    return Heard(said.id, said.decision_id, "unheard")


def new_id(now: float) -> str:
    """An id that sorts by time, so that feedback may come before its decision."""
    return _ids(1, now)[0]
