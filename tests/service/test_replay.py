"""`bondhu replay ID`: a logged decision is decided again, bit for bit, whatever was trained and released since."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from bondhu import cli
from bondhu.app import open_app
from bondhu.log.importers import to_toml
from bondhu.serve.decide import Request, Said
from bondhu.settings import load
from tests.service.shop import CONTEXT, decider
from tests.service.stand import HOUR, Clock, tables

EVERYBODY = range(40)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A shop with decisions of its rule, of a version, and of another one that replaced it."""
    learner = {"learner": {"name": "bandit.linear_thompson"}, "exploration": {"rate": 0.2, "learner": True}}
    (tmp_path / "bondhu.toml").write_text(to_toml(tables(**learner)), encoding="utf-8")
    clock = Clock()
    app = open_app(load(tmp_path), now=clock)
    for turn in range(3):
        asked = [Request({"mood": ("happy", "sad")[age % 2], "age": age}, id=f"{turn}-{age}") for age in EVERYBODY]
        live = app.decider()
        made = live.decide_many(asked[:7]) + [live.decide(each) for each in asked[7:]]
        live.hear([Said(each.id, "like") for each in made if each.action == "blue"])
        clock.now += 2 * HOUR
        run = app.train(app.plan())
        if run.trained.version is not None:
            app.promote(run.trained.version.id, reason="test")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, shop: Path, identity: str) -> int:
    monkeypatch.chdir(shop)
    monkeypatch.setattr(sys, "argv", ["bondhu", "replay", identity])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_every_decision_comes_out_bit_for_bit_after_other_versions_in_another_process(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    again = open_app(load(shop)).decider()
    audits = [again.explain(f"{turn}-{age}") for turn in range(3) for age in EVERYBODY]
    assert len({each.decision["version"] for each in audits}) == 3
    assert len({each.decision["probability"] for each in audits}) > 10
    assert all(each.replayed for each in audits)
    assert run(monkeypatch, shop, "1-5") == 0
    told = capsys.readouterr().out
    assert "Decision 1-5" in told
    assert re.search(rf"probability\s+{audits[len(EVERYBODY) + 5].decision['probability']:.4g}\s", told)
    assert "the same action with the same probability, bit for bit" in told


def test_a_decision_that_does_not_come_out_the_same_ends_with_status_1(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = open_app(load(shop))
    made = app.decider().choose([Request(CONTEXT, id="forged")])[0]
    app.deployment.log.append([made._replace(probability=float(np.nextafter(made.probability, 0.0)))])
    assert run(monkeypatch, shop, "forged") == 1
    assert "does NOT come out the same" in capsys.readouterr().out
    assert run(monkeypatch, shop, "nobody") == 1
    assert "No decision 'nobody'" in capsys.readouterr().err


def test_what_an_apprentice_followed_or_explored_comes_out_the_same_too() -> None:
    one = decider(exploration=0.5)
    one.apprentice = True
    made = one.decide_many([Request(CONTEXT, default="green", allowed=["red", "green"]) for _ in range(40)])
    assert {each.action for each in made} == {"green", "red"}
    assert all(one.explain(each.id).replayed for each in made)
    other = {"red": "green", "green": "red"}
    forged = [each._replace(id=f"{each.id}-x", action=other[each.action]) for each in made]
    one.deployment.log.append(forged)
    assert not all(one.explain(each.id).replayed for each in forged)
