"""What attempts that fail say of an upstream, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.place import HELLO, LONG, Served, folder, served
from tests.gateway.scripted import Model, Script, begin, hangs_up, model, plain, stream, streamed, told, whole
from tests.gateway.test_faults import begun, ended, gone

BREAKING = stream(told(["One ", "two."])[:2], ends=False, closes=True)
SEVERAL = '[strategies.model.small]\nupstream = "local"\nmodel = "tiny"\nsamples = 3\njudge = "longest"\n'


@pytest.fixture(scope="module")
def tiny() -> Iterator[Model]:
    with model() as made:
        yield made


def place(path: Path, tiny: Model, retries: int = 0, failures: int = 2, strategies: str = "") -> Path:
    gateway = f"breaker_failures = {failures}\nbreaker_seconds = 3600"
    more = {"strategies": strategies} if strategies else {}
    return folder(path, {"local": tiny}, gateway=gateway, upstream={"local": f"retries = {retries}"}, **more)


def streams(one: Served) -> int:
    return one.post("/v1/chat/completions", {**HELLO, "stream": True})[0]


def test_streams_that_break_off_count(tiny: Model, tmp_path: Path) -> None:
    tiny.plays(BREAKING)
    with served(place(tmp_path, tiny)) as one:
        assert [streams(one) for _ in range(3)] == [200, 200, 503]


def test_a_stream_that_comes_to_its_end_begins_the_count_anew(tiny: Model, tmp_path: Path) -> None:
    tiny.plays(BREAKING, streamed("Well."), BREAKING, streamed("Well."))
    with served(place(tmp_path, tiny)) as one:
        assert [streams(one) for _ in range(4)] == [200] * 4


def test_a_request_that_fails_counts_once(tiny: Model, tmp_path: Path) -> None:
    tiny.plays(plain(500, {}))
    with served(place(tmp_path, tiny, retries=1)) as one:
        assert one.ask()[0] == 502
        assert len(tiny.asked) == 2
        assert [one.ask()[0] for _ in range(2)] == [502, 503]
    with served(place(tmp_path / "several", tiny, strategies=SEVERAL)) as one:
        assert [one.ask()[0] for _ in range(3)] == [502, 502, 503]


@pytest.mark.parametrize(("script", "tokens"), [(plain(200, b"<html>"), 30), (hangs_up, 30), (plain(500, {}), 11)])
def test_attempts_that_reached_the_model_are_paid(tiny: Model, tmp_path: Path, script: Script, tokens: float) -> None:
    tiny.plays(script, whole())
    with served(place(tmp_path, tiny, retries=1)) as one:
        _, headers, _ = one.ask()
        signals = one.facts(headers["x-bondhu-decision"])[1]
        assert len(tiny.asked) == 2
    assert 11 <= signals["tokens_in"] <= tokens
    assert (signals["tokens_in"] > 11) is (tokens > 11)
    assert signals["cost"] == pytest.approx((signals["tokens_in"] + 2 * 7) / 1e6)


def test_what_fails_for_good_is_paid_as_well(tiny: Model, tmp_path: Path) -> None:
    tiny.plays(plain(200, b"<html>"))
    with served(place(tmp_path, tiny)) as one:
        status, headers, _ = one.ask()
        _, signals, kept = one.facts(headers["x-bondhu-decision"])
    assert status == 502
    assert signals["cost"] > 0
    assert kept is not None
    assert kept.body["usage"]["estimated"]


def test_what_breaks_after_all_was_said_is_an_answer(tiny: Model, tmp_path: Path) -> None:
    tiny.plays(stream(told(["All."])[:-2], ends=False, closes=True))
    with served(place(tmp_path, tiny)) as one:
        headers, events = one.events()
        assert events[-1] == "[DONE]"
        assert "".join(each["choices"][0]["delta"].get("content", "") for each in events[:-1]) == "All."
        _, signals, kept = one.facts(headers["x-bondhu-decision"])
    assert "failed" not in signals
    assert kept is not None
    assert kept.body["status"] == "answered"


@pytest.mark.parametrize("first", [begin, None])
def test_an_answer_that_never_ends_is_not_waited_for(tiny: Model, tmp_path: Path, first: object) -> None:
    async def starts(_: object, writer: Any) -> None:
        if first is not None:
            begin(writer)

    tiny.plays(tiny.held(starts, whole()))
    lines = {"local": "timeout = 3600\ntotal_timeout = 0.5\nretries = 3"}
    with served(folder(tmp_path, {"local": tiny}, upstream=lines)) as one:
        status, _, body = one.ask()
        assert len(tiny.asked) == 1
    assert (status, body["error"]["code"]) == (504, "upstream_timeout")
    assert "after 0.5 seconds" in body["error"]["message"]


def test_samples_are_paid_where_nobody_waits_for_the_best(tiny: Model, tmp_path: Path) -> None:
    async def nothing_yet(_: object, __: object) -> None:
        """The first of an answer that is held."""

    with served(place(tmp_path, tiny, strategies=SEVERAL)) as one:
        tiny.plays(whole("One."), whole("Two."), tiny.held(nothing_yet, whole("Three.")))
        connection, answer = begun(one, HELLO)
        assert tiny.reached.acquire(timeout=LONG)
        gone(connection, answer)
        (identity,) = one.logged()
        assert ended(one, identity)["status"] == "disconnected"
        assert one.facts(identity)[1]["tokens_in"] >= 3 * 11  # told, or estimated where they were not there yet
