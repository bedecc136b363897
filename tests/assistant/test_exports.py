"""Conversations become records for training: what is in them, what is not, and nobody in two splits."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.corpora import kinds, turns
from bondhu.corpora.exporting import export_training, gathered
from bondhu.corpora.kinds import KINDS, binary, completions, preferences, trajectories
from bondhu.corpora.splits import SEVERAL, persons
from bondhu.corpora.turns import Text, Turn, read_turns
from bondhu.corpora.wanted import Wanted
from bondhu.erasing import erase
from bondhu.errors import InvalidInput, UnknownName
from tests.assistant.talks import Talk, deployment, fill, goes_on

ALL = float("-inf")


def read(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def all_turns(folder: Path, *talks: Talk, **tables: Any) -> list[Turn]:
    app = deployment(folder, **tables)
    fill(app, talks)
    return read_turns(app.log, app.transcripts, "chat", app.domain.reward)


# ---------------------------------------------------------------------------------------------------------------- turns


def test_a_turn_holds_what_was_asked_answered_and_said_of_it(tmp_path: Path) -> None:
    (turn,) = all_turns(tmp_path, Talk(said={"accept": 1.0, "copy": 5.0, "cost": 0.25}, before=goes_on("Hi", "Hello")))
    assert turn.reward == pytest.approx(1.3)  # a copy is worth 1 at most
    assert (turn.said, turn.judged) == ({"accept": 1.0, "copy": 1.0, "cost": 0.25}, True)
    assert turn.text == Text((*goes_on("Hi", "Hello", "How do I sort a list?"),), "With sorted().")
    assert (turn.user, turn.session, turn.action, turn.probability) == ("ann", "s1", "plain/small", 0.25)


def test_what_says_nothing_of_the_answer_does_not_judge_it(tmp_path: Path) -> None:
    silent, told = all_turns(tmp_path, Talk(said={"cost": 0.5}), Talk(said={"reject": 1.0}))
    assert (silent.judged, told.judged, told.reward) == (False, True, -0.5)


@pytest.mark.parametrize(
    ("talk", "problem"),
    [
        (Talk(kept=False), turns.NOT_KEPT),
        (Talk(asked="0a1b2c3d 99887766", answer="It is so."), turns.IS_HASHED),
        (Talk(answer="0a1b2c3d 99887766"), turns.IS_HASHED),
        (Talk(asked=""), turns.IS_DROPPED),
        (Talk(more={"messages": []}), turns.IS_DROPPED),
        (Talk(answer=""), turns.IS_DROPPED),
        (Talk(more={"answer": {}}), turns.NO_ANSWER),
        (Talk(more={"answer": None}), turns.NO_ANSWER),
        (Talk(more={"status": "disconnected"}), turns.NO_ANSWER),
        (Talk(more={"status": "cut off"}), turns.NO_ANSWER),
        (Talk(more={"finish_reason": "length"}), turns.NO_ANSWER),
        (Talk(said={"failed": 1.0}), turns.NO_ANSWER),
        (Talk(asked=[{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {}}]), turns.NOT_TEXT),
        (Talk(before=[{"role": "tool", "content": "4"}]), turns.NOT_TEXT),
        (Talk(more={"answer": {"role": "assistant", "content": "", "tool_calls": [{}]}}), turns.NOT_TEXT),
        (Talk(more={"messages": ["text"]}), turns.NOT_TEXT),
    ],
)
def test_what_cannot_be_used_says_why(tmp_path: Path, talk: Talk, problem: str) -> None:
    (turn,) = all_turns(tmp_path, talk)
    assert (turn.text, turn.problem) == (None, problem)


def test_parts_of_text_are_joined_and_developers_speak_as_the_system(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    (turn,) = all_turns(tmp_path, Talk(asked=parts, before=[{"role": "developer", "content": "Be brief."}]))
    assert turn.text is not None
    assert turn.text.prompt == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one\ntwo"},
    )


# ---------------------------------------------------------------------------------------------------------------- kinds


def test_pairs_are_of_comparable_prompts_with_a_gap_and_different_texts(tmp_path: Path) -> None:
    made = preferences(
        all_turns(
            tmp_path,
            Talk("How do I  SORT?", "Use sorted.", {"accept": 1.0}, "ann", "a"),
            Talk("how do i sort?", "No idea.", {"reject": 1.0}, "ben", "b"),
            Talk("How do I sort?", " use  SORTED. ", {"reject": 1.0}, "cem", "c"),  # the same text as the first
            Talk("How do I sort?", "In some way.", {"copy": 1.0}, "dee", "d"),
            Talk("How do I sort?", "Hm.", {}, "eva", "e"),
            Talk("Another thing", "Yes.", {"accept": 1.0}, "ann", "f"),
            Talk("How do I sort?", "Later.", {"reject": 1.0}, "ann", "g", before=goes_on("Hi", "Hello")),
        ),
        0.9,
    )
    pairs = [(row["chosen"][0]["content"], row["rejected"][0]["content"], row["margin"]) for row in made.rows]
    assert pairs == [("Use sorted.", "No idea.", 1.5), ("In some way.", " use  SORTED. ", 0.8)]
    first = made.rows[0]
    assert first["prompt"] == [{"role": "user", "content": "How do I  SORT?"}]
    assert (first["user"], first["rejected_user"]) == ("ann", "ben")
    assert (first["decision_id"], first["rejected_decision_id"]) == ("d0000", "d0001")
    assert made.used == 4
    assert made.left_out == {kinds.SILENT: 1, kinds.ALONE: 2}


def test_an_answer_that_needed_a_clarification_wins_over_a_refused_one_alone(tmp_path: Path) -> None:
    said = ({"clarification": 1.0}, {"accept": 1.0}, {"reject": 1.0}, {"copy": 0.0})
    some = all_turns(tmp_path, *(Talk(answer=f"{n}", said=each, session=f"s{n}") for n, each in enumerate(said)))
    clarified, accepted, refused, nothing = some
    pairs = lambda *of: [(r["decision_id"], r["rejected_decision_id"]) for r in preferences(of, 0.9).rows]  # noqa: E731
    assert pairs(clarified, refused) == [(clarified.id, refused.id)]
    assert pairs(clarified, accepted) == pairs(clarified, nothing) == []
    assert pairs(nothing, refused) == [(nothing.id, refused.id)]  # differs by 0.5
    assert preferences([clarified, accepted], 0.9).left_out == {kinds.NO_PARTNER: 2}


def test_labels_and_completions(tmp_path: Path) -> None:
    said = ({"accept": 1.0}, {"copy": 1.0}, {"reject": 1.0}, {"clarification": 1.0}, {}, {"copy": 0.0})
    some = all_turns(tmp_path, *(Talk(answer=f"{n}", said=each) for n, each in enumerate(said)))
    made = binary(some, 0.9)
    assert [(row["completion"][0]["content"], row["label"]) for row in made.rows] == [
        ("0", True),
        ("1", True),
        ("2", False),
    ]
    assert made.left_out == {kinds.ASKED_BACK: 1, kinds.SILENT: 1, kinds.UNDECIDED: 1}
    made = completions(some, 0.9)
    assert [row["completion"] for row in made.rows] == [[{"role": "assistant", "content": "0"}]]
    assert made.left_out[kinds.NOT_ACCEPTED] == 2


def test_a_trajectory_is_a_session_with_returns_and_advantages(tmp_path: Path) -> None:
    made = trajectories(
        all_turns(
            tmp_path,
            Talk("One", "1", {"clarification": 1.0}),
            Talk("Two", "2", {"accept": 1.0}, before=goes_on("One", "1")),
            Talk("Three", "3", {"reject": 1.0}, before=goes_on("an edited beginning", "1")),
            Talk("Hi", "Hello", {"accept": 1.0}, "ben", "s2"),
            Talk("What?", "", {"accept": 1.0}, "cem", "s3", more={"status": "failed"}),
            Talk("So?", "Yes", {"accept": 1.0}, "cem", "s3"),
        ),
        0.5,
    )
    one, two = made.rows
    assert one["messages"] == goes_on("One", "1", "Two", "2", "Three", "3")
    assert one["rewards"] == [0.5, 1.0, -0.5]
    assert one["returns"] == [0.875, 0.75, -0.5]
    assert two["returns"] == [1.0]
    assert one["advantages"] == [pytest.approx(0.875 - 0.9375), 0.0, 0.0]
    assert two["advantages"] == [pytest.approx(1.0 - 0.9375)]
    assert one["decision_ids"] == ["d0000", "d0001", "d0002"]
    assert (one["actions"], one["probabilities"]) == (["plain/small", "plain/large", "steps/small"], [0.25] * 3)
    assert made.left_out == {f"in its session, {turns.NO_ANSWER}": 2}
    assert made.used == 4


# --------------------------------------------------------------------------------------------------------------- splits


def turn(number: int, user: str | None, session: str, reward: float, prompt: int) -> Turn:
    text = Text(({"role": "user", "content": f"prompt {prompt}"},), f"answer {number % 5}")
    said = {"accept": 1.0} if reward > 0 else {"reject": 1.0}
    return Turn(f"d{number}", session, user, float(number), "v", "a", 0.5, reward, said, reward != 0, text)


somebody = st.sampled_from([None, *"abcdefgh"])
many = st.lists(
    st.tuples(somebody, st.integers(0, 9), st.sampled_from([-0.5, 0.0, 0.5, 1.0]), st.integers(0, 2)), max_size=40
)


@given(rows=many, kind=st.sampled_from(sorted(KINDS)), share=st.sampled_from([0.0, 0.3, 0.9]))
@settings(deadline=None, max_examples=200)
def test_nobody_is_in_two_splits_and_every_turn_is_counted_once(rows: Any, kind: str, share: float) -> None:
    said = [turn(n, user, f"s{session}", reward, prompt) for n, (user, session, reward, prompt) in enumerate(rows)]
    corpus = gathered(said, Wanted(kind, test=share), 0.9)
    owners = dict(zip([each.id for each in said], persons(said), strict=True))
    used = {name: [id_ for row in part.rows for id_ in ids_of(row)] for name, part in corpus.parts.items()}
    people = {name: {owners[id_] for id_ in ids} for name, ids in used.items()}
    assert not people["train"] & people["test"]
    assert None not in people["train"] | people["test"]
    flat = [id_ for ids in used.values() for id_ in ids]
    assert len(flat) == len(set(flat)) == corpus.exported.used
    assert corpus.exported.used + sum(corpus.left_out.values()) == len(said)
    assert all(count > 0 for count in corpus.left_out.values())


def ids_of(row: dict[str, Any]) -> list[str]:
    if "decision_ids" in row:
        return list(row["decision_ids"])
    return [row[name] for name in ("decision_id", "rejected_decision_id") if name in row]


def test_a_session_is_of_the_one_who_is_known_in_it() -> None:
    said = [
        turn(0, None, "s1", 1, 0),
        turn(1, "ann", "s1", 1, 0),
        turn(2, None, "s2", 1, 0),
        turn(3, "ann", "s3", 1, 0),
    ]
    assert persons(said) == ["ann", "ann", "session s2", "ann"]
    assert persons([*said, turn(4, "ben", "s3", 1, 0)])[3:] == [None, None]


# ---------------------------------------------------------------------------------------------------------------- files


def lively(people: int) -> list[Talk]:
    """Everybody asks the same; every other answer is refused, one in five is not kept."""
    return [
        Talk("How?", f"So {n}.", {"accept" if n % 2 else "reject": 1.0}, f"p{n}", f"s{n}", kept=n % 5 > 0)
        for n in range(people)
    ]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_folder_holds_its_splits_and_a_card_whose_counts_add_up(tmp_path: Path, form: str) -> None:
    app = deployment(tmp_path / "app")
    fill(app, [*lively(60), Talk(user="x", session="two"), Talk(user="y", session="two")])
    done = export_training(app, Wanted("binary", form, 0.25), tmp_path / "out")
    front, text = (tmp_path / "out" / "README.md").read_text().split("---\n")[1:]
    files = {each["split"]: each["path"] for each in yaml.safe_load(front)["configs"][0]["data_files"]}
    rows = {
        name: read(tmp_path / "out" / file) if form == "jsonl" else pq.read_table(tmp_path / "out" / file).to_pylist()
        for name, file in files.items()
    }
    assert {name: len(some) for name, some in rows.items()} == done.rows
    assert min(done.rows.values()) > 0
    assert sum(done.rows.values()) == done.used == 48
    assert done.left_out == {turns.NOT_KEPT: 12, SEVERAL: 2}
    figures = dict(re.findall(r"^\| ([^|]+) \| (\d+) \|$", text, re.MULTILINE))
    left = sum(int(count) for what, count in figures.items() if what.startswith("left out: "))
    assert int(figures["turns looked at"]) == int(figures["turns in a record"]) + left == 62
    assert figures["baseline"] == "62"
    assert "2027-01-15 08:00 to 2027-01-15 09:01 (UTC)" in text
    assert (tmp_path / "out").stat().st_mode & 0o077 == 0
    with pytest.raises(InvalidInput, match="is there already"):
        export_training(app, Wanted("binary"), tmp_path / "out")


def test_a_card_says_so_where_nothing_can_be_used(tmp_path: Path) -> None:
    app = deployment(tmp_path / "app", privacy={"user": "hash", "salt": "a salt of enough characters"})
    fill(app, [Talk(asked="0a1b2c3d", said={"accept": 1.0})])
    done = export_training(app, Wanted("preferences"), tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert (done.used, sum(done.rows.values())) == (0, 0)
    assert f"| left out: {turns.IS_HASHED} | 1 |" in text
    assert "Users are stored as keyed hashes" in text
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["README.md"]
    empty = export_training(deployment(tmp_path / "empty"), Wanted("trajectories"), tmp_path / "none")
    assert empty == (0, {"train": 0, "test": 0}, 0, Counter())


def test_what_there_is_not_is_refused_with_the_nearest(tmp_path: Path) -> None:
    app = deployment(tmp_path / "app")
    with pytest.raises(UnknownName, match="Did you mean 'preferences'"):
        export_training(app, Wanted("preference"), tmp_path / "out")
    with pytest.raises(UnknownName, match="There is no format 'csv'"):
        export_training(app, Wanted("binary", "csv"), tmp_path / "out")
    with pytest.raises(InvalidInput, match="test split got 1"):
        export_training(app, Wanted("binary", test=1.0), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_an_erasure_takes_a_person_out_of_every_record(tmp_path: Path, form: str) -> None:
    """Also out of the pairs in which the other answer was somebody else's."""
    app = deployment(tmp_path / "app")
    fill(app, lively(40))
    folders = {kind: tmp_path / kind for kind in KINDS}
    for kind, folder in folders.items():
        export_training(app, Wanted(kind, form, 0.0), folder)
    certificate = erase(app, "p7", by="somebody")
    assert certificate["unreached"] == []
    gone = {Path(place).parent.name: count for place, count in certificate["files"].items() if place != "archive"}
    assert gone == {"preferences": 1, "prompt-completion": 1, "binary": 1, "trajectories": 1}
    for folder in folders.values():
        path = folder / f"train.{form}"
        rows = read(path) if form == "jsonl" else pq.read_table(path).to_pylist()
        assert "p7" not in {row.get(name) for row in rows for name in ("user", "rejected_user")}
        assert len(rows) > 0


# ------------------------------------------------------------------------------------------------------ their own tools


def test_datasets_and_trl_read_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    trl = pytest.importorskip("trl.data_utils", reason="the package trl is not installed")
    app = deployment(tmp_path / "app")
    fill(app, lively(60))
    for kind in KINDS:
        for form in ("jsonl", "parquet"):
            folder = tmp_path / f"{kind}-{form}"
            done = export_training(app, Wanted(kind, form, 0.25), folder)
            read_back = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
            assert {name: len(part) for name, part in read_back.items()} == done.rows
            assert all(trl.is_conversational(row) for row in read_back["train"])
    pairs = datasets.load_dataset(str(tmp_path / "preferences-jsonl"), cache_dir=str(tmp_path / "cache"))["train"]
    labelled = trl.unpair_preference_dataset(pairs.select_columns(["prompt", "chosen", "rejected"]))
    assert labelled.column_names == ["prompt", "completion", "label"]
    assert sum(labelled["label"]) * 2 == len(labelled) == 2 * len(pairs)
