"""Files, functions and folders stay small enough to read."""

from __future__ import annotations

from tests.house.source import PACKAGE, functions, lines, modules


def share_within(sizes: list[int], limit: int) -> float:
    return sum(size <= limit for size in sizes) / len(sizes)


def test_files_are_short() -> None:
    sizes = {path.name: len(path.read_text().splitlines()) for path in modules()}
    assert [name for name, size in sizes.items() if size > 400] == []
    assert share_within(list(sizes.values()), 250) >= 0.9


def test_functions_are_short() -> None:
    sizes = {f"{path.name}:{node.name}": lines(node) for path in modules() for node in functions(path)}
    assert [name for name, size in sizes.items() if size > 50] == []
    assert share_within(list(sizes.values()), 25) >= 0.9


def test_folders_are_at_most_two_deep() -> None:
    deepest = max(len(path.relative_to(PACKAGE).parts) - 1 for path in modules())
    assert deepest <= 2


def test_no_room_is_empty() -> None:
    for folder in {path.parent for path in modules()}:
        code = [path for path in folder.rglob("*.py") if path.read_text().strip()]
        assert code, f"{folder} holds no code"
