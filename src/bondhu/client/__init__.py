"""What an application calls: the same four calls over HTTP, over HTTP in an event loop, and in the same process.

    with Client("http://localhost:8000", key="bd_…", fallback=otherwise("red")) as client:
        answer = client.decide(Request({"mood": "happy"}, user="ann"))
        client.say(Said(answer.id, "like"))

Every request has an id before it is sent, so that a retry is never a second decision or a second feedback.
`bondhu.client.local.Local` is the same without a server.
"""

from __future__ import annotations

from bondhu.client.asynchronous import AsyncClient
from bondhu.client.fallback import Fallback, baseline_of, otherwise
from bondhu.client.retrying import Retry
from bondhu.client.synchronous import Client
from bondhu.serve.messages import Answer, Heard, Request, Said

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "Fallback",
    "Heard",
    "Request",
    "Retry",
    "Said",
    "baseline_of",
    "otherwise",
]
