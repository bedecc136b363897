"""Runs in MLflow: a database in the run's own folder, or the server that an address names."""

from __future__ import annotations

import logging
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bondhu.monitor.tracking import FAILED, FINISHED, STOPPED, flat

FOLDER = "mlflow"
EXPERIMENT = "bondhu"
STATUS = {FINISHED: "FINISHED", STOPPED: "KILLED", FAILED: "FAILED"}
PARAMETERS = 100  # that one request may carry
UNSPEAKABLE = re.compile(r"[^\w\-./: ]")  # in the names of MLflow


class Mlflow:
    """The configuration as parameters with dotted names, figures with their steps, files as artifacts.

    Without an `address` everything lies in `folder/mlflow`: `mlflow ui --backend-store-uri sqlite:///RUN/mlflow/mlflow.db`.
    The run's id is kept there too. Going on from a `step`, what MLflow holds already is not told twice.
    """

    def __init__(
        self, folder: Path, name: str, step: int = 0, address: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._name, self._from, self._clock = folder.absolute() / FOLDER, name, step, clock
        self._address = address or f"sqlite:///{self._folder / 'mlflow.db'}"
        self._client: Any = None
        self._run = ""
        self._known = -1  # the last step that MLflow holds already

    def begin(self, configuration: Mapping[str, Any], /) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._client = client_of(self._address)
        earlier = self._earlier()
        if earlier and self._from:
            self._run, self._known = earlier, last_step(self._client, earlier)
            self._client.update_run(self._run, status="RUNNING")
        else:
            if earlier and self._client.get_run(earlier).info.status == "RUNNING":
                self._client.set_terminated(earlier, "KILLED")  # it was interrupted, and is begun anew
            self._run = self._client.create_run(self._experiment(), run_name=self._name).info.run_id
            self._note.write_text(self._run, encoding="utf-8")
        self._parameters({spoken(name): str(value) for name, value in flat(configuration).items()})

    def record(self, metrics: Mapping[str, float], step: int, /) -> None:
        from mlflow.entities import Metric

        if step > self._known:
            now = int(self._clock() * 1000)
            told = [Metric(spoken(name), float(value), now, int(step)) for name, value in metrics.items()]
            self._client.log_batch(self._run, metrics=told)

    def file(self, path: Path, kind: str = "", /) -> None:
        self._client.log_artifact(self._run, str(path), kind or None)

    def end(self, status: str = FINISHED, /) -> None:
        if self._client is not None and self._run:
            self._client.set_terminated(self._run, STATUS[status])
        self._client = None

    @property
    def _note(self) -> Path:
        return self._folder / "run.txt"

    def _earlier(self) -> str:
        """The id of the run that this folder had before, if the store still knows it."""
        from mlflow.exceptions import MlflowException

        if not self._note.exists():
            return ""
        run = self._note.read_text(encoding="utf-8").strip()
        try:
            return run if self._client.get_run(run).info.lifecycle_stage == "active" else ""
        except MlflowException:
            return ""  # another store than before

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        own = self._address.startswith("sqlite:")  # a server keeps artifacts where it was told to
        return str(self._client.create_experiment(EXPERIMENT, (self._folder / "artifacts").as_uri() if own else None))

    def _parameters(self, wanted: Mapping[str, str]) -> None:
        """Parameters cannot be changed once told: a run that goes on adds only those that are new."""
        from mlflow.entities import Param

        there = self._client.get_run(self._run).data.params
        new = [Param(name, value) for name, value in wanted.items() if name not in there]
        for start in range(0, len(new), PARAMETERS):
            self._client.log_batch(self._run, params=new[start : start + PARAMETERS])


def client_of(address: str) -> Any:
    """A client that tells nobody else, and nothing to people of how it makes its tables."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # seconds, not minutes, where a server is away
    for loud in ("mlflow.store", "alembic"):
        logging.getLogger(loud).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # MLflow's own use of SQLAlchemy
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=address)
        client.search_experiments(max_results=1)  # the store is opened, and its tables made, here
    return client


def last_step(client: Any, run: str) -> int:
    metrics = client.get_run(run).data.metrics
    return max((point.step for name in metrics for point in client.get_metric_history(run, name)), default=-1)


def spoken(name: str) -> str:
    return UNSPEAKABLE.sub("_", name)
