"""docs/learners.md says of every learner what its source says, and what was measured."""

from __future__ import annotations

import json

import pytest

from benchmarks.catalogue import page
from benchmarks.learners import FIGURES, PAGE
from bondhu.learners import find, names
from bondhu.policies import exploring

MEASURED = json.loads(FIGURES.read_text(encoding="utf-8"))
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_the_sources_and_the_figures_make_of_it() -> None:
    assert page(MEASURED, TEXT) == TEXT, "Renew it: python -m benchmarks.learners"


def test_every_learner_and_every_rule_has_an_entry() -> None:
    assert sorted(MEASURED) == names()
    for name in [*names(), *exploring.names()]:
        assert f"### `{name}`" in TEXT


@pytest.mark.parametrize("name", names())
def test_every_learner_was_measured_on_each_problem_it_names_and_reached_it(name: str) -> None:
    reached = MEASURED[name]["reached"]
    assert sorted(reached) == sorted(find(name).probes)
    assert min(mean for mean, _ in reached.values()) >= 90


def test_the_guide_names_learners_that_exist() -> None:
    guide = TEXT.partition("## What they reach")[0]
    named = {word for word in guide.split("`") if word.count(".") == 1 and word.split(".")[0] in ("bandit", "tabular")}
    assert named <= set(names())
    assert len(named) > 15
