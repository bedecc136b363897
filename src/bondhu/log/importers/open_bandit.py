"""The Open Bandit Dataset (Saito et al. 2021, https://arxiv.org/abs/2008.07146): one campaign under one policy.

An item shown at a position is a decision: context is the four hashed user features and the position, the action is
the item, the probability is the logged `propensity_score` (of the item at that position, used as it is). A click is
feedback; no click is silence, worth the default reward. Affinities can be had as kind "csv" with a mapping.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bondhu.errors import InvalidInput
from bondhu.log.importers.lines import Line
from bondhu.log.importers.mapping import ColumnMapping
from bondhu.log.importers.rows import read_csv

FIELDS = ("user_feature_0", "user_feature_1", "user_feature_2", "user_feature_3", "position")
COLUMNS = ColumnMapping(
    action="item_id",
    probability="propensity_score",
    time="timestamp",
    signals={"click": "click"},
    context={field: field for field in FIELDS},
)
POLICIES = ("random", "bts")


def read(path: Path) -> Iterator[Line]:
    """The impressions of one campaign's CSV."""
    policy = path.resolve().parent.parent.name
    version = policy if policy in POLICIES else "imported"
    for line in read_csv(path, COLUMNS):
        if line.row is None:
            yield line
        else:
            clicks = tuple(signal for signal in line.row.signals if signal[1] != 0)
            row = line.row._replace(action=f"item_{line.row.action}", signals=clicks, version=version)
            yield line._replace(row=row)


def campaign(path: Path) -> Path:
    """The CSV of impressions in a campaign's folder, or the CSV itself."""
    if path.is_file():
        return path
    found = sorted(each for each in path.rglob("*.csv") if each.name != "item_context.csv")
    if len(found) != 1:
        choices = ", ".join(str(each.parent.relative_to(path)) for each in found)
        raise InvalidInput(
            f"{path} holds {len(found)} campaigns, not one.",
            field="path",
            value=str(path),
            fix=f"Name one of {choices}." if found else "Name a folder such as random/men.",
        )
    return found[0]


def both_policies(path: Path) -> list[Path]:
    """This CSV and that of the same campaign under the other policy: one declaration should fit both."""
    others = [path.parent.parent.parent / policy / path.parent.name / path.name for policy in POLICIES]
    return [path, *(other for other in others if other.is_file() and not other.samefile(path))]
