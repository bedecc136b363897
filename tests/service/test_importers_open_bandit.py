"""The Open Bandit Dataset: counts, sums and propensities agree with what the CSV files hold."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from bondhu.domains.declared import DeclaredDomain, from_table
from bondhu.errors import InvalidInput
from bondhu.log.importers import open_source, suggest_domain
from bondhu.log.importers.source import Imported

DATA = Path(os.environ.get("BONDHU_DATA", Path(__file__).parents[3] / "shared" / "data")) / "obd"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no Open Bandit Dataset at {DATA}")


@pytest.fixture(scope="module")
def men() -> DeclaredDomain:
    return from_table(suggest_domain(DATA / "random" / "men"))


def whole(folder: str, domain: DeclaredDomain) -> Imported:
    source = open_source(DATA / folder, domain)
    chunks = list(source.chunks())
    assert (source.report.read, source.report.refused, source.report.skipped.total()) == (10_000, 0, 0)
    decisions = [row for chunk in chunks for row in chunk.decisions]
    return Imported(decisions, [row for chunk in chunks for row in chunk.feedback], chunks[-1].done)


@pytest.mark.parametrize(
    ("folder", "clicks", "propensities", "weighted"),
    [
        ("random/men", 46, 294.11764705880245, 1564.0),
        ("bts/men", 69, 1635.9440317647084, 1022.9329512672043),
        ("random/all", 38, 125.00000000001985, 3040.0),
        ("bts/all", 42, 1088.6501399999975, 1887.7116134768028),
    ],
)
def test_every_impression_and_click_is_imported(folder: str, clicks: int, propensities: float, weighted: float) -> None:
    domain = from_table(suggest_domain(DATA / folder))
    found = whole(folder, domain)
    probability = {row.id: row.probability for row in found.decisions}
    assert len(probability) == 10_000
    assert len(found.feedback) == clicks
    assert {(row.signal, row.value) for row in found.feedback} == {("click", 1.0)}
    assert math.isclose(math.fsum(probability.values()), propensities, rel_tol=1e-12)
    assert math.isclose(sum(1 / probability[row.decision_id] for row in found.feedback), weighted, rel_tol=1e-12)


def test_a_row_holds_what_the_csv_says(men: DeclaredDomain) -> None:
    first = whole("random/men", men).decisions[0]
    assert (first.action, first.probability, first.time) == ("item_14", 0.029411764705882353, 1_574_553_793.442536)
    assert first.context["position"] == "3"
    assert first.context["user_feature_0"] == "cef3390ed299c09874189c387777674a"
    assert len(first.allowed) == 34
    assert (first.version, first.session) == ("random", first.id)


def test_one_declaration_fits_both_policies_of_a_campaign(men: DeclaredDomain) -> None:
    assert from_table(suggest_domain(DATA / "bts" / "men")) == men
    assert men.actions == tuple(f"item_{number}" for number in range(34))
    random, bts = whole("random/men", men), whole("bts/men", men)
    assert not {row.id for row in random.decisions} & {row.id for row in bts.decisions}
    assert {row.version for row in bts.decisions} == {"bts"}


def test_a_folder_of_several_campaigns_lists_them(men: DeclaredDomain) -> None:
    with pytest.raises(InvalidInput, match=r"holds 2 campaigns, not one. Name one of all, men"):
        open_source(DATA / "random", men)
