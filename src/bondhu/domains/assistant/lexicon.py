"""The words by which observations tell languages, topics and moods: `lexicon.toml`, read once.

Topics and moods are told by English words only; in other languages they are "other" and "neutral" unless signs or code
say more. Words are a crude measure, and a cheap one: what they miss, the text itself and an embedding may show.
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

Weights = Mapping[str, tuple[tuple[str, float], ...]]  # by word or phrase: what it speaks for, and how strongly

WEIGHTS = {"strongly": 3.0, "words": 1.0, "weakly": 0.5}
LONGEST_PHRASE = 3  # words


@cache
def languages() -> Weights:
    """By word, the languages that it is frequent in; they share one vote."""
    found: dict[str, list[str]] = defaultdict(list)
    for language, text in _tables()["languages"].items():
        for word in dict.fromkeys(text.split()):
            found[word].append(language)
    return {word: tuple((each, 1.0 / len(spoken)) for each in spoken) for word, spoken in found.items()}


@cache
def topics() -> Weights:
    """By word or phrase, the topics that it speaks for."""
    return _weights("topics")


@cache
def moods() -> Weights:
    """By word or phrase, the moods that it speaks for."""
    return _weights("moods")


@cache
def common() -> frozenset[str]:
    """Words that say little of what a sentence is about, in any of the languages."""
    return frozenset(word for text in _tables()["languages"].values() for word in text.split())


def scores(weights: Weights, words: Sequence[str]) -> dict[str, float]:
    """What these words speak for, and how strongly: each word or phrase counts once."""
    found: dict[str, float] = defaultdict(float)
    there = set(words)
    for size in range(2, LONGEST_PHRASE + 1):
        there.update(map(" ".join, zip(*(words[first:] for first in range(size)), strict=False)))
    for word in there & weights.keys():
        for name, weight in weights[word]:
            found[name] += weight
    return found


def _weights(table: str) -> Weights:
    found: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for name, lists in _tables()[table].items():
        for key, phrases in lists.items():
            for phrase in phrases.replace("\n", " ").split(","):
                found[" ".join(phrase.split())].append((name, WEIGHTS[key]))
    return {word: tuple(named) for word, named in found.items()}


@cache
def _tables() -> Mapping[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("lexicon.toml").read_text("utf-8"))
