"""The plain names of the recommendation domain: states, the 27 actions, what interactions are worth, inference."""

from __future__ import annotations

import subprocess
import sys

import pytest
from gymnasium.spaces import MultiDiscrete

from bondhu.domains import recommendation
from bondhu.domains.recommendation import RecommendationAction, RecommendationState, RewardFunction, infer_action
from bondhu.errors import InvalidInput, UnknownName

CALM = RecommendationState(75, 60, 40, 80, 30, content_type="music", mood="calm", time_of_day="evening")


def test_a_state_is_bins_and_names() -> None:
    assert CALM.to_tuple() == (3, 3, 2, 4, 1, "music", "calm", "evening")
    assert CALM.to_tuple(bins=3) == (2, 1, 1, 2, 0, "music", "calm", "evening")


def test_discretisation_follows_the_published_rule() -> None:
    assert [RecommendationState._discretize(value) for value in (0, 19.99, 20, 59.9, 99, 100)] == [0, 0, 1, 2, 4, 4]
    assert [RecommendationState._discretize(value, bins=3) for value in (33, 34, 66, 67, 100)] == [0, 1, 1, 2, 2]


def test_the_context_of_a_state_is_what_the_domain_observes() -> None:
    codes = recommendation.domain().encoder(MultiDiscrete).one(CALM.to_context())
    assert codes.tolist() == [3, 3, 2, 4, 1, 0, 4, 2]
    assert RecommendationState.tuple_of_codes(codes) == CALM.to_tuple()
    assert RecommendationState.codes_of_tuple([str(part) for part in CALM.to_tuple()]).tolist() == codes.tolist()


def test_a_state_has_three_hundred_thousand_values() -> None:
    assert int(recommendation.domain().encoder(MultiDiscrete).space.nvec.prod()) == 300_000  # type: ignore[attr-defined]


def test_a_state_outside_of_its_lists_and_ranges_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Field 'neuroticism' got 101"):
        RecommendationState(75, 60, 40, 80, 101)
    with pytest.raises(InvalidInput, match=r"Field 'mood' got 'clam'.*Did you mean 'calm'\?"):
        RecommendationState(75, 60, 40, 80, 30, mood="clam")
    with pytest.raises(InvalidInput, match="8 parts, this one 2"):
        RecommendationState.codes_of_tuple([1, 2])


def test_the_published_example_of_parameters_is_exact() -> None:
    assert RecommendationAction("low", "diverse", "exploratory").to_recommendation_params() == {
        "min_energy": 0.0,
        "max_energy": 0.4,
        "valence": 0.3,
        "genre_count": 5,
        "exploration_rate": 0.5,
        "popularity_min": 0,
        "popularity_max": 50,
    }


def test_there_are_27_actions_in_the_order_of_the_domain() -> None:
    actions = RecommendationAction.all()
    assert tuple(action.name for action in actions) == recommendation.domain().actions
    assert len(set(actions)) == 27
    assert actions[8] == RecommendationAction("low", "diverse", "exploratory")
    assert all(RecommendationAction.from_name(action.name) == action for action in actions)


def test_parameters_rise_with_each_part_of_the_action() -> None:
    def values(name: str, *actions: RecommendationAction) -> list[float]:
        return [action.to_recommendation_params()[name] for action in actions]

    energies = [RecommendationAction(level, "balanced", "mixed") for level in ("low", "medium", "high")]
    diversities = [RecommendationAction("low", level, "mixed") for level in ("focused", "balanced", "diverse")]
    novelties = [RecommendationAction("low", "balanced", level) for level in ("familiar", "mixed", "exploratory")]
    for name in ("min_energy", "max_energy", "valence"):
        assert sorted(set(values(name, *energies))) == values(name, *energies)
    assert values("genre_count", *diversities) == [1, 3, 5]
    assert values("exploration_rate", *novelties) == [0.1, 0.3, 0.5]
    assert values("popularity_max", *novelties) == [100, 75, 50]


def test_an_unknown_action_offers_the_nearest() -> None:
    with pytest.raises(InvalidInput, match=r"'energy' got 'hgih'. Did you mean 'high'\?"):
        RecommendationAction("hgih", "diverse", "mixed")
    with pytest.raises(UnknownName, match=r"Did you mean 'low/diverse/mixed'\?"):
        RecommendationAction.from_name("low/divers/mixed")


@pytest.mark.parametrize("action", RecommendationAction.all(), ids=lambda action: action.name)
def test_an_action_is_inferred_from_its_own_parameters(action: RecommendationAction) -> None:
    parameters = action.to_recommendation_params()
    assert infer_action(parameters) == action
    without = {name: value for name, value in parameters.items() if not name.startswith("popularity")}
    assert infer_action(without) == action


def test_an_action_is_inferred_from_what_catalogues_know_of_an_item() -> None:
    item = {"energy": 0.8, "tempo": 60, "genres": ["jazz", "soul", "jazz"], "popularity": 12, "title": "x"}
    assert infer_action(item) == RecommendationAction("high", "balanced", "exploratory")
    assert infer_action({"tempo": 80, "genres": "jazz"}) == RecommendationAction("low", "focused", "mixed")
    assert infer_action({}) == RecommendationAction("medium", "balanced", "mixed")
    with pytest.raises(InvalidInput, match="'tempo' got 'fast'"):
        infer_action({"tempo": "fast"})


@pytest.mark.parametrize(
    ("interaction", "worth"), [("like", 1.0), ("dislike", -1.0), ("complete", 0.5), ("skip", -0.3), ("share", 0.8)]
)
def test_interactions_are_worth_what_was_published(interaction: str, worth: float) -> None:
    assert RewardFunction().calculate_reward(interaction) == worth


def test_rewards_add_up() -> None:
    reward = RewardFunction()
    assert reward.calculate_reward(["complete", "share"]) == pytest.approx(1.3)
    assert reward.calculate_reward("complete", completion_rate=1.0) == 1.0
    assert reward.calculate_reward("like", completion_rate=0.5, mood_improvement=-1.0) == pytest.approx(0.75)
    assert reward.calculate_reward(mood_improvement=1.0) == 0.5
    assert reward.calculate_reward() == 0.0


def test_weights_are_settings() -> None:
    reward = RewardFunction({"like": 2.0, "dislike": -0.5})
    assert [reward.calculate_reward(name) for name in ("like", "dislike", "skip")] == [2.0, -0.5, -0.3]
    with pytest.raises(InvalidInput, match=r"'liek'. Did you mean 'like'\?"):
        RewardFunction({"liek": 2.0})


def test_a_reward_checks_what_it_is_given() -> None:
    reward = RewardFunction()
    with pytest.raises(InvalidInput, match=r"'complet'. Did you mean 'complete'\?"):
        reward.calculate_reward("complet")
    with pytest.raises(InvalidInput, match="Send a number from 0 to 1"):
        reward.calculate_reward("like", completion_rate=1.2)
    with pytest.raises(InvalidInput, match="Send a number from -1 to 1"):
        reward.calculate_reward("like", mood_improvement=float("nan"))
    with pytest.raises(InvalidInput, match="Pass completion_rate="):
        reward.calculate_reward("completion_rate")


def test_deciding_needs_no_learner_and_no_store() -> None:
    program = (
        "import sys; from bondhu.domains.recommendation import RecommendationState, RecommendationAction; "
        "print([name for name in sys.modules if name in ('numba', 'apsw', 'fastapi') or name == 'bondhu.app'])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_other_names_are_not_invented() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Recommendation'"):
        _ = recommendation.Recommendation
