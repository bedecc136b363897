"""Drives a policy through Gymnasium environments and returns what happened as Batches, right at every cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, MultiDiscrete, Space
from gymnasium.vector import AutoresetMode, VectorEnv

from bondhu.envs.actions import acting
from bondhu.envs.endings import RAW, last_observations, mode_of
from bondhu.envs.spaces import MASK, seen
from bondhu.errors import InvalidInput
from bondhu.learners._memory import remembered_by
from bondhu.train.trace import Episode, Last, Trace, said_of_success
from bondhu.types import Array, Batch, Booleans, Choice, Learner, Metrics, Policy, Spec

__all__ = ["Episode", "Simulation", "learn", "played_in", "simulate"]


class Simulation:
    """One vector environment, stepped on and on; what happened comes back as Batches.

    Any of Gymnasium's autoreset modes. Actions may be restricted by `info["action_mask"]`, [N, A], or by the key
    "action_mask" of a Dict observation. A Box action is logged as the policy drew it; the environment gets it clipped.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], *, memory: int = 0, observes: type[Space[Any]] = Box) -> None:
        """`memory`: of a recurrent policy, so many last columns of its memo are shown to it again as the last columns
        of its next observation; zeros where an episode begins. `observes` as learners say it: MultiDiscrete leaves
        codes as they are, Box makes features of them. Raises InvalidInput for spaces that cannot be played."""
        self.env = env
        self._mode = mode_of(env)
        self._sight = seen(env.single_observation_space, codes=observes is MultiDiscrete)
        self._hand = acting(env.single_action_space)
        self._memory = memory
        self._everything: Booleans = np.broadcast_to(np.True_, (env.num_envs, self._hand.width))
        self.spec = Spec(_with_memory(self._sight.space, memory), self._hand.space)
        self._now: tuple[Array, Booleans] | None = None  # what is seen and allowed, None before a reset
        self._finished: list[Episode] = []

    def reset(self, seed: int) -> None:
        """Begin anew; episodes under way are forgotten."""
        count = self.env.num_envs
        observation, info = self.env.reset(seed=int(seed))
        self._masked = self._sight.masked or MASK in info
        nothing = np.zeros((count, self._memory), np.float32) if self._memory else None
        self._now = self._see(observation, info, nothing)
        self._beginning = np.zeros(count, bool)  # which spend the next step on beginning anew
        self._total, self._length = np.zeros(count), np.zeros(count, np.int64)
        self._steps = self._rows = 0

    def play(self, policy: Policy, steps: int, rng: np.random.Generator) -> Batch:
        """Act for `steps` steps in each of N environments, from where the last play stopped: up to steps x N rows,
        trajectory by trajectory. Without a reset before, one is made with a seed from `rng`.

        Raises InvalidInput naming the step and the environment whose observation is NaN, whose reward is not finite,
        or whose mask allows nothing; the next play then begins anew.
        """
        if steps < 1:
            raise InvalidInput("A play has at least one step.", field="steps", value=steps)
        if self._now is None:
            self.reset(int(rng.integers(2**31)))
        assert self._now is not None
        now, opening = self._now, self._beginning
        trace = Trace(*now, steps, masked=self._masked)
        self._now = None  # until all went well
        try:
            for _ in range(steps):
                choice = policy.sample(*now, rng)
                trace.chosen(choice)
                now = self._step(trace, choice)
                trace.saw(*now)
        except Exception:
            trace.check(self._steps)  # a number that is none may be what the policy or the environment fell over
            raise
        rows = trace.rows(opening if self._mode is AutoresetMode.NEXT_STEP else None)
        trace.check(self._steps, rows.live)
        batch = trace.batch(rows, time=float(self._rows))
        self._finished += trace.episodes(rows, self._total, self._length)
        self._steps, self._rows, self._now = self._steps + steps, self._rows + len(batch), now
        return batch

    def finished(self) -> list[Episode]:
        """The episodes that ended since this was last asked, with their rewards as the environment paid them."""
        finished, self._finished = self._finished, []
        return finished

    def _step(self, trace: Trace, choice: Choice) -> tuple[Array, Booleans]:
        following, reward, terminated, truncated, info = self.env.step(self._hand.given(choice.action))
        ended = terminated | truncated
        trace.happened(reward, terminated, ended, info.get(RAW))
        ends, begun = ended.any(), self._beginning
        if self._masked is False and MASK in info:
            raise _late_mask()
        memory = np.asarray(choice.memo)[:, -self._memory :] if self._memory else None
        now = self._see(following, info, memory)
        if ends:
            now = self._end(trace, now, memory, info, ended)
        if self._mode is AutoresetMode.NEXT_STEP:
            self._beginning = ended
            if memory is not None and begun.any():
                now[0][begun, -self._memory :] = 0
        if self._masked:
            _check_mask(now[1], ended, self._steps + trace.filled)
        return now

    def _end(
        self, trace: Trace, now: tuple[Array, Booleans], memory: Array | None, info: Mapping[str, Any], ended: Booleans
    ) -> tuple[Array, Booleans]:
        """Keep what the environments that ended showed last; what is seen and allowed now is the answer."""
        who, step = np.flatnonzero(ended), trace.filled - 1
        trace.success |= {(each, step): fact for each, fact in said_of_success(info, who).items()}
        if self._mode is AutoresetMode.NEXT_STEP:
            return now
        before = memory[who] if memory is not None else None
        if self._mode is AutoresetMode.SAME_STEP:
            last = last_observations(self.env.single_observation_space, info, who)
            notes = info.get("final_info", {})
            shown = self._see(last, {key: notes[key][who] for key in (MASK, f"_{MASK}") if key in notes}, before)
            first, allowed = now
        else:
            shown = now[0][who], now[1][who]
            observation, notes = self.env.reset(options={"reset_mask": ended.copy()})
            after = self._see(observation, notes, memory)
            first, allowed = now[0].copy(), now[1].copy()
            first[who], allowed[who] = after[0][who], after[1][who]
        if self._memory:
            first[who, -self._memory :] = 0
        trace.lasts.append(Last(step, who, *shown))
        return first, allowed

    def _see(self, observation: Any, info: Mapping[str, Any], memory: Array | None) -> tuple[Array, Booleans]:
        """What a policy is shown, [K, F] or images, and the actions allowed, [K, A]."""
        shown = self._sight.encode(observation)
        if memory is not None:
            shown = np.concatenate([shown, memory], axis=1, dtype=self.spec.observation.dtype)
        if not self._masked:
            return shown, self._everything[: len(shown)]
        mask = observation.get(MASK) if self._sight.masked else info.get(MASK)
        if mask is None:
            return shown, np.ones((len(shown), self._hand.width), bool)
        allowed = np.array(mask, bool).reshape(len(shown), self._hand.width)
        given = info.get(f"_{MASK}")  # Gymnasium's note of which environments sent one
        if given is not None and not self._sight.masked:
            allowed[~np.asarray(given, bool)] = True
        return shown, allowed


def played_in(env: VectorEnv[Any, Any, Any], learner: Learner[Any]) -> Simulation:
    """The environment as this learner sees it; a recurrent one, with its memory beside."""
    return Simulation(env, memory=remembered_by(learner), observes=learner.observes)


def simulate(env: VectorEnv[Any, Any, Any], policy: Policy, steps: int, rng: np.random.Generator) -> Batch:
    """Begin anew and act for `steps` steps in each of N environments; Discrete observations stay codes.

    The Batch has at most steps x N rows, trajectory by trajectory: see `Simulation`.
    """
    return Simulation(env, observes=MultiDiscrete).play(policy, steps, rng)


def learn(
    env: VectorEnv[Any, Any, Any], learner: Learner[Any], *, rounds: int, steps: int, rng: np.random.Generator
) -> tuple[Any, list[Metrics]]:
    """Learn on-line: act for `steps` steps in each environment as the learner explores, update, and again.

    Returns the learner's state and the metrics of each round. A round goes on where the last one stopped.
    """
    simulation = played_in(env, learner)
    state = learner.init(simulation.spec, rng)
    history = []
    for _ in range(rounds):
        batch = simulation.play(learner.policy(state, explore=True), steps, rng)
        state, metrics = learner.update(state, batch, rng)
        history.append(metrics)
    return state, history


def _with_memory(space: Space[Any], memory: int) -> Space[Any]:
    if not memory:
        return space
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise InvalidInput(
            f"A policy's memory cannot stand beside {space}.",
            field="memory",
            value=memory,
            fix="Give memory to policies that observe features: a Box of one axis.",
        )
    kind = np.result_type(space.dtype, np.float32).type
    free = np.full(memory, np.inf)
    return Box(np.r_[space.low, -free].astype(kind), np.r_[space.high, free].astype(kind), dtype=kind)


def _check_mask(allowed: Booleans, ended: Booleans, step: int) -> None:
    """Nothing may be allowed where an episode ended, and then nothing is chosen; elsewhere it is refused."""
    none = ~allowed.any(axis=1)
    if not none.any():
        return
    if (none & ~ended).any():
        number = int(np.argmax(none & ~ended))
        raise InvalidInput(
            f"The mask of environment {number} allows no action after step {step}.",
            field=MASK,
            fix="Allow at least one action in every state that is no end.",
        )
    allowed[none] = True


def _late_mask() -> InvalidInput:
    return InvalidInput(
        "The environment sends a mask of actions with a step, but sent none with the reset.",
        field=MASK,
        fix='Give info["action_mask"] with every reset and every step.',
    )
