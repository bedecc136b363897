"""A language model of programs that is small enough to be trained in a second: n-grams of tokens.

P(w | h) = (c(h, w) + T(h)·P(w | h'))/(c(h) + T(h)), T(h) the number of different tokens seen after h and h' one token
shorter: interpolation by Witten & Bell (1991, "The zero-frequency problem", method C; as in Chen & Goodman 1999,
section 2.5). It is weak, and honest about what a proposer has to offer: it rewrites the line that surprises it most.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log2

import numpy as np

from bondhu.types import Floats

TOKEN = re.compile(r"\n[ \t]*|[ \t]+|\w+|[^\w\s]")
START, OTHER = "<start>", "<other>"
LONGEST_LINE = 60  # tokens


def tokens_of(source: str) -> list[str]:
    """A newline with the indentation after it, other blanks, words, and single signs; together they are the source."""
    return TOKEN.findall(source.replace("\r\n", "\n"))


@dataclass(frozen=True)
class NGrams:
    """Counts of what follows each history of up to `order` - 1 tokens."""

    order: int
    follows: Mapping[tuple[str, ...], Counter[str]]
    words: tuple[str, ...]  # in a fixed order, so that a seed draws the same again

    @classmethod
    def trained(cls, sources: Iterable[str], order: int = 5) -> NGrams:
        """The model of these programs."""
        follows: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for source in sources:
            row = [START] * (order - 1) + tokens_of(source)
            for at in range(order - 1, len(row)):
                for length in range(order):
                    follows[tuple(row[at - length : at])][row[at]] += 1
        return cls(order, dict(follows), (*sorted(follows[()]), OTHER))

    def chance(self, word: str, history: Sequence[str]) -> float:
        """P(word | history); a word never seen shares what is left with all others of its kind."""
        found = 1.0 / len(self.words)
        for seen in self._shorter_first(history):
            kinds = len(seen)
            found = (seen[word] + kinds * found) / (seen.total() + kinds)
        return found

    def chances(self, history: Sequence[str]) -> Floats:
        """P of every word: `[V]`, sums to 1."""
        found = np.full(len(self.words), 1.0 / len(self.words))
        for seen in self._shorter_first(history):
            counts = np.array([seen[word] for word in self.words], np.float64)
            found = (counts + len(seen) * found) / (seen.total() + len(seen))
        return found

    def surprise(self, source: str) -> list[tuple[float, int]]:
        """Mean bits of a token, and how many there are, of each line of a source."""
        history, lines, bits = [START] * (self.order - 1), list[tuple[float, int]](), list[float]()
        for token in [*tokens_of(source), "\n"]:
            if token[0] == "\n":
                lines.append((sum(bits) / len(bits) if bits else 0.0, len(bits)))
                bits = []
            else:
                bits.append(-log2(self.chance(token, history)))
            history.append(token)
        return lines

    def line(self, before: str, rng: np.random.Generator, temperature: float = 1.0) -> str:
        """One line, drawn token by token, after the text before it."""
        history, drawn = [START] * (self.order - 1) + tokens_of(before), list[str]()
        while len(drawn) < LONGEST_LINE:
            chance = self.chances(history)[:-1] ** (1.0 / max(temperature, 0.05))
            token = self.words[int(rng.choice(len(chance), p=chance / chance.sum()))]
            if token[0] == "\n":
                break
            history.append(token)
            drawn.append(token)
        return "".join(drawn)

    def repaired(self, source: str, rng: np.random.Generator, temperature: float = 1.0) -> str:
        """The source with the line that surprises most drawn anew; signatures and blank lines stay."""
        lines = source.replace("\r\n", "\n").split("\n")
        bits = [mean if count and not lines[at].lstrip().startswith(("def ", "class ", "@", "#")) else -1.0
                for at, (mean, count) in enumerate(self.surprise(source)[: len(lines)])]  # fmt: skip
        worst = int(np.argmax(bits))
        indent = lines[worst][: len(lines[worst]) - len(lines[worst].lstrip())]
        before = "\n".join([*lines[:worst], indent])
        return "\n".join([*lines[:worst], indent + self.line(before, rng, temperature), *lines[worst + 1 :]])

    def _shorter_first(self, history: Sequence[str]) -> Iterable[Counter[str]]:
        for length in range(min(self.order, len(history) + 1)):
            seen = self.follows.get(tuple(history[len(history) - length :]))
            if seen is None:
                return
            yield seen
