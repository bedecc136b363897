"""What a recurrent learner remembers, for those who hold it: the last columns of what it is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bondhu.types import Batch, Learner


def remembered_by(learner: Learner[Any]) -> int:
    """How many numbers it remembers from row to row, however deep the recurrent one lies in others; 0: none."""
    inner: Any = learner
    while hasattr(inner, "inner"):  # what a learner calls another that it holds
        inner = inner.inner
    return int(getattr(inner, "memory", 0))


def shape_without(shape: tuple[int, ...], memory: int) -> tuple[int, ...]:
    """The shape of what the environment itself shows."""
    return (shape[0] - memory,) if memory else shape


def without(batch: Batch, memory: int) -> Batch:
    """The batch with what the environment itself showed, before and after."""
    if not memory:
        return batch
    seen, following = batch.observation[:, :-memory], batch.next_observation[:, :-memory]
    return replace(batch, observation=seen, next_observation=following)
