"""The rules of the gate, in words, beside what it found."""

from __future__ import annotations

from math import isfinite, nan

from bondhu.report.study import Rule
from bondhu.report.words import rounded
from bondhu.studying.question import Question


def asked_for(asked: Question) -> tuple[Rule, ...]:
    """What the gate asks for, beside what it found."""
    rules, figures, parts = asked.rules, asked.judgement.verdict.figures, asked.judgement.parts
    interval = f"{rounded(figures['advantage_low'])} to {rounded(figures['advantage_high'])}"
    if not isfinite(figures["advantage_value"]):
        interval = "refused"
    told = [
        Rule(
            "interactions it was trained on",
            f"at least {rules.minimum_interactions:,.0f}",
            rounded(figures["interactions"]),
        ),
        Rule(
            "effective samples", f"at least {rules.minimum_effective_samples:g}", rounded(figures["effective_samples"])
        ),
        Rule(
            "average reward of a decision",
            f"at least {rules.minimum_average_reward:g}",
            rounded(figures["candidate_value"]),
        ),
        Rule("exploration of production", f"at most {rules.maximum_exploration:g}", rounded(figures["exploration"])),
    ]
    if rules.must_beat_live:
        told.append(Rule("advantage, all of its interval", f"above {rules.margin:g}", interval))
    if rules.groups:
        worst = min((each.high for each in parts.groups.values()), default=nan)
        about = f"groups by {', '.join(rules.groups)}: the least upper end"
        told.append(Rule(about, f"at least {0.0 - rules.maximum_group_loss:g}", rounded(worst)))
    for name, more in parts.guardrails.items():
        found = f"{rounded(more.low)} to {rounded(more.high)}" if isfinite(more.value) else "refused"
        told.append(Rule(f"guardrail {name}: more of it, a decision", f"at most {rules.guardrails[name]:g}", found))
    return tuple(told)
