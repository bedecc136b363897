"""A deployment in MLflow: one run for its interactions, under it a run for each training, a registered model with each
version, and conversations as traces. Telling it again adds only what is new."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from bondhu.monitor.tracking import flat
from bondhu.monitor.tracking.conversations import Conversation, Figures, Judged, Trained
from bondhu.monitor.tracking.mlflow import EXPERIMENT, client_of, last_step, spoken
from bondhu.monitor.tracking.mlflow_traces import Traces, told_in_our_words

DEPLOYMENT, VERSION = "bondhu.deployment", "bondhu.version"  # tags that say what a run is
FILES = "version"  # where the files of a version stand among the artifacts of its run
BATCH = 900  # figures that one request may carry
LIVE = "live"  # the alias of the version in force
LONGEST = 500  # characters of a parameter's value
VERDICT = "bondhu.verdict"  # what a model version's tags of it begin with
LONGEST_TEXT = 5_000  # characters of a description, or of a tag


class MlflowDeployment:
    """One deployment at one address: a server's, or sqlite:///FILE."""

    def __init__(self, address: str, domain: str) -> None:
        self._address, self._domain = address, domain
        with self._in_our_words():
            self._client = client_of(address)
            self._experiment = self._found_experiment()
            self._run = self._found_run(DEPLOYMENT, domain) or self._new_run(domain, {DEPLOYMENT: domain})

    def figures(self, points: Iterable[Figures]) -> int:
        """Tell the figures after each interaction that MLflow does not hold yet; how many interactions those are."""
        from mlflow.entities import Metric

        with self._in_our_words():
            known, told = last_step(self._client, self._run), 0
            metrics = (
                (each.step, Metric(spoken(name), float(value), int(each.time * 1000), each.step))
                for each in points
                if each.step > known
                for name, value in each.metrics.items()
            )
            steps: set[int] = set()
            while some := list(islice(metrics, BATCH)):
                self._client.log_batch(self._run, metrics=[metric for _, metric in some])
                steps.update(step for step, _ in some)
            told = len(steps)
        return told

    def trainings(self, trained: Sequence[Trained], live: str | None) -> int:
        """A nested run and an entry in the registry of models for each version that has none; how many are new."""
        with self._in_our_words():
            there = {each.data.tags.get(VERSION): each.info.run_id for each in self._children()}
            new = [each for each in trained if each.version not in there]
            for each in new:
                there[each.version] = self._training(each)
            self._register([each for each in trained if each.version in there], there, live)
        return len(new)

    def conversations(self, conversations: Iterable[Conversation]) -> int:
        """A trace for each; how many are new or not what they were."""
        with self._in_our_words():
            traces = Traces(self._client, self._address, self._experiment)
            return sum(map(traces.tell, conversations))

    def forget(self, users: Collection[str]) -> int:
        """Delete what was said by the person with these names; how many conversations that were."""
        with self._in_our_words():
            return Traces(self._client, self._address, self._experiment).forget(users)

    # ------------------------------------------------------------------------------------------------------------ runs

    def _found_experiment(self) -> str:
        name = f"{EXPERIMENT}/{self._domain}"
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def _found_run(self, tag: str, value: str) -> str:
        runs = self._client.search_runs([self._experiment], f"tags.`{tag}` != ''", max_results=1000)
        return next((each.info.run_id for each in runs if each.data.tags.get(tag) == value), "")

    def _new_run(self, name: str, tags: Mapping[str, str], start: float | None = None) -> str:
        begun = None if start is None else int(start * 1000)
        run = self._client.create_run(self._experiment, start_time=begun, tags=dict(tags), run_name=name)
        return str(run.info.run_id)

    def _children(self) -> Iterator[Any]:
        asked = f"tags.`mlflow.parentRunId` = '{self._run}'"
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment], asked, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _training(self, trained: Trained) -> str:
        """One run, marked as this version's when it is whole."""
        from mlflow.entities import Metric, Param

        run = self._new_run(trained.version, {"mlflow.parentRunId": self._run}, trained.time)
        at = int(trained.time * 1000)
        params = {"learner": trained.learner, "parent": trained.parent, **flat(trained.hyperparameters)}
        params |= flat(trained.notes, "training.")
        said = [Param(spoken(name), str(value)[:LONGEST]) for name, value in params.items() if value is not None]
        self._client.log_batch(run, params=said[:100])
        self._client.log_batch(
            run, metrics=[Metric(spoken(name), float(value), at, 0) for name, value in trained.metrics.items()]
        )
        if trained.folder.is_dir():
            self._client.log_artifacts(run, str(trained.folder), FILES)
        self._client.set_tag(run, VERSION, trained.version)
        self._client.set_terminated(run, "FINISHED", at)
        return run

    # ---------------------------------------------------------------------------------------------------------- models

    def _register(self, trained: Sequence[Trained], runs: Mapping[str | None, str], live: str | None) -> None:
        """Each version as a version of one registered model, whose source are the files of the version."""
        if not trained:
            return
        name = model_name(self._domain)
        if not any(each.name == name for each in self._client.search_registered_models(f"name = '{name}'")):
            self._client.create_registered_model(name, description="Versions of a Bondhu deployment: arrays and JSON.")
        there = {each.tags.get(VERSION): each for each in self._versions(name)}
        for each in trained:
            if each.version not in there:
                uri = self._client.get_run(runs[each.version]).info.artifact_uri
                there[each.version] = self._client.create_model_version(
                    name, f"{uri}/{FILES}", runs[each.version], tags={VERSION: each.version, "learner": each.learner}
                )
            if each.judged is not None:
                self._judge(there[each.version], each.judged)
        if live in there:
            self._client.set_registered_model_alias(name, LIVE, there[live].version)

    def _judge(self, model: Any, said: Judged) -> None:
        """Say of a model version what the gate said last, where that is not what it says already."""
        wanted, text = verdict_tags(said), described(said)
        known = {name: value for name, value in model.tags.items() if name.startswith(VERDICT)}
        for name in sorted(known.keys() - wanted.keys()):
            self._client.delete_model_version_tag(model.name, model.version, name)
        for name, value in wanted.items():
            if known.get(name) != value:
                self._client.set_model_version_tag(model.name, model.version, name, value)
        if model.description != text:
            self._client.update_model_version(model.name, model.version, text)

    def _versions(self, name: str) -> Iterator[Any]:
        token: str | None = None
        while True:
            page = self._client.search_model_versions(f"name = '{name}'", max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            raise told_in_our_words(error, bare(self._address)) from error


def verdict_tags(said: Judged) -> dict[str, str]:
    """A verdict as tags that can be asked for: `tags.`bondhu.verdict` = 'promote'`."""
    tags = {VERDICT: said.decision, f"{VERDICT}.against": said.against, f"{VERDICT}.time": _moment(said.time)}
    tags[f"{VERDICT}.reasons"] = " ".join(said.reasons)
    tags |= {f"{VERDICT}.{name.replace(' ', '_')}": _interval(each) for name, each in said.estimates.items()}
    return {name: value[:LONGEST_TEXT] for name, value in tags.items() if value}


def described(said: Judged) -> str:
    """The same as the page of a model version shows it."""
    reasons = "".join(f"- {each}\n" for each in said.reasons)
    figures = "".join(f"- {name}: {_interval(each)}\n" for name, each in said.estimates.items())
    head = f"The gate said **{said.decision}** at {_moment(said.time)}, against {said.against or 'nothing'}.\n"
    return f"{head}\n{reasons}\nEstimated for a decision, with the interval:\n\n{figures}"[:LONGEST_TEXT].strip()


def _interval(of: tuple[float, float, float]) -> str:
    value, low, high = of
    return f"{value:.4g} ({low:.4g} to {high:.4g})"


def _moment(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def model_name(domain: str) -> str:
    """The registered model of a domain: quotes and slashes have a meaning of their own in MLflow."""
    return f"bondhu-{spoken(domain)}".replace("/", "_").replace(":", "_").replace("'", "_")


def bare(address: str) -> str:
    """Without a password."""
    parts = urlsplit(address)
    if "@" not in parts.netloc:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
