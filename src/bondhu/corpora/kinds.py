"""Turns as records in the formats of TRL (conversational), and why the others were left out.

Every turn is in one record, or in one line of `left_out`, and in no two. Columns beside those that TRL reads say where
a record comes from; `user` and `session` let `bondhu erase` find it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bondhu.corpora.turns import Text, Turn
from bondhu.equations.returns import advantage, returns_to_go, state_values

GAP = 0.5  # of rewards, from which on one answer counts as better than another
TRIES = 32  # partners that an answer is compared with
AMBIGUOUS = "clarification"  # the signal that says neither good nor bad: it was not enough
ACCEPTING = ("accept", "thumbs_up")  # the signals that say an answer was taken

SILENT = "nothing was said of it"
UNDECIDED = "what was said of it adds up to nothing"
ASKED_BACK = "the user asked for a clarification"
NOT_ACCEPTED = "it was not accepted"
ALONE = "no other answer to the same prompt"
NO_PARTNER = f"no other answer to the same prompt with another text and a reward that differs by {GAP:g}"

Row = dict[str, Any]


class Made(NamedTuple):
    """Records, and how many turns are in none, by reason."""

    rows: list[Row]
    used: int  # turns that are in a record
    left_out: Counter[str]


# ---------------------------------------------------------------------------------------------------------- one answer


def completions(turns: Sequence[Turn], _factor: float) -> Made:
    """{prompt, completion} of answers that were accepted."""
    return _singly(turns, _unaccepted, lambda _turn: {})


def binary(turns: Sequence[Turn], _factor: float) -> Made:
    """{prompt, completion, label}: whether what was said adds up to more than nothing."""
    return _singly(turns, _unlabelled, lambda turn: {"label": turn.reward > 0})


def _singly(turns: Sequence[Turn], why: Callable[[Turn], str], more: Callable[[Turn], Row]) -> Made:
    rows, left_out = [], Counter[str]()
    for turn in turns:
        problem = why(turn)
        if turn.text is None or problem:
            left_out[turn.problem or problem] += 1
        else:
            prompt, completion = list(turn.text.prompt), _said(turn.text)
            rows.append({"prompt": prompt, "completion": completion, **more(turn), **origin(turn)})
    return Made(rows, len(rows), left_out)


def _unlabelled(turn: Turn) -> str:
    if not turn.judged:
        return SILENT
    if AMBIGUOUS in turn.said:
        return ASKED_BACK
    return UNDECIDED if turn.reward == 0 else ""


def _unaccepted(turn: Turn) -> str:
    if problem := _unlabelled(turn):
        return problem
    accepted = any(turn.said.get(name, 0.0) > 0 for name in ACCEPTING) and turn.reward > 0
    return "" if accepted else NOT_ACCEPTED


def _said(text: Text) -> list[Row]:
    return [{"role": "assistant", "content": text.answer}]


def origin(turn: Turn) -> Row:
    """Where a record comes from."""
    return {
        "user": turn.user or "",  # never null: a column is of one type in every file
        "session": turn.session,
        "decision_id": turn.id,
        "time": turn.time,
        "version": turn.version,
        "action": turn.action,
        "probability": turn.probability,
        "reward": turn.reward,
    }


# ---------------------------------------------------------------------------------------------------------- two answers


def preferences(turns: Sequence[Turn], _factor: float) -> Made:
    """{prompt, chosen, rejected, margin}: two answers to the same prompt, up to white space and case of all its
    messages, whose rewards differ by GAP. Each answer is in one pair at most, the best with the worst."""
    groups: dict[tuple[tuple[str, str], ...], list[Turn]] = {}
    left_out = Counter[str]()
    for turn in turns:
        if turn.text is None or not turn.judged:
            left_out[turn.problem or SILENT] += 1
        else:
            groups.setdefault(_same(turn.text), []).append(turn)
    rows: list[Row] = []
    for group in groups.values():
        pairs = _pairs(group)
        rows += [_pair(*pair) for pair in pairs]
        left_out[ALONE if len(group) == 1 else NO_PARTNER] += len(group) - 2 * len(pairs)
    return Made(rows, 2 * len(rows), +left_out)


def _same(text: Text) -> tuple[tuple[str, str], ...]:
    return tuple((each["role"], alike(each["content"])) for each in text.prompt)


def alike(text: str) -> str:
    """What two texts share that differ in white space and case alone."""
    return " ".join(text.split()).casefold()


def _pairs(group: Sequence[Turn]) -> list[tuple[Turn, Turn]]:
    """Best first, each with the worst that is left and fits."""
    left = sorted(group, key=lambda turn: (-turn.reward, turn.id))
    pairs = []
    while len(left) > 1:
        chosen = left.pop(0)
        worst = range(len(left) - 1, max(len(left) - 1 - TRIES, -1), -1)
        at = next((place for place in worst if _better(chosen, left[place])), None)
        if at is not None:
            pairs.append((chosen, left.pop(at)))
    return pairs


def _better(chosen: Turn, rejected: Turn) -> bool:
    """An answer that had to be clarified is better than one that was refused, and no worse than any."""
    assert chosen.text is not None
    assert rejected.text is not None
    if AMBIGUOUS in rejected.said or (AMBIGUOUS in chosen.said and rejected.reward >= 0):
        return False
    return chosen.reward - rejected.reward >= GAP and alike(chosen.text.answer) != alike(rejected.text.answer)


def _pair(chosen: Turn, rejected: Turn) -> Row:
    assert chosen.text is not None
    assert rejected.text is not None
    told = {f"rejected_{name}": value for name, value in origin(rejected).items()}
    texts = {"prompt": list(chosen.text.prompt), "chosen": _said(chosen.text), "rejected": _said(rejected.text)}
    return {**texts, "margin": chosen.reward - rejected.reward, **origin(chosen), **told}


# -------------------------------------------------------------------------------------------------------- conversations


def trajectories(turns: Sequence[Turn], factor: float) -> Made:
    """A record a session: {messages, rewards, returns, advantages, decision_ids, actions, probabilities, versions}, the
    lists with an entry a turn. Return: what a turn and those after it were worth, discounted by `factor` a turn.
    Advantage: by how much that is more than the mean return of all turns with the same number."""
    sessions: dict[str, list[Turn]] = {}
    for turn in sorted(turns, key=lambda each: each.time):
        sessions.setdefault(turn.session, []).append(turn)
    left_out = Counter[str]()
    whole: list[list[Turn]] = []
    for session in sessions.values():
        problem = next((each.problem for each in session if each.text is None), "")
        if problem:
            left_out[f"in its session, {problem}"] += len(session)
        else:
            whole.append(session)
    returns = [_returns(session, factor) for session in whole]
    places = np.array([place for each in returns for place in range(len(each))], np.int64)
    flat = np.array([value for each in returns for value in each])
    values = state_values(places, flat, int(places.max(initial=-1)) + 1)
    rows = [
        _trajectory(session, worth, advantage(np.array(worth), values[: len(worth)]).tolist())
        for session, worth in zip(whole, returns, strict=True)
    ]
    return Made(rows, len(flat), left_out)


def _returns(session: Sequence[Turn], factor: float) -> list[float]:
    follows = np.arange(1, len(session) + 1) < len(session)
    rewards = np.array([each.reward for each in session])
    return [float(each) for each in returns_to_go(rewards, follows.astype(np.float64), follows, factor)]


def _trajectory(session: Sequence[Turn], returns: list[float], advantages: list[float]) -> Row:
    return {
        "messages": spoken(session),
        "rewards": [each.reward for each in session],
        "returns": returns,
        "advantages": advantages,
        "decision_ids": [each.id for each in session],
        "actions": [each.action for each in session],
        "probabilities": [each.probability for each in session],
        "versions": [each.version for each in session],
        "times": [each.time for each in session],
        "user": next((each.user for each in session if each.user), ""),
        "session": session[0].session,
    }


def spoken(session: Sequence[Turn]) -> list[Row]:
    """A conversation once: of each prompt what is new since the answer before."""
    messages: list[Row] = []
    for turn in session:
        assert turn.text is not None
        prompt = list(turn.text.prompt)
        known = len(messages) if prompt[: len(messages)] == messages else _last_question(prompt)
        messages += [*prompt[known if messages else 0 :], *_said(turn.text)]
    return messages


def _last_question(prompt: Sequence[Mapping[str, str]]) -> int:
    """Where the newest message of the user stands in a prompt that does not begin as the conversation did."""
    return max(place for place, each in enumerate(prompt) if each["role"] == "user")


KINDS: Mapping[str, Callable[[Sequence[Turn], float], Made]] = {
    "preferences": preferences,
    "prompt-completion": completions,
    "binary": binary,
    "trajectories": trajectories,
}


def added(parts: Iterable[Counter[str]]) -> Counter[str]:
    """All reasons together."""
    return sum(parts, Counter[str]())
