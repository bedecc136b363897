"""What is kept of what people write: redacted, hashed or dropped, in the log as in transcripts, and in no message."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bondhu.serve.gateway import keepsakes
from bondhu.serve.gateway.keepsakes import LONGEST, SEAM, Keepsakes
from tests.gateway.place import LONG, Served, folder, served
from tests.gateway.scripted import Model, either, model, streamed, whole

SECRET = "Write to ann.smith@example.org about the zebra, key sk-abcdefghijklmnopqrstuvwx"
SALT = '[privacy]\nsalt = "a long and random salt"\n'


@pytest.fixture(scope="module")
def tiny() -> Iterator[Model]:
    with model() as made:
        yield made


def asked(tiny: Model, path: Path, gateway: str, more: str = "", **body: Any) -> tuple[Served, str]:
    tiny.plays(streamed("The zebra ", "of ann.smith@example.org."))
    with served(folder(path, {"local": tiny}, gateway=gateway, more=more)) as one:
        messages = [{"role": "system", "content": "zebra"}, {"role": "user", "content": SECRET}]
        _, events = one.events({"messages": messages, **body})
        one.post("/v1/chat/completions", {"messages": [{"role": "user", "content": SECRET, "x": float("1e3")}], "n": 9})
        identity = events[0]["id"]
        decision, _, kept = one.facts(identity)
        assert kept is not None
        return one, json.dumps([decision.context, kept.body])


def raw(path: Path) -> bytes:
    """Every byte of the store."""
    return b"".join(each.read_bytes() for each in sorted((path / "data").glob("log.sqlite*")))


def test_what_is_stored_is_redacted(tiny: Model, tmp_path: Path) -> None:
    _, text = asked(tiny, tmp_path, "")
    assert "zebra" in text
    assert "<email>" in text
    assert "example.org" not in text
    assert b"ann.smith" not in raw(tmp_path)
    assert b"sk-abcdef" not in raw(tmp_path)
    assert tiny.asked[0].body["messages"][1]["content"] == SECRET  # the model is asked what was asked


@pytest.mark.parametrize("how", ["hash", "drop"])
def test_no_word_is_stored(tiny: Model, tmp_path: Path, how: str) -> None:
    _, text = asked(tiny, tmp_path, f'prompt = "{how}"\nanswer = "{how}"', SALT)
    assert "zebra" not in text
    assert b"zebra" not in raw(tmp_path)
    context = json.loads(text)[0]["text"]
    assert bool(context) is (how == "hash")


def test_prompt_and_answer_are_kept_apart(tiny: Model, tmp_path: Path) -> None:
    _, text = asked(tiny, tmp_path, 'prompt = "drop"')
    context, body = json.loads(text)
    assert context["text"] == ""
    assert [each["content"] for each in body["messages"]] == ["", ""]
    assert body["answer"]["content"] == "The zebra of <email>."


def test_a_hashed_question_is_known_again(tiny: Model, tmp_path: Path) -> None:
    tiny.plays(either())
    with served(folder(tmp_path, {"local": tiny}, gateway='prompt = "hash"', more=SALT)) as one:
        question = {"messages": [{"role": "user", "content": "How do I sort a list in Python?"}], "user": "ann"}
        again = {**question, "metadata": {"session": "ann-1"}}
        first, second = one.ask(again)[2]["id"], one.ask(again)[2]["id"]
        assert one.facts(first)[1]["retry"] == 1.0
        assert one.facts(second)[0].context["retry"] == "yes"


def test_users_are_hashed_for_the_model_as_for_the_log(tiny: Model, tmp_path: Path) -> None:
    more = SALT + 'user = "hash"\nsession = "hash"\n'
    tiny.plays(whole())
    context = 'person = { kind = "person" }'
    with served(folder(tmp_path, {"local": tiny}, more=more, context=context)) as one:
        asked = {"messages": [{"role": "user", "content": "Hi."}], "user": "ann", "metadata": {"session": "ann-1"}}
        identity = one.ask(asked)[2]["id"]
        decision = one.facts(identity)[0]
        assert decision.user not in (None, "ann")
        assert decision.context["person"] == decision.user
        assert tiny.asked[0].body["user"] == decision.user
        like = {"decision_id": identity, "signal": "like", "user": "ann"}
        assert one.post("/v1/feedback", like)[0] == 200
        assert one.post("/v1/feedback", {**like, "user": "eve"})[0] == 403
        again = one.ask(asked)[2]["id"]
        assert one.facts(again)[0].session == decision.session
    assert b"ann" not in raw(tmp_path)


def test_no_text_stands_in_the_servers_messages(
    tiny: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    asked(tiny, tmp_path, "")
    told = caplog.text + "".join(capfd.readouterr())
    assert "zebra" not in told
    assert "sk-abc" not in told


@pytest.mark.parametrize("how", ["hash", "drop"])
def test_no_name_of_a_tool_or_of_a_part_is_stored(tiny: Model, tmp_path: Path, how: str) -> None:
    def call(name: str) -> dict[str, Any]:
        return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": '{"whom": "zebra"}'}}

    tiny.plays(whole(None, role="zebra", tool_calls=[call("zebra_answered")]))
    messages = [
        {"role": "user", "content": [{"type": "zebra_part", "text": "Hi zebra."}, {"type": "image_url"}]},
        {"role": "assistant", "content": None, "tool_calls": [call("zebra_asked")]},
        {"role": "tool", "tool_call_id": "call_1", "content": "zebra"},
    ]
    gateway = f'prompt = "{how}"\nanswer = "{how}"'
    with served(folder(tmp_path, {"local": tiny}, gateway=gateway, more=SALT)) as one:
        kept = one.facts(one.ask({"messages": messages})[2]["id"])[2]
    assert kept is not None
    assert [each["role"] for each in kept.body["messages"]] == ["user", "assistant", "tool"]
    assert [each["type"] for each in kept.body["messages"][0]["content"]] == ["other", "image_url"]
    assert kept.body["answer"]["role"] == "other"
    assert b"zebra" not in raw(tmp_path)


def test_long_texts_are_cut_and_it_is_said() -> None:
    kept_of = Keepsakes("store", b"")
    said = [{"role": "user", "content": f"{n} {'a ' * LONGEST}"} for n in range(8)]
    kept = [each["content"] for each in kept_of.all(said)]
    assert all(len(each) <= LONGEST for each in kept)
    assert [len(each) > LONGEST // 2 for each in kept] == [False] * 4 + [True] * 4  # the newest are kept
    assert kept_of.cut == sum(len(each["content"]) for each in said) - sum(map(len, kept))
    text = "x " * (LONGEST // 2 - 3) + "ann.smith@example.org"
    assert Keepsakes("store", b"").one({"role": "user", "content": text})["content"].endswith("x x")  # no half of it


def test_long_conversations_hold_up_nobody(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are masked elsewhere: what is short is committed while they are."""
    masking, go_on = threading.Event(), threading.Event()
    mask = keepsakes.masked

    def slow(text: str, how: Any, salt: bytes) -> str:
        if len(text) > 20_000:
            masking.set()
            assert go_on.wait(LONG)
        return mask(text, how, salt)

    monkeypatch.setattr(keepsakes, "masked", slow)
    tiny.plays(either())
    with served(folder(tmp_path, {"local": tiny})) as one, ThreadPoolExecutor(1) as pool:
        long = pool.submit(one.ask, {"messages": [{"role": "user", "content": "0 " * 40_000}]})
        assert masking.wait(LONG)
        assert one.ask()[0] == 200
        assert not long.done()
        go_on.set()
        status, _, body = long.result()
        kept = one.facts(body["id"])[2]
    assert status == 200
    assert kept is not None
    assert 80_000 - LONGEST <= kept.body["cut"] <= 80_000 - LONGEST + SEAM
