"""A week of conversations through the official `openai` client, a training, and the week after it: does the assistant
answer better? Run with `python -m examples.assistant`; with the extra `llm`, against a real model on this machine."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import sqrt
from pathlib import Path
from random import Random
from typing import NamedTuple

from openai import AsyncOpenAI
from rich.table import Table

from bondhu import screen
from bondhu.client import AsyncClient, Said
from examples.assistant.people import KINDS, Message, judged, message
from examples.assistant.upstream import python_with_transformers, scripted, transformers, wait_for
from examples.commands import command

SETTINGS = Path(__file__).with_name("bondhu.toml")
AT_ONCE = 8  # conversations
SETTLED = 2.5  # seconds after which the last conversation has ended and its feedback is in
WORTH = {"accept": 1.0, "clarification": 0.5, "reject": -0.5}


class Told(NamedTuple):
    """One answered message."""

    said: Message
    decision: str
    action: str
    verdict: str


def run(folder: Path, messages: int, python: str | None, *, seed: int = 0, track: str | None = None) -> None:
    """The whole story; `python`: one that has Transformers, or None for the scripted models; `track`: who is told."""
    with ExitStack() as stack:
        if python is None:
            address, models = stack.enter_context(scripted()), {"SMALL": "small", "LARGE": "large"}
        else:
            screen.say("Training two small language models from random initialisation …")
            subprocess.run([python, "-m", "examples.assistant.model", str(folder / "models")], check=True)  # noqa: S603  # ours
            address = stack.enter_context(transformers(python, free_port(), folder / "transformers.log"))
            models = {name: str(folder / "models" / name.lower()) for name in ("SMALL", "LARGE")}
        settings = SETTINGS.read_text("utf-8").replace("URL", address)
        for name, path in models.items():
            settings = settings.replace(name, path)
        (folder / "bondhu.toml").write_text(settings, "utf-8")
        with serving(folder) as base:
            first = asyncio.run(week(base, messages, seed, "first"))
        time.sleep(SETTLED)
        command("train", folder=folder)
        command("promote", "--reason", "the gate let it pass", folder=folder)
        with serving(folder) as base:
            second = asyncio.run(week(base, messages, seed + 1, "second"))
    report(first, second)
    command("interactions", "--limit", "3", folder=folder)
    command("replay", second[-1].decision, folder=folder)
    if track:
        command("track", "--to", track, folder=folder)


async def week(base: str, messages: int, seed: int, name: str) -> list[Told]:
    """People write, the assistant answers, and they say what they make of it."""
    rng = Random(seed)  # noqa: S311  # people, not secrets
    said = [message(rng) for _ in range(messages)]
    client, feedback = AsyncOpenAI(base_url=f"{base}/v1", api_key="none needed"), AsyncClient(base)
    turn = asyncio.Semaphore(AT_ONCE)

    async def conversation(number: int) -> Told:
        async with turn:
            person = f"{name}-{number // 3}"
            answered = await client.chat.completions.with_raw_response.create(
                model="assistant", user=person, messages=[{"role": "user", "content": said[number].text}],
                extra_headers={"x-bondhu-session": f"{name}-{number}"},
            )  # fmt: skip
            completion = answered.parse()
            verdict = judged(said[number], completion.choices[0].message.content or "")
            await feedback.say(Said(completion.id, verdict, user=person))
            headers = answered.headers
            return Told(said[number], headers["x-bondhu-decision"], headers["x-bondhu-action"], verdict)

    async with client, feedback:
        with screen.progress() as bar:
            task = bar.add_task(f"The {name} week", total=messages)
            made = []
            for done in asyncio.as_completed([conversation(number) for number in range(messages)]):
                made.append(await done)
                bar.advance(task)
    return made


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """`bondhu serve` on a free port; its address."""
    port = free_port()
    told = {**os.environ, "BONDHU_SERVER__PORT": str(port)}
    server = subprocess.Popen([sys.executable, "-m", "bondhu", "serve"], cwd=folder, env=told)  # ours
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def report(first: Sequence[Told], second: Sequence[Told]) -> None:
    """Both weeks, by kind of message."""
    table = Table("messages", "week", "answered", "accepted", "reward", "95 % interval", "what was done most")
    for kind in (*KINDS, "all"):
        for name, told in (("first", first), ("second", second)):
            rows = [each for each in told if kind in (each.said.kind, "all")]
            worth = [WORTH[each.verdict] for each in rows]
            mean = sum(worth) / len(worth)
            error = 1.96 * sqrt(sum((each - mean) ** 2 for each in worth) / max(len(worth) - 1, 1) / len(worth))
            (most, times), *_ = Counter(each.action for each in rows).most_common(1)
            accepted = sum(each.verdict == "accept" for each in rows) / len(rows)
            interval = f"[{mean - error:+.2f}, {mean + error:+.2f}]"
            table.add_row(
                kind,
                name,
                str(len(rows)),
                f"{accepted:.0%}",
                f"{mean:+.2f}",
                interval,
                f"{most} ({times / len(rows):.0%})",
            )
    screen.console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1500, help="in each of the two weeks")
    parser.add_argument("--scripted", action="store_true", help="models that are scripts, even where there is torch")
    parser.add_argument("--folder", type=Path, help="kept afterwards; default: a temporary one")
    parser.add_argument("--track", metavar="WHERE", help="such as mlflow:http://localhost:5000")
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    python = None if told.scripted else python_with_transformers()
    if python is None and not told.scripted:
        screen.say("There is no Transformers (`pip install 'bondhu[llm]'`): the models are scripts.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = told.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        run(folder, told.messages, python, seed=told.seed, track=told.track)


if __name__ == "__main__":
    main()
