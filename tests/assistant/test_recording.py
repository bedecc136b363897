"""The record of seed 000 for each interaction of a deployment: figures that follow from the log by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bondhu.app import App
from bondhu.cli import app as commands
from bondhu.domains.assistant.record import GROUPS
from bondhu.recording import Wanted, interactions, plain
from bondhu.types import Feedback
from tests.assistant.talks import START, Talk, deployment, fill

TOML = """
[domain]
name = "chat"
[context.topic]
kind = "category"
values = ["code", "other"]
[actions]
style = ["plain", "steps"]
model = ["small", "large"]
[reward.signals]
accept = 1.0
reject = -0.5
[learner]
name = "bandit.ucb1"
[training]
min_interactions_per_user = 1
"""


def talked(folder: Path, count: int = 12) -> App:
    """Two people; steps are accepted, plain answers refused."""
    app = deployment(folder, learner={"name": "bandit.ucb1"})
    said = [{"accept": 1.0} if number % 4 > 1 else {"reject": 1.0} for number in range(count)]
    fill(app, [Talk(said=each, user="ann" if n % 3 else "ben", session=f"s{n // 2}") for n, each in enumerate(said)])
    return app


def test_each_interaction_has_one_record_with_running_figures(tmp_path: Path) -> None:
    shown = interactions(talked(tmp_path))
    rewards = [-0.5, -0.5, 1.0, 1.0] * 3
    assert [each.reward_signal for each in shown.records] == rewards
    assert [each.rl_metrics.episode for each in shown.records] == list(range(1, 13))
    assert [each.rl_metrics.total_reward for each in shown.records] == [sum(rewards[: n + 1]) for n in range(12)]
    last = shown.records[-1]
    assert (last.rl_metrics.success_rate, last.rl_metrics.avg_reward) == (0.5, 0.25)
    assert last.signals == {"accept": 1.0}
    assert last.interval[0] < 0.25 < last.interval[1]
    assert (last.rl_state.model_version, last.rl_state.initialized) == ("baseline", False)
    assert last.policy_info.epsilon == 1.0  # the floor that was logged with the decision
    assert list(plain(last))[3:10] == list(GROUPS)
    assert (shown.totals.episodes, shown.found) == (12, 12)


def test_people_sessions_times_and_numbers_choose_and_the_figures_count_everything(tmp_path: Path) -> None:
    app = talked(tmp_path)
    ids = lambda **asked: [each.decision_id for each in interactions(app, Wanted(**asked)).records]  # noqa: E731
    assert ids(user="ben") == ["d0000", "d0003", "d0006", "d0009"]
    assert ids(session="s2") == ["d0004", "d0005"]
    assert ids(user="ben", session="s2") == []
    assert ids(since=START + 600) == ["d0010", "d0011"]
    assert ids(user="nobody") == []
    shown = interactions(app, Wanted(user="ben", limit=2))
    assert ([each.decision_id for each in shown.records], shown.found) == (["d0006", "d0009"], 4)
    assert [each.rl_metrics.episode for each in shown.records] == [7, 10]
    assert shown.totals.episodes == 12


def test_a_person_is_found_by_the_name_and_by_what_is_stored_of_it(tmp_path: Path) -> None:
    app = deployment(tmp_path, privacy={"user": "hash", "salt": "a salt of enough characters"})
    from bondhu.doors import masks

    door = masks(app.settings, app.domain)
    assert door is not None
    stored = door.name("ann")
    fill(app, [Talk(user=stored, session="s1"), Talk(user="else", session="s2")])
    for name in ("ann", str(stored)):
        assert [each.decision_id for each in interactions(app, Wanted(user=name)).records] == ["d0000"]


def test_what_a_version_believed_is_in_the_record_of_its_decisions(tmp_path: Path) -> None:
    app = talked(tmp_path, 40)
    version = app.train().trained.version
    assert version is not None
    later = [Talk(said={"accept": 1.0}, session="n1"), Talk(session="n2", changes={"version": "gone"})]
    for number, talk in enumerate(later):
        fill_one = Talk(
            said=talk.said, session=talk.session, changes={"id": f"n{number}", "version": version.id, **talk.changes}
        )
        fill(app, [fill_one])
    known = {each.decision_id: each for each in interactions(app).records}
    ours, gone = known["n0"], known["n1"]
    assert ours.value_estimation is not None
    assert -0.5 <= ours.value_estimation <= 1.0
    assert (ours.rl_state.initialized, ours.rl_state.model_version) == (True, version.id)
    assert 0.0 <= ours.learning_feedback.confidence <= 1.0
    assert (gone.value_estimation, gone.policy_info.method) == (None, "unknown")


def test_what_is_revised_counts_as_revised(tmp_path: Path) -> None:
    app = deployment(tmp_path)
    (id_,) = fill(app, [Talk(said={"reject": 1.0})])
    app.log.append([], [Feedback("again", id_, "reject", None, START + 40, f"{id_}-reject")])
    app.log.append([], [Feedback("new", id_, "accept", 1.0, START + 50)])
    (record,) = interactions(app).records
    assert (record.reward_signal, record.signals) == (1.0, {"accept": 1.0})


def test_an_empty_log_has_no_records(tmp_path: Path) -> None:
    shown = interactions(deployment(tmp_path))
    assert (shown.records, shown.totals.episodes, shown.found) == ([], 0, 0)


def test_the_command_shows_tables_and_json(tmp_path: Path) -> None:
    (tmp_path / "bondhu.toml").write_text(TOML)
    run = CliRunner()
    empty = run.invoke(commands, ["interactions", "-C", str(tmp_path)])
    assert (empty.exit_code, "0 interactions" in empty.stdout) == (0, True)
    from bondhu.cli.shared import opened

    app = opened(tmp_path)
    fill(app, [Talk(said={"accept": 1.0}, session=f"s{n}") for n in range(3)])
    told = run.invoke(commands, ["interactions", "-C", str(tmp_path), "--limit", "2"])
    assert "2 of 3 interactions" in told.stdout
    assert "3 episodes, success rate 100.0%, average reward 1 (1 to 1), with no sure trend." in told.stdout
    lines = run.invoke(commands, ["interactions", "-C", str(tmp_path), "--json", "--user", "ann"]).stdout.splitlines()
    records = [json.loads(line) for line in lines]
    assert [each["rl_metrics"]["episode"] for each in records] == [1, 2, 3]
    assert set(GROUPS) <= set(records[0])
    assert records[0]["avg_reward_interval"] == [None, None]


@pytest.mark.parametrize("kind", ["preferences", "trajectories"])
def test_the_command_exports_and_notes_the_act(tmp_path: Path, kind: str) -> None:
    (tmp_path / "bondhu.toml").write_text(TOML)
    from bondhu.cli.shared import opened

    fill(opened(tmp_path), [Talk(said={"accept": 1.0}), Talk(asked="", session="s2")])
    out = tmp_path / "out"
    done = CliRunner().invoke(commands, ["export-training", kind, str(out), "-C", str(tmp_path), "--test", "0"])
    assert done.exit_code == 0, done.output
    assert "of 2 turns" in done.stdout
    assert (out / "README.md").exists()
    acts = [each.body for each in opened(tmp_path).ledger.entries("act")]
    assert "bondhu export-training" in str(acts)
