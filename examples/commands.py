"""What the examples share: commands as a reader would type them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bondhu import screen


def command(*words: str, folder: Path) -> None:
    """Show a command of `bondhu` and what it prints; SystemExit where it fails."""
    screen.say(f"$ bondhu {' '.join(words)}")
    made = [sys.executable, "-m", "bondhu", *words]
    done = subprocess.run(made, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  # it is ours
    screen.console.print(done.stdout + done.stderr, markup=False, soft_wrap=True)
    if done.returncode:
        raise SystemExit(done.returncode)
