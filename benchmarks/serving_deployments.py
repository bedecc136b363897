"""Deployments of the recommendation domain for the benchmarks: settings, stores, and a version that is live."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete

from benchmarks.decide import requests
from bondhu import learners
from bondhu.app import open_app
from bondhu.learners.tabular.q_learning import QLearning
from bondhu.ports import Version
from bondhu.settings import load
from bondhu.types import Spec

EXPLORATION = 0.05
SETTINGS = """
[domain]
extends = "recommendation"
[learner]
name = "tabular.q_learning"
[exploration]
rate = {exploration}
[schedule]
enabled = false
[store]
log = "{log}"
[server]
workers = {workers}
writer = "{writer}"
waiting = {waiting}
"""


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk of the working directory, where other users of the machine can enter."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def deploy(
    folder: Path, log: str = "data/log.sqlite", *, workers: int = 1, waiting: int = 10_000, version: bool = True
) -> Path:
    """A deployment in a new folder; with a version, a table of 300,000 states by 27 actions is live."""
    folder.mkdir()
    settings = {"log": log, "workers": workers, "writer": "auto" if "://" in log else "process", "waiting": waiting}
    text = SETTINGS.format(exploration=EXPLORATION, **settings)
    (folder / "bondhu.toml").write_text(text, encoding="utf-8")
    if version:
        promote(folder)
    return folder


def promote(folder: Path) -> None:
    """Put a table of random values in force, as if it had been trained."""
    app = open_app(load(folder))
    try:
        rng, learner = np.random.default_rng(0), QLearning()
        spec = Spec(app.domain.encoder(QLearning.observes).space, Discrete(len(app.domain.actions)))
        state = learner.init(spec, rng)
        state.values[:] = rng.normal(size=state.values.shape)
        packed = learners.pack(state)
        hyperparameters, notes = learners.plain(learner), {"explore": True, "interactions": 0, "holdout": 0.2}
        known: dict[str, Any] = {"learner": "tabular.q_learning", "hyperparameters": hyperparameters, "notes": notes}
        description, name = app.domain.describe(), "benchmark"
        version = Version(name, app.domain.name, state=packed, description=description, created=time.time(), **known)
        app.deployment.registry.add(version, "benchmark")
        app.promote(name, reason="benchmark")
    finally:
        app.stores.close()


def contexts(count: int) -> list[Mapping[str, Any]]:
    return [dict(each.context) for each in requests(count)]


def slow_disk(folder: Path, milliseconds: int) -> tuple[dict[str, str], str]:
    """An environment in which fsync and fdatasync take so much longer; empty, and why, where it cannot be made."""
    source, library = folder / "slow.c", folder / "slow.so"
    source.write_text(SHIM % (milliseconds * 1000), encoding="utf-8")
    try:
        command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        return {}, f"there is no C compiler to slow fsync down with ({type(error).__name__})"
    return {"LD_PRELOAD": str(library)}, ""


SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
static int after(const char *name, int descriptor) {
  int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, name);
  usleep(%d);
  return real(descriptor);
}
int fsync(int descriptor) { return after("fsync", descriptor); }
int fdatasync(int descriptor) { return after("fdatasync", descriptor); }
"""
