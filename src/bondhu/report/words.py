"""How figures are written, and what each estimator takes for granted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from math import floor, isfinite, log10
from types import MappingProxyType
from typing import NamedTuple

from bondhu.report.study import Compared, Figure
from bondhu.types import Estimate

NOTHING = "—"
TO = "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}"  # an interval stays on one line
VERDICTS = MappingProxyType(
    {
        "promote": ("✓", "Promote", "{candidate} has shown what it takes to replace {against}."),
        "wait": ("…", "Wait", "The log does not say yet whether {candidate} should replace {against}."),
        "refuse": ("✕", "Refuse", "{candidate} should not replace {against}."),
    }
)
ASSUMES: Mapping[str, str] = MappingProxyType(
    {
        "adaptive_dr": "Logged probabilities are right. Holds where the log was made by versions that learned from it.",
        "balanced": "Logged probabilities are right, and the policies that acted are known.",
        "dm": "Rewards are linear in the features, for each action. Needs no probabilities.",
        "dr": "Logged probabilities are right. A model of rewards makes it narrower, and cannot bias it.",
        "dros": "Logged probabilities are right; its model of rewards is good where weights are large.",
        "ips": "Logged probabilities are right. No model: unbiased and wide.",
        "mips": "Logged probabilities are right, and rewards depend on the kind of the action alone.",
        "snips": "Logged probabilities are right, but for a factor; a bias that vanishes as the log grows.",
        "sndr": "Logged probabilities are right, but for a factor; a bias that vanishes as the log grows.",
        "sub_gaussian": "Logged probabilities are right; large weights are bent, for a bias far below its error.",
        "sub_gaussian_dr": "Logged probabilities are right; large weights are bent, for a bias far below its error.",
        "switch_dr": "Logged probabilities are right; its model of rewards is good where weights are large.",
        "dual_dice": "What comes next depends on what is observed alone (Markov), and features tell visits apart.",
        "fqe": "What comes next depends on what is observed alone (Markov), and values are linear in the features.",
        "magic": "Logged probabilities are right; a model takes over where that errs less.",
        "marginalised": "What comes next depends on what is observed alone (Markov), and probabilities are right.",
        "mrdr": "Logged probabilities are right. A model chosen for the least variance makes it narrower.",
        "per_decision": "Logged probabilities are right: later decisions do not weigh on earlier rewards.",
        "session_dr": "Logged probabilities are right, and hardly any session is cut. A model makes it narrower.",
        "trajectory_is": "Logged probabilities are right: whole sessions are weighed by their product.",
        "weighted_dr": "Logged probabilities are right; a bias that vanishes as the log grows.",
        "weighted_per_decision": "Logged probabilities are right; a bias that vanishes as the log grows.",
    }
)


class Numbers(NamedTuple):
    """Numbers with as many digits as their interval lets stand."""

    digits: int

    def plain(self, value: float) -> str:
        return f"{value + 0.0:,.{self.digits}f}" if isfinite(value) else _unwritten(value)

    def signed(self, value: float) -> str:
        return f"{value + 0.0:+,.{self.digits}f}" if isfinite(value) else _unwritten(value)

    def between(self, of: Figure | Estimate, *, signed: bool = False) -> str:
        """The interval."""
        write = self.signed if signed else self.plain
        return f"{write(of.low)} to {write(of.high)}" if isfinite(of.value) else NOTHING

    def whole(self, of: Figure | Estimate, *, signed: bool = False) -> str:
        """The value, and its interval in brackets."""
        if not isfinite(of.value):
            return "refused"
        return f"{(self.signed if signed else self.plain)(of.value)} ({self.between(of, signed=signed)})".replace(
            " to ", TO
        )


def numbers(found: Iterable[Compared | None]) -> Numbers:
    """As many digits as the intervals let stand."""
    return digits_of(of for each in found if each for of in (each.candidate, each.against, each.advantage))


def digits_of(estimates: Iterable[Figure | Estimate]) -> Numbers:
    """As many digits as leave two of half the length of the shortest interval."""
    halves = [(each.high - each.low) / 2 for each in estimates]
    half = min((each for each in halves if isfinite(each) and each > 0), default=0.01)
    return Numbers(min(max(1 - floor(log10(half)), 0), 8))


def percent(share: float) -> str:
    """A share of a whole, without a decimal that says nothing."""
    return f"{100 * share:.3g}\N{NO-BREAK SPACE}%" if isfinite(share) else NOTHING


def rounded(value: float, digits: int = 3) -> str:
    """A number of any size, with this many digits that count."""
    if not isfinite(value):
        return _unwritten(value)
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def _unwritten(value: float) -> str:
    return NOTHING if value != value else "∞" if value > 0 else "−∞"  # noqa: PLR0124  NaN is not itself


def moment(seconds: float) -> str:
    """A UNIX time for people."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC" if isfinite(seconds) else NOTHING


def span(window: tuple[float, float]) -> str:
    """A window of time."""
    start, end = window
    return f"{moment(start)} to {moment(end)}" if isfinite(start) and start > 0 else f"everything until {moment(end)}"
