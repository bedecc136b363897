"""The way of a question: decide, commit, ask a model as the chosen strategy says, and log what came of it.

Nothing that stands in a conversation chooses the strategy, the id or the reward: the policy sees what was observed, the
id is this server's, and feedback comes from the application by calls of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from bondhu.domains.assistant.strategies import Strategy, applied
from bondhu.serve.decide import Decider
from bondhu.serve.gateway import usage as usages
from bondhu.serve.gateway.answers import Begun, Out, Whole, beginning, events, passed_on, reading
from bondhu.serve.gateway.best_of import best_of
from bondhu.serve.gateway.errors import Failure
from bondhu.serve.gateway.exchange import ANSWERED, CUT, DISCONNECTED, FAILED, Exchange
from bondhu.serve.gateway.history import NOTHING, Before, History, Whose, whose_of
from bondhu.serve.gateway.messages import Asked
from bondhu.serve.gateway.parts import Gateway
from bondhu.serve.gateway.recording import Recorder
from bondhu.serve.gateway.seeing import Seen, Sight
from bondhu.serve.gateway.spending import Spending
from bondhu.serve.gateway.staying import Gone, Staying
from bondhu.serve.gateway.streaming import DONE
from bondhu.serve.gateway.tariffs import most, tariff, tariffs
from bondhu.serve.gateway.trying import Question, Taken, Trying
from bondhu.serve.messages import Request, Said
from bondhu.serve.replies import Receive
from bondhu.types import Decision, Feedback

RETRY = "retry"  # the signal that a user asks the same again
Submit = Callable[[list[Decision], Sequence[Feedback]], asyncio.Future[list[Decision]]]


class Answering:
    """The gateway of one deployment, without HTTP."""

    def __init__(self, gateway: Gateway, decider: Decider, submit: Submit) -> None:
        deployment = decider.deployment
        domain = deployment.domain
        self._gateway, self._decider, self._submit = gateway, decider, submit
        self._sight = Sight(domain.describe()["fields"], gateway)
        self._eyes = ThreadPoolExecutor(1, "bondhu-embedding") if gateway.embed else None
        self._strategies: dict[str, Strategy] = {}  # by action
        self._history = History(gateway.transcripts, deployment.log, domain)
        decider.forgetting.append(self._history.forget)
        limit = gateway.dollars_per_day
        spends = None if limit is None else Spending(limit, deployment.log, domain.name, gateway.workers)
        self.spending = spends
        self._tariffs = tariffs(gateway.strategies, gateway.upstreams) if spends else ()
        self.trying = Trying(gateway.upstreams, rules=gateway.breaker, pause=gateway.pause)
        self._recorder = Recorder(gateway, decider, spends)

    async def open(self) -> None:
        """Before anything begins: have the model loaded that makes vectors, if there is one. Raises SettingsInvalid."""
        if self._gateway.embed is not None:
            await asyncio.get_running_loop().run_in_executor(self._eyes, self._gateway.embed, "")

    async def close(self) -> None:
        """When nothing new begins."""
        await self._recorder.close()
        await self.trying.calls.close()
        if self._eyes is not None:
            self._eyes.shutdown(wait=False)

    # --------------------------------------------------------------------------------------------------------- decide

    async def begun(self, asked: Asked) -> Exchange:
        """The decision on a request, committed; the most that it may cost is held back before anything else. Raises
        InvalidInput, StoreError, OverBudget."""
        now, spending = self._decider.now(), self.spending
        if spending is None:
            return await self._begun(asked, now)
        held = most(self._tariffs, asked.size, asked.limit)
        spending.reserve(held, now)
        try:
            exchange = await self._begun(asked, now)
        except BaseException:
            spending.correct(held, 0.0, now)
            raise
        known = tariff(exchange.strategy, self._gateway.upstreams)
        exchange.reserved = known.most(asked.size, asked.limit)
        spending.correct(held, exchange.reserved, now)
        return exchange

    async def _begun(self, asked: Asked, now: float) -> Exchange:
        decider, gateway = self._decider, self._gateway
        whose = whose_of(asked, now, gateway.salt, decider.door)
        before = NOTHING if whose.session is None else await self._before(whose)
        seen = await self._seen(asked, now, before, whose.user)
        request = Request(seen.context, None, before.session, asked.user)
        made = decider.choose([request], wait=False)
        said = self._again(before) if seen.again else ()
        (decision,) = decider.remember(await self._submit(made, said))  # the writer commits many together
        self._history.note(whose.user, before.totals)
        return Exchange(asked, decision, self._strategy(decision.action), before.totals)

    def _before(self, whose: Whose) -> asyncio.Future[Before]:
        """What was before a request: the store is asked in a thread."""
        return asyncio.get_running_loop().run_in_executor(None, self._history.before, whose)

    async def _seen(self, asked: Asked, now: float, before: Before, user: str | None) -> Seen:
        """The context; where a model makes a vector of the text, in a thread."""
        if self._eyes is None:
            return self._sight.seen(asked, now, before, user)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._eyes, self._sight.seen, asked, now, before, user)

    def _again(self, before: Before) -> list[Feedback]:
        """That the answer before was of no use, where the domain declares the signal: once, whoever asks how often."""
        signal = self._decider.deployment.domain.reward.signals.get(RETRY)
        if signal is None or before.decision_id is None:
            return []
        value = min(max(1.0, signal.low), signal.high)
        return [self._decider.checked(Said(before.decision_id, RETRY, value, f"{RETRY}-{before.decision_id}"))]

    def _strategy(self, action: str) -> Strategy:
        strategy = self._strategies.get(action)
        if strategy is None:
            strategy = self._strategies[action] = self._gateway.strategies.of(action)
        return strategy

    # --------------------------------------------------------------------------------------------------------- answer

    def _question(self, exchange: Exchange, *, streamed: bool) -> Question:
        """What the model is asked: the request as the strategy makes it, and the person as they are stored."""
        asked, decision = exchange.asked, exchange.decision
        body = {key: value for key, value in asked.body.items() if key not in ("stream", "stream_options", "n")}
        if not asked.chat.store:
            body.pop("metadata", None)  # it was for this gateway; without `store` not every model takes it
        for name in ("user", "safety_identifier"):
            if name in body and decision.user is not None:
                body[name] = decision.user
        body = applied(exchange.strategy, body)
        if streamed:
            body |= {"stream": True, "stream_options": asked.body.get("stream_options")}
        if body.get("stream_options", "") is None:
            del body["stream_options"]
        return Question(exchange.strategy.upstream, body, streamed)

    @asynccontextmanager
    async def _followed(self, exchange: Exchange, receive: Receive) -> AsyncIterator[None]:
        """Until the answer is there: whatever ends it early is logged, and raised again."""
        try:
            async with Staying(receive):
                yield
        except Gone:
            exchange.ended(DISCONNECTED)
            await self._recorder.begin(exchange)
            raise
        except asyncio.CancelledError:  # the server does not wait any longer
            exchange.ended(CUT)
            self._recorder.leave(exchange)
            raise
        except Exception as error:
            exchange.ended(FAILED, error.code if isinstance(error, Failure) else "internal_error")
            await self._recorder.begin(exchange)
            raise

    async def whole(self, exchange: Exchange, receive: Receive) -> bytes:
        """The body of an answer, once all of it is logged; raises Failure, Gone, StoreError."""
        async with self._followed(exchange, receive):
            answer = await self._asked(exchange)
        exchange.ended(ANSWERED)
        await self._recorder.begin(exchange)
        return msgspec.json.encode({**answer.body, "id": exchange.identity})

    async def _asked(self, exchange: Exchange) -> Whole:
        """A whole answer: the only one, or the best of several."""
        strategy, size, trying = exchange.strategy, exchange.asked.size, self.trying.following(exchange.spent)
        question = self._question(exchange, streamed=False)
        if strategy.samples == 1:
            taken: Taken[Whole] = await trying.answered(question, reading(size))
        else:
            taken, _ = await best_of(trying, question, strategy.samples, strategy.judge, size)
        exchange.begins(taken.upstream, taken.model)
        answer = taken.read
        exchange.message, exchange.finish = answer.message, answer.finish
        if strategy.samples == 1:
            return answer
        return answer._replace(body={**answer.body, "usage": exchange.usage.told()})

    async def streamed(self, exchange: Exchange, receive: Receive, out: Out) -> bytes:
        """Send the answer through `out` as it comes; its end is returned once all of it is logged. Raises as `whole`,
        perhaps after the first of it went out."""
        end = b""
        async with self._followed(exchange, receive):
            if exchange.strategy.samples > 1:
                answer = await self._asked(exchange)
                await out(events(answer, exchange.identity, usage=exchange.asked.wants_usage))
            else:
                end = await self._relayed(exchange, out)
        exchange.ended(ANSWERED)
        await self._recorder.begin(exchange)
        return end + DONE

    async def _relayed(self, exchange: Exchange, out: Out) -> bytes:
        """One upstream's stream; returns what of it came together with the word that it is done."""
        read: Any = beginning(exchange.identity, usage=exchange.asked.wants_usage)
        trying = self.trying.following(exchange.spent)
        taken: Taken[Begun] = await trying.answered(self._question(exchange, streamed=True), read)
        upstream, response, relay = taken.upstream, taken.response, taken.read.relay
        exchange.begins(upstream, taken.model)
        try:
            await out(taken.read.first)
            end = b"" if relay.done else await passed_on(taken, out)
            response.release()
            trying.ended(upstream)
            return end
        except BaseException as error:
            response.close()
            trying.ended(upstream, error)
            raise
        finally:
            answer = relay.answer
            exchange.message, exchange.finish = answer.message(), answer.finish
            asked = exchange.asked.size
            used = answer.usage or usages.estimated(asked, answer.size, answer.pieces)
            exchange.spent(upstream, taken.model, used)
