"""The same calls without a server: the live loop in the application's own process."""

from __future__ import annotations

from collections.abc import Sequence

from bondhu.app import App
from bondhu.errors import InvalidInput
from bondhu.serve.decide import Decider
from bondhu.serve.hearing import refusal
from bondhu.serve.hot import answer
from bondhu.serve.messages import Answer, Heard, Request, Said


class Local:
    """A deployment that `bondhu.app.open_app` opened, asked directly; what is returned is committed."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._decider: Decider = app.decider()

    def close(self) -> None:
        self._app.stores.close()

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decide(self, request: Request) -> Answer:
        """One decision."""
        return answer(self._decider.decide(request))

    def decide_many(self, requests: Sequence[Request]) -> list[Answer]:
        """Many decisions, all of them or none."""
        return [answer(each) for each in self._decider.decide_many(requests)]

    def say(self, said: Said) -> Heard:
        """One feedback."""
        return self._decider.hear([said])[0]

    def say_many(self, said: Sequence[Said]) -> list[Heard]:
        """Many feedbacks: each is stored or refused for itself."""
        return [self._heard(each) for each in said]

    def _heard(self, said: Said) -> Heard:
        try:
            return self.say(said)
        except InvalidInput as error:
            return refusal(said, error)
