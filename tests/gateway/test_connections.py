"""Connections to upstreams serve again, also where the end of a stream comes after the word that it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.gateway.place import HELLO, folder, served
from tests.gateway.scripted import Writer, begin, model, piece, told


async def ends_later(_: dict[str, Any], writer: Writer) -> None:
    begin(writer)
    for each in told(["Hello."]):
        piece(writer, each)
        await writer.drain()
    writer.write(b"0\r\n\r\n")


def test_one_connection_is_enough_for_one_stream_after_the_other(tmp_path: Path) -> None:
    with model() as tiny, served(folder(tmp_path, {"local": tiny})) as one:
        tiny.plays(ends_later)
        answers = [one.events({**HELLO, "stream": True})[1] for _ in range(5)]
        assert [each[-1] for each in answers] == ["[DONE]"] * 5
        assert len(tiny.open) == 1


def test_the_end_of_a_stream_that_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    async def never_ends(_: dict[str, Any], writer: Writer) -> None:
        begin(writer)
        for each in told(["Hello."]):
            piece(writer, each)

    with model() as tiny, served(folder(tmp_path, {"local": tiny})) as one:
        tiny.plays(never_ends)
        answers = [one.events({**HELLO, "stream": True})[1] for _ in range(2)]
        assert [each[-1] for each in answers] == ["[DONE]"] * 2
        assert len(tiny.open) == 2
