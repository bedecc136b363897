"""The page of an evaluation: what it says, where its marks lie, and that nothing from the log becomes markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from bondhu import evaluate, studying
from bondhu.app import App
from bondhu.evaluate.intervals import KINDS
from bondhu.report import page
from bondhu.report.axis import holding, round_step
from bondhu.report.markup import joined, tag
from bondhu.report.pictures import Line, Mark, Words, forest
from bondhu.report.shares import curves, histogram
from bondhu.report.study import (
    Cell,
    Choice,
    Compared,
    Curve,
    Fact,
    Figure,
    Group,
    Guess,
    Kind,
    Rail,
    Rule,
    Study,
    Support,
    Weights,
)
from bondhu.report.words import ASSUMES, Numbers, numbers, rounded
from bondhu.train.window import Window
from bondhu.types import Decision, Estimate, Feedback, Verdict
from tests.service.shop import ACTIONS
from tests.service.stand import HOUR, opened

WORDS = Words("A picture", "It shows something.", "reward")
EVIL = "<script>alert('x')</script>&\""


def estimated(value: float, half: float) -> Estimate:
    return Estimate(value, value - half, value + half, 321.0, np.full(4, value))


def silent(reason: str) -> Estimate:
    return Estimate(np.nan, np.nan, np.nan, np.nan, np.empty(0), reason)


def weighed(policy: str) -> Weights:
    edges = np.array([0.1, 1.0, 10.0])
    return Weights(policy, edges, np.array([30, 10]), np.array([15.0, 45.0]), 60, 88.0, 7, 9.5, 0.31)


def spread(policy: str, shift: float) -> Curve:
    values, cdf = np.array([0.0, 1.0, 2.0]) + shift, np.array([0.5, 0.75, 1.0])
    told = (("mean", Figure(0.6 + shift, 0.5 + shift, 0.7 + shift)),)
    return Curve(policy, values, cdf, np.array([0.4, 0.7, 0.9]), np.array([0.6, 0.9, 1.0]), told)


def made(name: str = "v2") -> Study:
    """A study of which every figure is known."""
    compared = Compared("dr", estimated(0.52, 0.04), estimated(0.41, 0.02), estimated(0.11, 0.03), "It is right.")
    return Study(
        domain="shop",
        moment=1_700_000_000.0,
        candidate=name,
        against="baseline",
        window=(1_690_000_000.0, 1_700_000_000.0),
        held_out=0.2,
        rows=100,
        people=20,
        confidence=0.95,
        verdict=Verdict("promote", ("It earns more.", "The log is long."), {}),
        rules=(Rule("effective samples", "at least 50", "321"),),
        judged_by="dr",
        estimates=(compared, compared._replace(name="ips", candidate=silent("No overlap."), advantage=silent("None."))),
        chosen=Choice("dr", "dr: no bias.", (Guess("dr", 0.0201, 0.0201, 0.0),)),
        kinds=(Kind("asymptotic", "dr", "Many.", Figure(0.52, 0.48, 0.56), Figure(0.11, 0.08, 0.14)),),
        sessions=(),
        curves=(spread(name, 0.5), spread("baseline", 0.0)),
        weights=(weighed(name), weighed("baseline")),
        support=(Support(name, "It is hardly tried.", (Cell("blue", "mood = sad", 0.25, 0.125, 2),)),),
        groups=(Group("mood = sad", 40, estimated(0.2, 0.1)), Group("mood = happy", 60, estimated(-0.05, 0.1))),
        all_groups=2,
        guarded=True,
        guardrails=(Rail("dislike", 0.01, estimated(-0.02, 0.01)),),
        objectives=(Compared("joy", estimated(0.3, 0.1), estimated(0.2, 0.1), estimated(0.1, 0.05)),),
        log=(Fact("decisions", "100 of 20 people"),),
    )


def empty(name: str = "v2") -> Study:
    """Of no decision at all."""
    nothing = {"estimates": (), "kinds": (), "curves": (), "weights": (), "support": (), "groups": (), "objectives": ()}
    why = Verdict("refuse", ("There are no settled decisions to judge with.",), {})
    chosen = Choice("", "There are no settled decisions to judge with.", ())
    return replace(made(name), **nothing, rows=0, people=0, verdict=why, chosen=chosen, guardrails=(), all_groups=0)


# -------------------------------------------------------------------------------------------------------- reading it


class Reader(HTMLParser):
    """All elements with their attributes, and whether each that was opened was closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, name, attributes):
        self.found.append((name, dict(attributes)))
        if name not in ("meta", "br"):
            self.open.append(name)

    def handle_endtag(self, name):
        if not self.open or self.open.pop() != name:
            self.faults.append(name)

    def handle_data(self, data):
        self.words.append(data)

    def all(self, name: str) -> list[dict[str, str]]:
        return [attributes for found, attributes in self.found if found == name]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def scale(svg: str, direction: str = "x", unit: str = "") -> np.poly1d:
    """From pixels to what the ticks say: through the first and the last of them."""
    ticks = re.findall(r'<text class="tick" x="([\d.-]+)" y="([\d.-]+)" text-anchor="(\w+)">([^<]+)<', svg)
    kind = "middle" if direction == "x" else "end"
    points = [(float(x if direction == "x" else y), said) for x, y, anchor, said in ticks if anchor == kind]
    points = [
        (at if direction == "x" else at - 4, float(said.removesuffix(unit)))
        for at, said in points
        if said != "0" or direction == "y"
    ]
    (a, va), (b, vb) = points[0], points[-1]
    return np.poly1d([(vb - va) / (b - a), va - a * (vb - va) / (b - a)])


def marks(svg: str, kind: str) -> list[tuple[float, float, float]]:
    """Pixels of the value and of both ends of every interval of a kind."""
    pattern = rf'<g class="mark {kind}"><line x1="([\d.]+)" x2="([\d.]+)".*?transform="translate\(([\d.]+) '
    return [(float(at), float(low), float(high)) for low, high, at in re.findall(pattern, svg)]


# --------------------------------------------------------------------------------------------------------- the page


@pytest.mark.parametrize("study", [made(), empty(), made(EVIL), empty(EVIL)])
def test_the_page_is_well_formed_and_needs_nothing_else(study: Study) -> None:
    text = page.page(study)
    read = Reader(text)
    assert (read.faults, read.open) == ([], [])
    assert not {name for name, _ in read.found} & {"script", "link", "img", "iframe", "object", "image", "use", "a"}
    assert not {key for _, attributes in read.found for key in attributes} & {"src", "href", "style", "xlink:href"}
    assert not any(key.startswith("on") for _, attributes in read.found for key in attributes)
    assert re.findall(r"url\(|@import|https?://", text.replace('xmlns="http://www.w3.org/2000/svg"', "")) == []
    policies = [each["content"] for each in read.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert len(text.encode()) < 300_000


def test_who_cannot_see_the_page_can_follow_it() -> None:
    read = Reader(page.page(made()))
    assert len(read.all("h1")) == 1
    assert read.all("html")[0]["lang"] == "en"
    assert all(each["scope"] in ("row", "col") for each in read.all("th"))
    assert len(read.all("table")) == len(read.all("caption")) == len(read.all("thead"))
    pictures = [each for each in read.all("svg") if "aria-hidden" not in each]
    assert len(pictures) == len(read.all("figure")) == 11
    assert all(each["role"] == "img" and each["aria-label"] for each in pictures)
    names = [attributes["id"] for _, attributes in read.found if "id" in attributes]
    assert len(names) == len(set(names))
    assert {each["aria-labelledby"] for each in read.all("section")} == set(names)


def test_numbers_on_the_page_are_those_of_the_study() -> None:
    text = Reader(page.page(made())).text
    for said in (
        "✓ Promote. v2 has shown what it takes to replace baseline.",
        "A decision earns 0.110 more under it (95 % interval +0.080 to +0.140).",
        "It earns more.",
        "0.520 (0.480 to 0.560)",
        "0.410 (0.390 to 0.430)",
        "+0.110 (+0.080 to +0.140)",
        "100 decisions of 20 people (20 % of people, kept back from training), 2023-07-22 04:26 UTC to 2023-11-14",
        "effective samples 321 of 100 decisions",
        "mood = sad 40 +0.200 (+0.100 to +0.300)",
        "dislike +0.01 -0.020 (-0.030 to -0.010)",
        "blue mood = sad 25 % 12.5 % 2",
        "v2 88 60 % 7 9.5 15.8 % 0.31",
        "mean 1.100 (1.000 to 1.200) 0.600 (0.500 to 0.700)",
        "effective samples at least 50 321",
    ):
        assert said in text, said


def test_refusals_say_whom_and_why() -> None:
    text = Reader(page.page(made())).text
    assert "ips refused 0.410 (0.390 to 0.430) refused" in text
    assert "ips of v2 : No overlap." in text
    nothing = replace(made(), verdict=Verdict("refuse", ("No overlap.",), {}), estimates=())
    assert "✕ Refuse. v2 should not replace baseline. No overlap." in Reader(page.page(nothing)).text
    none = replace(made(), curves=(replace_refused(spread("v2", 0.0)), replace_refused(spread("baseline", 0.0))))
    assert "v2, baseline : The log is silent." in Reader(page.page(none)).text


def replace_refused(curve: Curve) -> Curve:
    return curve._replace(refused="The log is silent.")


def test_where_no_estimator_answers_there_is_no_picture_of_nothing() -> None:
    silence = Compared("dr", silent("No overlap."), silent("No overlap."), silent("No overlap."))
    text = page.page(replace(empty(), estimates=(silence,)))
    assert len(Reader(text).all("figure")) == 0
    assert "dr : No overlap." in Reader(text).text


def test_names_from_the_log_never_become_markup() -> None:
    study = made(EVIL)
    study = replace(
        study,
        domain=EVIL,
        against=EVIL,
        verdict=Verdict("wait", (EVIL,), {}),
        groups=(Group(EVIL, 40, estimated(0.2, 0.1)),),
        support=(Support(EVIL, EVIL, (Cell(EVIL, EVIL, 0.5, 0.5, 1),)),),
        guardrails=(Rail(EVIL, 0.0, silent(EVIL)),),
        log=(Fact(EVIL, EVIL),),
    )
    text = page.page(study)
    assert "<script" not in text
    assert Reader(text).text.count("<script>alert('x')</script>&\"") > 20


def test_only_markup_is_not_escaped() -> None:
    assert tag("p", "a < b & c", class_='x"y') == '<p class="x&quot;y">a &lt; b &amp; c</p>'
    assert joined([tag("b", "<"), "<"]) == "<b>&lt;</b>&lt;"
    assert tag("meta", name="a", http_equiv="b") == '<meta name="a" http-equiv="b">'


def test_writing_gives_a_file_even_of_names_that_are_no_unicode(tmp_path: Path) -> None:
    path = page.write(made("\ud800"), tmp_path / "page.html")
    assert "\\ud800 has shown" in path.read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------------------ the pictures


def test_marks_and_ends_of_intervals_lie_where_their_numbers_do() -> None:
    figures = [Figure(0.52, 0.48, 0.57), Figure(0.4, 0.3, 0.55), Figure(-0.1, -0.21, 0.05)]
    lines = [Line(str(number), (Mark("candidate", each),)) for number, each in enumerate(figures)]
    svg = forest(WORDS, lines, reference=0.0)
    value = scale(svg)
    assert [tuple(value(each)) for each in np.array(marks(svg, "candidate"))] == [
        pytest.approx(tuple(each), abs=2e-3) for each in figures
    ]
    line = re.search(r'class="reference" x1="([\d.]+)"', svg)
    assert line is not None
    assert value(float(line.group(1))) == pytest.approx(0.0, abs=2e-3)
    assert "beyond" not in svg


def test_an_interval_far_beyond_all_others_ends_in_arrows() -> None:
    usual = [Figure(0.5, 0.4, 0.6)] * 4
    lines = [Line("x", (Mark("candidate", each),)) for each in [*usual, Figure(0.5, -30.0, 40.0)]]
    svg = forest(WORDS, lines)
    assert svg.count('class="beyond"') == 2
    axis = holding([*usual, Figure(0.5, -30.0, 40.0)], None, 0.0, 100.0)
    assert (axis.low, axis.high) == pytest.approx((0.3 - 0.016, 0.7 + 0.016))
    assert svg.count("refused") == 0
    assert ">refused<" in forest(WORDS, [Line("x", (Mark("gain", Figure(np.nan, np.nan, np.nan)),))])


def test_ticks_are_round_and_lie_on_the_axis() -> None:
    assert [round_step(each) for each in (0.011, 0.2, 0.21, 3.0, 60.0)] == pytest.approx([0.02, 0.2, 0.25, 5.0, 100.0])
    axis = holding([Figure(0.5, 0.0, 1.0)], None, 0.0, 208.0)
    assert [text for _, text in axis.ticks()] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [round(axis.at(value)) for value, _ in axis.ticks()][:2] == [8, 46]
    assert (axis.at(-9.0), axis.at(9.0)) == (0.0, 208.0)
    assert [text for _, text in holding([Figure(1e6, 9e5, 1.1e6)], None, 0, 9).ticks(3)] == [
        "900000",
        "1000000",
        "1100000",
    ]


def test_distributions_jump_at_their_values_by_their_shares() -> None:
    svg = curves(WORDS, [spread("a", 0.5), spread("b", 0.0)])
    across, up = scale(svg), scale(svg, "y", " %")
    for kind, shift in (("candidate", 0.5), ("against", 0.0)):
        path = re.search(rf'class="curve {kind}" d="M([^"]+)"', svg)
        assert path is not None
        corners = [tuple(map(float, each.split())) for each in path.group(1).split("L")]
        tops = corners[2:-1:2]
        assert [across(x) for x, _ in tops] == pytest.approx([shift, 1 + shift, 2 + shift], abs=0.02)
        assert [up(y) for _, y in tops] == pytest.approx([50, 75, 100], abs=0.2)
    assert svg.count('class="band') == 2


def test_bars_are_as_high_as_the_share_of_decisions_and_the_outline_as_that_of_weight() -> None:
    svg = histogram(WORDS, weighed("a"))
    up = scale(svg, "y", " %")
    bars = re.findall(r'class="bar (\w+)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg)
    assert [kind for kind, *_ in bars] == ["none", "rows", "rows"]
    assert [up(float(y)) for _, _, y, _, _ in bars] == pytest.approx([60, 30, 10], abs=0.3)
    outline = re.search(r'class="carried" d="M([^"]+)"', svg)
    assert outline is not None
    heights = [up(float(each.split()[1])) for each in outline.group(1).split("L")]
    assert heights == pytest.approx([0, 25, 25, 75, 75, 0], abs=0.3)
    powers = {said: float(x) for x, said in re.findall(r'x="([\d.]+)" y="235.0" text-anchor="middle">([\d.]+)<', svg)}
    assert powers["1"] - powers["0.1"] == pytest.approx(powers["10"] - powers["1"], abs=0.2)
    line = re.search(r'class="reference" x1="([\d.]+)"', svg)
    assert line is not None
    assert float(line.group(1)) == powers["1"]


def test_numbers_have_the_digits_that_their_interval_lets_stand() -> None:
    def digits(half: float) -> int:
        return numbers([Compared("dr", *[estimated(1.0, half)] * 3)]).digits

    assert [digits(half) for half in (0.0123, 0.3, 4.0, 50.0)] == [3, 2, 1, 0]
    assert numbers([None]) == Numbers(3)
    assert (
        Numbers(2).whole(Figure(-0.001, -0.5, 1234.5)) == "-0.00 (-0.50\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}1,234.50)"
    )
    assert Numbers(2).whole(Figure(np.nan, np.nan, np.nan)) == "refused"
    assert [rounded(each) for each in (1234.5, 0.012345, np.inf, np.nan)] == ["1,234", "0.0123", "∞", "—"]


# --------------------------------------------------------------------------------------------------------- the study


def played(path: Path, *, explored: bool = True, **more: object) -> App:
    """People like blue when they are happy and green when they are sad; a rule that draws, or always says red."""
    app = opened(path, training={"holdout": 0.4}, **more)
    rng, start = np.random.default_rng(0), app.now() - 3 * HOUR
    decisions, said = [], []
    for number in range(2_500):
        mood = str(rng.choice(["happy", "sad"]))
        action = ACTIONS[rng.integers(3)] if explored else "red"
        seen, chance = {"mood": mood, "age": int(rng.integers(0, 101))}, 1 / 3 if explored else 1.0
        person, time = f"u{number % 500}", start + number
        one = (f"d{number}", "shop", f"s{number}", person, time, seen)
        decisions.append(Decision(*one, ACTIONS, action, chance, (), "baseline", "live"))
        if rng.random() < {"happyblue": 0.9, "sadgreen": 0.8}.get(mood + action, 0.2):
            said.append(Feedback(f"f{number}", f"d{number}", "like", 1.0, time + 60))
    app.deployment.log.append(decisions, said)
    app.train()
    return app


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    return played(tmp_path_factory.mktemp("shop"), gate={"groups": ["mood"]})


@pytest.fixture(scope="module")
def study(app: App) -> Study:
    return studying.study(app)


def test_the_study_says_what_the_judgement_says(app: App, study: Study) -> None:
    judgement = app.evaluate()
    assert study.verdict == judgement.verdict
    assert study.verdict.decision == "promote"
    by_name = {each.name: each for each in study.estimates}
    for name, each in judgement.candidate.items():
        assert by_name[name].candidate.value == pytest.approx(each.value)
        assert by_name[name].against.value == pytest.approx(judgement.live[name].value)
    assert study.by_gate is by_name["dr"]
    assert study.by_gate.advantage.low == pytest.approx(judgement.parts.advantage.low)
    assert study.rows == judgement.report.rows
    assert {each.name: each.advantage.value for each in study.groups} == {
        name: each.value for name, each in judgement.parts.groups.items()
    }


def test_the_study_has_every_estimator_and_every_kind_of_interval(study: Study) -> None:
    assert {each.name for each in study.estimates} == set(evaluate.names("decision")) - {
        "adaptive_dr",
        "balanced",
        "mips",
    }
    assert {each.name for each in study.kinds} == set(KINDS)
    usual = next(each for each in study.kinds if each.name == "skewness").candidate
    assert study.by_gate is not None
    assert usual == pytest.approx(
        (study.by_gate.candidate.value, study.by_gate.candidate.low, study.by_gate.candidate.high)
    )
    assert study.chosen.name in {each.name for each in study.estimates}
    assert study.sessions == ()  # decisions stand alone
    assert set(ASSUMES) >= {*evaluate.names("decision"), *evaluate.names("session")}


def test_the_study_counts_every_decision_once(study: Study) -> None:
    for each in study.weights:
        assert each.zeros + each.counts.sum() == study.rows
        assert each.sums.sum() == pytest.approx(study.rows, rel=0.1)  # weights average 1
    assert study.weights[0].largest == pytest.approx(3.0)  # it does surely what the log did in a third of cases
    mean = dict(study.curves[0].figures)["mean"].value
    snips = next(each for each in study.estimates if each.name == "snips")
    assert mean == pytest.approx(snips.candidate.value)
    assert [each.policy for each in study.support] == [study.candidate, study.against]


def test_the_page_of_a_real_study_holds_its_figures_and_is_the_same_twice(app: App, study: Study) -> None:
    text = Reader(page.page(study)).text
    write = numbers([study.by_gate])
    for each in study.estimates:
        said = f"{each.name} {write.whole(each.candidate)} {write.whole(each.against)}"
        assert said.replace("\N{NO-BREAK SPACE}", " ") in text
    assert all(reason in text for reason in study.verdict.reasons)
    assert page.page(study) == page.page(studying.study(app))
    assert study.candidate in text


def test_what_a_log_cannot_answer_is_refused_on_every_part_of_the_page(tmp_path: Path) -> None:
    app = played(tmp_path, explored=False)
    found = studying.study(app)
    assert found.verdict.decision == "refuse"
    assert all(each.advantage.refused for each in found.estimates)
    text = Reader(page.page(found)).text
    assert "The log contains no exploration" in text
    assert "There is no advantage that could be told apart by groups." in text


def test_a_window_without_decisions_is_a_study_of_nothing(app: App) -> None:
    found = studying.study(app, window=Window(0.0, 10.0))
    assert (found.rows, found.curves, found.weights, found.kinds) == (0, (), (), ())
    assert "There are no settled decisions to judge with." in Reader(page.page(found)).text


def test_on_a_log_of_versions_that_learned_from_it_only_the_estimator_for_that_speaks(app: App) -> None:
    usual = app.evaluate()
    adaptive = {"adaptive_dr": usual.candidate["dr"]}
    judgement = replace(usual, candidate=usual.candidate | adaptive, live=usual.live | adaptive)
    found = studying.study(app, judgement=judgement)
    assert [each.name for each in found.estimates if not each.candidate.refused] == ["adaptive_dr"]
    assert found.judged_by == "adaptive_dr"
    assert {each.estimator for each in found.kinds} == {"adaptive_dr"}
    assert all(each.refused for each in found.curves)
    assert "adaptive_dr alone holds" in Reader(page.page(found)).text


def test_a_version_that_cannot_see_these_decisions_leaves_a_page_of_refusals(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = app.evaluate()
    gone = {name: silent("It was trained for another declaration.") for name in usual.candidate}
    judgement = replace(usual, candidate=gone, live=gone, parts=replace(usual.parts, advantage=gone["dr"], groups={}))
    monkeypatch.setattr(studying, "seen_by_both", lambda *_: None)
    found = studying.study(app, judgement=judgement)
    assert {each.candidate.refused for each in found.estimates} == {"It was trained for another declaration."}
    assert (found.kinds, found.curves, found.weights, found.support) == ((), (), (), ())
    assert "It was trained for another declaration." in Reader(page.page(found)).text
