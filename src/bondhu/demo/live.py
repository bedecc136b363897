"""A demonstration to watch: people come all the time, an hour of theirs is a second, and every so often it trains."""

from __future__ import annotations

import heapq
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bondhu import screen
from bondhu.client import Client
from bondhu.domains import recommendation
from bondhu.domains.recommendation.simulator import Population
from bondhu.errors import BondhuError
from bondhu.ports import PUBLISHED_KEY
from bondhu.serve.decide import Request, Said
from bondhu.settings import FILE
from bondhu.types import Floats, Integers

PACE = 3600.0  # of people's seconds in one of ours
TICK = 0.5  # seconds between two decisions of a session
ARRIVING = 20  # sessions that begin at each tick
TRAINING = 45.0  # seconds between two trainings
STARTING = 60.0  # seconds that the server may take to get ready
TRAIN, RELEASE = "/api/v1/admin/tasks/rl-training/trigger", "/api/v1/admin/releases/release"
SETTINGS = f"""\
# A deployment in which what takes hours elsewhere takes seconds. `bondhu status` works on it as on any other.
[domain]
extends = "recommendation"
idle = {6 * TICK:g}

[reward]
wait = {86_400 / PACE:g}

[learner]
name = "bandit.fourier_ridge"

[exploration]
rate = 0.4                 # much, so that a few minutes are enough to judge a version

[training]
min_interactions_per_user = 1
holdout = 0.3

[gate]
maximum_exploration = 0.4
minimum_average_reward = 0.0

[schedule]
release_minutes = 0.1
watch_minutes = 0.5

[release]
automatic = true           # what passes the gate climbs, and is taken back, by itself
minimum_decisions = 300
minimum_hours = {24 / PACE:g}
holdout = 0.1              # people who always meet the rule, to compare with

[dashboard]
demo = true
"""


@dataclass
class Crowd:
    """People who are there, session by session, and what they are about to say."""

    population: Population
    rng: np.random.Generator
    traits: Floats = field(default_factory=lambda: np.zeros((0, len(recommendation.TRAITS))))  # [N, 5] of who is there
    situation: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # [N]
    names: list[str] = field(default_factory=list)  # [N]
    number: count[int] = field(default_factory=count)
    later: list[tuple[float, int, Said]] = field(default_factory=list)  # a heap: when it is said, a number, what

    def arrive(self, people: int) -> None:
        """New people begin a session each."""
        self.traits = np.concatenate([self.traits, self.population.users(people, self.rng)])
        self.situation = np.concatenate([self.situation, self.population.reset(people, self.rng)])
        self.names += [f"person-{next(self.number)}" for _ in range(people)]

    def meet(self, client: Client, now: float) -> int:
        """Everybody who is there meets one decision, says what they think of it in their time, and goes on or leaves;
        returns the number of decisions."""
        contexts = self.population.contexts(self.traits, self.situation)
        asked = [Request(context, user=name) for context, name in zip(contexts, self.names, strict=True)]
        answers = client.decide_many(asked)
        known = {name: place for place, name in enumerate(recommendation.domain().actions)}
        taken = np.array([known[each.action] for each in answers])
        step = self.population.step(self.traits, self.situation, taken, self.rng)
        heard = step.heard
        for row, name, value, delay in zip(
            heard.row.tolist(), heard.signal, heard.value.tolist(), heard.delay.tolist(), strict=True
        ):
            said = Said(answers[row].id, name, value, id=f"{answers[row].id}:{name}")
            heapq.heappush(self.later, (now + delay / PACE, next(self.number), said))
        staying = np.flatnonzero(~step.ended)
        self.traits, self.situation = self.traits[staying], step.situation[staying]
        self.names = [self.names[place] for place in staying.tolist()]
        return len(answers)

    def speak(self, client: Client, now: float) -> None:
        """What is to be said by now is said."""
        due = []
        while self.later and self.later[0][0] <= now:
            due.append(heapq.heappop(self.later)[2])
        client.say_many(due)


def run(directory: Path, *, port: int, seed: int, seconds: float | None) -> None:
    """Serve a fresh deployment and let people use it, until Ctrl-C or for so many seconds."""
    make_folder(directory)
    with serving(directory, port) as address, Client(address) as client, httpx.Client(base_url=address) as admin:
        screen.console.print(f"Watch it learn: [bold]{address}[/]   (Ctrl-C stops it)")
        screen.say(f"An hour of these people is a second; it trains every {TRAINING:g} seconds.")
        admin.headers["x-admin-key"] = PUBLISHED_KEY
        admin.timeout = httpx.Timeout(120.0)
        with suppress(KeyboardInterrupt):
            people_come(Crowd(Population(), np.random.default_rng(seed)), client, admin, seconds)


def people_come(crowd: Crowd, client: Client, admin: httpx.Client, seconds: float | None) -> None:
    """Tick after tick; a training every so often, told in a line."""
    begun, trained, made = time.monotonic(), time.monotonic(), 0
    while seconds is None or time.monotonic() - begun < seconds:
        started = time.monotonic()
        crowd.arrive(ARRIVING)
        made += crowd.meet(client, time.time())
        crowd.speak(client, time.time())
        if started - trained >= TRAINING:
            screen.say(f"{made:,} decisions. {trained_now(admin)}")
            trained = started
        time.sleep(max(0.0, TICK - (time.monotonic() - started)))


def trained_now(admin: httpx.Client) -> str:
    """Train, and what came of it in a sentence. A training is judged on what is new; where that is too little, the gate
    is asked again about all that the people held out have said so far."""
    answer = admin.post(TRAIN)
    if answer.status_code != httpx.codes.OK:
        return f"The training did not go through: {answer.json().get('detail', answer.status_code)}"
    training: dict[str, Any] = answer.json()["training"]
    version, verdict = training["version"], training.get("verdict", {}).get("decision", "no verdict")
    if training["released"] is not None:
        return f"Trained {version}: the gate says {verdict}, and its release begins."
    asked = admin.post(RELEASE, json={"version": version, "reason": "Judged on all that was said so far."})
    if asked.status_code == httpx.codes.OK:
        return f"Trained {version}: the gate says promote, and its release begins."
    return f"Trained {version}: it stays a candidate ({asked.json()['detail'].partition(': ')[0]})."


def make_folder(directory: Path) -> None:
    """A fresh deployment in which time flies."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("data", "models"):
        shutil.rmtree(directory / name, ignore_errors=True)
    (directory / FILE).write_text(SETTINGS, encoding="utf-8")


@contextmanager
def serving(directory: Path, port: int) -> Iterator[str]:
    """`bondhu serve` on this folder in a process of its own; yields its address once it is ready."""
    port = port or free_port()
    command = [sys.executable, "-m", "bondhu", "serve", "-C", str(directory), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=dict(os.environ)) as server:  # noqa: S603  our own
        address = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(server, address)
            yield address
        finally:
            server.send_signal(signal.SIGTERM)


def wait_until_ready(server: subprocess.Popen[bytes], address: str) -> None:
    """Raises BondhuError where the server ends, or does not answer in time."""
    end = time.monotonic() + STARTING
    while time.monotonic() < end and server.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{address}/healthz", timeout=1.0).status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise BondhuError("The server did not start.", fix="Its messages stand above.")


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
