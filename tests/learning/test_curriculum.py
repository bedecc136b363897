"""Stages that come when the last one is mastered, and levels drawn by what there is to learn from them."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from bondhu.errors import InvalidInput
from bondhu.policies.uniform import Uniform
from bondhu.train.curriculum import Course, LevelReplay, Levels, Practice, Scores, Stage, Stages, Standing, scores
from bondhu.train.simulate import Simulation
from bondhu.train.trace import Episode
from bondhu.types import Batch, Belief


class Countdown(gymnasium.Env):
    """Ends after as many steps as its seed says, and shows that number; every step pays 1."""

    action_space = Discrete(2)

    def __init__(self, width=1):
        self.observation_space = Box(0.0, 99.0, (width,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.level, self.left = seed or 0, seed or 1
        return self._seen(), {}

    def step(self, action):
        self.left -= 1
        return self._seen(), 1.0, self.left <= 0, False, {}

    def _seen(self):
        return np.full(self.observation_space.shape, self.level, np.float32)


def won(count, total=1.0, success=None):
    return [Episode(total, 1, True, success)] * count


def two_stages(**more):
    return Stages((Stage("easy"), Stage("hard")), **{"episodes": 4, "threshold": 0.75, **more})


def opened(widths):
    def made(stage, count):
        ones = [lambda: Countdown(widths[stage.environment])] * count
        return SyncVectorEnv(ones, autoreset_mode=AutoresetMode.NEXT_STEP)

    return made


def test_the_next_stage_comes_when_the_last_episodes_reach_the_threshold():
    stages = two_stages()
    standing = stages.after(Standing(), [*won(2, 0.0), *won(2)])  # mean 0.5
    assert standing == Standing(0, (0.0, 0.0, 1.0, 1.0))
    standing = stages.after(standing, won(1))  # 0, 1, 1, 1
    assert standing == Standing(1, ())


def test_too_few_episodes_decide_nothing_and_the_last_stage_stays():
    stages = two_stages()
    assert stages.after(Standing(), won(3)).stage == 0
    assert stages.after(Standing(1), won(9)) == Standing(1, (1.0,) * 4)


def test_success_counts_where_environments_tell_it():
    stages = two_stages()
    assert stages.after(Standing(), won(4, total=100.0, success=False)).stage == 0
    assert stages.after(Standing(), won(4, total=-100.0, success=True)).stage == 1


def test_earlier_stages_keep_their_share():
    stages, rng = Stages(tuple(map(Stage, "abc")), kept=0.3), np.random.default_rng(0)
    drawn = np.bincount([stages.chosen(Standing(2), rng) for _ in range(4000)], minlength=3) / 4000
    assert drawn == pytest.approx([0.15, 0.15, 0.7], abs=0.02)
    assert {stages.chosen(Standing(0), rng) for _ in range(50)} == {0}


def test_a_course_moves_on_and_counts_only_the_present_stage():
    course = Course(two_stages(kept=0.5), 2, made=opened({"easy": 1, "hard": 1}))
    rng = np.random.default_rng(0)
    easy = course.simulation(rng)
    assert course.tell(won(4))
    found = [course.simulation(rng) for _ in range(20)]
    assert {each is easy for each in found} == {True, False}  # both are practised
    while course.simulation(rng) is not easy:
        pass
    course.tell(won(3))
    assert course.standing == Standing(1, ())  # of an earlier stage
    while course.simulation(rng) is easy:
        pass
    assert not course.tell(won(3))
    assert course.standing == Standing(1, (1.0,) * 3)
    course.close()


def test_a_stage_that_is_seen_otherwise_is_refused():
    course = Course(two_stages(kept=0.0), 1, made=opened({"easy": 1, "hard": 3}))
    course.simulation(np.random.default_rng(0))
    course.tell(won(4))
    with pytest.raises(InvalidInput, match="Stage 2, 'hard', is observed otherwise than stage 1, 'easy'") as raised:
        course.simulation(np.random.default_rng(0))
    assert raised.value.field == "stages"
    course.close()


@pytest.mark.parametrize(
    ("field", "made"),
    [
        ("stages", lambda: Stages(())),
        ("episodes", lambda: two_stages(episodes=0)),
        ("kept", lambda: two_stages(kept=1.0)),
        ("temperature", lambda: LevelReplay((1,), temperature=0.0)),
        ("staleness", lambda: LevelReplay((1,), staleness=1.5)),
        ("levels", lambda: LevelReplay(())),
    ],
)
def test_what_makes_no_curriculum_is_refused(field, made):
    with pytest.raises(InvalidInput) as raised:
        made()
    assert raised.value.field == field


def test_levels_are_drawn_by_the_rank_of_their_score_and_how_long_ago_they_were_played():
    replay = LevelReplay((10, 11, 12), temperature=1.0, staleness=0.4)
    known = Scores(np.array([1.0, 5.0, 3.0]), np.array([0, 3, 2]), 4)
    best = np.array([1 / 3, 1.0, 1 / 2]) / (11 / 6)  # ranks 3, 1, 2
    old = np.array([4, 1, 2]) / 7
    assert replay.chances(known) == pytest.approx(0.6 * best + 0.4 * old)


def test_levels_never_played_come_up_in_the_share_that_they_have():
    replay = LevelReplay((10, 11, 12, 13), temperature=1.0, staleness=0.0)
    assert replay.chances(replay.begun()) == pytest.approx([0.25] * 4)
    known = Scores(np.array([0.0, 9.0, 0.0, 0.0]), np.array([-1, 0, -1, -1]), 1)
    assert replay.chances(known) == pytest.approx([0.25, 0.25, 0.25, 0.25])  # 3 of 4 fresh, 1 of 4 replayed


def test_a_drawn_level_is_remembered_and_scored_by_the_mean_of_its_rows():
    replay = LevelReplay((10, 11))
    level, known = replay.drawn(replay.begun(), np.random.default_rng(0))
    assert known.last.tolist() == [0 if each == level else -1 for each in (10, 11)]
    assert known.draws == 1
    known = replay.after(known, np.array([11, 10, 11]), np.array([1.0, 5.0, 2.0]))
    assert known.score.tolist() == [5.0, 1.5]


def test_the_learning_potential_is_the_size_of_the_generalised_advantage():
    seen = np.array([[1.0], [2.0], [3.0]])
    batch = Batch(
        observation=seen, allowed=np.array([[True, False]] * 3), action=np.zeros(3, int), probability=np.ones(3),
        reward=np.array([0.0, 1.0, 0.0]), discount=np.array([1.0, 0.0, 1.0]), has_next=np.array([True, False, False]),
        next_observation=np.array([[2.0], [0.0], [5.0]]), next_allowed=np.array([[True, False]] * 3),
        session=np.array([0, 0, 1]), time=np.arange(3.0), memo=np.zeros((3, 0)),
    )  # fmt: skip

    def beliefs(observation):  # the second action looks better, but is not allowed
        value = observation * [1.0, 100.0]
        return Belief(value, value, value)

    # δ = 0 + 0.5·2 - 1 = 0; 1 - 2 = -1; 0.5·5 - 3 = -0.5. A_0 = δ_0 + 0.5·0.8·δ_1.
    assert scores(batch, beliefs, discount=0.5, decay=0.8) == pytest.approx([0.4, 1.0, 0.5])


def test_every_row_is_known_by_its_level():
    order = iter([3, 1, 2, 2, 1, 3, 2, 2, 2, 2, 2, 2, 2])
    levels = Levels(Countdown, 2, lambda: next(order))
    simulation, rng = Simulation(levels), np.random.default_rng(0)
    for steps in (3, 4, 2):  # episodes go over the edges of plays
        batch = simulation.play(Uniform(), steps, rng)
        assert levels.played().tolist() == batch.observation[:, 0].astype(int).tolist()
    assert levels.played().tolist() == []
    levels.close()


def test_practice_returns_to_the_level_with_most_to_learn():
    """Level 7 alone surprises: once all were played it is drawn nearly always."""
    practice = Practice(LevelReplay((1, 7, 2), temperature=0.1, staleness=0.1), Countdown, 2)
    rng = np.random.default_rng(0)

    def beliefs(observation):  # exact for the others, whose returns are below 3
        value = np.where(observation == 7, 50.0, 1.0) * np.ones((1, 2))
        return Belief(value, value, value)

    rows = []
    for _ in range(30):
        batch = practice.simulation(rng).play(Uniform(), 16, rng)
        practice.tell(batch, beliefs)
        rows += batch.observation[:, 0].tolist()
    assert practice.known.score.argmax() == 1
    assert (practice.known.last >= 0).all()
    assert np.mean(np.array(rows[200:]) == 7) > 0.9
    practice.close()
