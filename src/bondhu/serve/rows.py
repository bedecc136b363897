"""What a version does in the contexts that it met lately: a context that comes again costs a look-up.

A policy that acts by rows is a function of the context and of what is allowed, so its distribution is computed once and
kept as running sums. Drawing from them is a bisection, with the same action and probability, bit for bit, as
`Policy.sample` gives with the same number. New contexts of one call are computed together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from bondhu.log.checks import Written, encode
from bondhu.policies.drawing import by_row, rising
from bondhu.ports import Domain
from bondhu.serve.checks import observed, open_to
from bondhu.serve.live import masks
from bondhu.serve.messages import Request
from bondhu.types import Acting, Array, Booleans

KEPT = 8_192  # contexts kept at least, and twice as many at most
LONGEST = 1_024  # bytes of a context that is kept
MEMORY = 8 << 20  # bytes of probabilities that those may take; many actions: fewer contexts


class Row(NamedTuple):
    """One context, and what may be done in it: columns first to last of these numbers are the version's actions."""

    sums: memoryview  # running sums of the probabilities of several rows, side by side
    chances: memoryview  # the probabilities
    first: int
    last: int
    allowed: tuple[str, ...]  # in declared order


row = partial(tuple.__new__, Row)  # from all its fields in their order: a third of the time of naming each


def written(request: Request) -> bytes:
    """A context as it is logged, which is as it was sent."""
    context = request.context
    return context.json if type(context) is Written else encode(context)


class Asked(NamedTuple):
    """What some requests ask of a version."""

    observation: Array  # [T, F]
    allowed: Booleans  # [T, A]
    names: list[tuple[str, ...]]  # of the allowed actions


class Rows:
    """The rows of one version; forgotten with it."""

    def __init__(self, acting: Acting, domain: Domain) -> None:
        self.acting = acting
        self.by_row = by_row(acting.policy)
        self._domain = domain
        self._size = max(1, min(KEPT, MEMORY // (16 * max(1, len(acting.actions)))))
        self._young: dict[object, Row] = {}
        self._old: dict[object, Row] = {}

    def asked(self, requests: Sequence[Request]) -> Asked:
        """What the policy sees, and what is open to it; raises InvalidInput, which says of many which it was."""
        observation = observed(self.acting.encoder, self._domain, [each.context for each in requests])
        return Asked(observation, *self._open(requests))

    def of(self, requests: Sequence[Request]) -> list[Row]:
        """A row for each request, of a version that acts by rows; raises InvalidInput, which says of many which it
        was."""
        try:
            texts = [*map(written, requests)]
            keys: list[object] = [
                text if each.allowed is None else (text, tuple(each.allowed))
                for text, each in zip(texts, requests, strict=True)
            ]
            found = [*map(self._young.get, keys)]
        except Exception:  # what cannot be written or compared cannot be kept; encoding it says why
            return self._computed(requests, self.asked(requests).observation)
        if not all(found):
            found = [each or self._old.get(key) for each, key in zip(found, keys, strict=True)]
            new = [at for at, each in enumerate(found) if each is None]
            for at, made in zip(new, self._new(requests, texts, new) if new else (), strict=True):
                found[at] = made
            kept = zip(texts, keys, found, strict=True)
            self._young.update({key: each for text, key, each in kept if len(text) <= LONGEST and each is not None})
            if len(self._young) > self._size:
                self._young, self._old = {}, self._young
        return found  # type: ignore[return-value]  # likewise

    def _new(self, requests: Sequence[Request], texts: Sequence[bytes], new: Sequence[int]) -> list[Row]:
        """Rows for those of the requests that have none yet."""
        alone, some = len(requests) == 1, [requests[at] for at in new]
        contexts, lines = [each.context for each in some], [texts[at] for at in new]
        seen = observed(self.acting.encoder, self._domain, contexts, None if alone else new, lines)
        return self._computed(some, seen)

    def _computed(self, requests: Sequence[Request], observation: Array) -> list[Row]:
        """One call of the policy for all of them."""
        allowed, names = self._open(requests)
        chances = np.ascontiguousarray(self.acting.policy.distribution(observation, allowed), np.float64)
        width = chances.shape[1]
        sums, flat = rising(chances).ravel().data, chances.ravel().data
        return [row((sums, flat, at * width, at * width + width, could)) for at, could in enumerate(names)]

    def _open(self, requests: Sequence[Request]) -> tuple[Booleans, list[tuple[str, ...]]]:
        """Which actions each may take, `[T, A]`, and their names."""
        return masks(self.acting.actions, [open_to(self._domain, each) for each in requests])
