"""Blocks in replies: hostile ones cost no more than others."""

from __future__ import annotations

import re
from random import Random

import pytest

from bondhu.agents import conversation
from bondhu.agents.conversation import FENCE, LONGEST_REPLY, program_in

# What a block is. It takes quadratic time, so that it may only say what is right for short texts.
BLOCK = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
PARTS = ("```", "````", "~~~", "`", " ", "\t", "\n", "\n", "\n", "python", "bash", "assert 1", "\r", "\x0b")


def test_blocks_are_found_as_the_pattern_says() -> None:
    rng, found = Random(0), 0
    for _ in range(5_000):
        reply = "".join(rng.choices(PARTS, k=rng.randrange(14)))
        blocks = [code for _, language, code in BLOCK.findall(reply) if language in ("", "python")]
        lines = [line.strip() for line in ("\n".join(blocks) or reply).splitlines()]
        assert conversation.tests_in(reply) == "\n".join(line for line in lines if line == "assert 1"), reply
        found += bool(blocks)
    assert found > 500


@pytest.mark.parametrize("reply", ["```" + " " * LONGEST_REPLY, "```" + "a" * LONGEST_REPLY, "`" * LONGEST_REPLY])
def test_each_line_of_a_hostile_reply_is_looked_at_once(reply: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted:
        looks = 0

        def match(self, line: str) -> re.Match[str] | None:
            self.looks += 1
            return FENCE.match(line)

    monkeypatch.setattr(conversation, "FENCE", counted := Counted())
    assert program_in(reply, "f") is None
    assert program_in(f"{reply}\n" * 3, "f") is None
    assert counted.looks <= 4


def test_what_lies_behind_the_longest_reply_is_not_read() -> None:
    program = "```\ndef f(): pass\n```"
    assert program_in(program + " " * LONGEST_REPLY, "f") == "def f(): pass\n"
    assert program_in(" " * LONGEST_REPLY + "\n" + program, "f") is None
