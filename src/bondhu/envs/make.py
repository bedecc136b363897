"""Environments by name, in the fastest way that is right.

| name | how |
|---|---|
| `CartPole-v1`, `CartPole-v0` | Gymnasium's own vector environment: the same equations and limits, all at once |
| `ALE/Pong-v5` | ale-py's vector environment: 84x84 grey, four frames stacked, four skipped, rewards as the game pays |
| `envpool:HalfCheetah-v4` | EnvPool |
| `MiniGrid-DoorKey-5x5-v0` | one process, seen as symbols (`envs.symbols`) |
| any other | one process, one after the other; `processes=True`: a process each |
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, parse_env_id, registry
from gymnasium.error import DependencyNotInstalled, DeprecatedEnv, UnregisteredEnv
from gymnasium.error import Error as GymnasiumError
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from bondhu.envs.actions import acting
from bondhu.envs.endings import named
from bondhu.envs.spaces import seen
from bondhu.errors import InvalidInput, UnknownName, nearest
from bondhu.types import Spec

OWN = {"bondhu/Coding-v0": "bondhu.domains.coding.env"}  # by the module that enters them, which is imported then
POOL, ARCADE, GRID = "envpool:", "ALE/", "MiniGrid-"
NATIVE = {"CartPole-v0", "CartPole-v1"}  # whose vector environment gives what the single one gives (see the tests)
NATIVE_OPTIONS = {"max_episode_steps", "sutton_barto_reward", "render_mode"}
PREPROCESSED = {"reward_clipping": False, "stack_num": 4, "img_height": 84, "img_width": 84, "grayscale": True}
INSTALL = "Install them with `pip install 'bondhu[envs]'`."

Vector = VectorEnv[Any, Any, Any]


def make(
    name: str,
    count: int,
    *,
    options: Mapping[str, Any] | None = None,
    autoreset: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    processes: bool = False,
) -> Vector:
    """`count` environments of this name as one. `options` go to the environment as `gymnasium.make` takes them.

    Raises UnknownName with the nearest name, and InvalidInput where the name is outdated, where what it needs is not
    installed, or where its spaces have no columns.
    """
    if count < 1:
        raise InvalidInput("There must be at least one environment.", field="count", value=count)
    given, mode = dict(options or {}), named(autoreset)
    with told(name):
        env = _made(name, count, given, mode, processes=processes)
    try:
        seen(env.single_observation_space), acting(env.single_action_space)
    except InvalidInput:
        env.close()
        raise
    return env


def spec(env: Vector) -> Spec:
    """What learners see of this environment and do in it: features, or images, and actions numbered from 0."""
    return Spec(seen(env.single_observation_space).space, acting(env.single_action_space).space)


def _made(name: str, count: int, options: dict[str, Any], mode: AutoresetMode, *, processes: bool) -> Vector:
    if name.startswith(POOL):
        return _pool(name.removeprefix(POOL), count, options, mode)
    if name.startswith(ARCADE):
        return _arcade(name, count, options, mode)
    _register(name)
    next_step = mode is AutoresetMode.NEXT_STEP
    if name in NATIVE and next_step and not processes and set(options) <= NATIVE_OPTIONS:
        return gymnasium.make_vec(name, num_envs=count, vectorization_mode="vector_entry_point", **options)
    one = _one(name, options)
    if processes:
        return AsyncVectorEnv([one] * count, autoreset_mode=mode, context="spawn")  # JAX does not outlive a fork
    return SyncVectorEnv([one] * count, autoreset_mode=mode)


def _one(name: str, options: dict[str, Any]) -> Callable[[], gymnasium.Env[Any, Any]]:
    def one() -> gymnasium.Env[Any, Any]:
        _register(name)
        env: gymnasium.Env[Any, Any] = gymnasium.make(name, disable_env_checker=True, **options)
        if name.startswith(GRID):
            from bondhu.envs.symbols import Symbols

            return Symbols(env)
        return env

    return one


def _register(name: str) -> None:
    """Packages enter their environments into Gymnasium's list when they are imported."""
    if name.startswith(GRID):
        import minigrid

        gymnasium.register_envs(minigrid)
    if name.startswith(ARCADE):
        import ale_py

        gymnasium.register_envs(ale_py)
    if name in OWN:
        import_module(OWN[name])


def _arcade(name: str, count: int, options: dict[str, Any], mode: AutoresetMode) -> Vector:
    _register(name)
    from ale_py.vector_env import AtariVectorEnv

    found: EnvSpec = gymnasium.spec(name)
    return AtariVectorEnv(num_envs=count, autoreset_mode=mode, **{**found.kwargs, **PREPROCESSED, **options})


def _pool(name: str, count: int, options: dict[str, Any], mode: AutoresetMode) -> Vector:
    import envpool

    from bondhu.envs.pool import Pool

    if mode is not AutoresetMode.NEXT_STEP:
        raise InvalidInput(
            "EnvPool begins anew on the step after an end.",
            field="autoreset",
            value=mode.name,
            fix="Use NEXT_STEP, or the name without `envpool:`.",
        )
    known = envpool.list_all_envs()
    if name not in known:
        raise UnknownName(f"EnvPool has no {name!r}.", field="name", value=name, fix=nearest(name, known))
    return Pool(name, count, options)


@contextmanager
def told(name: str) -> Iterator[None]:
    """What goes wrong while an environment is made, as one error that names the fix."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is out of date")  # an older version was asked for by name
            yield
    except DeprecatedEnv as wrong:
        raise _outdated(name, wrong) from wrong
    except UnregisteredEnv as wrong:  # no such name, version or namespace
        raise UnknownName(
            f"There is no environment {name!r}.", field="name", value=name, fix=nearest(name, sorted(registry))
        ) from wrong
    except (ImportError, DependencyNotInstalled) as wrong:
        if "have been moved" in str(wrong):  # Gymnasium's own words for MuJoCo's v2 and v3
            raise _outdated(name, wrong) from wrong
        raise InvalidInput(
            f"The environment {name!r} needs packages that are not installed: {wrong}.",
            field="name",
            value=name,
            fix=INSTALL,
        ) from wrong
    except GymnasiumError as wrong:  # such as a name that is no name
        raise InvalidInput(f"The environment {name!r} cannot be made: {wrong}", field="name", value=name) from wrong
    except TypeError as wrong:
        raise InvalidInput(
            f"The environment {name!r} does not take these options: {wrong}.", field="options", value=name
        ) from wrong


def _outdated(name: str, wrong: Exception) -> InvalidInput:
    newest = _newest(name)
    return InvalidInput(
        f"The environment {name!r} is outdated: {wrong}",
        field="name",
        value=name,
        fix=f"Use {newest!r}; scores of the two do not compare." if newest else "",
    )


def _newest(name: str) -> str | None:
    """The registered environment of the same name with the highest version."""
    space, plain, _ = parse_env_id(name)
    versions = [each for each in registry.values() if (each.namespace, each.name) == (space, plain)]
    return max(versions, key=lambda each: each.version or 0).id if versions else None
