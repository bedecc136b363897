"""What is personal before it is decided on and logged: stored, hashed or dropped, the same for all that follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bondhu.app import App
from bondhu.doors import door, imported, masks
from bondhu.errors import InvalidInput, SettingsInvalid
from bondhu.imports import import_log
from bondhu.log.export import export
from bondhu.privacy import Masks, Pseudonyms, Sealer, masks_of
from bondhu.privacy.pseudonyms import LENGTH
from bondhu.serve.decide import Decider, Request
from bondhu.serve.messages import Sent
from bondhu.types import Decision
from tests.service.stand import opened

SALT = "a salt that nobody can guess"
KINDS = {"customer": "person", "note": "text", "mood": "category", "age": "number"}
FIELDS = {
    "mood": {"kind": "category", "values": ["happy", "sad"]},
    "note": {"kind": "text", "buckets": 16},
    "customer": {"kind": "person"},
}
SENT = {"mood": "happy", "note": "call me at 555", "customer": "ann", "mail": "ann@home"}
POLICY = {
    "user": "hash",
    "session": "hash",
    "salt": SALT,
    "fields": {"note": "hash", "customer": "hash", "mail": "drop", "mood": "store"},
}


def service(path: Path, **policy: Any) -> tuple[App, Decider]:
    """A deployment with such a policy, and its live loop behind the door."""
    app = opened(path, privacy=policy, context={**FIELDS, "age": {"kind": "number", "range": [0, 100]}})
    one = app.decider()
    one.door = door(masks(app.settings, app.domain))
    return app, one


def sent(**more: Any) -> Request:
    return Request({**SENT, "age": 30}, **more)


# ---------------------------------------------------------------------------------------------------------- pseudonyms


def test_a_pseudonym_is_the_same_for_the_same_name_and_another_under_another_salt() -> None:
    one, again, other = Pseudonyms(SALT), Pseudonyms(SALT), Pseudonyms(SALT + "!")
    assert one("ann") == again("ann") != other("ann")
    assert len({one(f"person-{number}") for number in range(10_000)}) == 10_000
    assert one("ann") != "ann"
    assert len(one("ann")) == LENGTH == 40
    assert one("") == ""


def test_the_pseudonym_of_a_pseudonym_is_itself_so_that_exports_can_be_imported() -> None:
    name = Pseudonyms(SALT)
    assert name(name("ann")) == name("ann")
    assert name.made(name("ann"))
    assert not Pseudonyms("another salt of 20 characters").made(name("ann"))
    assert not any(map(name.made, ("ann", "a" * 40, "g" * 40, name("ann").upper(), f"{name('ann')[:-1]} ")))


def test_a_seal_breaks_when_anything_in_the_record_changes() -> None:
    seals = Sealer(SALT.encode(), "privacy.salt")
    record = seals.sealed({"decisions": 3, "marked": ["v1"], "at": 1795003200.25})
    back = json.loads(json.dumps(record))
    assert seals.holds(back)
    assert not any(seals.holds({**back, name: "x"}) for name in back)
    assert not Sealer(b"another", "privacy.salt").holds(back)
    assert SALT not in json.dumps(record)


# -------------------------------------------------------------------------------------------------------------- policy


@pytest.mark.parametrize(
    ("policy", "field", "fix"),
    [
        ({"fields": {"mood": "hash"}}, "privacy.fields.mood", "text and person can be hashed"),
        ({"fields": {"age": "hash"}}, "privacy.fields.age", "text and person can be hashed"),
        ({"fields": {"note": "drop"}}, "privacy.fields.note", "Take it out of [context], or hash it."),
        ({"fields": {"nots": "hash"}}, "privacy.fields.nots", "'note'"),
        ({"fields": {"mail": "store"}}, "privacy.fields.mail", '"drop"'),
        ({"user": "hash"}, "privacy.salt", "BONDHU_PRIVACY__SALT"),
        ({"session": "hash", "salt": "short"}, "privacy.salt", "openssl rand"),
        ({"fields": {"note": "hash"}}, "privacy.salt", "keep it"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused_with_its_field(policy: Any, field: str, fix: str) -> None:
    who = {name: policy.get(name, "store") for name in ("user", "session")}
    with pytest.raises(SettingsInvalid) as error:
        masks_of(who, policy.get("fields", {}), policy.get("salt"), KINDS)
    assert error.value.field == field
    assert fix in error.value.fix
    assert "short" not in str(error.value)


def test_without_a_policy_there_is_no_door_and_nothing_on_the_way_of_a_decision(tmp_path: Path) -> None:
    app = opened(tmp_path, privacy={"salt": SALT, "fields": {"mood": "store"}})
    assert masks(app.settings, app.domain) is None
    assert door(None) is None
    assert app.decider().door is None


# ---------------------------------------------------------------------------------------------------------------- door


def test_what_is_hashed_is_logged_hashed_and_what_is_dropped_is_nowhere(tmp_path: Path) -> None:
    app, one = service(tmp_path, **POLICY)
    made = one.decide(sent(user="ann", session="visit-1"))
    row, _ = app.log.find(made.id) or (None, None)
    name = Pseudonyms(SALT)
    assert row == made
    assert (row.user, row.session) == (name("ann"), name("visit-1"))
    assert row.context == {"mood": "happy", "note": name("call me at 555"), "customer": name("ann"), "age": 30}
    stored = b"".join(each.read_bytes() for each in tmp_path.rglob("*") if each.is_file())
    assert not any(word in stored for word in (b"ann@home", b"555", b"visit-1", b'"ann"'))


def test_a_decision_on_hashed_fields_replays_bit_for_bit(tmp_path: Path) -> None:
    _, one = service(tmp_path, **POLICY)
    made = [one.decide(sent(user=f"person-{number}")) for number in range(20)]
    assert all(one.explain(each.id).replayed for each in made)


def test_who_and_where_hash_alike_for_a_retry_and_for_a_batch(tmp_path: Path) -> None:
    _, one = service(tmp_path, **POLICY)
    first = one.decide(sent(user="ann", id="mine"))
    assert one.decide(sent(user="ann", id="mine")) == first
    assert [each.session for each in one.decide_many([sent(user="ann")] * 2)] == [first.session] * 2 == [first.user] * 2


def test_a_session_called_like_its_user_is_hidden_with_the_user(tmp_path: Path) -> None:
    _, one = service(tmp_path, user="hash", salt=SALT, fields={"mail": "drop"})
    name = Pseudonyms(SALT)
    assert one.decide(sent(user="ann", session="ann")).session == name("ann")
    assert one.decide(sent(user="ann", session="visit")).session == "visit"
    assert one.decide(sent(user="ann")).session == name("ann")


@pytest.mark.parametrize("user", ["", "x" * 129, "line\nbreak"])
def test_a_user_that_would_be_refused_is_not_made_acceptable_by_a_hash(tmp_path: Path, user: str) -> None:
    _, one = service(tmp_path, **POLICY)
    with pytest.raises(InvalidInput) as error:
        one.decide(sent(user=user))
    assert error.value.field == "user"


def test_a_field_without_a_policy_that_is_not_declared_stays_an_error(tmp_path: Path) -> None:
    _, one = service(tmp_path, **POLICY)
    with pytest.raises(InvalidInput) as error:
        one.decide(Request({**SENT, "age": 30, "phone": "555"}))
    assert error.value.field == "phone"


def test_a_value_of_the_wrong_kind_is_refused_as_it_was_sent(tmp_path: Path) -> None:
    _, one = service(tmp_path, **POLICY)
    with pytest.raises(InvalidInput) as error:
        one.decide(Request({**SENT, "age": 30, "note": 5}))
    assert (error.value.field, error.value.value) == ("note", 5)


def test_imported_rows_are_what_the_door_would_have_let_in() -> None:
    mask = masks_of({"user": "hash", "session": "store"}, {"note": "hash"}, SALT, KINDS)
    assert mask is not None
    name = Pseudonyms(SALT)

    def row(session: str, user: str | None, note: str = "hello") -> Decision:
        return Decision("d1", "shop", session, user, 1.0, {"note": note}, ("a",), "a", 1.0, (), "imported", "live")

    alone, own, other = imported(mask, [row("d1", "ann"), row("ann", "ann"), row("visit", None)])
    assert (alone.session, alone.user, alone.context) == ("d1", name("ann"), {"note": name("hello")})
    assert (own.session, other.session, other.user) == (name("ann"), "visit", None)
    assert imported(mask, [alone, own, other]) == [alone, own, other]
    rows = [alone]
    assert imported(None, rows) is rows


def test_an_import_goes_through_the_door_and_its_export_can_come_back(tmp_path: Path) -> None:
    app, _ = service(tmp_path, **POLICY)
    file, out = tmp_path / "visits.csv", tmp_path / "out.csv"
    file.write_text(
        "id,user,session,mood,note,customer,age,action,probability\nd1,ann,visit,happy,hello,ann,30,red,0.5\n"
    )
    assert import_log(app, file, None, None).accepted == 1
    ((row, _),) = [app.log.find("d1") or (None, None)]
    assert row is not None
    name = Pseudonyms(SALT)
    assert (row.user, row.session) == (name("ann"), name("visit"))
    assert row.context == {"mood": "happy", "note": name("hello"), "customer": name("ann"), "age": 30.0}
    export(app.log.read("shop", 0, 1e12), app.domain, out)
    assert import_log(app, out, None, None).refused == 0
    assert app.log.summary("shop").decisions == 1


def test_masks_that_only_drop_need_no_salt() -> None:
    assert masks_of({}, {"mail": "drop"}, None, KINDS) == Masks(None, dropped=frozenset({"mail"}))


def test_what_the_door_drops_is_in_no_memory_of_the_live_loop(tmp_path: Path) -> None:
    _, one = service(tmp_path, **POLICY)
    text = json.dumps({**SENT, "age": 30}).encode()
    for _ in range(3):
        one.decide(one.contexts.request(msgspec.json.decode(b'{"context":' + text + b"}", type=Sent)))
    kept = repr([vars(one.contexts), [vars(each) for each in one._rows.values()]])
    assert "ann@home" not in kept
    assert "555" not in kept
    one.door = None
    one.contexts.request(msgspec.json.decode(b'{"context":' + text + b"}", type=Sent))
    assert "ann@home" in repr(vars(one.contexts))
