"""Deep learners and what people train with today: training steps a second, updates a second, time to compile.

The same environments, the same machine, the same run: ours and each peer take turns, three each, and the medians are
compared. Counted are whole phases of play and learning, for four seconds after everything is compiled and learning has
begun. A peer has one thread or two, whichever was faster in its first turn; two are given up where they take more than
twice as long. Each comparison is made twice: at the settings of our presets, which reach the scores of
`benchmarks.deep_quality`, and at the peer's own. What share of our time the environment takes is told beside it:
nothing can be faster than that.

Peers are timed by the interpreter that BONDHU_PEERS names (`pip install stable-baselines3 sbx-rl` in an environment of
its own); without it there are no peers to compare with. BONDHU_TASKS = "updates|sac" measures only what matches. All of
it is done by processors; where JAX sees a GPU, the last rows show what it does for whole phases.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import jax
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from benchmarks.report import Row, main, progress
from bondhu import learners
from bondhu.envs.make import make
from bondhu.policies.uniform import Uniform
from bondhu.runs import planning
from bondhu.runs.plan import Plan
from bondhu.train.simulate import Simulation
from bondhu.types import Batch, Spec

T = TypeVar("T")
PEERS = os.environ.get("BONDHU_PEERS", "")
ASKED = os.environ.get("BONDHU_TASKS", "")
SCRIPT = Path(__file__).with_name("deep_peers.py")
ROOT = SCRIPT.parents[1]
UPDATES = "DQN updates, 12-128-64-27, 64 rows"


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    turns: int = 3
    seconds: float = 4.0  # of each training


@dataclass(frozen=True)
class Task:
    """One comparison."""

    learner: str
    environment: str
    peer: str  # what the peers' script calls it
    goals: Mapping[str, float]  # times as fast as this peer
    environments: int  # where hyper-parameters are the peer's
    phase: int  # steps of each environment between updates, likewise
    warm: int = 600  # environment steps before counting begins, after the first updates of a peer
    same: Mapping[str, Any] = field(default_factory=dict)  # the peer's hyper-parameters in our words

    @property
    def name(self) -> str:
        return f"{self.learner} on {self.environment}"


TASKS = (
    Task(
        "deep.ppo", "CartPole-v1", "ppo CartPole-v1", {"sb3": 5.0, "sbx": 2.5}, 8, 32,
        same={"learning_rate": 1e-3, "epochs": 20, "minibatch": 256, "discount": 0.98, "trace_decay": 0.8},
    ),
    Task(
        "deep.dqn", "CartPole-v1", "dqn CartPole-v1", {"sb3": 6.0, "sbx": 3.0}, 1, 256, warm=1_300,
        same={"hidden": (256, 256), "learning_rate": 2.3e-3, "minibatch": 64, "updates_per_step": 0.5,
              "normalise_layers": False, "n_step": 1},
    ),
    Task(
        "deep.sac", "Pendulum-v1", "sac Pendulum-v1", {"sb3": 10.0, "sbx": 2.0}, 1, 1, warm=300,
        same={"hidden": (256, 256), "learning_rate": 1e-3, "minibatch": 256},
    ),
    Task("deep.ppo", "HalfCheetah-v5", "ppo HalfCheetah-v5", {"sb3": 2.5, "sbx": 1.5}, 1, 2048),
    Task("deep.a2c", "CartPole-v1", "a2c CartPole-v1", {"sb3": 1.0}, 8, 5),
)  # fmt: skip


def measure(quick: bool) -> Iterator[Row]:
    effort = Effort(1, 0.3) if quick else Effort()
    tasks = TASKS[:1] if quick and not ASKED else TASKS
    ways: dict[str, Callable[[Effort], list[Row]]] = {
        UPDATES: update_rows,
        "one decision": lambda _: serving_rows(),
        "first update": lambda _: compile_rows(),
        **{task.name: partial(compared, task) for task in tasks},
        "GPU": device_rows,
    }
    chosen = [name for name in ways if re.search(ASKED, name)]
    if not chosen:
        raise SystemExit(f"BONDHU_TASKS={ASKED!r} matches none of: {'; '.join(ways)}.")
    processor = jax.devices("cpu")[0]  # as the peers; a GPU has rows of its own
    for name in progress(chosen, "deep learners"):
        yield from on(processor, partial(ways[name], effort))


def compared(task: Task, effort: Effort) -> list[Row]:
    """Ours by its preset and by the peer's settings, and each peer, in turn; what was promised comes first."""
    ways: dict[str, Callable[[], float]] = {
        "preset": lambda: by_preset(task, effort.seconds),
        "same": lambda: trained(task, task.same, (task.environments, task.phase), effort.seconds),
    }
    asked = {"task": task.peer, "seconds": effort.seconds, "warm": task.warm}
    rate = in_turn(ways | {library: Peer({"library": library, **asked}) for library in task.goals if PEERS}, effort)
    rows = []
    for way in ("preset", "same"):
        for library, goal in task.goals.items():
            if library in rate:
                times, promised = rate[way] / rate[library], way == "preset"
                rows.append(
                    Row(f"{task.name}, {way} settings / {library}", times, "times", f">= {goal:g}" if promised else "",
                        times >= goal if promised else None, library, rate[library])
                )  # fmt: skip
        rows.append(Row(f"{task.name}, {way} settings", rate[way], "steps/s"))
    share = environment_share(task, rate["preset"])
    return [*rows, Row(f"{task.name}, environment's share of the time", share, "of 1")]


def in_turn(ways: Mapping[str, Callable[[], float]], effort: Effort) -> dict[str, float]:
    """The median of what each says; all have a turn before one has its next."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(effort.turns):
        for name, timed in ways.items():
            found[name].append(timed())
    return {name: median(each) for name, each in found.items()}


def by_preset(task: Task, seconds: float) -> float:
    """Training steps a second with the settings that `bondhu run` takes."""
    plan = preset_of(task)
    return trained(task, plan.hyperparameters, (plan.environments, plan.phase), seconds)


def preset_of(task: Task) -> Plan:
    """What `bondhu run` would do; nothing is annealed, which would change what is measured."""
    preset, _ = planning.preset_for(task.environment, task.learner, None)
    return planning.planned(task.environment, task.learner, preset, {"steps": 1_000_000}, {})


def trained(task: Task, chosen: Mapping[str, Any], shape: tuple[int, int], seconds: float) -> float:
    """Training steps a second of whole phases, over at least so many seconds."""
    count, phase = shape
    learner, rng = learners.build(task.learner, chosen), np.random.default_rng(0)
    simulation = Simulation(make(task.environment, count))
    simulation.reset(0)
    state, done = learner.init(simulation.spec, rng), 0
    marks: list[tuple[float, int]] = []  # time and steps where a phase began: the first and the last
    warm = max(4 * count * phase, task.warm)
    while len(marks) < 2 or marks[1][0] - marks[0][0] < seconds:
        batch = simulation.play(learner.policy(state, explore=True), phase, rng)
        state, _ = learner.update(state, batch, rng)  # it waits for its metrics
        done += len(batch)
        if done >= warm:
            marks[1:] = [(time.perf_counter(), done)]
    (began, first), (ended, last) = marks
    return (last - first) / (ended - began)


def environment_share(task: Task, rate: float) -> float:
    """How much of the time of training the environment takes by itself, stepped with random actions."""
    count = preset_of(task).environments
    env = make(task.environment, count)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(500)]
    began = time.perf_counter()
    for action in actions:
        env.step(action)
    return rate * (time.perf_counter() - began) / (len(actions) * count)


class Peer:
    """What a peer's interpreter says: with one thread and with two, and from then on with what was faster."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self.asked = asked
        self.threads = 0  # not known yet

    def __call__(self) -> float:
        if self.threads:
            return told(self.asked, self.threads)
        began = time.perf_counter()
        one = told(self.asked, 1)
        try:  # two threads that wait for each other all the time are not waited for
            two = told(self.asked, 2, 2 * (time.perf_counter() - began))
        except subprocess.TimeoutExpired:
            two = 0.0
        self.threads = 2 if two > one else 1
        return max(one, two)


def told(asked: Mapping[str, Any], threads: int, limit: float | None = None) -> float:
    """How many a second, from a process of its own. Raises RuntimeError with what it said last where it fails, and
    subprocess.TimeoutExpired where it takes more than `limit` seconds."""
    flags = "" if threads > 1 else "--xla_cpu_multi_thread_eigen=false"
    done = subprocess.run(
        [PEERS, str(SCRIPT), json.dumps({**asked, "threads": threads})],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=limit,
        env={**os.environ, "PYTHONPATH": "", "CUDA_VISIBLE_DEVICES": "", "XLA_FLAGS": flags},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{PEERS} {SCRIPT.name} {dict(asked)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["per_second"])


def update_rows(effort: Effort) -> list[Row]:
    """DQN updates a second. Ours and SBX draw their rows from a memory, ours with a second network's choice (double
    Q-learning); eager PyTorch is given the same rows again and again, which is less work."""
    names = {"torch": "PyTorch, eager", "sbx": "SBX, its jitted scan"}
    peers = {
        library: Peer({"library": library, "task": "updates", "steps": steps})
        for library, steps in {"torch": 1_000, "sbx": 2_000}.items()
        if PEERS
    }
    rate = in_turn({"ours": dqn_updates, **peers}, effort)
    rows = []
    for library in peers:
        ratio, promised = rate["ours"] / rate[library], library == "torch"
        rows.append(
            Row(f"{UPDATES} / {library}", ratio, "times", ">= 5" if promised else "", ratio >= 5 if promised else None,
                names[library], rate[library])
        )  # fmt: skip
    return [*rows, Row(UPDATES, rate["ours"], "updates/s")]


def dqn_updates(rows: int = 2_000) -> float:
    """Updates a second from decisions that are already remembered."""
    rng = np.random.default_rng(0)
    spec = Spec(Box(-np.inf, np.inf, (12,), np.float32), Discrete(27))
    learner = learners.build(
        "deep.dqn",
        {"hidden": (128, 64), "minibatch": 64, "updates_per_step": 1.0, "n_step": 1, "normalise_layers": False},
    )
    seen, allowed = rng.standard_normal((rows, 12)).astype(np.float32), np.ones((rows, 27), np.bool_)
    choice = Uniform().sample(seen, allowed, rng)
    batch = Batch.single(seen, allowed, choice.action, choice.probability, rng.standard_normal(rows))
    state, _ = learner.update(learner.init(spec, rng), batch, rng)
    began = time.perf_counter()
    learner.update(state, batch, rng)
    return rows / (time.perf_counter() - began)


def serving_rows(decisions: int = 2_000) -> list[Row]:
    """One decision by the seed's network, 12-128-64-27, beside one by a table: the medians, in this process."""
    rng = np.random.default_rng(0)
    allowed = np.ones((1, 27), np.bool_)
    ways: dict[str, tuple[Any, Any]] = {
        "deep.dqn": (Box(-np.inf, np.inf, (12,), np.float32), rng.standard_normal((1, 12)).astype(np.float32)),
        "tabular.q_learning": (MultiDiscrete([5, 5, 5, 5, 5, 3]), np.zeros((1, 6), np.int64)),
    }
    found = {}
    for name, (space, seen) in ways.items():
        learner = learners.build(name, {})
        policy = learner.policy(learner.init(Spec(space, Discrete(27)), rng))
        times = []
        for _ in range(decisions):
            began = time.perf_counter()
            policy.sample(seen, allowed, rng)
            times.append(time.perf_counter() - began)
        found[name] = 1e6 * median(times)
    added = found["deep.dqn"] - found["tabular.q_learning"]
    return [
        Row("one decision by a deep policy, more than by a table", added, "µs", "<= 300", added <= 300),
        Row(
            "one decision by a deep policy, p50",
            found["deep.dqn"],
            "µs",
            "",
            None,
            "table",
            found["tabular.q_learning"],
        ),
    ]


def compile_rows() -> list[Row]:
    """The first update of a process, with nothing compiled before and with what an earlier process kept."""
    with tempfile.TemporaryDirectory() as folder:
        cold, warm = (first_update(folder) for _ in range(2))
    return [
        Row("first update of PPO, nothing compiled before", cold, "s", "<= 5", cold <= 5.0),
        Row("first update of PPO, compiled by an earlier process", warm, "s"),
    ]


def first_update(folder: str) -> float:
    program = (
        "import time, numpy; from bondhu import learners; from bondhu.envs.make import make;"
        "from bondhu.train.simulate import Simulation; rng = numpy.random.default_rng(0);"
        "world = Simulation(make('CartPole-v1', 8)); world.reset(0); learner = learners.build('deep.ppo', {});"
        "state = learner.init(world.spec, rng); batch = world.play(learner.policy(state, explore=True), 32, rng);"
        "began = time.perf_counter(); learner.update(state, batch, rng); print(time.perf_counter() - began)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": folder, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    return float(done.stdout.splitlines()[-1])


def device_rows(effort: Effort) -> list[Row]:
    """Whole update phases on a GPU, beside the same on the processor; nothing where JAX sees no GPU."""
    try:
        gpu, processor = jax.devices("gpu")[0], jax.devices("cpu")[0]
    except RuntimeError:  # JAX's way to say that it sees none
        return []
    return side_by_side(gpu, processor, effort)


def side_by_side(device: jax.Device, other: jax.Device, effort: Effort) -> list[Row]:
    """The same phases on two devices; rows go there and metrics come back, as in training."""
    twins = {"hidden": (256, 256), "minibatch": 256, "learning_starts": 0}
    phases: dict[tuple[str, str], Callable[[], float]] = {
        ("PPO update phases, CartPole-v1, 8 x 128 rows, 10 epochs", "phases/s"): lambda: 1 / phase_time(
            "deep.ppo", {}, "CartPole-v1", 128
        ),
        (UPDATES, "updates/s"): dqn_updates,
        ("SAC updates, Pendulum-v1, 256-256, 256 rows", "updates/s"): lambda: 512 / phase_time(
            "deep.sac", twins, "Pendulum-v1", 64
        ),
    }  # fmt: skip
    rows = []
    for (name, unit), timed in phases.items():
        rate = in_turn({"device": partial(on, device, timed), "other": partial(on, other, timed)}, effort)
        what = f"{name}, on {device.device_kind}"
        rows.append(Row(what, rate["device"], unit, "", None, other.device_kind, rate["other"]))
    return rows


def on(device: jax.Device, work: Callable[[], T]) -> T:
    """What the work gives when JAX computes on this device."""
    with jax.default_device(device):
        return work()


def phase_time(name: str, chosen: Mapping[str, Any], environment: str, steps: int) -> float:
    """Seconds of one update with `steps` steps of each of eight environments, after one that has compiled it."""
    learner, rng = learners.build(name, chosen), np.random.default_rng(0)
    simulation = Simulation(make(environment, 8))
    simulation.reset(0)
    state = learner.init(simulation.spec, rng)
    batch = simulation.play(learner.policy(state, explore=True), steps, rng)
    state, _ = learner.update(state, batch, rng)
    began = time.perf_counter()
    learner.update(state, batch, rng)
    return time.perf_counter() - began


if __name__ == "__main__":
    main("deep_speed", measure)
