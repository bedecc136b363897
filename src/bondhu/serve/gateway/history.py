"""What happened before in a conversation: looked up in the store each time, so that any process can go on with it.

Each transcript holds how many turns there were and what they were worth, so that the newest of a session tells of all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from bondhu.ports import Domain, Log, Reward, Transcript, Transcripts
from bondhu.serve.gateway.exchange import ANSWERED
from bondhu.serve.gateway.keeping import Totals
from bondhu.serve.gateway.messages import Asked, of_users
from bondhu.serve.messages import Request
from bondhu.types import Decision, Feedback

Latest = tuple[Decision, Transcript | None] | None  # of a session
PEOPLE = 10_000  # of whom this process remembers what was before their newest conversation


class Before(NamedTuple):
    """What was there before a request."""

    totals: Totals = Totals()
    decision_id: str | None = None  # of the same conversation, the newest that was answered
    said: str | None = None  # what the user wrote then, as it is kept
    feedback: str = "none"  # on that answer: "none", "good" or "bad"
    spoken: int = 0  # messages of the user then
    session: str | None = None  # that the request belongs to, as the application would name it
    over: bool = False  # whether nothing was said there for long


NOTHING = Before()


class Whose(NamedTuple):
    """A session that somebody begins or goes on with."""

    session: str | None  # as the application names it, or a person's conversations by how they begin
    user: str | None  # as stored
    now: float
    begins: bool | None  # whether a conversation begins; None: the application says which one it is
    stored: Callable[[str], str]  # a session's name as it is stored


class History:
    """Of one deployment."""

    def __init__(self, transcripts: Transcripts, log: Log, domain: Domain) -> None:
        self._transcripts, self._log, self._domain = transcripts, log, domain
        self._people: OrderedDict[str, Totals] = OrderedDict()  # a hint: it is gone with the process

    def before(self, whose: Whose) -> Before:
        """Reads the store. What somebody else said in a session tells nothing; one that has ended tells its totals.

        Of a person's conversations that begin with the same words each is a session of its own: they are numbered, so
        that any process finds the newest of them. It ends where another begins, or nothing was said for long.
        """
        name = whose.session
        if name is None or whose.begins is None:
            return self._told(self._latest(name, whose) if name else None, whose)._replace(session=name)
        seen: dict[int, Latest] = {}

        def there(number: int) -> bool:
            seen[number] = self._latest(numbered(name, number), whose)
            return seen[number] is not None

        number = newest(there)
        before = self._told(seen[number], whose) if number else self._new(whose.user)
        if number and (whose.begins or before.over):
            totals = max(before.totals, self._new(whose.user).totals)  # what is known of most turns
            number, before = number + 1, Before(totals)
        return before._replace(session=numbered(name, number or 1))

    def _latest(self, name: str, whose: Whose) -> Latest:
        return self._transcripts.latest(self._domain.name, whose.stored(name), whose.user)

    def _new(self, user: str | None) -> Before:
        """Before a conversation of which nothing is there."""
        return Before(self._people.get(user, Totals())) if user else NOTHING

    def _told(self, found: Latest, whose: Whose) -> Before:
        """What the newest of a session tells."""
        if found is None:
            return self._new(whose.user)
        (decision, transcript), now = found, whose.now
        logged = self._log.find(decision.id)
        worth, feedback = judged(logged[1] if logged else (), self._domain.reward)
        body = transcript.body if transcript is not None else {}
        turns, sofar = _totals(body.get("before"))
        said = of_users(body.get("messages") or ())
        totals = Totals(turns + 1, sofar + worth)
        over = now - decision.time > self._domain.idle
        if body.get("status") != ANSWERED or over:
            return Before(totals, over=over)  # to ask again what was not answered is no complaint
        return Before(totals, decision.id, said[-1] if said else None, feedback, len(said))

    def forget(self) -> None:
        """Somebody was erased: remember nobody."""
        self._people = OrderedDict()  # another one: this is called in a thread

    def note(self, user: str | None, totals: Totals) -> None:
        """Remember a person for their next conversation."""
        people = self._people
        if user:
            people.pop(user, None)
            people[user] = totals
            if len(people) > PEOPLE:
                people.popitem(last=False)


def judged(said: Sequence[Feedback], reward: Reward) -> tuple[float, str]:
    """What an answer was worth, and whether that is good or bad news."""
    gone = {each.replaces for each in said}
    weighed = [
        reward.signals[each.signal].weight * each.value
        for each in said
        if each.id not in gone and each.value is not None and each.signal in reward.signals
    ]
    heard = [each for each in weighed if each]
    if not heard:
        return reward.default, "none"
    return sum(heard), "good" if sum(heard) > 0 else "bad"


def whose_of(asked: Asked, now: float, salt: bytes, door: Callable[[Request], Request] | None) -> Whose:
    """The session that a request belongs to: the one it names, or a person's conversations by how they begin. Whoever
    is nobody known has none: two strangers may begin with the same words. `door`: what makes stored names."""

    def stored(session: str | None) -> Request:
        request = Request({}, None, session, asked.user)
        return door(request) if door is not None else request

    user, named = stored(None).user, bool(asked.session) or asked.user is None
    session = asked.session if named else _key(asked, asked.user or "", salt)
    begins = None if named else all(each.role != "assistant" for each in asked.chat.messages)
    return Whose(session, user, now, begins, lambda name: stored(name).session or name)


def numbered(name: str, number: int) -> str:
    """The session of a person's first, second … conversation that begins alike."""
    return f"{name}-{number}" if number > 1 else name


def newest(there: Callable[[int], bool]) -> int:
    """The last of the numbers 1, 2, … that are there; 0 where none is. Asks as often as that number has binary digits,
    twice."""
    low, high = 0, 1
    while there(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if there(middle) else (low, middle)
    return low


def _key(asked: Asked, user: str, salt: bytes) -> str:
    first = next(iter(of_users(asked.body["messages"])), "")
    key = blake2b(salt, digest_size=32, person=b"conversations").digest()
    text = f"{user}\0{first}".encode("utf-8", "surrogatepass")
    return f"chat-{blake2b(text, digest_size=16, key=key).hexdigest()}"


def _totals(kept: object) -> Totals:
    if isinstance(kept, dict) and isinstance(kept.get("turns"), int) and isinstance(kept.get("worth"), int | float):
        return Totals(kept["turns"], float(kept["worth"]))
    return Totals()
