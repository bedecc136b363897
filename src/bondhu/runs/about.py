"""What a run says of itself in `run.json`: its plan, its environment, the code and the machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from bondhu.envs.spaces import is_image
from bondhu.runs.plan import ABOUT, CHANGEABLE, Plan, plain
from bondhu.types import Array, Spec

PACKAGES = ("bondhu", "numpy", "gymnasium", "jax", "equinox", "optax", "ale-py", "envpool", "minigrid", "mujoco")
PROVIDERS = {"envpool:": "envpool", "ALE/": "ale-py"}  # of environments whose names begin so


def about(plan: Plan, spec: Spec, *, started: float, folder: Path) -> dict[str, Any]:
    """Everything that is known before the first step. `started` is a UNIX time."""
    known = _registered(plan.environment)
    return {
        **plain(plan),
        "started": started,
        "actions": int(spec.action.n) if isinstance(spec.action, Discrete) else None,
        "episode_limit": plan.options.get("max_episode_steps") or (known.max_episode_steps if known else None),
        "reward_threshold": known.reward_threshold if known else None,
        "observation": _bounds(spec),
        "spaces": {"observation": str(spec.observation), "action": str(spec.action)},
        "provider": provider(plan.environment),
        "packages": packages(),
        **commit(folder),
        "machine": {
            "platform": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "devices": os.environ.get("JAX_PLATFORMS", "") or "default",
        },
    }


def described(plan: Plan, spec: Spec) -> dict[str, Any]:
    """What must be the same for a run to go on: the environment and how it is driven."""
    return {
        "environment": plan.environment,
        "environment's package": provider(plan.environment),
        "environment's options": dict(plan.options),
        "observations": str(spec.observation),
        "actions": str(spec.action),
        "seed": plan.seed,
        "environments": plan.environments,
        "phase": plan.phase,
    }


def described_in(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The same from `run.json`, where a run was begun and has no checkpoint yet."""
    return {
        **{name: facts[name] for name in ("environment", "seed", "environments", "phase")},
        "environment's package": facts["provider"],
        "environment's options": facts["options"],
        "observations": facts["spaces"]["observation"],
        "actions": facts["spaces"]["action"],
    }


def provider(environment: str) -> str:
    """The package that the environment comes from with its version, such as "gymnasium 1.4.0"."""
    name = next((package for prefix, package in PROVIDERS.items() if environment.startswith(prefix)), "")
    known = _registered(environment)
    if not name and known is not None:
        made = known.entry_point
        name = (made if isinstance(made, str) else made.__module__).partition(":")[0].partition(".")[0]
    return f"{name} {_version(name)}".strip() if name else "unknown"


def packages() -> dict[str, str]:
    """Versions of what figures depend on, where it is installed."""
    return {name: found for name in PACKAGES if (found := _version(name))}


def commit(folder: Path) -> dict[str, Any]:
    """The commit of the git tree around this folder, and whether it was changed; nothing outside of one."""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return {"commit": head, "dirty": bool(_git(folder, "status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """Put `run.json` in its place, whole."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{ABOUT}.writing"
    aside.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    os.replace(aside, folder / ABOUT)


def changed(folder: Path, plan: Plan) -> None:
    """Write down what a run that goes on may change."""
    write(folder, {**read(folder), **{name: value for name, value in plain(plan).items() if name in CHANGEABLE}})


def read(folder: Path) -> dict[str, Any]:
    """What `run.json` says."""
    found: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    return found


def with_observations(facts: Mapping[str, Any], seen: Array) -> dict[str, Any]:
    """And of which size features were in the first phase, `[T, F]`; images are known to be bytes."""
    if seen.ndim != 2 or not len(seen):
        return dict(facts)
    numbers = {"mean": np.mean(seen, axis=0).tolist(), "deviation": np.std(seen, axis=0).tolist()}
    return {**facts, "observation": {**facts["observation"], **numbers}}


def _bounds(spec: Spec) -> dict[str, Any]:
    space = spec.observation
    if is_image(space):
        return {"shape": list(space.shape or ()), "low": 0, "high": 255}
    return {"shape": list(space.shape or ()) if isinstance(space, Box) else None}


def _registered(environment: str) -> Any:
    return gymnasium.registry.get(environment)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True, timeout=20)  # noqa: S603, S607  our own words; git is found as the shell finds it
    return done.stdout.strip()
