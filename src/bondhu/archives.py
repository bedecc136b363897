"""What stands in the archive of a deployment, or in a folder it was exported to: read back, and without a person."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from bondhu.app import App
from bondhu.log.archive import erase_archived
from bondhu.log.moving import TRANSCRIPTS, without_transcripts
from bondhu.log.parquet import Pair, domain_of, facts_of, flush, pairs_of, write_facts
from bondhu.ports import Facts
from bondhu.privacy.persons import Whose, theirs
from bondhu.types import Decision


def archive(app: App) -> list[Pair]:
    """The pairs of files of this deployment's archive, in order of arrival."""
    folder = app.settings.path(app.settings.store.archive)
    there = pairs_of(folder) if any(folder.glob("*decisions.parquet")) else []
    return [each for each in there if domain_of(each) == app.domain.name]


def archived(app: App, start: float, end: float) -> Iterator[Facts]:
    """Archived decisions with start <= time < end, and what was said of them."""
    for pair in archive(app):
        first, last = span(pair)
        if last < start or first >= end:
            continue
        for piece in facts_of(pair.decisions):
            made = [each for each in piece.decisions if start <= each.time < end]
            ids = {each.id for each in made}
            yield Facts(made, [each for each in piece.feedback if each.decision_id in ids])


def span(pair: Pair) -> tuple[float, float]:
    """Times of the first and the last decision, as the file knows them without being read; seconds."""
    import pyarrow.parquet as pq

    about = pq.read_metadata(pair.decisions)
    place = about.schema.to_arrow_schema().names.index("time")
    groups = [about.row_group(number).column(place).statistics for number in range(about.num_row_groups)]
    if not all(each is not None and each.has_min_max for each in groups):
        return float("-inf"), float("inf")
    return min((each.min for each in groups), default=0.0), max((each.max for each in groups), default=0.0)


def times_of(pair: Pair, names: Collection[str]) -> list[float]:
    """When the person with these names decided, according to a pair; seconds."""
    asked = theirs(names, (Whose(each.user, each.session) for each in _decisions(pair)))
    return [each.time for each in _decisions(pair) if asked(Whose(each.user, each.session))]


def erase_from_archive(app: App, names: Collection[str]) -> int:
    """Take a person out of the archive, and out of the log what waits there for their archived decisions; how many
    decisions are gone. Whoever calls holds `app.stores.alone("archive")`."""
    folder = app.settings.path(app.settings.store.archive)
    return sum(len(erase_archived(folder, app.domain.name, name, app.log).decisions) for name in names)


def without(pair: Pair, names: Collection[str]) -> int:
    """Rewrite a pair, and the transcripts beside it, without the person with these names; how many decisions are
    gone."""
    asked = theirs(names, (Whose(each.user, each.session) for each in _decisions(pair)))
    gone = {each.id for each in _decisions(pair) if asked(Whose(each.user, each.session))}
    if not gone:
        return 0
    without_transcripts(pair.decisions.with_name(TRANSCRIPTS), gone)  # first: cut off, whose they are is still known
    aside = Pair(*(each.with_name(f"{each.name}.part") for each in pair))
    write_facts(_others(pair, gone), aside, domain_of(pair))
    for old, new in reversed(list(zip(pair, aside, strict=True))):  # cut off in between, the decisions are found again
        new.replace(old)
    flush(pair.decisions.parent)
    return len(gone)


def _decisions(pair: Pair) -> Iterator[Decision]:
    return (each for piece in facts_of(pair.decisions) for each in piece.decisions)


def _others(pair: Pair, gone: Collection[str]) -> Iterator[Facts]:
    for piece in facts_of(pair.decisions):
        made = [each for each in piece.decisions if each.id not in gone]
        yield Facts(made, [each for each in piece.feedback if each.decision_id not in gone])
