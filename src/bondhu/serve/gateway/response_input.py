"""A request of OpenAI's Responses API as a chat: what it says is said in messages, and what no chat can is refused.

Every upstream speaks chat completions, and the policy sees a conversation; so a response is asked for as a chat, and
everything behind this file is the chat route's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from bondhu.errors import InvalidInput, nearest
from bondhu.serve.gateway.messages import MOST_MESSAGES, Role, Tokens
from bondhu.serve.messages import mistake

Plain = dict[str, Any]
Kind = TypeVar("Kind", bound=msgspec.Struct)


class Reasoning(msgspec.Struct, frozen=True):
    """How much is thought first."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class Text(msgspec.Struct, frozen=True):
    """Which shape the answer's text has."""

    format: Plain | None = None
    verbosity: str | None = None


class Body(msgspec.Struct, frozen=True):
    """The body of a request, as far as it is not passed on as it is."""

    input: str | Annotated[list[Plain], Meta(min_length=1, max_length=MOST_MESSAGES)]
    model: str | None = None  # the strategy says which one answers
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Tokens | None = None
    metadata: Plain | None = None
    user: str | None = None
    safety_identifier: str | None = None
    tools: list[Plain] | None = None
    tool_choice: str | Plain | None = None
    reasoning: Reasoning | None = None
    text: Text | None = None
    include: list[str] | None = None
    store: bool | None = None
    background: bool | None = None


class Said(msgspec.Struct, frozen=True):
    """A message among the items."""

    role: Role
    content: str | list[Plain]


class Called(msgspec.Struct, frozen=True):
    """A call of a function that the model asked for before."""

    call_id: str
    name: str
    arguments: str


class CameOut(msgspec.Struct, frozen=True):
    """What came of that call."""

    call_id: str
    output: str | list[Plain]


class Function(msgspec.Struct, frozen=True):
    """A tool of the application's own."""

    name: str
    description: str | None = None
    parameters: Plain | None = None
    strict: bool | None = None


class Shape(msgspec.Struct, frozen=True):
    """A schema that the answer's text keeps to."""

    name: str
    schema: Plain | None = None
    description: str | None = None
    strict: bool | None = None


ALONE = "Send the conversation whole in 'input', the answers before with it: nothing of it is kept to go on from."
UNSERVED = {
    "previous_response_id": ALONE,
    "conversation": ALONE,
    "prompt": "Send the text itself in 'instructions' and 'input': templates are kept nowhere.",
    "context_management": "Shorten 'input' yourself.",
    "moderation": "Leave it out.",
    "top_logprobs": "Leave it out, or use /v1/chat/completions.",
}  # fields that say something which no chat can, and what to do instead
UNSERVED_WHERE: Mapping[str, tuple[Any, str]] = {
    "store": (True, "Leave it out: answers cannot be fetched again here."),
    "background": (True, "Leave it out, and wait for the answer or stream it."),
    "truncation": ("auto", "Leave it out, and shorten 'input' yourself."),
}  # likewise, with that value
OWN = frozenset(Body.__struct_fields__) | UNSERVED.keys() | UNSERVED_WHERE.keys() | {"max_tool_calls", "stream_options"}
SAME = ("model", "stream", "metadata", "user", "safety_identifier")  # in both protocols
INCLUDED = ("reasoning.encrypted_content",)  # there is none; asked for by clients that send it back where it is
CHOICES = ("none", "auto", "required")


def understood(plain: Plain) -> tuple[Body, Plain]:
    """A body, and the chat that asks for the same; raises InvalidInput."""
    for name, instead in UNSERVED.items():
        if plain.get(name) not in (None, 0):
            raise unserved(name, plain[name], instead)
    for name, (value, instead) in UNSERVED_WHERE.items():
        if plain.get(name) == value:
            raise unserved(name, value, instead)
    body = shaped(plain, Body)
    for number, name in enumerate(body.include or ()):
        if name not in INCLUDED:
            raise unserved(f"include[{number}]", name, "Leave it out.")
    chat = {name: value for name, value in plain.items() if name not in OWN}  # such as `temperature`: as in a chat
    chat |= {name: plain[name] for name in SAME if plain.get(name) is not None}
    chat["messages"] = messages(body)
    if body.stream:
        chat["stream_options"] = {"include_usage": True}  # the last event tells it, always
    return body, chat | _limits(body) | _shapes(body) | _tools(body)


def unserved(field: str, value: Any, instead: str) -> InvalidInput:
    shown = repr(value[:80] if isinstance(value, str) else value)[:80]
    return InvalidInput(f"The field {field!r} is {shown}, which is not served here.", field=field, value=value,
                        fix=instead)  # fmt: skip


def shaped(plain: Any, shape: type[Kind], where: str = "") -> Kind:
    """Plain data as a record; an error names the field below `where`."""
    try:
        return msgspec.convert(plain, shape)
    except msgspec.ValidationError as error:
        wrong = mistake(error, shape)
        field = ".".join(each for each in (where, wrong.field) if each) or None
        raise InvalidInput(wrong.what, field=field, value=wrong.value, fix=wrong.fix) from None


# ---------------------------------------------------------------------------------------------------------------- input


def messages(body: Body) -> list[Plain]:
    """What is said, as messages: instructions first; calls and the text before them are one message of the model's."""
    said: list[Plain] = [{"role": "system", "content": body.instructions}] if body.instructions else []
    if isinstance(body.input, str):
        return [*said, {"role": "user", "content": body.input}]
    before = len(said)
    for number, item in enumerate(body.input):
        where = f"input[{number}]"
        kind = item.get("type", "message")
        taken = ITEMS.get(kind) if isinstance(kind, str) else None
        if taken is None:
            fix = (
                f"{nearest(str(kind), ITEMS)} Other items stand for what is kept, or was done, on a server of OpenAI's."
            )
            raise unserved(f"{where}.type", kind, fix)
        taken(item, where, said)
    if len(said) == before:
        raise InvalidInput("The field 'input' has no message.", field="input", fix="Add what the user says.")
    return said


def _message(item: Plain, where: str, said: list[Plain]) -> None:
    message = shaped(item, Said, where)
    said.append({"role": message.role, "content": _content(message.content, f"{where}.content")})


def _call(item: Plain, where: str, said: list[Plain]) -> None:
    call = shaped(item, Called, where)
    function = {"name": call.name, "arguments": call.arguments}
    if not said or said[-1]["role"] != "assistant":
        said.append({"role": "assistant", "content": None})
    said[-1].setdefault("tool_calls", []).append({"id": call.call_id, "type": "function", "function": function})


def _output(item: Plain, where: str, said: list[Plain]) -> None:
    came = shaped(item, CameOut, where)
    said.append({"role": "tool", "tool_call_id": came.call_id, "content": _content(came.output, f"{where}.output")})


def _thought(item: Plain, where: str, said: list[Plain]) -> None:
    """What another model thought is of no use to this one."""


ITEMS: Mapping[str, Callable[[Plain, str, list[Plain]], None]] = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _output,
    "reasoning": _thought,
}


def _content(content: str | list[Plain], where: str) -> str | list[Plain]:
    """The content of a message of a chat; one text alone as a text, which every model's server takes."""
    if isinstance(content, str):
        return content
    parts = [_part(part, f"{where}[{number}]") for number, part in enumerate(content)]
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _part(part: Plain, where: str) -> Plain:
    kind = part.get("type")
    if kind in ("input_text", "output_text", "text"):
        return {"type": "text", "text": _text(part, "text", where)}
    if kind == "refusal":
        return {"type": "refusal", "refusal": _text(part, "refusal", where)}
    if kind in ("input_image", "input_file") and part.get("file_id"):
        raise unserved(f"{where}.file_id", part["file_id"], "Send what is in it: no files are kept here.")
    if kind == "input_image":
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": _text(part, "image_url", where), **detail}}
    if kind == "input_file":
        named = {"filename": part["filename"]} if part.get("filename") else {}
        return {"type": "file", "file": {"file_data": _text(part, "file_data", where), **named}}
    raise unserved(
        f"{where}.type", kind, nearest(str(kind), ("input_text", "output_text", "input_image", "input_file"))
    )


def _text(part: Plain, name: str, where: str) -> str:
    text = part.get(name)
    if not isinstance(text, str):
        what = f"The field {name!r} is {repr(text)[:80]}." if name in part else f"The field {name!r} is missing."
        raise InvalidInput(what, field=f"{where}.{name}", value=text, fix="It must be a text.")
    return text


# -------------------------------------------------------------------------------------------------------------- options


def _limits(body: Body) -> Plain:
    """How much may be said, and thought. As for strategies, servers that know of effort know the newer name."""
    effort = body.reasoning.effort if body.reasoning else None
    for name in ("summary", "generate_summary"):
        if (summary := getattr(body.reasoning, name, None)) not in (None, "auto"):
            raise unserved(f"reasoning.{name}", summary, "Leave it out: what a model thinks is not passed on.")
    said: Plain = {} if effort is None else {"reasoning_effort": effort}
    if body.max_output_tokens is not None:
        said["max_tokens" if effort is None else "max_completion_tokens"] = body.max_output_tokens
    return said


def _shapes(body: Body) -> Plain:
    text = body.text or Text()
    said: Plain = {} if text.verbosity is None else {"verbosity": text.verbosity}
    format_ = text.format or {"type": "text"}
    kind = format_.get("type")
    if kind == "json_object":
        return {**said, "response_format": {"type": kind}}
    if kind == "json_schema":
        return {**said, "response_format": {"type": kind, "json_schema": _known(shaped(format_, Shape, "text.format"))}}
    if kind != "text":
        fix = nearest(str(kind), ("text", "json_object", "json_schema"))
        raise unserved("text.format.type", kind, fix)
    return said


def _tools(body: Body) -> Plain:
    said: Plain = {}
    if body.tools is not None:
        said["tools"] = [_tool(tool, f"tools[{number}]") for number, tool in enumerate(body.tools)]
    choice = body.tool_choice
    if isinstance(choice, str):
        if choice not in CHOICES:
            raise unserved("tool_choice", choice, nearest(choice, CHOICES))
        said["tool_choice"] = choice
    elif choice is not None:
        if choice.get("type") != "function":
            fix = 'Choose "none", "auto", "required" or {"type": "function", "name": "…"}.'
            raise unserved("tool_choice.type", choice.get("type"), fix)
        said["tool_choice"] = {"type": "function", "function": {"name": _text(choice, "name", "tool_choice")}}
    return said


def _tool(tool: Plain, where: str) -> Plain:
    if tool.get("type") != "function":
        fix = 'Send tools of the type "function", and do in your application what this one does.'
        raise unserved(f"{where}.type", tool.get("type"), fix)
    return {"type": "function", "function": _known(shaped(tool, Function, where))}


def _known(record: msgspec.Struct) -> Plain:
    """The fields of a record that say something."""
    return {name: value for name, value in msgspec.structs.asdict(record).items() if value is not None}
