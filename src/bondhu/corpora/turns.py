"""Conversations read back: one turn is one decision with what was asked, answered, and said of the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from bondhu.log.rewards import hear
from bondhu.ports import Log, Reward, Transcript, Transcripts
from bondhu.types import Records

PIECE = 1_000  # transcripts looked up at a time
BROKEN = ("failed", "disconnected")  # the signals of an answer that did not come to its end
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
HASHED = re.compile(r"[0-9a-f]{8}(?: [0-9a-f]{8})*")  # how `[gateway] prompt = "hash"` stores a text
ANSWERED = "answered"  # the state of an answer that came to its end, as the gateway keeps it
WHOLE = (None, "", "stop")  # why a model ended an answer that is not cut short

# Why a turn cannot be used, in the words of the card.
NOT_KEPT = "nothing was kept of what was said"
IS_HASHED = "its text is stored as hashes"
IS_DROPPED = "its text was dropped before it was stored"
NO_ANSWER = "no whole answer came"
NOT_TEXT = "it holds more than text: tools, pictures, sounds"

Message = dict[str, str]  # role and content


class Text(NamedTuple):
    """What was asked and answered."""

    prompt: tuple[Message, ...]
    answer: str


class Turn(NamedTuple):
    """One decision of a conversation."""

    id: str
    session: str
    user: str | None
    time: float  # seconds
    version: str
    action: str
    probability: float
    reward: float
    said: Mapping[str, float]  # by signal, the values that count, added up; weights not applied
    judged: bool  # whether any of it can change the reward
    text: Text | None  # None: it cannot be used as text, see `problem`
    problem: str = ""
    body: Mapping[str, Any] | None = None  # of the transcript
    ended: float | None = None  # seconds; when the answer did


def read_turns(log: Log, transcripts: Transcripts, domain: str, reward: Reward, since: float = -np.inf) -> list[Turn]:
    """The turns from a time on, in order of arrival. Memory holds all of their texts."""
    return list(turns_of(log.read(domain, since, np.inf), transcripts, reward))


def turns_of(records: Records, transcripts: Transcripts, reward: Reward) -> Iterator[Turn]:
    """The turns of these records."""
    always = np.ones(len(records.time), bool)
    rewards = hear(reward, records, records.time + reward.wait, always).reward.tolist()
    said = counted(records, reward)
    rows = iter(range(len(records.id)))
    while piece := list(islice(rows, PIECE)):
        kept = {each.decision_id: each for each in transcripts.transcripts([records.id[row] for row in piece])}
        for row in piece:
            found = kept.get(records.id[row])
            text, problem = read_text(found)
            if text and any(said.get(row, {}).get(name, 0.0) > 0 for name in BROKEN):
                text, problem = None, NO_ANSWER
            yield Turn(
                id=records.id[row],
                session=records.session[row],
                user=records.user[row] or None,
                time=float(records.time[row]),
                version=records.version[row],
                action=records.action[row],
                probability=float(records.probability[row]),
                reward=rewards[row],
                said=said.get(row, {}),
                judged=any(reward.signals[name].weight for name in said.get(row, {})),
                text=text,
                problem=problem,
                body=found.body if found else None,
                ended=found.time if found else None,
            )


def counted(records: Records, reward: Reward) -> dict[int, dict[str, float]]:
    """By row, the values of each declared signal that count towards the reward, as `log.rewards.hear` counts them."""
    deadline = records.time[records.feedback_decision] + (np.inf if reward.count_late else reward.wait)
    order = np.lexsort((np.arange(len(records.feedback_time)), records.feedback_time))
    heard: dict[int, dict[str, float]] = {}
    for place in order.tolist():
        name = records.feedback_signal[place]
        signal = reward.signals.get(name)
        if signal is None or records.feedback_time[place] > deadline[place]:
            continue
        value = min(max(float(records.feedback_value[place]), signal.low), signal.high)
        values = heard.setdefault(int(records.feedback_decision[place]), {})
        if reward.aggregate == "sum" or name not in values:
            values[name] = values.get(name, 0.0) + value
    return heard


# ---------------------------------------------------------------------------------------------------------------- texts


def read_text(transcript: Transcript | None) -> tuple[Text | None, str]:
    """What was asked and answered; or None, and why it cannot be used."""
    if transcript is None:
        return None, NOT_KEPT
    messages, answer = transcript.body.get("messages"), transcript.body.get("answer")
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        return None, IS_DROPPED
    prompt = [_message(each) for each in messages]
    reply = _message({**(answer if isinstance(answer, Mapping) else {"content": answer}), "role": "assistant"})
    if reply is None or any(each is None for each in prompt):
        return None, NOT_TEXT
    problem = _problem([each for each in prompt if each], reply["content"], transcript.body)
    return (None, problem) if problem else (Text(tuple(each for each in prompt if each), reply["content"]), "")


def _problem(prompt: Sequence[Message], answer: str, body: Mapping[str, Any]) -> str:
    asked = [each["content"] for each in prompt if each["role"] == "user"]
    if not asked or not asked[-1].strip():
        return IS_DROPPED
    if any(HASHED.fullmatch(each) for each in (*asked, answer)):
        return IS_HASHED
    if body.get("status", ANSWERED) != ANSWERED or body.get("finish_reason") not in WHOLE or not body.get("answer"):
        return NO_ANSWER
    return "" if answer.strip() else IS_DROPPED


def _message(given: Any) -> Message | None:
    """A message with its role and its text; None where it is something else."""
    if not isinstance(given, Mapping) or given.get("tool_calls") or given.get("function_call"):
        return None
    role, content = ROLES.get(str(given.get("role"))), given.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str):
        parts = [each.get("text") if isinstance(each, Mapping) else None for each in content]
        content = "\n".join(map(str, parts)) if None not in parts else None
    if role is None or not (content is None or isinstance(content, str)) or (content is None and role != "assistant"):
        return None
    return {"role": role, "content": content or ""}
