"""What goes wrong, in the shape in which OpenAI's clients know errors."""

from __future__ import annotations

from typing import Any

import msgspec

from bondhu.errors import TooManyRequests
from bondhu.serve.replies import Headers, encode, refused

LONGEST = 500  # characters of an upstream's own words
FINAL = ((b"x-should-retry", b"false"),)  # a client of OpenAI's then does not send it again by itself
TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Trouble(msgspec.Struct, frozen=True):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class Wrong(msgspec.Struct, frozen=True):
    """The body of every error of the gateway."""

    error: Trouble


class OverBudget(TooManyRequests):
    """The day's budget is spent. Ask again tomorrow, or raise [gateway] dollars_per_day."""


class Failure(Exception):
    """An upstream gave no answer that can be used."""

    def __init__(
        self,
        what: str,
        code: str,
        status: int = 502,
        *,
        retry_after: float | None = None,
        told: Trouble | None = None,
    ) -> None:
        """`code`: what kind of failure; `status`: for whoever asked; `told`: the upstream's own words, where they are
        meant for them."""
        super().__init__(what)
        self.what, self.code, self.status, self.retry_after, self.told = what, code, status, retry_after, told

    @property
    def again(self) -> bool:
        """Whether the same upstream may do better a moment later."""
        return self.code in AGAIN

    @property
    def elsewhere(self) -> bool:
        """Whether another upstream may do better: not where the request itself is at fault."""
        return self.code != REFUSED

    @property
    def sick(self) -> bool:
        """Whether it counts against the upstream's health."""
        return self.code in SICK


REFUSED = "upstream_refused"  # a status 4xx that is the request's own fault
UNREACHABLE, TIMEOUT, BROKEN = "upstream_unreachable", "upstream_timeout", "upstream_broken"
MALFORMED, FAILED, BUSY = "upstream_malformed", "upstream_failed", "upstream_busy"
KEY, OPEN = "upstream_key", "upstream_resting"
AGAIN = frozenset({UNREACHABLE, BROKEN, MALFORMED, FAILED, BUSY})  # whoever was too slow would be too slow again
REACHED = frozenset({TIMEOUT, BROKEN})  # the model may be at work, and be paid, though nothing came of it
SICK = frozenset({UNREACHABLE, TIMEOUT, BROKEN, MALFORMED, FAILED, KEY})


def told(error: Exception) -> tuple[int, Wrong, Headers]:
    """Status, body and headers."""
    if isinstance(error, Failure):
        wait = () if error.retry_after is None else ((b"retry-after", b"%d" % max(1, round(error.retry_after))),)
        trouble = error.told or Trouble(error.what, "upstream_error", None, error.code)
        return error.status, Wrong(trouble), wait
    status, problem, headers = refused(error)
    status = 400 if status == 422 else status
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    code = "invalid_api_key" if status == 401 else problem.code
    if isinstance(error, OverBudget):
        kind, headers = "insufficient_quota", (*headers, *FINAL)
    return status, Wrong(Trouble(f"{problem.detail} {problem.fix}".strip(), kind, problem.field, code)), headers


def event(error: Exception) -> bytes:
    """The same inside of a stream that has begun."""
    return b"data: " + encode(told(error)[1]) + b"\n\n"


def words(body: Any, status: int, secrets: tuple[str, ...]) -> Trouble:
    """What an upstream says is wrong with a request, cut, and without its keys."""
    inner = body.get("error") if isinstance(body, dict) else None
    given = inner if isinstance(inner, dict) else {"message": inner if isinstance(inner, str) else None}
    if not isinstance(inner, dict | str) and isinstance(body, dict):
        given = {"message": body.get("message") or body.get("detail")}
    message = _clean(given.get("message"), secrets) or f"The upstream refused this with status {status}."
    kind = _clean(given.get("type"), secrets) or TYPES.get(status, "invalid_request_error")
    return Trouble(message, kind, _clean(given.get("param"), secrets), _clean(given.get("code"), secrets) or REFUSED)


def _clean(value: Any, secrets: tuple[str, ...]) -> str | None:
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        return None
    text = str(value)
    for each in secrets:
        text = text.replace(each, "…")
    return text[:LONGEST]
