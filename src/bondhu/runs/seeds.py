"""Several seeds of one plan: one after the other, or in processes of their own; a folder each, and what came of all."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from bondhu.errors import BondhuError, InvalidInput
from bondhu.monitor.tracking import FINISHED
from bondhu.runs import results
from bondhu.runs.display import Display
from bondhu.runs.loop import Ask
from bondhu.runs.plan import ABOUT, CHANGEABLE, SEED, Plan, seeds_of, stored
from bondhu.runs.progress import Progress
from bondhu.runs.run import Done, free, train

STOPPED = "somebody asked it to stop"
MOST = 1000  # seeds of one run
SECONDS = 60.0  # that a process which was told to end may take to finish its phase and to store it
_stop: Any = None  # in a process beside others: a number, 1 as soon as a stop is asked for


def every(plan: Plan, seeds: Sequence[int], folder: Path, console: Console, jobs: int = 1) -> list[Done]:
    """Train each seed in `folder/seed-N`; those after one that was stopped do not begin."""
    places = [(replace(plan, seed=seed, seeds=tuple(seeds)), folder / f"{SEED}{seed}", False) for seed in seeds]
    for _, place, _ in places:
        free(place)
    return _gathered(folder, _carried_out(places, console, jobs))


def resumed(folder: Path, change: Callable[[Plan], Plan], console: Console, jobs: int = 1) -> list[Done]:
    """Go on with every run in this folder, after `change` of its plan; seeds that were asked for and had not begun,
    begin."""
    there = seeds_of(folder)
    if not there:
        fix = "Name a folder that `bondhu run` has written."
        raise InvalidInput(f"{folder} holds no run.", field="resume", value=str(folder), fix=fix)
    before = [stored(each) for each in there]
    places = [(change(plan), each, True) for plan, each in zip(before, there, strict=True)]
    if there != [folder]:
        places += [(plan, folder / f"{SEED}{plan.seed}", True) for plan in _not_begun(before, change)]
    return _gathered(folder, _carried_out(places, console, jobs))


def _not_begun(begun: Sequence[Plan], change: Callable[[Plan], Plan]) -> list[Plan]:
    """Of the seeds that were asked for with these; they do as these do, in all that a run cannot change."""
    left = {seed: plan for plan in begun for seed in plan.seeds if seed not in {each.seed for each in begun}}
    found = []
    for seed, plan in sorted(left.items()):
        changed = change(plan)
        may = {name: getattr(changed, name) for name in CHANGEABLE}
        found.append(replace(plan, seed=seed, **may).going_on(plan))
    return found


Place = tuple[Plan, Path, bool]  # and whether it goes on


def _carried_out(places: Sequence[Place], console: Console, jobs: int) -> list[Done]:
    if jobs > 1 and len(places) > 1:
        return _side_by_side(places, min(jobs, len(places)))
    done: list[Done] = []
    with asked_to_stop() as asked:
        for plan, folder, resume in places:
            display = Display(console, f"{SEED}{plan.seed}")
            done.append(train(plan, folder, resume=resume, display=display, ask=asked))
            if done[-1].status != FINISHED:
                break
    return done


def _side_by_side(places: Sequence[Place], jobs: int) -> list[Done]:
    """Processes that begin empty: a fork of a process that holds a compiler, or threads, may hang."""
    context, began = multiprocessing.get_context("spawn"), time.time()
    stop = context.RawValue("b", 0)  # without a lock, which a killed process could hold for ever
    try:
        with (
            ProcessPoolExecutor(jobs, mp_context=context, initializer=_beside, initargs=(stop,)) as pool,
            asked_to_stop(lambda _: setattr(stop, "value", 1)),
        ):
            return [done for done in pool.map(_one, places) if done is not None]
    except BrokenProcessPool as error:
        raise _killed([folder for _, folder, _ in places], began) from error


def _beside(stop: Any) -> None:
    """A process for seeds: it reads from `stop` whether to go on, and leaves Ctrl-C to the one that asked for it."""
    global _stop  # noqa: PLW0603  a process of a pool has nowhere else to keep what it was begun with
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _all_stop(number: int) -> None:
    """In a process beside others: none begins another seed, and one that was told to end does, when its seed has."""
    _stop.value = 1
    if number == signal.SIGTERM:
        end = threading.Timer(SECONDS, os._exit, (1,))
        end.daemon = True
        end.start()


def _killed(folders: Sequence[Path], began: float) -> BondhuError:
    """Of the seeds that began, those that did not come to an end."""
    ended = [each / results.RESULT for each in folders]
    left = [each for each, end in zip(folders, ended, strict=True) if (each / ABOUT).exists() and _older(end, began)]
    home = folders[0].parent if len(folders) > 1 else folders[0]
    return BondhuError(
        f"A process was killed while it trained {' or '.join(map(str, left)) or home}, perhaps for lack of memory.",
        field="jobs",
        fix=f"Take fewer --jobs: `bondhu run --resume {home}` goes on.",
    )


def _older(path: Path, than: float) -> bool:
    return not path.exists() or path.stat().st_mtime < than


def _one(place: Place) -> Done | None:
    """One seed in a process of its own; None where a stop was asked for before it began."""
    plan, folder, resume = place
    if _stop.value:
        return None
    with asked_to_stop(_all_stop) as asked:
        display = Display(Console(highlight=False), f"{SEED}{plan.seed}", lines=True)
        ask: Ask = lambda progress: STOPPED if _stop.value else asked(progress)  # noqa: E731  two reasons as one
        return train(plan, folder, resume=resume, display=display, ask=ask)


def _gathered(folder: Path, done: list[Done]) -> list[Done]:
    alone = seeds_of(folder) == [folder]
    if not alone or folder.name.startswith(SEED):
        results.gather(folder.parent if alone else folder)
    return done


@contextmanager
def asked_to_stop(tell: Callable[[int], None] = lambda _: None) -> Iterator[Callable[[Progress], str]]:
    """Ctrl-C, or a polite kill, once: the phase is finished, then the answer is why to stop. Twice: at once.

    `tell` is called with the signal at the first one."""
    asked = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            signal.default_int_handler(number, frame)
        asked.set()
        tell(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda _: ""
        return
    before: dict[Any, Any] = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda _: STOPPED if asked.is_set() else ""
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def numbers(text: str) -> list[int]:
    """Seeds as people write them: "3", "1..5" or "1,4,7". Raises InvalidInput for anything else."""
    found: list[int] = []
    for part in text.split(","):
        first, dots, last = part.strip().partition("..")
        if not (first.isdigit() and (last.isdigit() if dots else True)):
            fix = "Write 3, 1..5 or 1,4,7."
            raise InvalidInput(f"{text!r} does not name seeds.", field="seed", value=text, fix=fix)
        low, high = int(first), int(last or first)
        if not low <= high < low + MOST:
            fix = f"Write the lower one first, and at most {MOST} in all."
            raise InvalidInput(f"{part!r} does not name seeds.", field="seed", value=text, fix=fix)
        found += range(low, high + 1)
    if len(set(found)) < len(found):
        raise InvalidInput(f"{text!r} names a seed twice.", field="seed", value=text, fix="Name each once.")
    return found
