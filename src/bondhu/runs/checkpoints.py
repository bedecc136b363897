"""States of a run on disk, `CHECKPOINTS/STEP/` each in the format of versions: whole or not there, never pickled.

A checkpoint is written aside and renamed, so that a half-written one is never read, and older ones go only after it is
on disk: the last good one outlives a full disk and a killed process.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bondhu.errors import InvalidInput, StateCorrupt
from bondhu.ports import Version
from bondhu.registry.codec import read, refused, write

UNFINISHED = ".writing"
KEPT = 2  # checkpoints; the older one is for when a disk spoils the newer


def save(folder: Path, version: Version, *, keep: int = KEPT) -> Path:
    """Store it as `folder/<its id>`, then drop all but the newest `keep`. Raises StoreFull or StoreError; what was
    there is kept."""
    final, aside = folder / version.id, folder / UNFINISHED
    if final.exists():
        return final  # of the same step of the same run
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        write(version, aside)
        _settle(aside)
        aside.rename(final)
        _settle(folder)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        refused(error, final)
    for old in found(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def found(folder: Path) -> list[Path]:
    """All that are whole, oldest first."""
    there = (each for each in folder.glob("*") if each.name.isdigit() and each.is_dir())
    return sorted(there, key=lambda each: int(each.name))


def newest(folder: Path) -> Path | None:
    """Where to go on from; None where nothing was stored yet."""
    there = found(folder)
    return there[-1] if there else None


def load(path: Path) -> Version:
    """Every file checked. Raises StateCorrupt naming what is damaged and which one is left."""
    try:
        return read(path)
    except StateCorrupt as error:
        others = [each for each in found(path.parent) if each != path]
        left = f"Delete {path} to go on from {others[-1]}." if others else "Begin a new run in another folder."
        raise StateCorrupt(error.what, field="checkpoint", value=str(path), fix=left) from error


def told(version: Version) -> dict[str, Any]:
    """What a checkpoint says of the run that wrote it, as `wanted` has it."""
    return wanted(version.learner, version.hyperparameters, version.description)


def check(path: Path, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise InvalidInput naming what differs between what was stored and what is to go on from it: both of them."""
    for name, here in wanted.items():
        before = there.get(name)
        if before != here:
            raise InvalidInput(
                f"{path} was written with {name} {_shown(before)}, and this run has {_shown(here)}.",
                field=name,
                value=here,
                fix="Go on with that, or begin a new run in another folder. Nothing was overwritten.",
            )


def wanted(learner: str, hyperparameters: Mapping[str, Any], description: Mapping[str, Any]) -> dict[str, Any]:
    """What `check` compares, from what goes into a checkpoint."""
    return {"learner": learner, **_under("hyperparameters", hyperparameters), **description}


def _under(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name}.{key}": value for key, value in table.items()}


def _shown(value: Any) -> str:
    return "none" if value is None else repr(value) if not isinstance(value, str) else value


def _settle(folder: Path) -> None:
    """Wait until the folder's own entries are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
