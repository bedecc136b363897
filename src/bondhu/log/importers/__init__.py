"""Logs made elsewhere, read row by row into decisions and feedback, with a report of what was refused and why.

source = open_source("log.csv", domain)
for chunk in source.chunks():
    log.append(chunk.decisions, chunk.feedback)
print(source.report)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from bondhu.log.importers.kinds import KINDS, kind_of
from bondhu.log.importers.lines import Line, existing
from bondhu.log.importers.mapping import ColumnMapping
from bondhu.log.importers.open_bandit import both_policies, campaign
from bondhu.log.importers.report import ImportReport, Refusal
from bondhu.log.importers.source import SESSION_SIGNALS, Format, Imported, Source
from bondhu.log.importers.suggest import suggest, to_toml
from bondhu.ports import Domain

__all__ = [
    "KINDS",
    "ColumnMapping",
    "ImportReport",
    "Imported",
    "Refusal",
    "Source",
    "open_source",
    "suggest_domain",
    "to_toml",
]


def open_source(
    path: Path | str,
    domain: Domain,
    kind: str | None = None,
    mapping: ColumnMapping | None = None,
    *,
    start: float = 0.0,
    strict: bool = False,
) -> Source:
    """The log at `path`, to be imported into the domain. Rows without a time are a second apart from `start` on; where
    it is `strict`, one refused row refuses them all."""
    name, path = _located(path, kind)
    mapping = mapping or ColumnMapping()
    if KINDS[name].mapped:
        mapping = _declared(mapping, domain)
    read = partial(KINDS[name].read, path, mapping)
    return Source(path, domain, Format(read, KINDS[name].sparse, start, mapping.delay), strict=strict)


def suggest_domain(path: Path | str, kind: str | None = None, mapping: ColumnMapping | None = None) -> dict[str, Any]:
    """The tables of a bondhu.toml that fit this log; of an Open Bandit campaign, both of its policies."""
    name, path = _located(path, kind)
    mapping = mapping or ColumnMapping()
    format = KINDS[name]
    paths = both_policies(path) if name == "open_bandit" else [path]
    lines: Iterator[Line] = chain.from_iterable(format.read(each, mapping) for each in paths)
    title = path.name.partition(".")[0]
    return suggest(title, lines, mapping.delay, typed=format.typed, sparse=format.sparse)


def _located(path: Path | str, kind: str | None) -> tuple[str, Path]:
    path = existing(path)
    name = kind_of(path, kind)
    return name, campaign(path) if name == "open_bandit" else path


def _declared(mapping: ColumnMapping, domain: Domain) -> ColumnMapping:
    """The domain says which columns to look for where the mapping does not."""
    fields = domain.describe().get("fields")
    names = None if fields is None else tuple(each["name"] for each in fields)
    return replace(mapping, fields=names, worth=(*domain.reward.signals, *SESSION_SIGNALS))
