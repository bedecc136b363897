"""What a worker and the process that writes say to each other: frames of MessagePack, each after its length.

A worker sends the rows of one turn of its event loop, checked and laid out as the store inserts them. The writer
answers every frame in the order they came: with nothing where all of it is logged as it came, else with an outcome for
each job.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from bondhu import errors
from bondhu.errors import BondhuError
from bondhu.log.checks import decode as from_json
from bondhu.log.prepared import Prepared, prepared
from bondhu.serve.writing.groups import Rows
from bondhu.types import Decision, Feedback

LENGTH = struct.Struct(">I")
LARGEST = 1 << 28  # bytes of a frame; whoever announces more is no worker
HELLO = "bondhu writer 1"  # what the writer says first; the number changes with this module
KINDS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, BondhuError)}

_encode_into = msgspec.msgpack.Encoder().encode_into
decode = msgspec.msgpack.Decoder().decode
_Row = tuple[Any, ...]  # as a store compares it with what it holds
_decode_batch = msgspec.msgpack.Decoder(tuple[list[_Row], list[_Row], list[tuple[int, int]]]).decode


def frame(content: Any) -> bytearray:
    """Any plain content with its length in front."""
    buffer = bytearray(LENGTH.size)
    _encode_into(content, buffer, LENGTH.size)
    LENGTH.pack_into(buffer, 0, len(buffer) - LENGTH.size)
    return buffer


ALL_WELL = bytes(frame(None))


def cut(buffer: bytearray) -> Iterator[bytes]:
    """The whole frames at the beginning of what has arrived, which are taken out of it; raises ValueError where it
    cannot be frames."""
    at = 0
    try:
        while len(buffer) - at >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer, at)
            if length > LARGEST:
                raise ValueError(f"A frame of {length} bytes was announced; the largest has {LARGEST}.")
            end = at + LENGTH.size + length
            if len(buffer) < end:
                break
            content = bytes(buffer[at + LENGTH.size : end])
            at = end
            yield content
    finally:
        del buffer[:at]


# ------------------------------------------------------------------------------------------------ from worker to writer


class Job(NamedTuple):
    """Rows of one request as the writer knows them when it has to look at each request for itself."""

    decisions: list[Decision]
    feedback: list[Feedback]


class Batch(NamedTuple):
    """What one frame holds."""

    rows: Prepared
    counts: list[tuple[int, int]]  # decisions and feedback of each job, in the order of the rows

    def jobs(self) -> list[Job]:
        """The rows as what they say, request by request."""
        made, said = iter(self.rows.decisions), iter(self.rows.feedback)
        return [
            Job([decision_of(next(made)) for _ in range(decisions)], [Feedback(*next(said)) for _ in range(feedback)])
            for decisions, feedback in self.counts
        ]


def of_jobs(jobs: Sequence[Rows]) -> bytearray:
    """The frame of some jobs; raises InvalidInput where a row cannot be stored."""
    rows = prepared([each for job in jobs for each in job.decisions], [each for job in jobs for each in job.feedback])
    return frame((rows.decisions, rows.feedback, [(len(job.decisions), len(job.feedback)) for job in jobs]))


def batch_of(content: bytes) -> Batch:
    """What `of_jobs` packed."""
    decisions, feedback, counts = _decode_batch(content)
    return Batch(Prepared(decisions, feedback), counts)


def decision_of(row: Sequence[Any]) -> Decision:
    """The decision that a prepared row says."""
    *known, context, allowed, action, probability, memo, version, variant, assigned = row
    numbers = tuple(np.frombuffer(memo or b"", "<f8").tolist())
    known += [from_json(context), tuple(from_json(allowed)), action, probability, numbers, version, variant, assigned]
    return Decision._make(known)


# ------------------------------------------------------------------------------------------------ from writer to worker


def of_outcomes(jobs: Sequence[Job], outcomes: Sequence[list[Decision] | Exception]) -> bytes | bytearray:
    """The answer to one frame."""
    plain = [outcome is job.decisions for job, outcome in zip(jobs, outcomes, strict=True)]
    if all(plain):
        return ALL_WELL
    return frame([None if well else _told(outcome) for well, outcome in zip(plain, outcomes, strict=True)])


def _told(outcome: list[Decision] | Exception) -> list[Any]:
    if not isinstance(outcome, Exception):
        return ["logged", prepared(outcome).decisions]
    if not isinstance(outcome, BondhuError):
        return ["failed", "", f"The writer failed: {type(outcome).__name__}.", None, None, "Its log says why."]
    value = outcome.value if isinstance(outcome.value, str | float | None) else repr(outcome.value)[:200]
    return ["failed", type(outcome).__name__, outcome.what, outcome.field, value, outcome.fix]


def outcome_of(told: list[Any] | None) -> list[Decision] | Exception | None:
    """What became of one job: None where it is logged as it was sent."""
    if told is None:
        return None
    if told[0] == "logged":
        return [decision_of(row) for row in told[1]]
    _, name, what, field, value, fix = told
    return KINDS.get(name, BondhuError)(what, field=field, value=value, fix=fix)
