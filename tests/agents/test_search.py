"""The order of a search, what it counts, and when it ends: by hand, on tasks of four lines."""

from __future__ import annotations

import ast
from dataclasses import replace

import numpy as np
import pytest

from bondhu.agents.budget import Budget
from bondhu.agents.ranking import Unlearned
from bondhu.agents.search import DEEPEST, Attempt, Context, Repair, context_of, fixed, repair
from bondhu.domains.coding.edits import edits
from bondhu.domains.coding.testing import Judge
from bondhu.errors import InvalidInput, SandboxUnavailable
from bondhu.types import Floats
from tests.agents.repairs import (
    STEP,
    STEPPED,
    STEPS,
    Broken,
    Slow,
    becoming,
    judge,
    judgement,
    one,
    task,
    two,
    wanting,
)
from tests.coding.inside import Inside

MENDING = wanting(lambda edit: becoming("2", "1")(edit) or becoming("3", "4")(edit))
IMPOSSIBLE = task(STEP, STEPS + "assert step(0) == 100\nassert step(0) == 101\n", name="impossible")


def counted(found: Repair) -> int:
    return found.use.executions


def random(seed: int = 0) -> Unlearned:
    return Unlearned(np.random.default_rng(seed))


def test_the_right_edit_named_first_takes_two_executions() -> None:
    inside = Inside()
    found = repair(one(), Judge(inside), MENDING)
    assert (found.solved, counted(found), len(inside.programs)) == (True, 2, 2)
    assert [(each.line, each.before, each.after) for each in found.best.edits] == [(3, "2", "1")]
    assert found.best.source == STEPPED
    assert [program.trace for program in inside.programs] == [True, False]


def test_a_program_that_is_right_already_takes_one() -> None:
    found = repair(task(STEPPED, STEPS), judge(), MENDING)
    assert (found.solved, counted(found), len(found.attempts)) == (True, 1, 1)
    assert (found.best.edits, found.context, found.problem) == ((), None, "")


@pytest.mark.parametrize(("place", "executions"), [(1, 2), (2, 4), (3, 4), (4, 8), (7, 8), (8, 16), (15, 16), (16, 24)])
def test_batches_double_up_to_eight_and_count_whole(place: int, executions: int) -> None:
    def nth(context: Context) -> Floats:
        others = [number for number, edit in enumerate(context.edits) if (edit.before, edit.line) != ("x - 2", 3)]
        right = next(number for number, edit in enumerate(context.edits) if becoming("2", "1")(edit))
        # No other edit may mend it: those of the line that is right are tried before.
        safe = [number for number in others if context.edits[number].line == 4 and number != right]
        order = [*safe[: place - 1], right]
        wanted = np.full(len(context.edits), -30.0)
        wanted[order] = -np.arange(len(order)) / 10
        return wanted

    found = repair(one(), judge(), nth)
    assert (found.solved, counted(found)) == (True, executions)
    assert len(found.attempts) == executions
    assert found.attempts[place].judgement.solved


@pytest.mark.parametrize("executions", [1, 2, 3, 7, 20, 61])
def test_the_budget_of_executions_is_never_passed(executions: int) -> None:
    inside = Inside()
    found = repair(IMPOSSIBLE, Judge(inside), random(), Budget(executions=executions))
    assert counted(found) == len(inside.programs) == executions
    assert not found.solved


def test_neither_is_it_by_runs_that_are_traced() -> None:
    for executions in (2, 3, 4):
        inside = Inside()
        found = repair(two(), Judge(inside), MENDING, Budget(executions=executions))
        assert counted(found) == len(inside.programs) == executions
        assert found.solved == (executions == 4)
    assert [program.trace for program in inside.programs] == [True, False, True, False]


def test_a_budget_that_allows_nothing_is_refused() -> None:
    for budget, name in ((Budget(executions=0), "executions"), (Budget(seconds=0.0), "seconds")):
        with pytest.raises(InvalidInput, match=f"The budget of {name} is 0"):
            repair(one(), judge(), MENDING, budget)


def test_a_chain_of_two_edits_is_found_through_the_program_that_passes_half() -> None:
    found = repair(two(), judge(), MENDING)
    assert [each.judgement.share for each in found.attempts[:2]] == [0.0, 0.5]
    assert (found.solved, {each.line for each in found.best.edits}) == (True, {3, 4})
    # The first; one edit; the same traced; up to three programs, of which the first solves it.
    assert counted(found) == 6
    assert [len(each.edits) for each in found.attempts[1:3]] == [1, 2]


def test_edits_lie_on_top_of_each_other_three_deep_at_most() -> None:
    inside = Inside()
    found = repair(IMPOSSIBLE, Judge(inside), random(3), Budget(executions=400))
    assert max(len(each.edits) for each in found.attempts) <= DEEPEST
    assert max(len(each.edits) for each in found.attempts) > 1
    for each in found.attempts:
        if len(each.edits) == 2:  # went on from a program that passes more than the first one
            parent = next(other for other in found.attempts if other.edits == each.edits[:1])
            assert parent.judgement.share > found.attempts[0].judgement.share


def test_no_program_is_tried_twice() -> None:
    inside = Inside()
    repair(IMPOSSIBLE, Judge(inside), random(3), Budget(executions=400))
    tried = [ast.dump(ast.parse(program.source)) for program in inside.programs if not program.trace]
    assert len(tried) == len(set(tried)) > 300
    assert ast.dump(ast.parse(STEP)) not in tried
    assert sum(program.trace for program in inside.programs) > 1


def test_where_all_edits_were_tried_the_search_ends() -> None:
    small = task("def one():\n    return 1\n", "assert one() == 'never'\n")
    found = repair(small, judge(), random(), Budget(executions=5000))
    singles = len(edits(small.source, "one"))
    assert not found.solved
    assert counted(found) == 1 + singles == len({each.source for each in found.attempts})


def test_the_best_program_is_the_first_of_those_that_pass_most() -> None:
    found = repair(IMPOSSIBLE, judge(), random(1), Budget(executions=60))
    shares = [each.judgement.share for each in found.attempts]
    assert found.best is found.attempts[shares.index(max(shares))]


def test_seconds_are_respected_within_a_batch() -> None:
    inside = Inside()
    found = repair(IMPOSSIBLE, Judge(inside), random(), Budget(seconds=5.0), clock=lambda: float(len(inside.programs)))
    # A second each: 1, then 1, then 2 together, and of the 4 that would follow 1, for a second is left.
    assert (counted(found), found.use.seconds) == (5, 5.0)


def test_seconds_are_passed_by_one_slow_program_at_most() -> None:
    inside = Inside()
    found = repair(IMPOSSIBLE, Judge(inside), random(), Budget(seconds=5.0), clock=lambda: 2.0 * len(inside.programs))
    assert (counted(found), found.use.seconds) == (3, 6.0)


def test_what_tracing_makes_too_slow_is_run_again_without() -> None:
    right = repair(task(STEPPED, STEPS), judge(Slow()), MENDING)
    assert (right.solved, counted(right)) == (True, 2)
    broken = repair(one(), judge(Slow()), MENDING)
    assert broken.attempts[0].judgement.share == 0.5
    assert (broken.solved, counted(broken)) == (True, 4)  # 1 traced, 1 not, then a batch of 2
    assert counted(repair(one(), judge(Slow()), MENDING, Budget(executions=1))) == 1


def test_a_program_that_goes_on_keeps_what_it_passed_without_tracing() -> None:
    seen: list[Context] = []

    def looking(context: Context) -> Floats:
        seen.append(context)
        return MENDING(context)

    assert repair(two(), judge(Slow()), looking).solved
    assert [each.judgement.share for each in seen[:2]] == [0.0, 0.5]


def test_rankers_see_suspected_lines_only_if_they_may() -> None:
    seen: list[Context] = []

    def looking(context: Context) -> Floats:
        seen.append(context)
        return MENDING(context)

    for localised in (True, False):
        repair(one(), judge(), looking, localised=localised)
    # Two tests fail, and they execute the lines 2 and 3; two pass, and execute 2 and 4: ef / √(F·(ef + ep)).
    assert dict(seen[0].suspicion) == pytest.approx({2: 2 / np.sqrt(2 * 4), 3: 1.0, 4: 0.0})
    assert seen[1].suspicion == {}


def test_the_same_seed_tries_the_same_programs() -> None:
    first, again, other = (
        [each.source for each in repair(IMPOSSIBLE, judge(), random(seed), Budget(executions=80)).attempts]
        for seed in (5, 5, 6)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("source", "entry", "problem"),
    [
        ("def f(:\n", "f", "does not parse"),
        ("def g():\n    return 1\n", "f", "No function 'f'"),
        ("f = 1\n", "f", "No function 'f'"),
        ("class f:\n    pass\n", "f", "No function 'f'"),
        ("f = lambda: 1\n", "f", "No function 'f'"),
        ("def f():\n    ...\n", "f", "nothing to edit"),
    ],
)
def test_what_cannot_be_edited_is_said_and_kills_nothing(source: str, entry: str, problem: str) -> None:
    odd = replace(task("def f():\n    pass\n", "assert f() == 2\n"), source=source, entry=entry)
    found = repair(odd, judge(), MENDING)
    assert (found.solved, counted(found)) == (False, 1)
    assert problem in found.problem


def test_a_source_nested_too_deeply_is_refused_with_a_message() -> None:
    deep = "def f():\n    return " + "+".join(["1"] * 5000) + "\n"
    with pytest.raises(InvalidInput, match="nested too deeply"):
        context_of(replace(one(), entry="f"), deep, judgement([False]))


@pytest.mark.parametrize("after", [0, 1, 2, 10])
def test_a_sandbox_that_breaks_is_no_failed_program(after: int) -> None:
    with pytest.raises(SandboxUnavailable):
        repair(IMPOSSIBLE, judge(Broken(after)), random())


def test_fixed_is_what_passes_the_tests_held_out() -> None:
    held = "assert step(-7) == -8\n"
    broken, right = Attempt(STEP, (), judgement([True])), Attempt(STEPPED, (), judgement([True]))
    edited = right._replace(edits=tuple(edits(STEP, "step")[:1]))
    use = repair(one(), judge(), MENDING).use

    def said(attempt: Attempt, hidden: str, *, solved: bool = True) -> bool:
        return fixed(task(STEP, STEPS, held=hidden), judge(), Repair(solved, attempt, use, (attempt,)))

    assert said(edited, held)
    assert said(right, held)
    assert not said(broken, held)
    assert not said(edited, held, solved=False)
    # Nothing is held out: what was right as it was found is not called fixed.
    assert said(edited, "")
    assert not said(right, "")
