"""Trackers hold each interaction, training, version and conversation once, as their own readers say."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bondhu.app import App
from bondhu.cli import app as commands
from bondhu.corpora.tracking import Target, Told, conversations, marked, target_of, track
from bondhu.domains.assistant.record import GROUPS
from bondhu.erasing import erase
from bondhu.errors import InvalidInput, StoreError, UnknownName
from bondhu.monitor.tracking.mlflow_deployment import bare, model_name
from bondhu.monitor.tracking.mlflow_traces import digest_of, identity
from bondhu.ports import Event, Transcript
from bondhu.types import Decision, Feedback
from tests.assistant.talks import ACTIONS, START, Clock, Talk, deployment, fill, goes_on

DAY = 86_400.0
SECONDS = 120.0  # for a server to start


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow writes to where it is run unless it is told otherwise."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)


def talked(folder: Path, clock: Clock | None = None, *, sessions: int = 6) -> App:
    """Conversations of two turns each; the first asks back, the second is accepted or refused."""
    app = deployment(folder, clock, learner={"name": "bandit.ucb1"})
    talks = []
    for number in range(sessions):
        who, session = f"p{number}", f"s{number}"
        more = {"model": "tiny", "upstream": "local", "seconds": 1.5, "status": "answered"}
        talks += [
            Talk("Sort it", "How?", {"clarification": 1.0, "cost": 0.01}, who, session, more=more),
            Talk(
                *("Upwards", "So.", {"accept" if number % 2 else "reject": 1.0}, who, session),
                before=goes_on("Sort it", "How?"),
                more=more,
            ),
        ]
    fill(app, talks)
    return app


def client(address: str) -> Any:
    from bondhu.monitor.tracking.mlflow import client_of

    return client_of(address)


def held(address: str) -> dict[str, Any]:
    """What MLflow knows of the deployment."""
    known = client(address)
    experiment = known.get_experiment_by_name("bondhu/chat").experiment_id
    runs = known.search_runs([experiment])
    (parent,) = [each for each in runs if "bondhu.deployment" in each.data.tags]
    children = [each for each in runs if each.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    traces = known.search_traces(locations=[experiment])
    return {"client": known, "parent": parent, "children": children, "traces": list(traces), "runs": runs}


def steps(known: Any, run: Any, name: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in known.get_metric_history(run.info.run_id, name)]


# --------------------------------------------------------------------------------------------------------------- MLflow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server with its pages, on a free port."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    told = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=told, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        until = time.monotonic() + SECONDS
        while not _answers(f"{address}/health"):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, "the server takes too long"
            time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_real_server_holds_everything_once_and_shows_its_pages(server: str, tmp_path: Path) -> None:
    app = talked(tmp_path / "app")
    version = app.train().trained.version
    assert version is not None
    app.promote(version.id, reason="a test")
    target = Target("mlflow", server)
    assert track(app, target) == Told(12, 1, 6)
    assert track(app, target) == Told(0, 0, 0)
    found = held(server)
    known, parent = found["client"], found["parent"]
    assert parent.info.run_name == "chat"
    assert steps(known, parent, "reward_signal") == [(n + 1, [0.5, -0.5, 0.5, 1.0][n % 4]) for n in range(12)]
    assert parent.data.metrics["rl_metrics.episode"] == 12
    groups = {name.split(".")[0] for name in parent.data.metrics}
    assert groups <= set(GROUPS)
    assert len(groups) >= 5
    (child,) = found["children"]
    assert (child.info.run_name, child.data.tags["bondhu.version"]) == (version.id, version.id)
    assert child.data.params["learner"] == "bandit.ucb1"
    assert child.data.metrics["interactions"] == version.notes["interactions"]
    files = {Path(each.path).name for each in known.list_artifacts(child.info.run_id, "version")}
    assert "header.json" in files
    assert {Path(each).suffix for each in files} <= {".json", ".npy"}  # arrays and plain data: nothing is unpickled
    (model,) = known.search_model_versions(f"name = '{model_name('chat')}'")
    assert (model.tags["bondhu.version"], model.run_id) == (version.id, child.info.run_id)
    assert model.source.endswith("/version")
    assert known.get_model_version_by_alias(model_name("chat"), "live").version == model.version
    (said,) = app.verdicts(version.id)
    assert model.tags["bondhu.verdict"] == said.figures["decision"] == "wait"
    assert model.tags["bondhu.verdict.against"] == "baseline"
    assert model.tags["bondhu.verdict.reasons"] == " ".join(said.figures["reasons"])
    value, low, high = (said.figures[f"candidate_{each}"] for each in ("value", "low", "high"))
    assert model.tags["bondhu.verdict.reward"] == f"{value:.4g} ({low:.4g} to {high:.4g})"
    assert "The gate said **wait**" in model.description
    assert all(f"- {each}" in model.description for each in said.figures["reasons"])
    assert f"- reward: {value:.4g} ({low:.4g} to {high:.4g})" in model.description
    assert len(found["traces"]) == 6
    with urllib.request.urlopen(server) as page:
        assert "<title>MLflow</title>" in page.read().decode()
    asked = f"{server}/ajax-api/2.0/mlflow/runs/get?run_id={child.info.run_id}"
    with urllib.request.urlopen(asked) as answer:  # what its page is made of
        assert json.load(answer)["run"]["info"]["run_name"] == version.id


def test_a_later_verdict_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    app = talked(tmp_path / "app")
    version = app.train().trained.version
    assert version is not None
    target = Target("mlflow", f"sqlite:///{tmp_path}/mlflow.db")
    track(app, target)
    reasons = ["Average reward 0.8 (0.7 to 0.9) is at least 0.3."]
    figures = {"agreement": 0.9, "agreement_low": 0.8, "agreement_high": 0.95, "advantage_value": 0.1}
    told = {"decision": "promote", "reasons": reasons, "against": "application", **figures}
    app.deployment.registry.record("chat", Event(START + 2 * DAY, "judged", version.id, "promote", told))
    assert track(app, target) == Told(0, 0, 0)
    (model,) = client(target.place).search_model_versions(f"name = '{model_name('chat')}'")
    said = {name.removeprefix("bondhu.verdict"): value for name, value in model.tags.items() if "verdict" in name}
    assert said == {
        "": "promote",
        ".against": "application",
        ".time": "2027-01-17T08:00:00Z",
        ".reasons": reasons[0],
        ".agreement": "0.9 (0.8 to 0.95)",
    }
    assert model.description.startswith("The gate said **promote** at 2027-")
    asked = "tags.`bondhu.verdict` = 'promote'"
    assert [each.version for each in client(target.place).search_model_versions(asked)] == [model.version]


def test_a_conversation_is_a_trace_with_a_span_a_turn_and_feedback_as_assessments(tmp_path: Path) -> None:
    app = talked(tmp_path / "app", sessions=2)
    address = f"sqlite:///{tmp_path}/mlflow.db"
    track(app, Target("mlflow", address))
    traces = {each.info.trace_metadata["mlflow.trace.session"]: each for each in held(address)["traces"]}
    trace = traces["s1"]
    root, first, second = sorted(trace.data.spans, key=lambda span: (span.parent_id is not None, span.start_time_ns))
    assert (root.name, first.name, second.name) == ("conversation", "turn 1", "turn 2")
    assert {first.parent_id, second.parent_id} == {root.span_id}
    assert second.inputs == {"messages": goes_on("Sort it", "How?", "Upwards")}
    assert second.outputs == {"role": "assistant", "content": "So."}
    told = {name.removeprefix("bondhu."): second.attributes[name] for name in second.attributes}
    wanted = {"decision": "d0003", "version": "baseline", "action": ACTIONS[3], "probability": 0.25, "reward": 1.0}
    assert wanted.items() <= told.items()
    assert {"model": "tiny", "upstream": "local", "seconds": 1.5}.items() <= told.items()
    assert first.attributes["bondhu.cost"] == 0.01
    assert second.start_time_ns == int((START + 180) * 1e9)
    assert second.end_time_ns == int((START + 182) * 1e9)
    said = {(each.name, each.value, each.span_id) for each in trace.info.assessments}
    assert said == {("clarification", 1.0, first.span_id), ("accept", 1.0, second.span_id)}
    assert trace.info.token_usage == {"input_tokens": 14, "output_tokens": 10, "total_tokens": 24}
    assert trace.info.trace_metadata["mlflow.trace.user"] == "p1"


def test_a_conversation_that_goes_on_or_is_judged_later_takes_the_place_of_its_trace(tmp_path: Path) -> None:
    clock = Clock(START + 600)  # nothing is settled yet
    app = talked(tmp_path / "app", clock, sessions=2)
    address = f"sqlite:///{tmp_path}/mlflow.db"
    target = Target("mlflow", address)
    assert track(app, target) == Told(0, 0, 2)
    assert track(app, target) == Told(0, 0, 0)
    app.log.append([], [Feedback("late", "d0001", "accept", 1.0, START + 500)])
    made = Decision(
        "d9", "chat", "s1", "p1", START + 550, {"topic": "code"}, ACTIONS, ACTIONS[0], 0.25, (), "v", "live"
    )
    app.log.append([made])
    app.transcripts.keep([Transcript("d9", START + 551, {"messages": goes_on("More"), "answer": {"content": "Yes"}})])
    assert track(app, target) == Told(0, 0, 2)
    found = {each.info.trace_metadata["mlflow.trace.session"]: each for each in held(address)["traces"]}
    assert {session: len(each.data.spans) for session, each in found.items()} == {"s0": 3, "s1": 4}
    assert {each.name for each in found["s0"].info.assessments} == {"clarification", "reject", "accept"}
    clock.time += DAY
    assert track(app, target) == Told(5, 0, 0)
    assert track(app, target) == Told(0, 0, 0)


def test_what_was_told_in_parts_is_the_same_as_at_once(tmp_path: Path) -> None:
    clock = Clock(START + 3600 + 200)  # four are settled
    app = talked(tmp_path / "app", clock)
    parts, whole = (Target("mlflow", f"sqlite:///{tmp_path}/{name}.db") for name in ("parts", "whole"))
    assert track(app, parts).interactions == 4
    clock.time += DAY
    assert track(app, parts).interactions == 8
    assert track(app, whole).interactions == 12
    one, other = held(parts.place), held(whole.place)
    for name in other["parent"].data.metrics:
        assert steps(one["client"], one["parent"], name) == steps(other["client"], other["parent"], name)
    assert marked(app, parts) == marked(app, whole)


def test_hashed_and_dropped_texts_are_told_as_they_are_stored(tmp_path: Path) -> None:
    app = deployment(tmp_path / "app")
    fill(app, [Talk("0a1b2c3d 99887766", "", more={"messages": []}), Talk("0a1b2c3d", "11223344", session="s2")])
    records = app.log.read("chat", 0.0, float("inf"))
    dropped, hashed = conversations(app, records, 0.0)
    assert (dropped.turns[0].messages, dropped.turns[0].failed) == ([], False)
    assert [each["content"] for each in hashed.turns[0].messages] == ["0a1b2c3d"]
    assert identity(dropped) != identity(hashed)
    assert digest_of(dropped) != digest_of(dropped._replace(users=("other",)))


def test_an_erasure_takes_the_conversations_of_a_person_out_of_mlflow(tmp_path: Path) -> None:
    app = talked(tmp_path / "app")
    address = f"sqlite:///{tmp_path}/mlflow.db"
    fill(app, [Talk(session="two", user=user, changes={"id": f"t-{user}"}) for user in ("p1", "p2")])
    app.transcripts.keep([Transcript("t-p2", START, {"messages": goes_on("As p1 said"), "answer": {"content": "So"}})])
    track(app, Target("mlflow", address))
    assert len(held(address)["traces"]) == 7
    certificate = erase(app, "p1", by="somebody")
    assert (certificate["files"][address], certificate["unreached"]) == (2, [])
    users = {each.info.trace_metadata["mlflow.trace.user"] for each in held(address)["traces"]}
    assert users == {"p0", "p2", "p3", "p4", "p5"}


def test_where_mlflow_is_away_the_certificate_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    app = talked(tmp_path / "app", sessions=1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(StoreError, match=f"MLflow at {re.escape(address)} does not take it"):
        track(app, Target("mlflow", address))
    assert marked(app, Target("mlflow", address)).totals.episodes == 0
    app.ledger.note("tracked", "chat", {"to": f"mlflow:{address}", "until": None, "totals": {}}, time=1.0)
    unreached = erase(app, "p0", by="somebody")["unreached"]
    assert [each["what"] for each in unreached] == [address]


# ------------------------------------------------------------------------------------------------- TensorBoard and W&B


def test_tensorboard_holds_each_interaction_and_training_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    clock = Clock(START + 3600 + 200)
    app = talked(tmp_path / "app", clock)
    target = target_of(f"tensorboard:{tmp_path}/board")
    assert track(app, target) == Told(4, 0, 0)
    clock.time += DAY
    assert app.train().trained.version is not None
    clock.time += DAY
    assert track(app, target) == Told(8, 1, 0)
    assert track(app, target) == Told(0, 0, 0)
    seen = EventAccumulator(str(tmp_path / "board" / "tensorboard")).Reload()
    assert [(each.step, each.value) for each in seen.Scalars("rl_metrics.episode")] == [(n, n) for n in range(1, 13)]
    (trained,) = seen.Scalars("training.interactions")
    assert (trained.step, trained.value > 0) == (12, True)


def test_wandb_holds_them_offline(tmp_path: Path) -> None:
    app = talked(tmp_path / "app", sessions=2)
    target = target_of(f"wandb:{tmp_path}/bias")
    assert track(app, target) == Told(4, 0, 0)
    assert track(app, target) == Told(0, 0, 0)
    files = list(tmp_path.glob("bias/wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 1
    assert b"rl_metrics.avg_reward" in files[0].read_bytes()


# --------------------------------------------------------------------------------------------------------- the command


def test_who_is_not_known_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'mlflow'"):
        target_of("mlflo:http://127.0.0.1")
    with pytest.raises(InvalidInput, match="does not say where"):
        target_of("wandb")
    assert target_of("mlflow:http://me:secret@127.0.0.1:5000/x").name == "mlflow:http://127.0.0.1:5000/x"
    assert bare("sqlite:////tmp/a.db") == "sqlite:////tmp/a.db"


def test_the_command_says_how_much_was_new(tmp_path: Path) -> None:
    from bondhu.cli.shared import opened

    (tmp_path / "bondhu.toml").write_text(
        '[domain]\nname = "chat"\n[context.topic]\nkind = "category"\nvalues = ["code", "other"]\n'
        '[actions]\nstyle = ["plain", "steps"]\nmodel = ["small", "large"]\n[reward.signals]\naccept = 1.0\n'
    )
    fill(opened(tmp_path), [Talk(said={"accept": 1.0}, changes={"time": 1_700_000_000.0})])
    arguments = ["track", "-C", str(tmp_path), "--to", f"mlflow:sqlite:///{tmp_path}/m.db"]
    first, again = (CliRunner().invoke(commands, arguments) for _ in range(2))
    assert "interactions 1, trainings 0, conversations 1." in first.output
    assert "interactions 0, trainings 0, conversations 0." in again.output
    wrong = CliRunner().invoke(commands, ["track", "-C", str(tmp_path), "--to", "mlflo:x"])
    assert isinstance(wrong.exception, UnknownName)
