"""The rules of the tabular learners written again, with dictionaries and lists of sessions: nothing here is fast."""

from dataclasses import dataclass, field
from itertools import groupby
from types import SimpleNamespace

RULES = {
    "sarsa": ("sarsa", {}),
    "expected_sarsa": ("expected_sarsa", {}),
    "double_q_learning": ("double_q_learning", {}),
    "n_step_sarsa": ("n_step_sarsa", {"n": 3}),
    "sarsa_lambda": ("sarsa_lambda", {"trace_decay": 0.9}),
    "sarsa_lambda, accumulating": ("sarsa_lambda", {"trace": "accumulating"}),
    "sarsa_lambda, dutch": ("sarsa_lambda", {"trace": "dutch"}),
    "q_lambda": ("q_lambda", {"trace_decay": 0.9}),
    "q_lambda, accumulating": ("q_lambda", {"trace": "accumulating"}),
    "monte_carlo": ("monte_carlo", {}),
    "monte_carlo, every visit": ("monte_carlo", {"first_visit": False}),
    "monte_carlo, off-policy": ("monte_carlo", {"off_policy": True}),
}


@dataclass
class Tables:
    values: dict = field(default_factory=dict)
    visits: dict = field(default_factory=dict)
    pair: tuple = field(default_factory=lambda: ({}, {}))
    tries: tuple = field(default_factory=lambda: ({}, {}))
    weights: dict = field(default_factory=dict)
    rounds: int = 0


def by_hand(rule, learner, batch, tables, rng, block=1_024):
    """The tables after one more batch."""
    tables = tables or Tables()
    sessions, epsilon = sessions_of(batch), max(0.05, 0.3 * 0.995**tables.rounds)
    steps = [step for session in sessions for step in session]
    if rule == "expected_sarsa":
        for first in range(0, len(steps), block):
            before = dict(tables.values)
            for step in steps[first : first + block]:
                move(learner, tables, step, one_step(learner, tables, step, lambda s: soft(before, s, epsilon)))  # noqa: B023
    elif rule == "double_q_learning":
        for step, coin in zip(steps, rng.random(len(steps)), strict=True):
            double(learner, tables, step, int(coin < 0.5))
    else:
        before = dict(tables.values)
        one = {"sarsa": n_step, "n_step_sarsa": n_step, "sarsa_lambda": traced, "q_lambda": traced, "monte_carlo": mean}
        share = 0.0 if getattr(learner, "off_policy", False) else epsilon
        for session in sessions:
            one[rule.split(",")[0]](learner, tables, session, lambda s: soft(before, s, share))
    tables.rounds += sum(step.ended for step in steps)
    return tables


def sessions_of(batch):
    rows = [
        SimpleNamespace(
            number=int(batch.session[t]),
            s=int(batch.observation[t, 0]),
            a=int(batch.action[t]),
            r=float(batch.reward[t]),
            ended=batch.discount[t] == 0,
            here=[a for a, may in enumerate(batch.allowed[t]) if may],
            next=int(batch.next_observation[t, 0]),
            there=[a for a, may in enumerate(batch.next_allowed[t]) if may],
            probability=float(batch.probability[t]),
        )
        for t in range(len(batch))
    ]
    return [list(group) for _, group in groupby(rows, key=lambda row: row.number)]


def soft(values, step, epsilon):
    """ε-greedy probabilities in the next state by these values."""
    best = max(values.get((step.next, a), 0.0) for a in step.there)
    top = [a for a in step.there if values.get((step.next, a), 0.0) == best]
    return {a: epsilon / len(step.there) + (1 - epsilon) * (a in top) / len(top) for a in step.there}


def expected(tables, step, policy):
    return sum(share * tables.values.get((step.next, a), 0.0) for a, share in policy(step).items())


def one_step(learner, tables, step, policy):
    return step.r + (0.0 if step.ended else learner.discount * expected(tables, step, policy))


def alpha(learner, tries):
    return learner.learning_rate / tries**learner.step_power


def move(learner, tables, step, target):
    cell = (step.s, step.a)
    tables.visits[cell] = tables.visits.get(cell, 0) + 1
    old = tables.values.get(cell, 0.0)
    tables.values[cell] = old + alpha(learner, tables.visits[cell]) * (target - old)


def double(learner, tables, step, moving):
    cell, target = (step.s, step.a), step.r
    mine, other = tables.pair[moving], tables.pair[1 - moving]
    if not step.ended:
        best = max(step.there, key=lambda a: mine.get((step.next, a), 0.0))
        target += learner.discount * other.get((step.next, best), 0.0)
    tables.visits[cell] = tables.visits.get(cell, 0) + 1
    tables.tries[moving][cell] = tables.tries[moving].get(cell, 0) + 1
    old = mine.get(cell, 0.0)
    mine[cell] = old + alpha(learner, tables.tries[moving][cell]) * (target - old)
    tables.values[cell] = (mine[cell] + other.get(cell, 0.0)) / 2


def n_step(learner, tables, session, policy):
    n, factor = getattr(learner, "n", 1), learner.discount
    for start in range(len(session)):
        seen = session[start : start + n]
        target = sum(factor**k * step.r for k, step in enumerate(seen))
        if start + n < len(session):
            after = session[start + n]
            target += factor**n * tables.values.get((after.s, after.a), 0.0)
        elif not seen[-1].ended:
            target += factor ** len(seen) * expected(tables, seen[-1], policy)
        move(learner, tables, session[start], target)


def traced(learner, tables, session, policy):
    """Sarsa(λ), or Watkins's Q(λ): traces of all cells, none ever dropped."""
    traces, watkins = {}, type(learner).__name__ == "QLambda"
    for number, step in enumerate(session):
        value = lambda s, a: tables.values.get((s, a), 0.0)  # noqa: E731
        if watkins and value(step.s, step.a) < max(value(step.s, a) for a in step.here):
            traces = {}
        if step.ended:
            ahead = 0.0
        elif watkins:
            ahead = max(value(step.next, a) for a in step.there)
        elif number + 1 < len(session):
            ahead = value(session[number + 1].s, session[number + 1].a)
        else:
            ahead = expected(tables, step, policy)
        cell = (step.s, step.a)
        error = step.r + learner.discount * ahead - value(*cell)
        tables.visits[cell] = tables.visits.get(cell, 0) + 1
        traces = {each: learner.discount * learner.trace_decay * trace for each, trace in traces.items()}
        kept = {"replacing": 0.0, "accumulating": 1.0, "dutch": 1.0 - alpha(learner, tables.visits[cell])}
        traces[cell] = kept[learner.trace] * traces.get(cell, 0.0) + 1.0
        for each, trace in traces.items():
            tables.values[each] = value(*each) + alpha(learner, tables.visits[each]) * error * trace


def mean(learner, tables, session, policy):
    total = 0.0 if session[-1].ended else expected(tables, session[-1], policy)
    weight = 1.0
    for number in reversed(range(len(session))):
        step, cell = session[number], (session[number].s, session[number].a)
        total = step.r + learner.discount * total
        if not learner.first_visit or cell not in [(each.s, each.a) for each in session[:number]]:
            tables.visits[cell] = tables.visits.get(cell, 0) + 1
            tables.weights[cell] = tables.weights.get(cell, 0.0) + weight
            size = learner.learning_rate * (weight / tables.weights[cell]) ** learner.step_power
            tables.values[cell] = tables.values.get(cell, 0.0) + size * (total - tables.values.get(cell, 0.0))
        if learner.off_policy:
            known = {a: tables.values.get((step.s, a), 0.0) for a in step.here}
            top = [a for a in known if known[a] == max(known.values())]
            weight *= (step.a in top) / len(top) / step.probability
            if weight == 0:
                return
