"""What people train with today, timed by its own interpreter: `PYTHON deep_peers.py JSON` prints how many a second.

Bondhu's environment holds no second framework; `benchmarks.deep_speed` runs this file with the interpreter that
BONDHU_PEERS names, one that has `stable-baselines3` and `sbx-rl`. The settings are those of rl-zoo3's tuned files,
except HalfCheetah's, where the library's own defaults are faster.

Counted are whole phases, from the first step of one to the first step of a later one, each with its gradient steps,
once `warm` environment steps are done: learning has begun by then and everything is compiled.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

SETTINGS: dict[str, dict[str, Any]] = {  # keyword arguments of the peers' classes
    "ppo CartPole-v1": {
        "n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20, "learning_rate": 1e-3,
        "ent_coef": 0.0,
    },
    "a2c CartPole-v1": {"ent_coef": 0.0},
    "dqn CartPole-v1": {
        "learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000, "learning_starts": 1000, "gamma": 0.99,
        "target_update_interval": 10, "train_freq": 256, "gradient_steps": 128, "exploration_fraction": 0.16,
        "exploration_final_eps": 0.04, "policy_kwargs": {"net_arch": [256, 256]},
    },
    "sac Pendulum-v1": {"learning_rate": 1e-3, "learning_starts": 100},
    "ppo HalfCheetah-v5": {},
}  # fmt: skip
ENVIRONMENTS = {"ppo CartPole-v1": 8, "a2c CartPole-v1": 8}  # side by side; otherwise one
STEPS = {"dqn CartPole-v1": 50_000}  # over which exploration falls; otherwise more than there is time for
ROWS, MINIBATCH = 2_000, 64  # of DQN updates without an environment


def trained(library: str, task: str, seconds: float, warm: int) -> float:
    """Training steps a second of a peer, over at least so many seconds."""
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    marks: list[tuple[float, int]] = []  # time and steps where a phase began: the first and the last

    class Clock(BaseCallback):  # type: ignore[misc]  # it is not installed here
        def _on_rollout_start(self) -> None:
            if self.num_timesteps >= warm:
                marks[1:] = [(time.perf_counter(), self.num_timesteps)]

        def _on_step(self) -> bool:
            return len(marks) < 2 or marks[1][0] - marks[0][0] < seconds

    algorithm, environment = task.split()
    module = __import__("sbx" if library == "sbx" else "stable_baselines3")
    environments = make_vec_env(environment, n_envs=ENVIRONMENTS.get(task, 1), seed=0)
    model = getattr(module, algorithm.upper())("MlpPolicy", environments, seed=0, **SETTINGS[task])
    model.learn(STEPS.get(task, 1_000_000), callback=Clock())
    (began, first), (ended, last) = marks
    return (last - first) / (ended - began)


def eager_updates(steps: int) -> float:
    """DQN updates a second of eager PyTorch: 12-128-64-27, batch 64, Adam, Huber loss; always the same rows."""
    import torch
    from torch import nn

    def network() -> Any:
        return nn.Sequential(nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 27))

    online, target = network(), network()
    optimiser = torch.optim.Adam(online.parameters(), lr=1e-3)
    seen, following = torch.randn(MINIBATCH, 12), torch.randn(MINIBATCH, 12)
    action, reward, going = torch.randint(0, 27, (MINIBATCH, 1)), torch.randn(MINIBATCH), torch.ones(MINIBATCH)

    def once() -> None:
        with torch.no_grad():
            goal = reward + 0.95 * going * target(following).max(dim=1).values
        loss = nn.functional.smooth_l1_loss(online(seen).gather(1, action)[:, 0], goal)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    for _ in range(50):
        once()
    began = time.perf_counter()
    for _ in range(steps):
        once()
    return steps / (time.perf_counter() - began)


def jitted_updates(steps: int) -> float:
    """DQN updates a second of SBX's own `train`: it draws all rows at once and scans over its jitted update.

    Its policy has layers of one width only, so the network 12-128-64-27 is put in the place of that; its target stays,
    which SBX moves elsewhere.
    """
    import flax.linen as nn  # type: ignore[import-not-found]  # it is not installed here
    import gymnasium
    import jax
    import numpy as np
    import optax
    from sbx import DQN  # type: ignore[import-not-found]  # it is not installed here
    from sbx.common.type_aliases import RLTrainState  # type: ignore[import-not-found]  # it is not installed here
    from stable_baselines3.common.logger import Logger

    class World(gymnasium.Env[Any, Any]):  # only its spaces are asked for
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (12,), np.float32)
        action_space = gymnasium.spaces.Discrete(27)

    model = DQN("MlpPolicy", World(), learning_rate=1e-3, buffer_size=ROWS, batch_size=MINIBATCH, seed=0)
    model.set_logger(Logger(None, []))
    network = nn.Sequential([nn.Dense(128), nn.relu, nn.Dense(64), nn.relu, nn.Dense(27)])
    first = network.init(jax.random.key(0), np.zeros((1, 12), np.float32))
    model.policy.qf_state = RLTrainState.create(
        apply_fn=network.apply, params=first, target_params=first, tx=optax.adam(1e-3)
    )
    rng = np.random.default_rng(0)
    for _ in range(ROWS):
        seen, action, reward = rng.standard_normal((2, 1, 12)), rng.integers(27, size=(1, 1)), rng.standard_normal(1)
        model.replay_buffer.add(seen[0], seen[1], action, reward, np.zeros(1), [{}])
    model.train(MINIBATCH, steps)
    began = time.perf_counter()
    model.train(MINIBATCH, steps)  # it waits for its losses
    return steps / (time.perf_counter() - began)


if __name__ == "__main__":
    import torch

    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    if asked["task"] == "updates":
        found = (jitted_updates if asked["library"] == "sbx" else eager_updates)(asked["steps"])
    else:
        found = trained(asked["library"], asked["task"], asked["seconds"], asked["warm"])
    print(json.dumps({"per_second": found}))
