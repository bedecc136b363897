"""A log that is older than the declaration: what no longer fits is left out and counted, the rest is learned from."""

from __future__ import annotations

from math import inf

import pytest
from gymnasium.spaces import MultiDiscrete

from bondhu.domains.declared import from_table
from bondhu.errors import InvalidInput
from bondhu.log.join import join
from bondhu.log.memory import MemoryLog
from bondhu.types import Decision, Feedback

DOMAIN = from_table(
    {
        "domain": {"name": "shop", "idle": 0},
        "context": {"page": {"kind": "category", "values": ["home", "cart"]}},
        "actions": {"names": ["red", "blue"]},
        "reward": {"wait": 0, "signals": {"click": 1.0}},
    }
)


def logged(contexts: list[dict[str, object]]) -> MemoryLog:
    log = MemoryLog()
    for number, context in enumerate(contexts):
        id_ = f"d{number}"
        log.append(
            [Decision(id_, "shop", id_, None, float(number), context, ("red", "blue"), "red", 0.5, (), "v", "live")],
            [Feedback(f"f{number}", id_, "click", 1.0, float(number))],
        )
    return log


def test_contexts_that_no_longer_fit_are_left_out_and_counted_with_the_reason() -> None:
    log = logged([{"page": "home"}, {"page": "checkout"}, {"page": "cart"}, {"page": "home", "age": 3}])
    result = join(DOMAIN, log.read("shop", 0, 10), start=-inf, end=inf, observes=MultiDiscrete)
    assert result.rows.tolist() == [0, 2]
    assert result.batch.observation.tolist() == [[0], [1]]
    assert result.batch.reward.tolist() == [1.0, 1.0]
    assert result.report.unfit == 2
    assert "checkout" in result.report.unfit_why


def test_a_log_in_which_nothing_fits_gives_an_empty_batch() -> None:
    result = join(DOMAIN, logged([{"age": 3}]).read("shop", 0, 10), start=-inf, end=inf, observes=MultiDiscrete)
    assert (len(result.batch), result.report.unfit) == (0, 1)


def test_an_error_that_no_single_context_explains_is_raised() -> None:
    class Refusing:
        def __getattr__(self, name: str) -> object:
            return getattr(DOMAIN, name)

        def encoder(self, observes: object) -> None:
            raise InvalidInput("No such encoder.")

    with pytest.raises(InvalidInput, match="No such encoder"):
        join(Refusing(), logged([{"page": "home"}]).read("shop", 0, 10), start=-inf, end=inf, observes=MultiDiscrete)  # type: ignore[arg-type]  # on purpose
