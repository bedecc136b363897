"""Tables of classification as problems of decisions: a row is a context, a class an action, a hit earns 1.

From the shared data (UCI: BONDHU_DATA names the folder that holds `uci_multiclass`) and those that scikit-learn brings.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from bondhu.types import Booleans, Floats, Integers

DATA = Path(os.environ.get("BONDHU_DATA", Path(__file__).parents[2] / "shared" / "data")) / "uci_multiclass"
MOST = 5_000  # rows of a table, drawn anew in each shuffle
Rows = list[list[str]]


@dataclass(frozen=True)
class Table:
    """Contexts and the right action of each."""

    name: str
    features: Floats  # [N, F] numbers as they are, categories one-hot
    categorical: Booleans  # [F]
    label: Integers  # [N]

    @property
    def actions(self) -> int:
        return int(self.label.max()) + 1

    def order(self, shuffle: int) -> Integers:
        """The rows in an order that depends on the table and the number of the shuffle alone."""
        rng = np.random.default_rng([shuffle, crc32(self.name.encode())])
        return rng.permutation(len(self.label))[:MOST]

    @property
    def standardised(self) -> Floats:
        """Numbers less their mean over their deviation, over the whole table: what no learner on-line could know."""
        spread = self.features.std(axis=0)
        scaled = (self.features - self.features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        return np.where(self.categorical, self.features, scaled)


def tables() -> Iterator[Table]:
    """Every table that is there; prints what is not, and why."""
    if DATA.exists():
        yield from _uci()
    else:
        print(f"No UCI tables: there is no {DATA}; BONDHU_DATA names the folder that holds uci_multiclass.")
    try:
        from sklearn import datasets
    except ImportError:
        print("No bundled tables: scikit-learn is not installed.")
        return
    for name in ("iris", "wine", "breast_cancer", "digits"):
        bundled = getattr(datasets, f"load_{name}")()
        features = np.asarray(bundled.data, np.float64)
        yield Table(name, features, np.zeros(features.shape[1], np.bool_), np.asarray(bundled.target, np.int64))


def _uci() -> Iterator[Table]:
    for name in ("ecoli", "glass", "new-thyroid", "wheat-seeds"):
        rows = _read(f"jbrownlee/{name}.csv", ",")
        yield _table(name, rows, range(len(rows[0]) - 1), [], [row[-1] for row in rows])
    rows = _read("agaricus-lepiota.data", ",")
    yield _table("mushroom", rows, [], range(1, 23), [row[0] for row in rows])
    rows = _read("loremo/abalone.data", ",")
    rings = [int(row[8]) for row in rows]
    yield _table("abalone, rings", rows, range(1, 8), [0], [f"{ring:02d}" for ring in rings])
    yield _table("abalone, 3 ages", rows, range(1, 8), [0], [str((ring > 8) + (ring > 10)) for ring in rings])
    rows = _read("loremo/cmc.data", ",")
    yield _table("cmc", rows, [0, 3], [1, 2, 4, 5, 6, 7, 8], [row[9] for row in rows])
    for name, file, mark, first, last in (
        ("page-blocks", "page-blocks.txt", ",", 0, 10), ("segment", "segment.dat", None, 0, -1),
        ("vowel", "vowel-context.data", None, 3, 13), ("waveform", "waveform.data", ",", 0, 21),
        ("yeast", "yeast.txt", ",", 0, 8),
    ):  # fmt: skip
        rows = _read(f"loremo/{file}", mark)
        end = last % len(rows[0])
        yield _table(name, rows, range(first, end), [], [row[end] for row in rows])


def _read(file: str, mark: str | None) -> Rows:
    lines = (DATA / file).read_text(encoding="utf-8").splitlines()
    return [line.strip().split(mark) for line in lines if line.strip()]


def _table(name: str, rows: Rows, numbers: Sequence[int], categories: Sequence[int], labels: Sequence[str]) -> Table:
    columns = [np.array([[float(row[column])] for row in rows]) for column in numbers]
    hot = [_hot([row[column] for row in rows]) for column in categories]
    categorical = np.repeat([False, True], [len(columns), sum(each.shape[1] for each in hot)])
    label = np.unique([label.strip() for label in labels], return_inverse=True)[1]
    return Table(name, np.hstack([*columns, *hot]), categorical, label.astype(np.int64))


def _hot(values: Sequence[str]) -> Floats:
    names, code = np.unique(values, return_inverse=True)
    return np.eye(len(names))[code]
