"""What is kept of messages: their texts, masked and cut. Whatever else a request or a model says is one of a few known
words, or not kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from bondhu.domains.assistant.redaction import masked
from bondhu.serve.gateway.messages import Role

LONGEST = 65_536  # characters that are kept of one message, or of one part of it
MOST = 4 * LONGEST  # of all messages before an answer: the newest first
SEAM = 200  # characters before a cut in which a space is looked for: half of a name is not known as one
ROLES = frozenset(get_args(Role))
PARTS = frozenset({"text", "image_url", "input_audio", "file", "refusal"})
OTHER = "other"


class Keepsakes:
    """Of the messages of one transcript that are masked alike."""

    def __init__(self, how: str, salt: bytes) -> None:
        self._how, self._salt, self._left = how, salt, MOST
        self.cut = 0  # characters that were left out

    def all(self, messages: Sequence[Any]) -> list[dict[str, Any]]:
        """Of each message, in their order."""
        return [self.one(each) for each in reversed(messages)][::-1]

    def one(self, message: Any) -> dict[str, Any]:
        """The texts of a message, the calls of tools with them; pictures and sound are left out."""
        if not isinstance(message, Mapping):
            return {}
        content = message.get("content")
        kept: dict[str, Any] = {"role": _known(message.get("role"), ROLES), "content": None}
        if isinstance(content, str):
            kept["content"] = self._text(content)
        elif isinstance(content, Sequence):
            kept["content"] = [self._part(each) for each in content if isinstance(each, Mapping)]
        if isinstance(message.get("refusal"), str):
            kept["refusal"] = self._text(message["refusal"])
        if isinstance(calls := message.get("tool_calls"), Sequence):
            kept["tool_calls"] = [self._call(each) for each in calls if isinstance(each, Mapping)]
        return kept

    def _text(self, text: str) -> str:
        most = min(LONGEST, self._left)
        short = text
        if len(text) > most:
            space = text.rfind(" ", max(0, most - SEAM), most)
            short = text[: most if space < 0 else space]
            self.cut += len(text) - len(short)
        self._left -= len(short)
        return masked(short, self._how, self._salt)

    def _part(self, part: Mapping[str, Any]) -> dict[str, Any]:
        text = part.get("text")
        told = {"text": self._text(text)} if isinstance(text, str) else {}
        return {"type": _known(part.get("type", "text"), PARTS), **told}

    def _call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        function = call.get("function")
        function = function if isinstance(function, Mapping) else {}
        told = {name: self._text(str(function[name])) for name in ("name", "arguments") if name in function}
        return {"type": "function", "function": {"name": "", **told}}


def _known(word: Any, words: frozenset[str]) -> str:
    return word if isinstance(word, str) and word in words else OTHER
