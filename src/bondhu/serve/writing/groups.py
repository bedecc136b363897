"""Rows of many requests committed together, so that none fails for another's sake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bondhu.errors import StoreError
from bondhu.ports import Log
from bondhu.serve.commit import commit
from bondhu.types import Decision, Feedback


class Rows(Protocol):
    """What one request wants written: all of it or nothing."""

    @property
    def decisions(self) -> list[Decision]: ...
    @property
    def feedback(self) -> Sequence[Feedback]: ...


def written(log: Log, jobs: Sequence[Rows]) -> list[list[Decision] | Exception]:
    """Commit the jobs together; if a row is at fault, each for itself. For each job its decisions as logged (the very
    list that came, where they are logged as they came), or what went wrong."""
    try:
        decisions = [each for job in jobs for each in job.decisions]
        logged = commit(log, decisions, [each for job in jobs for each in job.feedback])
        if logged is decisions:
            return [job.decisions for job in jobs]
        rows = iter(logged)
        return [[next(rows) for _ in job.decisions] for job in jobs]
    except Exception as error:
        if len(jobs) == 1 or isinstance(error, StoreError):
            return [error for _ in jobs]
        return [written(log, [job])[0] for job in jobs]
