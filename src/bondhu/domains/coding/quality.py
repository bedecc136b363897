"""How good a source is to read and to keep: readability and complexity (radon), style (ruff), security (bandit).

Sources are read as text and syntax trees, and never executed. Rules and limits are the ones written here: no
configuration file is read, and comments that silence a rule are not heard. Needs the extra `coding`.
"""

from __future__ import annotations

import ast
import json
import logging
import re
import subprocess
import tempfile
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

from bondhu.errors import InvalidInput

COMPLEX = 10  # paths through one function above which it is hard to test (McCabe 1976)
LONGEST_LINE = 120  # characters
RULES = "E,F,W,N,B,C4,SIM"  # pycodestyle, Pyflakes, pep8-naming, bugbear, comprehensions, simplify
LARGEST = 256 * 1024  # bytes of source, as in the sandbox
WEIGHT = {"LOW": 0.1, "MEDIUM": 0.5, "HIGH": 1.0, "UNDEFINED": 0.1}  # of a finding about security
WAIT = 60.0  # seconds for ruff to read a batch
KEPT = 4096  # sources whose quality is remembered
DECLARED = re.compile(r"\A((?:[^\r\n]*(?:\r\n|\r|\n))?[ \t\f]*#)[^\r\n]*coding[:=][^\r\n]*")
_RUFF = (
    *("check", "--isolated", "--no-cache", "--ignore-noqa", "--no-respect-gitignore", "--exit-zero", "--quiet"),
    *("--output-format", "json", "--target-version", "py311", "--select", RULES),
    *("--config", f"line-length = {LONGEST_LINE}", "--config", "exclude = []", "."),
)


@dataclass(frozen=True)
class Finding:
    """One thing to do better."""

    line: int  # 0: the whole source
    rule: str  # such as "F401", "B307" or "complexity"
    message: str


@dataclass(frozen=True)
class Quality:
    """Scores in [0, 1], 1 being best, and the findings behind them."""

    readability: float  # maintainability index / 100, without what it gives for comments
    complexity: float  # min(1, 10/paths) of the function with most paths
    style: float  # 1 - findings for each statement, not below 0
    security: float  # Π (1 - weight) over the findings
    findings: tuple[Finding, ...] = ()

    @property
    def scores(self) -> Mapping[str, float]:
        """The four by name."""
        names = ("readability", "complexity", "style", "security")
        return {name: getattr(self, name) for name in names}


class Reviewer:
    """Reviews sources, many in one call of ruff, and remembers what it has seen by content. Safe to use from several
    threads."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept, self._seen, self._lock = kept, OrderedDict[bytes, Quality](), Lock()

    def review(self, sources: Sequence[str]) -> list[Quality]:
        """The quality of each, in order; a source that does not parse scores 0. Raises InvalidInput without radon,
        ruff or bandit."""
        keys = [sha256(source.encode("utf-8", "surrogatepass")).digest() for source in sources]
        with self._lock:
            known = {key: self._seen[key] for key in keys if key in self._seen}
        fresh = {key: source for key, source in zip(keys, sources, strict=True) if key not in known}
        known |= zip(fresh, _reviewed(list(fresh.values())), strict=True)
        with self._lock:
            for key in keys:
                self._seen[key] = known[key]
                self._seen.move_to_end(key)
            while len(self._seen) > self._kept:
                self._seen.popitem(last=False)
        return [known[key] for key in keys]


def maintainability(volume: float, paths: int, statements: int) -> float:
    """(171 - 5.2·ln V - 0.23·G - 16.2·ln L)/171 in [0, 1]; V: Halstead volume (Coleman et al. 1994, without comments).

    The term for comments is left out: it can be had by padding.
    """
    return float(_library("radon.metrics").mi_compute(volume, paths, statements, 0)) / 100


def _reviewed(sources: list[str]) -> list[Quality]:
    if not sources:
        return []
    problems = [_problem(source) for source in sources]
    with tempfile.TemporaryDirectory(prefix="bondhu-") as name:
        folder = Path(name)
        files = [folder / f"s{number}.py" for number in range(len(sources))]
        for file, source, problem in zip(files, sources, problems, strict=True):
            if problem is None:
                file.write_text(_plain(source), encoding="utf-8", newline="")
        style, security = _style(folder), _security([str(file) for file in files if file.exists()])
    return [
        Quality(0.0, 0.0, 0.0, 0.0, (problem,))
        if problem
        else _measured(source, style.get(file.name, []), security.get(file.name))
        for file, source, problem in zip(files, sources, problems, strict=True)
    ]


def _plain(source: str) -> str:
    """Without a declaration of another encoding (PEP 263), in which the tools would read another program."""
    return DECLARED.sub(r"\1", DECLARED.sub(r"\1", source))  # it may stand in each of the first two lines


def _problem(source: str) -> Finding | None:
    """Why a source cannot be reviewed."""
    try:
        if len(source.encode("utf-8")) > LARGEST:
            return Finding(0, "invalid", f"It is longer than {LARGEST} bytes.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of an escape that is none: ruff says it
            ast.parse(source)
    except SyntaxError as error:
        return Finding(error.lineno or 0, "invalid", f"It does not parse: {error.msg}.")
    except UnicodeEncodeError:
        return Finding(0, "invalid", "It holds characters that cannot be written.")
    except (ValueError, RecursionError, MemoryError):
        return Finding(0, "invalid", "It does not parse: it holds null characters or is nested too deeply.")
    return None


def _measured(source: str, style: list[Finding], security: list[tuple[float, Finding]] | None) -> Quality:
    metrics, complexity = _library("radon.metrics"), _library("radon.complexity")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            volume, paths, statements, _ = metrics.mi_parameters(source)
            blocks = complexity.cc_visit(source)
    except (RecursionError, SyntaxError):  # of its own tokenizer: a source that no tool can read
        return Quality(0.0, 0.0, 0.0, 0.0, (Finding(0, "invalid", "It is nested too deeply."),))
    tangled = [
        Finding(each.lineno, "complexity", f"{each.name} has {each.complexity} paths; {COMPLEX} are easy to test.")
        for each in blocks
        if each.complexity > COMPLEX
    ]
    worst = max((each.complexity for each in blocks), default=1)
    unread = security is None
    risks = security or []
    if unread:
        risks = [(1.0, Finding(0, "security", "The scan for security did not come to an end."))]
    return Quality(
        maintainability(volume, paths, statements),
        min(1.0, COMPLEX / max(worst, 1)),
        max(0.0, 1.0 - len(style) / max(statements, 1)),
        prod((1.0 - weight for weight, _ in risks), start=1.0),
        tuple(sorted((*tangled, *style, *(finding for _, finding in risks)), key=lambda each: (each.line, each.rule))),
    )


def _style(folder: Path) -> dict[str, list[Finding]]:
    """File name to findings: one process for all files, which takes about 20 ms."""
    done = subprocess.run(  # noqa: S603 - our own arguments; the sources are data
        [_library("ruff").find_ruff_bin(), *_RUFF], cwd=folder, env={}, capture_output=True, timeout=WAIT, check=False
    )
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise InvalidInput(f"ruff ended with {done.returncode}: {said}", fix="Install ruff 0.11 or newer.")
    found: dict[str, list[Finding]] = {}
    for each in json.loads(done.stdout):
        finding = Finding(each["location"]["row"], str(each["code"]), each["message"])
        found.setdefault(Path(each["filename"]).name, []).append(finding)
    return found


def _security(files: list[str]) -> dict[str, list[tuple[float, Finding]]]:
    """File name to weighted findings; a file that bandit could not read is absent."""
    bandit = _library("bandit.core.manager")
    logging.getLogger("bandit").setLevel(logging.CRITICAL)  # it reports sources that it cannot read
    manager = bandit.BanditManager(_library("bandit.core.config").BanditConfig(), "file", quiet=True, ignore_nosec=True)
    manager.discover_files(files)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        manager.run_tests()
    found: dict[str, list[tuple[float, Finding]]] = {Path(name).name: [] for name in manager.files_list}
    for each in manager.get_issue_list():
        found[Path(each.fname).name].append((WEIGHT[each.severity], Finding(each.lineno, each.test_id, each.text)))
    return found


def _library(name: str) -> Any:
    """A module of the extra `coding`, loaded without what that does to the process: bandit sets its own format for
    warnings."""
    shown: Any = warnings.formatwarning
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(name)
    except ImportError as error:
        what = f"Quality needs {name.split('.', maxsplit=1)[0]}, which is not installed."
        raise InvalidInput(what, field="quality", fix="Install it: pip install 'bondhu[coding]'.") from error
    finally:
        warnings.formatwarning = shown
