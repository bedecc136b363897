"""Runs the service of a deployment: in one process, or in several under a supervisor."""

from __future__ import annotations

from bondhu.server.assembly import make_asgi
from bondhu.server.running import serve
from bondhu.server.scheduling import make_scheduler
from bondhu.server.sockets import listening

__all__ = ["listening", "make_asgi", "make_scheduler", "serve"]
