"""The whole way with a real, if weak, model: trained on solutions, behind a server, asked by the official client, its
programs run and judged, the steps credited and learned from."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from bondhu.agents.budget import Budget, Price
from bondhu.agents.episodes import begun, practised
from bondhu.agents.ngrams import NGrams
from bondhu.agents.proposing import Endpoint, LanguageModel
from bondhu.agents.strategy import Setup, Worth, moves
from bondhu.domains.coding import loading, testing
from bondhu.domains.coding.tasks import Task, split
from bondhu.learners import build
from tests.agents.serving import serving, thinking
from tests.coding.inside import Inside

pytest.importorskip("openai", reason="no openai: install bondhu[coding]")

DATA = Path(os.environ.get("BONDHU_DATA", Path(__file__).parents[3] / "shared" / "data")) / "mbpp"
SOLUTIONS = [
    f"def {name}({x}):\n    total = 0\n    for value in {x}:\n        total += value\n    return total\n"
    for name, x in (("add", "xs"), ("sum_up", "numbers"), ("count", "items"), ("whole", "parts"))
]
BUGGY = "def total_of(xs):\n    total = 0\n    for value in xs:\n        total -= value\n    return total\n"


def test_a_small_model_is_asked_judged_and_learned_from_within_a_budget() -> None:
    checks = testing.assertions("assert total_of([]) == 0\nassert total_of([1, 2]) == 3\n", "total_of")
    tasks = [Task(f"t{number}", "total_of", "The sum.", BUGGY, checks) for number in range(12)]
    with serving(thinking(NGrams.trained(SOLUTIONS), "total_of")) as server:
        settings = Endpoint("m", server.url, "", retries=0, temperature=0.5, answer_tokens=200,
                            prices={"m": Price(Decimal(1), Decimal(2))})  # fmt: skip
        setup = Setup(
            (LanguageModel("ngrams", settings),),
            testing.Judge(Inside()),
            moves(["ngrams"], ["repair"], samples=(2,)),
            Worth(execution=0.001),
            Budget(dollars=Decimal("0.01"), executions=6),
            longest=6,
        )
        rng = np.random.default_rng(0)
        beginner = begun(build("tabular.q_learning", {}), setup, tasks[0], rng)
        done = practised(beginner, setup, tasks, rng, every=4)[1]
    assert any(episode.solved and episode.last.judged is not None for episode in done)
    for episode in done:
        assert episode.last.spent.executions <= 6
        assert episode.last.spent.dollars <= Decimal("0.01")
    spent = sum((episode.last.spent.dollars for episode in done), Decimal(0))
    assert spent > 0
    assert spent * 1_000_000 == int(spent * 1_000_000)  # whole tokens at whole prices: nothing was rounded
    assert len(server.asked) == sum(move.startswith("ngrams") for episode in done for move in episode.moved)


@pytest.mark.skipif(not DATA.exists(), reason="no MBPP: set BONDHU_DATA to a folder with mbpp/")
def test_a_model_of_real_solutions_foresees_those_it_has_not_seen_better_than_counts_of_tokens_do() -> None:
    known, new = split(loading.load(DATA))
    learned = [task.solution for task in known if task.solution]
    bits = {order: bits_of(NGrams.trained(learned, order), new[:80]) for order in (1, 2, 5)}
    assert bits[5] < bits[2] < bits[1]
    assert bits[1] - bits[5] > 1.5


def bits_of(model: NGrams, tasks: list[Task]) -> float:
    """Mean bits of a token."""
    rows = [row for task in tasks if task.solution for row in model.surprise(task.solution) if row[1]]
    return sum(mean * count for mean, count in rows) / sum(count for _, count in rows)
