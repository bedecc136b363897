"""Vowpal Wabbit's text formats for contextual bandits: `cb` (one line a decision) and `cb_adf` (one block a decision).

What a namespace holds becomes context fields: `mood=happy` is the category `NS_mood`, `age:31` the number `NS_age`,
and its bare words together are one field NS (`text` without a namespace): declared as text it is encoded as a hashed
bag of words, just as VW does. Actions are "1", "2", … as VW counts them; what a block says about each action has no
place in a declared domain and is left out. The reward is minus the cost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from bondhu.errors import InvalidInput
from bondhu.log.importers.lines import ACTION_FEATURES, UNLABELLED, Line, Row, TextFile, readable
from bondhu.log.importers.rows import number

BLOCKS = re.compile(r"^shared\b|^ccb |^slates |\S[^\n]*\n[ \t\r]*\n\s*\S", re.MULTILINE)


class Label(NamedTuple):
    """`action:cost:probability`, of which a log may leave out the end."""

    action: str
    cost: str | None
    probability: str | None


def read(path: Path) -> Iterator[Line]:
    """Blocks if any line begins with "shared" or any two are set apart by an empty one; else a decision a line."""
    file = TextFile(path)
    blocks = bool(BLOCKS.search("".join(_head(path))))
    for start, lines in _examples(file, blocks=blocks):
        try:
            texts = [readable(line) for line in lines]
            yield (_block if blocks else _single)(Line(start, file.done), texts)
        except InvalidInput as error:
            yield Line(start, file.done, problem=error)


def observed(labels: Sequence[Label]) -> Label | None:
    """The one label with a probability; None where nothing is labelled."""
    complete = [label for label in labels if label.probability is not None]
    if len(complete) == 1:
        return complete[0]
    if complete:
        raise InvalidInput("Two actions have a probability.", field="label", value=len(complete), fix="Label one.")
    for label in labels:
        if label.cost is not None:
            raise InvalidInput(
                "The label has a cost but no probability.",
                field="label",
                value=f"{label.action}:{label.cost}",
                fix="Write action:cost:probability.",
            )
    return None


def labelled(label: Label, context: dict[str, Any], action: str, allowed: tuple[str, ...] | None) -> Row:
    """The row of a labelled example; a cost of 0 is the reward 0, not -0."""
    probability = number("probability", label.probability)
    return Row(context, action, probability, (("reward", 0.0 - number("cost", label.cost)),), allowed)


def unsupported(kind: str) -> NoReturn:
    """Refuse rows that decide something else than one of a list of actions."""
    known = {"ccb": "multi-slot", "slates": "multi-slot", "ca": "continuous-action"}
    raise InvalidInput(
        f"The row is {kind}: {known[kind]} logs are not supported yet.", field="row", value=kind, fix="Import cb rows."
    )


def _head(path: Path, lines: int = 1000) -> list[str]:
    return [text for text, _ in zip(TextFile(path), range(lines), strict=False)]


def _examples(file: TextFile, *, blocks: bool) -> Iterator[tuple[int, list[str]]]:
    """The lines of each example and the number of the first."""
    lines: list[str] = []
    start = 1
    for text in file:
        if text.strip():
            start = start if lines else file.number
            lines.append(text)
        if lines and not (blocks and text.strip()):
            yield start, lines
            lines = []
    if lines:
        yield start, lines


def _single(line: Line, texts: list[str]) -> Line:
    """`[action] action:cost:probability | features`. One bare number before the label is what a policy under
    evaluation chose (cb_eval); several tokens list the actions that were allowed."""
    head, *namespaces = texts[0].split("|")
    labels = _labels(head)
    label = observed(labels)
    if label is None:
        return line._replace(skipped=UNLABELLED)
    evaluated = len(labels) == 2 and labels[0].cost is None
    allowed = None if evaluated or len(labels) == 1 else tuple(dict.fromkeys(each.action for each in labels))
    return line._replace(row=labelled(label, _context(namespaces), label.action, allowed))


def _block(line: Line, texts: list[str]) -> Line:
    """An optional `shared` line, then a line for each action, one of them labelled `any:cost:probability`."""
    heads = [text.partition("|")[0] for text in texts]
    shared = texts.pop(0).split("|")[1:] if heads[0].split()[:1] == ["shared"] else []
    labels = [(action, _labels(text.partition("|")[0])) for action, text in enumerate(texts, start=1)]
    label = observed([each for _, found in labels for each in found])
    if label is None:
        return line._replace(skipped=UNLABELLED)
    action = next(str(action) for action, found in labels if label in found)
    allowed = tuple(str(action) for action, _ in labels)
    return line._replace(row=labelled(label, _context(shared), action, allowed), note=ACTION_FEATURES)


def _labels(head: str) -> list[Label]:
    """The labels before the first bar; a last word that touches the bar or begins with ' is the example's tag."""
    words = head.split()
    if words and words[0] in ("ccb", "slates", "ca"):
        unsupported(words[0])
    touches = bool(words) and not head[-1].isspace() and not re.match(r"\d+(:|$)", words[-1])
    if touches or (words and words[-1].startswith("'")):
        words.pop()
    labels = []
    for word in words:
        parts = word.split(":")
        if len(parts) > 3 or not parts[0].isdigit():
            raise InvalidInput(
                f"Label {word!r} is not action:cost:probability.", field="label", value=word, fix="Mend the label."
            )
        action, cost, probability = (*parts, None, None)[:3]
        labels.append(Label(str(action), cost, probability))
    return labels


def _context(namespaces: Sequence[str]) -> dict[str, Any]:
    context: dict[str, Any] = {}
    for namespace in namespaces:
        words = namespace.split()
        named = bool(words) and not namespace[:1].isspace()
        name, _, weight = words.pop(0).partition(":") if named else ("", "", "")
        scale = number(f"namespace {name}", weight) if weight else 1.0
        for position, word in enumerate(words):
            _feature(context, name, position, word, scale)
    return context


def _feature(context: dict[str, Any], namespace: str, position: int, word: str, scale: float) -> None:
    prefix = f"{namespace}_" if namespace else ""
    name, colon, value = word.partition(":")
    if colon:
        field = prefix + (name or str(position))
        context[field] = number(field, value) * scale
    elif "=" in word:
        name, _, value = word.partition("=")
        context[prefix + name] = value
    else:
        text = namespace or "text"
        context[text] = f"{context[text]} {word}" if text in context else word
