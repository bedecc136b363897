"""Writes conversations as a folder of training records, with a card that says what was left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bondhu import learners
from bondhu.app import App
from bondhu.corpora import card
from bondhu.corpora.kinds import KINDS, Made, Row, added
from bondhu.corpora.splits import SEVERAL, TEST, TRAIN, persons, split
from bondhu.corpora.turns import Turn, read_turns
from bondhu.corpora.wanted import Exported, Wanted
from bondhu.erasing import note_export
from bondhu.errors import InvalidInput, UnknownName, nearest
from bondhu.log.checks import encode_lines
from bondhu.log.moving import made_aside
from bondhu.log.parquet import flush

FACTOR = 0.9  # what a turn later is worth, where the learner has no discount factor of its own


@dataclass
class Corpus:
    """The records of one export, by split, before they are written."""

    turns: Sequence[Turn]
    parts: Mapping[str, Made]
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def exported(self) -> Exported:
        rows = {name: len(part.rows) for name, part in self.parts.items()}
        used = sum(part.used for part in self.parts.values())
        return Exported(len(self.turns), rows, used, self.left_out)


def export_training(app: App, wanted: Wanted, folder: Path) -> Exported:
    """Write a new folder, there whole or not at all: a file a split, and README.md. Where the files went is noted, so
    that an erasure takes people out of them."""
    _check(wanted)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = f"{folder} is there already."
        raise InvalidInput(what, field="path", value=str(folder), fix="Name a new folder.")
    factor = discount(app)
    turns = read_turns(app.log, app.transcripts, app.domain.name, app.domain.reward, wanted.since)
    corpus = gathered(turns, wanted, factor)
    files = {name: f"{name}.{wanted.form}" for name, part in corpus.parts.items() if part.rows}
    with made_aside(folder) as aside:
        for name, file in files.items():
            FORMS[wanted.form](corpus.parts[name].rows, aside / file)
            flush(aside / file)
        text = card.written(app, wanted, corpus.exported, corpus.turns, (files, factor))
        (aside / "README.md").write_text(text, encoding="utf-8")
        flush(aside / "README.md")
    for name, file in files.items():
        note_export(app, folder / file, len(corpus.parts[name].rows))
    return corpus.exported


def gathered(turns: Sequence[Turn], wanted: Wanted, factor: float) -> Corpus:
    """The records of each split, made of the turns of its people alone."""
    owners = persons(turns)
    alone = [(turn, owner) for turn, owner in zip(turns, owners, strict=True) if owner is not None]
    places = split([owner for _, owner in alone], wanted.test)
    make = KINDS[wanted.kind]
    parts = {
        name: make([turn for (turn, _), place in zip(alone, places, strict=True) if place == name], factor)
        for name in (TRAIN, TEST)
    }
    several = Counter({SEVERAL: len(turns) - len(alone)})
    return Corpus(turns, parts, +added([several, *(part.left_out for part in parts.values())]))


def discount(app: App) -> float:
    """The learner's discount factor, if it has one."""
    chosen = app.settings.learner
    return float(learners.plain(learners.build(chosen.name, chosen.hyperparameters)).get("discount", FACTOR))


def _check(wanted: Wanted) -> None:
    for field_, value, known in (("kind", wanted.kind, KINDS), ("format", wanted.form, FORMS)):
        if value not in known:
            what = f"There is no {field_} {value!r}."
            raise UnknownName(what, field=field_, value=value, fix=nearest(value, known))
    if not 0 <= wanted.test < 1:
        fix = "Give a share from 0 to less than 1."
        raise InvalidInput(f"The test split got {wanted.test:g}.", field="test", value=wanted.test, fix=fix)


def _jsonl(rows: Sequence[Row], path: Path) -> None:
    path.touch(mode=0o600)  # people are in it
    path.write_bytes(encode_lines(rows))


def _parquet(rows: Sequence[Row], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.touch(mode=0o600)
    pq.write_table(pa.Table.from_pylist(list(rows)), path, compression="zstd")


FORMS: Mapping[str, Callable[[Sequence[Any], Path], None]] = {"jsonl": _jsonl, "parquet": _parquet}
