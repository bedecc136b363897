"""Versions of learners and the append-only history of which of them was live."""

from bondhu.registry.disk import DiskRegistry
from bondhu.registry.lifecycle import BASELINE, Standing, Step, Traffic, live, previous, traffic, versions
from bondhu.registry.memory import MemoryRegistry
from bondhu.registry.names import new_version_id

__all__ = [
    "BASELINE",
    "DiskRegistry",
    "MemoryRegistry",
    "Standing",
    "Step",
    "Traffic",
    "live",
    "new_version_id",
    "previous",
    "traffic",
    "versions",
]
