"""Design matrices of zeros and ones that are never written out: of each row, the few columns that hold a one.

T rows, F columns, at most K ones a row, A actions. All that a regression needs of such a matrix X is counted: X'X by
64 rows at once where columns are well filled, the rest by sums over the ones. Loops are plain Python, to be compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bondhu.compiled import compiled
from bondhu.types import Floats, Integers

HASH = 2_654_435_761  # multiplicative, by the golden ratio of 2^32 (Knuth, volume 3, section 6.4)
THREADS = 2  # each holds as much memory as the results have
FEW = 1 << 14  # rows that are not worth a second thread
WORDS = 64  # of 64 rows each, in which bits are counted while they are near


@dataclass(frozen=True, eq=False)
class Indicators:
    """Where the ones of a matrix `[T, F]` are."""

    columns: Integers  # [T, K] numbers of columns, each once in a row; F where a row has fewer than K
    width: int  # F

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.columns), self.width


def indicators(codes: Integers, width: int) -> Indicators:
    """A constant, one column for each code of each field, and pairs of codes, hashed to what `width` leaves.

    Codes that need more than `width` columns share them by a multiplicative hash, and there are no pairs.
    """
    codes = np.ascontiguousarray(codes, np.int64)
    sizes = codes.max(0, initial=0) + 1
    first, second = np.triu_indices(codes.shape[1], 1)
    starts = np.concatenate([[0], np.cumsum(sizes)]), np.concatenate([[0], np.cumsum(sizes[first] * sizes[second])])
    single, left = min(int(sizes.sum()), width), 0
    if len(first) and len(codes):
        last = starts[1][-2] + (codes[:, -2] * sizes[-1] + codes[:, -1]).max()
        left = min(width - single, int(last) + 1)
    total = 1 + single + left
    kind = np.uint8 if total < 1 << 8 else np.uint16 if total < 1 << 16 else np.int64
    columns = np.empty((len(codes), 1 + codes.shape[1] + (len(first) if left else 0)), kind)
    place = compiled(_place)
    in_threads(len(codes), len(codes), lambda part: place(codes[part], sizes, starts, (single, left), columns[part]))
    return Indicators(columns, total)


def _place(
    codes: Integers, sizes: Integers, starts: tuple[Integers, Integers], room: tuple[int, int], columns: Integers
) -> None:
    """The columns of each row, those that it has twice once. A number n is hashed to `n HASH mod 2^32` of `room`."""
    fields, (single, left) = len(sizes), room
    total = 1 + single + left
    folded = starts[0][fields] > single
    seen = np.full(total, -1)
    for row in range(len(codes)):
        columns[row, 0], count = 0, 1
        for i in range(fields):
            column = starts[0][i] + codes[row, i]
            if folded:
                column = ((column * HASH) % (1 << 32)) * single >> 32
            column += 1
            if seen[column] != row:
                seen[column] = row
                columns[row, count] = column
                count += 1
        pair = 0
        for i in range(fields if left else 0):
            for j in range(i + 1, fields):
                column = starts[1][pair] + codes[row, i] * sizes[j] + codes[row, j]
                column = 1 + single + (((column * HASH) % (1 << 32)) * left >> 32)
                if seen[column] != row:
                    seen[column] = row
                    columns[row, count] = column
                    count += 1
                pair += 1
        columns[row, count:] = total


def dense(design: Indicators) -> Floats:
    """The matrix itself, `[T, F]`."""
    matrix = np.zeros((len(design.columns), design.width + 1))
    matrix[np.arange(len(matrix))[:, None], design.columns] = 1.0
    return np.ascontiguousarray(matrix[:, :-1])


def grouped(
    design: Indicators, target: Floats, order: Integers, bounds: Integers, weight: Floats | None = None
) -> tuple[Floats, Floats]:
    """`X'WX` and `X'Wy` of each of G groups of rows, `order[bounds[g] : bounds[g + 1]]`: `[G, F, F]`, `[G, F]`."""
    groups, width = len(bounds) - 1, design.width
    gram, cross = np.zeros((groups, width, width)), np.zeros((groups, width + 1))
    full = width**2 < 64 * design.columns.shape[1] ** 2  # columns hold a one often enough to count bits
    weighted = target if weight is None else weight * target
    each = np.ones(len(target)) if weight is None else weight

    def work(part: slice) -> None:
        edges = bounds[part.start : part.stop + 1]
        if full and weight is None:
            compiled(_count_bits)(design.columns, order, edges, gram[part])
        else:
            compiled(_count_pairs)(design.columns, each, order, edges, gram[part])
        compiled(_add)(design.columns, weighted, order, edges, cross[part])

    in_threads(groups, len(order), work)
    return gram, np.ascontiguousarray(cross[:, :width])


def _count_bits(columns: Integers, order: Integers, bounds: Integers, gram: Floats) -> None:
    """For each two columns, the rows that have both: the ones in the conjunction of their bits, 64 rows a word."""
    width, ones = gram.shape[1], columns.shape[1]
    bits = np.zeros((width + 1, WORDS), np.uint64)
    for group in range(len(gram)):
        for start in range(bounds[group], bounds[group + 1], 64 * WORDS):
            rows = min(64 * WORDS, bounds[group + 1] - start)
            words = (rows + 63) // 64
            bits[:, :words] = 0
            for each in range(rows):
                for k in range(ones):
                    bits[columns[order[start + each], k], each >> 6] |= np.uint64(1) << np.uint64(each & 63)
            for i in range(width):
                for j in range(i + 1):
                    total = np.uint64(0)
                    for word in range(words):  # Warren, Hacker's Delight, figure 5-2
                        x = bits[i, word] & bits[j, word]
                        x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
                        x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
                        x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
                        total += (x * np.uint64(0x0101010101010101)) >> np.uint64(56)
                    gram[group, i, j] += total
        for i in range(width):
            for j in range(i):
                gram[group, j, i] = gram[group, i, j]


def _count_pairs(columns: Integers, weight: Floats, order: Integers, bounds: Integers, gram: Floats) -> None:
    """For each two columns, the weight of the rows that have both, row by row."""
    width, ones = gram.shape[1], columns.shape[1]
    for group in range(len(gram)):
        for each in range(bounds[group], bounds[group + 1]):
            row = order[each]
            for k in range(ones):
                if columns[row, k] < width:
                    for m in range(ones):
                        if columns[row, m] < width:
                            gram[group, columns[row, k], columns[row, m]] += weight[row]


def _add(columns: Integers, target: Floats, order: Integers, bounds: Integers, cross: Floats) -> None:
    for group in range(len(cross)):
        for each in range(bounds[group], bounds[group + 1]):
            row = order[each]
            for k in range(columns.shape[1]):
                cross[group, columns[row, k]] += target[row]


def predictions(design: Indicators, coefficients: Floats, which: Integers) -> Floats:
    """`x_t' c_a` of every action, by the model `which[t]` of several `[M, A, F]`: `[T, A]`."""
    models, actions, width = coefficients.shape
    table = np.zeros((models, width + 1, actions))
    table[:, :width] = coefficients.swapaxes(1, 2)
    predicted, gather = np.empty((len(design.columns), actions)), compiled(_gather)
    rows = len(predicted)
    in_threads(rows, rows, lambda part: gather(design.columns[part], table, which[part], predicted[part]))
    return predicted


def _gather(columns: Integers, table: Floats, which: Integers, predicted: Floats) -> None:
    """Four ones at a time, so that the sums are written a quarter as often."""
    rows, ones = columns.shape
    sums = np.zeros(predicted.shape[1])
    for row in range(rows):
        lines, k = table[which[row]], 0
        sums[:] = 0.0
        while k + 4 <= ones:
            one, two, three, four = columns[row, k], columns[row, k + 1], columns[row, k + 2], columns[row, k + 3]
            for a in range(len(sums)):
                sums[a] += (lines[one, a] + lines[two, a]) + (lines[three, a] + lines[four, a])
            k += 4
        while k < ones:
            one = columns[row, k]
            for a in range(len(sums)):
                sums[a] += lines[one, a]
            k += 1
        predicted[row, :] = sums


def of_action(design: Indicators, coefficients: Floats, action: Integers) -> Floats:
    """`x_t' c_{a_t}`, models `[A, F]`: `[T]`."""
    padded = np.hstack([coefficients, np.zeros((len(coefficients), 1))])
    return np.asarray(compiled(_pick)(design.columns, padded, action))


def _pick(columns: Integers, coefficients: Floats, action: Integers) -> Floats:
    found = np.zeros(len(columns))
    for row in range(len(columns)):
        for k in range(columns.shape[1]):
            found[row] += coefficients[action[row], columns[row, k]]
    return found


def pulled(design: Indicators, target: Floats) -> Floats:
    """`sum_t target[t, a] x_t`: `[T, A] -> [A, F]`."""
    found, pull = [], compiled(_pull)

    def work(part: slice) -> None:
        sums = np.zeros((design.width + 1, target.shape[1]))
        pull(design.columns[part], target[part], sums)
        found.append(sums)

    in_threads(len(target), len(target), work)
    return np.ascontiguousarray(sum(found)[:-1].T)  # type: ignore[index]  # never empty


def _pull(columns: Integers, target: Floats, sums: Floats) -> None:
    for row in range(len(columns)):
        for k in range(columns.shape[1]):
            column = columns[row, k]
            for a in range(target.shape[1]):
                sums[column, a] += target[row, a]


def in_threads(items: int, size: int, work: Callable[[slice], object]) -> None:
    """Work on all items, shared out to threads where there is enough to do: compiled loops run side by side."""
    threads = THREADS if size > FEW else 1
    edges = [items * each // threads for each in range(threads + 1)]
    parts = [slice(*each) for each in pairwise(edges)]
    if threads == 1:
        work(parts[0])
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, parts))
