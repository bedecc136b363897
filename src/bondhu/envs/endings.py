"""How a vector environment begins anew after an end: Gymnasium's three ways, and where each keeps the last observation.

NEXT_STEP: the step after an end ignores the action and returns the first observation. SAME_STEP: the step that ends
returns the first observation already, the last one is `info["final_obs"]`. DISABLED: the caller resets with a mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array

from bondhu.errors import InvalidInput, nearest
from bondhu.types import Array, Booleans, Integers

KEYS = ("autoreset_mode", "autoreseet-mode")  # the second is how Gymnasium 1.4 spells it for its Blackjack
RAW = "raw_reward"  # in `info`, [N]: what the environment itself paid, from a wrapper that changes the reward
LAST = ("final_obs", "final_observation")  # the second is Gymnasium's name before 1.0


def mode_of(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """How the environment begins anew, from its metadata. Raises InvalidInput where it does not say."""
    metadata = env.metadata or {}
    given = next((metadata[key] for key in KEYS if key in metadata), None)
    if given is None:
        raise InvalidInput(
            "The environment does not say how it begins anew after an end.",
            field="autoreset_mode",
            fix='Set env.metadata["autoreset_mode"] to an AutoresetMode of gymnasium.vector.',
        )
    return named(given)


def named(given: AutoresetMode | str) -> AutoresetMode:
    """The mode itself or by its name: `NEXT_STEP`, `NextStep` and `next-step` are the same. Raises InvalidInput."""
    if isinstance(given, AutoresetMode):
        return given
    plain = "".join(letter for letter in str(given).lower() if letter.isalpha()).removeprefix("autoresetmode")
    for mode in AutoresetMode:
        if mode.value.lower() == plain:
            return mode
    raise InvalidInput(
        f"There is no autoreset mode {given!r}.",
        field="autoreset_mode",
        value=given,
        fix=nearest(str(given).upper(), [mode.name for mode in AutoresetMode]),
    )


def rows(observation: Any, who: Integers) -> Any:
    """The observations of these environments; of a Dict or Tuple, in each of its parts."""
    if isinstance(observation, Mapping):
        return {key: rows(part, who) for key, part in observation.items()}
    if isinstance(observation, tuple):
        return tuple(rows(part, who) for part in observation)
    return observation[who]


def last_observations(space: Space[Any], info: Mapping[str, Any], who: Integers) -> Any:
    """SAME_STEP: what the environments numbered `who` showed before they began anew, as `[len(who), ...]`.

    `space` is that of one environment. Raises InvalidInput where `info` lacks them.
    """
    given = next((info[key] for key in LAST if key in info), None)
    if given is None:
        raise InvalidInput(
            "The environment begins anew in the step that ends, but does not give the last observation.",
            field='info["final_obs"]',
            fix="Make it with autoreset_mode=AutoresetMode.NEXT_STEP.",
        )
    if isinstance(given, np.ndarray) and given.dtype == object:  # one entry for each environment, None where none ended
        empty: Any = create_empty_array(space, len(who))
        return concatenate(space, [given[number] for number in who], empty)
    return rows(given, who)


def replaced(info: Mapping[str, Any], who: Integers, last: Array, count: int) -> dict[str, Any]:
    """`info` with other last observations, `[len(who), ...]` of `count` environments: for wrappers that change them."""
    whole = np.zeros((count, *last.shape[1:]), last.dtype)
    whole[who] = last
    given: Booleans = np.zeros(count, bool)
    given[who] = True
    return {**info, "final_obs": whole, "_final_obs": given}
