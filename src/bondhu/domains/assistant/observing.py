"""What can be observed of a conversation when an answer is asked for: the state of the assistant, from messages as they
are sent to a chat model. Cheap, the same each time, and safe to log: the text is redacted, and what is too long is cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import expm1, isfinite, log1p
from types import MappingProxyType
from typing import Any, NamedTuple

from bondhu.domains.assistant import lexicon
from bondhu.domains.assistant.feedback import REPHRASED, rephrased
from bondhu.domains.assistant.languages import LANGUAGES, language_of
from bondhu.domains.assistant.redaction import redacted

TOPICS = ("code", "writing", "maths", "facts", "advice", "chat", "other")
MOODS = ("neutral", "pleased", "frustrated", "confused", "urgent")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
JUDGED = ("none", "good", "bad")
NO_YES = ("no", "yes")
NOBODY = "nobody"

LONGEST = 8_000  # characters of a message that are looked at
MOST_MESSAGES = 400  # of a conversation, the last ones
MOST_WORDS = 1_500  # of a message, in which words of topics and moods are looked for


class Observable(NamedTuple):
    """A field that can be declared under [context], and what it says."""

    kind: str
    says: str
    values: tuple[str, ...] = ()  # of a category
    range: tuple[float, float] = (0.0, 0.0)  # of a number; what is observed is never outside


class Past(NamedTuple):
    """What came of earlier turns of this user, or of this conversation where nobody is known."""

    turns: int = 0  # answers so far
    mean_reward: float = 0.0  # of those
    previous: str | None = None  # the user's previous message, if it was kept
    feedback: str = "none"  # on the previous answer: one of JUDGED


FRESH = Past()
FIELDS: Mapping[str, Observable] = MappingProxyType(
    {
        "text": Observable("text", "the user's last message, redacted"),
        "words": Observable("number", "words of it", range=(0.0, 2_000.0)),
        "complexity": Observable("number", "how much it asks for at once", range=(0.0, 1.0)),
        "topic": Observable("category", "what it is about, by English words", TOPICS),
        "language": Observable("category", "the language it is in", LANGUAGES),
        "mood": Observable("category", "how it sounds, by English words and signs", MOODS),
        "has_code": Observable("category", "whether there is code in it", NO_YES),
        "has_tools": Observable("category", "whether tools are offered, or were used in the conversation", NO_YES),
        "turn": Observable("number", "the user's messages in the conversation", range=(0.0, 200.0)),
        "length": Observable("number", "words of the whole conversation", range=(0.0, 50_000.0)),
        "hour": Observable("number", "of the day, UTC", range=(0.0, 24.0)),
        "weekday": Observable("category", "UTC", DAYS),
        "retry": Observable("category", "whether it says the previous message once more", NO_YES),
        "feedback": Observable("category", "what was said of the previous answer", JUDGED),
        "user_turns": Observable("number", "answers that this user had before", range=(0.0, 10_000.0)),
        "user_reward": Observable("number", "their mean reward", range=(-5.0, 5.0)),
        "person": Observable("person", "who asks"),
        "embedding": Observable("vector", "of the text, by a model of your own"),
    }
)


def observe(
    messages: Sequence[Mapping[str, Any]],
    now: float,
    past: Past = FRESH,
    user: str | None = None,
    embed: Callable[[str], Sequence[float]] | None = None,
) -> dict[str, Any]:
    """All fields of FIELDS as the conversation shows them at this moment; `embedding` only with `embed`.

    `messages` as in a chat request; their content is text, or a list of parts of which those with text count. `now`:
    UNIX seconds. Never raises for what a client may send.
    """
    said, spoken, tools = _read(messages[-MOST_MESSAGES:])
    text = redacted(_clean(said[-1])) if said else ""
    shown = {**_of_text(text), **_of_time(now)}
    shown["has_tools"] = NO_YES[tools]
    shown["turn"] = _within("turn", len(said))
    shown["length"] = _within("length", spoken)
    newest = messages[-1] if messages else None  # where that is the result of a tool, the user has not spoken again
    speaks = isinstance(newest, Mapping) and newest.get("role") == "user"
    shown["retry"] = NO_YES[speaks and _again(text, (past.previous, said[-2] if len(said) > 1 else None))]
    shown["feedback"] = past.feedback if past.feedback in JUDGED else "none"
    shown["user_turns"] = _within("user_turns", past.turns)
    shown["user_reward"] = _within("user_reward", past.mean_reward)
    shown["person"] = _clean(user) if user else NOBODY
    if embed is not None:
        shown["embedding"] = [float(each) for each in embed(text)]
    return shown


# ------------------------------------------------------------------------------------------------------------- messages


def _read(messages: Iterable[Any]) -> tuple[list[str], int, bool]:
    """What users said, message by message; the words that were spoken; whether a tool was used."""
    said, spoken, tools = [], 0, False
    for message in messages:
        if not isinstance(message, Mapping):
            continue
        text, role = said_in(message.get("content")), message.get("role")
        spoken += text.count(" ") + 1 if text else 0
        tools = tools or role in ("tool", "function") or bool(message.get("tool_calls"))
        if role == "user":
            said.append(text)
    return said, spoken, tools


def said_in(content: Any) -> str:
    """The text of a message's content, cut to LONGEST characters; of a list of parts, that of all parts with text."""
    if isinstance(content, str):
        return content[:LONGEST]
    if not isinstance(content, list | tuple):
        return ""
    said = ""
    for part in content[:MOST_MESSAGES]:
        text = part.get("text") if isinstance(part, Mapping) else None
        if isinstance(text, str) and len(said) < LONGEST:
            said = f"{said} {text[:LONGEST]}" if said else text[:LONGEST]
    return said[:LONGEST]


def _clean(text: str) -> str:
    """Without what a store may refuse: lone halves of characters, and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def _within(name: str, value: float) -> float:
    low, high = FIELDS[name].range
    return min(max(float(value), low), high) if isfinite(value) else low


def _again(text: str, earlier: Iterable[str | None]) -> bool:
    return any(each and rephrased(_clean(each[:LONGEST]), text) >= REPHRASED for each in earlier)


def _of_time(now: float) -> dict[str, Any]:
    days, seconds = divmod(now, 86_400.0)
    return {"hour": _within("hour", seconds / 3_600), "weekday": DAYS[int(days + 3) % 7]}  # 1970 began on a Thursday


# ---------------------------------------------------------------------------------------------------------- the message

_WORD = re.compile(r"[^\W_]+(?:['’+#][^\W_]*)*")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")  # scripts that leave no space between words
_FENCED = re.compile(r"```[^`]*(?:```|\Z)")
_CODE = re.compile(
    r"```|`[^`\n]{2,200}`|Traceback \(most recent|#include ?<|</\w{1,20}>|=> ?\{|\bconsole\.log\(|;[ \t]*\n"
    r"|\b(?:def|function|func|fn) \w{1,60} ?\(|\bclass \w{1,60}[:({]|\b(?:import|from) [\w.]{1,60}(?:\n| import\b)"
    r"|\b(?:const|let|var) \w{1,60} ?=|\b(?:SELECT|select) [^\n]{1,200}\b(?:FROM|from)\b|\b\w{1,60}\(\w{0,60}\)[;.:]"
    r"|\b[A-Z]\w{1,40}(?:Error|Exception)\b|[=!]==?[ \w]|\{\n"
)
_MARKS = re.compile(
    r"[.?!;:。？！](?:\s|\Z)|,|\n[ \t]{0,20}(?:[-*•]|\d{1,2}[.)])|\b(?:and|then|but|because|which|while|unless)\b"
)
_SUM = re.compile(r"\d ?[+*/^=×÷] ?\d|\b[a-z](?:\^|²)|[=<>] ?\d{1,20}\b")
_SHOUTED = re.compile(r"\b[A-Z]{4,}\b")
TOLD, FELT = 0.5, 2.0  # weight of words from which they tell a topic, and a mood


def _of_text(text: str) -> dict[str, Any]:
    prose = _FENCED.sub(" ", text) if "```" in text else text
    words = [word.replace("’", "'") for word in _WORD.findall(prose.lower())]
    count = len(words) + (len(_UNSPACED.findall(prose)) // 2 if not prose.isascii() else 0)
    looked, code = words[:MOST_WORDS], _CODE.search(text) is not None
    return {
        "text": text,
        "words": _within("words", count),
        "complexity": _complexity(prose, words, count, code),
        "topic": _topic(prose, looked, code),
        "language": language_of(prose, looked),
        "mood": _mood(prose, looked),
        "has_code": NO_YES[code],
    }


def _complexity(text: str, words: Sequence[str], count: int, code: bool) -> float:
    """From 0 to 1, rounded: how long it is (up to 400 words, by logarithm), its share of words of seven letters or more
    (up to a half), how many clauses and items it has (saturating), and whether there is code."""
    if not count:
        return 0.2 * code
    long = sum(len(word) > 6 for word in words) / max(len(words), 1)
    clauses = len(_MARKS.findall(text))
    length = min(1.0, log1p(count) / log1p(400))
    return round(0.4 * length + 0.2 * min(1.0, 2 * long) - 0.2 * expm1(-clauses / 6) + 0.2 * code, 3)


def _topic(text: str, words: Sequence[str], code: bool) -> str:
    votes = dict.fromkeys(TOPICS, 0.0) | lexicon.scores(lexicon.topics(), words)
    votes["code"] += 3.0 * code
    votes["maths"] += 2.0 * (not code and _SUM.search(text) is not None)
    if len(words) > 12:
        votes["chat"] *= 0.3  # a greeting, before what is asked
    likeliest = max(TOPICS, key=votes.__getitem__)
    small_talk = likeliest == "chat" and len(words) <= 4 and votes["chat"] > 0
    return likeliest if votes[likeliest] >= TOLD or small_talk else "other"


def _mood(text: str, words: Sequence[str]) -> str:
    votes = dict.fromkeys(MOODS, 0.0) | lexicon.scores(lexicon.moods(), words)
    votes["frustrated"] += 2.0 * ("!!" in text or "?!" in text) + 2.0 * (len(_SHOUTED.findall(text)) > 2)
    votes["confused"] += 2.0 * ("??" in text)
    likeliest = max(MOODS, key=votes.__getitem__)
    return likeliest if votes[likeliest] >= FELT else "neutral"
