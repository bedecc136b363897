"""Opens trackers by name. Their packages are extras: each is loaded only where it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from bondhu.errors import InvalidInput, UnknownName, nearest
from bondhu.monitor.tracking import Tracker
from bondhu.monitor.tracking.jsonl import Jsonl
from bondhu.monitor.tracking.mlflow import Mlflow
from bondhu.monitor.tracking.several import Several
from bondhu.monitor.tracking.tensorboard import TensorBoard
from bondhu.monitor.tracking.wandb import Wandb

PACKAGES: Mapping[str, str | None] = {"jsonl": None, "tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}


def opened(names: Sequence[str], folder: Path, run_name: str, step: int = 0) -> Tracker:
    """The trackers of these names as one, keeping what they keep in `folder`.

    `step` 0 begins afresh; above 0 the run of this folder goes on from there: in the same MLflow run, TensorBoard
    curves, W&B id and lines of JSON. MLFLOW_TRACKING_URI and WANDB_MODE say otherwise where these should stay local.
    """
    for name in names:
        check(name)
    make: Mapping[str, Callable[[], Tracker]] = {
        "jsonl": lambda: Jsonl(folder, step),
        "tensorboard": lambda: TensorBoard(folder, step),
        "mlflow": lambda: Mlflow(folder, run_name, step, os.environ.get("MLFLOW_TRACKING_URI", "")),
        "wandb": lambda: Wandb(folder, run_name, step, os.environ.get("WANDB_MODE", "offline")),
    }
    return Several({name: make[name]() for name in names})


def check(name: str) -> None:
    """Raises UnknownName, or InvalidInput where its package is not installed."""
    if name not in PACKAGES:
        raise UnknownName(f"No tracker {name!r}.", field="track", value=name, fix=nearest(name, PACKAGES))
    package = PACKAGES[name]
    if package is not None and find_spec(package) is None:
        what = f"Tracking with {name!r} needs the package {package!r}, which is not installed."
        raise InvalidInput(what, field="track", value=name, fix="Install it: pip install 'bondhu[tracking]'.")
