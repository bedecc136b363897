"""The most that a request may cost, before it is known what it does: what is held back of the day's budget for it.

Whatever is unknown counts as much as it may be: the dearest upstream that may be asked, every sample, the judge, the
longest answer. What an attempt costs that fails in between is counted when it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from bondhu.domains.assistant.strategies import Strategies, Strategy
from bondhu.serve.gateway.upstream import Upstream
from bondhu.serve.gateway.usage import Price, Usage, cost

DENSEST = 2  # bytes for a token, in texts that have many of them
UNLIMITED = 4_096  # tokens of an answer that nobody limited
AROUND = 64  # bytes around each message that a strategy adds
JUDGED = 8_000 * 4  # bytes of the question, and of each answer, that a judge reads at most
FREE: Price = (0.0, 0.0)


class Tariff(NamedTuple):
    """What one strategy costs."""

    price: Price  # of the dearest upstream that may be asked
    added: int = 0  # bytes of its own: system text and examples
    limit: int | None = None  # tokens of an answer; None: as the request says
    samples: int = 1
    judge: Price = FREE

    def most(self, size: int, limit: int | None) -> float:
        """Dollars for a request of so many bytes, and an answer of so many tokens."""
        made = self.limit or limit or UNLIMITED
        dollars = self.samples * cost(Usage(-(-(size + self.added) // DENSEST), made), self.price)
        if self.judge == FREE:
            return dollars
        return dollars + cost(Usage(-(-JUDGED * (self.samples + 1) // DENSEST), UNLIMITED), self.judge)


def tariff(strategy: Strategy, upstreams: Mapping[str, Upstream]) -> Tariff:
    """What a strategy costs."""
    first = upstreams[strategy.upstream]
    asked = [(first, strategy.model)]
    asked += [(upstreams[name], upstreams[name].model or strategy.model) for name in first.fallback]
    texts = [strategy.system, *(text for pair in strategy.examples for text in pair)]
    added = sum(len(text.encode()) + AROUND for text in texts if text)
    judge, colon, judging = strategy.judge.partition(":")
    judges = [(upstreams[judge], judging)] if colon and strategy.samples > 1 else []
    judges += [(upstreams[name], upstreams[name].model or judging) for each, _ in judges for name in each.fallback]
    return Tariff(_dearest(asked), added, strategy.max_tokens, strategy.samples, _dearest(judges))


def tariffs(strategies: Strategies, upstreams: Mapping[str, Upstream]) -> Sequence[Tariff]:
    """Those of all actions, each once."""
    actions = ("/".join(values) for values in product(*strategies.parts.values()))
    return list(dict.fromkeys(tariff(strategies.of(action), upstreams) for action in actions))


def most(known: Iterable[Tariff], size: int, limit: int | None) -> float:
    """Dollars of a request under the dearest of these."""
    return max((each.most(size, limit) for each in known), default=0.0)


def _dearest(asked: Sequence[tuple[Upstream, str]]) -> Price:
    """Of input and of output."""
    prices = [upstream.prices.get(model, FREE) for upstream, model in asked]
    return max((each[0] for each in prices), default=0.0), max((each[1] for each in prices), default=0.0)
