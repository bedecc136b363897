"""What an act will do, for how many people: said before it is done, and asked for once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bondhu.app import App
from bondhu.dashboard.forms import button, field, hidden
from bondhu.dashboard.layout import link, section, status
from bondhu.dashboard.page import DASHBOARD, Asked, Desk, Page
from bondhu.errors import Conflict, InvalidInput, UnknownName, nearest
from bondhu.registry import lifecycle
from bondhu.registry.lifecycle import BASELINE
from bondhu.registry.share import HOLDOUT
from bondhu.release.rules import first_move
from bondhu.report.markup import Markup, tag

DAYS = 7  # in which people are counted
LONGEST = 500  # characters of a reason
RELEASES, HEALTH = f"{DASHBOARD}/releases", f"{DASHBOARD}/health"
WORDS = {
    "release": "Release",
    "promote": "Promote",
    "rollback": "Roll back",
    "withdraw": "End the release",
    "stop": "Stop everything",
    "train": "Train now",
}  # by act


def checked(app: App, act: str, said: Mapping[str, str]) -> dict[str, str]:
    """What is asked for, with the version that it is about; raises UnknownName for what is no act, and Conflict where
    the versions do not stand as the page showed them. To stop, they may stand as they like."""
    if act not in WORDS:
        raise UnknownName(f"There is no act {act!r}.", field="act", value=act, fix=nearest(act, WORDS))
    if act == "train":
        return {}
    kept = {name: said[name] for name in ("version", "over", "unproven") if said.get(name)}
    now = lifecycle.traffic(app.events())
    live, over = now.live or BASELINE, kept.get("over")
    if over is not None and over != live and act != "stop":
        what = f"{live!r} is live, not {over!r} as the page showed."
        raise Conflict(what, field="over", value=over, fix="Look at the releases, then try again.")
    if act in ("release", "promote"):
        kept["version"] = app.candidate(kept.get("version"))
    if act == "withdraw":
        if now.step is None:
            raise InvalidInput("No version is in shadow or on trial.", field="version", fix="There is nothing to end.")
        if kept.setdefault("version", now.step.version) != now.step.version:
            what = f"{now.step.version!r} is on its way, not {kept['version']!r} as the page showed."
            raise Conflict(what, field="version", value=kept["version"], fix="Look at the releases, then try again.")
    if act == "rollback" and not lifecycle.below(app.events()):
        raise InvalidInput("The rule is in force: there is nothing to roll back.", field="version")
    return {**kept, "over": over or live}


def reason_of(said: Mapping[str, str]) -> str:
    """Why, for the history; raises InvalidInput."""
    reason = said.get("reason", "").strip()
    if not 0 < len(reason) <= LONGEST:
        fix = f"Write why, in at most {LONGEST} characters: it is kept in the history."
        raise InvalidInput("There is no reason." if not reason else "The reason is too long.", field="reason", fix=fix)
    return reason


def confirmation(desk: Desk, asked: Asked, act: str, said: Mapping[str, str], wrong: str = "") -> Page:
    """The page that asks once more. `said`: as `checked` gave it; `wrong`: why it was not done."""
    told = [tag("p", each) for each in effects(desk, act, said)]
    sent = {**said, "token": asked.viewer.token, "confirmed": "yes"}
    kept = [hidden(name, value) for name, value in sent.items()]
    why = field("reason", "Why", hint="Kept in the history, beside your name.", maxlength=LONGEST, required="")
    kind = "danger" if act in ("stop", "rollback", "withdraw") else "main"
    form = tag(
        "form",
        *kept,
        *([] if act == "train" else [why]),
        button(WORDS[act], kind=kind),
        method="post",
        action=asked.link(f"{DASHBOARD}/acts/{act}"),
        class_="act",
    )
    back = tag("p", link("Do nothing, go back", asked.link(HEALTH if act == "train" else RELEASES)))
    parts: list[Markup] = [status("error", wrong)] if wrong else []
    version = f" {said['version']}" if act in ("release", "promote") else ""
    parts.append(section("confirm", "What this does", *told, form, back, live=False))
    return Page(f"{WORDS[act]}{version}?", parts, status=422 if wrong else 200, follows=False)


def effects(desk: Desk, act: str, said: Mapping[str, str]) -> Sequence[str]:
    """What the act will do, a sentence each."""
    app = desk.app
    if act == "train":
        days = app.settings.training.days_back
        return (f"A training reads the last {days:g} days. It decides for nobody: what comes of it is a candidate.",)
    version, live, everybody = said.get("version", ""), said["over"], people(desk)
    if act == "release":
        return (_beginning(app, version, everybody), _asking(said))
    if act == "promote":
        return (f"{version} decides for everybody from now on, in place of {live}.", _changed(desk, everybody))
    if act == "rollback":
        below = lifecycle.below(app.events())[0]
        return (f"{below} decides for everybody from now on, in place of {live}.", _changed(desk, everybody))
    step = lifecycle.traffic(app.events()).step
    share = step.share if step else 0.0
    if act == "stop":
        last = "No release goes on, and none begins by itself, until somebody promotes or releases a version."
        touched = _told(everybody, share) if live == BASELINE else _changed(desk, everybody)
        return (f"The rule decides for everybody from now on, in place of {live}.", touched, last)
    return (f"{version} decides for nobody from now on; {live} does.", _told(everybody, share))


def _changed(desk: Desk, everybody: int) -> str:
    """For how many it is that the version in force is another one: those of the holdout meet the rule as before."""
    if not everybody or not desk.app.release_rules.holdout:
        return _told(everybody, 1.0)
    sheet = desk.decisions.sheet()
    last = sheet.between(desk.app.now() - DAYS * 86_400.0, np.inf)
    others = len(np.unique(last.user[last.variant.among(HOLDOUT)]))
    return (
        f"That is {everybody - others:,} of the {everybody:,} people who were decided for in the last {DAYS} days; the "
        f"other {others:,} are held out: they meet the rule before and after."
    )


def _beginning(app: App, version: str, everybody: int) -> str:
    move = first_move(app.release_rules)
    share = {"shadowed": 0.0, "promoted": 1.0}.get(move.kind, move.share or 0.0)
    return f"The release of {version} begins. {' '.join(move.reasons)} {_told(everybody, share)}"


def _asking(said: Mapping[str, str]) -> str:
    if said.get("unproven"):
        return "The gate is not asked: it is released whatever the log says of it."
    return "The gate is asked first. Where it does not let the version pass, nothing happens."


def people(desk: Desk) -> int:
    """How many were decided for in the last days, as far as the log has been read."""
    sheet = desk.decisions.sheet()
    first = np.searchsorted(sheet.time, desk.app.now() - DAYS * 86_400.0)
    return len(np.unique(sheet.user[first:]))


def _told(everybody: int, share: float) -> str:
    """For how many that is."""
    if share == 0:
        return "It changes nothing for anybody."
    if not everybody:
        return f"Nobody was decided for in the last {DAYS} days."
    count = max(round(share * everybody), 1)
    about = "" if share == 1 else "about "
    return f"That is {about}{count:,} of the {everybody:,} people who were decided for in the last {DAYS} days."
