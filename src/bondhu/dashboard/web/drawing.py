"""Pages as bytes: drawn in threads, once for all who ask for the same, and kept until something changes."""

from __future__ import annotations

import asyncio
import gzip
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import NamedTuple

from bondhu.dashboard import layout
from bondhu.dashboard.page import DASHBOARD, Asked, Desk, Page

VIEWS = {
    "/": "overview",
    f"{DASHBOARD}/learning": "learning",
    f"{DASHBOARD}/policy": "policy",
    f"{DASHBOARD}/decisions": "decisions",
    f"{DASHBOARD}/releases": "releases",
    f"{DASHBOARD}/evaluation": "evaluation",
    f"{DASHBOARD}/health": "health",
}  # modules of `dashboard.views` by path
DECISION = f"{DASHBOARD}/decisions/"  # with the id of one behind it
MOST = 64  # pages that are kept
THREADS = 2  # that draw
EFFORT = 5  # of gzip: half the time of the highest, for hardly more bytes


class Drawn(NamedTuple):
    """A page that is ready to be sent."""

    status: int
    small: bytes  # gzip

    @property
    def plain(self) -> bytes:
        return gzip.decompress(self.small)


def drawn(desk: Desk, asked: Asked, page: Page, since: int | None = None) -> Drawn:
    """The whole document of a page; `since`: the last change that it shows."""
    text = layout.document(desk, asked, page, since)
    return Drawn(page.status, gzip.compress(text.encode("utf-8", "replace"), EFFORT, mtime=0))


def viewed(desk: Desk, asked: Asked) -> Page | None:
    """The view at this address; None where there is none."""
    name = "decision" if "id" in asked.parts else VIEWS.get(asked.path)
    if name is None:
        return None
    page: Page = import_module(f"bondhu.dashboard.views.{name}").view(desk, asked)
    return page


@dataclass
class Job:
    """A page that is drawn, or will be."""

    work: Future[Drawn]
    result: asyncio.Future[Drawn]  # the same
    waiting: int = 0  # who wait for it


class Kept:
    """What was drawn, for everybody who asks for the same."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "bondhu-drawing")
        self._kept: OrderedDict[object, Job] = OrderedDict()
        self._generation = 0

    def __len__(self) -> int:
        return len(self._kept)

    async def drawn(self, generation: int, key: object, draw: Callable[[], Drawn]) -> Drawn:
        """What `draw` gives; those who ask meanwhile wait for the same, and it is not begun where all have left before.
        Raises whatever it raises. `generation`: of what it is drawn from; nothing of another one is kept, as somebody
        may have been erased since."""
        if generation != self._generation:
            self._generation = generation
            self._kept.clear()
        job = self._kept.get(key)
        if job is None:
            work = self._threads.submit(draw)
            self._kept[key] = job = Job(work, asyncio.wrap_future(work))
            job.result.add_done_callback(partial(self._ended, key, job))
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        job.waiting += 1
        try:
            return await asyncio.shield(job.result)  # who leaves does not end it for the others
        finally:
            job.waiting -= 1
            if not job.waiting and job.work.cancel():  # it was not begun
                self._forget(key, job)

    def _ended(self, key: object, job: Job, done: asyncio.Future[Drawn]) -> None:
        """Keep no failure."""
        if done.cancelled() or done.exception() is not None:
            self._forget(key, job)

    def _forget(self, key: object, job: Job) -> None:
        if self._kept.get(key) is job:
            del self._kept[key]

    async def done(self, work: Callable[[], str]) -> str:
        """Something that is not kept, in the same threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
