"""What went wrong, and what was done, as pages say it."""

from __future__ import annotations

from difflib import get_close_matches

from bondhu.dashboard.layout import link, status
from bondhu.dashboard.page import Asked, Page
from bondhu.dashboard.web.drawing import VIEWS
from bondhu.errors import BondhuError, UnknownName
from bondhu.report.markup import joined

TITLES = {
    401: "Log in first",
    403: "Not allowed",
    404: "Not found",
    405: "Not this way",
    409: "Something changed meanwhile",
    422: "This cannot be read",
    429: "Too many requests",
    503: "Not now",
}  # by status
DONE = {
    "release": "The release has begun.",
    "promote": "The version is live: it decides for everybody.",
    "rollback": "The version before is live again.",
    "withdraw": "The release is ended.",
    "stop": "The rule decides for everybody, and nothing is released by itself until somebody promotes or releases.",
    "training": "The training is under way: what comes of it will stand below.",
    "completed": "The training is done, and there is a new candidate.",
    "skipped": "The training is done: there was too little to learn from, so that there is no new candidate.",
}  # by what `?done=` says


class NotTaken(BondhuError):
    """This address does not take requests of this kind."""

    status = 405


def lost(path: str) -> UnknownName:
    """There is nothing at this address."""
    return UnknownName("There is no page at this address.", field="path", value=path)


def page_of(asked: Asked, error: BondhuError) -> Page:
    """The page of an error that was foreseen."""
    nearest = get_close_matches(asked.path, VIEWS, 1, 0.0)[0] if error.status == 404 else "/"
    words = {"/": "the overview"}.get(nearest, f"the page {VIEWS[nearest]}")
    more = [link(f"Go to {words}", asked.link(nearest))]
    said = status("error", error.what, *([joined([error.fix])] if error.fix else []), *more)
    return Page(TITLES.get(error.status, "This did not work"), [said], status=error.status, follows=False)


def unforeseen(request: str) -> BondhuError:
    """What is told of an error that nobody foresaw: where to read of it."""
    return BondhuError(f"The server failed. Its log says why, at request {request}.", fix="Tell whoever runs it.")
