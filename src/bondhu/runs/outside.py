"""An environment is somebody else's code: what it raises is told as one error that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gymnasium.vector import VectorEnv, VectorWrapper

from bondhu.errors import BondhuError
from bondhu.types import Array


class Outside(VectorWrapper[Any, Any, Any, Any, Any]):
    """The same environment; whatever its steps and resets raise is a BondhuError, with the cause behind it."""

    def __init__(self, env: VectorEnv[Any, Any, Any], name: str) -> None:
        super().__init__(env)
        self._name = name

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin anew."""
        with blamed(self._name):
            return self.env.reset(seed=seed, options=options)

    def step(self, actions: Array) -> tuple[Any, Any, Array, Array, dict[str, Any]]:
        """One step."""
        with blamed(self._name):
            return self.env.step(actions)


@contextmanager
def blamed(name: str) -> Iterator[None]:
    """Raise BondhuError for what fails here; our own errors pass."""
    try:
        yield
    except BondhuError:
        raise
    except Exception as error:
        what = f"{name} failed: {type(error).__name__}: {error}."
        raise BondhuError(what, field="environment", value=name, fix="Mend the environment.") from error
