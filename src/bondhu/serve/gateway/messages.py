"""/v1/chat/completions as far as it has to be understood; whatever else a request says goes on to the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from bondhu.errors import InvalidInput
from bondhu.serve.decide import ANSWER
from bondhu.serve.messages import LONGEST_ID, Malformed, mistake
from bondhu.serve.replies import Headers

ID = ANSWER  # what the id of an answer begins with; the rest is the id of its decision
USER, SESSION = b"x-bondhu-user", b"x-bondhu-session"
MOST_MESSAGES = 10_000
Tokens = Annotated[int, Meta(ge=0, le=1 << 40)]


Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class Spoken(msgspec.Struct, frozen=True):
    """One message."""

    role: Role
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None


class Options(msgspec.Struct, frozen=True):
    """How a stream is told."""

    include_usage: bool | None = None


class Chat(msgspec.Struct, frozen=True):
    """The body of a request."""

    messages: Annotated[list[Spoken], Meta(min_length=1, max_length=MOST_MESSAGES)]
    model: str | None = None  # the strategy says which one answers
    stream: bool | None = None
    stream_options: Options | None = None
    n: int | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    tools: list[dict[str, Any]] | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None


class Asked(NamedTuple):
    """A request, understood."""

    body: dict[str, Any]  # as it came
    chat: Chat
    size: int  # bytes of the body
    user: str | None
    session: str | None  # as the application names it

    @property
    def streamed(self) -> bool:
        return bool(self.chat.stream)

    @property
    def wants_usage(self) -> bool:
        """Whether whoever asks wants to see the usage of a stream."""
        return bool(self.chat.stream_options and self.chat.stream_options.include_usage)

    @property
    def limit(self) -> int | None:
        """Tokens that the answer may have; of two limits nobody knows which one the model takes."""
        return max(self.chat.max_tokens or 0, self.chat.max_completion_tokens or 0) or None


Reading = Callable[[bytes, Headers], Asked]  # understands a body; raises InvalidInput


def read(body: bytes, headers: Headers) -> Asked:
    """The request of a body; raises InvalidInput."""
    return understood(plain_of(body), len(body), headers)


def understood(plain: dict[str, Any], size: int, headers: Headers) -> Asked:
    """The request of a body that is plain data, and has so many bytes; raises InvalidInput."""
    try:
        chat = msgspec.convert(plain, Chat)
    except msgspec.ValidationError as error:
        raise mistake(error, Chat) from None
    if chat.n not in (None, 1):
        what = f"The field 'n' is {chat.n}, and each answer has a decision of its own."
        fix = "Leave it out: `samples` of a strategy asks for several answers, and its judge takes the best."
        raise InvalidInput(what, field="n", value=chat.n, fix=fix)
    metadata = chat.metadata or {}
    user = _named(headers, USER) or chat.user or chat.safety_identifier
    session = _named(headers, SESSION) or metadata.get("session")
    return Asked(plain, chat, size, _text("user", user), _text("session", session))


def plain_of(body: bytes) -> dict[str, Any]:
    """A body as plain data; raises InvalidInput."""
    try:
        plain = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"The body is not JSON that can be read: {error}.", fix="Send one JSON object.") from None
    if not isinstance(plain, dict):
        raise InvalidInput("The body is not an object.", fix='Send one such as {"model": "…", "messages": […]}.')
    return plain


def written(body: Mapping[str, Any]) -> bytes:
    """A body for a model; raises InvalidInput for what came as JSON and cannot be written again."""
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        what = f"The body holds something that cannot be sent on: {error}."
        raise InvalidInput(what, fix="Send numbers of 64 bits, and fewer levels.") from None


def texts(content: Any) -> Iterator[str]:
    """The texts of a message's content: one, or those of its parts."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Sequence):
        yield from (part["text"] for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str))


def of_users(messages: Sequence[Any]) -> list[str]:
    """What users wrote, message by message."""
    return [
        " ".join(texts(each.get("content")))
        for each in messages
        if isinstance(each, Mapping) and each.get("role") == "user"
    ]


def _named(headers: Headers, name: bytes) -> str | None:
    found = next((value for key, value in headers if key == name), None)
    return None if found is None else found.decode("utf-8", "replace") or None


def _text(name: str, value: Any) -> str | None:
    if value is None or (isinstance(value, str) and 0 < len(value) <= LONGEST_ID and value.isprintable()):
        return value
    fix = f"It must be a text of 1 to {LONGEST_ID} printable characters."
    raise InvalidInput(f"The field {name!r} is {repr(value)[:80]}.", field=name, value=value, fix=fix)
