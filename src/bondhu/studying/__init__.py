"""The study behind the page of an evaluation: more estimators, intervals and figures than the gate needs."""

from __future__ import annotations

from bondhu import screen
from bondhu.app import App
from bondhu.registry.lifecycle import BASELINE
from bondhu.report.study import Fact, Rail, Study
from bondhu.studying import estimates, evidence
from bondhu.studying.question import Question, seen_by_both
from bondhu.studying.rules import asked_for
from bondhu.train.judge import Judgement, evaluation_batch
from bondhu.train.window import DAY, Window

SHOWN = 12  # groups at either end, where there are many


def study(
    app: App,
    version: str | None = None,
    *,
    against: str | None = None,
    window: Window | None = None,
    holdout: float | None = None,
    judgement: Judgement | None = None,
) -> Study:
    """All that one page says of a version; without a judgement it is made, and kept in the history as any other."""
    version = BASELINE if version == BASELINE else app.candidate(version)
    against = app.opponent(version) if against is None else against
    window = window or Window(app.now() - app.settings.training.days_back * DAY, app.now())
    if judgement is None:
        judgement = app.evaluate(version, against=against, window=window, holdout=holdout)
    batch, report = evaluation_batch(app.deployment, window, judgement.held_out, tuple(app.rules.guardrails))
    pair = seen_by_both(app.acting(version), app.acting(against), batch)
    asked = Question((version, against), batch, pair, judgement, app.rules)
    judges = estimates.estimators("decision", asked)
    compared, groups = estimates.compared(asked, judges), evidence.groups(asked)
    return Study(
        domain=app.domain.name,
        moment=app.now(),
        candidate=version,
        against=against,
        window=(window.start, window.end),
        held_out=judgement.held_out,
        rows=report.rows,
        people=report.users,
        confidence=app.rules.confidence,
        verdict=judgement.verdict,
        rules=asked_for(asked),
        judged_by=asked.judged_by,
        estimates=compared,
        chosen=estimates.chosen(asked, judges),
        kinds=estimates.kinds(asked, {each.name: each for each in compared}),
        sessions=estimates.compared(asked, estimates.estimators("session", asked)) if batch.has_next.any() else (),
        curves=evidence.curves(asked),
        weights=evidence.weights(asked),
        support=evidence.silence(asked, app.settings.exploration.rate, app.domain.actions),
        groups=groups if len(groups) <= 2 * SHOWN else groups[:SHOWN] + groups[-SHOWN:],
        all_groups=len(groups),
        guarded=bool(app.rules.groups),
        guardrails=tuple(
            Rail(name, app.rules.guardrails[name], more) for name, more in judgement.parts.guardrails.items()
        ),
        objectives=estimates.objectives(asked),
        log=tuple(Fact(*each) for each in screen.joined(report).items()),
    )
