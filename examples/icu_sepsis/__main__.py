"""Log 50,000 admissions treated by the clinicians' policy with some exploration, learn from that log alone, and
compute exactly how many patients would survive. Run with `python -m examples.icu_sepsis`."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from bondhu import screen
from bondhu.app import App, open_app
from bondhu.policies.drawing import evenly
from bondhu.settings import from_tables
from bondhu.train.run import train
from bondhu.train.simulate import simulate
from bondhu.types import Batch, Decision, Feedback, Floats
from examples.icu_sepsis.model import Admissions, Model, Table

EXPLORATION = 0.3  # share of treatments drawn at random while the log was made
PATIENTS = 1000  # treated at once
HOUR = 3600.0  # seconds between two treatments of one admission


def settings(directory: Path, states: int, actions: int) -> App:
    """A deployment declared as a bondhu.toml would: one field, 25 actions, one signal."""
    tables = {
        "domain": {"name": "icu_sepsis", "idle": 24 * HOUR},
        "context": {"state": {"kind": "category", "values": [str(state) for state in range(states)]}},
        "actions": {"names": [f"treatment-{action}" for action in range(actions)]},
        "reward": {"default": 0.0, "wait": 0.0, "signals": {"survived": 1.0}},
        "learner": {
            "name": "tabular.q_learning",
            "learning_rate": 1.0,
            "step_power": 0.8,
            "discount": 1.0,
            "passes": 20,
        },
        "training": {"holdout": 0.0, "min_interactions_per_user": 1},
        "gate": {"minimum_average_reward": 0.0},
    }
    return open_app(from_tables(tables, directory), now=lambda: 2e9)


def behaviour(model: Model) -> Table:
    """The clinicians' policy, mixed with treatments drawn evenly."""
    even = evenly(model.admissible)
    known = model.expert.sum(axis=1, keepdims=True) > 0
    return Table(np.where(known, (1 - EXPLORATION) * model.expert + EXPLORATION * even, even))


def admissions(batch: Batch, episodes: int) -> Batch:
    """The first `episodes` admissions that ended while we watched."""
    ended = np.unique(batch.session[batch.discount == 0])[:episodes]
    return batch.take(np.isin(batch.session, ended))


def log(app: App, model: Model, batch: Batch) -> None:
    """Write a simulated batch into the log as decisions and feedback."""
    names = app.domain.actions
    allowed = [tuple(np.array(names)[mask]) for mask in model.admissible]
    first = np.r_[True, batch.session[1:] != batch.session[:-1]]
    hour = np.arange(len(batch)) - np.maximum.accumulate(np.where(first, np.arange(len(batch)), 0))
    decisions, feedback = [], []
    for row in range(len(batch)):
        session, time = f"admission-{batch.session[row]}", 1e9 + HOUR * int(hour[row])
        identity = f"{session}-{hour[row]}"
        state = int(batch.observation[row, 0])
        action, probability = names[int(batch.action[row])], float(batch.probability[row])
        decisions.append(
            Decision(
                identity,
                "icu_sepsis",
                session,
                None,
                time,
                {"state": str(state)},
                allowed[state],
                action,
                probability,
                (),
                "clinicians",
                "live",
            )
        )
        if batch.reward[row]:
            feedback.append(Feedback(f"{identity}-survived", identity, "survived", 1.0, time))
    with screen.progress() as bar:
        task = bar.add_task("Writing the log", total=len(decisions))
        app.deployment.log.append([], feedback)
        for start in range(0, len(decisions), 20_000):
            app.deployment.log.append(decisions[start : start + 20_000])
            bar.update(task, completed=start + 20_000)


def learned_policy(app: App, model: Model, version: str) -> Floats:
    """The learned policy as probabilities [S, A]."""
    states = np.arange(len(model.start))[:, None]
    return app.acting(version).policy.distribution(states, model.admissible)


def run(seed: int, episodes: int) -> tuple[float, int]:
    """One log and what was learned from it: exact survival, and the number of treatments in the log."""
    model, rng = Model.load(), np.random.default_rng(seed)
    steps = 2 + episodes * 16 // PATIENTS  # an admission takes ten treatments or so
    with screen.console.status(f"Treating {episodes:,} patients …"):
        batch = admissions(simulate(Admissions(model, PATIENTS), behaviour(model), steps, rng), episodes)
    with tempfile.TemporaryDirectory() as folder:
        app = settings(Path(folder), *model.expert.shape)
        log(app, model, batch)
        with screen.console.status("Learning from the log …"):
            trained = train(app.deployment, replace(app.plan(), from_scratch=True), now=app.now(), rng=rng)
        assert trained.version is not None
        return model.value(learned_policy(app, model, trained.version.id)), trained.report.rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=50_000)
    chosen = parser.parse_args()
    model = Model.load()
    results = [run(seed, chosen.episodes) for seed in range(chosen.seeds)]
    survival = np.array([value for value, _ in results])
    spread = 2.776 * survival.std(ddof=1) / np.sqrt(len(survival)) if len(survival) > 1 else float("nan")
    clinicians, mixed = model.value(model.expert), model.value(behaviour(model).probabilities)
    screen.table(
        f"Expected survival; {len(results)} logs of {chosen.episodes:,} admissions, {results[0][1]:,} treatments",
        ("policy", "survival"),
        [
            ("clinicians", f"{clinicians:.4f}"),
            ("behind the log (clinicians + exploration)", f"{mixed:.4f}"),
            ("learned by Q-learning from the log", f"{survival.mean():.4f} ± {spread:.4f}"),
            ("  worst of the logs", f"{survival.min():.4f}"),
            ("optimum", f"{model.optimum():.4f}"),
        ],
    )


if __name__ == "__main__":
    main()
