"""The card of an export: what the records are, where they come from, and what was left out, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from bondhu.app import App
from bondhu.corpora.kinds import ACCEPTING, AMBIGUOUS, GAP
from bondhu.corpora.turns import Turn
from bondhu.corpora.wanted import Exported, Wanted

MEANINGS: Mapping[str, str] = {
    "preferences": (
        "Two answers to the same prompt (all messages equal up to white space and case) with different texts, whose "
        f"rewards differ by {GAP:g} or more. Each answer is in one pair at most. An answer after which the user asked "
        "for a clarification is in a pair only as the better one of one that was refused. For `DPOTrainer` and "
        "`RewardTrainer`, which reads `margin`."
    ),
    "prompt-completion": (
        f"Answers that were accepted: one of {', '.join(f'`{each}`' for each in ACCEPTING)} was said, the reward is "
        f"more than 0, and no `{AMBIGUOUS}` was said. For `SFTTrainer`."
    ),
    "binary": (
        "Answers with `label`: true where the reward is more than 0, false where it is less. Answers after which the "
        f"user asked for a clarification (`{AMBIGUOUS}`) say neither and are left out. For `KTOTrainer`."
    ),
    "trajectories": (
        "Whole sessions: `messages`, and for each turn `rewards`, `returns` (discounted by {factor:g} a turn), "
        "`advantages` (the return less the mean return of all turns with the same number in this split), "
        "`decision_ids`, `actions`, `probabilities` (of the action when it was taken), `versions`, `times`."
    ),
}


def written(
    app: App, wanted: Wanted, exported: Exported, turns: Sequence[Turn], files: tuple[Mapping[str, str], float]
) -> str:
    """README.md, with the splits in the front matter as `datasets.load_dataset` reads them."""
    names, factor = files
    parts = [
        _front(names),
        f"# {wanted.kind} of {app.domain.name}\n",
        MEANINGS[wanted.kind].replace("{factor:g}", f"{factor:g}") + "\n",
        _counts(exported, names),
        _origin(turns),
        _rewards(app),
        _privacy(app),
        _limits(wanted),
    ]
    return "\n".join(parts)


def _front(files: Mapping[str, str]) -> str:
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for name, file in files.items():
        lines += [f"  - split: {name}", f"    path: {file}"]
    return "\n".join([*lines, "---", ""]) if files else ""


def _counts(exported: Exported, files: Mapping[str, str]) -> str:
    rows = [("turns looked at", exported.turns), ("turns in a record", exported.used)]
    rows += [(f"left out: {why}", count) for why, count in sorted(exported.left_out.items())]
    splits = [(name, count, files.get(name, "no file")) for name, count in exported.rows.items()]
    lines = ["## How many", "", "| turns | |", "|---|--:|", *(f"| {what} | {count} |" for what, count in rows)]
    lines += ["", "| split | records | file |", "|---|--:|---|", *(f"| {n} | {c} | {f} |" for n, c, f in splits), ""]
    return "\n".join(lines)


def _origin(turns: Sequence[Turn]) -> str:
    times, versions = [each.time for each in turns], Counter(each.version for each in turns)
    period = f"{_day(min(times))} to {_day(max(times))}" if times else "nothing was decided"
    lines = ["## From when, by whom", "", f"Decisions of {period} (UTC).", "", "| version | turns |", "|---|--:|"]
    return "\n".join([*lines, *(f"| {name} | {count} |" for name, count in sorted(versions.items())), ""])


def _rewards(app: App) -> str:
    reward = app.domain.reward
    lines = ["## Rewards", "", "reward = the sum of weight x value of what was said within"]
    lines[-1] += f" {reward.wait:g} seconds; {reward.default:g} where nothing was."
    lines += ["", "| signal | weight |", "|---|--:|"]
    return "\n".join([*lines, *(f"| {name} | {each.weight:g} |" for name, each in reward.signals.items()), ""])


def _privacy(app: App) -> str:
    privacy = app.settings.privacy
    gateway = getattr(app.settings, "gateway", None)
    kept = [f"Users are stored {_how(privacy.user)}, sessions {_how(privacy.session)}."]
    for name in ("prompt", "answer"):
        how = getattr(gateway, name, None)
        if how is not None:
            kept.append(f"`[gateway] {name}` is {how!r} now.")
    kept.append("Addresses, telephone numbers, keys and accounts were taken out of texts before they were stored.")
    kept.append("Texts stored as hashes, or dropped, are in no record. Read before you publish: people wrote this.")
    kept.append("`bondhu erase` takes people out of these files where they are; it cannot reach copies or models.")
    return "\n".join(["## Privacy", "", *kept, ""])


def _how(policy: str) -> str:
    return "as keyed hashes" if policy == "hash" else "as they were sent"


def _limits(wanted: Wanted) -> str:
    lines = [
        f"A share of {wanted.test:g} of the people, by a hash of the name, is the test split: nobody is in two. The",
        "same prompt may be, where two people wrote it.",
        "Which answers were judged, and by which version they were given, is not random: `probability` is that of the",
        "action under the version that took it, for whoever weighs rows by it. TRL leaves columns aside that it does",
        "not know.",
    ]
    return "\n".join(["## What to keep in mind", "", *lines, ""])


def _day(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M")
