"""Decisions as narrow columns: what they say of a log, and several of them as one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.dashboard.columns.sheets import Minutes, Sheet, alike, empty, joined, minutes, persons, sheet_of
from bondhu.log.memory import MemoryLog
from bondhu.types import Decision, Feedback, Names
from bondhu.watch.observed import number_of, observe
from tests.service.shop import ACTIONS, shop

EVER = (-np.inf, np.inf)
HOSTILE = (
    {"mood": "<script>alert(1)</script>", "age": 3},
    {"mood": "x" * 10_000, "age": 3},
    {"mood": "\u202egnitar\u202c", "age": 3},
    {"mood": "happy", "age": "🙈"},
    {"mood": "happy", "age": 1e9},
    {"mood": ["happy"], "age": 3},
    {"nested": {"a": [[[[{}]]]]}, "mood": "happy", "age": 3},
    {},
)


def decision(id_: str, time: float, **changes: Any) -> Decision:
    plain = Decision(
        *(id_, "shop", f"s-{id_}", "ann", time, {"mood": "sad", "age": 30.0}, ACTIONS, "blue", 0.5, (), "v1", "live")
    )
    return plain._replace(**changes)


def sheet(log: MemoryLog, start: float = -np.inf, end: float = np.inf, now: float = 1e9) -> Sheet:
    return sheet_of(shop(), log.read("shop", start, end), start, end, now)


def test_a_sheet_says_what_the_watch_observes_in_order_of_time() -> None:
    log = MemoryLog()
    made = [
        decision("b", 200.0, action="red", version="v2", variant="trial", memo=(9.0, 0.25)),
        decision("a", 100.0, user=None, context={"mood": "happy", "age": 99}, memo=(0.5,)),
        decision("c", 86_400.0 * 3, user="bob"),
    ]
    said = [Feedback("1", "a", "like", 1.0, 150.0), Feedback("2", "a", "like", 1.0, 190.0)]
    said += [Feedback("3", "b", "watched", 0.5, 260.0), Feedback("4", "c", "like", 1.0, 86_400.0 * 3 + 7)]
    log.append(made, said)
    now = 86_400.0 * 3 + 60
    found, records = sheet(log, now=now), log.read("shop", *EVER)
    assert found.time.tolist() == [100.0, 200.0, 86_400.0 * 3]
    assert list(found.action) == ["blue", "red", "blue"]
    assert list(found.version) == ["v1", "v2", "v1"]
    assert list(found.variant) == ["live", "trial", "live"]
    assert found.exploration.tolist() == [0.5, 0.25, 0.0]  # the last number of the memo, whatever its length
    assert found.user.tolist() == [number_of("session:s-a"), number_of("user:ann"), number_of("user:bob")]
    assert found.people[found.person].tolist() == found.user.tolist()
    assert found.settled.tolist() == [True, True, False]
    assert found.reward[:2].tolist() == [2.0, 0.25]
    assert np.isnan(found.reward[2])
    assert found.heard.tolist() == [True, True, True]
    assert found.delay.tolist() == [50.0, 60.0, 7.0]
    assert {name: column.tolist() for name, column in found.said.items()} == {"like": [2, 0, 1], "watched": [0, 1, 0]}
    assert list(found.context["mood"]) == ["happy", "sad", "sad"]
    assert list(found.context["age"]) == ["80 to 100", "20 to 40", "20 to 40"]
    assert dict(found.feedback) == {2: 1, 3: 1, 4: 1, 4320: 1}  # 150 s, 190 s, 260 s, three days
    seen = observe(shop(), records, *EVER, now)
    assert sorted(seen.time.tolist()) == found.time.tolist()
    assert found.size < 3 * 80 + 100


def test_contexts_that_do_not_fit_are_left_out_and_counted() -> None:
    log = MemoryLog()
    log.append([decision("good", 1.0), *(decision(f"bad {at}", 2.0 + at, context=c) for at, c in enumerate(HOSTILE))])
    log.append([], [Feedback("1", "bad 0", "like", 1.0, 3.0), Feedback("2", "good", "like", 1.0, 3.0)])
    found = sheet(log)
    assert (len(found), found.unfit, dict(found.feedback)) == (1, len(HOSTILE), {0: 1})


def test_hostile_names_of_versions_are_only_names() -> None:
    log = MemoryLog()
    names = ["<b>", "\u202e", "x" * 10_000, "🙈", "", "v1"]
    log.append([decision(str(at), float(at), version=name) for at, name in enumerate(names)])
    assert list(sheet(log).version) == names


def test_a_part_between_two_times_copies_nothing() -> None:
    log = MemoryLog()
    log.append([decision(str(at), float(at)) for at in range(10)])
    whole = sheet(log)
    part = whole.between(3.0, 7.0)
    assert part.time.tolist() == [3.0, 4.0, 5.0, 6.0]
    assert np.shares_memory(part.reward, whole.reward)
    assert np.shares_memory(part.action.codes, whole.action.codes)
    assert (len(whole.between(7.0, 3.0)), len(whole.between(100.0, 200.0))) == (0, 0)
    assert whole.take(whole.time > 8).time.tolist() == [9.0]
    assert whole.take(np.array([4, 2])).time.tolist() == [4.0, 2.0]


def test_sheets_join_into_one_with_one_table_of_names_and_people() -> None:
    log = MemoryLog()
    made = [
        decision("a", 1.0, version="v1", user="ann"),
        decision("b", 2.0, version="v2", user="bob"),
        decision("c", 3.0, version="v3", user="ann"),
        decision("d", 4.0, version="v1", user="cid"),
    ]
    log.append(made, [Feedback("1", "a", "like", 1.0, 70.0), Feedback("2", "d", "like", 1.0, 71.0)])
    parts = [sheet(log, 1.0, 3.0), sheet(log, 3.0, 4.0), sheet(log, 4.0, 9.0)]
    whole = joined(parts)
    assert alike(whole, sheet(log))
    assert list(whole.version) == ["v1", "v2", "v3", "v1"]
    assert list(whole.version.values) == ["v1", "v2", "v3"]
    assert whole.person[0] == whole.person[2]
    assert len(whole.people) == len(np.unique(whole.person)) == 3
    assert dict(whole.feedback) == {1: 2}
    assert whole.generation not in {each.generation for each in parts}
    assert alike(joined(parts[::-1]), whole)  # by time, whatever the order they are given in


def test_a_sheet_made_by_hand_has_persons_too() -> None:
    log = MemoryLog()
    log.append([decision(str(at), float(at), user=f"u{at % 3}") for at in range(6)])
    whole = sheet(log)
    none = np.zeros(0, np.int64)
    bare = replace(whole, user=np.array([7, 5, 7, 9, 5, 7]), person=none, people=none)
    assert persons(bare)[0].tolist() == [1, 0, 1, 2, 0, 1]
    assert persons(bare)[1].tolist() == [5, 7, 9]
    assert joined([bare, bare]).person.tolist() == [1, 1, 0, 0, 1, 1, 2, 2, 0, 0, 1, 1]


def test_nothing_is_a_sheet_too() -> None:
    nothing = empty(shop())
    assert (len(nothing), nothing.unfit, dict(nothing.feedback)) == (0, 0, {})
    assert list(nothing.context) == ["mood", "age"]
    assert list(nothing.said) == ["like", "watched"]
    log = MemoryLog()
    log.append([decision("a", 1.0)])
    assert alike(joined([nothing, sheet(log)]), sheet(log))
    assert len(sheet(MemoryLog())) == 0


def test_sheets_differ_where_anything_in_them_does() -> None:
    log = MemoryLog()
    log.append([decision(str(at), float(at)) for at in range(3)])
    whole = sheet(log)
    renamed = Names(whole.version.codes, ["v2"])
    changes: list[dict[str, Any]] = [
        {"time": whole.time + 1},
        {"reward": np.full(3, np.nan, np.float32)},
        {"version": renamed},
        {"said": {**whole.said, "like": np.array([0, 0, 1], np.int16)}},
        {"context": {**whole.context, "mood": Names(whole.context["mood"].codes, ["sad", "happy"])}},
    ]
    assert alike(whole, replace(whole))
    assert [alike(whole, replace(whole, **each)) for each in changes] == [False] * len(changes)
    swapped = Names(1 - whole.context["mood"].codes, ["sad", "happy"])  # other numbers for the same names
    assert alike(whole, replace(whole, context={**whole.context, "mood": swapped}))
    assert not alike(whole, whole.take(slice(0, 2)))


def test_minutes_are_a_mapping_and_add_up() -> None:
    found = minutes([Minutes.of(np.array([5, 5, 3])), {5: 2, 9: 1}, Minutes.of(np.zeros(0, np.int64))])
    assert dict(found) == {3: 1, 5: 4, 9: 1}
    assert (found[5], len(found), 4 in found, found.get(10, 0)) == (4, 3, False, 0)
    with pytest.raises(KeyError):
        found[10]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from("abcdefg"), st.sampled_from(["v1", "v2", "v3"]), st.booleans()),
        min_size=1,
        max_size=40,
    ),
    st.lists(st.integers(0, 31), max_size=4),
)
def test_pieces_of_any_cut_join_into_what_is_read_at_once(rows: list[Any], cuts: list[int]) -> None:
    log = MemoryLog()
    log.append(
        [decision(str(at), float(when), user=who, version=by) for at, (when, who, by, _) in enumerate(rows)],
        [Feedback(str(at), str(at), "like", 1.0, when + 100.0) for at, (when, _, _, liked) in enumerate(rows) if liked],
    )
    edges = [-np.inf, *sorted(map(float, cuts)), np.inf]
    parts = [sheet(log, start, end) for start, end in pairwise(edges) if start < end]
    whole, found = sheet(log), joined(parts)
    assert alike(found, whole)
    assert found.people[found.person].tolist() == whole.user.tolist()
    assert dict(found.feedback) == dict(whole.feedback)
