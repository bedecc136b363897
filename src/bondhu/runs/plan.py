"""Everything that is decided before a run begins; `run.json` keeps it, and a run that goes on reads it from there."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from bondhu.errors import InvalidInput

ABOUT = "run.json"
SEED = "seed-"  # folders of seeds begin with it
BEGINNING, ACTING, SURROUNDINGS, EVALUATION = 1, 2, 3, 4  # what randomness is for; each has its own
RECORDS, CHECKPOINTS, EVALUATIONS = 500, 10, 20  # of a whole run, where nothing else is said

OFTEN = ("record_every", "evaluate_every", "checkpoint_every")
CHANGEABLE = ("steps", "until", "patience", "episodes", "video", "track", "workers", "kind", *OFTEN)


@dataclass(frozen=True)
class Plan:
    """One run with one seed."""

    environment: str  # as `envs.make` takes it, such as CartPole-v1
    learner: str  # as the catalogue calls it, such as deep.ppo
    steps: int  # in all environments together
    seed: int = 0
    seeds: tuple[int, ...] = ()  # all that were asked for together, this one among them; none: it is alone
    options: Mapping[str, Any] = field(default_factory=dict)  # of the environment
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)  # of the learner, all of them
    curriculum: Mapping[str, Any] = field(default_factory=dict)  # easier environments to begin with, as plain data
    environments: int = 8  # side by side, of each worker
    phase: int = 128  # steps in each of them between updates; of several workers, the learner's own `rollout`
    workers: int = 1  # that play and learn at their own pace, as `train.asynchronous` has them
    kind: str = "threads"  # of workers; one thread is the plain loop
    record_every: int = 0  # steps; 0: 500 times in a run
    evaluate_every: int = 0  # steps; 0: 20 times in a run
    checkpoint_every: int = 0  # steps; 0: 10 times in a run
    episodes: int = 10  # of an evaluation, and as many again with exploration
    until: float | None = None  # a mean return of an evaluation at which the run may end
    patience: int = 0  # evaluations in a row without a better one, after which the run ends; 0: it does not
    track: tuple[str, ...] = ("jsonl",)
    video: bool = False  # of one episode, when the run ends

    def __post_init__(self) -> None:
        for name in ("steps", "environments", "phase", "episodes", "workers"):
            _at_least(1, name, getattr(self, name))
        for name in ("seed", "record_every", "evaluate_every", "checkpoint_every", "patience"):
            _at_least(0, name, getattr(self, name))
        if self.until is not None and not math.isfinite(self.until):
            fix = "Name a return that can be reached, or leave it out."
            raise InvalidInput(f"'until' got {self.until!r}.", field="until", value=str(self.until), fix=fix)

    def every(self, what: str) -> int:
        """Steps from one "record", "evaluate" or "checkpoint" to the next."""
        given = int(getattr(self, f"{what}_every"))
        times = {"record": RECORDS, "evaluate": EVALUATIONS, "checkpoint": CHECKPOINTS}[what]
        return given or max(1, self.steps // times)

    def going_on(self, before: Plan) -> Plan:
        """This plan, recorded, evaluated and stored as often as `before`: more steps do not make it rarer."""
        kept: dict[str, Any] = {
            each: getattr(self, each) or before.every(each.removesuffix("_every")) for each in OFTEN
        }
        return replace(self, **kept)

    def rng(self, purpose: int, number: int = 0) -> np.random.Generator:
        """Where randomness for this purpose comes from: of nothing but the seed, the purpose and the number."""
        return np.random.default_rng([self.seed, purpose, number])

    def surroundings(self, phase: int) -> int:
        """The seed of environments that begin anew before this phase."""
        return int(self.rng(SURROUNDINGS, phase).integers(2**31))

    @property
    def shared(self) -> bool:
        """Whether workers play and learn beside each other: such a run never comes out the same twice."""
        return self.workers > 1 or self.kind != "threads"

    @property
    def name(self) -> str:
        """For people and trackers."""
        return f"{self.environment} {self.learner} {SEED}{self.seed}"


def plain(plan: Plan) -> dict[str, Any]:
    """The plan as JSON takes it."""
    return {**asdict(plan), "track": list(plan.track), "seeds": list(plan.seeds)}


def stored(folder: Path) -> Plan:
    """The plan of the run in this folder. Raises InvalidInput where there is none."""
    path = folder / ABOUT
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        known = {each.name: about[each.name] for each in fields(Plan) if each.name in about}
        return Plan(**{**known, "track": tuple(about["track"]), "seeds": tuple(about.get("seeds", ()))})
    except FileNotFoundError as error:
        fix = "Name a folder that `bondhu run` has written."
        raise InvalidInput(f"{folder} holds no run.", field="folder", value=str(folder), fix=fix) from error
    except (ValueError, KeyError, TypeError) as error:
        fix = "Begin a new run in another folder."
        raise InvalidInput(f"{path} cannot be read: {error!r}.", field="folder", value=str(path), fix=fix) from error


def seeds_of(folder: Path) -> list[Path]:
    """The folders of single runs: this one, or those of the seeds below it, in order."""
    if (folder / ABOUT).exists():
        return [folder]
    found = [each.parent for each in folder.glob(f"{SEED}*/{ABOUT}")]
    return sorted(found, key=lambda each: (len(each.name), each.name))


def _at_least(low: int, name: str, value: Any) -> None:
    if not isinstance(value, int) or value < low:
        fix = f"It must be a whole number of at least {low}."
        raise InvalidInput(f"{name!r} got {value!r}.", field=name, value=value, fix=fix)
