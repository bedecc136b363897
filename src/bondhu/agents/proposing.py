"""Who proposes programs: a list, for tests and demonstrations, or a language model behind an endpoint that speaks
OpenAI's protocol, through the official client (extra `coding`).

Text goes out and text comes back, so that closed models serve as well as one's own. A model that cannot be reached, or
that answers prose, is an outcome and costs what it costs; only settings that cannot work are errors.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from bondhu.agents.budget import Price, Use, price_of
from bondhu.agents.conversation import LONGEST_REPLY, Ask, messages, program_in, tests_in
from bondhu.catalogue import made, require
from bondhu.errors import InvalidInput, SettingsInvalid

EXTRA = "Install it with `pip install 'bondhu[coding]'`."
FRAME = 16  # tokens that a protocol may put around one message, generously


class Proposal(NamedTuple):
    """One reply, read."""

    source: str | None  # the program; of those who were asked for tests, the tests; None: no proposal
    text: str  # the reply itself, cut


class Proposed(NamedTuple):
    """What came of asking."""

    proposals: tuple[Proposal, ...]
    use: Use
    problem: str = ""  # why there are fewer than were wanted: "rate limited: …", "timed out: …", …

    @property
    def sources(self) -> tuple[str, ...]:
        """The programs, each once, in order."""
        return tuple(dict.fromkeys(each.source for each in self.proposals if each.source is not None))


class Proposer(Protocol):
    """Somebody who proposes programs."""

    @property
    def name(self) -> str: ...

    def most(self, ask: Ask) -> Use:
        """The most that asking this can cost; seconds are not known."""

    def propose(self, ask: Ask) -> Proposed:
        """Ask. Raises SettingsInvalid where it can never work, such as without a key."""


def read(reply: str, ask: Ask) -> Proposal:
    """The proposal in a reply."""
    source = tests_in(reply) or None if ask.strategy == "tests_first" else program_in(reply, ask.task.entry)
    return Proposal(source, reply[:LONGEST_REPLY])


@dataclass(frozen=True)
class Scripted:
    """Answers from a list: the first reply to the first sample, and so on; after the last, from the first again."""

    name: str
    replies: Sequence[str] | Callable[[Ask], Sequence[str]]
    cost: Use = Use()  # of one sample

    def most(self, ask: Ask) -> Use:
        return self.cost.times(ask.samples)

    def propose(self, ask: Ask) -> Proposed:
        replies = self.replies if isinstance(self.replies, Sequence) else self.replies(ask)
        chosen = [replies[(ask.seed + sample) % len(replies)] for sample in range(ask.samples)] if replies else []
        return Proposed(tuple(read(reply, ask) for reply in chosen), self.cost.times(ask.samples))


@dataclass(frozen=True)
class Endpoint:
    """Where a model answers, as a table of the settings."""

    model: str
    base_url: str = "https://api.openai.com/v1"
    key_from: str = "OPENAI_API_KEY"  # the environment variable that holds the key; "": none is needed
    timeout: float = 60.0  # seconds for one answer, from sending to its last byte
    retries: int = 2  # after 429, 5xx and broken connections, waiting as the server says or longer each time
    answer_tokens: int = 2048  # at most, for each sample
    answer_limit: str = "max_tokens"  # how the server calls that; newer models: "max_completion_tokens"
    temperature: float = 0.8  # 0: the same program every time
    seeded: bool = True  # send a seed; not every server takes one
    largest_reply: int = 4096  # KiB read of one reply; the rest is not taken
    prices: Mapping[str, Price] = field(default_factory=dict)  # by model

    def __post_init__(self) -> None:
        require(self, 0.001, 86_400.0, "timeout")
        require(self, 0, 100, "retries")
        require(self, 1, 10_000_000, "answer_tokens", "largest_reply")
        require(self, 0.0, 2.0, "temperature")
        if not self.base_url.startswith(("http://", "https://")):
            fix = 'Write an address such as "http://localhost:8000/v1".'
            raise InvalidInput(f"'base_url' got {self.base_url!r}.", field="base_url", value=self.base_url, fix=fix)


class _Refused(Exception):
    """No reply, or one that is not taken; the message says why, `use` what may have to be paid all the same."""

    def __init__(self, why: str, use: Use | None = None) -> None:
        self.use = use or Use()
        super().__init__(why)


class _Reply(NamedTuple):
    texts: tuple[str, ...]
    use: Use


@dataclass(frozen=True)
class LanguageModel:
    """A model behind an endpoint."""

    name: str
    endpoint: Endpoint
    clock: Callable[[], float] = time.monotonic

    def most(self, ask: Ask) -> Use:
        """No tokeniser makes more tokens than a text has bytes (byte-level pairs only merge), so this is never less
        than what is paid, as long as the server keeps to `answer_tokens`. Where it ignores `samples` and gives one
        reply a call, the prompt is sent, and paid, for each."""
        return self._bound(messages(ask), 1).times(ask.samples)

    def propose(self, ask: Ask) -> Proposed:
        began, texts, use, problem = self.clock(), list[str](), Use(), ""
        while len(texts) < ask.samples and not problem:
            wanted = ask.samples - len(texts) if not texts else 1  # who gave fewer than asked for gives one at a time
            try:
                reply = self._reply(ask, wanted, seed=ask.seed + len(texts))
            except _Refused as refused:
                use, problem = use.plus(refused.use), str(refused)
            else:
                texts += reply.texts[:wanted]
                use, problem = use.plus(reply.use), "" if reply.texts else "malformed: a reply without a choice"
        use = use._replace(seconds=self.clock() - began)
        return Proposed(tuple(read(text, ask) for text in texts), use, problem)

    @property
    def _price(self) -> Price:
        return price_of(self.endpoint.model, self.endpoint.prices)

    @cached_property
    def _client(self) -> Any:
        try:
            import openai
        except ImportError as error:
            raise SettingsInvalid("There is no package `openai`.", field="openai", fix=EXTRA) from error
        of = self.endpoint
        key = os.environ.get(of.key_from, "") if of.key_from else "none"
        if not key:
            fix = f"Set the environment variable {of.key_from}, or key_from to the one that holds the key."
            raise SettingsInvalid(f"No key for {of.base_url}.", field="key_from", value=of.key_from, fix=fix)
        return openai.OpenAI(base_url=of.base_url, api_key=key, timeout=of.timeout, max_retries=of.retries)

    def _reply(self, ask: Ask, samples: int, seed: int) -> _Reply:
        client = self._client
        import openai

        of = self.endpoint
        asked: dict[str, Any] = {"model": of.model, "messages": messages(ask), "n": samples,
                                 "temperature": of.temperature, of.answer_limit: of.answer_tokens}  # fmt: skip
        if of.seeded:
            asked["seed"] = seed
        try:
            with client.chat.completions.with_streaming_response.create(**asked) as response:
                # From here on there is an answer: what becomes of it, it may have to be paid.
                body = self._body(response.iter_bytes(), self._bound(asked["messages"], samples))
        except openai.OpenAIError as error:
            raise _Refused(self._words(error)) from error
        return self._understood(body, asked)

    def _bound(self, asked: Sequence[Mapping[str, str]], samples: int) -> Use:
        given, answered = _bytes(asked), self.endpoint.answer_tokens * samples
        return Use(self._price.of(given, answered), given + answered)

    def _body(self, pieces: Iterator[bytes], bound: Use) -> bytes:
        """The reply, read piece by piece: one that floods or drips is left where it is."""
        body, until = bytearray(), self.clock() + self.endpoint.timeout
        while (piece := _next(pieces, bound)) is not None:
            body += piece
            if len(body) > self.endpoint.largest_reply * 1024:
                raise _Refused(f"too long: a reply of more than {self.endpoint.largest_reply} KiB", bound)
            if self.clock() > until:
                raise _Refused(f"timed out: no whole reply within {self.endpoint.timeout:g} s", bound)
        return bytes(body)

    def _words(self, error: Any) -> str:
        """Why the client gave up. Raises SettingsInvalid for what no repetition mends."""
        import openai

        of = self.endpoint
        if isinstance(error, openai.APITimeoutError):
            return f"timed out: no answer within {of.timeout:g} s, {of.retries} retries"
        if isinstance(error, openai.RateLimitError):
            wait = error.response.headers.get("retry-after", "")
            quota = "the account has no money left" if getattr(error, "code", None) == "insufficient_quota" else ""
            return f"rate limited: {quota or (f'again in {wait} s' if wait else 'ask less often')}"
        if isinstance(error, openai.APIStatusError):
            if error.status_code in (401, 403, 404):
                fix = "Look at base_url, model and the key that key_from names."
                what = f"{of.base_url} refused the model {of.model!r} with status {error.status_code}."
                raise SettingsInvalid(what, field="base_url", value=of.base_url, fix=fix) from None
            return f"server error: status {error.status_code}"
        return "unreachable: no connection" if isinstance(error, openai.APIConnectionError) else "malformed: no JSON"

    def _understood(self, body: bytes, asked: Mapping[str, Any]) -> _Reply:
        try:
            answer = json.loads(body)
            texts = tuple(_text(choice) for choice in answer["choices"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            bound = self._bound(asked["messages"], asked["n"])
            raise _Refused("malformed: not a chat completion in JSON", bound) from error
        given, answered, again = _tokens(answer.get("usage"), asked["messages"], texts)
        return _Reply(texts, Use(self._price.of(given, answered, again), given + answered))


def _next(pieces: Iterator[bytes], bound: Use) -> bytes | None:
    """The next piece of a body; None at its end."""
    try:
        return next(pieces, None)
    except Exception as error:  # which exceptions, depends on the HTTP library under the client
        kind = type(error).__name__
        why = "timed out: the reply stopped in the middle" if "Timeout" in kind else f"unreachable: {kind} in the reply"
        raise _Refused(why, bound) from error


def _bytes(asked: Sequence[Mapping[str, str]]) -> int:
    return sum(len(each["content"].encode("utf-8", "replace")) + FRAME for each in asked)


def _text(choice: Mapping[str, Any]) -> str:
    content = choice["message"].get("content")
    if not isinstance(content, str):
        return ""  # None: it refused, or called a tool
    return content.encode("utf-8", "replace").decode()  # JSON can say halves of characters, which no file can hold


def _tokens(usage: Any, asked: Sequence[Mapping[str, str]], texts: Sequence[str]) -> tuple[int, int, int]:
    """Tokens of the prompt, of the replies, and of the prompt those seen before. Where the server does not say, or says
    what cannot be, as many as there are bytes: never less than were used."""
    usage = usage if isinstance(usage, Mapping) else {}
    details = usage.get("prompt_tokens_details")
    again = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    given, answered = _counted(usage.get("prompt_tokens")), _counted(usage.get("completion_tokens"))
    given = _bytes(asked) if given is None else given
    if answered is None:
        answered = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return given, answered, min(_counted(again) or 0, given)


def _counted(number: Any) -> int | None:
    return number if type(number) is int and number >= 0 else None


def endpoint(table: Mapping[str, Any], prices: Mapping[str, Price]) -> Endpoint:
    """An endpoint from a table of the settings, and the table of prices. Raises InvalidInput naming what is wrong."""
    for name in ("api_key", "key"):
        if name in table:
            fix = "Put it into the environment, and the variable's name into key_from."
            raise SettingsInvalid("A key does not belong into the settings.", field=name, fix=fix)
    if "model" not in table:
        raise SettingsInvalid("An endpoint needs a model.", field="model", fix='Write model = "…".')
    made_of: Endpoint = made(Endpoint, "an endpoint", table, {})
    return replace(made_of, prices=prices)
