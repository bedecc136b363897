"""What is known to go wrong in training, each case with the figures that show it and the hyper-parameter that mends it.

Sources: Andrychowicz et al. 2021, "What matters in on-policy reinforcement learning?"; Huang et al. 2022, "The 37
implementation details of proximal policy optimization"; Henderson et al. 2018, "Deep reinforcement learning that
matters".
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from bondhu.monitor.doctor import Finding
from bondhu.monitor.records import Records
from bondhu.types import Floats

ENOUGH = 10  # records that make a curve
LOST = ("loss", "policy_loss", "value_loss", "td_error", "gradient_norm", "entropy", "kl", "value_estimation")
NORMALISED = ("normalise_observations", "normalize_observation", "normalize_observations")
LIMIT = ("gradient_limit", "max_gradient_norm", "gradient_clip", "max_grad_norm")
FLOOR = 1e-9  # what counts as nothing


class Course(NamedTuple):
    """How the return went."""

    first: float
    best: float  # of averages over a tenth of the run
    last: float
    rose: bool  # by more than chance
    kept: bool  # and at least half of the way to the best is still there


def course(run: Records) -> Course | None:
    """How the return of training went, or of the evaluations where those say that it rose; None of too short a run."""
    told = [_course(values) for values in (run.values("total_reward"), _evaluated(run)) if len(values) >= 4]
    return next((each for each in told if each.rose and each.kept), told[0] if told else None)


def well(run: Records) -> bool:
    """Whether the return rose and stayed, or is as high as the environment asks for."""
    way, goal = course(run), run.about.get("reward_threshold")
    if way is None:
        return False
    return (way.rose and way.kept) or (goal is not None and way.last >= goal)


def lost_numbers(run: Records) -> Finding | None:
    """A figure is no number any more, and stays so."""
    for name in LOST:
        series = run.series(name)
        lost = ~np.isfinite(series.value)
        if len(lost) >= 2 and lost[-2:].all() and (not lost.all() or series.step[-1] >= 0.1 * run.planned):
            since = series.step[len(lost) - np.argmin(lost[::-1])] if not lost.all() else series.step[0]
            evidence = f"{name} is not a number since step {since:,.0f}."
            return Finding(
                "loss is not a number",
                evidence,
                (
                    f"Take smaller steps: a third of the learning_rate{_now(run, 'learning_rate')}.",
                    f"Limit the gradient: gradient_limit = 0.5{_now(run, *LIMIT)}.",
                    "Look for rewards or observations that are infinite or very large; normalise_rewards = true helps.",
                    "Go on from a checkpoint before that step: nothing after it is of use.",
                ),
            )
    return None


def diverging_values(run: Records) -> Finding | None:
    """Values far above what any episode returned, or a loss that grows without end."""
    values, loss = np.abs(run.values("value_estimation")), np.abs(run.values("loss"))
    bound = _largest_value(run)
    if len(values) >= ENOUGH and bound is not None and np.median(values[-3:]) > 10 * bound:
        evidence = f"value_estimation is {values[-1]:.3g}; no return seen was worth more than {bound:.3g}."
    elif len(loss) >= ENOUGH and _grows_without_end(loss):
        evidence = f"loss grew from {loss[0]:.3g} to {loss[-1]:.3g}, and still grows."
    else:
        return None
    return Finding(
        "loss diverging",
        evidence,
        (
            f"Take smaller steps: a third of the learning_rate{_now(run, 'learning_rate')}.",
            f"Limit the gradient: gradient_limit = 0.5{_now(run, *LIMIT)}.",
            "Follow the target network more slowly, and take the lesser of two estimates (double).",
            "Bring returns to the order of 1: normalise_rewards = true.",
        ),
    )


def entropy_collapse(run: Records) -> Finding | None:
    """The policy stopped trying things in the first third of the run, and the return did not rise or fell back."""
    entropy = run.series("entropy").finite()
    if _born_sure(run, entropy.value) and not well(run):
        all_of = f"{np.log(run.about['actions']):.3g} that {run.about['actions']} actions allow"
        return _collapsed(run, f"entropy is {np.median(entropy.value):.3g} nats from the first record on, of {all_of}")
    early = entropy.step <= run.planned / 3
    if len(entropy.value) < ENOUGH or early.sum() < 3 or well(run):
        return None
    first = float(np.median(entropy.value[:3]))
    full = max(first, np.log(run.about["actions"]) if run.about.get("actions") else first)
    # A Gaussian of deviation σ has log σ + 1.42 nats a dimension: from σ = 1 to 0.01 it falls to -2.2 times the first.
    density = entropy.value.min() < -1e-6
    floor = -2.2 * first if density else 0.05 * full
    if first <= 0 or not (entropy.value[early][-3:] < floor).all():
        return None
    fallen = entropy.step[np.argmax(entropy.value < floor)]
    fell = f"from {first:.3g} to {entropy.value[early][-1]:.3g} nats by step {fallen:,.0f} of {run.planned:,.0f}"
    return _collapsed(run, f"entropy fell {fell}")


def _born_sure(run: Records, entropy: Floats) -> bool:
    """A policy over numbered actions that never tried things."""
    actions = run.about.get("actions")
    return bool(actions and actions > 1 and len(entropy) >= 3 and (np.abs(entropy) < 0.05 * np.log(actions)).all())


def _collapsed(run: Records, evidence: str) -> Finding:
    return Finding(
        "entropy collapse",
        f"{evidence}{_return(run)}.",
        (
            f"Pay for entropy: entropy_bonus = 0.01 or more{_now(run, 'entropy_bonus')}.",
            f"Change the policy more slowly: a third of the learning_rate{_now(run, 'learning_rate')}.",
            f"Bring rewards to the order of 1, so that the bonus counts: normalise_rewards = true"
            f"{_now(run, 'normalise_rewards')}.",
        ),
    )


def exploding_kl(run: Records) -> Finding | None:
    """Updates that move the policy too far, again and again."""
    kl = run.values("kl")
    target = run.hyperparameter("kl_limit", "target_kl")
    limit = 10 * target if target else 0.1
    far = kl > limit
    if not (kl > 1).any() and (len(kl) < ENOUGH or far.sum() < 3 or far.mean() < 0.2):
        return None  # one nat is another policy: once is enough
    return Finding(
        "exploding KL",
        f"kl was above {limit:.2g} in {far.mean():.0%} of the updates, at most {kl.max():.3g}.",
        (
            f"Take smaller steps: a third of the learning_rate{_now(run, 'learning_rate')}.",
            f"Stop an update that went too far: kl_limit = 0.02{_now(run, 'kl_limit', 'target_kl')}.",
            f"Go fewer times over each batch: epochs = 4{_now(run, 'epochs')}.",
        ),
    )


def dead_values(run: Records) -> Finding | None:
    """The critic explains nothing, or says the same of every state."""
    explained, values, returns = (
        run.values(name) for name in ("explained_variance", "value_estimation", "total_reward")
    )
    floor = -0.1 if well(run) else 0.0  # a solved task returns nearly the same from everywhere: nothing to explain
    none = explained <= floor
    if len(explained) >= ENOUGH and none.mean() >= 0.7 and np.median(explained[len(explained) // 2 :]) <= floor:
        evidence = f"explained_variance was {floor:g} or less in {none.mean():.0%} of the updates."
    elif len(values) >= ENOUGH and _same(values[len(values) // 10 :]) and len(returns) and not _same(returns):
        evidence = f"value_estimation stays at {values[-1]:.3g} while returns vary from {returns.min():.3g} to " + (
            f"{returns.max():.3g}."
        )
    else:
        return None
    return Finding(
        "dead value function",
        evidence,
        (
            f"Bring returns to the order of 1: normalise_rewards = true{_now(run, 'normalise_rewards')}.",
            f"Give the critic more weight or its own network: value_weight = 1.0{_now(run, 'value_weight')}.",
            f"Let it follow freely: value_clip = 0{_now(run, 'value_clip')}.",
            f"Learn faster: three times the learning_rate{_now(run, 'learning_rate')}.",
        ),
    )


def steps_too_large(run: Records) -> Finding | None:
    """The gradient is cut to a tenth or less in nearly every update, and the return does not rise."""
    norm, limit = run.values("gradient_norm"), run.hyperparameter(*LIMIT)
    if len(norm) < ENOUGH or not limit or (norm >= 10 * limit).mean() < 0.9 or well(run):
        return None
    return Finding(
        "learning rate too large",
        f"gradient_norm is {np.median(norm):.3g} in the median, where it is limited to {limit:.3g}{_return(run)}.",
        (
            f"Take smaller steps: a third of the learning_rate{_now(run, 'learning_rate')}.",
            "Bring returns and observations to the order of 1: normalise_rewards, normalise_observations = true.",
            "Or, where the rest looks well, allow more: gradient_limit = 10.",
        ),
    )


def fell_back(run: Records) -> Finding | None:
    """Less than half of the best gain over the first evaluations is still there in the last ones."""
    played = [each for each in run.evaluations if np.isfinite(each.returns).all()]
    if len(played) < 5:
        return None
    means = np.array([each.returns.mean() for each in played])
    window = max(1, len(means) // 5)
    smooth = np.convolve(means, np.ones(window) / window, "valid")
    first, best, last = float(smooth[0]), float(smooth.max()), float(smooth[-1])
    gain, noise = best - first, float(np.median([each.returns.std() / np.sqrt(len(each.returns)) for each in played]))
    if gain <= max(3 * noise, 0.1 * max(abs(first), abs(best)), FLOOR) or last - first >= gain / 2:
        return None
    when = played[int(np.argmax(smooth)) + window - 1].step
    return Finding(
        "fell back",
        f"Evaluations rose from {first:.3g} to {best:.3g} at step {when:,}, and are {last:.3g} in the end.",
        (
            "Play the best state, which is kept: bondhu play RUN.",
            f"Take smaller steps towards the end: a third of the learning_rate{_now(run, 'learning_rate')}, "
            "or anneal_steps.",
            "Stop in time: --patience 5.",
        ),
    )


def _evaluated(run: Records) -> Floats:
    means = np.array([np.mean(each.returns) for each in run.evaluations])
    return means[np.isfinite(means)] if len(means) else means


def _course(values: Floats) -> Course:
    window = max(1, len(values) // 10)
    first = float(values[:window].mean())
    last = float(values[-2 * window :].mean())
    best = float(np.convolve(values, np.ones(window) / window, "valid").max())
    noise = float(np.median(np.abs(np.diff(values))))
    rose = last - first > max(2 * noise, 0.05 * max(abs(first), abs(last)), FLOOR)
    return Course(first, best, last, rose, last - first >= 0.5 * (best - first))


def _return(run: Records) -> str:
    way = course(run)
    return "" if way is None else f", while the return went from {way.first:.3g} to {way.last:.3g}"


def _largest_value(run: Records) -> float | None:
    """The most that a state was worth: the largest return seen, or its largest reward for ever, r / (1 - γ)."""
    returns = [np.abs(run.values("total_reward")), *(np.abs(each.returns) for each in run.evaluations)]
    seen = np.concatenate([*returns, np.zeros(0)])
    seen = seen[np.isfinite(seen)]
    other = run.hyperparameter("normalise_rewards", "normalize_rewards") or len(run.values("intrinsic_reward"))
    if not len(seen) or other:  # values are then not in the unit of returns
        return None
    rewards, discount = np.abs(run.values("reward_signal")), run.hyperparameter("discount", "gamma")
    for_ever = rewards.max() / (1 - discount) if len(rewards) and discount and discount < 1 else 0.0
    return max(float(seen.max()), float(for_ever), 1.0)


def _grows_without_end(loss: Floats) -> bool:
    third = len(loss) // 3
    parts = loss[:third], loss[third : 2 * third], loss[-max(1, len(loss) // 10) :]
    start, middle, end = (float(np.median(part)) for part in parts)
    return end > 1e4 * max(start, FLOOR) and end > 10 * middle and end > 1e3


def _same(values: Floats) -> bool:
    return bool(len(values) and np.ptp(values) <= 1e-6 * max(1.0, float(np.abs(values).max())))


def _now(run: Records, *names: str) -> str:
    """What a hyper-parameter is now, where the run says so."""
    value: Any = run.hyperparameter(*names)
    return "" if value is None else f" (now {value})"
