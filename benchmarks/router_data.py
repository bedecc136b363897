"""Which of two models answers a question rightly, for every question: nothing is hidden but by whoever asks.

RouteLLM's own evaluation files (Ong et al. 2024; arXiv 2406.18665): questions of MMLU with four answers to choose from,
and whether Mixtral-8x7B-Instruct (weak) and gpt-4-1106-preview (strong) chose the right one. BONDHU_DATA names the
folder that holds `routellm`. Every file that is there is read: one subject each.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from hashlib import sha256
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from bondhu.domains.encoders import FeatureEncoder
from bondhu.domains.fields import Category, Field, Number
from bondhu.domains.wide_fields import Text
from bondhu.types import Array, Floats, Integers

DATA = Path(os.environ.get("BONDHU_DATA", Path(__file__).parents[2] / "shared" / "data")) / "routellm"
MODELS = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"  # weak, strong
FOLDS = 5
LONGEST = 8.0  # logarithm of the words of a question


@dataclass(frozen=True)
class Questions:
    """N questions."""

    prompt: Array  # [N]
    subject: Array  # [N] names
    right: Floats  # [N, 2] 1 where the weak and the strong model's answer is right
    question: Integers  # [N] number of the question: a few stand there twice
    topic: Integers  # [N] number of the subject

    def take(self, rows: Any) -> Questions:
        """Some questions only."""
        return Questions(**{name: part[rows] for name, part in vars(self).items()})

    @property
    def gain(self) -> Floats:
        """What the strong model adds: -1, 0 or 1, `[N]`."""
        difference: Floats = self.right[:, 1] - self.right[:, 0]
        return difference

    @property
    def words(self) -> Floats:
        """Logarithm of the number of words, `[N]`."""
        return np.array([min(log(1 + len(prompt.split())), LONGEST) for prompt in self.prompt])

    def folds(self, by: str) -> Integers:
        """A number from 0 to FOLDS - 1 for each question, by the hash of the question or of its subject: `[N]`."""
        names = self.subject if by == "subject" else self.prompt
        numbers = {name: int.from_bytes(sha256(name.encode()).digest()[:8], "big") % FOLDS for name in set(names)}
        return np.array([numbers[name] for name in names])

    def features(self, *seen: str, buckets: int = 256) -> Floats:
        """What the encoder makes of these fields of a request, or `grams` alone: `[N, F]`."""
        if "grams" in seen:
            return _grams(self.prompt, buckets)
        subjects = tuple(sorted(set(self.subject)))
        columns = {"text": self.prompt, "words": self.words, "subject": self.subject}
        kinds: dict[str, Field] = {
            "text": Text("text", buckets),
            "words": Number("words", 0.0, LONGEST, 8),
            "subject": Category("subject", subjects),
        }
        return np.asarray(FeatureEncoder(tuple(kinds[name] for name in seen)).many(columns), np.float64)


def load() -> Questions | None:
    """The questions; None where the data is not there."""
    files = sorted((DATA / "mmlu" / "responses").glob("mmlu_*.csv"))
    if not files:
        print(f"No questions: there is no {DATA}; BONDHU_DATA names the folder that holds routellm.")
        return None
    rows: list[tuple[str, dict[str, str]]] = []
    for file in files:
        with file.open(encoding="utf-8", newline="") as lines:
            rows += [(file.stem.removeprefix("mmlu_"), row) for row in csv.DictReader(lines)]
    prompt = np.array([row["prompt"] for _, row in rows], object)
    subject = np.array([name for name, _ in rows], object)
    right = np.array([[row[model] == "True" for model in MODELS] for _, row in rows], np.float64)
    return Questions(prompt, subject, right, _numbered(prompt), _numbered(subject))


def _numbered(names: Array) -> Integers:
    number = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names])


def _grams(prompt: Array, buckets: int) -> Floats:
    """Counts of three to five characters in a row within words, each row scaled to length 1, by scikit-learn."""
    from sklearn.feature_extraction.text import HashingVectorizer

    grams = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), n_features=buckets, alternate_sign=False)
    return np.hstack([grams.transform(prompt).toarray(), np.ones((len(prompt), 1))])
