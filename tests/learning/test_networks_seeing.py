"""What networks make of bytes: an image is divided by its brightest pixel, features stay as they are."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from bondhu.errors import InvalidInput
from bondhu.learners import _columns, _networks
from bondhu.types import Spec


def test_features_of_bytes_are_trained_on_as_they_are_acted_on():
    value = _networks.value_network(np.random.default_rng(0), (3,), (4,))
    seen = np.array([[0, 7, 255], [1, 2, 3]], np.uint8)
    acted = _networks.asked(value, "tanh")(seen)[:, 0]
    assert np.asarray(_networks.value(value, seen, "tanh")) == pytest.approx(acted, rel=1e-5)
    np.testing.assert_array_equal(acted, _networks.asked(value, "tanh")(seen.astype(np.float32))[:, 0])


def test_an_image_is_divided_by_its_brightest_pixel():
    seen = np.full((1, 2, 2, 1), 255, np.uint8)
    assert np.asarray(_networks.through({}, seen, "tanh")).tolist() == [[1.0] * 4]


@pytest.mark.parametrize("shape", [(7, 7, 3), (35, 84, 4), (84, 35, 4), (4, 84, 84)])
def test_an_image_that_is_too_small_for_the_convolutions_is_refused(shape):
    with pytest.raises(InvalidInput, match=rf"\({shape[0]}, {shape[1]}, {shape[2]}\).* 36 pixels") as raised:
        _columns.seen_by(Spec(Box(0, 255, shape, np.uint8), Discrete(2)))
    assert raised.value.field == "observation_space"
    assert "symbols" in str(raised.value)


def test_the_smallest_image_leaves_one_pixel():
    shape = _columns.seen_by(Spec(Box(0, 255, (36, 36, 1), np.uint8), Discrete(2)))
    assert _networks.layers(np.random.default_rng(0), shape, (), _networks.orthogonal)[1] == 64
