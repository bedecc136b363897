"""Small right programs to play games about."""

from __future__ import annotations

from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import Judge, assertions
from tests.coding.inside import Inside

POSITIVES = """\
def positives(values):
    count = 0
    for value in values:
        if value > 0:
            count += 1
    return count
"""
LARGEST = """\
def largest(values):
    best = values[0]
    for value in values[1:]:
        if value > best:
            best = value
    return best
"""
PRICE = """\
def price(items, each, reduced):
    total = items * each
    if items >= 10 and not reduced:
        total = total - 5
    if total < 0:
        return 0
    return total + 2
"""
TESTS = {
    "positives": "assert positives([]) == 0\nassert positives([1, 2]) == 2\nassert positives([0, -3, 5]) == 1\n",
    "largest": "assert largest([3]) == 3\nassert largest([1, 4, 2]) == 4\nassert largest([-2, -5]) == -2\n",
    "price": "assert price(2, 3, False) == 8\nassert price(10, 3, False) == 27\nassert price(12, 1, True) == 14\n"
    "assert price(3, -4, True) == 0\n",
}


def right(name: str, source: str) -> Task:
    return Task(f"toy/{name}", name, "", source, assertions(TESTS[name], name), solution=source)


TASKS = (right("positives", POSITIVES), right("largest", LARGEST), right("price", PRICE))


def judge() -> Judge:
    """Of harmless programs, in this process; endless loops end soon."""
    return Judge(Inside(steps=2_000))
