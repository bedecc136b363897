"""Several processes: what falls is started again, what was answered is stored, new settings are taken over without a
break, and everything ends in order."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import apsw
import pytest

from bondhu.errors import BondhuError, SettingsInvalid, TrainingInProgress
from bondhu.log.lock import holder, only_one
from bondhu.log.stores import Stores, open_stores
from bondhu.server.generation import LONGEST, Place
from bondhu.server.plan import Folder, Plan
from bondhu.server.sockets import listening
from bondhu.server.supervisor import Supervisor
from bondhu.settings import from_tables
from tests.service.postgres import address, cluster  # noqa: F401  fixtures
from tests.service.serving import LONG, Clients, Service, alive, deployment, eventually, serving
from tests.service.shop import CONTEXT

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
KEY = {"X-Admin-Key": "admin-dev-key-change-in-production"}
TRIGGER = "/api/v1/admin/tasks/rl-training/trigger"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two workers with a process that writes."""
    with serving(deployment(tmp_path_factory.mktemp("several")), "--workers", "2") as running:
        yield running
        assert running.stop() == 0


# ----------------------------------------------------------------------------------------------------- what is killed


def test_two_workers_answer_and_one_process_writes(service: Service) -> None:
    assert (len(service.workers), len(service.writers)) == (2, 1)
    with Clients(service.port).running() as clients:
        clients.more(300)
    assert (set(clients.statuses), clients.failures) == ({200}, [])
    assert set(clients.answered) <= service.logged()
    again = clients.answered[0]
    first, second = (service.decide(again) for _ in range(2))
    assert first == second
    assert first[0] == 200


def test_when_the_writer_is_killed_everything_is_busy_until_the_next_one_writes(service: Service) -> None:
    (writer,) = service.writers
    with Clients(service.port).running() as clients:
        clients.more(100)
        os.kill(writer, signal.SIGKILL)
        eventually(lambda: clients.statuses.get(503))
        clients.more(100)
    assert (set(clients.statuses), clients.failures) == ({200, 503}, [])
    assert set(clients.again) == {"1"}
    assert set(clients.answered) <= service.logged()
    assert service.writers != [writer]


def test_when_a_worker_is_killed_the_other_goes_on_and_a_new_one_comes(service: Service) -> None:
    before = service.workers
    with Clients(service.port).running() as clients:
        clients.more(100)
        os.kill(before[0], signal.SIGKILL)
        clients.more(100)
        eventually(lambda: len(set(service.workers) - set(before)) == 1)
    assert set(clients.statuses) == {200}
    assert set(clients.answered) <= service.logged()
    assert before[1] in service.workers


def test_when_the_keeper_is_killed_the_next_one_runs_the_schedule(service: Service) -> None:
    lock = service.folder / "data" / "scheduler.lock"
    keeper = eventually(lambda: service.keepers and holder(lock) in service.keepers and holder(lock))
    os.kill(keeper, signal.SIGKILL)
    successor = eventually(lambda: holder(lock) not in (None, keeper) and holder(lock))
    assert service.keepers == [successor]
    assert service.decide()[0] == 200


def test_an_administrator_trains_in_a_worker_but_not_beside_another_training(service: Service) -> None:
    status, answer = service.ask(TRIGGER, {}, **KEY)
    assert (status, answer["status"]) == (200, "skipped")
    with only_one(service.folder / "data" / "train.lock"):
        status, answer = service.ask(TRIGGER, {}, **KEY)
    assert (status, answer["code"]) == (409, "training_in_progress")


def test_when_the_supervisor_is_killed_nothing_of_it_lives_on(tmp_path: Path) -> None:
    with serving(deployment(tmp_path), "--workers", "2") as service:
        eventually(lambda: service.keepers)
        children = service.workers + service.writers + service.keepers
        with Clients(service.port).running() as clients:
            clients.more(50)
            service.process.kill()
            eventually(lambda: not any(map(alive, children)))
        assert len(children) == 4
        assert set(clients.answered) <= service.logged()
        with serving(tmp_path, "--workers", "2") as second:  # the folder, the file and its locks are free
            assert second.decide()[0] == 200
            assert second.stop() == 0


# ---------------------------------------------------------------------------------------------------- who is in charge


def test_of_two_servers_one_runs_the_schedule_and_the_other_takes_over(tmp_path: Path) -> None:
    lock = deployment(tmp_path) / "data" / "scheduler.lock"
    with serving(tmp_path) as one:
        eventually(lambda: holder(lock) == one.process.pid)
        with serving(tmp_path, "--workers", "1", "--writer", "process") as two:
            (keeper,) = eventually(lambda: two.keepers)
            assert two.decide()[0] == 200
            assert holder(lock) == one.process.pid
            assert one.stop() == 0
            eventually(lambda: holder(lock) == keeper)
            assert two.stop() == 0


# ----------------------------------------------------------------------------------------------------- taken over anew


def test_reloading_under_load_drops_no_request_and_loses_no_decision(tmp_path: Path) -> None:
    with serving(deployment(tmp_path), "--workers", "2") as service, Clients(service.port).running() as clients:
        seen = set()
        for turn in range(1, 4):
            clients.more(100)
            old = set(service.workers + service.writers)
            seen |= old
            service.process.send_signal(signal.SIGHUP)
            eventually(lambda turn=turn: service.said().count("was reloaded") == turn)
            eventually(lambda old=old: not any(map(alive, old)))
            clients.more(100)
        assert len(seen) == 9
        assert len(service.workers) == 2
        clients.stop()
        eventually(lambda: len(list(service.temporary.iterdir())) == 1)  # the old ones show pages for a moment longer
        assert service.stop() == 0
        assert list(service.temporary.iterdir()) == []
    assert (set(clients.statuses), clients.failures) == ({200}, [])
    assert set(clients.answered) == service.logged()


def test_new_settings_are_taken_over_and_bad_ones_are_refused_with_one_message(tmp_path: Path) -> None:
    with serving(deployment(tmp_path), "--workers", "2") as service:
        workers = service.workers
        deployment(tmp_path, more="[training]\nholdout = 7")
        done = reload(tmp_path)
        assert (done.returncode, done.stderr.count("training.holdout got 7")) == (1, 1)
        service.process.send_signal(signal.SIGHUP)
        eventually(lambda: "goes on with the old ones" in service.said())
        assert service.said().count("training.holdout got 7") == 1
        assert service.workers == workers
        assert service.decide()[1]["action"] in ("red", "blue", "green")
        deployment(tmp_path, actions=["violet"])
        done = reload(tmp_path)
        assert (done.returncode, f"Process {service.process.pid} was told" in done.stdout) == (0, True)
        eventually(lambda: "was reloaded" in service.said())
        eventually(lambda: not any(map(alive, workers)))
        assert service.decide()[1]["action"] == "violet"
        assert service.stop() == 0
    done = reload(tmp_path)
    assert (done.returncode, "No server of this folder is running" in done.stderr) == (1, True)


def reload(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bondhu", "reload", "-C", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)


def test_one_process_says_that_it_cannot_be_reloaded_and_goes_on(tmp_path: Path) -> None:
    with serving(deployment(tmp_path)) as service:
        service.process.send_signal(signal.SIGHUP)
        eventually(lambda: "One process cannot be reloaded" in service.said())
        assert service.decide()[0] == 200


# ------------------------------------------------------------------------------------------------------------- drained


@pytest.mark.parametrize("options", [[], ["--workers", "2"]])
def test_a_stop_finishes_what_is_under_way_and_closes_connections_politely(tmp_path: Path, options: list[str]) -> None:
    with serving(deployment(tmp_path), *options) as service:
        kept, slow = service.connected(), service.connected()
        body = json.dumps({"context": CONTEXT, "id": "slow"}).encode()
        kept.request("GET", "/health")
        assert not kept.getresponse().read().startswith(b"x")
        store = apsw.Connection(str(tmp_path / "data" / "log.sqlite"))
        store.execute("BEGIN IMMEDIATE")  # nobody can commit now
        kept.request("POST", "/v1/decide", json.dumps({"context": CONTEXT, "id": "waiting"}))
        slow.putrequest("POST", "/v1/decide")
        slow.putheader("content-length", str(len(body)))
        slow.endheaders(body[:10])
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        eventually(lambda: refuses(service.port))
        slow.send(body[10:])
        store.execute("COMMIT")
        answers = [kept.getresponse(), slow.getresponse()]
        assert [(each.status, each.headers["connection"]) for each in answers] == [(200, "close")] * 2
        assert service.process.wait(LONG) == 0
        assert service.said() == ""
        store.close()
        with pytest.raises(ConnectionRefusedError):
            service.decide()
    assert service.logged() == {"waiting", "slow"}


def refuses(port: int) -> bool:
    """Whether no process listens any more."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was in the queue when the last one closed it
        return False
    return False


def test_what_is_not_finished_in_time_is_given_up(tmp_path: Path) -> None:
    with serving(deployment(tmp_path, more="[server]\ndrain_seconds = 0.2"), "--workers", "2") as service:
        slow = service.connected()
        slow.putrequest("POST", "/v1/decide")
        slow.putheader("content-length", "1000")
        slow.endheaders(b"{")
        time.sleep(0.3)
        assert service.stop(signal.SIGINT) == 0
    assert service.logged() == set()


# ------------------------------------------------------------------------------------------------- how it cannot be run


def test_a_process_that_cannot_start_ends_the_server_with_one_message(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = Plan([Folder(str(tmp_path), "[server]\nport = -1")], [None], 3, 1.0, keeper=True, single=False)
    opened: list[bool] = []
    with listening("127.0.0.1", 0) as listener, pytest.raises(BondhuError, match="The worker 1 cannot start"):
        Supervisor(plan, listener, lambda: None, lambda: opened.append(True)).run()
    assert opened == []
    assert capfd.readouterr().err.count("server.port got -1") == 1  # the first worker is the scout
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_a_new_generation_that_cannot_start_leaves_the_old_one_at_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = str(tmp_path / "data" / "log.sqlite")
    text = (deployment(tmp_path) / "bondhu.toml").read_text()
    good = Plan([Folder(str(tmp_path), text)], [store], 1, 1.0, keeper=False, single=False)
    bad = Plan([Folder(str(tmp_path), "[server]\nport = -1")], [store], 1, 1.0, keeper=False, single=False)
    statuses: list[int] = []

    def operate() -> None:
        ready.wait(LONG)
        os.kill(os.getpid(), signal.SIGHUP)
        eventually(lambda: "it goes on as it was" in caplog.text)
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)
        asked.request("POST", "/v1/decide", json.dumps({"context": CONTEXT}))
        statuses.append(asked.getresponse().status)
        asked.close()
        os.kill(os.getpid(), signal.SIGTERM)

    ready = threading.Event()
    with listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        operator = threading.Thread(target=operate)
        operator.start()
        Supervisor(good, listener, lambda: bad, ready.set).run()
        operator.join()
    assert statuses == [200]


def test_a_process_that_falls_again_and_again_is_started_ever_later() -> None:
    class Falls:
        ready = True

        def look(self) -> int:
            return 1

        def close(self) -> None:
            pass

    starts: list[float] = []
    now = 0.0

    def start() -> Falls:
        starts.append(now)
        return Falls()

    place = Place("worker", start)  # type: ignore[arg-type]  # as much of a child as is asked for
    while len(starts) < 10:
        place.tend(now, stopping=False)
        now += 0.05
    waits = [later - earlier for earlier, later in pairwise(starts)]
    assert waits == sorted(waits)
    assert waits[0] < 0.25
    assert LONGEST <= waits[-1] < LONGEST + 0.1


def test_several_workers_cannot_each_write_to_one_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bondhu", "serve", "-C", str(deployment(tmp_path)), "--workers", "2"]
    done = subprocess.run([*command, "--writer", "thread"], capture_output=True, text=True, timeout=LONG, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "2 workers cannot each write to one SQLite file" in done.stderr
    with pytest.raises(SettingsInvalid, match=r"server\.workers"):
        from_tables({"server": {"workers": 0}})


# ------------------------------------------------------------------------------------------------- what else is served


def test_several_deployments_are_served_by_the_same_workers_each_with_its_own_writer(tmp_path: Path) -> None:
    other = deployment(tmp_path / "other", name="garden", actions=["water"])
    deployment(tmp_path / "shop", more=f'[server]\nworkers = 2\ndomains = ["{other}"]')
    with serving(tmp_path / "shop") as service:
        assert len(service.writers) == 2
        assert service.decide("mine")[0] == 200
        status, answer = service.ask("/domains/garden/v1/decide", {"context": CONTEXT, "id": "theirs"})
        assert (status, answer["action"]) == (200, "water")
        assert service.ask("/domains/garden/v1/decisions/theirs")[0] == 200
        assert service.ask("/v1/decisions/theirs")[0] == 404
        assert service.stop() == 0
    assert service.logged() == {"mine"}


def test_with_postgresql_each_worker_writes_itself_and_a_killed_one_loses_nothing(
    tmp_path: Path,
    address: str,  # noqa: F811  a fixture
) -> None:
    deployment(tmp_path, more=f'[store]\nlog = "{address}"')
    with serving(tmp_path, "--workers", "2") as service, Clients(service.port).running() as clients:
        assert service.writers == []
        before = service.workers
        clients.more(100)
        os.kill(before[0], signal.SIGKILL)
        clients.more(100)
        eventually(lambda: len(set(service.workers) - set(before)) == 1)
        with closing(open_stores(address, tmp_path)) as stores:
            eventually(lambda: taken(stores, "scheduler"))
            clients.stop()
            assert service.stop() == 0
            assert not taken(stores, "scheduler")
            found = list(stores.log.read("shop", 0, 1e12).id)
    assert set(clients.statuses) == {200}
    assert len(found) == len(set(found))
    assert set(clients.answered) <= set(found)


def taken(stores: Stores, name: str) -> bool:
    """Whether another process holds the lock of this name."""
    try:
        with stores.alone(name):
            return False
    except TrainingInProgress:
        return True


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_with_a_certificate_the_service_speaks_tls_in_every_worker(tmp_path: Path) -> None:
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    extra = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run([*make, *extra], check=True, capture_output=True)
    named = '[server]\ncertificate = "certificate.pem"\ncertificate_key = "key.pem"'
    with serving(deployment(tmp_path, more=named), "--workers", "2") as service:
        trusting = ssl.create_default_context(cafile=str(files[0]))
        for _ in range(8):
            connection = http.client.HTTPSConnection("127.0.0.1", service.port, timeout=LONG, context=trusting)
            connection.request("POST", "/v1/decide", json.dumps({"context": CONTEXT}))
            assert connection.getresponse().status == 200
            connection.close()
        assert service.stop() == 0
    files[1].write_text("no key")
    command = [sys.executable, "-m", "bondhu", "serve", "-C", str(tmp_path), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "TLS cannot use" in done.stderr
