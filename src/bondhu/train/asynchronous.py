"""Learning from several workers at once: each plays with the newest parameters it was given, computes the gradient of
what it just played, and sends it; the owner applies each as it arrives (Mnih et al. 2016, A3C; arXiv 1602.01783).

Workers are threads, processes (spawned) or Ray actors. A gradient is stale by as many updates as were made since its
worker was given parameters. A worker that dies is replaced by a new one with a new environment. One thread alone is
never stale and always gives the same numbers.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context, parent_process
from types import TracebackType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from gymnasium.vector import VectorEnv

from bondhu.errors import BondhuError, InvalidInput, UnknownName, nearest
from bondhu.train.simulate import Episode, played_in
from bondhu.types import Batch, Learner, Metrics

MakeEnvironment = Callable[[], VectorEnv[Any, Any, Any]]
LIVES = 4  # workers in a row that may die before the run ends; each gradient that comes starts the count anew


class WorkersLost(BondhuError):
    """Workers died again and again. Of `asynchronous`, it holds what was learned before."""

    state: Any
    history: list[Metrics]


@runtime_checkable
class Divided(Learner[Any], Protocol):
    """A learner whose update has two halves: a gradient, which may be computed elsewhere, and the step along it."""

    @property
    def rollout(self) -> int:
        """Steps in each environment for one gradient."""

    def gradients(self, state: Any, batch: Batch) -> tuple[Any, Metrics]: ...
    def applied(self, state: Any, gradients: Any, metrics: Metrics, batch: Batch) -> tuple[Any, Metrics]: ...


class Sent(NamedTuple):
    """What a worker sends."""

    gradients: Any
    metrics: Metrics
    batch: Batch
    episodes: tuple[Episode, ...]  # that ended


class Arrived(NamedTuple):
    """A gradient that was applied."""

    state: Any  # after it
    metrics: Metrics  # with `staleness`, the updates between its parameters and those it was applied to, and `worker`
    batch: Batch
    episodes: tuple[Episode, ...]  # that ended


class Worker:
    """Plays in its own environment, with its own randomness."""

    def __init__(self, learner: Divided, make_environment: MakeEnvironment, seed: tuple[int, ...]) -> None:
        self._learner, self._rng = learner, np.random.default_rng(seed)
        self._simulation = played_in(make_environment(), learner)

    def work(self, state: Any) -> Sent:
        """One rollout, and its gradient at the parameters it was played with. A rollout in which all environments only
        began anew has no row: the next one is played."""
        policy = self._learner.policy(state, explore=True)
        batch = self._simulation.play(policy, self._learner.rollout, self._rng)
        while not len(batch):
            batch = self._simulation.play(policy, self._learner.rollout, self._rng)
        return Sent(*self._learner.gradients(state, batch), batch, tuple(self._simulation.finished()))

    def close(self) -> None:
        self._simulation.env.close()


def asynchronous(
    learner: Divided, make_environment: MakeEnvironment, workers: int, steps: int, seed: int, kind: str = "threads"
) -> tuple[Any, list[Metrics]]:
    """Learn until `steps` environment steps were learned from. Returns the learner's state and, for each gradient, its
    metrics with `staleness`, `worker`, `steps` so far and, where episodes ended, their mean `episode_return`.

    `kind`: "threads", or "processes" and "ray", to which learner and `make_environment` must be able to travel.
    Raises WorkersLost, which holds the state, where workers die again and again.
    """
    if steps < 1:
        raise InvalidInput(f"steps got {steps}.", field="steps", value=steps, fix="It must be at least 1.")
    state, done = learner.init(_seen(learner, make_environment), np.random.default_rng(seed)), 0
    history: list[Metrics] = []
    with working(learner, make_environment, workers, (seed,), kind) as owner:
        while done < steps:
            try:
                state, metrics, batch, episodes = owner.learned(state)
            except WorkersLost as lost:
                lost.state, lost.history = state, history
                raise
            done += len(batch)
            earned = {"episode_return": float(np.mean([each.total_reward for each in episodes]))} if episodes else {}
            history.append({**metrics, "steps": float(done), **earned})
    return state, history


@contextmanager
def working(
    learner: Divided, make_environment: MakeEnvironment, workers: int, seed: tuple[int, ...], kind: str
) -> Iterator[Owner]:
    """Workers that wait for an owner to ask them; they leave at the end. Raises as `check`."""
    check(workers, kind)
    with _ground(kind, workers), Staff(KINDS[kind], partial(Worker, learner, make_environment), seed) as staff:
        yield Owner(learner, staff, workers)


def check(workers: int, kind: str) -> None:
    """Raise InvalidInput or UnknownName for workers that cannot be had here."""
    if workers < 1:
        raise InvalidInput(f"workers got {workers}.", field="workers", value=workers, fix="It must be at least 1.")
    if kind not in KINDS:
        raise UnknownName(f"No workers {kind!r}.", field="kind", value=kind, fix=nearest(kind, KINDS))
    if kind == "ray" and find_spec("ray") is None:
        fix = "Install it, pip install 'bondhu[cluster]', or take 'processes'."
        raise InvalidInput("Ray is not installed.", field="kind", value=kind, fix=fix)


class Owner:
    """Who has the parameters, and applies each gradient as it arrives."""

    def __init__(self, learner: Divided, staff: Staff, workers: int) -> None:
        self._learner, self._staff = learner, staff
        self._free = list(range(workers))
        self._applied = 0

    def learned(self, state: Any) -> Arrived:
        """Give whoever is free this state, wait for the next gradient and apply it. Raises WorkersLost where workers
        die again and again; the given state is as it was."""
        while self._free:
            self._staff.ask(self._free.pop(0), state, self._applied)
        number, version, came = self._staff.hear()
        while not isinstance(came, Sent):
            if self._staff.dead == LIVES:
                raise _lost(came) from came
            self._staff.ask(number, state, self._applied)
            number, version, came = self._staff.hear()
        self._staff.dead = 0
        self._free.append(number)
        after, metrics = self._learner.applied(state, came.gradients, came.metrics, came.batch)
        told = {**metrics, "staleness": float(self._applied - version), "worker": float(number)}
        self._applied += 1
        return Arrived(after, told, came.batch, came.episodes)


def _seen(learner: Divided, make_environment: MakeEnvironment) -> Any:
    environment = make_environment()
    try:
        return played_in(environment, learner).spec
    finally:
        environment.close()


def _lost(last: BaseException) -> WorkersLost:
    what = f"{LIVES} workers died one after another; the last said: {type(last).__name__}: {last}"
    return WorkersLost(what, fix="Mend that.")


# ------------------------------------------------------------------------------------------------------------ who works

Begin = Callable[[tuple[int, ...]], Worker]  # with a seed of its own


class Place(Protocol):
    """Where one worker is."""

    def work(self, state: Any) -> Future[Sent]: ...
    def close(self) -> None:
        """Stop the worker, dead or alive, and leave nothing behind."""


class Staff:
    """The workers, and what each was asked."""

    def __init__(self, kind: Callable[[Callable[[], Worker]], Place], begin: Begin, seed: tuple[int, ...]) -> None:
        self._kind, self._begin, self._seed = kind, begin, seed
        self._places: dict[int, Place] = {}
        self._asked: dict[Future[Sent], tuple[int, int]] = {}  # which worker, and at which version of the state
        self._begun = 0
        self.dead = 0  # in a row

    def ask(self, number: int, state: Any, version: int) -> None:
        """Have worker `number` play with this state; it is hired where there is none."""
        if number not in self._places:
            self._places[number] = self._kind(partial(self._begin, (*self._seed, number, self._begun)))
            self._begun += 1
        self._asked[self._places[number].work(state)] = number, version

    def hear(self) -> tuple[int, int, Sent | BaseException]:
        """Wait for the next worker: its number, the version it played with, and what it sent or what it died of."""
        first = min(wait(self._asked, return_when=FIRST_COMPLETED).done, key=lambda each: self._asked[each])
        number, version = self._asked.pop(first)
        error = first.exception()
        if error is None:
            return number, version, first.result()
        self._places.pop(number).close()
        self.dead += 1
        return number, version, error

    def __enter__(self) -> Staff:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for place in self._places.values():
            place.close()


class Desk:
    """A worker that begins where and when it is first asked."""

    def __init__(self, begin: Callable[[], Worker]) -> None:
        self._begin = begin
        self._worker: Worker | None = None

    def work(self, state: Any) -> Sent:
        self._worker = self._worker or self._begin()
        return self._worker.work(state)

    def close(self) -> None:
        if self._worker:
            self._worker.close()


class Thread:
    """A worker in a thread of its own."""

    def __init__(self, begin: Callable[[], Worker]) -> None:
        self._desk, self._pool = Desk(begin), ThreadPoolExecutor(1)

    def work(self, state: Any) -> Future[Sent]:
        return self._pool.submit(self._desk.work, state)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._desk.close()


class Process:
    """A worker in a process of its own, which begins from nothing: a copy of this one would copy its threads' locks.

    Ctrl-C goes to every process of a terminal. This one begins with it blocked: the owner says when to end."""

    def __init__(self, begin: Callable[[], Worker]) -> None:
        self._begin = begin
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_end_with_the_owner)

    def work(self, state: Any) -> Future[Sent]:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a process that begins here inherits it
        try:
            return self._pool.submit(_work_here, self._begin, state)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


_here: list[Desk] = []  # in a spawned process: its only worker


def _end_with_the_owner() -> None:
    """An owner that is killed closes nothing: its workers would wait for ever."""
    owner = parent_process()
    assert owner is not None  # this runs in a spawned process

    def follow() -> None:
        owner.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _work_here(begin: Callable[[], Worker], state: Any) -> Sent:
    if not _here:
        _here.append(Desk(begin))
    return _here[0].work(state)


class RayActor:
    """A worker that Ray places, on this machine or another."""

    def __init__(self, begin: Callable[[], Worker]) -> None:
        import ray

        remote: Any = ray.remote  # Ray's types do not know what it makes of a class
        self._kill: Callable[[Any], None] = ray.kill
        self._actor: Any = remote(Desk).remote(begin)

    def work(self, state: Any) -> Future[Sent]:
        future: Future[Sent] = self._actor.work.remote(state).future()
        return future

    def close(self) -> None:
        self._kill(self._actor)


KINDS: Mapping[str, Callable[[Callable[[], Worker]], Place]] = {
    "threads": Thread,
    "processes": Process,
    "ray": RayActor,
}


@contextmanager
def _ground(kind: str, workers: int) -> Iterator[None]:
    """What must stand before workers of this kind begin: Ray, while they work, unless it stands already."""
    if kind != "ray":
        yield
        return
    import ray

    if ray.is_initialized():
        yield
        return
    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        yield
    finally:
        ray.shutdown()
