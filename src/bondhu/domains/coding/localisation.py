"""Which lines are under suspicion: spectrum-based fault localisation, from what tests executed and whether they passed.

With ef and ep the failing and passing tests that executed a line, nf and np those that did not:

- Ochiai: ef / √((ef + nf)·(ef + ep)) (Abreu, Zoeteweij and van Gemund 2007, https://doi.org/10.1109/TAIC.PART.2007.13)
- Tarantula: (ef/F) / (ef/F + ep/P) (Jones and Harrold 2005, https://doi.org/10.1145/1101908.1101949)
- DStar: ef² / (ep + nf) (Wong et al. 2014, https://doi.org/10.1109/TR.2013.2285319)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, sqrt

from bondhu.errors import InvalidInput

Formula = Callable[[int, int, int, int], float]  # ef, ep, failing tests, passing tests


def ochiai(failed: int, passed: int, failing: int, passing: int) -> float:  # noqa: ARG001 - formulas are called alike
    """Between 0 and 1; 1 if exactly the failing tests executed the line."""
    return failed / sqrt(failing * (failed + passed)) if failed else 0.0


def tarantula(failed: int, passed: int, failing: int, passing: int) -> float:
    """Between 0 and 1; without passing tests 1 for every line that a failing one executed."""
    if not failed:
        return 0.0
    share = failed / failing
    return share / (share + (passed / passing if passing else 0.0))


def dstar(failed: int, passed: int, failing: int, passing: int) -> float:  # noqa: ARG001 - formulas are called alike
    """From 0; infinite if exactly the failing tests executed the line. The star is 2, as in the paper's comparison."""
    if not failed:
        return 0.0
    rest = passed + failing - failed
    return failed**2 / rest if rest else inf


def suspicion(
    lines: Sequence[frozenset[int]], passed: Sequence[bool], formula: Formula = ochiai, raised: Sequence[int] = ()
) -> Mapping[int, float]:
    """For every line that a test executed, how much is to be said for a fault there; highest first, ties by line.

    `lines[t]` are those that test t executed, `raised[t]` the line at which it raised, 0 if it did not or none is
    known. A test that raised counts as one more failing test that executed this line alone. Without failing tests all
    are 0; a test without lines (it was not reached, or not traced) is left out; without any lines there are none.
    """
    if len(lines) != len(passed) or (raised and len(raised) != len(passed)):
        raise InvalidInput(
            f"{len(lines)} sets of lines and {len(raised)} lines of errors do not fit {len(passed)} tests.",
            field="lines", value=len(lines), fix="Give one of each for every test.",
        )  # fmt: skip
    runs = [(each, good) for each, good in zip(lines, passed, strict=True) if each]
    runs += [(frozenset({at}), False) for at, good in zip(raised, passed, strict=False) if at and not good]
    failing = sum(not good for _, good in runs)
    passing = len(runs) - failing
    counts: dict[int, list[int]] = {}
    for each, good in runs:
        for line in each:
            counts.setdefault(line, [0, 0])[good] += 1
    found = {line: formula(failed, fine, failing, passing) for line, (failed, fine) in counts.items()}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
