"""Everything the documentation shows is tried, as a reader would: top to bottom, each page in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from examples.assistant.upstream import scripted
from tests.documents import ROOT, SERVE, Block, Reader, blocks, documents, environment, free_port, targets
from tests.warm import warm

MODEL = "http://127.0.0.1:9000"  # where pages say that models answer
PAGES = {str(path.relative_to(ROOT)): path for path in documents()}
ELSEWHERE = (
    "make ",
    "python -m benchmarks",
    "python -m examples",
)  # tried by tests of their own, or by running this one


def left_to_others(block: Block) -> bool:
    return block.language == "bash" and all(
        line.startswith(ELSEWHERE) for line in block.body.splitlines() if line.strip() and not line.startswith("#")
    )


@pytest.fixture(scope="module")
def commands() -> Iterator[Path]:
    """Where the shells of all pages find `bondhu`, loaded once."""
    with warm(environment(0)) as folder:
        yield folder


@pytest.fixture(scope="module")
def models() -> Iterator[str]:
    """The address of language models, for pages whose reader has some."""
    with scripted() as address:
        yield address


@pytest.mark.parametrize("name", PAGES)
def test_everything_a_document_shows_works(
    name: str, commands: Path, models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [block for block in blocks(PAGES[name]) if block.why_not is None and not left_to_others(block)]
    reader = Reader(tmp_path, free_port(), commands)
    monkeypatch.chdir(tmp_path)
    if MODEL in PAGES[name].read_text(encoding="utf-8"):
        monkeypatch.setenv("BONDHU_UPSTREAMS__LOCAL__URL", models)
    monkeypatch.setenv("BONDHU_DIRECTORY", str(tmp_path))
    serves = next(
        (place for place, block in enumerate(shown) if SERVE.search(block.body) and block.language == "bash"),
        len(shown),
    )
    for block in shown[: serves + 1]:
        reader.try_out(block)
    with reader.serving() if serves < len(shown) else nullcontext():
        tried = [reader.try_out(block) for block in shown[serves + 1 :]]
    assert all(isinstance(printed, str) for printed in tried)


def test_a_command_loaded_before_does_what_the_installed_one_does(commands: Path, tmp_path: Path) -> None:
    installed = Path(sys.executable).parent
    told = {**environment(0), "BONDHU_DOMAIN__NAME": "café"}
    for words in (["init", "."], ["status"], ["status", "--no-such"]):
        done = []
        for place in (installed, commands):
            folder = tmp_path / place.name
            folder.mkdir(exist_ok=True)
            run = subprocess.run(
                [place / "bondhu", *words], cwd=folder, env=told, capture_output=True, text=True, check=False
            )
            done.append((run.returncode, run.stdout.replace(str(folder), ""), run.stderr.replace(str(folder), "")))
        assert done[0] == done[1]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    missing = [target for target in targets(PAGES[name]) if not (PAGES[name].parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("name", PAGES)
def test_make_targets_and_modules_that_documents_name_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for block in blocks(PAGES[name]):
        for line in block.body.splitlines() if block.language == "bash" else ():
            words = line.split()
            if words[:1] == ["make"]:
                assert f"\n{words[1]}:" in makefile, line
            if words[:2] == ["python", "-m"]:
                module = ROOT.joinpath(*words[2].split("."))
                assert (
                    module.with_suffix(".py").exists() or (module / "__main__.py").exists() or words[2] == "pytest"
                ), line


def test_continuous_integration_runs_what_the_readme_says() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert script.rstrip().endswith("exec make test")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
