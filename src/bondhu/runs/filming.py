"""Episodes as films: what an environment draws, frame by frame, as MP4, or as GIF where no encoder is at hand."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

from bondhu.envs.make import make
from bondhu.errors import InvalidInput, StoreError
from bondhu.runs.evaluating import SEED, FirstEpisodes
from bondhu.runs.outside import Outside
from bondhu.runs.plan import EVALUATION, Plan
from bondhu.train.simulate import played_in
from bondhu.types import Array, Learner, Policy

DRAWN = {"render_mode": "rgb_array"}
LONGEST = 3000  # frames
FASTEST = 60  # frames a second that players show


class Film(NamedTuple):
    """One episode."""

    path: Path
    total_reward: float
    frames: int


class Filmed(FirstEpisodes):
    """Keeps a picture of the first environment after every step."""

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env)
        self.frames: list[Array] = []

    def step(self, actions: Array) -> tuple[Any, Any, Array, Array, dict[str, Any]]:
        """One step, drawn where the episode goes on."""
        answer = super().step(actions)
        if not self.over[0]:
            self.draw()
        return answer

    def draw(self) -> None:
        """Keep a picture of now."""
        drawn = self.env.render()
        self.frames.append(np.asarray(drawn[0] if isinstance(drawn, list | tuple) else drawn, np.uint8))


def check(environment: str, options: Mapping[str, Any]) -> None:
    """Raise InvalidInput where there could be no film: nothing to draw, or no package to write it with."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # nothing is shown, so no screen is looked for
    if find_spec("imageio") is None:
        what = "Films need the package 'imageio', which is not installed."
        raise InvalidInput(what, field="video", fix="Install it: pip install 'bondhu[envs]'.")
    if environment.startswith(("envpool:", "ALE/")):
        raise _undrawn(environment)
    env = make(environment, 1, options=options)
    modes = (env.metadata or {}).get("render_modes") or (gymnasium.spec(environment).kwargs.get("render_modes", []))
    env.close()
    if "rgb_array" not in modes:
        raise _undrawn(environment)


def film(policy: Policy, plan: Plan, learner: Learner[Any], path: Path) -> Film:
    """One episode of the policy, begun as an evaluation begins. Raises InvalidInput as `check`."""
    check(plan.environment, plan.options)
    env = Filmed(Outside(make(plan.environment, 1, options={**plan.options, **DRAWN}), plan.environment))
    try:
        simulation, rng = played_in(env, learner), plan.rng(EVALUATION)
        simulation.reset(SEED)
        env.draw()
        while not env.over[0] and len(env.frames) < LONGEST:
            simulation.play(policy, 1, rng)
        return Film(_written(path, env.frames, _speed(env)), float(env.returns[0]), len(env.frames))
    finally:
        env.close()


def _written(path: Path, frames: list[Array], speed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if find_spec("imageio_ffmpeg") is None:
        import imageio.v3 as imageio

        path = path.with_suffix(".gif")
        imageio.imwrite(path, frames, duration=1000 / speed, loop=0)
        return path
    height, width = frames[0].shape[:2]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(speed), "-i", "-"]
    even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-vcodec", "libx264", "-pix_fmt", "yuv420p"]  # what players show
    words = [
        import_module("imageio_ffmpeg").get_ffmpeg_exe(),
        "-y",
        "-loglevel",
        "error",
        *raw,
        "-an",
        *even,
        str(path),
    ]
    content = b"".join(frame.tobytes() for frame in frames)
    done = subprocess.run(words, input=content, check=False, capture_output=True)  # noqa: S603  our own words
    if done.returncode:
        what = f"The film {path} could not be written: {done.stderr.decode(errors='replace').strip()}."
        raise StoreError(what, field="video", value=str(path), fix="Free some space, or leave --video out.")
    return path


def _speed(env: FirstEpisodes) -> int:
    return min(FASTEST, int((env.metadata or {}).get("render_fps") or 30))


def _undrawn(environment: str) -> InvalidInput:
    return InvalidInput(
        f"The environment {environment!r} draws nothing, so there can be no film.",
        field="video",
        value=environment,
        fix="Leave --video out, or take an environment with the render mode rgb_array.",
    )
