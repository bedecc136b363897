"""The live loop without HTTP: decide and log, hear feedback, explain. Nothing is learned here."""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat

from bondhu.errors import InvalidInput, NotAllowed, UnknownName, nearest
from bondhu.policies.following import of_names
from bondhu.ports import Deployment, Signal
from bondhu.registry.lifecycle import APPLICATION, BASELINE, EXPLORED
from bondhu.registry.share import HOLDOUT, LIVE, TRIAL, Assignment, assign
from bondhu.serve.checks import check_text, open_to, shortened, within
from bondhu.serve.commit import commit
from bondhu.serve.contexts import Contexts
from bondhu.serve.explain import explain
from bondhu.serve.ids import Draws, Ids, made_at, uniform_of
from bondhu.serve.live import Arms, Live
from bondhu.serve.messages import Audit, Heard, Request, Said
from bondhu.serve.recent import Recent
from bondhu.serve.rows import Rows
from bondhu.types import SESSION_CUT, SESSION_END, Acting, Decision, Feedback

__all__ = ["Audit", "Decider", "Heard", "Request", "Said"]

log = logging.getLogger(__name__)
EARLY = 3600.0  # seconds for which feedback may come before its decision
SKEW = 60.0  # seconds by which the clock of whoever made an id may be ahead
REMEMBERED = 100_000  # ids of decisions kept in memory, so that most feedback needs no look-up
decision = partial(tuple.__new__, Decision)  # from all its fields in their order: half the time of naming each
EVERYBODY = Assignment(LIVE, 1.0)
ANSWER, RESPONSE = "chatcmpl-", "resp_"  # what the gateway puts before a decision's id
VERSIONS = 4  # whose rows are kept: the one in force, one on trial, the rule, and one to spare
MARK = Signal(0.0, 0.0, 1.0)  # the signals that end a session


@dataclass
class Decider:
    """One deployment's live loop."""

    deployment: Deployment
    restore: Callable[[str | None], Acting]  # a version by its id, None for the baseline, ready to act
    exploration: float = 0.0  # share of decisions made at random; at 0 nothing but the version itself can be evaluated
    holdout: float = 0.0  # share of people who always meet the rule
    apprentice: bool = False  # follow the application's own choice, where it says so, until a version is live
    now: Callable[[], float] = time.time
    as_trained: Callable[[str | None], Acting] | None = None  # as `restore`, with the actions it was trained for
    door: Callable[[Request], Request] | None = None  # what a request goes through before anything else sees it
    personal: bool = False  # feedback has to say whose decision it is about, and may call it by an answer's id
    own: Collection[str] = ()  # signals that this server measures: nobody else says them, or takes them back
    live: Live = field(init=False, repr=False)
    _ids: Ids = field(default_factory=Ids, init=False, repr=False)
    contexts: Contexts = field(init=False, repr=False)
    forgetting: list[Callable[[], None]] = field(default_factory=list, init=False, repr=False)  # by others, with this
    _decided: Recent = field(init=False, repr=False)
    _erased: Recent = field(init=False, repr=False)
    _rows: dict[str, Rows] = field(default_factory=dict, init=False, repr=False)  # by version

    def __post_init__(self) -> None:
        domain = self.deployment.domain
        self.live = Live(domain.name, self.deployment.registry, self.restore, self.exploration, self.holdout)
        self._decided, self._erased = Recent(REMEMBERED), Recent(REMEMBERED)
        self.contexts = Contexts(lambda: self.door is None)  # behind a door nothing stays as it was sent
        self._name, self._memo = domain.name, (self.exploration,)
        self._uniform = uniform_of(domain.name)
        self._signals = {**domain.reward.signals, SESSION_END: MARK, SESSION_CUT: MARK}

    # --------------------------------------------------------------------------------------------------------- decide

    def choose(self, requests: Sequence[Request], *, wait: bool = True) -> list[Decision]:
        """Decide without logging, for logging first: one call of each policy; the draw belongs to the id.

        `wait` until a version that is newly in force is loaded; else those at hand decide meanwhile.
        """
        if self.door is not None:
            requests = [*map(self.door, requests)]
        now = self.now()
        arms = self.live.arms(now) if wait else self.live.at_hand(now)
        ids = self._identities(requests, now)
        if arms.step is None and arms.holdout is None:
            return self._in_force(arms.live, requests, ids, now, EVERYBODY)
        groups: dict[Assignment, list[int]] = {}
        for row, (request, identity) in enumerate(zip(requests, ids, strict=True)):
            unit = request.user or request.session or identity
            groups.setdefault(assign(self._name, unit, arms.step, self.holdout), []).append(row)
        made: dict[int, Decision] = {}
        for assignment, rows in groups.items():
            some = [requests[row] for row in rows], [ids[row] for row in rows]
            made.update(zip(rows, self._given(arms, *some, now, assignment), strict=True))
        return [made[row] for row in range(len(requests))]

    def _given(
        self, arms: Arms, requests: Sequence[Request], ids: Sequence[str], now: float, assignment: Assignment
    ) -> list[Decision]:
        """The decisions of one variant. What a version on trial cannot decide, the live one does in its place: the row
        then names the variant that was given and the version that acted, and counts as an error of the trial."""
        if assignment.variant == HOLDOUT and arms.holdout is not None:
            return self._decide(arms.holdout, requests, ids, now, assignment)
        if assignment.variant == TRIAL and arms.trial is not None:
            try:
                decisions = self._decide(arms.trial, requests, ids, now, assignment)
                if all(0.0 < each.probability <= 1.0 for each in decisions):
                    return decisions
                problem = "it gave a probability that is none"
            except Exception as error:  # whatever it is, people get a decision
                problem = str(error)
            if len(requests) > 1:  # the others need not suffer for one of them
                singly = zip(requests, ids, strict=True)
                return [self._given(arms, [one], [identity], now, assignment)[0] for one, identity in singly]
            failed = self._in_force(arms.live, requests, ids, now, assignment)  # unless the request is at fault
            log.error("Version %r on trial could not decide: %s", arms.trial.version, problem)
            return failed
        return self._in_force(arms.live, requests, ids, now, assignment)

    def _in_force(
        self, live: Acting, requests: Sequence[Request], ids: Sequence[str], now: float, assignment: Assignment
    ) -> list[Decision]:
        """The decisions of the live version; an apprentice follows the application's own choice until there is one."""
        following = self.apprentice and live.version == BASELINE
        own = [row for row, each in enumerate(requests) if each.default is not None] if following else []
        if not own:
            return self._decide(live, requests, ids, now, assignment)
        others = sorted(set(range(len(requests))) - set(own))
        made: dict[int, Decision] = {}
        for rows, acting in ((own, self._application(live, [requests[row] for row in own])), (others, live)):
            some = [requests[row] for row in rows], [ids[row] for row in rows]
            made.update(zip(rows, self._decide(acting, *some, now, assignment) if rows else [], strict=True))
        for row in own:
            if made[row].action != requests[row].default:
                made[row] = made[row]._replace(version=EXPLORED)
        return [made[row] for row in range(len(requests))]

    def _application(self, live: Acting, requests: Sequence[Request]) -> Acting:
        """What the application would do in each of these requests, with the same floor of exploration."""
        names = []
        for each in requests:
            could = open_to(self.deployment.domain, each) or live.actions
            if each.default is None or each.default not in could:
                fix = nearest(str(each.default), could)
                what = f"The default is {each.default!r}, which is not allowed here."
                raise UnknownName(what, field="default", value=each.default, fix=fix)
            names.append(each.default)
        policy = of_names(names, live.actions)
        return self.live.explored(live._replace(version=APPLICATION, policy=policy, beliefs=None), self.exploration)

    def _decide(
        self, acting: Acting, requests: Sequence[Request], ids: Sequence[str], now: float, assignment: Assignment
    ) -> list[Decision]:
        """The decisions of one version: the row of each context, and what its id draws from that."""
        rows = self._rows_of(acting)
        if not rows.by_row:
            return self._sampled(rows, requests, ids, now, assignment)
        domain, actions, version, memo, uniform = self._name, acting.actions, acting.version, self._memo, self._uniform
        variant, assigned = assignment
        made = []
        for asked, id_, (sums, chances, first, last, could) in zip(requests, ids, rows.of(requests), strict=True):
            at = bisect_right(sums, uniform(id_) * sums[last - 1], first, last)
            session, did = asked.session or asked.user or id_, actions[at - first]
            made.append(
                decision(
                    (
                        id_,
                        domain,
                        session,
                        asked.user,
                        now,
                        asked.context,
                        could,
                        did,
                        chances[at],
                        memo,
                        version,
                        variant,
                        assigned,
                    )
                )
            )
        return made

    def _sampled(
        self, rows: Rows, requests: Sequence[Request], ids: Sequence[str], now: float, assignment: Assignment
    ) -> list[Decision]:
        """The same of a policy that draws in a way of its own."""
        acting, asked = rows.acting, rows.asked(requests)
        choice = acting.policy.sample(asked.observation, asked.allowed, Draws(self._name, ids))
        memos = [(*row, self.exploration) for row in choice.memo.tolist()] if choice.memo.size else repeat(self._memo)
        drawn = zip(choice.action.tolist(), choice.probability.tolist(), memos, strict=False)
        made = []
        for each, id_, could, (did, chance, memo) in zip(requests, ids, asked.names, drawn, strict=True):
            session, action = each.session or each.user or id_, acting.actions[did]
            facts = id_, self._name, session, each.user, now, each.context, could, action, chance, memo
            made.append(decision((*facts, acting.version, *assignment)))
        return made

    def _rows_of(self, acting: Acting) -> Rows:
        """What is kept of this very version: rows of one that went, or that is known by other actions now, are gone."""
        found = self._rows.get(acting.version)
        if found is None or found.acting is not acting:
            if len(self._rows) >= VERSIONS:
                self._rows.clear()
            found = self._rows[acting.version] = Rows(acting, self.deployment.domain)
        return found

    def decide(self, request: Request) -> Decision:
        """Decide and log; a retry with the same id returns the decision made first."""
        return self.commit(self.choose([request]))[0]

    def decide_many(self, requests: Sequence[Request]) -> list[Decision]:
        """Decide and log all of them, or none."""
        return self.commit(self.choose(requests)) if requests else []

    def commit(self, decisions: list[Decision], feedback: Sequence[Feedback] = ()) -> list[Decision]:
        """Log all of it or nothing. What is there already is not logged twice; returns the decisions as logged."""
        return self.remember(commit(self.deployment.log, decisions, feedback))

    def remember(self, decisions: list[Decision]) -> list[Decision]:
        """Know that these are logged, so that their feedback needs no look-up."""
        self._decided.add([each.id for each in decisions])
        return decisions

    def _identities(self, requests: Sequence[Request], now: float) -> list[str]:
        """The requests' own ids, and new ones where they have none."""
        made = self._ids(len(requests), now)
        for at, each in enumerate(requests):
            if each.user is not None or each.id is not None or each.session is not None:
                check_text("id", each.id)
                check_text("user", each.user)
                check_text("session", each.session)
                made[at] = each.id or made[at]
        return made

    # ----------------------------------------------------------------------------------------------------------- hear

    def hear(self, said: Sequence[Said]) -> list[Heard]:
        """Log what was said, all of it or nothing; "waiting" where the decision is not visible yet."""
        feedback = [self.checked(each) for each in said]
        heard = [
            Heard(each.id, each.decision_id, self.standing(each.decision_id, own.user, each.replaces))
            for each, own in zip(feedback, said, strict=True)
        ]
        self.commit([], feedback)
        return heard

    def checked(self, said: Said) -> Feedback:
        """The feedback as it is logged; raises InvalidInput with the nearest signal, or the range; NotAllowed where it
        is for this server to say."""
        check_text("id", said.id)
        check_text("decision_id", said.decision_id)
        check_text("replaces", said.replaces)
        signal = self._signals.get(said.signal)
        if signal is None:
            raise InvalidInput(
                f"There is no signal {said.signal!r}.",
                field="signal",
                value=said.signal,
                fix=nearest(said.signal, self._signals),
            )
        if said.signal in self.own:
            raise measured_here("signal", said.signal, said.signal)
        check_text("user", said.user)
        value = self._worth(said, signal)
        now = self.now()
        about = answered_by(said.decision_id) if self.personal else said.decision_id
        return Feedback(said.id or self._ids(1, now)[0], about, said.signal, value, now, said.replaces)

    def measured(self, decision_id: str, values: Sequence[tuple[str, float]], now: float) -> list[Feedback]:
        """What this server itself observed of a decision: signals and their values, under ids of their own."""
        ids = self._ids(len(values), now)
        return [Feedback(id_, decision_id, *each, now) for id_, each in zip(ids, values, strict=True)]

    def standing(self, decision_id: str, user: str | None = None, replaces: str | None = None) -> str:
        """ "stored" where the decision is there; "waiting" where its id is so new that it may yet come. Raises
        UnknownName; NotAllowed where it was made for somebody else than `user`, or what is to be replaced was measured
        here."""
        if self.own and replaces is not None:
            earlier = self.deployment.log.said(replaces)
            if earlier is not None and earlier.signal in self.own:
                raise measured_here("replaces", replaces, earlier.signal)
        if self.remembers(decision_id, user):
            return "stored"
        found = self.deployment.log.find(decision_id)
        if found is not None and found[0].domain == self._name:
            self._check_whose(found[0], user)
            return "stored"
        if self.personal or user is not None:  # whose it is cannot be told
            raise unknown(decision_id)
        made, now = made_at(decision_id), self.now()
        if found is None and made is not None and now - EARLY <= made <= now + SKEW and decision_id not in self._erased:
            return "waiting"
        raise unknown(decision_id)

    def _check_whose(self, decision: Decision, user: str | None) -> None:
        """Feedback that names a person is about a decision made for them; where it has to name one, it does."""
        if user is None:
            if self.personal and decision.user is not None:
                what, fix = "The field 'user' is missing.", "Add whom the decision was made for."
                raise InvalidInput(what, field="user", fix=fix)
            return
        kept = user if self.door is None else self.door(Request({}, user=user)).user
        if decision.user != kept:
            raise NotAllowed(
                f"Decision {decision.id!r} was made for somebody else.", field="user", fix="Send whom it was made for."
            )

    def forget(self, identities: Iterable[str]) -> None:
        """These decisions were erased: what is said of them from now on is refused."""
        gone = list(identities)
        self._decided.discard(gone)
        self._erased.add(gone)
        self._forget_contexts()

    def forget_all(self) -> None:
        """Somebody was erased, perhaps by another process: whatever is remembered of anybody is looked up again."""
        self._decided.clear()
        self._forget_contexts()

    def _forget_contexts(self) -> None:
        self._rows.clear()  # contexts are known by them
        self.contexts.forget()
        for each in self.forgetting:
            each()

    def remembers(self, decision_id: str, user: str | None = None) -> bool:
        """Whether the decision is known to be there, and whose it is does not matter, without looking it up."""
        return user is None and not self.personal and decision_id in self._decided

    def _worth(self, said: Said, signal: Signal) -> float | None:
        value = said.value
        if value is None:
            if said.replaces is None:
                raise InvalidInput(
                    "The value is null, which takes feedback back, but 'replaces' does not say which.",
                    field="replaces",
                    fix="Name the id of the feedback to take back, or send a value.",
                )
            return None
        if not within(value, signal):
            raise InvalidInput(
                f"The value of {said.signal!r} is {shortened(value)}.",
                field="value",
                value=value,
                fix=f"It must be a number from {signal.low:g} to {signal.high:g}.",
            )
        return float(value)

    # -------------------------------------------------------------------------------------------------------- explain

    def explain(self, decision_id: str) -> Audit:
        """The audit record; raises UnknownName."""
        decision_id = answered_by(decision_id) if self.personal else decision_id
        found = self.deployment.log.find(decision_id)
        if found is None or found[0].domain != self._name:
            raise UnknownName(
                f"No decision {decision_id!r}.", field="id", value=decision_id, fix="Ask with the id it came with."
            )
        return explain(*found, lambda version: self._then(version, found[0].allowed))

    def _then(self, version: str | None, allowed: Sequence[str]) -> Acting:
        """The version as it acted: among the actions it was trained for, unless newer ones were allowed, or in another
        order."""
        trained = (self.as_trained or self.restore)(version)
        ordered = [name for name in trained.actions if name in allowed] == list(allowed)
        return trained if ordered else self.restore(version)


def answered_by(identity: str) -> str:
    """The decision behind the id of an answer as OpenAI's clients know it; any other id is the decision's own."""
    own = identity.removeprefix(ANSWER).removeprefix(RESPONSE)
    return own if made_at(own) is not None else identity


def measured_here(field: str, value: str, signal: str) -> NotAllowed:
    fix = "Leave it to the server; for figures of your own, declare a signal with a name of its own."
    return NotAllowed(f"The signal {signal!r} is measured by this server alone.", field=field, value=value, fix=fix)


def unknown(decision_id: str) -> UnknownName:
    fix = "Send the id that the decision came with."
    return UnknownName(f"No decision {decision_id!r}.", field="decision_id", value=decision_id, fix=fix)
