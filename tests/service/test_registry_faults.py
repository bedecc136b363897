"""Crashes, damage, a full disk and other processes: what a registry on disk survives, and what it says."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bondhu.errors import StateCorrupt, StateTooNew, StoreError, StoreFull, UnknownName
from bondhu.ports import Event, Version
from bondhu.registry import DiskRegistry, live, traffic, versions

ADD = """
import sys, numpy as np
from bondhu.registry import DiskRegistry
from bondhu.ports import Version
registry = DiskRegistry(sys.argv[1])
for number in range(int(sys.argv[3])):
    state = {"values": np.full(int(sys.argv[4]), number, dtype=np.float64)}
    registry.add(Version(f"{sys.argv[2]}{number:05d}", "music", "x", {}, state, {}, float(number)))
    print(number, flush=True)
"""
RECORD = """
import sys
from bondhu.registry import DiskRegistry
from bondhu.ports import Event
registry = DiskRegistry(sys.argv[1])
for number in range(200):
    registry.record("music", Event(float(number / 10), "promoted", "v1", sys.argv[2] * 50, {}))
"""
LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"


def version(name: str = "v1") -> Version:
    state = {"values": np.arange(1000, dtype=np.float64), "epsilon": np.array(0.3)}
    return Version(name, "music", "tabular.q_learning", {"rate": 0.1}, state, {}, 1.0)


@pytest.fixture
def registry(tmp_path: Path) -> DiskRegistry:
    made = DiskRegistry(tmp_path)
    made.add(version())
    made.record("music", Event(2.0, "promoted", "v1", "", {}))
    return made


def start(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_a_writer_killed_at_any_moment_leaves_only_whole_versions(tmp_path: Path) -> None:
    for attempt in range(3):
        process = start(ADD, tmp_path, f"run{attempt}-", 10_000, 200_000)
        assert process.stdout is not None
        process.stdout.readline()  # at least one version is whole
        time.sleep(0.02 * attempt + 0.011)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    registry = DiskRegistry(tmp_path)
    added = [event.version for event in registry.events("music")]
    assert len(added) >= 3
    for name in added:
        assert registry.load(name).state["values"].shape == (200_000,)
    registry.add(version("after"))  # the lock is free, and what was unfinished is cleared
    assert registry.events("music")[-1].version == "after"
    assert not list(tmp_path.glob("music/.adding*"))


def test_a_torn_last_event_is_ignored_and_the_next_one_replaces_it(registry: DiskRegistry, tmp_path: Path) -> None:
    history = tmp_path / "music" / "events.jsonl"
    whole = history.read_bytes()
    history.write_bytes(whole + b'{"time": 3.0, "kind": "rolled_b')
    assert live(registry.events("music")) == "v1"
    registry.record("music", Event(4.0, "rolled_back", "baseline", "slow", {}))
    assert [event.kind for event in registry.events("music")] == ["added", "promoted", "rolled_back"]
    assert history.read_bytes().startswith(whole)
    assert len(history.read_bytes().splitlines()) == 3


def test_a_damaged_event_names_file_and_line(registry: DiskRegistry, tmp_path: Path) -> None:
    history = tmp_path / "music" / "events.jsonl"
    history.write_bytes(b"{oops}\n" + history.read_bytes())
    with pytest.raises(StateCorrupt, match=r"events\.jsonl line 1 is not an event.*Restore"):
        registry.events("music")


def test_a_history_that_is_put_back_from_a_backup_is_read_again(
    registry: DiskRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = tmp_path / "music" / "events.jsonl"
    assert live(registry.events("music")) == "v1"
    monkeypatch.setattr("bondhu.registry.disk._LOOK", 0.0)
    other = DiskRegistry(tmp_path)
    assert live(other.events("music")) == "v1"
    backup = tmp_path / "backup"
    backup.write_bytes(history.read_bytes().replace(b'"promoted"', b'"measured"'))  # of the same length
    backup.replace(history)
    assert live(other.events("music")) is None
    history.unlink()
    assert other.events("music") == ()


def test_what_another_process_records_is_seen_at_once(registry: DiskRegistry, tmp_path: Path) -> None:
    assert live(registry.events("music")) == "v1"
    DiskRegistry(tmp_path).record("music", Event(4.0, "rolled_back", "baseline", "slow", {}))
    assert live(registry.events("music")) is None


@pytest.mark.parametrize("position", [0, 70, 500, -1])
def test_one_flipped_bit_in_an_array_is_found(registry: DiskRegistry, tmp_path: Path, position: int) -> None:
    path = tmp_path / "music" / "v1" / "values.npy"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(StateCorrupt, match=r"values\.npy does not match its checksum.*Roll back"):
        registry.load("v1")


def test_a_truncated_a_missing_and_an_edited_file_are_found(registry: DiskRegistry, tmp_path: Path) -> None:
    folder = tmp_path / "music" / "v1"
    whole = (folder / "values.npy").read_bytes()
    (folder / "values.npy").write_bytes(whole[:-8])
    with pytest.raises(StateCorrupt, match="checksum"):
        registry.load("v1")
    (folder / "values.npy").unlink()
    with pytest.raises(StateCorrupt, match=r"values\.npy is missing"):
        registry.load("v1")
    (folder / "values.npy").write_bytes(whole)
    header = (folder / "header.json").read_text()
    (folder / "header.json").write_text(header.replace('"rate": 0.1', '"rate": 0.9'))
    with pytest.raises(StateCorrupt, match=r"header\.json does not match its checksum"):
        registry.load("v1")
    (folder / "header.json").write_text(header[:40])
    with pytest.raises(StateCorrupt, match=r"header\.json is not a header"):
        registry.load("v1")
    (folder / "header.json").unlink()
    with pytest.raises(StateCorrupt, match=r"header\.json is missing"):
        registry.load("v1")


def test_a_newer_format_is_said_to_be_newer(registry: DiskRegistry, tmp_path: Path) -> None:
    path = tmp_path / "music" / "v1" / "header.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(StateTooNew, match="format 2; this release reads up to 1"):
        registry.load("v1")


def header_with(path: Path, **changes: object) -> None:
    """Change what the header says of the array "values", with a checksum that fits."""
    header = json.loads(path.read_text())
    del header["checksum"]
    about = {**header["arrays"]["values"], **changes}
    header["arrays"]["values"] = {key: value for key, value in about.items() if value is not None}
    header["checksum"] = hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(header))


@pytest.mark.parametrize("file", ["../v2/values.npy", "/etc/hosts", "a/values.npy", "..", "header.json"])
def test_a_header_that_points_out_of_its_folder_is_not_followed(
    registry: DiskRegistry, tmp_path: Path, file: str
) -> None:
    registry.add(version("v2"))
    header_with(tmp_path / "music" / "v1" / "header.json", file=file)
    with pytest.raises(StateCorrupt, match="is no array in the folder of its version"):
        registry.load("v1")


def test_versions_from_before_headers_named_files_are_read(registry: DiskRegistry, tmp_path: Path) -> None:
    header_with(tmp_path / "music" / "v1" / "header.json", file=None)
    assert registry.load("v1").state["values"].tolist() == list(range(1000))


def test_a_renamed_folder_does_not_pass_for_another_version(registry: DiskRegistry, tmp_path: Path) -> None:
    (tmp_path / "music" / "v1").rename(tmp_path / "music" / "v2")
    with pytest.raises(StateCorrupt, match="holds version 'v1'"):
        registry.load("v2")


def test_pickled_arrays_are_never_opened(registry: DiskRegistry, tmp_path: Path) -> None:
    np.save(tmp_path / "music" / "v1" / "values.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(StateCorrupt):
        registry.load("v1")


def test_two_processes_append_without_losing_or_mixing_events(registry: DiskRegistry, tmp_path: Path) -> None:
    both = [start(RECORD, tmp_path, who) for who in "AB"]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    reasons = [event.reason for event in registry.events("music")[2:]]
    assert sorted(reasons) == ["A" * 50] * 200 + ["B" * 50] * 200


def test_two_processes_add_side_by_side(tmp_path: Path) -> None:
    both = [start(ADD, tmp_path, who, 20, 1000) for who in "ab"]
    for process in both:
        process.communicate()
    registry = DiskRegistry(tmp_path)
    assert sorted(event.version for event in registry.events("music")) == [
        f"{w}{n:05d}" for w in "ab" for n in range(20)
    ]


def test_a_full_disk_stores_nothing_and_loses_nothing(tmp_path: Path) -> None:
    process = start(LIMITED + ADD, tmp_path, "big", 1, 100_000)  # 800 kB where files may hold 64 kB
    _, errors = process.communicate()
    assert b"StoreFull" in errors
    assert b"big00000 was not stored" in errors
    registry = DiskRegistry(tmp_path)
    assert registry.events("music") == ()
    with pytest.raises(UnknownName):
        registry.load("big00000")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["lock"]
    registry.add(version())
    assert registry.load("v1").state["epsilon"] == 0.3


def test_a_disk_that_fills_in_the_middle_of_an_event_undoes_it(
    registry: DiskRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real = registry.events("music"), os.pwrite

    def half(descriptor: int, block: bytes, offset: int) -> int:
        if offset == size:
            return real(descriptor, block[:5], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    size = (tmp_path / "music" / "events.jsonl").stat().st_size
    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(StoreFull, match=r"events\.jsonl was not stored.*Free some space"):
        registry.record("music", Event(3.0, "rolled_back", "baseline", "", {}))
    with pytest.raises(StoreFull):
        registry.add(version("v2"))
    monkeypatch.undo()
    assert registry.events("music") == before
    assert [path.name for path in (tmp_path / "music").iterdir() if path.is_dir()] == ["v1"]


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        DiskRegistry(tmp_path / "file").add(version())


MOVING = """
import sys
from itertools import count
from bondhu.ports import Event
from bondhu.registry import DiskRegistry
registry = DiskRegistry(sys.argv[1])
moves = (("tried", "a", 0.1), ("tried", "a", 0.5), ("promoted", "a", None), ("promoted", "b", None))
for number in count():
    for kind, name, share in moves:
        registry.record("music", Event(1.0, kind, name, "x" * 2000, {}, "loop", share))
        print(kind, flush=True)
"""


def test_a_process_killed_in_the_middle_of_a_transition_leaves_one_live_version(tmp_path: Path) -> None:
    registry = DiskRegistry(tmp_path)
    for name in "ab":
        registry.add(version(name))
    registry.record("music", Event(1.0, "promoted", "b", "", {}))
    for number in range(8):
        moving = subprocess.Popen([sys.executable, "-c", MOVING, str(tmp_path)], stdout=subprocess.PIPE)
        assert moving.stdout is not None
        for _ in range(3 + number):
            moving.stdout.readline()
        moving.kill()
        moving.wait()
        moving.stdout.close()
        after = DiskRegistry(tmp_path)
        now = traffic(after.events("music"))
        assert now.live in ("a", "b")
        assert [each.version for each in versions(after.events("music")) if each.status == "live"] == [now.live]
        after.record("music", Event(1.0, "promoted", "b", "again", {}))  # the next operator is not locked out
        assert traffic(after.events("music")).live == "b"
