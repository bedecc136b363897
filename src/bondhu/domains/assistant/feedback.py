"""What people say of an answer, in words or by what they do, and what that is worth.

Accepting (+1), asking what is meant (+0.5) and rejecting (-0.5) are worth what the project began with; the other
weights are chosen to lie between them, and bondhu.toml may choose others. What has no weight is there to be limited.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from bondhu.domains.assistant import lexicon
from bondhu.ports import Signal

SIGNALS: Mapping[str, Signal] = MappingProxyType(
    {
        "accept": Signal(1.0),  # the user takes the answer
        "clarification": Signal(0.5),  # asks what is meant: the answer was of use
        "reject": Signal(-0.5),
        "thumbs_up": Signal(1.0),
        "thumbs_down": Signal(-0.5),
        "copy": Signal(0.3),  # the answer, or a part of it, was copied
        "kept": Signal(0.5),  # share of the answer that stands in what the user made of it: `kept`
        "retry": Signal(-0.3),  # asked for another answer, or said the same once more: `rephrased`
        "resolved": Signal(1.0),  # the conversation ended with what was wanted
        "abandoned": Signal(-0.3),  # it ended without
        "cost": Signal(0.0, 0.0, 1_000.0),  # dollars
        "latency": Signal(0.0, 0.0, 3_600.0),  # seconds until the answer was whole
        "tokens_in": Signal(0.0, 0.0, 10_000_000.0),
        "tokens_out": Signal(0.0, 0.0, 10_000_000.0),
        "failed": Signal(0.0),  # no upstream answered
        "disconnected": Signal(0.0),  # the user left before the answer was whole
    }
)
MEASURED = frozenset({"cost", "latency", "tokens_in", "tokens_out", "failed", "disconnected"})  # by the gateway
REPHRASED = 0.6  # likeness of two messages in a row from which the second says the first once more

CHARACTERS = 6_000  # texts up to this long are compared letter by letter, longer ones word by word
WORDS = 6_000  # words of what differs that are compared; the rest counts as kept in the same share

_PIECE = re.compile(r"[^\W\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]{1,32}|\S")  # a word; or a sign, where none is told
_WORD = re.compile(r"[^\W_]+")
_SIGNS = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]+")  # of scripts that leave no space between words
STEM = 5  # letters of a word that count, so that "sorting" is like "sorts" (without its s)
LONGEST = 8_000  # characters of a message that are compared with another


def kept(answer: str, final: str) -> float:
    """The share of an answer that stands in what the user made of it, from 0 to 1: 1 - d / n, with d the edits from one
    to the other (Levenshtein 1966) and n the length of the longer one. 1 where both are the same.

    Time is bounded: texts of more than CHARACTERS letters are compared word by word, and of what differs, between the
    beginning and the end that both have, the first WORDS words; the rest counts as kept in the same share.
    """
    if answer == final:
        return 1.0
    one: Sequence[Any] = answer
    two: Sequence[Any] = final
    if max(len(answer), len(final)) > CHARACTERS:
        one, two = _PIECE.findall(answer), _PIECE.findall(final)
    longer = max(len(one), len(two))
    one, two = _apart(one, two)
    differing = max(len(one), len(two))
    if not differing:
        return 1.0
    changed = edits(one[:WORDS], two[:WORDS]) / min(differing, WORDS)
    return 1.0 - changed * differing / longer


def edits(one: Sequence[Any], two: Sequence[Any]) -> int:
    """The fewest insertions, deletions and replacements that make one out of the other.

    Bit-parallel (Myers 1999, as Hyyrö 2001 counts): one step for each element of the longer, on all of the shorter.
    """
    short, long = sorted((one, two), key=len)
    if not short:
        return len(long)
    where: dict[Any, int] = {}
    for place, each in enumerate(short):
        where[each] = where.get(each, 0) | 1 << place
    size, last = len(short), 1 << (len(short) - 1)
    full = (1 << size) - 1
    above, below, distance = full, 0, size  # whether the next row is one more, or one less
    for each in long:
        same = where.get(each, 0)
        diagonal = (((same & above) + above) ^ above) | same | below
        more, less = below | (full & ~(diagonal | above)), above & diagonal
        distance += bool(more & last) - bool(less & last)
        more = (more << 1 | 1) & full
        above, below = (less << 1 & full) | (full & ~(diagonal | more)), more & diagonal
    return distance


def rephrased(earlier: str, later: str) -> float:
    """How alike two messages are in what they are about, from 0 to 1: twice what both name over all that they name
    (Dice 1945), by the stems of their words without the most frequent ones, and by pairs of signs of scripts without
    spaces. The same text twice is 1, whatever it says; 0 where one of them says nothing."""
    one, two = earlier[:LONGEST].lower().split(), later[:LONGEST].lower().split()
    if not one or not two:
        return 0.0
    if one == two:
        return 1.0
    named, again = _named(" ".join(one)), _named(" ".join(two))
    return 2 * len(named & again) / (len(named) + len(again)) if named and again else 0.0


def _named(text: str) -> set[str]:
    frequent = lexicon.common()
    stems = {_stem(word) for word in _WORD.findall(text) if word not in frequent and not _SIGNS.search(word)}
    if not text.isascii():
        stems.update(run[n : n + 2] for run in _SIGNS.findall(text) for n in range(max(1, len(run) - 1)))
    return stems


def _stem(word: str) -> str:
    return (word[:-1] if word[-1] == "s" and len(word) > 3 else word)[:STEM]


def _apart(one: Sequence[Any], two: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Both without the beginning and the end that they have in common."""
    first, shorter = 0, min(len(one), len(two))
    while first < shorter and one[first] == two[first]:
        first += 1
    last = 0
    while last < shorter - first and one[-1 - last] == two[-1 - last]:
        last += 1
    return one[first : len(one) - last], two[first : len(two) - last]
