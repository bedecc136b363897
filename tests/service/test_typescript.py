"""The TypeScript client of a deployment: written from its document, checked by the compiler, run against a server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bondhu.client.typescript import type_of, written
from bondhu.serve.decide import Decider
from tests.documents import ROOT
from tests.service.shop import decider
from tests.service.test_server import Server
from tests.service.web import application

HERE = ROOT / "tests" / "typescript"
STRICT = ["--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "false", "--noUnusedLocals"]
TARGET = [
    "--target",
    "es2022",
    "--lib",
    "es2022,dom",
    "--module",
    "nodenext",
    "--moduleResolution",
    "nodenext",
    "--types",
    "node",
]


@pytest.fixture(scope="module")
def one() -> Decider:
    return decider()


@pytest.fixture(scope="module")
def address(one: Decider) -> Iterator[str]:
    with Server(application(one)) as url:
        yield url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiler in it."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not installed")
    made = tmp_path_factory.mktemp("typescript")
    for name in ("package.json", "package-lock.json", "exercise.ts"):
        shutil.copy(HERE / name, made)
    installed = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund"], check=False, cwd=made, capture_output=True, text=True
    )
    if installed.returncode:
        pytest.skip(f"The TypeScript compiler cannot be installed: {installed.stderr.strip()[-200:]}")
    return made


def test_the_client_compiles_strictly_and_works_against_a_live_server(address: str, folder: Path) -> None:
    document = httpx.get(f"{address}/openapi.json").json()
    (folder / "bondhu.ts").write_text(written(document), encoding="utf-8")
    compiled = subprocess.run(
        ["npx", "tsc", *STRICT, *TARGET, "bondhu.ts", "exercise.ts"],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert compiled.returncode == 0, compiled.stdout
    ran = subprocess.run(
        ["node", "exercise.js"],
        check=False,
        cwd=folder,
        env={**os.environ, "BONDHU": address},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "exercised\n"


def test_the_fields_of_the_domain_are_types(one: Decider, address: str) -> None:
    source = written(httpx.get(f"{address}/openapi.json").json())
    assert 'context: { mood: "happy" | "sad"; age: number };' in source
    assert "async decide(body: Request): Promise<Answer> {" in source
    assert "async decision(decisionId: string): Promise<Audit> {" in source


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "Array<string | null>"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "Record<string, number>"),
        ({"enum": ['a"b', "*/"]}, '"a\\"b" | "*/"'),
        ({"type": "object", "properties": {"a-b": {}}, "required": ["a-b"]}, '{ "a-b": unknown }'),
        ({"type": ["string", "null"]}, "string | null"),
    ],
)
def test_a_schema_becomes_a_type(shape: dict[str, object], expected: str) -> None:
    assert type_of(shape) == expected
