"""Keeps on disk what JAX compiles, so that a process starts with what an earlier one has compiled.

JAX names each entry by the program and the compiler. A processor that lacks what another one has must not find what was
compiled there, so the folder is named by the processor as well. It lies beside this file in `__pycache__`; where that
cannot be written, in the user's cache; where neither can, nothing is kept. Who has told JAX of a folder keeps theirs.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import Any

import jax

SHORTEST = 0.1  # seconds of compilation below which keeping costs more than it saves
PLACES = (Path(__file__).parents[1] / "__pycache__", Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))


def keep(places: tuple[Path, ...] = PLACES) -> Path | None:
    """Have JAX keep what it compiles in the first of these places that can be written; None where it keeps nothing of
    ours. Before the first compilation."""
    settings: Any = jax.config  # it makes its names when it is loaded
    if settings.jax_compilation_cache_dir is not None:
        return None
    folder = next(filter(None, (_made(place.expanduser() / f"bondhu-jax-{_processor()}") for place in places)), None)
    if folder is not None:
        settings.update("jax_compilation_cache_dir", str(folder))
        settings.update("jax_persistent_cache_min_compile_time_secs", SHORTEST)
    return folder


def _made(folder: Path) -> Path | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def _processor() -> str:
    """Eight hexadecimal digits of what this processor can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    told = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return hashlib.sha256("\n".join((platform.machine(), platform.processor(), *sorted(told))).encode()).hexdigest()[:8]
