"""People who ask an assistant, what it would answer in each style, and what they make of an answer.

Three kinds of message call for three kinds of answer: who has an error wants to be asked for the stack trace, who asks
for a fact wants one sentence, who asks how to do something wants steps. People judge the words of the answer, nothing
else: no style is named to them, so that a model which answers badly in the right style is turned down all the same.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

KINDS = ("error", "fact", "how")
STYLES = {
    "plain": "You are a polite assistant.",
    "ask": "Ask for what you need to know.",
    "brief": "Answer in one short sentence.",
    "steps": "Answer step by step.",
}  # the system prompt of each style: [strategies.style.…] in bondhu.toml
THINGS = (
    "parser", "server", "invoice", "garden", "engine", "recipe", "report", "printer", "camera", "website", "library",
    "battery", "calendar", "database", "bicycle", "compiler", "sensor", "kitchen", "network", "backup", "spreadsheet",
    "telescope", "queue", "heater", "piano", "router", "budget", "keyboard", "window", "script",
)  # fmt: skip
ASKED = {
    "error": ("my {} gives an error", "the {} crashes with an exception", "help my {} is broken again"),
    "fact": ("what is a {}", "who made the first {}", "define {} for me"),
    "how": ("how do i build a {}", "show me how to set up a {}", "explain how to repair a {} myself"),
}
ANSWERS = {
    "plain": "thank you for writing about your {0} . how can i assist you today ?",
    "ask": "could you share the error message and the stack trace of the {0} ?",
    "brief": "a {0} is a {0} .",
    "steps": "1 . open the {0} . 2 . check the {0} . 3 . close the {0} .",
}
WANTED = {"error": "ask", "fact": "brief", "how": "steps"}
SIGNS = {"error": ("stack trace", "error message"), "fact": ("is a",), "how": ("1 .", "2 .", "3 .")}


class Message(NamedTuple):
    """What somebody writes."""

    kind: str
    thing: str
    text: str


def message(rng: Random, kind: str | None = None) -> Message:
    """A message of this kind, or of any."""
    kind = kind or rng.choice(KINDS)
    thing = rng.choice(THINGS)
    return Message(kind, thing, rng.choice(ASKED[kind]).format(thing))


def answer(style: str, thing: str) -> str:
    """The right words of a style about a thing."""
    return ANSWERS[style].format(thing)


def judged(said: Message, answered: str) -> str:
    """What they do with the answer: `accept` where it has all that they need, about the thing they asked for;
    `clarification` where it has some of it; else `reject`."""
    text = " ".join(answered.lower().split())
    signs = sum(sign in text for sign in SIGNS[said.kind])
    about = f" {said.thing} " in f" {text} "
    if about and signs == len(SIGNS[said.kind]):
        return "accept"
    return "clarification" if about and signs else "reject"
