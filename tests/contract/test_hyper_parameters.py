"""What `require` takes for a hyper-parameter, and what it refuses in one clear error."""

from dataclasses import dataclass

import numpy as np
import pytest

from bondhu.catalogue import require
from bondhu.errors import InvalidInput


@dataclass(frozen=True)
class Part:
    steps: int = 1
    rate: float = 0.5

    def __post_init__(self):
        require(self, 0, 10, "steps", "rate")


@pytest.mark.parametrize("value", [2.5, 2.0, float("nan"), float("inf"), None])
def test_what_is_declared_an_int_takes_no_fraction(value):
    with pytest.raises(InvalidInput, match="It must be a whole number") as raised:
        Part(steps=value)
    assert raised.value.field == "steps"


def test_whole_numbers_of_every_kind_are_taken_and_floats_may_be_whole():
    assert Part(steps=np.int64(3), rate=2) == Part(steps=3, rate=2.0)


def test_a_number_out_of_bounds_is_told_its_bounds():
    for given in ({"steps": 11}, {"rate": -0.1}):
        with pytest.raises(InvalidInput, match="from 0 to 10"):
            Part(**given)


def test_a_learner_refuses_a_fraction_of_a_step():
    from bondhu.learners.deep.dqn import Dqn

    with pytest.raises(InvalidInput, match=r"'n_step' got 2\.5"):
        Dqn(n_step=2.5)
