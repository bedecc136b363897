"""One suite over every registry: what is added comes back, and the history folds into what is live."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bondhu.errors import DuplicateId, InvalidInput, UnknownName
from bondhu.ports import Event, Registry, Version
from bondhu.registry import BASELINE, DiskRegistry, MemoryRegistry, live, new_version_id, previous, versions

Open = Callable[[Path], Registry]


@pytest.fixture(params=[DiskRegistry, lambda _: MemoryRegistry()], ids=["disk", "memory"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    return request.param(tmp_path / "versions")


def version(name: str = "v1", domain: str = "music") -> Version:
    return Version(
        id=name,
        domain=domain,
        learner="tabular.q_learning",
        hyperparameters={"learning_rate": 0.1, "bins": 5},
        state={
            "values": np.arange(12, dtype=np.float32).reshape(3, 4),
            "visits": np.array([[1, 2], [3, 4]], dtype=np.int64),
            "epsilon": np.array(0.3),
            "empty": np.zeros((0, 27)),
            "flags": np.array([True, False]),
        },
        description={"context": {"mood": {"kind": "category", "values": ["happy", "sad"]}}},
        created=1_795_000_000.25,
        parent=None,
        notes={"average_reward": 0.41, "window": [0, 604800]},
    )


NOW = 1_795_000_100.0  # later than the versions


def event(kind: str, name: str, time: float = 0.0) -> Event:
    return Event(NOW + time, kind, name, "because", {"lift": 0.125})


def same(one: Version, other: Version) -> bool:
    facts = replace(one, state={}) == replace(other, state={})
    return facts and all(
        np.array_equal(one.state[name], other.state[name])
        and one.state[name].dtype == other.state[name].dtype
        and one.state[name].shape == other.state[name].shape
        for name in {*one.state, *other.state}
    )


def test_a_version_comes_back_with_every_value_type_and_shape(registry: Registry) -> None:
    registry.add(version())
    loaded = registry.load("v1")
    assert same(loaded, version())
    assert loaded.state["epsilon"].shape == ()
    assert loaded.state["empty"].shape == (0, 27)


def test_adding_records_the_event(registry: Registry) -> None:
    registry.add(version(), reason="weekly run")
    assert registry.events("music") == (Event(1_795_000_000.25, "added", "v1", "weekly run", {}),)
    assert registry.events("games") == ()


def test_numpy_numbers_in_hyperparameters_and_figures_become_plain(registry: Registry) -> None:
    registry.add(replace(version(), hyperparameters={"alpha": np.float64(0.1), "sizes": (3, np.int32(4))}))
    registry.record("music", event("promoted", "v1")._replace(figures={"lift": np.float32(0.5)}))
    assert registry.load("v1").hyperparameters == {"alpha": 0.1, "sizes": [3, 4]}
    assert registry.events("music")[-1].figures == {"lift": 0.5}


def test_changing_a_loaded_state_changes_nothing_that_is_stored(registry: Registry) -> None:
    given_state = version()
    registry.add(given_state)
    given_state.state["values"][:] = -1
    loaded = registry.load("v1")
    loaded.state["values"][0, 0] = 99.0
    assert registry.load("v1").state["values"][0, 0] == 0.0
    assert loaded.state["values"][0, 0] == 99.0


def test_an_id_is_taken_once_in_all_domains(registry: Registry) -> None:
    registry.add(version())
    with pytest.raises(DuplicateId, match="'v1' is already stored"):
        registry.add(version())
    with pytest.raises(DuplicateId):
        registry.add(version(domain="games"))
    assert len(registry.events("music")) == 1
    assert registry.events("games") == ()


def test_an_unknown_version_names_the_nearest(registry: Registry) -> None:
    registry.add(version("20261121-130501-3f2a"))
    with pytest.raises(UnknownName, match="Did you mean '20261121-130501-3f2a'"):
        registry.load("20261121-130501-3f2b")


@pytest.mark.parametrize("name", ["../v1", "a/b", "", ".hidden", "a\x00b", "/etc", "..", "a" * 101, "v*"])
def test_names_that_would_leave_the_directory_are_refused(registry: Registry, name: str) -> None:
    for call in (
        lambda: registry.add(version(name)),
        lambda: registry.add(version(domain=name)),
        lambda: registry.record(name, event("promoted", "v1")),
    ):
        with pytest.raises(InvalidInput, match="cannot be a folder"):
            call()
    with pytest.raises(InvalidInput):
        registry.load(name)
    assert registry.events("music") == ()


@pytest.mark.parametrize("name", ["", "..", ".", "../v1", "a/../b", "/etc", "a/", "a//b", "a\x00b", "a\nb"])
def test_names_of_arrays_that_could_be_paths_elsewhere_are_refused(registry: Registry, name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be stored") as raised:
        registry.add(replace(version(), state={name: np.zeros(1)}))
    assert raised.value.field == "array"
    assert registry.events("music") == ()


def test_arrays_of_states_within_states_come_back_by_name_in_files_of_plain_names(tmp_path: Path) -> None:
    names = ["values", "inner/values", "inner/long watch/values", "inner/_1", "_1", "0", ".hidden", "v*", "a" * 300]
    state = {name: np.full(2, number) for number, name in enumerate(names)}
    for registry in (DiskRegistry(tmp_path), MemoryRegistry()):
        registry.add(replace(version(), state=state))
        loaded = registry.load("v1").state
        assert {name: array.tolist() for name, array in loaded.items()} == {
            name: [number, number] for number, name in enumerate(names)
        }
    files = {path.relative_to(tmp_path / "music" / "v1").as_posix() for path in (tmp_path / "music" / "v1").rglob("*")}
    assert files == {"header.json", "values.npy", "0.npy", *(f"_{n}.npy" for n in (1, 2, 3, 4, 6, 7, 8))}


def test_what_is_not_plain_data_is_refused(registry: Registry) -> None:
    with pytest.raises(InvalidInput, match="plain data"):
        registry.add(replace(version(), notes={"run": object()}))
    with pytest.raises(InvalidInput, match="names the rule"):
        registry.add(version(BASELINE))
    with pytest.raises(UnknownName):
        registry.load("v1")


def test_python_objects_are_never_stored(tmp_path: Path) -> None:
    registry = DiskRegistry(tmp_path)
    with pytest.raises(InvalidInput, match="holds Python objects"):
        registry.add(replace(version(), state={"values": np.array([{}, None])}))
    assert not (tmp_path / "music" / "v1").exists()


def test_only_known_kinds_and_versions_of_the_domain_enter_the_history(registry: Registry) -> None:
    registry.add(version())
    registry.add(version("g1", domain="games"))
    with pytest.raises(UnknownName, match="Did you mean 'promoted'"):
        registry.record("music", event("promote", "v1"))
    with pytest.raises(UnknownName, match="No version 'g1'"):
        registry.record("music", event("promoted", "g1"))
    assert [each.kind for each in registry.events("music")] == ["added"]


def test_unchanged_events_are_the_same_object(registry: Registry) -> None:
    registry.add(version())
    before = registry.events("music")
    assert registry.events("music") is before
    registry.record("music", event("promoted", "v1"))
    assert registry.events("music") is not before
    assert len(before) == 1


def test_promotion_and_rollback_walk_the_history(registry: Registry) -> None:
    for name in ("a", "b", "c"):
        registry.add(version(name))
    assert (live(registry.events("music")), previous(registry.events("music"))) == (None, None)
    expected = [
        ("promoted", "a", "a", BASELINE),
        ("promoted", "b", "b", "a"),
        ("promoted", "c", "c", "b"),
        ("rolled_back", "b", "b", "a"),
        ("rolled_back", "a", "a", BASELINE),
        ("promoted", "c", "c", "a"),
        ("rolled_back", "a", "a", BASELINE),
        ("rolled_back", BASELINE, None, None),
    ]
    for time, (kind, name, acting, before) in enumerate(expected):
        registry.record("music", event(kind, name, float(time)))
        assert (live(registry.events("music")), previous(registry.events("music"))) == (acting, before)
    assert [(each.version, each.status) for each in versions(registry.events("music"))] == [
        ("a", "retired"),
        ("b", "retired"),
        ("c", "retired"),
    ]


def test_versions_say_where_each_stands() -> None:
    history = [event("added", "a", 1), event("added", "b", 2), event("promoted", "a", 3), event("promoted", "b", 4)]
    history += [event("added", "c", 5), event("promoted", "d", 6), event("compacted", "x", 7)]
    standing = {each.version: each for each in versions(history)}
    assert {name: each.status for name, each in standing.items()} == {
        "a": "retired",
        "b": "retired",
        "c": "candidate",
        "d": "live",
    }
    assert (standing["b"].added, standing["b"].changed) == (NOW + 2, NOW + 6)
    assert math.isnan(standing["d"].added)


def test_a_version_promoted_twice_rolls_back_to_the_one_between() -> None:
    history = [event("promoted", name) for name in ("a", "b", "a", "a")]
    assert previous(history) == "b"
    history.append(event("rolled_back", "b"))
    assert (live(history), previous(history)) == ("b", "a")


def test_an_operator_may_roll_back_to_a_version_that_never_acted() -> None:
    history = [event("promoted", "a"), event("promoted", "b"), event("rolled_back", "z")]
    assert (live(history), previous(history)) == ("z", "a")


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=8))
def test_rolling_back_repeatedly_ends_at_the_baseline(promotions: list[str]) -> None:
    history = [event("promoted", name) for name in promotions]
    distinct = [name for name, before in zip(promotions, [None, *promotions], strict=False) if name != before]
    walked = []
    while (back := previous(history)) is not None:
        walked.append(back)
        history.append(event("rolled_back", back))
    assert walked == [*distinct[-2::-1], BASELINE] if len(distinct) > 1 else walked == [BASELINE]
    assert live(history) is None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=arrays.arrays(
        dtype=st.one_of(
            arrays.floating_dtypes(sizes=(32, 64)), arrays.integer_dtypes(), arrays.boolean_dtypes(), st.just("U3")
        ),
        shape=arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    data=st.data(),
)
def test_any_array_survives_the_disk(tmp_path: Path, array: np.ndarray, data: st.DataObject) -> None:
    name = f"v{len(list((tmp_path / 'music').glob('*')))}"
    turned = array.T if data.draw(st.booleans()) else array
    registry = DiskRegistry(tmp_path)
    registry.add(replace(version(name), state={"array": turned}))
    back = registry.load(name).state["array"]
    assert (back.shape, back.dtype) == (turned.shape, turned.dtype)
    assert back.tobytes() == turned.tobytes()


def test_version_ids_are_readable_and_sort_by_time() -> None:
    rng = np.random.default_rng(0)
    first, second = new_version_id(1_795_266_301.0, rng), new_version_id(1_795_266_302.0, rng)
    assert first.startswith("20261121-130501-")
    assert len(first) == 20
    assert first < second
    assert len({new_version_id(0.0, rng) for _ in range(20)}) == 20
