"""The gate: whether a candidate may be released, with every figure it looked at and a sentence for every reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import NamedTuple

import numpy as np

from bondhu.equations.intervals import Interval, skewness_corrected
from bondhu.errors import InvalidInput
from bondhu.evaluate.support import refusal
from bondhu.types import Estimate, Integers, Verdict


@dataclass(frozen=True)
class GateRules:
    """What a candidate has to show before it is released."""

    minimum_interactions: float = 1000  # settled decisions it was trained on
    minimum_average_reward: float = 0.3  # estimated reward of a decision
    minimum_effective_samples: float = 50  # rows of the log that speak for it
    must_beat_live: bool = True  # the interval of its advantage over the live policy has to lie above `margin`
    margin: float = 0.0  # reward of a decision
    maximum_exploration: float = 0.05  # rate at which production acts at random
    minimum_agreement: float = 0.8  # of an apprentice with what the application did by itself
    confidence: float = 0.95  # of the interval of the advantage
    groups: tuple[str, ...] = ()  # fields of the context: no group by one of them may lose for sure
    maximum_group_loss: float = 0.0  # reward of a decision that a group may lose
    guardrails: Mapping[str, float] = field(default_factory=dict)  # signal: how much more of it a decision may bring


@dataclass(frozen=True)
class Parts:
    """What the advantage of the candidate over the live policy is made of."""

    advantage: Estimate  # uncertain weights allowed for
    groups: Mapping[str, Estimate] = field(default_factory=dict)  # the advantage within groups, such as "mood = happy"
    objectives: Mapping[str, tuple[Estimate, Estimate]] = field(default_factory=dict)  # each part: candidate and live
    guardrails: Mapping[str, Estimate] = field(default_factory=dict)  # how much more of a signal a decision brings


class Finding(NamedTuple):
    """What one rule says."""

    decision: str  # "promote", "wait" or "refuse"
    sentence: str


def difference(
    candidate: Estimate, live: Estimate, confidence: float = 0.95, *, session: Integers | None = None
) -> Estimate:
    """Advantage of the candidate, row by row on the same decisions: what both share in luck cancels.

    Give the batch's `session [T]` where sessions hold several decisions: they are what is independent.
    """
    for who, each in (("candidate", candidate), ("live policy", live)):
        if each.refused:
            return refusal(f"Of the {who}: {each.refused}", each.effective_samples)
    if len(candidate.terms) != len(live.terms):
        raise InvalidInput(
            f"The candidate was judged on {len(candidate.terms):,} rows, the live policy on {len(live.terms):,}.",
            field="terms",
            fix="Estimate both on the same batch.",
        )
    terms = candidate.terms - live.terms
    low, high = skewness_corrected(terms, confidence, session)
    effective = min(candidate.effective_samples, live.effective_samples)
    return Estimate(float(terms.mean()), low, high, effective, terms)


def gate(
    candidate: Estimate,
    live: Estimate,
    facts: Mapping[str, float],
    rules: GateRules,
    parts: Parts | None = None,
) -> Verdict:
    """Promote, wait for more data, or refuse. `facts` hold `interactions` and the `exploration` of production.

    Without `parts` the advantage is made here, of rows that are taken to be independent.

    Statistics are judged only where there is enough data for them: waiting comes before refusing on a guess, and
    what no amount of data mends is refused at once.
    """
    for name in ("interactions", "exploration"):
        if not isfinite(facts.get(name, np.nan)):
            raise InvalidInput(f"The gate needs the fact {name!r}.", field=name, value=facts.get(name))
    parts = parts or Parts(difference(candidate, live, rules.confidence))
    findings = [_interactions(facts["interactions"], rules), _exploration(facts["exploration"], rules)]
    findings.append(_evidence(candidate, rules))
    if all(finding.decision != "wait" for finding in findings) and candidate.refused is None:
        findings.append(_average(candidate, rules))
        if rules.must_beat_live:
            findings.append(_advantage(parts.advantage, rules))
        findings += [_group(name, each, rules) for name, each in parts.groups.items()]
        findings += [_guardrail(name, each, rules.guardrails[name]) for name, each in parts.guardrails.items()]
    within = {**parts.groups, **parts.guardrails}
    decision = next(each for each in ("refuse", "wait", "promote") if any(f.decision == each for f in findings))
    figures = {
        "interactions": facts["interactions"],
        "exploration": facts["exploration"],
        "effective_samples": candidate.effective_samples,
        **_figures("candidate", candidate),
        **_figures("live", live),
        **_figures("advantage", parts.advantage),
        **{name: figure for each, of in within.items() for name, figure in _figures(each, of).items()},
    }
    return Verdict(decision, tuple(each.sentence for each in findings if each.decision == decision), figures)


def apprentice_gate(agreement: Interval, share: float, interactions: float, rules: GateRules) -> Verdict:
    """Whether an apprentice agrees with the application enough to be released: mean probability, and its interval."""
    findings = [_interactions(interactions, rules)]
    low, high = agreement
    said = f"It agrees with {share:.1%} of what the application did ({low:.1%} to {high:.1%})"
    wanted = f"{rules.minimum_agreement:.0%} are needed"
    if low >= rules.minimum_agreement:
        findings.append(Finding("promote", f"{said}; {wanted}."))
    else:
        findings.append(Finding("wait" if high >= rules.minimum_agreement else "refuse", f"{said}; {wanted}."))
    decision = next(each for each in ("refuse", "wait", "promote") if any(f.decision == each for f in findings))
    figures = {"interactions": interactions, "agreement": share, "agreement_low": low, "agreement_high": high}
    return Verdict(decision, tuple(each.sentence for each in findings if each.decision == decision), figures)


def _figures(name: str, of: Estimate) -> dict[str, float]:
    return {f"{name}_value": of.value, f"{name}_low": of.low, f"{name}_high": of.high}


def _interactions(count: float, rules: GateRules) -> Finding:
    if count < rules.minimum_interactions:
        return Finding("wait", f"Trained on {count:,.0f} interactions; {rules.minimum_interactions:,.0f} are needed.")
    return Finding("promote", f"Trained on {count:,.0f} interactions, at least {rules.minimum_interactions:,.0f}.")


def _exploration(rate: float, rules: GateRules) -> Finding:
    if rate > rules.maximum_exploration + 1e-9:
        return Finding(
            "refuse",
            f"Production would act at random in {rate:.1%} of decisions, more than {rules.maximum_exploration:.1%}. "
            "Lower [exploration] rate.",
        )
    if rate <= 0:
        return Finding("promote", "Production will not explore: nothing can be learned or judged from its decisions.")
    return Finding(
        "promote", f"Production explores in {rate:.1%} of decisions, at most {rules.maximum_exploration:.1%}."
    )


def _evidence(candidate: Estimate, rules: GateRules) -> Finding:
    effective = candidate.effective_samples
    if candidate.refused and not isfinite(effective):
        return Finding("refuse", candidate.refused)
    if effective < rules.minimum_effective_samples:
        return Finding(
            "wait",
            f"The log is worth {effective:,.1f} effective samples for the candidate; "
            f"{rules.minimum_effective_samples:,.0f} are needed.",
        )
    if candidate.refused:
        return Finding("wait", candidate.refused)
    return Finding(
        "promote",
        f"The log is worth {effective:,.0f} effective samples for the candidate, at least "
        f"{rules.minimum_effective_samples:,.0f}.",
    )


def _group(name: str, advantage: Estimate, rules: GateRules) -> Finding:
    figures = f"The advantage where {name} is {advantage.value:+.4g} ({advantage.low:+.4g} to {advantage.high:+.4g})"
    if advantage.high < -rules.maximum_group_loss:
        return Finding("refuse", f"{figures}: a gain of others would be paid by them.")
    return Finding("promote", f"{figures}, not surely below {0.0 - rules.maximum_group_loss:+.4g}.")


def _guardrail(name: str, more: Estimate, tolerated: float) -> Finding:
    if more.refused:
        return Finding("wait", f"Guardrail {name!r}: {more.refused}")
    figures = f"Guardrail {name!r}: {more.value:+.4g} a decision ({more.low:+.4g} to {more.high:+.4g})"
    if more.low > tolerated:
        return Finding("refuse", f"{figures}, surely more than the {tolerated:+.4g} that are tolerated.")
    if more.high > tolerated:
        return Finding("wait", f"{figures}: more than the {tolerated:+.4g} that are tolerated is not ruled out.")
    return Finding("promote", f"{figures}, at most {tolerated:+.4g}.")


def _average(candidate: Estimate, rules: GateRules) -> Finding:
    figures = f"Average reward {candidate.value:.4g} ({candidate.low:.4g} to {candidate.high:.4g})"
    if not candidate.value >= rules.minimum_average_reward:
        return Finding("refuse", f"{figures} is below {rules.minimum_average_reward:g}.")
    return Finding("promote", f"{figures} is at least {rules.minimum_average_reward:g}.")


def _advantage(advantage: Estimate, rules: GateRules) -> Finding:
    if advantage.refused:
        return Finding("refuse" if not isfinite(advantage.effective_samples) else "wait", advantage.refused)
    figures = (
        f"Its advantage over the live policy is {advantage.value:+.4g} ({advantage.low:+.4g} to {advantage.high:+.4g})"
    )
    wanted = f"{rules.margin:+.4g}"
    if advantage.low > rules.margin:
        return Finding("promote", f"{figures}, above {wanted}.")
    if not advantage.terms.any():
        return Finding("refuse", f"{figures}: it decides as the live policy does, not above {wanted}.")
    if advantage.high <= rules.margin:
        return Finding("refuse", f"{figures}, not above {wanted}.")
    return Finding("wait", f"{figures}: not yet surely above {wanted}. More decisions will tell.")
