"""Erasing a person: gone from every place, versions marked, and the state that would have been learned without them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bondhu.app import App, open_app
from bondhu.archives import archived
from bondhu.certificates import certificates
from bondhu.cli import app as commands
from bondhu.doors import door, masks
from bondhu.erasing import EXPORT, STEP, erase, note_backup, note_export
from bondhu.errors import Conflict, InvalidInput, TrainingInProgress, UnknownName
from bondhu.exported import counted, without
from bondhu.imports import archive_old, export_facts
from bondhu.log.export import export
from bondhu.log.importers import to_toml
from bondhu.marking import Marking
from bondhu.ports import ERASURE, Facts
from bondhu.privacy import Pseudonyms
from bondhu.registry.lifecycle import traffic, versions
from bondhu.relearning import lineage, relearned, same
from bondhu.serve.decide import Request, Said
from bondhu.settings import from_tables
from bondhu.train.run import Plan
from bondhu.train.window import held_out
from bondhu.types import Array, Decision, Feedback
from tests.service import web
from tests.service.shop import ACTIONS
from tests.service.stand import HOUR, Clock, log, opened, tables

PEOPLE = [f"person-{number}" for number in range(30)]
ANN = "person-7"  # among others in the log, and not held out
DAY = 86_400.0
MOODS = ("happy", "sad")
# Sums, counts, steps of a table, regressions, a network of features, a model, and people who are pooled.
LEARNERS = (
    *("bandit.bernoulli_thompson", "bandit.ucb1", "tabular.q_learning", "bandit.lin_ucb", "bandit.fourier_ridge"),
    *("bandit.exp3", "tabular.dyna_q", "bandit.pooled"),
)


def visits(app: App, people: Sequence[str], each: int, *, ago: float = 3 * HOUR) -> None:
    """Every person makes one visit of so many decisions, all of them at the same time; blue is liked, green by some."""
    made, said, start = [], [], app.now() - ago
    fields = [field["name"] for field in app.domain.describe()["fields"]]
    for number in range(each):
        for person in people:
            place = int(person.split("-")[1])
            identity, action = f"{person}-{start:.0f}-{number}", ACTIONS[(number + place) % 3]
            time = start + 60.0 * number + place
            every = {"mood": MOODS[(place + number) % 2], "age": (7 * place) % 100, "customer": person}
            context = {name: every[name] for name in fields}
            visit = f"{person}-{start:.0f}"
            row = Decision(
                identity, "shop", visit, person, time, context, ACTIONS, action, 1 / 3, (), "baseline", "live"
            )
            made.append(row)
            if action == "blue" or place % 3 == 0:
                said.append(Feedback(f"{identity}:like", identity, "like", 1.0, time + 60.0))
    app.log.append(made, said)


def deployment(
    path: Path, people: Sequence[str], learner: str = "tabular.q_learning", weeks: int = 3, **more: Any
) -> App:
    """A deployment that trained every six hours on what these people said; a fifth of them is held out."""
    customer = {"customer": {"kind": "person"}} if learner == "bandit.pooled" else {}
    settings: dict[str, Any] = {
        "learner": {"name": learner},
        "domain": {"idle": 600},
        "training": {"holdout": 0.2, "min_interactions_per_user": 3},
        **({"context": customer} if customer else {}),
        **more,
    }
    app = opened(path, Clock(), **settings)
    for week in range(weeks):
        visits(app, people, 4 + week)
        app.train()
        clock_of(app).now += 6 * HOUR
    return app


def clock_of(app: App) -> Clock:
    assert isinstance(app.now, Clock)
    return app.now


def others(people: Sequence[str] = PEOPLE, who: str = ANN) -> list[str]:
    return [each for each in people if each != who]


def state(app: App, version: str) -> Mapping[str, Array]:
    return app.deployment.registry.load(version).state


def left(app: App, who: str = ANN) -> int:
    return sum(user == who for user in app.log.read("shop", -np.inf, np.inf).user)


def bytes_of(folder: Path) -> bytes:
    return b"".join(each.read_bytes() for each in sorted(folder.rglob("*")) if each.is_file())


def assert_identical(one: Mapping[str, Array], other: Mapping[str, Array]) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype, name
        np.testing.assert_array_equal(array, other[name], err_msg=name)


# ------------------------------------------------------------------------------------ what would have been learned


@pytest.mark.parametrize("learner", LEARNERS)
def test_erased_and_relearned_is_bit_for_bit_what_was_learned_where_they_never_were(
    learner: str, tmp_path: Path
) -> None:
    app = deployment(tmp_path / "with", PEOPLE, learner)
    never = deployment(tmp_path / "without", others(), learner)
    certificate = erase(app, ANN, by="test")
    (old, new), (last,) = *certificate["relearned"].items(), never.versions()[-1:]
    assert (certificate["decisions"], certificate["feedback"]) == (15, left_feedback(15))
    assert (len(certificate["marked"]), certificate["unreached"]) == (3, [])
    assert not same(state(app, old), state(app, new))
    assert_identical(state(app, new), state(never, last))


def left_feedback(decisions: int) -> int:
    """Of that many decisions of ANN in visits of 4, 5 and 6, those that were liked: blue ones."""
    assert decisions == 15
    return sum((number + 7) % 3 == 1 for each in (4, 5, 6) for number in range(each))


def test_what_is_trained_next_goes_on_from_the_version_without_them(tmp_path: Path) -> None:
    app, never = deployment(tmp_path / "with", PEOPLE), deployment(tmp_path / "without", others())
    new = erase(app, ANN, by="test")["relearned"][app.versions()[2]]
    for each in (app, never):
        visits(each, others(), 5)
        each.train()
    assert app.deployment.registry.load(app.versions()[-1]).parent == new
    assert_identical(state(app, app.versions()[-1]), state(never, never.versions()[-1]))


def test_two_people_erased_one_after_the_other_leave_what_neither_was_in(tmp_path: Path) -> None:
    app = deployment(tmp_path / "with", PEOPLE)
    never = deployment(tmp_path / "without", others(others(), "person-12"))
    erase(app, ANN, by="test")
    second = erase(app, "person-12", by="test")
    assert len(second["marked"]) == 4  # those of three trainings, and the one that the first erasure made
    assert_identical(state(app, app.versions()[-1]), state(never, never.versions()[-1]))
    assert [each.id for each in lineage(app.deployment.registry, app.versions()[-1])] == app.versions()[:3]


def test_a_training_that_had_nobody_else_to_learn_from_falls_away(tmp_path: Path) -> None:
    def alone_in_the_second(path: Path, people: Sequence[str]) -> App:
        app = opened(path, Clock(), training={"holdout": 0.0, "min_interactions_per_user": 3, "days_back": 0.2})
        for every in (people, [ANN] if ANN in people else [], people):
            visits(app, every, 4)
            app.train()
            clock_of(app).now += 6 * HOUR
        return app

    app = alone_in_the_second(tmp_path / "with", PEOPLE)
    never = alone_in_the_second(tmp_path / "without", others())
    assert (len(app.versions()), len(never.versions())) == (3, 2)
    erase(app, ANN, by="test")
    assert_identical(state(app, app.versions()[-1]), state(never, never.versions()[-1]))


def test_what_was_said_or_taken_back_after_a_training_is_not_in_what_it_would_have_learned(tmp_path: Path) -> None:
    app, never = deployment(tmp_path / "with", PEOPLE), deployment(tmp_path / "without", others())
    like = next(each.feedback[0] for each in app.log.facts("shop", -np.inf, np.inf))
    late = Feedback("later", like.decision_id, "like", None, app.now(), replaces=like.id)
    app.log.append([], [late])
    erase(app, ANN, by="test")
    assert_identical(state(app, app.versions()[-1]), state(never, never.versions()[-1]))


def test_a_changed_declaration_does_not_change_how_old_versions_are_relearned(tmp_path: Path) -> None:
    app, never = deployment(tmp_path / "with", PEOPLE), deployment(tmp_path / "without", others())
    changed = tables(
        domain={"idle": 600}, reward={"signals": {"like": 5.0}}, training={"holdout": 0.5, "seed": 9, "days_back": 1}
    )
    again = open_app(from_tables(changed, tmp_path / "with"), now=app.now)
    erase(again, ANN, by="test")
    assert_identical(state(again, again.versions()[-1]), state(never, never.versions()[-1]))


def test_relearning_an_apprentice_gives_the_apprentice_without_them(tmp_path: Path) -> None:
    def apprentice(path: Path, people: Sequence[str]) -> App:
        app = opened(path, Clock(), training={"holdout": 0.2, "min_interactions_per_user": 1})
        log(app, people, 6)
        read = app.log.read("shop", -np.inf, np.inf)
        assert len(read.id) == 6 * len(people)
        rows = [app.log.find(each) for each in read.id]
        own = [row[0]._replace(id=f"own-{row[0].id}", version="application") for row in rows if row]
        app.log.append(own)
        app.train(Plan(**{**vars(app.plan()), "imitate": True}))
        return app

    app, never = apprentice(tmp_path / "with", PEOPLE), apprentice(tmp_path / "without", others())
    version = relearned_after(app)
    assert_identical(state(app, version), state(never, never.versions()[-1]))


def relearned_after(app: App) -> str:
    (new,) = erase(app, ANN, by="test")["relearned"].values()
    assert isinstance(new, str)
    return new


# -------------------------------------------------------------------------------------------------- where it is refused


def test_a_version_whose_rows_are_gone_is_not_relearned_and_the_certificate_says_so(tmp_path: Path) -> None:
    app = deployment(tmp_path, PEOPLE)
    app.log.let_go("shop", app.now() - 15 * HOUR)
    certificate = erase(app, ANN, by="test")
    (missed,) = certificate["unreached"]
    assert certificate["relearned"] == {}
    assert missed["what"] == f"version {app.versions()[2]}"
    assert "neither in the log nor in its archives" in missed["why"]
    assert "bondhu train --from-scratch" in missed["why"]


def test_a_version_that_does_not_say_how_it_was_trained_is_not_relearned(tmp_path: Path) -> None:
    app = deployment(tmp_path, PEOPLE, weeks=1)
    old = app.deployment.registry.load(app.versions()[0])
    notes = {name: note for name, note in old.notes.items() if name != "training"}
    app.deployment.registry.add(replace(old, id="older", notes=notes))
    with pytest.raises(Conflict, match="does not say how it was trained"):
        relearned(app, "older")
    certificate = erase(app, ANN, by="test")
    assert [each["what"] for each in certificate["unreached"]] == ["version older"]
    assert certificate["marked"] == sorted([old.id, "older"])


def test_a_learner_that_does_not_learn_the_same_twice_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bondhu.learners.tabular.q_learning import QLearning

    app, learn, count = deployment(tmp_path, PEOPLE, weeks=1), QLearning.update, iter(range(10))

    def restless(self: QLearning, *given: Any) -> Any:
        learned, metrics = learn(self, *given)
        return replace(learned, noise=learned.noise + next(count)), metrics

    monkeypatch.setattr(QLearning, "update", restless)
    with pytest.raises(Conflict, match="does not learn the same from the same"):
        relearned(app, app.versions()[0])
    assert len(app.versions()) == 1


def test_nobody_is_erased_while_somebody_trains(tmp_path: Path) -> None:
    app = deployment(tmp_path, PEOPLE, weeks=1)
    with app.stores.alone("train"), pytest.raises(TrainingInProgress):
        erase(app, ANN, by="test")
    assert left(app) == 4


# -------------------------------------------------------------------------------------------------------------- marking


def test_who_is_held_out_marks_no_version_and_nothing_is_relearned(tmp_path: Path) -> None:
    app = deployment(tmp_path, PEOPLE)
    away = next(each for each in PEOPLE if held_out([each], 0.2)[0])
    certificate = erase(app, away, by="test")
    assert (certificate["decisions"], certificate["marked"], certificate["relearned"]) == (15, [], {})


def test_a_version_is_marked_for_those_before_it_and_not_for_those_after(tmp_path: Path) -> None:
    app = deployment(tmp_path, others(), weeks=1)
    visits(app, PEOPLE, 4)
    app.train()
    clock_of(app).now += 6 * HOUR
    visits(app, others(), 4)
    app.train()
    first, second, third = app.versions()
    marks = Marking(app, (ANN,), (0.0, app.now())).touched().decisions
    assert marks == {second: 4, third: 0}  # what each training read itself
    assert erase(app, ANN, by="me")["marked"] == [second, third]
    (event, _) = [each for each in app.events() if each.kind == "marked"]
    assert (event.version, event.by, event.figures["decisions"]) == (second, "me", 4)
    assert ANN not in json.dumps([each._asdict() for each in app.events()])
    assert {each.version: each.status for each in versions(app.events())}[first] == "candidate"


def test_a_mark_changes_nothing_about_who_decides(tmp_path: Path) -> None:
    app = deployment(tmp_path, PEOPLE)
    app.promote(reason="it is good")
    before = traffic(app.events())
    new = relearned_after(app)
    assert traffic(app.events()) == before
    assert app.verdicts(new), "the gate has judged it like any other"
    assert app.promote(new, reason="without them", over=before.live) == new


# ------------------------------------------------------------------------------------------------------- places of rows


def test_the_name_is_gone_from_every_file_of_the_deployment(tmp_path: Path) -> None:
    app = deployment(tmp_path, PEOPLE)
    assert ANN.encode() in bytes_of(tmp_path)
    erase(app, ANN, by="test")
    assert left(app) == 0
    app.stores.close()
    assert b'"person-7"' not in bytes_of(tmp_path)
    assert b"person-7-" not in bytes_of(tmp_path)


def test_archived_decisions_are_erased_and_still_relearned_from(tmp_path: Path) -> None:
    app, never = deployment(tmp_path / "with", PEOPLE), deployment(tmp_path / "without", others())
    clock_of(app).now += 30 * DAY
    archive_old(app, 29.9)
    assert sum(each.user == ANN for piece in app_archive(app) for each in piece.decisions) > 10
    kept = len(app.log.read("shop", -np.inf, np.inf).id)
    certificate = erase(app, ANN, by="test")
    assert (certificate["decisions"], certificate["files"]["archive"]) == (kept // 30, 15 - kept // 30)
    assert certificate["unreached"] == []
    assert_identical(state(app, app.versions()[-1]), state(never, never.versions()[-1]))
    assert not any(each.user == ANN for piece in app_archive(app) for each in piece.decisions)


def app_archive(app: App) -> Iterator[Facts]:
    return archived(app, -np.inf, np.inf)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_exports_lose_the_person_and_keep_the_rest(kind: str, tmp_path: Path) -> None:
    app = opened(tmp_path / "deployment", Clock())
    log(app, ["ann", 'odd, "name"', "bob"], 6)
    app.log.append([nobody_known(app, "ann"), nobody_known(app, "bob-and-ann")])
    path, alone = tmp_path / f"all.{kind}", tmp_path / f"others.{kind}"
    note_export(app, path, export(app.log.read("shop", -np.inf, np.inf), app.domain, path))
    assert counted(path, ["ann"]) == 6
    certificate = erase(app, "ann", by="test")
    assert certificate["files"][str(path)] == 6
    export(app.log.read("shop", -np.inf, np.inf), app.domain, alone)
    assert b"ann-" not in path.read_bytes().replace(b"bob-and-ann", b"")
    if kind == "parquet":
        import pyarrow.parquet as pq

        assert pq.read_table(path).equals(pq.read_table(alone))
    else:
        assert path.read_bytes() == alone.read_bytes()
    assert without(path, ["ann"]) == 0


def nobody_known(app: App, session: str) -> Decision:
    context = {"mood": "happy", "age": 30}
    made = (f"nobody-{session}", "shop", session, None, app.now() - HOUR, context, ACTIONS, "red", 1 / 3, ())
    return Decision(*made, "baseline", "live")


def test_rows_of_nobody_known_go_with_the_only_person_of_their_session(tmp_path: Path) -> None:
    app = opened(tmp_path, Clock())
    context = {"mood": "happy", "age": 30}

    def row(identity: str, session: str, user: str | None) -> Decision:
        made = (identity, "shop", session, user, app.now(), context, ACTIONS, "red", 1 / 3, ())
        return Decision(*made, "baseline", "live")

    app.log.append([row("a", "one", None), row("b", "one", "ann"), row("c", "two", "ann"), row("d", "two", "bob")])
    app.log.append([row("e", "two", None)])
    path = tmp_path / "all.csv"
    note_export(app, path, export(app.log.read("shop", -np.inf, np.inf), app.domain, path))
    certificate = erase(app, "ann", by="test")
    assert (certificate["decisions"], certificate["files"][str(path)]) == (3, 3)
    assert app.log.read("shop", -np.inf, np.inf).id == ["d", "e"]


def test_a_folder_of_facts_loses_the_person_as_well(tmp_path: Path) -> None:
    app = opened(tmp_path / "deployment", Clock())
    log(app, ["ann", "bob"], 6)
    folder = tmp_path / "facts"
    note_export(app, folder, export_facts(app, folder).decisions)
    certificate = erase(app, "ann", by="test")
    assert certificate["files"][str(folder)] == 6
    assert b"ann-" not in bytes_of(folder)


def test_what_cannot_be_reached_is_listed_with_the_reason(tmp_path: Path) -> None:
    app = opened(tmp_path, Clock())
    log(app, ["ann"], 3)
    moved, spoilt, backup = tmp_path / "moved.csv", tmp_path / "spoilt.parquet", tmp_path / "backup.sqlite"
    spoilt.write_bytes(b"no table at all")
    for path in (moved, spoilt):
        note_export(app, path, 3)
    note_backup(app, backup)
    missed = {each["what"]: each["why"] for each in erase(app, "ann", by="test")["unreached"]}
    assert set(missed) == {str(moved), str(spoilt), str(backup)}
    assert "no longer there" in missed[str(moved)]
    assert "Delete it" in missed[str(spoilt)]
    assert "backup" in missed[str(backup)]
    assert spoilt.read_bytes() == b"no table at all"


def test_a_hashed_person_is_erased_by_name_and_by_pseudonym_and_counts_as_the_same(tmp_path: Path) -> None:
    salt = "a salt that nobody can guess"
    app = opened(tmp_path, Clock(), privacy={"user": "hash", "salt": salt})
    log(app, ["ann"], 3)  # as before the policy was set
    one = app.decider()
    one.door = door(masks(app.settings, app.domain))
    for _ in range(2):
        one.decide(Request({"mood": "happy", "age": 30}, user="ann"))
    first = erase(app, "ann", by="test")
    again = erase(app, Pseudonyms(salt)("ann"), by="test")
    assert (first["decisions"], again["decisions"], left(app, Pseudonyms(salt)("ann"))) == (5, 0, 0)
    assert (first["subject"], first["sealed_with"]) == (again["subject"], "privacy.salt")


# -------------------------------------------------------------------------------------------- again, and after a crash


def test_erasing_again_or_somebody_unknown_gives_a_certificate_with_zeros(tmp_path: Path) -> None:
    app = deployment(tmp_path, PEOPLE, weeks=1)
    erase(app, ANN, by="test")
    events = len(app.events())
    for who in (ANN, "nobody"):
        certificate = erase(app, who, by="test")
        assert (certificate["decisions"], certificate["feedback"], certificate["marked"]) == (0, 0, [])
        assert (certificate["relearned"], certificate["unreached"]) == ({}, [])
    assert len(app.events()) == events


STEPS = ("mark", "_removed", "_relearned", "_released", "_certified")


@pytest.mark.parametrize("where", STEPS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_erasure_cut_short_is_taken_up_where_it_was(
    where: str, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bondhu import erasing

    whole = erase(deployment(tmp_path / "whole", PEOPLE), ANN, by="test")
    app = deployment(tmp_path / "cut", PEOPLE)
    with monkeypatch.context() as patch:
        patch.setattr(erasing, where, cut_short(getattr(erasing, where), moment))
        with pytest.raises(KeyboardInterrupt):
            erase(app, ANN, by="test")
    done = [each.body for each in app.ledger.entries(ERASURE)]
    certificate = erase(app, ANN, by="test")
    for part in ("decisions", "feedback", "marked", "unreached", "subject") if not done else ("unreached", "subject"):
        assert certificate[part] == whole[part], part
    assert left(app) == 0
    assert len({each.body["run"] for each in app.ledger.entries(STEP)}) == 1 + len(done)
    assert sum(each.kind == "marked" for each in app.events()) == 3
    assert [each.problem for each in certificates(app)] == [""] * (1 + len(done))
    never = deployment(tmp_path / "without", others())
    assert_identical(state(app, app.versions()[-1]), state(never, never.versions()[-1]))


def cut_short(step: Callable[..., Any], moment: str) -> Callable[..., Any]:
    def cut(*given: Any, **named: Any) -> Any:
        if moment == "after":
            step(*given, **named)
        raise KeyboardInterrupt

    return cut


# --------------------------------------------------------------------------------------------------------- certificates


def test_a_certificate_never_holds_the_name_and_any_change_breaks_its_seal(tmp_path: Path) -> None:
    app = opened(tmp_path, Clock(), server={"admin_key": "a long key of this server"})
    log(app, ["ann", "bob"], 3)
    for who in ("ann", "bob"):
        erase(app, who, by="me")
    first, second = certificates(app)
    assert (first.problem, second.problem, second.body["after"]) == ("", "", first.body["seal"])
    assert (first.body["by"], first.body["sealed_with"]) == ("me", "server.admin_key")
    entries = [*app.ledger.entries(ERASURE), *app.ledger.entries(STEP)]
    assert not any(who in json.dumps(each.body) for each in entries for who in ("ann", "bob"))
    app.ledger.note(ERASURE, "shop", {**second.body, "decisions": 0}, time=app.now())
    app.ledger.note(ERASURE, "shop", second.body, time=app.now())
    problems = [each.problem for each in certificates(app)]
    assert problems[:2] == ["", ""]
    assert "changed since" in problems[2]
    assert "the one before it" in problems[3]


def test_a_certificate_under_another_secret_is_told_from_a_changed_one(tmp_path: Path) -> None:
    app = opened(tmp_path, Clock())
    erase(app, "ann", by="me")
    other = opened(tmp_path, Clock(), server={"admin_key": "another long key of this server"})
    (found,) = certificates(other)
    assert found.problem == "sealed with another secret (server.admin_key, which is public) than the present one"


@pytest.mark.parametrize("user", ["", "x" * 129])
def test_a_name_that_nobody_can_have_is_refused(user: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as error:
        erase(opened(tmp_path), user, by="me")
    assert error.value.field == "user"


# ----------------------------------------------------------------------------------------------- over HTTP and by hand


class Desk(web.Desk):
    """Erases for real."""

    def __init__(self, app: App) -> None:
        super().__init__()
        self._app = app

    def erase(self, user: str, by: str, forget: Any) -> Mapping[str, Any]:
        return erase(self._app, user, by=by, forget=forget)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[App, web.Client]]:
    app = open_app(from_tables(tables(), tmp_path))
    for client in web.opened(app.decider(), Desk(app)):
        yield app, client


ASKED = {"context": {"mood": "happy", "age": 30}, "user": "ann/lee"}


def test_over_http_an_administrator_erases_and_late_feedback_is_unknown(served: tuple[App, web.Client]) -> None:
    app, client = served
    made = [client.post("/v1/decide", ASKED).json() for _ in range(3)]
    answer = client(("DELETE", "/v1/users/ann/lee", None, web.ADMIN))[0]
    assert (answer.status_code, answer.json()["decisions"], answer.json()["by"]) == (200, 3, "administrator")
    assert answer.json()["seal"] == certificates(app)[0].body["seal"]
    for each in made:
        said = client.post("/v1/feedback", {"decision_id": each["id"], "signal": "like"})
        assert web.error(said, 404)["field"] == "decision_id"
        assert client.get(f"/v1/decisions/{each['id']}", **web.ADMIN).status_code == 404
    assert app.log.summary("shop").unmatched == 0


def test_over_http_nobody_else_may_and_learns_nothing(served: tuple[App, web.Client]) -> None:
    app, client = served
    client.post("/v1/decide", ASKED)
    answers = client(*(("DELETE", f"/v1/users/{who}", None, {}) for who in ("ann/lee", "nobody")))
    assert [each.status_code for each in answers] == [401, 401]
    assert answers[0].json() == answers[1].json()
    assert left(app, "ann/lee") == 1


def test_a_decider_forgets_what_was_erased_and_waits_for_no_word_of_it(tmp_path: Path) -> None:
    app = open_app(from_tables(tables(), tmp_path))
    one = app.decider()
    made, kept = (one.decide(Request({"mood": "happy", "age": 30})) for _ in range(2))
    app.log.forget([made.id], [])
    one.forget([made.id])
    assert (one.remembers(made.id), one.remembers(kept.id)) == (False, True)
    with pytest.raises(UnknownName):
        one.hear([Said(made.id, "like")])
    assert one.hear([Said(kept.id, "like")])[0].status == "stored"


def run(*words: str, **more: Any) -> Any:
    return CliRunner().invoke(commands, list(words), catch_exceptions=False, **more)


def test_by_hand_one_erases_and_the_certificates_hold(tmp_path: Path) -> None:
    app = deployment(tmp_path, PEOPLE, weeks=1)
    (tmp_path / "bondhu.toml").write_text(toml())
    out = tmp_path / "out.csv"
    assert run("export", str(out), "-C", str(tmp_path)).exit_code == 0
    assert [each.body["rows"] for each in app.ledger.entries(EXPORT)] == [120]
    assert run("erase", ANN, "-C", str(tmp_path), input="n\n").exit_code == 1
    assert left(app) == 4
    done = run("erase", ANN, "-C", str(tmp_path), "--yes")
    assert "Erased 4 decisions and 2 feedback from the log." in done.stdout
    assert f"Erased 4 decisions from {out}." in done.stdout
    assert f"Without them, {app.versions()[0]} would be {app.versions()[1]}." in done.stdout
    assert ANN.encode() + b"," not in out.read_bytes()
    shown = run("certificates", "-C", str(tmp_path))
    assert (shown.exit_code, "holds" in shown.stdout, ANN in shown.stdout) == (0, True, False)
    body = app.ledger.entries(ERASURE)[0].body
    app.ledger.note(ERASURE, "shop", {**body, "decisions": 0}, time=app.now())
    assert run("certificates", "-C", str(tmp_path)).exit_code == 1


def toml() -> str:
    return to_toml(tables(domain={"idle": 600}, training={"holdout": 0.2, "min_interactions_per_user": 3}))
