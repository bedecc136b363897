"""Who decides for whom, what comes next and why, and how it came so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from bondhu.access import ADMINISTER, OPERATE
from bondhu.access.acts import KIND as ACT
from bondhu.app import App
from bondhu.dashboard import layout
from bondhu.dashboard.charts.ladder import Rung, ladder, rungs
from bondhu.dashboard.columns.recurring import earlier, latest
from bondhu.dashboard.figures.lineage import ancestries
from bondhu.dashboard.figures.trials import looks_of, missing, running, wait_of
from bondhu.dashboard.page import DASHBOARD, Asked, Chart, Desk, Page
from bondhu.dashboard.sections import chronicle
from bondhu.dashboard.sections.climbing import position, under_way
from bondhu.dashboard.sections.comparing import compared
from bondhu.ports import Entry, Event
from bondhu.registry import lifecycle
from bondhu.registry.lifecycle import BASELINE, Standing, Step, Traffic
from bondhu.release.rules import ReleaseRules
from bondhu.report.layout import say
from bondhu.report.markup import Markup, joined, tag
from bondhu.report.words import percent

TITLE = "Releases"
LOOK = 300.0  # seconds after which the release under way is looked at again
SEEN = 60.0  # seconds after which the audit log is read again
FOREVER = 1e9  # seconds: versions do not change
ACTS = 20  # of administrators


def view(desk: Desk, asked: Asked) -> Page:
    """The page."""
    app = desk.app
    events = app.events()
    now = lifecycle.traffic(events)
    standings = lifecycle.versions(events)
    running_test, charts = _test(desk, asked, now.step, events)
    experiment, more = compared(desk, asked)
    parts = [
        layout.section("standing", "Who decides for whom", *_standing(app, asked, now, standings, events)),
        running_test,
        _acts(app, asked, now, standings),
        chronicle.verdicts(asked, events),
        _versions(desk, asked, events, standings),
        chronicle.history(asked, events),
        experiment,
        chronicle.audit(asked, _audit(desk, asked)),
    ]
    return Page(TITLE, parts, {**charts, **more})


# --------------------------------------------------------------------------------------------------------- who decides


def deciding(now: Traffic, holdout: float) -> str:
    """Who decides for whom, in a sentence."""
    rest = f" the {percent(holdout)} who are in the holdout and always meet the rule" if holdout else ""
    who = f"Version {now.live}" if now.live else "The rule"
    apart = f" but for{rest}" if rest and now.live else ""
    if now.stopped:
        return "The kill switch is on: the rule decides for everybody, until somebody promotes or releases a version."
    if now.step is None:
        return f"{who} decides for everybody{apart}."
    if not now.step.share:
        return f"{who} decides for everybody{apart}; {now.step.version} is in shadow and decides for nobody yet."
    met = percent((1.0 - holdout) * now.step.share)
    outside = f" ({percent(now.step.share)} of those outside of the holdout)" if holdout else ""
    rule = f",{rest}" if rest and now.live else ""
    others = f"all others{' but' + rest if rule else ''}"
    return f"{who} decides for {others}; {now.step.version} is on trial for {met} of the people{outside}."


def _standing(
    app: App, asked: Asked, now: Traffic, standings: Sequence[Standing], events: Sequence[Event]
) -> list[Markup]:
    """The sentence, and the ladder with the version that climbs it, or the newest one."""
    rules = app.release_rules
    parts = [tag("p", deciding(now, rules.holdout), class_="answer")]
    if not standings:
        how = layout.act_button(asked, "train", "Train now", kind="main")
        return [*parts, layout.status("empty", "There is no version yet; a training makes the first one.", how)]
    newest = standings[-1]
    version = now.step.version if now.step else newest.version
    names = _names(rules, now.step)
    stands = position(now.step, names, next(each.status for each in standings if each.version == version))
    times = _times(events, version, names)
    shown = ladder([Rung(name, times.get(name, "")) for name in names], stands)
    about = f"Under release: {version}." if now.step else f"No release is under way. The newest version is {version}"
    status = "" if now.step else f", {lifecycle.STANDS[newest.status]}."
    by_itself = "by themselves, at scheduled looks" if rules.automatic else "when somebody runs `bondhu look`"
    return [*parts, say(f"{about}{status} Releases move {by_itself}.", "note"), shown]


def _names(rules: ReleaseRules, step: Step | None) -> list[str]:
    """Of all steps, and of the present one where the rules are others now. At a share of all people a version is on
    trial still, until it is promoted."""
    present = [step.share] if step is not None and step.share else []
    shares = sorted({*rules.steps, *present})
    names = rungs(rules.shadow or (step is not None and not step.share), shares)
    whole = [f"trial at {percent(share)}" for share in shares if share >= 1]
    return [*names[:-1], *whole, names[-1]]


def _times(events: Sequence[Event], version: str, names: Sequence[str]) -> dict[str, Markup]:
    """When the version came to each step last, since it was released last."""
    found: dict[str, Markup] = {}
    for each in events:
        if each.version != version:
            continue
        known = {"added": "candidate", "shadowed": "shadow", "promoted": "live", "rolled_back": "live"}
        name = f"trial at {percent(each.share or 0.0)}" if each.kind == "tried" else known.get(each.kind, "")
        if name in names:
            later = names[names.index(name) :]
            found = {step: when for step, when in found.items() if step not in later}
            found[name] = layout.when(each.time)
    return found


# ----------------------------------------------------------------------------------------------------- the running test


def _test(desk: Desk, asked: Asked, step: Step | None, events: Sequence[Event]) -> tuple[Markup, dict[str, Chart]]:
    """The release under way."""
    app, rules = desk.app, desk.app.release_rules
    if step is None:
        why = "No version is in shadow or on trial, so that nothing is tested now."
        how = say("Release one below, or see what was learned: Learning has the trainings.")
        return layout.section("test", "The running test", layout.status("empty", why, how)), {}
    key = ("release", step)
    found = latest(desk, key, LOOK, partial(running, app, step, earlier(desk, key, LOOK)))
    title = "The version in shadow" if not step.share else "The running test"
    if found.result is None:
        if found.failed is not None:
            return layout.section("test", title, layout.status("error", found.failed.why)), {}
        since = layout.ago(found.pending.since) if found.pending else Markup("")
        told = joined(["What people say is read from the log; begun ", since, "."])
        return layout.section("test", title, layout.status("wait", told)), {}
    missed = missing(found.result, rules, wait_of(app))
    parts, charts = under_way(asked, found.result, looks_of(events, step), rules, missed)
    return layout.section("test", title, *parts), charts


# ------------------------------------------------------------------------------------------------------------- the acts


def _acts(app: App, asked: Asked, now: Traffic, standings: Sequence[Standing]) -> Markup:
    """What an operator can do about it; others are told what it takes."""
    title = "Move it"
    if not _may(asked):
        where = asked.link(f"{DASHBOARD}/login", back=asked.link())
        how = layout.link("Log in with such a key", where)
        why = "To release, promote, withdraw, roll back or stop takes a key of the role operator or admin."
        return layout.section("acts", title, layout.status("empty", why, how))
    live, parts = now.live or BASELINE, []
    candidates = [each.version for each in standings if each.status == "candidate"]
    if now.step is None and candidates:
        newest = candidates[-1]
        parts.append(layout.act_button(asked, "release", f"Release {newest}", version=newest))
        unasked = f"Release {newest} whatever the gate says"
        parts.append(layout.act_button(asked, "release", unasked, version=newest, unproven="yes"))
    if now.step is not None:
        version = now.step.version
        parts.append(layout.act_button(asked, "promote", f"Promote {version} at once", version=version, over=live))
        parts.append(layout.act_button(asked, "withdraw", f"Withdraw {version}", version=version))
    below = lifecycle.previous(app.events())
    if below is not None:
        parts.append(layout.act_button(asked, "rollback", f"Roll back to {below}", over=live))
    if not now.stopped:
        parts.append(layout.act_button(asked, "stop", "Kill switch: the rule for everybody", kind="danger"))
    note = "Each of them is asked back once, with a reason, and goes into the history and the audit log."
    return layout.section("acts", title, tag("div", *parts, class_="acts"), note=note)


def _may(asked: Asked) -> bool:
    return OPERATE in asked.viewer.may and bool(asked.viewer.token)


def _versions(desk: Desk, asked: Asked, events: Sequence[Event], standings: Sequence[Standing]) -> Markup:
    added = tuple(each.version for each in events if each.kind == "added")
    registry = desk.app.deployment.registry
    known = latest(desk, ("lineage", added), FOREVER, partial(ancestries, registry, events)) if added else None
    marked = Counter(each.version for each in events if each.kind == "marked")
    found = known.result if known and known.result else {}
    return chronicle.versions(asked, standings, chronicle.Known(found, marked), may=_may(asked))


def _audit(desk: Desk, asked: Asked) -> list[Entry] | None:
    """The last acts; read for those alone who may see them."""
    if ADMINISTER not in asked.viewer.may:
        return None
    name, ledger = desk.app.domain.name, desk.app.ledger
    key = ("acts", len(desk.app.events()))  # what moves a version is seen at once
    found = latest(desk, key, SEEN, lambda: ledger.entries(ACT, name)[-ACTS:])
    entries: list[Entry] | None = found.result
    return entries
