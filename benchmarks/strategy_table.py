"""Judged repairs by two models with three strategies, as a table from which nothing is hidden but by whoever asks.

DebugBench (Tian et al. 2024; arXiv 2401.04621): bugs put into solutions of LeetCode problems, repairs by GPT-4 and
GPT-3.5, and the judge's verdict on each; BONDHU_DATA names the folder that holds `debugbench_outcomes`. Of its 3,996
rows for Python, 250 a model are answers to a problem without a buggy program: they stand in, by problem, for "rewrite
from the statement". A bug is usable where both models tried to repair it: 1,468, of which 280 were also tried with a
traceback. What the judge gave no verdict on counts as not solved, as the table says.

Money: the table has no tokens. A token is taken for four characters (OpenAI's rule of thumb for English), the reply for
as long as the buggy program, and what surrounds both for 150 tokens; prices are those of the models' time.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from bondhu.agents.budget import Price
from bondhu.types import Booleans, Floats, Integers

DATA = Path(os.environ.get("BONDHU_DATA", Path(__file__).parents[2] / "shared" / "data")) / "debugbench_outcomes"
FILE = DATA / "outcomes_python.csv"
# Dollars for a million tokens. GPT-4 with 8k of context: openai.com/index/gpt-4-research, March 2023, $0.03 and $0.06 a
# thousand; GPT-3.5 Turbo: openai.com/index/function-calling-and-other-api-updates, June 2023, $0.0015 and $0.002.
PRICES = {
    "gpt-35-turbo": Price(Decimal("1.50"), Decimal("2.00")),
    "gpt-4": Price(Decimal("30.00"), Decimal("60.00")),
}
STRATEGIES = {"repair": "debug", "rewrite": "code_generation", "traceback": "debug_with_traceback"}
ARMS = tuple((model, how) for how in STRATEGIES for model in PRICES)
CHARACTERS, AROUND, TRACEBACK = 4, 150, 150  # a token; tokens around a prompt; tokens of a traceback
FOLDS = 5  # of problems


@dataclass(frozen=True)
class Outcomes:
    """N bugs; arms as `ARMS`, A of them."""

    context: Floats  # [N, F] known before anything is tried: kind of bug, level, sizes
    kinds: int  # the first so many features say the kind of bug, as the data set declares it
    allowed: Booleans  # [N, A] whether the table knows what came of it
    solved: Booleans  # [N, A]
    judged: Booleans  # [N, A] whether the judge gave a verdict
    cents: Floats  # [N, A] what trying costs
    problem: Integers  # [N] number of the problem the bug is in
    fold: Integers  # [N] by the hash of the problem, so that no problem is on both sides

    def take(self, rows: Any) -> Outcomes:
        """Some bugs only."""
        parts = {name: getattr(self, name) for name in vars(self)}
        return Outcomes(**{name: part if name == "kinds" else part[rows] for name, part in parts.items()})

    def without_kinds(self) -> Outcomes:
        """The same, seen by somebody whom nobody tells the kind of bug."""
        return replace(self, context=self.context[:, self.kinds :], kinds=0)

    def verdicts_only(self) -> Outcomes:
        """What the judge gave no verdict on is not there."""
        kept = replace(self, allowed=self.allowed & self.judged)
        return kept.take(kept.allowed.any(axis=1))


def load() -> Outcomes | None:
    """The table; None where the data is not there."""
    if not FILE.exists():
        print(f"No outcomes: there is no {FILE}; BONDHU_DATA names the folder that holds debugbench_outcomes.")
        return None
    with FILE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    found: dict[tuple[str, ...], dict[tuple[str, str], dict[str, str]]] = {}
    rewritten: dict[tuple[str, str], dict[str, str]] = {}
    names = {its: ours for ours, its in STRATEGIES.items()}
    for row in rows:
        arm = row["model"], names[row["strategy"]]
        if arm[1] == "rewrite":
            rewritten.setdefault((row["slug"], row["model"]), row)  # of a problem that was written twice, the first
        else:
            found.setdefault((row["slug"], row["bug_type"], row["idx"]), {})[arm] = row
    for (slug, *_), arms in found.items():
        arms |= {(model, "rewrite"): rewritten[slug, model] for model in PRICES if (slug, model) in rewritten}
    return _table([arms for arms in found.values() if all((model, "repair") in arms for model in PRICES)])


def _table(bugs: list[dict[tuple[str, str], dict[str, str]]]) -> Outcomes:
    first = [arms[ARMS[0]] for arms in bugs]
    slugs = {slug: number for number, slug in enumerate(sorted({row["slug"] for row in first}))}
    kinds = sorted({row["bug_type"] for row in first})
    levels = "easy", "medium", "hard"
    sizes = np.log([[int(row[name]) for name in ("n_lines", "n_chars", "desc_chars")] for row in first])
    one_hot = [[float(row["bug_type"] == kind) for kind in kinds] for row in first]
    level = [[float(row["level"] == each) for each in levels] for row in first]
    traced = [[float(ARMS[-1] in arms)] for arms in bugs]
    context = np.hstack([one_hot, level, (sizes - sizes.mean(axis=0)) / sizes.std(axis=0), traced])
    return Outcomes(
        context=context,
        kinds=len(kinds),
        allowed=np.array([[arm in arms for arm in ARMS] for arms in bugs]),
        solved=np.array([[arm in arms and arms[arm]["passed"] == "True" for arm in ARMS] for arms in bugs]),
        judged=np.array([[arm in arms and arms[arm]["status"] != "" for arm in ARMS] for arms in bugs]),
        cents=np.array([[_cents(row, *arm) for arm in ARMS] for row in first]),
        problem=np.array([slugs[row["slug"]] for row in first]),
        fold=np.array([_number(row["slug"]) % FOLDS for row in first]),
    )


def _cents(row: dict[str, str], model: str, how: str) -> float:
    """What one attempt costs, from sizes that are known before it."""
    statement, program = int(row["desc_chars"]) // CHARACTERS, int(row["n_chars"]) // CHARACTERS
    given = AROUND + statement + (0 if how == "rewrite" else program) + (TRACEBACK if how == "traceback" else 0)
    return 100 * float(PRICES[model].of(given, program))


def _number(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big")
