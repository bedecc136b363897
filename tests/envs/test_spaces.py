"""Observations of every kind as features: the same columns as Gymnasium's own flattening, for N at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    Graph,
    MultiBinary,
    MultiDiscrete,
    Sequence,
    Space,
    Text,
    Tuple,
    flatdim,
    flatten,
)
from gymnasium.vector.utils import concatenate, create_empty_array
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.envs.spaces import feature_space, features, is_image, seen
from bondhu.errors import InvalidInput

plain = st.one_of(
    st.builds(Discrete, st.integers(1, 5), start=st.integers(-3, 3)),
    st.lists(st.integers(1, 4), min_size=1, max_size=3).map(MultiDiscrete),
    st.integers(1, 4).map(MultiBinary),
    st.lists(st.integers(1, 3), min_size=0, max_size=3).map(lambda shape: Box(-2, 3, tuple(shape), np.float32)),
    st.just(Box(0, 255, (2, 3), np.uint8)),
)
spaces: st.SearchStrategy[Space[Any]] = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(Tuple),
        st.dictionaries(st.sampled_from("xbca"), inner, min_size=1, max_size=3).map(Dict),
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(space=spaces, count=st.integers(1, 4), seed=st.integers(0, 99))
def test_features_are_gymnasiums_flattening_of_each(space: Space[Any], count: int, seed: int) -> None:
    space.seed(seed)
    samples = [space.sample() for _ in range(count)]
    empty: Any = create_empty_array(space, count)
    found = features(space, concatenate(space, samples, empty))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [flatten(space, sample) for sample in samples])
    assert feature_space(space).shape == (flatdim(space),)
    assert all(feature_space(space).contains(row) for row in found)


def test_a_dict_by_hand() -> None:
    space = Dict(a=Box(-1, 1, (2,), np.float64), b=Discrete(3, start=1), c=MultiDiscrete([2, 2]))
    given_ = {"b": np.array([1, 3]), "a": np.array([[0.5, -0.5], [0.0, 1.0]]), "c": np.array([[0, 1], [1, 1]])}
    assert features(space, given_).tolist() == [[0.5, -0.5, 1, 0, 0, 1, 0, 0, 1], [0, 1, 0, 0, 1, 0, 1, 0, 1]]
    assert feature_space(space).low.tolist() == [-1, -1] + [0] * 7


def test_codes_may_stay_codes_and_images_stay_images() -> None:
    assert seen(Discrete(4), codes=True).encode(np.array([3, 0])).tolist() == [[3], [0]]
    assert seen(Discrete(4)).encode(np.array([3, 0])).tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]
    assert seen(MultiDiscrete([2, 2]), codes=True).space == MultiDiscrete([2, 2])
    image = Box(0, 255, (3, 4, 4), np.uint8)
    assert is_image(image)
    assert not is_image(Box(0, 1, (3, 4, 4), np.float32))
    assert seen(Box(0, 255, (4, 4, 3), np.uint8)).space == Box(0, 255, (4, 4, 3), np.uint8)
    assert seen(Box(0, 1, (3, 4, 4), np.float32)).space.shape == (48,)
    assert seen(Box(0, 255, (5,), np.uint8), codes=True).encode(np.zeros((2, 5), np.uint8)).dtype == np.uint8


def test_bytes_of_one_axis_are_features() -> None:
    sight = seen(Box(0, 255, (2,), np.uint8))
    assert sight.space == Box(0, 255, (2,), np.float32)
    shown = sight.encode(np.array([[7, 255]], np.uint8))
    assert (shown.dtype, shown.tolist()) == (np.float32, [[7.0, 255.0]])


def test_the_channels_of_an_image_come_last() -> None:
    sight = seen(Box(0, 255, (2, 3, 4), np.uint8))
    assert sight.space == Box(0, 255, (3, 4, 2), np.uint8)
    given_ = np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4)
    shown = sight.encode(given_)
    assert shown.shape == (1, 3, 4, 2)
    assert shown[0, 2, 1].tolist() == [2 * 4 + 1, 12 + 2 * 4 + 1]
    masked = seen(Dict(action_mask=Box(0, 1, (2,), np.int8), picture=Box(0, 255, (2, 3, 4), np.uint8)))
    assert masked.space == sight.space
    np.testing.assert_array_equal(masked.encode({"picture": given_}), shown)


def test_a_mask_among_the_observations_is_no_feature() -> None:
    mask, place = Box(0, 1, (2,), np.int8), Box(-1, 1, (3,), np.float64)
    sight = seen(Dict(action_mask=mask, place=place))
    assert (sight.space, sight.masked) == (place, True)
    assert sight.encode({"action_mask": np.ones((1, 2)), "place": np.array([[1.0, 2.0, 3.0]])}).tolist() == [[1, 2, 3]]
    both = seen(Dict(action_mask=mask, place=place, kind=Discrete(2)))
    assert both.space.shape == (5,)
    with pytest.raises(InvalidInput, match="a mask of actions and nothing else"):
        seen(Dict(action_mask=mask))


@pytest.mark.parametrize("space", [Text(3), Graph(Discrete(2), None), Sequence(Discrete(2))])
def test_spaces_without_a_fixed_number_of_columns_are_named(space: Space[Any]) -> None:
    with pytest.raises(InvalidInput, match=rf"observed as {type(space).__name__}, which has no fixed number"):
        seen(Dict(part=space, other=Discrete(2)))
