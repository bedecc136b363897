"""Self-play: learners of the catalogue on all sides of a game, each against the others and against what they were.

    players = {name: begun(learner, game, name, rng) for name, learner in ...}
    players, rounds = practised(game, players, 300, rng)
    for stretch in curve(rounds, 5): print(stretch)

Only those who play as they are now learn from a match. Some are played against an earlier self, so that nobody forgets
how to beat what it has beaten (Heinrich, Lanctot & Silver 2015, "Fictitious self-play in extensive-form games").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from bondhu.agents.games import VIEWS, Game
from bondhu.errors import InvalidInput, UnknownName, nearest
from bondhu.learners import pack, unpack
from bondhu.types import Array, Batch, Booleans, Floats, Learner, Policy, Spec

PAST = 0.2  # of the matches are played against an earlier self
EVERY = 20  # matches between two selves that are kept
MIDDLE = (0.25, 0.75)  # shares of a budget that are neither trivial nor nearly all of it


class Seated(NamedTuple):
    """Who plays: how it acts, and which view of the game it acts on (`games.VIEWS`)."""

    policy: Policy
    sees: str


class Move(NamedTuple):
    """One action, and what it brought until the player's next one."""

    seen: Array
    allowed: Booleans  # [A]
    action: int
    probability: float
    memo: Floats  # [M]
    reward: float


class Match(NamedTuple):
    """One match that was played."""

    moves: Mapping[str, tuple[Move, ...]]
    told: Mapping[str, Any]  # how it ended

    def earned(self, player: str) -> float:
        """Of all its moves together."""
        return sum(move.reward for move in self.moves[player])


class Round(NamedTuple):
    """What is kept of a match."""

    rewards: Mapping[str, float]
    told: Mapping[str, Any]
    absent: str | None = None  # whose earlier self played


@dataclass(frozen=True)
class Player:
    """A learner with what it has learned of one seat."""

    learner: Learner[Any]
    state: Any
    sees: str = "observation"

    def seated(self, *, explore: bool = False) -> Seated:
        """As it plays now."""
        return Seated(self.learner.policy(self.state, explore=explore), self.sees)

    def learned(self, moves: Sequence[Move], rng: np.random.Generator) -> Player:
        """After a match; the player from before is not to be used again."""
        if not moves:
            return self
        state, _ = self.learner.update(self.state, batch_of(moves), rng)
        return Player(self.learner, state, self.sees)

    def kept(self) -> Player:
        """The same, and no learning changes it."""
        arrays = {name: np.array(array) for name, array in pack(self.state).items()}
        return Player(self.learner, unpack(self.learner, arrays), self.sees)


def begun(
    learner: Learner[Any], game: Game[Any], player: str, rng: np.random.Generator, sees: str = "observation"
) -> Player:
    """A player that knows nothing. It sees features of every action ("observation"), a row of numbers ("situation") or
    "codes"; raises UnknownName for another view or player, InvalidInput where the learner cannot take it."""
    if sees not in VIEWS:
        raise UnknownName(f"No view {sees!r}.", field="sees", value=sees, fix=nearest(sees, VIEWS))
    if player not in game.possible_agents:
        fix = nearest(player, game.possible_agents)
        raise UnknownName(f"No player {player!r} in {game}.", field="player", value=player, fix=fix)
    spec = Spec(game.observation_space(player)[sees], game.action_space(player))
    return Player(learner, learner.init(spec, rng), sees)


def play(game: Game[Any], seated: Mapping[str, Seated], rng: np.random.Generator) -> Match:
    """One match, from a seed drawn from `rng`."""
    game.reset(seed=int(rng.integers(2**31)))
    moves: dict[str, list[Move]] = {player: [] for player in game.possible_agents}
    told: Mapping[str, Any] = {}
    for player in game.agent_iter():
        view, reward, over, _, info = game.last()
        if moves[player]:
            moves[player][-1] = moves[player][-1]._replace(reward=reward)
        if over:
            told = info
            game.step(None)
            continue
        policy, sees = seated[player]
        seen, allowed = view[sees], view["action_mask"].astype(np.bool_)
        choice = policy.sample(seen[None], allowed[None], rng)
        action = int(choice.action[0])
        moves[player].append(Move(seen, allowed, action, float(choice.probability[0]), choice.memo[0], 0.0))
        game.step(action)
    return Match({player: tuple(each) for player, each in moves.items()}, told)


def practised(
    game: Game[Any],
    players: Mapping[str, Player],
    rounds: int,
    rng: np.random.Generator,
    *,
    past: float = PAST,
    every: int = EVERY,
) -> tuple[dict[str, Player], list[Round]]:
    """The players after so many matches, and what came of each. `past`: share of matches in which one of them, drawn,
    is an earlier self; `every`: matches between two selves that are kept."""
    if not 0.0 <= past <= 1.0 or every < 1:
        what = f"An earlier self in {past} of the matches, kept every {every}."
        raise InvalidInput(what, field="past", value=past, fix="Give a share from 0 to 1, and 1 match at least.")
    now, done = dict(players), list[Round]()
    pool = {player: [each.kept()] for player, each in now.items()}
    for number in range(1, rounds + 1):
        absent = str(rng.choice(list(now))) if rng.random() < past else None
        seats = {player: each.seated(explore=True) for player, each in now.items()}
        if absent is not None:
            seats[absent] = pool[absent][int(rng.integers(len(pool[absent])))].seated(explore=True)
        match = play(game, seats, rng)
        now = {name: each if name == absent else each.learned(match.moves[name], rng) for name, each in now.items()}
        done.append(Round({player: match.earned(player) for player in now}, match.told, absent))
        if number % every == 0:
            pool = {player: [*selves, now[player].kept()] for player, selves in pool.items()}
    return now, done


def examined(game: Game[Any], seated: Mapping[str, Seated], rounds: int, rng: np.random.Generator) -> list[Round]:
    """Matches from which nobody learns."""
    matches = [play(game, seated, rng) for _ in range(rounds)]
    return [Round({player: match.earned(player) for player in match.moves}, match.told) for match in matches]


def batch_of(moves: Sequence[Move]) -> Batch:
    """The moves of one match as learners take them: one session with a true end."""
    if not moves:
        raise InvalidInput("No moves.", field="moves", value=0, fix="Give at least one.")
    seen, allowed = np.stack([move.seen for move in moves]), np.stack([move.allowed for move in moves])
    has_next = np.arange(len(moves)) < len(moves) - 1
    after = np.roll(seen, -1, axis=0)
    after[-1] = 0
    return Batch(
        observation=seen,
        allowed=allowed,
        action=np.array([move.action for move in moves]),
        probability=np.array([move.probability for move in moves]),
        reward=np.array([move.reward for move in moves], np.float64),
        discount=has_next.astype(np.float64),
        has_next=has_next,
        next_observation=after,
        next_allowed=np.where(has_next[:, None], np.roll(allowed, -1, axis=0), True),
        session=np.zeros(len(moves), np.int64),
        time=np.arange(len(moves), dtype=np.float64),
        memo=np.stack([move.memo for move in moves]),
    )


# --------------------------------------------------------------------------------------------------------------- curve


class Stretch(NamedTuple):
    """Some matches in a row of the game of bugs."""

    first: int
    last: int  # not of them
    used: float  # mean share of the budget, for bugs that the tests notice; 1 where a bug stays; nan without any
    middle: float  # share of all bugs that are mended with `MIDDLE` of the budget
    stayed: float  # share of all bugs that are not mended
    unnoticed: float  # share of all bugs that no test notices
    rewards: Mapping[str, float]  # mean of each player


def curve(rounds: Sequence[Round], stretches: int) -> list[Stretch]:
    """How hard the bugs of the game of bugs were, stretch by stretch. Raises InvalidInput for more stretches than
    matches."""
    if not 1 <= stretches <= len(rounds):
        what, fix = f"{stretches} stretches of {len(rounds)} matches.", f"Ask for 1 to {len(rounds)}."
        raise InvalidInput(what, field="stretches", value=stretches, fix=fix)
    cuts = np.linspace(0, len(rounds), stretches + 1).astype(int).tolist()
    return [_stretch(rounds, first, last) for first, last in pairwise(cuts)]


def _stretch(rounds: Sequence[Round], first: int, last: int) -> Stretch:
    some = rounds[first:last]
    ended = [each.told["ended"] for each in some]
    used = [1.0 if how == "stayed" else each.told["used"] for how, each in zip(ended, some, strict=True)]
    noticed = [share for how, share in zip(ended, used, strict=True) if how != "unnoticed"]
    middle = [how == "mended" and MIDDLE[0] <= share <= MIDDLE[1] for how, share in zip(ended, used, strict=True)]
    return Stretch(
        first,
        last,
        float(np.mean(noticed)) if noticed else float("nan"),
        float(np.mean(middle)),
        ended.count("stayed") / len(some),
        ended.count("unnoticed") / len(some),
        {player: float(np.mean([each.rewards[player] for each in some])) for player in some[0].rewards},
    )
