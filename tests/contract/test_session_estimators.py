"""Estimators of whole sessions: exact over every log, close to dynamic programming, silent where they must be."""

import os
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from bondhu import evaluate
from bondhu.domains.probes.markov import Markov, cut, random_problem
from bondhu.equations.planning import policy_values
from bondhu.errors import InvalidInput
from bondhu.evaluate.fitted import Values
from bondhu.evaluate.sessions.fqe import FittedQEvaluation
from bondhu.evaluate.sessions.magic import Magic
from bondhu.evaluate.sessions.marginalised import Marginalised
from bondhu.evaluate.sessions.per_decision import PerDecision
from bondhu.evaluate.sessions.session_dr import SessionDoublyRobust
from bondhu.evaluate.sessions.trajectory_is import TrajectoryImportance
from bondhu.types import Batch
from tests.contract.small_world import TARGET, TRUTH, Tabled, population, simulated

NAMES = evaluate.names("session")
every = pytest.mark.parametrize("estimator", [evaluate.find(name) for name in NAMES], ids=NAMES)
DATA = Path(os.environ.get("BONDHU_DATA", Path(__file__).parents[3] / "shared" / "data"))


def test_the_folder_is_the_catalogue():
    assert NAMES == (
        "dual_dice",
        "fqe",
        "magic",
        "marginalised",
        "mrdr",
        "per_decision",
        "session_dr",
        "trajectory_is",
        "weighted_dr",
        "weighted_per_decision",
    )


# ------------------------------------------------------------------------------------------ every log of a tiny problem

CHANCE_UP = np.array([[0.3, 0.8], [0.5, 0.6]])  # of state 1 next, [state, action]
EARNED = np.array([[0.0, 1.0], [2.0, -1.0]])
LOGGED = np.array([[0.5, 0.5], [0.25, 0.75]])
JUDGED = Tabled(np.array([[0.54, 0.46], [0.27, 0.73]]))
HORIZON = 3


def sessions():
    """Every session of three decisions from state 0, as a batch of it alone, and its chance under the log."""
    for first, *rest in product(range(2), repeat=1 + 2 * (HORIZON - 1)):
        state, action = [0, *rest[0::2]], [first, *rest[1::2]]
        chance = np.prod(LOGGED[state, action])
        for t in range(HORIZON - 1):
            up = CHANCE_UP[state[t], action[t]]
            chance *= up if state[t + 1] else 1 - up
        yield np.array(state), np.array(action), chance


def whole(several):
    """Sessions `(states, actions, …)` as one batch."""
    state, action = (np.concatenate([each[part] for each in several]) for part in (0, 1))
    rows = len(state)
    last = np.arange(rows) % HORIZON == HORIZON - 1
    following = np.where(last, 0, np.roll(state, -1))
    return Batch(
        observation=state[:, None],
        allowed=np.ones((rows, 2), bool),
        action=action,
        probability=LOGGED[state, action],
        reward=EARNED[state, action],
        discount=(~last).astype(float),
        has_next=~last,
        next_observation=following[:, None],
        next_allowed=np.ones((rows, 2), bool),
        session=np.arange(rows) // HORIZON,
        time=np.arange(rows, dtype=float),
        memo=np.zeros((rows, 0)),
    )


def made_up(policy, batch, factor):
    """Any q will do: one that knows nothing of the problem."""
    actions = np.sin(1.0 + np.arange(2) + 3 * batch.observation)
    value = (policy.distribution(batch.observation, batch.allowed) * actions).sum(1)
    following = np.where(batch.has_next, np.append(value[1:], 0.0), 0.0)
    return Values(actions[np.arange(len(batch)), batch.action], value, following)


def by_hand(factor):
    value = np.zeros(2)
    for _ in range(HORIZON):
        ahead = CHANCE_UP * value[1] + (1 - CHANCE_UP) * value[0]
        value = (JUDGED.table * (EARNED + factor * ahead)).sum(1)
    return value[0]


@pytest.mark.parametrize(
    "judge",
    [
        TrajectoryImportance(discount=0.9, minimum_effective_samples=0),
        PerDecision(discount=0.9, minimum_effective_samples=0),
        SessionDoublyRobust(discount=0.9, minimum_effective_samples=0, model=made_up),
    ],
    ids=["trajectory_is", "per_decision", "session_dr"],
)
def test_expectation_over_every_possible_log_is_the_truth(judge):
    """All 32 logs of one session, each with its probability: nothing is left to chance."""
    every_session = list(sessions())
    assert sum(chance for *_, chance in every_session) == pytest.approx(1)
    found = [judge(JUDGED, whole([each])) for each in every_session]
    assert all(each.refused is None for each in found)
    expected = sum(each[2] * of.value for each, of in zip(every_session, found, strict=True))
    assert expected == pytest.approx(by_hand(0.9), abs=1e-12)


# ------------------------------------------------------------------------------------------------- against exact values


def problem(noise=0.5):
    """Six states, three actions, one of which two states forbid."""
    rng = np.random.default_rng(0)
    start, allowed = np.array([0.2] * 5 + [0.0]), np.ones((6, 3), bool)
    allowed[[1, 3], [0, 2]] = False
    return replace(random_problem(6, 3, rng), start=start, factor=1.0, allowed=allowed, noise=noise)


def target_for(world: Markov, seed=1):
    wanted, allowed = np.random.default_rng(seed).dirichlet(np.ones(3), 6) * world.allowed, world.allowed
    return Tabled(0.7 * wanted / wanted.sum(1, keepdims=True) + 0.3 * allowed / allowed.sum(1, keepdims=True))


WORLD = problem()
POLICY = target_for(WORLD)
LOG = WORLD.play(WORLD.uniform, 4_000, np.random.default_rng(2))


@every
@pytest.mark.parametrize("factor", [1.0, 0.8])
def test_the_interval_holds_the_exact_value_and_is_narrow(estimator, factor):
    found = estimator(discount=factor)(POLICY, LOG)
    truth = WORLD.value(POLICY, factor)
    assert found.refused is None
    assert found.low < truth < found.high
    assert abs(found.value - truth) < (0.1 if estimator is TrajectoryImportance else 0.06) * truth
    assert found.terms.shape == (4_000,)
    assert found.terms.mean() == pytest.approx(found.value, abs=1e-9)


@every
def test_the_logging_policy_is_worth_what_its_sessions_returned(estimator):
    returned = np.bincount(LOG.session, LOG.reward).mean()
    found = estimator()(WORLD.uniform, LOG)
    weighs = estimator.name in ("per_decision", "trajectory_is", "weighted_per_decision")
    assert found.value == pytest.approx(returned, rel=1e-9 if weighs else 0.01)
    assert found.effective_samples > 3_900


def every_move(times):
    """Each move of a problem as often as it is expected: single decisions of which the table is the exact model."""
    world = problem(noise=0.0)
    state, action, following = np.nonzero(world.transition * world.allowed[:, :, None] * ~world.ends[:, None, None])
    count = np.rint(times * world.transition[state, action, following]).astype(int)
    state, action, following = (np.repeat(part, count) for part in (state, action, following))
    exact = np.zeros_like(world.transition)
    np.add.at(exact, (state, action, following), 1.0)
    exact /= np.maximum(exact.sum(2, keepdims=True), 1)
    return replace(world, transition=exact), state, action, following


def test_fitted_q_on_the_exact_population_is_dynamic_programming():
    """Moves as sessions of one decision that are cut: the table then is the model, and its fixed point the value."""
    world, state, action, following = every_move(1_000)
    ended = world.ends[following]
    batch = Batch(
        observation=state[:, None],
        allowed=world.allowed[state],
        action=action,
        probability=1 / world.allowed[state].sum(1),
        reward=world.reward[state, action, following],
        discount=(~ended).astype(float),
        has_next=np.zeros(len(state), bool),
        next_observation=np.where(ended, 0, following)[:, None],
        next_allowed=world.allowed[following],
        session=np.arange(len(state)),
        time=np.arange(len(state), dtype=float),
        memo=np.zeros((len(state), 0)),
    )
    on = np.arange(5)
    reward = np.einsum("sap,sap->sa", world.transition, world.reward)[on]
    exact = policy_values(world.transition[np.ix_(on, np.arange(3), on)], reward, POLICY.table[on], 0.9)
    starts = np.bincount(state, minlength=5) / len(state)
    for name in ("fqe", "dual_dice"):
        found = evaluate.find(name)(discount=0.9)(POLICY, batch)
        assert found.value == pytest.approx(starts @ exact, abs=1e-9)


def test_fitted_q_and_its_dual_agree_in_a_table():
    ours, theirs = (evaluate.find(name)(discount=0.9)(POLICY, LOG) for name in ("fqe", "dual_dice"))
    assert ours.value == pytest.approx(theirs.value, abs=1e-9)
    assert ours.high - ours.low == pytest.approx(theirs.high - theirs.low)


@every
def test_floats_are_judged_by_regressions(estimator):
    indicators = np.eye(6)[:, :5]
    floats = replace(
        LOG,
        observation=np.hstack([LOG.observation.astype(float), indicators[LOG.observation[:, 0]]]),
        next_observation=np.hstack([LOG.next_observation.astype(float), indicators[LOG.next_observation[:, 0]]]),
    )
    found = estimator(discount=0.8)(POLICY, floats)
    truth = WORLD.value(POLICY, 0.8)
    assert found.refused is None
    assert abs(found.value - truth) < 0.06 * truth
    assert found.low < truth < found.high


def test_visits_by_step_judge_what_depends_on_how_far_a_session_is():
    found = Marginalised(discount=0.8, by_step=True)(POLICY, LOG)
    assert abs(found.value - WORLD.value(POLICY, 0.8)) < 0.06
    assert found.value != Marginalised(discount=0.8)(POLICY, LOG).value


def test_intervals_cover_as_often_as_they_say():
    names = ("per_decision", "session_dr", "magic", "fqe", "marginalised")
    truth, held = WORLD.value(POLICY, 0.8), np.zeros(len(names))
    judges = [evaluate.find(name)(discount=0.8) for name in names]
    for seed in range(60):
        batch = WORLD.play(WORLD.uniform, 300, np.random.default_rng(seed))
        found = [judge(POLICY, batch) for judge in judges]
        held += [each.low <= truth <= each.high for each in found]
    assert (held >= 53).all(), held  # of 60, 95 % hold in 53 or more in 99 of 100 such studies


# --------------------------------------------------------------------------------------------- sessions of one decision


@pytest.mark.parametrize(
    ("session", "decision"),
    [("per_decision", "ips"), ("trajectory_is", "ips"), ("weighted_per_decision", "snips")],
)
def test_sessions_of_one_decision_are_single_decisions(session, decision):
    batch = simulated(np.random.default_rng(1), 500)
    ours, theirs = (evaluate.find(name)()(Tabled(TARGET), batch) for name in (session, decision))
    assert ours.terms == pytest.approx(theirs.terms, abs=1e-12)
    assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.value, theirs.low, theirs.high))
    assert ours.effective_samples == pytest.approx(theirs.effective_samples)


@every
def test_the_exact_population_of_single_decisions_gives_the_truth(estimator):
    assert estimator()(Tabled(TARGET), population(times=5)).value == pytest.approx(TRUTH, abs=2e-3)


# ---------------------------------------------------------------------------------------------------- cuts and refusals


def endless():
    """One state that earns 1 for ever, watched for five decisions; and a second action that earns as much."""
    one = cut()
    return replace(
        one,
        transition=np.ones((1, 2, 1)),
        reward=np.ones((1, 2, 1)),
        allowed=np.ones((1, 2), bool),
    )


@pytest.mark.parametrize("name", ["fqe", "dual_dice", "marginalised"])
def test_a_model_stands_for_what_was_cut(name):
    world = endless()
    batch = world.play(world.uniform, 400, np.random.default_rng(3))
    found = evaluate.find(name)(discount=0.9)(Tabled(np.array([[0.6, 0.4]])), batch)
    assert found.value == pytest.approx(10.0, rel=1e-6)


WEIGHED = ("trajectory_is", "per_decision", "weighted_per_decision", "session_dr", "weighted_dr", "mrdr", "magic")


@pytest.mark.parametrize("name", WEIGHED)
def test_what_weighs_sessions_refuses_those_that_were_cut(name):
    world = endless()
    batch = world.play(world.uniform, 400, np.random.default_rng(3))
    found = evaluate.find(name)(discount=0.9)(Tabled(np.array([[0.6, 0.4]])), batch)
    assert "100.0% of the sessions were cut" in (found.refused or "")
    assert "Use fqe" in (found.refused or "")


def test_intervals_hold_where_a_few_sessions_or_many_were_cut():
    """Each decision may be the last one that is seen: 1 in 200, or 1 in 4. At 95 %, chance leaves 53 of 60."""
    truth = WORLD.value(POLICY, 0.9)
    for share, names in ((0.005, (*WEIGHED[3:], "fqe")), (0.25, ("fqe", "dual_dice", "marginalised"))):
        held, answered = np.zeros(len(names)), np.zeros(len(names))
        for seed in range(60):
            rng = np.random.default_rng(seed)
            batch = _cut(WORLD.play(WORLD.uniform, 300, rng), share, rng)
            found = [evaluate.find(name)(discount=0.9)(POLICY, batch) for name in names]
            answered += [not each.refused for each in found]
            held += [bool(each.refused) or each.low <= truth <= each.high for each in found]
        assert (answered >= 20).all(), answered
        assert (held >= 53).all(), held


def _cut(batch, share, rng):
    """The sessions up to a decision after which nothing more was seen."""
    gone = batch.has_next & (rng.random(len(batch)) < share)
    first = np.flatnonzero(np.append(True, np.diff(batch.session) != 0))
    before = np.cumsum(gone) - gone
    kept = before == before[first][np.cumsum(np.append(True, np.diff(batch.session) != 0)) - 1]
    return replace(batch, has_next=batch.has_next & ~gone).take(kept)


@pytest.mark.parametrize("name", ["fqe", "dual_dice", "marginalised", "magic"])
def test_sessions_that_never_end_have_no_undiscounted_value(name):
    world = endless()
    batch = world.play(world.uniform, 400, np.random.default_rng(3))
    found = evaluate.find(name)()(Tabled(np.array([[0.6, 0.4]])), batch)
    assert "do not end. Give a discount below 1" in (found.refused or "")


def certain(batch):
    return replace(batch, probability=np.ones(len(batch)))


def torn(batch):
    going = batch.has_next.copy()
    going[np.flatnonzero(going)[3]] = False
    return replace(batch, has_next=going)


def dull(batch):
    """Hardly any session returns anything."""
    return replace(batch, reward=(np.arange(len(batch)) == 5).astype(float))


BAD = {
    "no decisions": (LOG.take(np.zeros(len(LOG), bool)), "no settled decisions"),
    "no exploration": (certain(LOG), "no exploration"),
    "torn sessions": (torn(LOG), "Sessions are torn at row"),
    "few sessions": (LOG.take(LOG.session < 20), "20 sessions .* effective sessions for this policy, fewer than 50"),
    "wrong probabilities": (replace(LOG, probability=LOG.probability**2), "1 is expected"),
    "reward is not a number": (replace(LOG, reward=LOG.reward * np.nan), "Row 0 has reward nan"),
}


@every
@pytest.mark.parametrize("fault", BAD)
def test_a_bad_log_is_refused_with_its_reason(estimator, fault):
    batch, reason = BAD[fault]
    found = estimator()(POLICY, batch)
    assert found.refused is not None
    assert np.isnan([found.value, found.low, found.high]).all()
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.refused)


@pytest.mark.parametrize("name", ["per_decision", "fqe", "marginalised", "trajectory_is"])
def test_returns_that_are_too_rare_are_refused(name):
    found = evaluate.find(name)()(POLICY, dull(LOG))
    assert "Returns are too rare" in (found.refused or "")


@pytest.mark.parametrize("name", ["trajectory_is", "per_decision", "session_dr", "weighted_dr", "mrdr", "magic"])
def test_long_sessions_exhaust_the_weights_and_models_remain(name):
    rng = np.random.default_rng(4)
    world = replace(random_problem(20, 2, rng), start=np.full(20, 0.05), limit=60, allowed=np.ones((20, 2), bool))
    world = replace(world, ends=np.arange(20) == 19, start=np.append(np.full(19, 1 / 19), 0))
    sure = Tabled(np.eye(2)[rng.integers(2, size=20)] * 0.96 + 0.02)
    batch = world.play(world.uniform, 300, rng)
    found = evaluate.find(name)(discount=0.99)(sure, batch)
    assert found.refused is not None
    assert "use fqe or marginalised" in found.refused
    model = FittedQEvaluation(discount=0.99)(sure, batch)
    assert model.low < world.value(sure, 0.99) < model.high


def test_a_model_refuses_what_the_log_never_shows():
    never = LOG.take(
        np.isin(LOG.session, np.unique(LOG.session[(LOG.observation[:, 0] == 2) & (LOG.action == 1)]), invert=True)
    )
    wants = replace(POLICY, table=np.where(np.arange(6)[:, None] == 2, np.array([0.0, 1.0, 0.0]), POLICY.table))
    for name in ("dual_dice", "fqe"):
        found = evaluate.find(name)()(wants, never)
        assert found.refused is not None


@pytest.mark.parametrize("name", ["fqe", "dual_dice"])
@pytest.mark.parametrize("as_floats", [False, True], ids=["codes", "floats"])
def test_models_of_codes_and_of_floats_treat_alike_what_the_log_never_shows(name, as_floats):
    """In two states of five the log never takes the last action. Where the policy rarely does, the other actions stand
    for it; where it does in more than a twentieth of all its decisions, there is no answer."""
    lacking = np.arange(6)[:, None] % 4 == 0
    habit = WORLD.allowed * np.where(lacking, [0.5, 0.5, 0.0], 1.0)
    habit = habit / habit.sum(1, keepdims=True)
    batch = WORLD.play(Tabled(habit), 600, np.random.default_rng(7))
    if as_floats:
        seen = (np.eye(6)[each[:, 0]] for each in (batch.observation, batch.next_observation))
        batch = replace(batch, **dict(zip(("observation", "next_observation"), seen, strict=True)))
    found = {}
    for rate in (0.0, 0.08, 0.16):
        policy = Spoken(np.where(lacking, [0.5 - rate / 2, 0.5 - rate / 2, rate], habit))
        found[rate] = evaluate.find(name)(discount=0.9)(policy, batch)
    assert found[0.0].refused is None
    assert found[0.08].value == pytest.approx(found[0.0].value, rel=0.01)
    assert "The log shows nothing of" in (found[0.16].refused or "")


class Spoken(Tabled):
    """Of states as codes or as indicators."""

    def distribution(self, observation, allowed):
        state = observation.argmax(1) if observation.shape[1] > 1 else observation[:, 0]
        return super().distribution(state[:, None], allowed)

    def probability(self, observation, allowed, action):
        return self.distribution(observation, allowed)[np.arange(len(action)), action]


def test_a_discount_outside_of_zero_and_one_is_an_error():
    with pytest.raises(InvalidInput, match=r"'discount' got 1\.5"):
        PerDecision(discount=1.5)(POLICY, LOG)


def test_magic_leans_on_the_model_where_weights_are_noisy():
    rough = target_for(WORLD, seed=5)
    blended, weighted = (evaluate.find(name)()(rough, LOG) for name in ("magic", "weighted_dr"))
    model = FittedQEvaluation()(rough, LOG)
    assert model.high - model.low <= blended.high - blended.low <= weighted.high - weighted.low
    assert Magic(near=0.99)(rough, LOG).value == pytest.approx(model.value, abs=0.02)


# ----------------------------------------------------------------------------------------------------------- ICU-Sepsis


@pytest.mark.skipif(not (DATA / "icu_sepsis").exists(), reason="no ICU-Sepsis: set BONDHU_DATA")
def test_survival_of_admissions_is_judged_as_the_model_says(monkeypatch):
    monkeypatch.setenv("BONDHU_DATA", str(DATA))
    from examples.icu_sepsis.__main__ import behaviour
    from examples.icu_sepsis.model import DEATH, Model, Table

    model = Model.load()
    ward = Markov(
        model.transition,
        model.reward,
        model.start,
        np.arange(len(model.start)) >= DEATH,
        model.admissible,
        limit=10_000,
    )
    logged = behaviour(model)
    clinicians = np.where(model.expert.any(1, keepdims=True), model.expert, logged.probabilities)
    judged = Table(0.5 * logged.probabilities + 0.5 * clinicians)
    exact = model.value(judged.probabilities)
    batch = ward.play(logged, 3_000, np.random.default_rng(0))
    for name, close in (("fqe", 0.02), ("marginalised", 0.02), ("per_decision", 0.1), ("weighted_dr", 0.05)):
        found = evaluate.find(name)()(judged, batch)
        assert abs(found.value - exact) < close, name
        assert found.low < exact < found.high, name


@pytest.mark.parametrize("count", [1, 2])
def test_magic_refuses_one_or_two_sessions(count):
    few = LOG.take(LOG.session < count)
    found = Magic(minimum_effective_samples=0)(WORLD.uniform, few)
    assert f"{count} sessions say nothing of their own spread" in (found.refused or "")


@pytest.mark.parametrize("kind", [np.uint8, np.uint64])
def test_sessions_numbered_downwards_are_torn_whatever_their_kind(kind):
    batch = replace(LOG, session=(LOG.session.max() - LOG.session).astype(np.int64)).take(LOG.session < 100)
    numbers = (batch.session - batch.session.min()).astype(kind)
    assert "Sessions are torn at row" in (PerDecision()(POLICY, replace(batch, session=numbers)).refused or "")
