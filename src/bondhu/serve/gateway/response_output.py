"""A chat completion as a `response` of OpenAI's Responses API: its items, its usage, and what was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bondhu.serve.decide import RESPONSE
from bondhu.serve.gateway.response_input import Plain
from bondhu.serve.gateway.streaming import LONGEST_NAME, paired

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}  # by reason to finish
ECHOED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "user": None,
}  # fields of the request that the answer repeats, and what they are where nobody says


class Told(NamedTuple):
    """What is said beside the items of an answer."""

    decision: str  # id
    asked: Plain  # the body of the request
    created: float = 0  # Unix time
    model: str = ""

    def response(self, status: str, output: Sequence[Plain], **more: Any) -> Plain:
        """The whole object; `more`: `usage`, `error`, `incomplete_details`."""
        asked = {name: usual if self.asked.get(name) is None else self.asked[name] for name, usual in ECHOED.items()}
        return {
            "id": RESPONSE + self.decision,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "model": self.model,
            "output": list(output),
            "previous_response_id": None,
            "store": False,
            "truncation": "disabled",
            "usage": None,
            **asked,
            **more,
        }

    def ended(self, finish: Any, output: Sequence[Plain], usage: Any) -> Plain:
        """The object of an answer that is there, whole or cut."""
        reason = cut(finish)
        if reason is None:
            return self.response("completed", output, usage=counted(usage))
        return self.response("incomplete", output, usage=counted(usage), incomplete_details={"reason": reason})

    def item(self, kind: str, number: int) -> str:
        """The id of an item."""
        return f"{kind}_{self.decision}_{number}"

    def begun(self, chat: Mapping[str, Any]) -> Told:
        """With what a chat completion, or the first piece of one, says of itself."""
        created, model = chat.get("created"), paired(_text(chat.get("model"))[:LONGEST_NAME])
        created = created if isinstance(created, int | float) and not isinstance(created, bool) else 0
        return self._replace(created=created, model=model)


def cut(finish: Any) -> str | None:
    """Why an answer is not whole, by its reason to finish; None where it is."""
    return INCOMPLETE.get(finish) if isinstance(finish, str) else None


def whole(told: Told, chat: Mapping[str, Any]) -> Plain:
    """The response that says what a chat completion says."""
    told, choice = told.begun(chat), chat["choices"][0]
    finish, message = choice.get("finish_reason"), choice["message"]
    status = "incomplete" if cut(finish) else "completed"
    parts = [
        part(kind, text)
        for kind, text in (("output_text", message.get("content")), ("refusal", message.get("refusal")))
        if isinstance(text, str) and text
    ]
    output = [spoken(told.item("msg", 0), parts, status)] if parts else []
    calls = message.get("tool_calls")
    for each in calls if isinstance(calls, list) else ():
        function = each.get("function") if isinstance(each, dict) else None
        if isinstance(function, dict):
            output.append(called(told, len(output), {**function, "id": each.get("id")}, status))
    return told.ended(finish, output, chat.get("usage"))


def spoken(identity: str, parts: Sequence[Plain], status: str) -> Plain:
    """The item of a message."""
    return {"id": identity, "type": "message", "status": status, "role": "assistant", "content": list(parts)}


def part(kind: str, text: str) -> Plain:
    """A part of a message: "output_text" or "refusal"."""
    if kind == "refusal":
        return {"type": kind, "refusal": text}
    return {"type": kind, "text": text, "annotations": [], "logprobs": []}


def called(told: Told, number: int, call: Mapping[str, Any], status: str) -> Plain:
    """The item of a call: of `id`, `name` and `arguments` as the model gives them."""
    identity = told.item("fc", number)
    return {
        "id": identity,
        "type": "function_call",
        "status": status,
        "call_id": _text(call.get("id")) or identity,
        "name": _text(call.get("name")),
        "arguments": _text(call.get("arguments")),
    }


def counted(usage: Any) -> Plain | None:
    """The usage in the Responses API's words; None where the upstream tells none."""
    if not isinstance(usage, Mapping):
        return None
    given, made = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    before, within = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return {
        "input_tokens": given,
        "input_tokens_details": {name: _count(before, name) for name in ("cached_tokens", "cache_write_tokens")},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": _count(within, "reasoning_tokens")},
        "total_tokens": given + made,
        **({"estimated": True} if usage.get("estimated") else {}),
    }


def _count(usage: Any, name: str) -> int:
    number = usage.get(name) if isinstance(usage, Mapping) else None
    return number if type(number) is int else 0


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
