"""The way of a version from candidate to live, and where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bondhu.report.markup import Markup, tag
from bondhu.report.words import percent


class Rung(NamedTuple):
    """One step of the way."""

    name: str
    says: str | Markup = ""  # what is known of it, such as since when


def rungs(shadow: bool, steps: Sequence[float]) -> list[str]:
    """The names of all steps: the candidate, the shadow where there is one, the shares of the people, everybody."""
    shares = [f"trial at {percent(share)}" for share in steps if share < 1]
    return ["candidate", *(["shadow"] if shadow else []), *shares, "live"]


def ladder(found: Sequence[Rung], stands: int) -> Markup:
    """The steps in order; those up to `stands` are taken, -1: none is."""
    return tag("ol", *(_rung(each, number, stands) for number, each in enumerate(found)), class_="ladder")


def _rung(of: Rung, number: int, stands: int) -> Markup:
    said = [tag("small", of.says)] if of.says else []
    done = {"class_": "done"} if number <= stands else {}
    here = {"aria_current": "step"} if number == stands else {}
    return tag("li", tag("b", of.name), *said, **done, **here)
