"""Runs for Weights & Biases: files in the run's folder, which `wandb sync` sends when somebody wants it to."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bondhu.monitor.tracking import FAILED, FINISHED, flat

FOLDER = "wandb"  # W&B's own name for it
PROJECT = "bondhu"
UNASKED = ("x_disable_stats", "x_disable_meta", "x_disable_machine_info")  # what it would gather of the machine

_running: set[str] = set()  # runs of this process; W&B's service is shared by them and stops with the last


class Wandb:
    """Nothing is sent: `mode` "offline" writes to `folder/wandb`; "online" is for those who have logged in.

    The id of the run is kept beside, so that a run that goes on is the same run for W&B.
    """

    def __init__(self, folder: Path, name: str, step: int = 0, mode: str = "offline") -> None:
        self._folder, self._name, self._from, self._mode = folder, name, step, mode
        self._run: Any = None

    def begin(self, configuration: Mapping[str, Any], /) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when its service starts
        import wandb

        quiet: dict[str, Any] = {"silent": True, "console": "off", "disable_git": True, "save_code": False}
        private: dict[str, Any] = dict.fromkeys(UNASKED, True) | {"x_save_requirements": False}
        self._run = wandb.init(
            project=PROJECT,
            id=self._id(),
            name=self._name,
            dir=str(self._folder.absolute()),
            mode=self._mode,  # type: ignore[arg-type]  # W&B checks the name itself, and says which there are
            resume="allow",
            reinit="create_new",
            config=flat(configuration),
            settings=wandb.Settings(**quiet, **private),
        )
        _running.add(self._run.id)

    def record(self, metrics: Mapping[str, float], step: int, /) -> None:
        self._run.log({name: float(value) for name, value in metrics.items()}, step=int(step))

    def file(self, path: Path, kind: str = "", /) -> None:
        kept = (
            Path(self._run.dir) / kind / path.name
        )  # a copy: W&B would link to it, and it may be gone when it is sent
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, kept)
        self._run.save(str(kept), base_path=self._run.dir, policy="end")

    def end(self, status: str = FINISHED, /) -> None:
        if self._run is None:
            return
        run, self._run = self._run, None
        run.summary["status"] = status
        run.finish(exit_code=int(status == FAILED))
        _running.discard(run.id)
        if not _running:
            import wandb

            wandb.teardown()

    def _id(self) -> str:
        note = self._folder / FOLDER / "id.txt"
        if self._from and note.exists():
            return note.read_text(encoding="utf-8").strip()
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(new := uuid.uuid4().hex[:8], encoding="utf-8")
        return new
