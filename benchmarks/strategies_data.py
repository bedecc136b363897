"""Three logs of choices between ways to answer; BONDHU_DATA names the folder that holds them.

`persuasion_for_good` (Wang et al. 2019): people who were asked to ask others for a donation. Neither their strategies
nor propensities are logged: strategies are told from words here, a rule that may err; propensities are estimated.
`realhumaneval` (Mozannar et al. 2024): programmers, each given one model at random; a reward is code that was copied.
GPT-4o came later than the other three and is left out: its users are not comparable.
"""

from __future__ import annotations

import csv
import json
import os
from ast import literal_eval
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np

from bondhu.domains.wide_fields import Text
from bondhu.types import Array, Batch, Floats, Integers

DATA = Path(os.environ.get("BONDHU_DATA", Path(__file__).parents[2] / "shared" / "data"))
FOLDS = 5
TURNS = 2, 3, 4  # of a dialogue, that are decisions: before it people say hello, after it they agree on a sum
APPEALS = {  # the first of these whose words stand in a turn; else it is "other"
    "small sum": ("any amount", "small amount", "little bit", "cents", "even a", "no matter how", "$0", "penny"),
    "feelings": ("suffer", "dying", "killed", "war", "hungry", "starv", "poverty", "imagine", "violence", "sick"),
    "credentials": ("organization", "international", "website", "non-government", "promotes", "founded", "percent"),
    "own story": ("i donate", "i have donated", "i'm donating", "i am going to donate", "my own", "myself", "i gave"),
    "use": ("help", "difference", "provide", "support", "ensure"),
    "question": ("?",),
}
STRATEGIES = (*APPEALS, "other")
CONCURRENT = "CodeLlama7b (chat)", "CodeLlama34b (chat)", "GPT-3.5 (chat)"


@dataclass(frozen=True)
class Choices:
    """A log: who decided for whom, with what chance, and what it earned."""

    name: str
    arms: tuple[str, ...]
    batch: Batch  # the last column of an observation is the fold of the person
    person: Integers  # [N]
    people: str = "people"  # or what else is held out

    @property
    def fold(self) -> Integers:
        """The part that each row's person is in: `[N]`."""
        fold: Integers = self.batch.observation[:, -1].astype(np.int64)
        return fold


def fold_of(name: str) -> int:
    """A number from 0 to FOLDS - 1, by a hash."""
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big") % FOLDS


def there(folder: str) -> bool:
    """Whether the data is there; says so where it is not."""
    found = (DATA / folder).exists()
    if not found:
        print(f"No {folder}: there is no {DATA / folder}; BONDHU_DATA names the folder that holds it.")
    return found


def programmers() -> Choices:
    """Requests for code: state is the task, the words of the request and what was copied before."""
    rows = [row for row in _read("realhumaneval/chat_data_visible.csv") if row["model"] in CONCURRENT]
    copied = [float(len(literal_eval(row["copy_events"])) > 0) for row in rows]
    asked = [_last(row["request"]) for row in rows]
    tasks = sorted({row["task_name"] for row in rows})
    person, before = _numbers([row["programmer_id"] for row in rows]), []
    for place, one in enumerate(person):
        earlier = [copied[each] for each in range(place) if person[each] == one]
        before.append([min(len(earlier), 10) / 10, (sum(earlier) + 0.5) / (len(earlier) + 1.0)])
    hot = np.eye(len(tasks))[[tasks.index(row["task_name"]) for row in rows]]
    arm = np.array([CONCURRENT.index(row["model"]) for row in rows])
    users = np.array([len(set(person[arm == each])) for each in range(len(CONCURRENT))])
    observation = np.hstack([hot, np.array(before), _words(asked, 32), _folds([row["programmer_id"] for row in rows])])
    allowed = np.ones((len(rows), len(CONCURRENT)), np.bool_)
    batch = Batch.single(observation, allowed, arm, (users / users.sum())[arm], np.array(copied))
    return Choices("realhumaneval", CONCURRENT, batch, person, "programmers")


def appeals() -> Choices:
    """Three turns of each dialogue, whole sessions; state is the other's personality and what was said last. A turn's
    probability is left at 1: it is to be estimated. The reward comes with the last turn: 1 for any donation."""
    traits, paid, asking = _people()
    said: dict[str, dict[tuple[int, str], str]] = {}
    for row in _read("persuasion_for_good/FullData/full_dialog.csv"):
        turn = int(row["Turn"]), row["B4"]
        dialogue = said.setdefault(row["B2"], {})
        dialogue[turn] = f"{dialogue.get(turn, '')} {row['Unit']}".strip()
    rows = [(name, turn) for name in said if name in traits for turn in TURNS if (TURNS[-1], "0") in said[name]]
    answers = [said[name].get((turn - 1, "1"), "") for name, turn in rows]
    action = np.array([appeal(said[name].get((turn, "0"), "")) for name, turn in rows])
    earlier = np.where(np.arange(len(rows)) % len(TURNS) > 0, np.roll(action, 1), len(STRATEGIES))
    observation = np.hstack([
        np.array([traits[name] for name, _ in rows]), np.eye(len(TURNS))[[turn - TURNS[0] for _, turn in rows]],
        np.eye(len(STRATEGIES) + 1)[earlier], _words(answers, 32), _folds([asking[name] for name, _ in rows]),
    ])  # fmt: skip
    last = np.array([turn == TURNS[-1] for _, turn in rows])
    reward = np.where(last, [paid[name] for name, _ in rows], 0.0)
    allowed = np.ones((len(rows), len(STRATEGIES)), np.bool_)
    batch = Batch.single(observation, allowed, action, np.ones(len(rows)), reward)
    following = np.where(last[:, None], 0.0, np.roll(observation, -1, axis=0))
    session = np.arange(len(rows)) // len(TURNS)
    batch = replace(batch, discount=1.0 - last, has_next=~last, next_observation=following, session=session)
    return Choices("persuasion_for_good", STRATEGIES, batch, _numbers([asking[name] for name, _ in rows]))


def appeal(text: str) -> int:
    """The strategy of a turn, told from its words."""
    low = text.lower()
    found = (number for number, words in enumerate(APPEALS.values()) if any(each in low for each in words))
    return next(found, len(APPEALS))


def _people() -> tuple[dict[str, list[float]], dict[str, float], dict[str, str]]:
    """By dialogue: the traits of who was asked, standardised; whether they gave; who asked."""
    rows = _read("persuasion_for_good/FullData/full_info.csv")
    asked = [row for row in rows if row["B4"] == "1"]
    columns = [name for name in asked[0] if name.endswith(".x") and _number(asked[0][name]) is not None]
    table = np.array([[_number(row[name]) or 0.0 for name in columns] for row in asked])
    table = (table - table.mean(axis=0)) / np.maximum(table.std(axis=0), 1e-9)
    traits = {row["B2"]: values.tolist() for row, values in zip(asked, table, strict=True)}
    paid = {row["B2"]: float((_number(row["B6"]) or 0.0) > 0.0) for row in asked}
    return traits, paid, {row["B2"]: row["B3"] for row in rows if row["B4"] == "0"}


def _read(path: str) -> list[dict[str, str]]:
    csv.field_size_limit(10_000_000)
    with (DATA / path).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _last(request: str) -> str:
    """The last message of a request, as the file writes it: Python's lists, or JSON's."""
    try:
        messages: Any = literal_eval(request)
    except (ValueError, SyntaxError):
        messages = json.loads(request)
    return str(messages[-1]["content"]) if messages else ""


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _numbers(names: list[str]) -> Integers:
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _words(texts: list[str], buckets: int) -> Floats:
    return np.asarray(Text("text", buckets).features(cast(Array, texts)), np.float64)


def _folds(names: list[str]) -> Floats:
    return np.array([[float(fold_of(name))] for name in names])
