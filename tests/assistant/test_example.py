"""The example of the assistant, as somebody runs it: what people say of the answers changes how they are answered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bondhu.app import open_app
from bondhu.settings import load
from examples.assistant import __main__ as example
from examples.assistant.people import ANSWERS, KINDS, STYLES, WANTED, Message, answer, judged
from examples.assistant.upstream import python_with_transformers

SHARES = re.compile(r"│ all +│ (first|second) +│ [\d,]+ +│ (\d+)%")


@pytest.mark.parametrize("kind", KINDS)
def test_people_accept_the_answer_they_want_about_the_thing_they_asked_for(kind: str) -> None:
    said = Message(kind, "parser", "")
    verdicts = {style: judged(said, answer(style, "parser")) for style in STYLES}
    assert [style for style in ANSWERS if verdicts[style] == "accept"] == [WANTED[kind]]
    assert judged(said, answer(WANTED[kind], "garden")) == "reject"


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.skipif(
    python_with_transformers() is None, reason="no Transformers: name a Python that has them in BONDHU_LLM_PYTHON"))],
    ids=["scripted", "transformers"])  # fmt: skip
def test_the_second_week_goes_better_and_everything_is_on_record(
    real: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bondhu.screen.console.width", 120)
    python = python_with_transformers() if real else None
    example.run(tmp_path, 1200, python, track=f"tensorboard:{tmp_path / 'board'}")
    printed = capsys.readouterr().out
    shares = {week: int(share) for week, share in SHARES.findall(printed)}
    assert shares["second"] >= shares["first"] + 40
    app = open_app(load(tmp_path))
    decision = re.findall(r"^Decision (\S+)", printed, re.MULTILINE)[-1]
    (transcript,) = app.transcripts.transcripts([decision])
    found = app.log.find(decision)
    assert found is not None
    assert found[0].version == app.live()
    assert {each.signal for each in found[1]} >= {"cost", "latency"}
    assert transcript.body["status"] == "answered"
    assert "Decided again: the same action with the same probability, bit for bit." in printed
    assert list((tmp_path / "board").rglob("events.out.tfevents.*"))
