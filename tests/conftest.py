"""What every test may rely on: signals do what they do in a terminal."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Tests started in the background, or with nohup, were told to ignore these; so would be what they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
