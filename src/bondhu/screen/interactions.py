"""The records of interactions, a line each, and how the deployment does on the whole."""

from __future__ import annotations

from collections.abc import Sequence

from bondhu.domains.assistant.record import InteractionRecord
from bondhu.domains.assistant.totals import Totals
from bondhu.screen import moment, say, table

COLUMNS = ("decision", "when", "action", "value", "reward", "said")  # the rest is in --json


def interactions(records: Sequence[InteractionRecord], totals: Totals, found: int) -> None:
    """Print them; `found`: how many there are beside those that are shown."""
    all_ = f"{found:,} interaction" + "s" * (found != 1)
    title = f"{len(records):,} of {all_}" if found > len(records) else all_
    table(title, COLUMNS, [_row(each) for each in records])
    if totals.episodes:
        say(summary(totals))


def summary(totals: Totals) -> str:
    """One line, of all interactions of the log."""
    low, high = totals.interval()
    bounds = f" ({low:.3g} to {high:.3g})" if totals.episodes > 1 else ""
    words = {"upward": "trending upward", "downward": "trending downward", "level": "with no sure trend"}
    return (
        f"{totals.episodes:,} episode{'s' * (totals.episodes != 1)}, success rate {totals.success_rate:.1%},"
        f" average reward {totals.average:.3g}{bounds}, {words[totals.trend().direction]}."
    )


def _row(each: InteractionRecord) -> list[str]:
    said = ", ".join(f"{name} {value:.2g}" for name, value in sorted(each.signals.items()))
    return [
        each.decision_id,
        moment(each.time),
        each.action,
        "—" if each.value_estimation is None else f"{each.value_estimation:.3g}",
        f"{each.reward_signal:.3g}",
        said or "—",
    ]
