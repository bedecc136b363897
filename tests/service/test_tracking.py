"""What a run tells its trackers is read back by each tool's own reader; nothing is sent, nothing stays behind."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bondhu.errors import InvalidInput, UnknownName
from bondhu.monitor.tracking import Tracker, flat
from bondhu.monitor.tracking.jsonl import Jsonl, read
from bondhu.monitor.tracking.names import NAMES
from bondhu.monitor.tracking.opening import PACKAGES, opened
from bondhu.monitor.tracking.several import Several
from bondhu.monitor.tracking.tensorboard import picture_size

CONFIGURATION = {"environment": "CartPole-v1", "learner": {"name": "deep.ppo", "hidden": [64, 64], "clip": 0.2}}
NOW = 1_800_000_000.0


def picture(path: Path, height: int = 2, width: int = 3) -> Path:
    """A grey PNG of that size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\x00" + b"\x80" * width) * height)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    return path


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Every address outside this machine that this process asks for."""
    addresses: list[Any] = []
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def connecting(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None) and address[0] not in {"127.0.0.1", "::1", "localhost"}:
            addresses.append(address)
        connect(self, address)

    def resolving(host: Any, *rest: Any, **more: Any) -> Any:
        if host not in {None, "127.0.0.1", "::1", "localhost"}:
            addresses.append(host)
        return resolve(host, *rest, **more)

    monkeypatch.setattr(socket.socket, "connect", connecting)
    monkeypatch.setattr(socket, "getaddrinfo", resolving)
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    return addresses


def tell(name: str, folder: Path, records: Mapping[int, Mapping[str, float]], *, step: int = 0, end: str = "") -> None:
    """One session of a run; without an `end` it is interrupted, though its files are closed."""
    tracker = opened([name], folder, "seed 1", step)
    tracker.begin({**CONFIGURATION, "resumed": True} if step else CONFIGURATION)
    for at, metrics in records.items():
        tracker.record(metrics, at)
    if end:
        tracker.file(picture(folder / "curve.png"), "picture")
    tracker.end(end or "stopped")


FIRST = {10: {"loss": 3.0, "kl": 0.01}, 20: {"loss": 2.0}, 30: {"loss": 9.0}}  # stored up to step 20, then killed
THEN = {30: {"loss": 1.0}, 40: {"loss": 0.5}}


# ------------------------------------------------------------------------------------------------------- lines of JSON


def lines(folder: Path) -> list[dict[str, Any]]:
    return read(folder / "metrics.jsonl")


def test_a_record_is_one_line_with_step_and_time(tmp_path: Path) -> None:
    tracker = Jsonl(tmp_path, clock=lambda: NOW)
    tracker.begin({})
    tracker.record({"loss": 0.5, "kl": math.nan, "td_error": math.inf}, 7)
    tracker.file(tmp_path / "a.gif", "video")
    whole = (tmp_path / "metrics.jsonl").read_text()  # on disk before the end
    tracker.end()
    assert whole == '{"step": 7, "time": 1800000000.0, "loss": 0.5, "kl": null, "td_error": null}\n'
    assert read(tmp_path / "files.jsonl") == [
        {"step": 7, "time": NOW, "path": str(tmp_path / "a.gif"), "kind": "video"}
    ]


def test_records_later_than_the_resumed_step_are_cut_away(tmp_path: Path) -> None:
    tell("jsonl", tmp_path, FIRST)
    tell("jsonl", tmp_path, THEN, step=20)
    assert [(line["step"], line["loss"]) for line in lines(tmp_path)] == [(10, 3.0), (20, 2.0), (30, 1.0), (40, 0.5)]


def test_a_run_begun_anew_keeps_no_earlier_records(tmp_path: Path) -> None:
    tell("jsonl", tmp_path, FIRST)
    tell("jsonl", tmp_path, {0: {"loss": 4.0}})
    assert [line["loss"] for line in lines(tmp_path)] == [4.0]


def test_a_torn_last_line_is_skipped_when_read_and_mended_when_continued(tmp_path: Path) -> None:
    tell("jsonl", tmp_path, FIRST)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-9])  # kill -9 in the middle of a line
    assert [line["step"] for line in lines(tmp_path)] == [10, 20]
    tell("jsonl", tmp_path, THEN, step=20)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [10, 20, 30, 40]


def test_a_file_that_is_not_there_has_no_records(tmp_path: Path) -> None:
    assert read(tmp_path / "metrics.jsonl") == []


# --------------------------------------------------------------------------------------------------------- TensorBoard


def test_tensorboard_reads_curves_configuration_and_pictures(tmp_path: Path, called: list[Any]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tell("tensorboard", tmp_path, FIRST)
    tell("tensorboard", tmp_path, THEN, step=20, end="finished")
    seen = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(point.step, point.value) for point in seen.Scalars("loss")] == [(10, 3.0), (20, 2.0), (30, 1.0), (40, 0.5)]
    assert [point.step for point in seen.Scalars("kl")] == [10]
    assert b"| learner.clip | 0.2 |" in seen.Tensors("configuration")[0].tensor_proto.string_val[0]
    shown = seen.Images("picture")[0]
    assert (shown.step, shown.height, shown.width) == (40, 2, 3)
    assert called == []


def test_curves_go_on_after_an_event_torn_by_kill_9(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tell("tensorboard", tmp_path, FIRST)
    (torn,) = (tmp_path / "tensorboard").iterdir()
    torn.write_bytes(torn.read_bytes()[:-5])
    tell("tensorboard", tmp_path, THEN, step=20)
    seen = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(point.step, point.value) for point in seen.Scalars("loss")] == [(10, 3.0), (20, 2.0), (30, 1.0), (40, 0.5)]


def test_the_size_of_a_picture_is_read_from_its_header(tmp_path: Path) -> None:
    assert picture_size(picture(tmp_path / "a.png", 5, 300).read_bytes()) == (5, 300)
    assert picture_size(b"GIF89a" + struct.pack("<HH", 84, 60)) == (60, 84)
    assert picture_size(b"") is None


def test_tensorboard_names_a_file_that_it_cannot_show(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = opened(["tensorboard"], tmp_path, "seed 1")
    tracker.begin({})
    tracker.file(tmp_path / "state.npz", "checkpoint")
    tracker.end()
    seen = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    told = seen.Tensors("files/state.npz")[0].tensor_proto.string_val[0].decode()
    assert told == f"checkpoint `{tmp_path / 'state.npz'}`"


# -------------------------------------------------------------------------------------------------------------- MLflow


def test_mlflow_holds_one_run_with_its_parameters_metrics_and_files(tmp_path: Path, called: list[Any]) -> None:
    tell("mlflow", tmp_path, FIRST)
    tell("mlflow", tmp_path, {30: {"loss": 9.0}, 40: {"loss": 0.5, "eval/return (mean)": 7.0}}, step=20, end="finished")

    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("bondhu")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("seed 1", "FINISHED")
    assert run.data.params == {
        "environment": "CartPole-v1", "learner.name": "deep.ppo", "learner.hidden": "[64, 64]", "learner.clip": "0.2",
        "resumed": "True",
    }  # fmt: skip
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(10, 3.0), (20, 2.0), (30, 9.0), (40, 0.5)]
    assert run.data.metrics["eval/return _mean_"] == 7.0  # MLflow knows no parentheses
    assert [file.path for file in client.list_artifacts(run.info.run_id, "picture")] == ["picture/curve.png"]
    assert (tmp_path / "mlflow" / "artifacts" / run.info.run_id / "artifacts" / "picture" / "curve.png").exists()

    interrupted = run.info.run_id
    client.update_run(interrupted, status="RUNNING")
    tell("mlflow", tmp_path, {5: {"loss": math.nan}}, end="failed")  # begun anew: another run
    states = {each.info.run_id: each.info.status for each in client.search_runs([experiment.experiment_id])}
    assert sorted(states.values()) == ["FAILED", "KILLED"]
    assert states[interrupted] == "KILLED"
    assert called == []


# ------------------------------------------------------------------------------------------------------------------ W&B


def transactions(path: Path) -> list[Any]:
    """The records of an offline run: protocol buffers in LevelDB's log format, of at most one block."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, records = path.read_bytes(), 7, []  # a header of seven bytes
    assert content[:4] == b":W&B"
    assert len(content) < 32768
    while at < len(content):
        length, kind = struct.unpack_from("<HB", content, at + 4)
        assert kind == 1  # whole
        record = Record()
        record.ParseFromString(content[at + 7 : at + 7 + length])
        records.append(record)
        at += 7 + length
    return records


def history(path: Path) -> list[dict[str, Any]]:
    parts = [record.history.item for record in transactions(path) if record.WhichOneof("record_type") == "history"]
    return [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in items} for items in parts]


def test_wandb_holds_the_history_offline_under_one_id(tmp_path: Path, called: list[Any]) -> None:
    tell("wandb", tmp_path, FIRST)
    second = int(time.time())
    while int(time.time()) == second:  # W&B names its folders by the second
        time.sleep(0.01)
    tell("wandb", tmp_path, THEN, step=20, end="finished")
    files = sorted(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 2
    assert len({path.name for path in files}) == 1  # run-<id>.wandb
    told = [(row["_step"], row["loss"]) for path in files for row in history(path)]
    assert sorted(told) == [(10, 3.0), (20, 2.0), (30, 1.0), (30, 9.0), (40, 0.5)]
    assert [path.name for path in tmp_path.glob("wandb/offline-run-*/files/picture/*")] == ["curve.png"]
    assert called == []


def test_wandb_leaves_no_process_behind(tmp_path: Path) -> None:
    assert children() == []
    tell("wandb", tmp_path, {1: {"loss": 1.0}})
    assert list(tmp_path.glob("wandb/offline-run-*")) != []
    assert children() == []


def children() -> list[str]:
    """Command lines of the processes that this one has started and that still run (where the system lists them)."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(status.with_name("cmdline").read_text())
    return [command for command in found if "wandb" in command]


# -------------------------------------------------------------------------------------------------------------- several


class Kept:
    """A tracker in memory that can fail at one of its verbs."""

    def __init__(self, fails: str = "") -> None:
        self.told: list[tuple[str, Any]] = []
        self._fails = fails

    def _tell(self, verb: str, what: Any) -> None:
        self.told.append((verb, what))
        if verb == self._fails:
            raise OSError("no space left")

    def begin(self, configuration: Mapping[str, Any], /) -> None:
        self._tell("begin", configuration)

    def record(self, metrics: Mapping[str, float], step: int, /) -> None:
        self._tell("record", (step, metrics))

    def file(self, path: Path, kind: str = "", /) -> None:
        self._tell("file", (path, kind))

    def end(self, status: str = "finished", /) -> None:
        self._tell("end", status)


def run(tracker: Tracker) -> None:
    tracker.begin({"a": 1})
    for step in (1, 2, 3):
        tracker.record({"loss": 1.0}, step)
    tracker.file(Path("x.png"), "picture")
    tracker.end("stopped")


def test_every_tracker_is_told_the_same() -> None:
    one, other = Kept(), Kept()
    run(Several({"one": one, "other": other}))
    assert one.told == other.told
    assert [verb for verb, _ in one.told] == ["begin", "record", "record", "record", "file", "end"]


@pytest.mark.parametrize("verb", ["begin", "record", "file", "end"])
def test_a_tracker_that_fails_says_so_once_and_the_others_go_on(verb: str, caplog: pytest.LogCaptureFixture) -> None:
    sick, well = Kept(fails=verb), Kept()
    with caplog.at_level(logging.WARNING):
        run(Several({"sick": sick, "well": well}))
    assert [record.getMessage() for record in caplog.records] == [
        "sick no longer tracks this run, which goes on: OSError('no space left')"
    ]
    assert len(well.told) == 6
    assert [told for told, _ in sick.told].count(verb) == 1
    assert sick.told[-1] == ("end", "stopped")  # what it holds open is closed


# -------------------------------------------------------------------------------------------------------------- opening


def test_a_wrong_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"No tracker 'tensorbord'\. Did you mean 'tensorboard'\?"):
        opened(["jsonl", "tensorbord"], tmp_path, "seed 1")


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InvalidInput) as refused:
        opened(["wandb"], tmp_path, "seed 1")
    assert "needs the package 'wandb', which is not installed" in str(refused.value)
    assert "pip install 'bondhu[tracking]'" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_opening_loads_no_package_before_a_run_begins(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bondhu.monitor.tracking.opening import PACKAGES, opened;"
        f"opened(list(PACKAGES), Path({str(tmp_path)!r}), 'x');"
        "print([name for name in ('mlflow', 'wandb', 'tensorboard', 'jax', 'numba') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
    assert set(PACKAGES) == {"jsonl", "tensorboard", "mlflow", "wandb"}


def test_nested_configuration_becomes_dotted_names() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": [2]}, "e": None}) == {"a.b.c": 1, "a.d": [2], "e": None}


def test_the_names_that_were_promised_are_documented() -> None:
    promised = (
        "loss gradient_norm confidence value_estimation reward_signal exploration_rate episode total_reward avg_reward "
        "success_rate entropy kl clip_fraction explained_variance td_error learning_rate temperature steps_per_second "
        "policy_loss value_loss intrinsic_reward"
    )
    assert set(promised.split()) <= set(NAMES)
    assert all(meaning.what and meaning.unit for meaning in NAMES.values())
