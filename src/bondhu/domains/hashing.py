"""Features of any JSON objects as a vector of fixed size, without a list of what there may be.

Names. `{"user": {"age": 31, "plan": "pro", "mobile": true, "tags": ["a", "b"]}}` holds `user.age` with the value 31,
and with the value 1 `user.plan=pro`, `user.mobile`, `user.tags=a` and `user.tags=b`. False and null hold nothing; lists
of numbers hold `name[0]`, `name[1]`, …; `_text` holds each of its words; other names that begin with `_` are left out.
Hash of a name: the first 8 bytes of BLAKE2b (RFC 7693), little-endian. Of a pair: the finaliser of SplitMix64 (Steele,
Lea & Flood 2014) on a + 0x9E3779B97F4A7C15·b, modulo 2^64. Place: hash modulo the size. Sign: minus where the
top bit is set (Weinberger et al. 2009), so that features which share a place do not add up. None of it depends on the
release.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from math import isnan
from typing import Any, NamedTuple

import numpy as np

from bondhu.errors import InvalidInput
from bondhu.types import Array, Floats

LARGEST = 1e9  # numbers beyond count as this
DEEPEST = 16  # objects inside of objects
PAIRED = 24  # features of a context whose products with one another count as well
MOST, MOST_OF_ACTION = 100, 64  # features of a context, and of one action; those beyond do not count
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Hashed(NamedTuple):
    """Features by the hashes of their names."""

    names: Array  # [n] uint64
    values: Floats  # [n]


def hashed(features: Any, name: str = "", most: int = MOST) -> Hashed:
    """The first `most` features that JSON holds; objects DEEPEST inside of others are left out. What was logged once
    can always be looked at again, so nothing that JSON can hold is refused here."""
    found = list(islice(_flat(features, name, DEEPEST), most))
    return Hashed(
        np.fromiter((hash_of(each) for each, _ in found), np.uint64, len(found)),
        np.fromiter((value for _, value in found), np.float64, len(found)),
    )


def joined(parts: Sequence[Hashed]) -> Hashed:
    """All of them, one after the other."""
    return Hashed(np.concatenate([each.names for each in parts]), np.concatenate([each.values for each in parts]))


@lru_cache(maxsize=1 << 16)
def hash_of(name: str) -> int:
    """64 bits of a name."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def crossed(rows: Hashed, owner: Array, shared: Hashed, size: int, most: int) -> Floats:
    """Each row's features, alone and times each of the shared ones, as hashed vectors: `[most, size]`.

    `owner [n]`: to which of the vectors each of the `rows` features belongs.
    """
    names = np.concatenate([rows.names[:, None], _mixed(rows.names[:, None] + GOLDEN * shared.names[None, :])], axis=1)
    values = np.concatenate([rows.values[:, None], rows.values[:, None] * shared.values[None, :]], axis=1)
    place = (names % np.uint64(size)).astype(np.int64) + owner[:, None] * size
    signed = np.where(names >> np.uint64(63), -values, values)
    vectors = np.bincount(place.ravel(), signed.ravel(), most * size)
    return vectors.reshape(most, size).astype(np.float64)


def with_pairs(one: Hashed) -> Hashed:
    """The features, and the products of any two of the first PAIRED."""
    first, second = np.triu_indices(min(len(one.names), PAIRED), 1)
    low, high = np.minimum(one.names[first], one.names[second]), np.maximum(one.names[first], one.names[second])
    return joined([one, Hashed(_mixed(low + GOLDEN * high), one.values[first] * one.values[second])])


def _mixed(bits: Array) -> Array:
    bits = (bits ^ (bits >> np.uint64(30))) * FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * SECOND
    mixed: Array = bits ^ (bits >> np.uint64(31))
    return mixed


def _flat(value: Any, name: str, deeper: int) -> Iterator[tuple[str, float]]:
    if isinstance(value, bool):
        if value:
            yield name, 1.0
    elif isinstance(value, str):
        yield f"{name}={value}", 1.0
    elif isinstance(value, int | float):
        if isnan(value):
            raise InvalidInput(f"The feature {name!r} is not a number.", field=name, fix="Leave it out.")
        yield name, float(min(max(value, -LARGEST), LARGEST))
    elif value is not None:
        yield from _inner(value, name, deeper)


def _inner(value: Any, name: str, deeper: int) -> Iterator[tuple[str, float]]:
    if not deeper:
        return
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key == "_text" and isinstance(each, str):
                yield from ((f"{name}={word}", 1.0) for word in each.lower().split())
            elif not key.startswith("_"):
                yield from _flat(each, f"{name}.{key}" if name else key, deeper - 1)
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            number = isinstance(each, int | float) and not isinstance(each, bool)
            yield from _flat(each, f"{name}[{place}]" if number else name, deeper - 1)
    else:
        what = f"The feature {name!r} is {value!r:.80}."
        raise InvalidInput(what, field=name, fix="Send text, numbers, true, false, lists and objects.")
