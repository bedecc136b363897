"""Import a campaign of the Open Bandit Dataset, learn from one half of the people and judge on the other half; then
estimate the uniform policy from the log of another, beside what really happened: `python -m examples.open_bandit`."""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from bondhu import evaluate, screen
from bondhu.app import ESTIMATORS, App, open_app
from bondhu.imports import import_log
from bondhu.log.importers import suggest_domain
from bondhu.policies.floor import WithFloor
from bondhu.policies.uniform import Uniform
from bondhu.settings import from_tables
from bondhu.train.judge import evaluation_batch
from bondhu.train.window import Window
from bondhu.types import Batch, Estimate

FIELDS = ("user_feature_0", "position")  # 46 clicks cannot teach more states than these nine
ALWAYS = Window(-np.inf, np.inf)


def data_folder() -> Path:
    folder = Path(os.environ.get("BONDHU_DATA", "../shared/data")) / "obd"
    if not folder.exists():
        raise FileNotFoundError(f"There is no {folder}. Set BONDHU_DATA to the folder that holds obd/.")
    return folder


def imported(source: Path, directory: Path) -> App:
    """A deployment declared from the log, with the log in it."""
    tables = suggest_domain(source)
    tables["context"] = {name: tables["context"][name] for name in FIELDS}
    tables["baseline"] = {"default": "uniform"}
    learner = {"name": "tabular.q_learning", "learning_rate": 1.0, "step_power": 1.0, "discount": 0.0, "pessimism": 0.1}
    settings = from_tables({**tables, "learner": learner, "gate": {"minimum_average_reward": 0.0}}, directory)
    app = open_app(settings)
    report = import_log(app, source, None, None)
    screen.console.print(
        f"{source.parent.name}/{source.name}: "
        f"{report.accepted:,} decisions, {report.feedback} clicks, {report.refused} rows refused"
    )
    return app


def batch_of(app: App) -> Batch:
    return evaluation_batch(app.deployment, ALWAYS, 0.0)[0]


def learn_and_judge(source: Path) -> None:
    """The main job: import, train, evaluate on held-out rows."""
    with tempfile.TemporaryDirectory() as folder:
        app = imported(source, Path(folder))
        run = app.train(replace(app.plan(), from_scratch=True, holdout=0.5, minimum_interactions=1))
        assert run.trained.version is not None
        assert run.judgement is not None
        held_out, _ = evaluation_batch(app.deployment, ALWAYS, 0.5)
        learned = app.acting(run.trained.version.id).policy
        policies = {"learned": learned, "learned, half at random": WithFloor(learned, 0.5), "uniform": Uniform()}
    shown = {
        name: {each: evaluate.find(each)()(policy, held_out) for each in ESTIMATORS}
        for name, policy in policies.items()
    }
    screen.estimates(f"On {len(held_out):,} held-out decisions logged by {source.parent.name}", shown)
    screen.verdict(run.judgement.verdict)


def uniform_from_bts(campaign: str) -> None:
    """What the log of Bernoulli Thompson sampling says of the uniform policy, beside what uniform logging earned."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        other = batch_of(imported(data_folder() / "bts" / campaign, Path(first)))
        truth = batch_of(imported(data_folder() / "random" / campaign, Path(second))).reward
    estimates: dict[str, Estimate] = {name: evaluate.find(name)()(Uniform(), other) for name in ESTIMATORS}
    screen.estimates("The uniform policy, estimated from the log of Thompson sampling", {"uniform": estimates})
    spread = 1.96 * truth.std(ddof=1) / np.sqrt(len(truth))
    screen.console.print(f"Earned when the uniform policy really acted: {truth.mean():.4f} ± {spread:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaign", choices=("men", "all"), default="men")
    campaign = parser.parse_args().campaign
    learn_and_judge(data_folder() / "random" / campaign)
    uniform_from_bts(campaign)


if __name__ == "__main__":
    main()
