"""The life of versions: what may follow what, who decides for whom, and what races and clocks cannot break."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.errors import ClockBehind, Conflict, InvalidInput, UnknownName
from bondhu.ports import Event, Registry, Version
from bondhu.registry import BASELINE, DiskRegistry, MemoryRegistry, Step, Traffic, previous, traffic, versions
from bondhu.registry.lifecycle import STANDS, TRANSITIONS, checked
from bondhu.registry.share import assign, place


@pytest.fixture(params=["disk", "memory"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    made: Registry = DiskRegistry(tmp_path) if request.param == "disk" else MemoryRegistry()
    for name in "abc":
        made.add(Version(name, "music", "tabular.q_learning", {}, {"table": np.zeros(1)}, {}, 0.0))
    return made


def event(kind: str, name: str, time: float = 1.0, share: float | None = None) -> Event:
    return Event(time, kind, name, "because", {}, "ann", share)


def status(registry: Registry) -> dict[str, str]:
    return {each.version: each.status for each in versions(registry.events("music"))}


WAYS = {  # to each status of version "a"
    "candidate": [],
    "shadow": [event("shadowed", "a")],
    "trial": [event("tried", "a", share=0.1)],
    "live": [event("promoted", "a")],
    "retired": [event("tried", "a", share=0.1), event("withdrawn", "a")],
}


@pytest.mark.parametrize(("before", "kind"), list(product(WAYS, [each for each in TRANSITIONS if each != "added"])))
def test_the_table_of_transitions_is_what_happens(registry: Registry, before: str, kind: str) -> None:
    for each in WAYS[before]:
        registry.record("music", each)
    assert status(registry)["a"] == before
    after = TRANSITIONS[kind].get(before)
    if after is None:
        with pytest.raises(Conflict, match=f"is {STANDS[before]} and cannot be"):
            registry.record("music", event(kind, "a", 2.0, share=0.5))
        assert status(registry)["a"] == before
    else:
        registry.record("music", event(kind, "a", 2.0, share=0.5))
        assert status(registry)["a"] == after


def test_a_release_climbs_step_by_step(registry: Registry) -> None:
    assert traffic(registry.events("music")) == Traffic(None, None, stopped=False)
    steps = [
        (event("promoted", "a", 1.0), Traffic("a", None, stopped=False)),
        (event("shadowed", "b", 2.0), Traffic("a", Step("b", 0.0, 2.0, 2.0), stopped=False)),
        (event("tried", "b", 3.0, 0.1), Traffic("a", Step("b", 0.1, 3.0, 2.0), stopped=False)),
        (event("judged", "b", 3.5), Traffic("a", Step("b", 0.1, 3.0, 2.0), stopped=False)),
        (event("tried", "b", 4.0, 0.5), Traffic("a", Step("b", 0.5, 4.0, 2.0), stopped=False)),
        (event("promoted", "b", 5.0), Traffic("b", None, stopped=False)),
        (event("tried", "c", 6.0, 0.1), Traffic("b", Step("c", 0.1, 6.0, 6.0), stopped=False)),
        (event("withdrawn", "c", 7.0), Traffic("b", None, stopped=False)),
        (event("stopped", BASELINE, 8.0), Traffic(None, None, stopped=True)),
        (event("promoted", "a", 9.0), Traffic("a", None, stopped=False)),
    ]
    for each, expected in steps:
        registry.record("music", each)
        assert traffic(registry.events("music")) == expected
    assert status(registry) == {"a": "live", "b": "retired", "c": "retired"}
    assert previous(registry.events("music")) == BASELINE


def test_rolling_back_the_live_version_leaves_a_trial_running(registry: Registry) -> None:
    for each in (event("promoted", "a"), event("tried", "b", 2.0, 0.1), event("rolled_back", BASELINE, 3.0)):
        registry.record("music", each)
    # and its evidence begins anew, since it is compared with another version now
    assert traffic(registry.events("music")) == Traffic(None, Step("b", 0.1, 3.0, 3.0), stopped=False)


def test_the_kill_switch_ends_everything_that_decides(registry: Registry) -> None:
    for each in (event("promoted", "a"), event("tried", "b", 2.0, 0.5), event("stopped", BASELINE, 3.0)):
        registry.record("music", each)
    assert status(registry) == {"a": "retired", "b": "retired", "c": "candidate"}
    assert previous(registry.events("music")) is None


def test_one_version_at_a_time_is_on_trial(registry: Registry) -> None:
    registry.record("music", event("tried", "a", share=0.1))
    for kind in ("tried", "shadowed"):
        with pytest.raises(Conflict, match=r"Version .a. is on trial already\. Withdraw it first"):
            registry.record("music", event(kind, "b", share=0.1))
    assert traffic(registry.events("music")).step == Step("a", 0.1, 1.0, 1.0)


def test_the_baseline_can_only_be_judged_promoted_gone_back_to_or_left_alone(registry: Registry) -> None:
    for kind in ("tried", "shadowed", "withdrawn", "added"):
        with pytest.raises(InvalidInput, match="The baseline cannot be"):
            registry.record("music", event(kind, BASELINE))
    with pytest.raises(UnknownName, match="No version 'd'"):
        registry.record("music", event("tried", "d"))


def test_whoever_looked_before_another_acted_is_told_so(registry: Registry) -> None:
    seen = len(registry.events("music"))
    registry.record("music", event("promoted", "a"), seen=seen)
    with pytest.raises(Conflict, match=r"Meanwhile .a. was promoted by ann\. Look at `bondhu status`") as caught:
        registry.record("music", event("promoted", "b"), seen=seen)
    assert caught.value.status == 409
    assert traffic(registry.events("music")).live == "a"


RACE = """
import sys
from bondhu.errors import Conflict
from bondhu.ports import Event
from bondhu.registry import DiskRegistry
registry = DiskRegistry(sys.argv[1])
seen = len(registry.events("music"))
print("ready", flush=True)
sys.stdin.readline()
try:
    registry.record("music", Event(1.0, "promoted", sys.argv[2], "race", {}, sys.argv[2]), seen=seen)
    print("won")
except Conflict as error:
    print(error)
"""


def test_of_two_operators_who_promote_at_once_one_wins_and_the_other_is_told(tmp_path: Path) -> None:
    registry = DiskRegistry(tmp_path)
    for name in "ab":
        registry.add(Version(name, "music", "tabular.q_learning", {}, {"table": np.zeros(1)}, {}, 0.0))
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    said = [racer.communicate("go\n", timeout=30)[0].strip() for racer in racers]
    winner = "ab"[said.index("won")]
    assert sorted(said)[0].startswith(f"Meanwhile {winner!r} was promoted by {winner}.")
    assert traffic(registry.events("music")).live == winner


@pytest.mark.parametrize("kind", ["promoted", "tried", "shadowed"])
def test_a_clock_set_back_is_an_error_and_changes_nothing(registry: Registry, kind: str) -> None:
    registry.record("music", event("promoted", "a", 10_000.0))
    with pytest.raises(ClockBehind, match="The clock says 5000, but the last event of this history is of 10000"):
        registry.record("music", event(kind, "b", 5_000.0, 0.1))
    assert traffic(registry.events("music")) == Traffic("a", None, stopped=False)


@pytest.mark.parametrize(
    ("kind", "name", "after"),
    [
        ("rolled_back", BASELINE, Traffic(None, Step("b", 0.1, 10_000.0, 10_000.0), stopped=False)),
        ("withdrawn", "b", Traffic("a", None, stopped=False)),
        ("stopped", BASELINE, Traffic(None, None, stopped=True)),
    ],
)
def test_what_makes_things_safer_works_whatever_the_clock_says(
    registry: Registry, kind: str, name: str, after: Traffic
) -> None:
    registry.record("music", event("promoted", "a", 10_000.0))
    registry.record("music", event("tried", "b", 10_000.0, 0.1))
    registry.record("music", event(kind, name, 5_000.0))
    assert traffic(registry.events("music")) == after
    assert registry.events("music")[-1].time == 10_000.0


def test_what_began_long_before_it_is_recorded_is_not_lost(registry: Registry) -> None:
    """A training carries the time it began; meanwhile others may have recorded something."""
    registry.record("music", event("promoted", "a", 10_000.0))
    registry.add(Version("late", "music", "tabular.q_learning", {}, {"table": np.zeros(1)}, {}, 5_000.0))
    registry.record("music", event("judged", "late", 5_000.0))
    assert [(each.kind, each.time) for each in registry.events("music")][-2:] == [
        ("added", 10_000.0),
        ("judged", 10_000.0),
    ]


def test_a_trial_never_shrinks(registry: Registry) -> None:
    registry.record("music", event("tried", "a", 1.0, 0.5))
    with pytest.raises(Conflict, match="on trial for 50% of the people: who met it keeps it"):
        registry.record("music", event("tried", "a", 2.0, 0.1))


def test_clocks_that_disagree_a_little_keep_the_order_of_events(registry: Registry) -> None:
    registry.record("music", event("promoted", "a", 1_000.0))
    registry.record("music", event("promoted", "b", 970.0))
    assert [each.time for each in registry.events("music")][-2:] == [1_000.0, 1_000.0]


ANY = st.builds(
    event,
    st.sampled_from([kind for kind in TRANSITIONS if kind != "added"]),
    st.sampled_from(["a", "b", "c", BASELINE]),
    st.just(1.0),
    st.sampled_from([0.1, 0.5, 1.0]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ANY, max_size=12))
def test_whatever_is_asked_for_there_is_never_more_than_one_live_version_nor_one_on_trial(asked: list[Event]) -> None:
    events: tuple[Event, ...] = tuple(event("added", name, 0.0) for name in "abc")
    for each in asked:
        try:
            events = (*events, checked(each, events, set("abc")))
        except (Conflict, InvalidInput):
            continue
    now, stands = traffic(events), {each.version: each.status for each in versions(events)}
    assert [name for name, where in stands.items() if where == "live"] == ([now.live] if now.live else [])
    assert [name for name, where in stands.items() if where in ("shadow", "trial")] == (
        [now.step.version] if now.step else []
    )
    assert not (now.stopped and (now.live or now.step))


# ------------------------------------------------------------------------------------------------------------- shares


def test_places_are_uniform_and_independent_between_salts() -> None:
    units = [f"user {number}" for number in range(20_000)]
    first, second = (np.array([place(salt, unit) for unit in units]) for salt in ("music/v1", "music/v2"))
    counts = np.histogram(first, 20, (0, 1))[0]
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 43.8  # 99.9 % of chi-square with 19 degrees of freedom
    assert abs(np.corrcoef(first, second)[0, 1]) < 3.3 / np.sqrt(20_000)
    assert place("music/v1", "ada") == 0.08777559464270679  # the same for ever


def test_shares_are_kept_exactly_and_growing_ones_keep_who_was_in() -> None:
    units = [f"user {number}" for number in range(20_000)]
    inside: set[str] = set()
    for share in (0.1, 0.5, 1.0):
        step = Step("v1", share, 0.0, 0.0)
        given_to = {unit: assign("music", unit, step, 0.05) for unit in units}
        trial = {unit for unit, each in given_to.items() if each.variant == "trial"}
        assert inside <= trial
        inside = trial
        expected = 0.95 * share
        assert abs(len(trial) / 20_000 - expected) < 3.3 * np.sqrt(expected * (1 - expected) / 20_000)
        for unit, each in given_to.items():
            chance = {"trial": expected, "holdout": 0.05, "live": 0.95 * (1 - share)}[each.variant]
            assert each.probability == pytest.approx(chance), unit
    assert {assign("music", unit, None, 0.0) for unit in units} == {("live", 1.0)}
