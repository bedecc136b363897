"""One page about one evaluation: a file that needs nothing else, neither scripts nor the network."""

from __future__ import annotations

from pathlib import Path

from bondhu.report.evidence import the_log
from bondhu.report.layout import block, facts, say, section, table
from bondhu.report.markup import Markup, tag
from bondhu.report.study import Study
from bondhu.report.style import STYLE
from bondhu.report.sure import how_sure
from bondhu.report.winners import who
from bondhu.report.words import VERDICTS, Numbers, moment, numbers, percent, rounded, span

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # what the page may load: nothing


def write(study: Study, path: Path) -> Path:
    """Write the page; returns its path."""
    path.write_text(page(study), encoding="utf-8", errors="backslashreplace")
    return path


def page(study: Study) -> str:
    """The whole page."""
    written = numbers([study.by_gate])
    title = f"{study.candidate} against {study.against} ({study.domain})"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"Evaluation: {title}"),
        tag("style", Markup(STYLE)),
    )
    parts = [
        verdict(study, written),
        how_sure(study, written),
        the_log(study),
        who(study, written),
        small_print(study),
    ]
    body = tag("body", tag("main", _header(study), *parts), _footer(study))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def about(study: Study) -> str:
    """The decisions that it rests on."""
    whose = f"{percent(study.held_out)} of people, kept back from training" if study.held_out else "everybody"
    return f"{study.rows:,} decisions of {study.people:,} people ({whose}), {span(study.window)}"


def _header(study: Study) -> Markup:
    names = f"{study.candidate} against {study.against}"
    return tag(
        "header", tag("p", f"Evaluation · {study.domain}", class_="kicker"), tag("h1", names), say(about(study), "note")
    )


def verdict(study: Study, written: Numbers) -> Markup:
    """The answer in one sentence, why, and the figures behind it."""
    sign, word, sentence = VERDICTS[study.verdict.decision]
    names = {"candidate": study.candidate, "against": study.against}
    answer = tag(
        "p", tag("b", f"{sign} {word}."), f" {sentence.format(**names)}{_gain(study, written)}", class_="answer"
    )
    reasons = tag("ul", *(tag("li", each) for each in study.verdict.reasons))
    kind = f"verdict {study.verdict.decision}"
    found = tag(
        "section", tag("h2", "The verdict", id="verdict"), answer, reasons, class_=kind, aria_labelledby="verdict"
    )
    cards = _cards(study, written)
    return tag("div", found, *([facts(cards, "cards")] if cards else []))


def _gain(study: Study, written: Numbers) -> str:
    found = study.by_gate and study.by_gate.advantage
    if not found or found.refused:
        return ""
    between = written.between(found, signed=True)
    more = f"{written.plain(abs(found.value))} {'less' if found.value < 0 else 'more'}"
    return f" A decision earns {more} under it ({percent(study.confidence)} interval {between})."


def _cards(study: Study, written: Numbers) -> list[tuple[str, ...]]:
    found = study.by_gate
    if found is None:
        return []
    values = [(study.candidate, found.candidate), (study.against, found.against)]
    cards: list[tuple[str, ...]] = [
        (f"{name} earns", written.plain(each.value), written.between(each)) for name, each in values if not each.refused
    ]
    if not found.advantage.refused:
        between = written.between(found.advantage, signed=True)
        cards.append(("advantage", written.signed(found.advantage.value), between))
    return [*cards, ("effective samples", rounded(found.candidate.effective_samples), f"of {study.rows:,} decisions")]


def small_print(study: Study) -> Markup:
    """What everything above rests on."""
    rules = table("What the gate asks for", ("rule", "asked for", "found"), [tuple(each) for each in study.rules])
    assumed = table(
        "What each estimator takes for granted",
        ("estimator", "assumption"),
        [(each.name, each.assumes) for each in (*study.estimates, *study.sessions)],
    )
    return section(
        "small-print", "The small print", block("The gate", rules), block("Estimators", assumed), _reading(study)
    )


def _reading(study: Study) -> Markup:
    confidence = percent(study.confidence)
    return block(
        "How to read this",
        facts(
            [
                (
                    f"{confidence} interval",
                    f"Of intervals made in this way on many logs, about {confidence} hold the true value. Neither who "
                    "wrote this page nor who reads it knows the true value.",
                ),
                (
                    "advantage",
                    f"What a decision earns more under {study.candidate} than under {study.against}, row by row.",
                ),
                ("effective samples", "How many equally weighted decisions an estimate rests on: (Σw)² / Σw²."),
                ("an arrow", "The interval goes on beyond the picture: what assumes the least is often the widest."),
                (
                    "refused",
                    "The log does not support the question. That is a result; the reason says what would mend it.",
                ),
            ]
        ),
    )


def _footer(study: Study) -> Markup:
    return tag("footer", say(f"Made {moment(study.moment)}. All on this page is in this one file.", "note"))
