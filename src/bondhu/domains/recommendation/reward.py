"""What an interaction is worth, by the weights of the domain or others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bondhu.domains.recommendation import domain
from bondhu.errors import InvalidInput, nearest
from bondhu.ports import Signal

MEASURED = ("completion_rate", "mood_improvement")  # signals with a value; the others happen or do not


@dataclass(frozen=True)
class RewardFunction:
    """Adds up what is known of one recommendation."""

    weights: Mapping[str, float] = field(default_factory=dict)  # instead of the domain's, signal by signal

    def __post_init__(self) -> None:
        for name in self.weights:
            self._signal(name)

    def calculate_reward(
        self,
        interaction_type: str | Iterable[str] = (),
        completion_rate: float | None = None,
        mood_improvement: float | None = None,
    ) -> float:
        """The sum of weight x value over the interactions and measurements given."""
        interactions = [interaction_type] if isinstance(interaction_type, str) else list(interaction_type)
        for name in interactions:
            if name in MEASURED:
                raise InvalidInput(
                    f"{name!r} needs a value.", field="interaction_type", value=name, fix=f"Pass {name}=…"
                )
        measured = {"completion_rate": completion_rate, "mood_improvement": mood_improvement}
        given = {name: value for name, value in measured.items() if value is not None}
        return sum(map(self._weight, interactions)) + sum(self._worth(name, value) for name, value in given.items())

    def _worth(self, name: str, value: float) -> float:
        signal = self._signal(name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not signal.low <= value <= signal.high:
            fix = f"Send a number from {signal.low:g} to {signal.high:g}."
            raise InvalidInput(f"{name} got {value!r}.", field=name, value=value, fix=fix)
        return self._weight(name) * value

    def _weight(self, name: str) -> float:
        return self.weights.get(name, self._signal(name).weight)

    @staticmethod
    def _signal(name: str) -> Signal:
        signals = domain().reward.signals
        if name not in signals:
            what = f"There is no interaction {name!r}."
            raise InvalidInput(what, field="interaction_type", value=name, fix=nearest(name, signals))
        return signals[name]
