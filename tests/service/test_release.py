"""A release, look by look: rules that are pure, facts that come from the log, and steps that survive anything."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bondhu.app import App
from bondhu.errors import ClockBehind, Conflict, InvalidInput, SettingsInvalid, UnknownName
from bondhu.registry import BASELINE, Step, traffic, versions
from bondhu.release.rules import (
    Bounds,
    Move,
    ReleaseRules,
    Shadow,
    Trial,
    after_shadow,
    after_trial,
    first_move,
    surely_above,
)
from bondhu.ruling import release_rules
from bondhu.serve.decide import Request, Said
from tests.service.stand import HOUR, Clock, log, opened

PEOPLE = [f"person-{number}" for number in range(200)]
FEW = {"minimum_interactions": 100, "minimum_effective_samples": 50}
STEP = Step("v2", 0.1, 0.0, 0.0)
GOOD = Trial(2_000, 30.0, 2.0, 2_500, 0, Bounds(0.02, -0.01, 0.05), {"dislike": Bounds(0.0, -0.01, 0.01)})
RULES = ReleaseRules(guardrails={"dislike": 0.005})


@pytest.mark.parametrize(
    ("rules", "kind", "share"),
    [
        (ReleaseRules(), "shadowed", None),
        (ReleaseRules(shadow=False), "tried", 0.1),
        (ReleaseRules(shadow=False, steps=()), "promoted", None),
    ],
)
def test_a_release_begins_as_its_rules_say(rules: ReleaseRules, kind: str, share: float | None) -> None:
    assert first_move(rules)[:2] == (kind, share)


@pytest.mark.parametrize(
    ("changes", "kind", "why"),
    [
        ({}, "tried", "In shadow it made 2,000 of 2,000 decisions, in 0.50 ms each"),
        ({"decisions": 999}, "wait", "999 decisions at this step; 1,000 are needed"),
        ({"hours": 23.0}, "wait", "23.0 hours at this step; 24 are needed"),
        ({"failed": 60}, "withdrawn", r"It could not make 60 of 2,000 decisions \(3.0%\)"),
        ({"failed": 3, "decisions": 3}, "withdrawn", "It could not make 3 of 3"),  # what is broken need not wait
        ({"failed": 1}, "tried", "In shadow it made 1,999 of 2,000"),
        ({"decisions": 999, "hours": 700.0}, "withdrawn", "After 29 days in shadow too little has come"),
        ({"milliseconds": 30.0}, "withdrawn", "A decision takes it 30.0 ms, more than 20"),
    ],
)
def test_a_shadow_moves_on_waits_or_goes_back(changes: dict[str, Any], kind: str, why: str) -> None:
    move = after_shadow(Shadow(2_000, 0, 0.5, 0.6, 25.0)._replace(**changes), ReleaseRules())
    assert move.kind == kind
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(" ".join(move.reasons))


@pytest.mark.parametrize(
    ("changes", "kind", "why"),
    [
        ({}, "tried", "It decides for 50% of the people"),
        ({"decisions": 10}, "wait", "10 settled decisions"),
        ({"hours": 1.0}, "wait", "1.0 hours"),
        ({"reward": Bounds(-0.1, -0.15, -0.05)}, "withdrawn", "it surely loses"),
        ({"reward": Bounds(-0.1, -0.15, -0.05), "decisions": 10}, "withdrawn", "it surely loses"),
        ({"reward": Bounds(-0.01, -0.06, 0.04)}, "wait", "a loss of more than 0.05 is not ruled out yet"),
        ({"reward": Bounds(-0.01, -0.06, 0.04), "days": 29.0}, "withdrawn", "After 29 days it is still undecided"),
        ({"reward": Bounds(0.0, -inf, inf)}, "wait", "nobody yet to compare"),
        ({"failed": 100}, "withdrawn", "It could not make 100 of 2,500"),
        ({"guardrails": {"dislike": Bounds(0.03, 0.01, 0.05)}}, "withdrawn", "Guardrail 'dislike'"),
        ({"guardrails": {"dislike": Bounds(0.03, 0.004, 0.05)}}, "tried", "It decides"),  # not surely
        ({"groups": {"mood = sad": Bounds(-0.3, -0.5, -0.1)}}, "withdrawn", "Where mood = sad .* they surely lose"),
        ({"groups": {"mood = sad": Bounds(-0.3, -0.7, 0.1)}}, "tried", "It decides"),
        ({"mismatch": "Users are lost."}, "wait", "Users are lost."),
        ({"mismatch": "Users are lost.", "days": 29.0}, "withdrawn", "still undecided"),
        ({"mismatch": "Users are lost.", "reward": Bounds(-0.1, -0.15, -0.05)}, "withdrawn", "it surely loses"),
    ],
)
def test_a_trial_moves_on_waits_or_goes_back(changes: dict[str, Any], kind: str, why: str) -> None:
    move = after_trial(STEP, GOOD._replace(**changes), RULES)
    assert move.kind == kind
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(" ".join(move.reasons))
    assert move.figures["share"] == 0.1


def test_a_healthy_version_is_hardly_ever_taken_back_for_failures_however_often_one_looks() -> None:
    for rate in (0.005, 0.008):
        failed = np.cumsum(np.random.default_rng(1).random((200, 2000)) < rate, axis=1)
        looks = range(9, 2000, 10)
        taken = [any(surely_above(int(run[at]), at + 1, 0.01) for at in looks) for run in failed]
        assert np.mean(taken) <= 0.02


@pytest.mark.parametrize(
    ("failed", "made", "limit", "surely"),
    [
        (5, 5, 0.01, True),
        (2, 2, 0.01, True),  # evidence (1 / 10)(2 / 11) / 0.01^2 = 182, more than 100
        (1, 1, 0.01, False),
        (1, 13, 0.01, False),
        (60, 2000, 0.01, True),
        (20, 2000, 0.01, False),
        (0, 5, 0.0, False),
        (1, 5000, 0.0, True),
        (5, 5, 1.0, False),
    ],
)
def test_failures_are_surely_too_many(failed: int, made: int, limit: float, surely: bool) -> None:
    assert surely_above(failed, made, limit) == surely


def test_the_last_step_leads_to_everybody() -> None:
    assert after_trial(STEP._replace(share=0.5), GOOD, RULES)[:2] == ("tried", 1.0)
    assert after_trial(STEP._replace(share=1.0), GOOD, RULES)[:2] == ("promoted", None)
    assert after_trial(STEP, GOOD, replace(RULES, steps=(0.1,)))[:2] == ("promoted", None)


# ------------------------------------------------------------------------------------------------------- on real stores


def deployed(path: Path, clock: Clock | None = None, **release: Any) -> App:
    """Everybody likes blue alone; a version has learned it and passed the gate."""
    quick = {"minimum_decisions": 100, "minimum_hours": 1.0, "confidence": 0.95, **release}
    app = opened(path, clock, training={"holdout": 0.5}, gate=FEW, release=quick)
    log(app, PEOPLE, 6)
    app.train()
    return app


def an_hour(app: App, clock: Clock, people: int = 400, worth: float = 1.0) -> None:
    """People decide through the live loop; who gets blue says so, as often as it is worth."""
    decider = app.decider()
    requests = [Request({"mood": "happy", "age": 30}, user=f"user-{number}") for number in range(people)]
    made = decider.decide_many(requests)
    likes = [each for each in made if each.action == "blue" and hash_of(each.id) < worth]
    decider.hear([Said(each.id, "like") for each in likes])
    clock.now += 1.1 * HOUR


def hash_of(text: str) -> float:
    from bondhu.registry.share import place

    return place("test", text)


def stands(app: App) -> dict[str, str]:
    return {each.version: each.status for each in versions(app.events())}


def test_a_better_version_climbs_to_live_by_itself(tmp_path: Path) -> None:
    clock = Clock()
    app = deployed(tmp_path, clock, automatic=True)
    version = app.versions()[0]
    assert stands(app) == {version: "shadow"}
    seen = []
    for _ in range(12):
        an_hour(app, clock)
        look = app.look()
        seen.append((look.move.kind, look.move.share) if look else None)
        if app.live():
            break
    moves = [each for each in seen if each and each[0] != "wait"]
    assert moves == [("tried", 0.1), ("tried", 0.5), ("tried", 1.0), ("promoted", None)]
    assert app.live() == version
    history = [(each.kind, each.by, each.share) for each in app.events()]
    assert history == [
        ("added", "", None),
        ("judged", "gate", None),
        ("shadowed", "gate", None),
        ("tried", "release", 0.1),
        ("tried", "release", 0.5),
        ("tried", "release", 1.0),
        ("promoted", "release", None),
    ]
    assert all(each.reason for each in app.events())
    assert app.events()[4].figures["reward"]["low"] > 0
    assert app.look() is None


def test_a_version_that_turns_bad_on_trial_is_taken_back_with_its_reason(tmp_path: Path) -> None:
    clock = Clock()
    app = deployed(tmp_path, clock, shadow=False, steps=[0.5], minimum_hours=1000.0)
    app.release(reason="by hand", by="ann")
    version = app.versions()[0]
    for _ in range(5):
        requests = [Request({"mood": "happy", "age": 30}, user=f"user-{number}") for number in range(300)]
        decider = app.decider()
        made = decider.decide_many(requests)
        liked = [
            each for each in made if each.variant == "live" and hash_of(each.id) < 0.9
        ]  # the trial is liked no more
        decider.hear([Said(each.id, "like") for each in liked])
        clock.now += 1.1 * HOUR
        look = app.look()
        if look and look.moved:
            break
    assert look is not None
    assert look.move.kind == "withdrawn"
    assert "it surely loses" in app.events()[-1].reason
    assert app.events()[-1].figures["reward"]["high"] < 0
    assert (stands(app), app.live()) == ({version: "retired"}, None)
    after = app.decider().decide(Request({"mood": "happy", "age": 30}, user="user-1"))
    assert (after.variant, after.version) == ("live", BASELINE)


def test_a_version_that_cannot_act_is_taken_back(tmp_path: Path) -> None:
    clock = Clock()
    app = deployed(tmp_path, clock, shadow=False, steps=[0.5])
    version = app.versions()[0]
    app.release(reason="by hand")
    an_hour(app, clock)
    (file,) = tmp_path.rglob(f"{version}/values.npy")
    file.write_bytes(b"damaged")
    look = app.look()
    assert look is not None
    assert (look.move.kind, app.live()) == ("withdrawn", None)
    assert "does not match its checksum" in app.events()[-1].reason


def test_what_the_gate_does_not_let_pass_is_not_released_unless_somebody_insists(tmp_path: Path) -> None:
    app = opened(tmp_path, training={"holdout": 0.5}, gate={"minimum_interactions": 10_000})
    log(app, PEOPLE, 6)
    app.train()
    with pytest.raises(Conflict, match=r"The gate says wait of .* Trained on .* interactions; 10,000 are needed"):
        app.release(reason="by hand")
    assert traffic(app.events()).step is None
    look = app.release(reason="the launch", by="ann", unproven=True)
    assert (look.move.kind, traffic(app.events()).step is not None) == ("shadowed", True)


def test_verdicts_are_kept_and_can_be_asked_for_later(tmp_path: Path) -> None:
    app = deployed(tmp_path)
    version = app.versions()[0]
    (verdict,) = app.verdicts(version)
    assert (verdict.kind, verdict.by, verdict.figures["decision"]) == ("judged", "gate", "promote")
    assert verdict.figures["advantage_low"] > 0
    assert verdict.figures["against"] == BASELINE
    assert any("effective samples" in reason for reason in verdict.figures["reasons"])
    again = opened(tmp_path, training={"holdout": 0.5})
    assert again.verdicts() == [verdict]
    with pytest.raises(UnknownName):
        again.verdicts("v1")


def test_the_kill_switch_stops_what_goes_on_by_itself(tmp_path: Path) -> None:
    clock = Clock()
    app = deployed(tmp_path, clock, automatic=True, shadow=False)
    app.stop(reason="complaints", by="ann")
    assert (app.live(), app.look(), traffic(app.events()).stopped) == (None, None, True)
    log(app, [f"new-{number}" for number in range(200)], 6, ago=0.5 * HOUR)
    clock.now += 2 * HOUR
    run = app.train()
    assert run.judgement is not None
    assert (run.judgement.verdict.decision, run.release) == ("promote", None)
    app.promote(app.versions()[0], reason="it was not the policy", by="ann")
    assert not traffic(app.events()).stopped


def test_a_trial_can_be_ended_by_hand_and_the_next_training_learns_on_from_the_live_version(tmp_path: Path) -> None:
    clock = Clock()
    app = deployed(tmp_path, clock, shadow=False)
    first = app.versions()[0]
    app.promote(first, reason="test")
    log(app, [f"new-{number}" for number in range(200)], 6, ago=0.5 * HOUR)
    clock.now += 2 * HOUR
    second = app.train().trained.version
    assert second is not None
    app.release(second.id, reason="test", unproven=True)
    assert app.withdraw(reason="second thoughts", by="ann") == second.id
    with pytest.raises(InvalidInput, match="No version is in shadow or on trial"):
        app.withdraw(reason="again")
    log(app, [f"newer-{number}" for number in range(200)], 6, ago=0.5 * HOUR)
    clock.now += 2 * HOUR
    third = app.train().trained.version
    assert third is not None
    assert third.parent == first


def test_any_older_version_is_live_again_in_one_call_and_only_over_the_one_that_is_named(tmp_path: Path) -> None:
    app = deployed(tmp_path)
    version = app.versions()[0]
    app.promote(version, reason="test", over=BASELINE)
    app.rollback(reason="test")
    with pytest.raises(Conflict, match="'baseline' is live, not"):
        app.promote(version, reason="test", over=version)
    assert app.promote(version, reason="test") == app.live() == version


def test_a_clock_set_back_neither_promotes_nor_loses_the_live_version(tmp_path: Path) -> None:
    clock = Clock()
    app = deployed(tmp_path, clock)
    version = app.versions()[0]
    app.promote(version, reason="test")
    clock.now -= 5 * HOUR
    with pytest.raises(ClockBehind):
        app.promote(version, reason="again")
    assert app.live() == version
    assert app.rollback(reason="hurry") == BASELINE


def test_a_version_is_not_judged_on_what_it_learned_from(tmp_path: Path) -> None:
    app = opened(tmp_path, training={"holdout": 0.0})
    log(app, PEOPLE, 6)
    run = app.train()
    assert run.judgement is None
    with pytest.raises(InvalidInput, match=r"learned from everybody's decisions until .* and would be judged on those"):
        app.evaluate()
    kept = deployed(tmp_path / "kept")
    with pytest.raises(InvalidInput, match="learned from everybody's decisions"):
        kept.evaluate(holdout=0.0)
    assert kept.evaluate(holdout=0.5).verdict.decision == "promote"


def test_no_more_people_are_judged_on_than_were_kept_back(tmp_path: Path) -> None:
    kept = deployed(tmp_path)
    with pytest.raises(InvalidInput, match="learned from everybody's decisions"):
        kept.evaluate(holdout=0.9)
    assert kept.evaluate(holdout=0.2).held_out == 0.2


def test_a_bad_signal_that_never_came_is_not_certain_never_to_come(tmp_path: Path) -> None:
    problem = {"reward": {"signals": {"like": 1.0, "watched": {"weight": 0.5, "range": [0, 1]}, "sigh": 0.0}}}
    app = opened(tmp_path, training={"holdout": 0.5}, gate={**FEW, "guardrails": {"sigh": 0.001}}, **problem)
    log(app, PEOPLE, 6)
    run = app.train()
    assert run.verdict is not None
    assert run.verdict.decision == "wait"
    figures = run.verdict.figures
    assert figures["sigh_high"] == pytest.approx(3 / figures["effective_samples"], rel=0.5)
    assert any("is not ruled out" in reason for reason in run.verdict.reasons)


def test_what_is_on_trial_is_not_released_again(tmp_path: Path) -> None:
    app = deployed(tmp_path, shadow=False)
    app.release(reason="by hand")
    with pytest.raises(Conflict, match="is on trial for 10% of the people already"):
        app.release(reason="again")


def test_a_rollback_goes_to_the_next_version_that_can_act(tmp_path: Path) -> None:
    clock = Clock()
    app = deployed(tmp_path, clock, shadow=False)
    first = app.versions()[0]
    app.promote(first, reason="test")
    log(app, [f"new-{number}" for number in range(200)], 6, ago=0.5 * HOUR)
    clock.now += 2 * HOUR
    second = app.train().trained.version
    assert second is not None
    app.promote(second.id, reason="test")
    (file,) = tmp_path.rglob(f"{first}/values.npy")
    file.write_bytes(b"damaged")
    assert app.rollback(reason="it hurts") == BASELINE
    assert f"({first} cannot act:" in app.events()[-1].reason


def test_guardrails_of_the_gate_refuse_what_brings_more_of_a_bad_signal(tmp_path: Path) -> None:
    problem = {"reward": {"signals": {"like": 1.0, "watched": {"weight": 0.5, "range": [0, 1]}, "sigh": 0.0}}}
    rules = {**FEW, "guardrails": {"sigh": 0.1}}
    app = opened(tmp_path, training={"holdout": 0.5}, gate=rules, **problem)
    ids = log(app, PEOPLE, 6)
    from bondhu.types import Feedback

    blue = [each for each in ids if each.endswith(("-1", "-4"))]
    app.deployment.log.append(
        [], [Feedback(f"{each}:sigh", each, "sigh", 1.0, app.now() - 2.9 * HOUR) for each in blue]
    )
    run = app.train()
    assert run.judgement is not None
    assert run.judgement.verdict.decision == "refuse"
    assert any(reason.startswith("Guardrail 'sigh': +0.66") for reason in run.judgement.verdict.reasons)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"steps": [0.5, 0.1]}, "Write rising shares"),
        ({"steps": [0.0, 0.5]}, "Write rising shares"),
        ({"steps": [0.5, 1.5]}, "Write rising shares"),
        ({"steps": 0.5}, "Write a list"),
        ({"steps": [1.0]}, "leaves nobody to compare with"),
        ({"step": [0.5]}, "Did you mean 'steps'"),
        ({"automatic": "yes"}, "Write true or false"),
        ({"holdout": 2}, "from 0 to 0.9"),
        ({"guardrails": {"disike": 0.1}}, "Did you mean 'dislike'"),
        ({"guardrails": {"dislike": -1}}, "of at least 0"),
        ({"guardrails": ["dislike"]}, "Write signals and what is tolerated"),
        ({"groups": ["moood"]}, "Did you mean 'mood'"),
    ],
)
def test_rules_that_make_no_sense_are_refused_with_the_way_out(table: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsInvalid, match=why):
        release_rules(table, ("like", "dislike"), ("mood",))


def test_rules_are_data() -> None:
    rules = release_rules({"steps": [0.2, 1.0], "guardrails": {"dislike": 0.01}, "holdout": 0.05}, ("dislike",))
    assert rules == ReleaseRules(steps=(0.2, 1.0), guardrails={"dislike": 0.01}, holdout=0.05)
    assert isinstance(first_move(rules), Move)
    assert np.isclose(sum(ReleaseRules().steps), 1.6)
