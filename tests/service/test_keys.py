"""API keys: what they open and for whom, how they are replaced and revoked, and what is kept of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bondhu.access import ADMINISTER, DECIDE, EXPLAIN, OPERATE, PERMISSIONS, READ, Caller
from bondhu.access import admission as admissions
from bondhu.access.acts import Acts, Where, shown
from bondhu.access.admission import NOBODY, Keys, Rules
from bondhu.access.keys import DAY, Made, Ring, Wanted
from bondhu.access.rates import Bucket
from bondhu.cli import app as cli
from bondhu.cli.shared import operator
from bondhu.errors import InvalidInput, NotAllowed, StoreError, TooManyRequests, Unauthorized, UnknownName
from bondhu.log.memory import MemoryLedger
from bondhu.log.sqlite import SqliteLedger
from bondhu.ports import Entry
from bondhu.serve.http import interface
from bondhu.serve.parts import Parts
from bondhu.serve.writing.thread import ThreadWriter
from tests.service.eater import deployment
from tests.service.shop import CONTEXT, decider
from tests.service.stand import Clock
from tests.service.web import ADMIN, KEY, SYSTEM, TRIGGER, Client, Desk, error, opened

KEYS, AUDIT = "/api/v1/admin/keys", "/api/v1/admin/audit"
WHOLE = {"reader": {EXPLAIN, READ}, "app": {DECIDE}, "operator": {EXPLAIN, READ, OPERATE}}


def sent(text: str, header: bytes = b"x-api-key") -> list[tuple[bytes, bytes]]:
    return [(b"host", b"test"), (header, text.encode()), (b"content-length", b"2")]


def made(ledger: MemoryLedger | SqliteLedger, role: str = "app", domain: str | None = "shop", **more: Any) -> Made:
    return Ring(ledger, None).create(Wanted("front", role, domain, **more), "a test", 1_000.0)


def asking(ledger: Any, domain: str = "shop", clock: Clock | None = None, **rules: Any) -> Keys:
    return Keys(ledger, domain, Rules(**{"required": True, **rules}), clock or Clock(2_000.0))


# ------------------------------------------------------------------------------------------------------------- at rest


def test_a_ledger_holds_the_hash_of_the_secret_and_never_the_secret(tmp_path: Path) -> None:
    with_secret = []
    ledger = SqliteLedger(tmp_path / "log.sqlite")
    for _ in range(20):
        text = made(ledger).text
        _, identity, secret = text.split("_", 2)
        with_secret.append(secret)
        assert (len(identity), len(secret)) == (12, 43)
    (first, *_) = ledger.entries("key")
    assert first.body["hash"] == hashlib.sha256(with_secret[0].encode()).hexdigest()
    ledger.close()
    stored = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert not [each for each in with_secret if each.encode() in stored]
    assert len(set(with_secret)) == 20


def test_what_is_shown_of_a_key_has_neither_secret_nor_hash() -> None:
    new = made(MemoryLedger())
    shown = json.dumps(new.key.told(1_000.0))
    assert new.key.hash.hex() not in shown
    assert new.text.split("_", 2)[2] not in shown
    assert new.key.told(1_000.0)["status"] == "good"


# ------------------------------------------------------------------------------------------------------- what they open


@pytest.mark.parametrize("role", PERMISSIONS)
@pytest.mark.parametrize("permission", [DECIDE, EXPLAIN, READ, OPERATE, ADMINISTER])
def test_a_role_opens_what_its_row_of_the_table_says(role: str, permission: str) -> None:
    ledger = MemoryLedger()
    new = made(ledger, role)
    keys = asking(ledger)
    if role == "admin" or permission in WHOLE[role]:
        assert keys.admit(sent(new.text), permission) == Caller("front", role, new.key.id, "shop")
    else:
        with pytest.raises(NotAllowed) as caught:
            keys.admit(sent(new.text), permission)
        assert "admin" in caught.value.fix


def test_a_key_may_be_sent_in_either_header() -> None:
    ledger = MemoryLedger()
    text = made(ledger).text
    keys = asking(ledger)
    for headers in (
        sent(text),
        sent(f"Bearer {text}", b"authorization"),
        sent(f"bearer {text}", b"authorization"),
        [*sent("Basic eDp5", b"authorization"), *sent(text)],
        [*sent(text), *sent("Basic eDp5", b"authorization")],
    ):
        assert keys.admit(headers, DECIDE).name == "front"


def test_whatever_is_wrong_with_a_key_the_answer_is_the_same() -> None:
    ledger, clock = MemoryLedger(), Clock(2_000.0)
    good, other = made(ledger), made(ledger, domain="garden")
    old = made(ledger, days=1.0)
    gone = made(ledger)
    Ring(ledger, None).revoke(gone.key.id, "a test", 1_500.0)
    keys = asking(ledger, clock=clock)
    assert keys.admit(sent(good.text), DECIDE).key == good.key.id
    clock.now += 2 * DAY
    wrong = [
        "", "x", "bd__", "bd_x_y", good.text[:-1], good.text + "x", good.text[3:], "b" + good.text, good.text.upper(),
        f"bd_{other.key.id}_{good.text.split('_', 2)[2]}", other.text, old.text, gone.text, "bd_" + "x" * 100_000,
    ]  # fmt: skip
    said = set()
    for text in wrong:
        with pytest.raises(Unauthorized) as caught:
            keys.admit(sent(text), DECIDE)
        said.add((str(caught.value), caught.value.field, caught.value.value))
    for headers in ([], sent(good.text, b"authorization"), sent(f"Basic {good.text}", b"authorization")):
        with pytest.raises(Unauthorized) as caught:
            keys.admit(headers, DECIDE)
        said.add((str(caught.value), caught.value.field, caught.value.value))
    assert len(said) == 1


def test_an_unknown_id_is_hashed_and_compared_as_a_wrong_secret_is(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, compared = MemoryLedger(), []
    new = made(ledger)
    keys = asking(ledger)

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return False

    monkeypatch.setattr(admissions, "compare_digest", compare)
    for text in (new.text + "x", "bd_000000000000_" + "x" * 43, "nonsense"):
        with pytest.raises(Unauthorized):
            keys.admit(sent(text), DECIDE)
    assert compared == [(32, 32)] * 3
    assert NOBODY.hash == bytes(32)


def test_without_required_keys_deciding_and_explaining_are_open_and_nothing_else_is() -> None:
    keys = asking(MemoryLedger(), required=False, admin_key=KEY)
    for permission in (DECIDE, EXPLAIN):
        assert keys.admit([], permission) == Caller("anybody", None)
    for permission in (READ, OPERATE, ADMINISTER):
        with pytest.raises(Unauthorized):
            keys.admit([], permission)


def test_the_administrators_key_of_the_settings_is_an_admin() -> None:
    keys = asking(MemoryLedger(), admin_key=KEY)
    for permission in (DECIDE, EXPLAIN, READ, OPERATE, ADMINISTER):
        assert keys.admit(sent(KEY, b"x-admin-key"), permission) == Caller("administrator", "admin")
    for wrong in ("", KEY[:-1], KEY + "x"):
        with pytest.raises(Unauthorized):
            keys.admit(sent(wrong, b"x-admin-key"), READ)
    with pytest.raises(Unauthorized):
        asking(MemoryLedger()).admit(sent("", b"x-admin-key"), READ)


def test_a_key_for_all_domains_opens_each_and_one_for_a_domain_only_that() -> None:
    ledger = MemoryLedger()
    every, one = made(ledger, domain=None), made(ledger, domain="garden")
    for domain in ("shop", "garden"):
        assert asking(ledger, domain).admit(sent(every.text), DECIDE).domain is None
    assert asking(ledger, "garden").admit(sent(one.text), DECIDE).domain == "garden"
    with pytest.raises(Unauthorized):
        asking(ledger, "shop").admit(sent(one.text), DECIDE)


def test_keys_of_the_servers_own_store_open_a_deployment_with_another_store() -> None:
    servers, own = MemoryLedger(), MemoryLedger()
    every, local, foreign = made(servers, domain=None), made(own, domain="garden"), made(servers, domain="shop")
    keys = asking((own, servers), "garden")
    assert keys.admit(sent(every.text), DECIDE).key == every.key.id
    assert keys.admit(sent(local.text), DECIDE).key == local.key.id
    with pytest.raises(Unauthorized):
        keys.admit(sent(foreign.text), DECIDE)


# ------------------------------------------------------------------------------------------------- making and replacing


@pytest.mark.parametrize(
    ("wanted", "field", "fix"),
    [
        (Wanted("", "app", "shop"), "name", "1 to 64"),
        (Wanted("x" * 65, "app", "shop"), "name", "1 to 64"),
        (Wanted("a\nb", "app", "shop"), "name", "printable"),
        (Wanted("a", "oprator", "shop"), "role", "'operator'"),
        (Wanted("a", "app", "shop", days=0), "days", "above 0"),
        (Wanted("a", "app", "shop", days=float("nan")), "days", "above 0"),
        (Wanted("a", "app", "shop", rate=-1), "rate", "above 0"),
        (Wanted("a", "app", "shop", rate=float("inf")), "rate", "above 0"),
    ],
)
def test_a_key_that_cannot_be_is_refused_with_the_field(wanted: Wanted, field: str, fix: str) -> None:
    ledger = MemoryLedger()
    with pytest.raises(InvalidInput) as caught:
        Ring(ledger, None).create(wanted, "a test", 1.0)
    assert caught.value.field == field
    assert fix in caught.value.fix
    assert ledger.entries("key") == []


def test_after_a_rotation_both_keys_are_good_until_the_grace_ends() -> None:
    ledger, clock = MemoryLedger(), Clock(2_000.0)
    old = made(ledger, "operator", rate=5.0)
    new = Ring(ledger, None).rotate(old.key.id, "ann", clock.now, grace=60.0)
    assert (new.key.name, new.key.role, new.key.domain, new.key.rate) == ("front", "operator", "shop", 5.0)
    assert new.key.id != old.key.id
    keys = asking(ledger, clock=clock)
    for after, good in ((0.0, True), (59.0, True), (60.0, False), (10_000.0, False)):
        clock.now = 2_000.0 + after
        assert keys.admit(sent(new.text), OPERATE).key == new.key.id
        if good:
            assert keys.admit(sent(old.text), OPERATE).key == old.key.id
        else:
            with pytest.raises(Unauthorized):
                keys.admit(sent(old.text), OPERATE)
    with pytest.raises(InvalidInput):
        Ring(ledger, None).rotate(old.key.id, "ann", clock.now, grace=60.0)


def test_a_rotation_never_makes_the_old_key_live_longer() -> None:
    ledger = MemoryLedger()
    old = made(ledger, days=1.0)
    ring = Ring(ledger, None)
    new = ring.rotate(old.key.id, "ann", 1_000.0 + DAY - 5, grace=3600.0)
    assert ring.find(old.key.id).expires == 1_000.0 + DAY
    assert new.key.expires == 1_000.0 + DAY - 5 + DAY
    for grace in (-1.0, float("nan"), 1e12):
        with pytest.raises(InvalidInput):
            ring.rotate(new.key.id, "ann", 1_000.0 + DAY, grace=grace)


def test_a_ring_of_one_domain_neither_sees_nor_moves_other_keys() -> None:
    ledger = MemoryLedger()
    others = [made(ledger, domain="garden"), made(ledger, domain=None)]
    mine = made(ledger, domain="shop")
    ring = Ring(ledger, "shop")
    assert list(ring.keys()) == [mine.key.id]
    said = set()
    for identity in (*(each.key.id for each in others), "0" * 12):
        with pytest.raises(UnknownName) as one:
            ring.revoke(identity, "x", 1.0)
        with pytest.raises(UnknownName) as other:
            ring.rotate(identity, "x", 1.0, grace=1.0)
        said |= {str(each.value).replace(identity, "ID") for each in (one, other)}
    assert len(said) == 1
    for domain in (None, "garden"):
        with pytest.raises(NotAllowed):
            ring.create(Wanted("a", "admin", domain), "x", 1.0)
    assert ring.create(Wanted("a", "admin", "shop"), "x", 1.0).key.domain == "shop"


# --------------------------------------------------------------------------------------------------- what others change


def test_what_another_process_makes_and_revokes_counts_once_the_copy_is_a_second_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = Clock(100.0)
    monkeypatch.setattr(admissions, "monotonic", ticks)
    here, there = SqliteLedger(tmp_path / "log.sqlite"), SqliteLedger(tmp_path / "log.sqlite")
    keys = asking(here)
    first = made(there)
    assert keys.admit(sent(first.text), DECIDE).key == first.key.id
    second = made(there)
    Ring(there, None).revoke(first.key.id, "x", 1_000.0)
    ticks.now += admissions.FRESH / 2
    assert keys.admit(sent(first.text), DECIDE).key == first.key.id
    ticks.now += admissions.FRESH
    assert keys.admit(sent(second.text), DECIDE).key == second.key.id
    with pytest.raises(Unauthorized):
        keys.admit(sent(first.text), DECIDE)
    here.close()
    there.close()


def test_a_thread_follows_the_ledger_and_no_request_reads_it() -> None:
    reads: list[str] = []

    class Watched(MemoryLedger):
        def entries(self, kind: str, domain: str | None = None, *, after: int = 0) -> list[Entry]:
            import threading

            reads.append(threading.current_thread().name)
            return super().entries(kind, domain, after=after)

    ledger = Watched()
    keys = asking(ledger)
    keys.follow()
    try:
        reads.clear()
        new = made(ledger)
        for _ in range(1_000):
            try:
                assert keys.admit(sent(new.text), DECIDE).key == new.key.id
                break
            except Unauthorized:
                time.sleep(0.01)
        else:
            raise AssertionError("the new key was never taken up")
        assert set(reads) == {"bondhu-keys"}
    finally:
        keys.close()
    Ring(ledger, None).revoke(new.key.id, "x", 1_000.0)
    with pytest.raises(Unauthorized):
        keys.admit(sent(new.text), DECIDE)


def test_a_store_that_is_away_leaves_the_keys_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, ticks = MemoryLedger(), Clock(100.0)
    monkeypatch.setattr(admissions, "monotonic", ticks)
    new = made(ledger)
    keys = asking(ledger)
    assert keys.admit(sent(new.text), DECIDE).key == new.key.id

    def away(*_: Any, **__: Any) -> list[Entry]:
        raise StoreError("the disk is gone")

    monkeypatch.setattr(ledger, "entries", away)
    ticks.now += 10
    assert keys.admit(sent(new.text), DECIDE).key == new.key.id
    with pytest.raises(Unauthorized):
        keys.admit(sent(new.text + "x"), DECIDE)


# ---------------------------------------------------------------------------------------------------------------- rates


def test_a_bucket_gives_its_rate_over_time_and_one_second_at_once() -> None:
    bucket = Bucket(5.0, 0.0)
    assert [bucket.take(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert bucket.wait == pytest.approx(0.2)
    given = sum(bucket.take(step / 100) for step in range(1, 1_001))
    assert given == pytest.approx(50, abs=1)
    assert not any(bucket.take(-1e9) for _ in range(3))
    slow = Bucket(0.1, 0.0)
    assert [slow.take(0.0), slow.take(9.0), slow.take(10.1)] == [True, False, True]


def test_a_key_is_held_to_its_own_rate_or_the_servers_shared_by_the_workers() -> None:
    for own, servers, workers, expected in (
        (None, 8.0, 1, 8),
        (3.0, 8.0, 1, 3),
        (None, 8.0, 4, 2),
        (None, None, 1, 50),
    ):
        ledger, clock = MemoryLedger(), Clock(2_000.0)
        new, other = made(ledger, rate=own), made(ledger, rate=own)
        keys = asking(ledger, clock=clock, rate=servers, workers=workers)
        passed, waits = 0, []
        for _ in range(50):
            try:
                keys.admit(sent(new.text), DECIDE)
                passed += 1
            except TooManyRequests as refused:
                waits.append(refused.seconds)
        assert (passed, len(waits)) == (expected, 50 - expected)
        assert all(0 < each <= 1 for each in waits)
        assert keys.admit(sent(other.text), DECIDE).key == other.key.id
        clock.now += 1.0
        assert keys.admit(sent(new.text), DECIDE).key == new.key.id


def test_taking_up_new_keys_does_not_fill_the_buckets_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, ticks = MemoryLedger(), Clock(100.0)
    monkeypatch.setattr(admissions, "monotonic", ticks)
    new = made(ledger, rate=1.0)
    keys = asking(ledger)
    keys.admit(sent(new.text), DECIDE)
    made(ledger)
    ticks.now += 10
    with pytest.raises(TooManyRequests):
        keys.admit(sent(new.text), DECIDE)


# ------------------------------------------------------------------------------------------------------------ over HTTP


@pytest.fixture
def guarded() -> Iterator[Client]:
    yield from opened(decider(), rules=Rules(KEY, required=True))


def key(client: Client, role: str, **more: Any) -> dict[str, str]:
    answer = client.post(KEYS, {"name": f"the {role}", "role": role, **more}, **ADMIN)
    assert answer.status_code == 200, answer.text
    return {"X-API-Key": answer.json()["text"]}


def test_where_keys_are_required_each_route_needs_the_permission_it_should(guarded: Client) -> None:
    made_id = guarded.post("/v1/decide", {"context": CONTEXT}, **ADMIN).json()["id"]
    calls = {
        ("POST", "/v1/decide"): ({"context": CONTEXT}, {"app", "admin"}),
        ("POST", "/v1/decide/batch"): ({"requests": []}, {"app", "admin"}),
        ("POST", "/v1/feedback"): ({"decision_id": made_id, "signal": "like"}, {"app", "admin"}),
        ("POST", "/v1/feedback/batch"): ({"feedback": []}, {"app", "admin"}),
        ("GET", f"/v1/decisions/{made_id}"): (None, {"reader", "operator", "admin"}),
        ("GET", SYSTEM): (None, {"reader", "operator", "admin"}),
        ("GET", "/api/v1/admin/releases"): (None, {"reader", "operator", "admin"}),
        ("GET", "/api/v1/admin/verdicts"): (None, {"reader", "operator", "admin"}),
        ("POST", "/api/v1/admin/releases/stop"): ({"reason": "x"}, {"operator", "admin"}),
        ("POST", TRIGGER): (None, {"operator", "admin"}),
        ("GET", KEYS): (None, {"admin"}),
        ("POST", KEYS): ({"name": "n", "role": "reader"}, {"admin"}),
        ("GET", AUDIT): (None, {"admin"}),
        ("GET", "/health"): (None, {None, "reader", "app", "operator", "admin"}),
        ("GET", "/openapi.json"): (None, {None, "reader", "app", "operator", "admin"}),
        ("GET", "/"): (None, {None, "reader", "app", "operator", "admin"}),
    }
    given: dict[str | None, dict[str, str]] = {role: key(guarded, role) for role in PERMISSIONS}
    for (method, path), (body, roles) in calls.items():
        for role, headers in {None: {}, **given}.items():
            status = guarded((method, path, body, headers))[0].status_code
            assert status == (200 if role in roles else 401 if role is None else 403), (method, path, role)


def test_a_key_made_and_revoked_over_http_opens_and_then_does_not(guarded: Client) -> None:
    headers = key(guarded, "reader")
    identity = headers["X-API-Key"].split("_")[1]
    assert guarded.get(SYSTEM, **headers).status_code == 200
    new = guarded.post(f"{KEYS}/{identity}/rotate", {"grace": 3600}, **ADMIN).json()["text"]
    assert guarded.get(SYSTEM, Authorization=f"Bearer {new}").status_code == 200
    assert guarded.get(SYSTEM, **headers).status_code == 200
    revoked = guarded(("DELETE", f"{KEYS}/{identity}", None, ADMIN))[0].json()
    assert revoked["key"]["status"] == "revoked"
    assert guarded.get(SYSTEM, **headers).status_code == 401
    listed = guarded.get(KEYS, **ADMIN).json()["keys"]
    assert [each["status"] for each in listed] == ["revoked", "good"]
    assert "hash" not in json.dumps(listed)
    assert error(guarded(("DELETE", f"{KEYS}/nothing", None, ADMIN))[0], 404)["field"] == "id"


def test_too_many_requests_are_told_when_to_come_again() -> None:
    for client in opened(decider(), rules=Rules(KEY, required=True, rate=0.25)):
        headers = key(client, "app")
        first = client.post("/v1/decide", {"context": CONTEXT}, **headers)
        second = client.post("/v1/decide", {"context": CONTEXT}, **headers)
        told = error(second, 429)
        assert (first.status_code, told["code"]) == (200, "too_many_requests")
        assert 1 <= int(second.headers["retry-after"]) <= 4


# ---------------------------------------------------------------------------------------------------------------- audit


def test_every_act_is_noted_with_who_what_where_and_what_came_of_it(guarded: Client) -> None:
    headers = key(guarded, "operator")
    assert guarded.get(SYSTEM, **headers).status_code == 200
    guarded.post(TRIGGER, None, **headers, **{"X-Request-Id": "my-request"})
    guarded.post("/api/v1/admin/releases/promote", {"reason": "the weekly one", "version": "v7"}, **ADMIN)
    guarded.post("/api/v1/admin/releases/promote", {"versoin": "v7"}, **ADMIN)
    guarded.post(KEYS, {"name": "n", "role": "reader"}, **headers)
    acts = guarded.get(AUDIT, **ADMIN).json()["acts"]
    assert [(each["who"], each["role"], each["what"], each["status"]) for each in acts] == [
        ("administrator", "admin", f"POST {KEYS}", 200),
        ("the operator", "operator", f"POST {TRIGGER}", 200),
        ("administrator", "admin", "POST /api/v1/admin/releases/{action}", 200),
        ("administrator", "admin", "POST /api/v1/admin/releases/{action}", 422),
        ("unknown", None, f"POST {KEYS}", 403),
    ]
    assert acts[1]["request"] == "my-request"
    assert acts[1]["key"] == headers["X-API-Key"].split("_")[1]
    assert acts[2]["arguments"] == {"action": "promote", "reason": "the weekly one", "version": "v7"}
    assert acts[2]["address"] == "127.0.0.1"
    assert acts[4]["arguments"] == {}
    assert headers["X-API-Key"].split("_", 2)[2] not in json.dumps(acts)
    after = guarded.get(f"{AUDIT}?after={acts[2]['seq']}&limit=1", **ADMIN).json()["acts"]
    assert [each["seq"] for each in after] == [acts[3]["seq"]]


def test_refused_attempts_are_noted_but_cannot_fill_the_disk(guarded: Client) -> None:
    for _ in range(200):
        assert guarded.post(TRIGGER, None, **{"X-API-Key": "bd_x_guess"}).status_code == 401
    acts = guarded.get(AUDIT, **ADMIN).json()["acts"]
    assert len(acts) == 20
    assert {(each["who"], each["status"]) for each in acts} == {("unknown", 401)}
    assert "guess" not in json.dumps(acts)


def test_reading_is_not_an_act(guarded: Client) -> None:
    for path in (SYSTEM, KEYS, AUDIT, "/api/v1/admin/releases"):
        assert guarded.get(path, **ADMIN).status_code == 200
    assert guarded.get(AUDIT, **ADMIN).json()["acts"] == []
    assert error(guarded.get(f"{AUDIT}?after=x", **ADMIN), 422)["field"] == "after"


# ---------------------------------------------------------------------------------------------------- the command line


def typed(folder: Path, *words: str) -> str:
    """What a command prints; raises where it fails."""
    done = CliRunner().invoke(cli, [*words, "--directory", str(folder)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bondhu.toml").write_text(
        '[domain]\nname = "shop"\n[context.mood]\nkind = "category"\nvalues = ["happy", "sad"]\n'
        '[actions]\nnames = ["red", "blue"]\n[reward.signals]\nlike = 1.0\n'
    )
    return tmp_path


def test_keys_are_made_replaced_and_revoked_at_the_command_line(folder: Path) -> None:
    text = typed(folder, "key", "create", "the front", "--role", "reader").splitlines()[-1]
    keys = asking(SqliteLedger(folder / "data" / "log.sqlite"), clock=Clock(time.time()))
    assert keys.admit(sent(text), READ).name == "the front"
    identity = text.split("_")[1]
    new = typed(folder, "key", "rotate", identity, "--grace", "1").splitlines()[-1]
    typed(folder, "key", "revoke", identity)
    keys.refresh()
    assert keys.admit(sent(new), READ).role == "reader"
    with pytest.raises(Unauthorized):
        keys.admit(sent(text), READ)
    listed = typed(folder, "key", "list")
    assert listed.count("reader") == 2
    assert text.split("_", 2)[2] not in listed
    with pytest.raises(UnknownName):
        typed(folder, "key", "revoke", "nothing")


def test_acts_at_the_command_line_are_noted_and_shown(folder: Path) -> None:
    text = typed(folder, "key", "create", "the front").splitlines()[-1]
    typed(folder, "stop", "--reason", "it hurts")
    with pytest.raises(UnknownName):
        typed(folder, "promote", "v9")
    typed(folder, "status")
    acts = [each.body for each in SqliteLedger(folder / "data" / "log.sqlite").entries("act")]
    assert [(each["what"], each["status"], each["address"]) for each in acts] == [
        ("bondhu key create", 200, "command line"),
        ("bondhu stop", 200, "command line"),
        ("bondhu promote", 404, "command line"),
    ]
    assert acts[1]["arguments"]["reason"] == "it hurts"
    assert {each["who"] for each in acts} == {operator()}
    assert text.split("_", 2)[2] not in json.dumps(acts)
    printed = typed(folder, "audit", "--after", "0")
    assert "bondhu stop" in printed
    assert "v9" in printed


def test_arguments_that_are_secret_or_personal_or_long_are_not_kept() -> None:
    given: dict[str, Any] = {
        "webhook_key": "s",
        "Password": "s",
        "user": "ann",
        "reason": "x" * 1_000,
        "days": 3,
        "a": None,
    }
    kept = shown({**given, "list": ["x"]})
    assert (kept["webhook_key"], kept["Password"], kept["user"]) == ("(left out)",) * 3
    assert (len(kept["reason"]), kept["days"], kept["a"], kept["list"]) == (200, 3, None, "['x']")
    assert len(shown({str(number): number for number in range(100)})) == 50


def test_no_part_of_a_request_passes_for_another_in_the_audit_log(guarded: Client) -> None:
    path = "/api/v1/admin/releases/promote"
    body = {"reason": "r" * 6_000, "action": "stop", "query.reason": "forged"}
    guarded.post(f"{path}?action=withdraw&reason=other&user=ann", body, **ADMIN)
    guarded.post(path, {"reason": "r" * 6_000, "version": "v7"}, **ADMIN)
    guarded.post(path, {**{f"junk{number}": "x" for number in range(30)}, "reason": "hidden"}, **ADMIN)
    first, second, third = (each["arguments"] for each in guarded.get(AUDIT, **ADMIN).json()["acts"])
    assert first == {
        "action": "promote",
        "reason": "r" * 200,
        "body.action": "stop",
        "body.query.reason": "forged",
        "query.action": "withdraw",
        "query.reason": "other",
        "query.user": "(left out)",
    }
    assert second == {"action": "promote", "reason": "r" * 200, "version": "v7"}
    assert (third["action"], len(third)) == ("promote", 21)


def test_half_a_character_in_a_body_is_a_problem_and_is_noted(guarded: Client) -> None:
    body = b'{"name": "\\ud800", "role": "app", "\\udfff": NaN, "big": ' + b"9" * 40 + b"}"
    assert error(guarded.post(KEYS, body, **ADMIN), 400)["code"] == "malformed"
    (act,) = guarded.get(AUDIT, **ADMIN).json()["acts"]
    assert act["arguments"] == {"name": "\\ud800", "role": "app", "\\udfff": "nan", "big": "9" * 40}


def test_noting_an_act_raises_nothing_whatever_the_ledger_does(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemoryLedger):
        def note(self, *_: Any, **__: Any) -> Any:
            raise ZeroDivisionError("no disk")

    assert not Acts(Broken(), "shop").note(Caller("a", "admin"), "POST /x", {}, 200, Where("127.0.0.1"))
    assert "no disk" in caplog.text


def attempts(client: Client, count: int) -> list[tuple[str, int]]:
    """What was refused, once so many were noted: those of the hot routes are noted in a thread."""
    for _ in range(200):
        acts = client.get(AUDIT, **ADMIN).json()["acts"]
        if len(acts) >= count:
            break
        time.sleep(0.01)
    return sorted((each["what"], each["status"]) for each in acts)


def test_a_wrong_administrators_key_is_noted_wherever_it_is_sent(guarded: Client) -> None:
    wrong = {"X-Admin-Key": "guess"}
    assert guarded.post("/v1/decide", {"context": CONTEXT}, **wrong).status_code == 401
    assert guarded.get("/v1/decisions/x", **wrong).status_code == 401
    assert guarded.post("/v1/decide", {"context": CONTEXT}, **{"X-API-Key": "bd_x_y"}).status_code == 401
    assert guarded.get("/v1/decisions/x").status_code == 401
    assert attempts(guarded, 2) == [("GET /v1/decisions/{decision_id}", 401), ("POST /v1/decide", 401)]


def test_a_wrong_administrators_key_is_noted_on_the_short_way_too() -> None:
    ledger = MemoryLedger()
    one = decider()
    parts = Parts(one, ThreadWriter(one.deployment.log), Desk(), asking(ledger, admin_key=KEY), ledger=ledger)
    direct = interface(parts).direct
    assert direct is not None

    async def ask() -> int:
        told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        headers = [(b"x-admin-key", b"guess")]
        scope = {"method": "POST", "path": "/v1/decide", "headers": headers, "client": ("127.0.0.9", 1)}
        direct.answer(scope, b"{}", lambda status, _: told.set_result(status))
        return await told

    assert asyncio.run(ask()) == 401  # the loop's threads have ended when it returns
    (act,) = ledger.entries("act")
    assert (act.body["what"], act.body["address"], act.body["status"]) == ("POST /v1/decide", "127.0.0.9", 401)


def test_attempts_and_acts_over_the_personalizers_routes_are_noted(tmp_path: Path) -> None:
    settings, wrong = "/personalizer/v1.0/configurations/service", {"X-Admin-Key": "guess"}
    for client in opened(deployment(tmp_path, Clock()).decider(), rules=Rules(KEY, required=True)):
        assert client.get(settings, **wrong).status_code == 401
        assert client(("PUT", settings, {}, wrong))[0].status_code == 401
        assert client.post("/personalizer/v1.0/rank", {}, **{"Ocp-Apim-Subscription-Key": "guess"}).status_code == 401
        assert client.post("/personalizer/v1.0/rank", {}).status_code == 401
        assert client.get(settings, **ADMIN).status_code == 200
        own = client.get(settings, **ADMIN).json()
        assert client(("PUT", settings, own, ADMIN))[0].status_code == 200
        assert attempts(client, 4) == [
            ("GET /personalizer/{version}/configurations/service", 401),
            ("POST /personalizer/{version}/rank", 401),
            ("PUT /personalizer/{version}/configurations/service", 200),
            ("PUT /personalizer/{version}/configurations/service", 401),
        ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"id": "x", "did": "created"},
        {"id": "x", "did": "created", "hash": "zz", "name": "n", "role": "app", "domain": None, "by": "b"},
        {"id": "x", "did": "created", "hash": "00", "name": "n", "role": "app", "domain": 5, "by": "b"},
        {"id": ["x"], "did": "revoked"},
    ],
)
def test_an_entry_that_cannot_be_read_is_logged_and_those_behind_it_count(
    body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    ledger = MemoryLedger()
    new = made(ledger)
    keys = asking(ledger)
    assert keys.admit(sent(new.text), DECIDE).key == new.key.id
    ledger.note("key", "shop", body, time=1_100.0)
    Ring(ledger, None).revoke(new.key.id, "a test", 1_200.0)
    keys.refresh()
    with pytest.raises(Unauthorized):
        keys.admit(sent(new.text), DECIDE)
    assert "Entry 2 of the ledger" in caplog.text


def test_a_ledger_that_cannot_be_read_does_not_hide_what_the_other_says() -> None:
    class Away(MemoryLedger):
        def entries(self, *_: Any, **__: Any) -> Any:
            raise StoreError("The disk is gone.")

    ledger = MemoryLedger()
    new = made(ledger)
    keys = asking([ledger, Away()])
    assert keys.admit(sent(new.text), DECIDE).key == new.key.id
    Ring(ledger, None).revoke(new.key.id, "a test", 1_200.0)
    keys.refresh()
    with pytest.raises(Unauthorized):
        keys.admit(sent(new.text), DECIDE)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of the thread that ends
@pytest.mark.parametrize("end", [RuntimeError, SystemExit])
def test_revocations_count_though_the_thread_that_follows_the_ledger_fails_or_ends(
    end: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(MemoryLedger):
        fails = False

        def entries(self, *given: Any, **named: Any) -> Any:
            if self.fails and threading.current_thread().name == "bondhu-keys":
                self.fails = False
                raise end
            return super().entries(*given, **named)

    monkeypatch.setattr(admissions, "FRESH", 0.05)
    monkeypatch.setattr(admissions, "FOLLOW", 0.01)
    ledger = Failing()
    new = made(ledger)
    keys = asking(ledger)
    keys.follow()
    try:
        assert keys.admit(sent(new.text), DECIDE).key == new.key.id
        ledger.fails = True
        while ledger.fails:
            time.sleep(0.005)
        Ring(ledger, None).revoke(new.key.id, "a test", 1_200.0)
        shut = False
        for _ in range(400):
            time.sleep(0.01)
            try:
                keys.admit(sent(new.text), DECIDE)
            except Unauthorized:
                shut = True
                break
        assert shut
    finally:
        keys.close()
