"""Arrows point one way: who may import whom, as docs/architecture.md draws it."""

from __future__ import annotations

import subprocess
import sys

from tests.house.source import PACKAGE, imports, modules, name_of

LEVELS = {
    "types": 0, "errors": 0, "ports": 0, "catalogue": 0, "compiled": 0,
    "equations": 1,
    "policies": 2, "sandbox": 2,
    "learners": 3, "evaluate": 3, "domains": 3, "envs": 3, "log": 3, "registry": 3, "experiments": 3, "access": 3,
    "privacy": 3,
    "serve": 4, "train": 4, "release": 4, "watch": 4,
    "schedule": 5, "monitor": 5, "settings": 5, "report": 5,
    "client": 6, "dashboard": 6, "runs": 6, "agents": 6, "streams": 6, "server": 6, "app": 6, "wiring": 6, "cli": 6,
    "demo": 6, "screen": 6,
    # The recommendation system's own face is an application of the whole house (docs/decisions/0002).
    "domains.recommendation.agent": 6, "domains.recommendation.orchestrator": 6,
}  # fmt: skip
BESIDE = {3: "no other room of its level", 4: "no other room of its level"}


def level(module: str) -> int:
    return LEVELS.get(module, LEVELS.get(module.split(".", maxsplit=1)[0], 6))


def room(module: str) -> str:
    return module if module in LEVELS else module.split(".", maxsplit=1)[0]


def test_imports_point_downwards() -> None:
    upward = [
        f"{name_of(path)} (level {level(name_of(path))}) imports {other} (level {level(other)})"
        for path in modules()
        for other in imports(path)
        if other and level(other) > level(name_of(path))
    ]
    assert upward == []


def test_rooms_of_one_level_do_not_import_each_other() -> None:
    sideways = [
        f"{name_of(path)} imports {other}"
        for path in modules()
        for other in imports(path)
        if other
        and level(other) == level(name_of(path))
        and level(other) in BESIDE
        and room(other) != room(name_of(path))
    ]
    assert sideways == []


def test_schedule_monitor_and_settings_import_only_nouns() -> None:
    for path in modules():
        if level(name_of(path)) == 5:
            own = room(name_of(path))
            others = {other for other in imports(path) if room(other) != own}
            assert {level(other) for other in others if other} <= {0}, name_of(path)


def test_no_algorithm_imports_another_algorithm() -> None:
    for room_ in ("learners", "evaluate"):
        for path in (PACKAGE / room_).rglob("*.py"):
            others = {other for other in imports(path) if other.count(".") == 2 and other.startswith(f"{room_}.")}
            assert others <= {name_of(path)}, name_of(path)


def test_there_is_no_import_cycle() -> None:
    graph = {name_of(path): {other for other in imports(path) if other} for path in modules()}
    finished: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module in finished:
            return
        for other in graph.get(module, ()):
            visit(other, (*above, module))
        finished.add(module)

    for module in graph:
        visit(module, ())
    assert finished >= set(graph)


def test_importing_bondhu_loads_nothing_heavy() -> None:
    heavy = ["numba", "jax", "torch", "ray", "mlflow", "gymnasium", "fastapi", "matplotlib", "pyarrow"]
    code = f"import bondhu, sys; print([name for name in {heavy!r} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
