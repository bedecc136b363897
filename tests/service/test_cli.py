"""The command line, command by command: what it does, what it says, and one message for everything that goes wrong."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
from gymnasium.spaces import MultiDiscrete

from bondhu import __version__, cli, settings
from bondhu.app import App, open_app
from bondhu.errors import SettingsInvalid
from bondhu.log.importers import to_toml
from bondhu.log.join import join
from bondhu.log.lock import only_one
from bondhu.log.sqlite import SqliteLog, SqliteTasks
from bondhu.server import make_asgi
from bondhu.types import SESSION_END, Decision, Feedback
from tests.service.stand import HOUR, Clock, log, tables

PEOPLE = [f"person-{number}" for number in range(200)]
VERSION = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]
HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs commands in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["bondhu", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


def expect_refusal(done: Done, message: str) -> None:
    """One message, without a traceback, and exit status 1."""
    assert done.code == 1, done
    assert re.search(message, done.err, re.DOTALL), done.err
    assert "Traceback" not in done.err
    assert len(done.err.splitlines()) <= 2, done.err


def declared(path: Path, **more: Any) -> None:
    """The shop's bondhu.toml."""
    path.mkdir(parents=True, exist_ok=True)
    whole = tables(
        training={"holdout": 0.5, "min_interactions_per_user": 5}, gate={"minimum_interactions": 100}, **more
    )
    (path / "bondhu.toml").write_text(to_toml(whole), encoding="utf-8")


def opened(path: Path) -> App:
    """The deployment as the command sees it, some time ago."""
    app = open_app(settings.load(path))
    return open_app(app.settings, now=Clock(app.now()))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A declared shop whose people like blue: 1,200 settled decisions."""
    declared(tmp_path)
    log(opened(tmp_path), PEOPLE, 6)
    return tmp_path


# ----------------------------------------------------------------------------------------------------------------- init


@pytest.mark.parametrize(
    ("domain", "name"), [("example", "support"), ("recommendation", "recommendation"), ("assistant", "assistant")]
)
def test_init_writes_a_declaration_that_works_and_never_overwrites_one(
    run: Run, tmp_path: Path, domain: str, name: str
) -> None:
    done = run("init", "here", "--domain", domain)
    assert (done.code, done.err) == (0, "")
    assert "Wrote here/bondhu.toml." in done.out
    assert open_app(settings.load(tmp_path / "here")).domain.name == name
    before = (tmp_path / "here" / "bondhu.toml").read_text()
    expect_refusal(run("init", "here"), r"here/bondhu.toml is there already.*Edit it, or choose another directory")
    assert (tmp_path / "here" / "bondhu.toml").read_text() == before


def test_the_commented_settings_are_the_defaults(run: Run, tmp_path: Path) -> None:
    run("init")
    written, defaults = settings.load(tmp_path), settings.from_tables({})
    for table in ("training", "schedule", "store", "server", "exploration"):
        assert getattr(written, table) == getattr(defaults, table), table


def test_init_offers_the_nearest_domain(run: Run) -> None:
    expect_refusal(
        run("init", "x", "--domain", "recomendation"), "no domain 'recomendation'.*Did you mean 'recommendation'"
    )


# --------------------------------------------------------------------------------------------------------------- import


def table(path: Path, *rows: tuple[Any, ...]) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("when", "who", "mood", "age", "arm", "chance", "like"), *rows])
    return str(path)


MAPPED = [
    f"--map={pair}"
    for pair in ("time=when", "user=who", "action=arm", "probability=chance", "signals.like=like", "context=mood,age")
]


def test_import_with_a_mapping_declares_a_log_and_takes_it(run: Run, tmp_path: Path) -> None:
    rows = [("2026-11-01T12:00:00Z", "ann", "sad", 30 + n / 2, ("red", "blue")[n % 2], 0.5, n % 2) for n in range(60)]
    done = run("import", table(tmp_path / "old.csv", *rows), "-C", "new", "--declare", *MAPPED)
    assert (done.code, done.err) == (0, "")
    assert re.search(r"rows read\s+60\b.*decisions\s+60\b.*feedback\s+60\b.*refused\s+0\b", done.out, re.DOTALL)
    declaration = tomllib.loads((tmp_path / "new" / "bondhu.toml").read_text())
    assert declaration["actions"] == {"names": ["blue", "red"]}
    assert declaration["context"]["age"]["range"] == [30.0, 59.5]
    records = opened(tmp_path / "new").deployment.log.read("old", 0, 4e9)
    assert (len(records.id), records.user[0], records.probability[0]) == (60, "ann", 0.5)
    assert records.feedback_value.sum() == 30
    again = run("import", "old.csv", "-C", "new", *MAPPED)
    assert again.code == 0
    assert len(opened(tmp_path / "new").deployment.log.read("old", 0, 4e9).id) == 60
    expect_refusal(run("import", "old.csv", "-C", "new", "--declare", *MAPPED), "is there already.*without --declare")


def test_import_shows_what_it_refused_and_why(run: Run, tmp_path: Path) -> None:
    declared(tmp_path)
    good = ("2026-11-01", "ann", "sad", 30, "red", 0.5, 1)
    bad = [
        ("2026-11-01", "ann", "sat", 30, "red", 0.5, 1),
        ("2026-11-01", "ann", "sad", 130, "red", 0.5, 1),
        ("2026-11-01", "ann", "sad", 30, "rad", 0.5, 1),
        ("2026-11-01", "ann", "sad", 30, "red", 0.0, 1),
        ("2026-11-01", "ann", "sad", 30, "red", 1.5, 1),
        ("once", "ann", "sad", 30, "red", 0.5, 1),
    ]
    done = run("import", table(tmp_path / "old.csv", good, *bad), *MAPPED)
    assert done.code == 0
    assert re.search(r"decisions\s+1\b.*refused\s+6\b", done.out, re.DOTALL)
    assert "Did you mean 'sad'?" in done.out
    assert "Did you mean 'red'?" in done.out
    assert re.search(r"probability … is not in \(0, 1\]\.\s+2\b", done.out)
    assert len(opened(tmp_path).deployment.log.read("shop", 0, 4e9).id) == 1


def test_a_strict_import_takes_all_or_nothing(run: Run, tmp_path: Path) -> None:
    declared(tmp_path)
    good, bad = ("2026-11-01", "ann", "sad", 30, "red", 0.5, 1), ("2026-11-01", "ann", "sad", 30, "red", 7, 1)
    expect_refusal(
        run("import", table(tmp_path / "old.csv", good, bad), "--strict", *MAPPED), "1 of 2 rows were refused, so none"
    )
    assert len(opened(tmp_path).deployment.log.read("shop", 0, 4e9).id) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], r"no file 'none.csv'.*Did you mean 'one.csv'"),
        (["one.csv", "--map", "acton=arm"], r"no 'acton'.*Did you mean 'action'"),
        (["one.csv", "--map", "context.mood.x"], r"--map got 'context.mood.x'.*part=column"),
        (["one.csv", "--map", "action.x=arm"], r"no 'action.x'"),
        (["one.csv", "--map", "delay=soon"], r"delay got 'soon'.*seconds"),
        (
            ["one.csv", "--map", "action=amr", "--map", "probability=0.5"],
            r"no column 'amr' for action.*Did you mean 'arm'",
        ),
        (["one.csv", "--kind", "cvs"], r"'cvs'.*Did you mean 'csv'"),
    ],
)
def test_a_wrong_import_is_one_message(run: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    declared(tmp_path)
    table(tmp_path / "one.csv", ("2026-11-01", "ann", "sad", 30, "red", 0.5, 1))
    expect_refusal(run("import", *arguments), message)


# ------------------------------------------------------------------------------------- train, evaluate, promote, status


def test_the_way_of_a_version_from_training_to_rollback(run: Run, shop: Path) -> None:
    done = run("train")
    assert (done.code, done.err) == (0, "")
    version = opened(shop).versions()[0]
    assert version in done.out
    assert re.search(r"decisions\s+\d+ of \d+ people", done.out)
    assert "people kept back from training" in done.out
    assert "Gate: promote" in done.out
    assert f"Release it with `bondhu release {version}`." in done.out

    again = run("train")
    assert again.code == 0
    assert "none: there is nothing new to learn from" in again.out
    assert "nan" not in again.out

    done = run("evaluate")
    assert done.code == 0
    assert re.search(rf"{version}\s+ips\s+1\.0000.*baseline\s+ips\s+0\.3333", done.out, re.DOTALL)

    assert run("promote").out == f"{version} is live.\n"
    status = run("status").out
    assert re.search(rf"live\s+{version}", status)
    assert re.search(r"decisions\s+1,200 from ", status)
    assert re.search(rf"{version}\s+live", status)
    assert re.search(r"skipped\s+0\s+0\s+—", status)
    assert re.search(r"completed\s+\d+\s+\d+\s+0\.3333", status)

    assert run("rollback", "--reason", "a test").out == "baseline is live again.\n"
    assert opened(shop).deployment.registry.events("shop")[-1].reason == "a test"
    expect_refusal(run("rollback"), "The baseline is in force: there is nothing to roll back")


def test_training_tells_what_it_left_out(run: Run, shop: Path) -> None:
    app = opened(shop)
    log(app, ["few"], 4)
    log(app, ["fresh"], 6, ago=HOUR / 2)
    app.deployment.log.append(
        [], [Feedback("late", f"{PEOPLE[0]}-{app.now() - 3 * HOUR:.0f}-0", "like", 1.0, app.now())]
    )
    done = run("train", "--days", "1")
    assert re.search(r"outstanding\s+\d+ still wait for feedback", done.out)
    assert re.search(r"without feedback\s+\d+ count as the default reward", done.out)


def test_a_version_is_not_judged_on_decisions_it_learned_from(run: Run, shop: Path) -> None:
    run("train")
    done = run("evaluate", "--holdout", "0")
    assert done.code == 1
    assert "learned from everybody's decisions until" in done.err
    assert "Judge it on later decisions (--days)" in done.err


def test_status_of_a_new_deployment_is_plain(run: Run, tmp_path: Path) -> None:
    declared(tmp_path)
    done = run("status")
    assert done.code == 0
    assert re.search(r"live\s+baseline.*decisions\s+none yet.*There was no training yet", done.out, re.DOTALL)


@pytest.mark.parametrize("command", [["evaluate"], ["promote"]])
def test_an_unknown_version_offers_the_nearest(run: Run, shop: Path, command: list[str]) -> None:
    expect_refusal(run(*command), "There is no version yet.*`bondhu train`")
    run("train")
    version = opened(shop).versions()[0]
    expect_refusal(run(*command, f"{version[:-1]}x"), f"There is no version .*Did you mean '{version}'")


# --------------------------------------------------------------------------------------------------------------- export


def facts(app: App) -> tuple[list[Any], list[Any]]:
    """Decisions and rewards of a deployment, in order."""
    records = app.deployment.log.read("shop", 0, 4e9)
    joined = join(app.domain, records, start=-np.inf, end=np.inf, observes=MultiDiscrete).batch
    decisions = [
        (*row[:4], json.loads(row[4]), records.allowed_sets[row[5]], *row[6:])
        for row in zip(
            *(
                records.id,
                records.session,
                records.user,
                records.time.tolist(),
                records.context,
                records.allowed.tolist(),
            ),
            *(records.action, records.probability.tolist(), records.version),
            strict=True,
        )
    ]
    return sorted(decisions), [joined.reward.tolist(), joined.discount.tolist(), joined.has_next.tolist()]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_an_export_comes_back_as_the_same_decisions_and_rewards(run: Run, tmp_path: Path, suffix: str) -> None:
    """With sessions, a true end, missing users, several feedbacks of one kind, some of it late."""
    declared(tmp_path, domain={"idle": 600.0})
    app, start = opened(tmp_path), 1_700_000_000.25
    made = [
        Decision(
            *(f"d{n}", "shop", f"s{n // 4}", None if n < 4 else f'"u|{n}"', start + 60.0 * n + n / 7),
            *(
                {"mood": ("happy", "sad")[n % 2], "age": 20 + n / 2},
                ("red", "blue") if n % 3 else ("red", "blue", "green"),
            ),
            *("blue", 1 / 3, (), "v 1", "live"),
        )
        for n in range(12)
    ]
    said = [
        Feedback("a", "d0", "like", 1.0, start + 90),
        Feedback("b", "d0", "like", 0.5, start + 95),
        Feedback("c", "d1", "watched", 0.25, start + 96),
        Feedback("d", "d2", "like", 1.0, start + 9 * HOUR),
        Feedback("e", "d5", SESSION_END, 1.0, start + 400),
    ]
    app.deployment.log.append(made, said)
    done = run("export", f"all.{suffix}")
    assert (done.code, done.out) == (0, f"Wrote 12 decisions to all.{suffix}.\n")
    declared(tmp_path / "again", domain={"idle": 600.0})
    done = run("import", f"all.{suffix}", "-C", "again")
    assert re.search(r"decisions\s+12\b.*refused\s+0\b", done.out, re.DOTALL), done
    assert facts(opened(tmp_path / "again")) == facts(app)
    assert facts(app)[1][0][:3] == [1.5, 0.125, 0.0]


def test_an_export_of_the_last_days_leaves_the_rest_out(run: Run, tmp_path: Path) -> None:
    declared(tmp_path)
    log(opened(tmp_path), ["ann"], 3)
    log(opened(tmp_path), ["ben"], 2, ago=90 * 24 * HOUR)
    assert "Wrote 3 decisions" in run("export", "some.csv", "--days", "30").out
    assert "Wrote 5 decisions" in run("export", "some.csv").out
    assert sorted(each.name for each in tmp_path.glob("some*")) == ["some.csv"]


def test_an_export_that_cannot_be_written_is_one_message(run: Run, tmp_path: Path) -> None:
    declared(tmp_path)
    expect_refusal(run("export", "all.parket"), r"Cannot write 'all.parket'.*Did you mean '.parquet'")
    for suffix in ("csv", "parquet", "jsonl"):
        expect_refusal(
            run("export", f"nowhere/all.{suffix}"), r"nowhere/all\.\w+ cannot be written: No such file or directory"
        )
    (tmp_path / "folder.csv").mkdir()
    expect_refusal(run("export", "folder.csv"), r"folder\.csv cannot be written: Is a directory")
    assert list(tmp_path.glob("*.part")) == []


# --------------------------------------------------------------------------------------------------------------- doctor


def test_the_doctors_exit_status_says_whether_anything_is_wrong(run: Run, shop: Path) -> None:
    run("train")
    done = run("doctor")
    assert (done.code, done.out, done.err) == (0, "Nothing is wrong.\n", "")
    declared(shop, exploration={"rate": 0.0})
    done = run("doctor")
    assert (done.code, done.err) == (1, "")
    assert "no exploration: [exploration] rate is 0" in done.out
    assert "  · Set [exploration] rate = 0.05" in done.out


# ---------------------------------------------------------------------------------------------------------------- serve


def served(path: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bondhu", "serve", "-C", str(path), *more]
    inherited = {**os.environ, **environment}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=inherited)


@pytest.mark.parametrize(("number", "codes"), [(signal.SIGTERM, {0, -signal.SIGTERM}), (signal.SIGINT, {0})])
def test_serve_says_where_it_is_answers_and_stops_when_told(
    shop: Path, run: Run, number: signal.Signals, codes: set[int]
) -> None:
    with served(shop, "--port", "0") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stdout.readline()
        address = re.search(r"shop is served at (http://127\.0\.0\.1:(\d+)) ", said)
        assert address, (said, process.stderr.read())
        assert httpx.get(f"{address[1]}/health", timeout=30).json()["live_version"] == "baseline"
        body = {"context": {"mood": "sad", "age": 30}, "id": "mine"}
        assert httpx.post(f"{address[1]}/v1/decide", json=body, timeout=30).status_code == 200
        expect_refusal(
            run("serve", "--port", address[2]),
            f"Cannot listen at 127.0.0.1:{address[2]}: Address already in use.*--port",
        )
        process.send_signal(number)
        assert process.wait(30) in codes
        assert process.stderr.read() == ""
    assert opened(shop).deployment.log.find("mine") is not None


def test_outside_of_development_serve_refuses_the_published_key(shop: Path) -> None:
    with served(shop, "--port", "0", BONDHU_SERVER__ENVIRONMENT="production") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "published default, which is for development only, not 'production'" in err
    assert "BONDHU_SERVER__ADMIN_KEY" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("key", "starts"), [("short", False), ("a-long-and-secret-key", True)])
def test_outside_of_development_serve_wants_a_long_key(
    shop: Path, monkeypatch: pytest.MonkeyPatch, key: str, starts: bool
) -> None:
    monkeypatch.setenv("BONDHU_SERVER__ENVIRONMENT", "production")
    monkeypatch.setenv("BONDHU_SERVER__ADMIN_KEY", key)
    if starts:
        assert callable(make_asgi(opened(shop)))
        return
    with pytest.raises(SettingsInvalid, match="fewer than 16 characters") as caught:
        make_asgi(opened(shop))
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("port", "limit"), [("70000", "less than or equal to 65535"), ("-1", "greater than or equal to 0")]
)
def test_a_port_that_there_is_not_is_refused(run: Run, shop: Path, port: str, limit: str) -> None:
    done = run("serve", "--port", port)
    assert done.code == 2
    assert "--port" in done.err
    assert limit in done.err


def test_a_host_that_there_is_not_is_one_message(run: Run, shop: Path) -> None:
    expect_refusal(
        run("serve", "--host", "nowhere.invalid", "--port", "0"), "Cannot listen at nowhere.invalid:0: .*--host"
    )


# ---------------------------------------------------------------------------------------------------------- all of them


EVERY = [["status"], ["train"], ["evaluate"], ["promote"], ["rollback"], ["doctor"], ["export", "x.csv"], ["serve"]]


@pytest.mark.parametrize("command", EVERY)
def test_without_a_declaration_every_command_says_how_to_write_one(run: Run, command: list[str]) -> None:
    expect_refusal(run(*command), r"There is no bondhu\.toml in .*`bondhu init`")


@pytest.mark.parametrize("command", EVERY)
def test_a_damaged_log_is_one_message(run: Run, shop: Path, command: list[str]) -> None:
    (shop / "data" / "log.sqlite").write_bytes(
        b"no database at all, but long enough to be read as the header of one." * 9
    )
    for beside in ("-wal", "-shm"):
        (shop / "data" / f"log.sqlite{beside}").unlink(missing_ok=True)
    expect_refusal(run(*command), r"log\.sqlite is damaged.*Restore it from a backup")


def test_a_damaged_version_is_one_message_and_the_doctor_finds_it(run: Run, shop: Path) -> None:
    run("train")
    run("promote")
    version = opened(shop).versions()[0]
    for file in (shop / "data" / "versions" / "shop" / version).iterdir():
        file.write_bytes(b"damaged")
    expect_refusal(run("evaluate"), version)
    expect_refusal(run("promote"), version)
    expect_refusal(run("train"), f"{version}.*bondhu train --from-scratch")
    done = run("doctor")
    assert done.code == 1
    assert "model not loading" in done.out
    assert "bondhu rollback" in done.out
    assert run("rollback").code == 0
    assert run("train", "--from-scratch").code == 0


def test_a_locked_log_is_one_message(run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for store in (SqliteLog, SqliteTasks):
        monkeypatch.setattr(store.__init__, "__defaults__", (0.05,))  # seconds of patience
    held = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(shop / "data" / "log.sqlite")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with held:
        assert held.stdout is not None
        assert held.stdout.readline() == b"held\n"
        expect_refusal(run("train"), r"Another process has been writing to .*log\.sqlite.*Try again")
    assert run("train").code == 0


def test_training_while_another_process_trains_is_one_message(run: Run, shop: Path) -> None:
    with only_one(shop / "data" / "train.lock"):
        expect_refusal(run("train"), r"Process \d+ is at it already.*Wait for it to finish")
    assert run("train").code == 0


def test_a_folder_that_cannot_be_written_is_one_message(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    expect_refusal(run("init", "file/deeper"), r"file.*Not a directory")


def test_a_wrong_declaration_is_one_message(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bondhu.toml").write_text("[servr]\nport = 1\n")
    expect_refusal(run("status"), r"unknown table \[servr\].*Did you mean 'server'")
    (tmp_path / "bondhu.toml").write_text('[domain]\nextends = "recomendation"\n')
    expect_refusal(run("status"), r"'recomendation', which is no built-in domain.*'recommendation'")


def test_the_release_and_the_help_are_shown(run: Run) -> None:
    assert run("version").out == f"bondhu {__version__}\n"
    done = run("--help")
    assert done.code == 0
    names = (
        "init",
        "demo",
        "serve",
        "import",
        "train",
        "evaluate",
        "promote",
        "rollback",
        "status",
        "export",
        "doctor",
    )
    assert all(re.search(rf"^  {name}\s", done.out, re.M) for name in names)


def test_an_evaluation_becomes_one_page(run: Run, shop: Path) -> None:
    run("train")
    done = run("evaluate", "--html", "page.html", "--every")
    assert (done.code, done.err) == (0, "")
    page = (shop / "page.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "Promote" in page
    assert re.search(r"Errs the least, as far as the log can tell: \w+", done.out)
    assert re.search(r"skewness\s+\[", done.out)


def test_a_log_can_be_played_to_a_learner(run: Run, shop: Path) -> None:
    done = run("replay")
    assert (done.code, done.err) == (0, "")
    assert re.search(r"0\.\d+ a decision \(0\.\d+ to [01]\.\d+\) over its first [\d,]+ decisions", done.out)
    assert "of the log was as the learner would have it" in done.out
    assert "Did you mean" in run("replay", "--learner", "tabular.q_lerning").err


def test_the_release_of_a_version_from_the_command_line(run: Run, shop: Path) -> None:
    run("train")
    done = run("release", "--reason", "the launch")
    assert "is in shadow" in done.out
    assert "0 decisions at this step" in run("look").out
    refused = run("release")
    assert refused.code == 1
    assert "is in shadow already" in refused.err
    assert "in shadow" in run("status").out
    history = run("history").out
    assert "shadowed" in history
    assert "the launch" in history
    assert "promote" in run("verdicts").out
    assert run("experiment").code == 1
    assert "There is no settled decision of the variant 'trial'" in run("experiment").err
    assert "is withdrawn" in run("withdraw", "--reason", "second thoughts").out
    assert "The rule decides for everybody" in run("stop", "--reason", "complaints").out
    assert "stopped by hand" in run("status").out
    assert "is live" in run("promote").out


def test_the_watch_of_a_quiet_deployment_finds_nothing(run: Run, shop: Path) -> None:
    done = run("watch")
    assert (done.code, done.err) == (0, "")
    assert "Nothing drifted, and no reward fell." in done.out


def test_a_plan_says_how_long_a_release_takes(run: Run, shop: Path) -> None:
    done = run("plan", "--effect", "0.1")
    assert (done.code, done.err) == (0, "")
    assert "one look at the end" in done.out
    assert "To find an effect of +0.1" in done.out
