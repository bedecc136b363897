"""How much like the programs that people write a piece of code reads: a model of three tokens in a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bondhu.domains.coding.edits import Edit
from bondhu.domains.coding.features import tokens
from bondhu.types import Floats


@dataclass(frozen=True, eq=False)
class Corpus:
    """Counts of the trigrams of tokens in programs that people wrote, and of the pairs that begin them."""

    trigrams: Counter[tuple[str, ...]]
    pairs: Counter[tuple[str, ...]]
    words: int  # that are different


def corpus(sources: Iterable[str]) -> Corpus:
    """Counts what programs read like (Hindle et al. 2012, "On the naturalness of software")."""
    trigrams: Counter[tuple[str, ...]] = Counter()
    pairs: Counter[tuple[str, ...]] = Counter()
    words: set[str] = set()
    for source in sources:
        read = tokens(source)
        words.update(read)
        trigrams.update(zip(read, read[1:], read[2:], strict=False))
        pairs.update(pairwise(read))
    return Corpus(trigrams, pairs, len(words))


def naturalness(source: str, edits: Sequence[Edit], model: Corpus) -> Floats:
    """How much more each edit's text reads like the corpus than what it replaces: difference of the mean logarithm of
    the probability of a token after the two before it, counts smoothed by adding one. [edits], float32."""
    return np.array([
        _read(model, source, edit, edit.after) - _read(model, source, edit, edit.before) for edit in edits
    ], np.float32)  # fmt: skip


def _read(model: Corpus, source: str, edit: Edit, text: str) -> float:
    context = (*tokens(source[max(0, edit.start - 24) : edit.start])[-2:], *tokens(text),
               *tokens(source[edit.end : edit.end + 24])[:2])  # fmt: skip
    seen = [(model.trigrams[three] + 1) / (model.pairs[three[:2]] + model.words + 1)
            for three in zip(context, context[1:], context[2:], strict=False)]  # fmt: skip
    return float(np.log(seen).mean()) if seen else 0.0
