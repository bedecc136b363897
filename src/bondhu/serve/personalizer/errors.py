"""Errors as Azure AI Personalizer told them: `{"error": {"code": …, "message": …}}`."""

from __future__ import annotations

from bondhu.errors import BondhuError, DuplicateId, InvalidInput, TooManyRequests, Unauthorized
from bondhu.serve.messages import TooLarge
from bondhu.serve.personalizer.messages import ErrorResponse, Trouble
from bondhu.serve.replies import Headers, refused


class NoSuchEvent(BondhuError):
    """There is no such event. Send the eventId that the rank came with."""

    status = 404


class NotHere(BondhuError):
    """This cannot be done by this call. Use Bondhu's own commands."""

    status = 400


def told(error: Exception, code: str) -> tuple[int, ErrorResponse, Headers]:
    """Status, body and headers; `code` is what the service said of input it could not take on this route."""
    status, problem, headers = refused(error)
    message = f"{problem.detail} {problem.fix}".strip()
    return _status(error, status), ErrorResponse(Trouble(_code(error, status, code), message, problem.field)), headers


def _status(error: Exception, status: int) -> int:
    """The service said 400 of all input it did not understand."""
    kept = isinstance(error, TooLarge | DuplicateId) or not isinstance(error, InvalidInput)
    return status if kept else 400


def _code(error: Exception, status: int, code: str) -> str:
    if isinstance(error, TooLarge):
        return "PayloadSizeExceeded"
    if isinstance(error, NoSuchEvent):
        return "ResourceNotFound"
    if isinstance(error, NotHere):
        return "OperationNotAllowed"
    if isinstance(error, InvalidInput):
        return code
    if isinstance(error, Unauthorized | TooManyRequests):
        return str(status)  # said by the gateway in front of the service
    return "InternalServerError" if status >= 500 else str(status)
