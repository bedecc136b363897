"""What is used for contextual bandits today, on the same tables and shuffles, each in its own best form.

Vowpal Wabbit turns a table into decisions by itself (`--cbify`, then `--cb_explore_adf`): its C++ reads a file, so that
no Python is in its way. MABWiser is driven row by row. Settings are chosen in hindsight, for each table, by the very
losses that are reported: the comparison is generous to both.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.tables import Table

Loss = Callable[[int], float]  # the number of a shuffle to the share of mistakes


@dataclass(frozen=True)
class Best:
    """The best setting of a peer on one table."""

    setting: str
    losses: list[float]  # of each shuffle

    @property
    def loss(self) -> float:
        return float(np.mean(self.losses))


def chosen(settings: Iterable[tuple[str, Loss]], shuffles: int, *, screened: int, kept: int) -> Best:
    """All settings on the first `screened` shuffles, the best `kept` on all of them, and the best of those."""
    first = [(_mean(loss, range(screened)), name, loss) for name, loss in settings]
    last = sorted(first, key=lambda each: each[0])[:kept]
    runs = [Best(name, [loss(each) for each in range(shuffles)]) for _, name, loss in last]
    return min(runs, key=lambda run: run.loss)


def _mean(loss: Loss, shuffles: Iterable[int]) -> float:
    return float(np.mean([loss(each) for each in shuffles]))


# ---------------------------------------------------------------------------------------------------------------- VW

EXPLORATION = (
    *("--epsilon 0", "--epsilon 0.02", "--epsilon 0.05", "--epsilon 0.02 --cb_type dr"),
    *("--squarecb", "--squarecb --gamma_scale 100 --gamma_exponent 0.5"),
    *(f"--squarecb --gamma_scale 1000 --gamma_exponent {exponent}" for exponent in (0.25, 0.5)),
    *(f"--{kind} --mellowness {mellowness}" for kind in ("regcb", "regcbopt") for mellowness in (0.1, 0.001)),
    *("--bag 5", "--bag 5 --greedify --epsilon 0", "--bag 10 --greedify --epsilon 0"),
    *("--cover 4", "--cover 4 --nounif --psi 0.01", "--cover 8 --nounif --psi 0.1"),
    "--cover 4 --nounif --psi 0.01 --cb_type dr",
)
PROBES = ("--epsilon 0.02", "--squarecb --gamma_scale 1000 --gamma_exponent 0.5", "--regcbopt --mellowness 0.001",
          "--bag 5 --greedify --epsilon 0", "--cover 8 --nounif --psi 0.1")  # fmt: skip
SCALES, CROSSED, COSTS = ("raw", "standardised"), ("", "-q ::"), ("", "--loss0 -1 --loss1 0")
RATES = ("-l 0.1", "-l 0.5", "-l 2", "-l 8")


def vowpal_wabbit(table: Table, shuffles: int, folder: Path, *, quick: bool) -> Best:
    """The best of its explorations, each with the forms and learning rates that suit the table best."""
    forms = list(product(SCALES, CROSSED, COSTS, RATES[1:2] if quick else RATES))
    probes = PROBES[1:2] if quick else PROBES
    first = range(1 if quick else 2)
    losses = {form: min(_mean(_cbified(table, folder, form, probe), first) for probe in probes) for form in forms}
    good = sorted(forms, key=lambda form: losses[form])[: 1 if quick else 4]
    settings = [(" ".join((*form, each)), _cbified(table, folder, form, each)) for form in good for each in EXPLORATION]
    return chosen(settings, shuffles, screened=1 if quick else 3, kept=2 if quick else 8)


def _cbified(table: Table, folder: Path, form: Sequence[str], exploration: str) -> Loss:
    from vowpalwabbit import Workspace

    scale, crossed, costs, rate = form

    def loss(shuffle: int) -> float:
        file = _written(table, folder, scale, shuffle)
        options = f"--cbify {table.actions} --cb_explore_adf {exploration} {crossed} {costs} {rate}"
        workspace = Workspace(f"{options} -d {file} --quiet --random_seed {shuffle + 1} -b 20")
        mistakes: float = workspace.get_sum_loss() / workspace.get_weighted_examples()  # whatever the costs are
        workspace.finish()
        return mistakes

    return loss


def _written(table: Table, folder: Path, scale: str, shuffle: int) -> Path:
    file = folder / f"{table.name.replace(' ', '_')}.{scale}.{shuffle}"
    if not file.exists():
        features = table.features if scale == "raw" else table.standardised
        lines = []
        for row in table.order(shuffle):
            there = np.flatnonzero(features[row])
            named = " ".join(f"f{column}:{features[row, column]:.7g}" for column in there)
            lines.append(f"{table.label[row] + 1} |s {named}\n")
        file.write_text("".join(lines), encoding="utf-8")
    return file


# ----------------------------------------------------------------------------------------------------------- MABWiser

FIRST = 10  # rows after which a neighbourhood of MABWiser can be fitted


def mabwiser(table: Table, shuffles: int, rows: int, *, quick: bool) -> Best:
    """The best of its policies on the first `rows` of each shuffle."""
    policies = _policies()
    names = [name for name in policies if name.startswith("Lin")] if quick else list(policies)
    forms = list(product(SCALES, names))
    screen = {form: _driven(table, *form, min(rows, 300))(0) for form in forms}
    good = sorted(forms, key=lambda form: screen[form])[: 2 if quick else 5]
    settings = [(" ".join(form), _driven(table, *form, rows)) for form in good]
    return chosen(settings, shuffles, screened=1 if quick else 2, kept=1 if quick else 2)


def _policies() -> dict[str, tuple[object, object]]:
    from mabwiser.mab import LearningPolicy as Learning
    from mabwiser.mab import NeighborhoodPolicy as Near

    greedy = Learning.EpsilonGreedy(epsilon=0.05)
    found: dict[str, tuple[object, object]] = {}
    for alpha, penalty in product((0.1, 0.5, 1.0), (0.1, 1.0)):
        found[f"LinUCB alpha={alpha} l2={penalty}"] = Learning.LinUCB(alpha=alpha, l2_lambda=penalty), None
    for alpha in (0.1, 0.5):
        found[f"LinTS alpha={alpha}"] = Learning.LinTS(alpha=alpha), None
    found["LinGreedy epsilon=0.05"] = Learning.LinGreedy(epsilon=0.05), None
    found["Tree epsilon=0.05"] = greedy, Near.TreeBandit()
    found["KNearest 3 epsilon=0.05"] = greedy, Near.KNearest(3)
    found["Clusters 4 epsilon=0.05"] = greedy, Near.Clusters(4, is_minibatch=True)
    return found


def _driven(table: Table, scale: str, name: str, rows: int) -> Loss:
    from mabwiser.mab import MAB

    learning, near = _policies()[name]
    contexts = table.features if scale == "raw" else table.standardised
    contexts = np.hstack([contexts, np.ones((len(contexts), 1))]) if name.startswith("Lin") else contexts

    def loss(shuffle: int) -> float:
        order, rng = table.order(shuffle)[:rows], np.random.default_rng(shuffle)
        seen, label = contexts[order], table.label[order]
        bandit = MAB(list(range(table.actions)), learning, near, seed=shuffle)
        action = rng.integers(table.actions, size=len(order))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of clusters with too few rows
            bandit.fit(action[:FIRST], (action == label)[:FIRST].astype(float), seen[:FIRST])
            for t in range(FIRST, len(order)):
                action[t] = bandit.predict(seen[t : t + 1])
                bandit.partial_fit(action[t : t + 1], np.array([float(action[t] == label[t])]), seen[t : t + 1])
        return float((action != label).mean())

    return loss
