"""The routes of Azure AI Personalizer, where the domain takes actions that come with each request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
from fastapi import FastAPI, Response
from fastapi.requests import Request

from bondhu.access import DECIDE, OPERATE, READ, WITHOUT_KEYS
from bondhu.access.admission import CREDENTIALS, MARK
from bondhu.ports import Domain
from bondhu.serve.parts import Parts
from bondhu.serve.personalizer import configuration as settings
from bondhu.serve.personalizer.errors import NoSuchEvent, NotHere, told
from bondhu.serve.personalizer.events import Events, Fields
from bondhu.serve.personalizer.messages import (
    ErrorResponse,
    RankRequest,
    RankResponse,
    RewardRequest,
    SlotsRequest,
    SlotsResponse,
    SlotsRewardRequest,
    inlined,
)
from bondhu.serve.replies import UNKNOWN, Attempt, Message, decoder, encode, knocks, whole

VERSIONS = ("v1.0", "v1.1-preview.1", "v1.1-preview.2", "v1.1-preview.3")  # or none, with ?api-version=…
KEY, OURS, ADMINISTRATOR = b"ocp-apim-subscription-key", b"x-api-key", b"x-admin-key"
RETRY = b"x-ms-client-request-id"  # the same when a client sends a request again
LONGEST_RETRY = 64  # characters
EVENT = "{event_id:path}"


class Call(NamedTuple):
    """One request."""

    body: bytes
    event: str  # its id in the path, or ""
    retry: str | None  # the same in each attempt of the client


class Operation(NamedTuple):
    """One thing that can be asked for."""

    method: str
    path: str
    permission: str
    code: str  # of the error where the request cannot be understood
    status: int
    run: Callable[[Call], Awaitable[Any]]  # gives the body
    summary: str
    takes: type[msgspec.Struct] | None = None
    gives: type[msgspec.Struct] | None = None


def routes(api: FastAPI, parts: Parts) -> None:
    fields = fields_of(parts.decider.deployment.domain)
    if fields is None:
        return
    signals = parts.decider.deployment.domain.reward.signals
    events = Events(parts.decider, parts.writer, fields, "reward" if "reward" in signals else next(iter(signals)))
    every = [*_of_events(events), *_of_the_service(parts), *_elsewhere()]
    for prefix in ("/personalizer", "/personalizer/{version}"):  # all of the first, or "multislot" would be a version
        for operation in every:
            api.add_api_route(
                prefix + operation.path,
                _endpoint(parts, operation),
                methods=[operation.method],
                summary=operation.summary,
                include_in_schema="version" in prefix and operation.permission == DECIDE,
                response_class=Response,
                status_code=operation.status,
                openapi_extra=_taken(operation),
                responses=_given(operation),
            )


def fields_of(domain: Domain) -> Fields | None:
    """Where the domain keeps what a request brings along; None where it decides something else."""
    described = domain.describe()
    by_kind = {each["kind"]: each for each in described.get("fields", ())}
    ranked, features = by_kind.get("ranked"), by_kind.get("features")
    if ranked is None or features is None or described.get("candidates") != ranked["name"]:
        return None
    return Fields(ranked["name"], features["name"], ranked["most"])


def _endpoint(parts: Parts, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            version = request.path_params.get("version", VERSIONS[-1])
            if version not in VERSIONS or ("multislot" in operation.path and version == "v1.0"):
                what = f"There is no {operation.path} in version {version!r:.40}."
                raise NoSuchEvent(what, fix=f"The versions are {', '.join(VERSIONS)}.")
            _admit(parts, request, operation.permission)
            event = request.path_params.get("event_id", "")
            body = await operation.run(Call(await whole(_receive(request)), event, _retry(request)))
            content = None if operation.status == 204 else encode(body)
            return Response(content, operation.status, media_type=None if content is None else "application/json")
        except Exception as error:
            status, trouble, headers = told(error, operation.code)
            named = {name.decode(): value.decode() for name, value in headers}
            return Response(encode(trouble), status, named, "application/json")

    return answer


def _admit(parts: Parts, request: Request, permission: str) -> None:
    """Let the request in, or not; as on the project's own routes, the audit log hears of attempts and of acts."""
    headers, act = translated(request.scope["headers"]), permission == OPERATE
    watched = permission not in WITHOUT_KEYS
    if watched or knocks(headers):
        request.state.attempt = Attempt(UNKNOWN, act)
    caller = parts.access.admit(headers, permission)
    if watched:
        request.state.attempt = Attempt(caller, act)


def translated(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The service's header of the key as this project's: one of its keys, or else the administrator's."""
    if any(name in CREDENTIALS for name, _ in headers):
        return headers
    own = MARK + b"_"
    return [
        (OURS if value.startswith(own) else ADMINISTRATOR, value) if name == KEY else (name, value)
        for name, value in headers
    ]


def _receive(request: Request) -> Callable[[], Awaitable[Message]]:
    return request.receive


def _retry(request: Request) -> str | None:
    named = (value.decode("latin-1") for name, value in request.scope["headers"] if name == RETRY)
    found = next(named, None)
    return found if found and len(found) <= LONGEST_RETRY and found.isprintable() else None


# ---------------------------------------------------------------------------------------------------- what can be asked


def _of_events(events: Events) -> list[Operation]:
    rank, reward = decoder(RankRequest), decoder(RewardRequest)
    rank_slots, reward_slots = decoder(SlotsRequest), decoder(SlotsRewardRequest)

    async def ranked(call: Call) -> RankResponse:
        return await events.rank(rank(call.body))

    async def slots_ranked(call: Call) -> SlotsResponse:
        return await events.rank_slots(rank_slots(call.body))

    async def rewarded(call: Call) -> None:
        await events.reward(call.event, reward(call.body).value, call.retry)

    async def slots_rewarded(call: Call) -> None:
        await events.reward_slots(call.event, reward_slots(call.body).reward, call.retry)

    async def activated(call: Call) -> None:
        await events.activate(call.event)

    async def slots_activated(call: Call) -> None:
        await events.activate(call.event, slots=True)

    asks = DECIDE, "InvalidRankRequest", 201
    says, starts = (DECIDE, "InvalidRewardRequest", 204), (DECIDE, "InvalidEventIdToActivate", 204)
    one, several = f"/events/{EVENT}", f"/multislot/events/{EVENT}"
    return [
        Operation("POST", "/rank", *asks, ranked, "Personalizer: rank", RankRequest, RankResponse),
        Operation("POST", f"{one}/reward", *says, rewarded, "Personalizer: reward", RewardRequest),
        Operation("POST", f"{one}/activate", *starts, activated, "Personalizer: activate"),
        Operation(
            "POST", "/multislot/rank", *asks, slots_ranked, "Personalizer: rank slots", SlotsRequest, SlotsResponse
        ),
        Operation("POST", f"{several}/reward", *says, slots_rewarded, "Personalizer: reward slots", SlotsRewardRequest),
        Operation("POST", f"{several}/activate", *starts, slots_activated, "Personalizer: activate slots"),
    ]


def _of_the_service(parts: Parts) -> list[Operation]:
    decider, kept = parts.decider, parts.kept

    def shown() -> dict[str, Any]:
        return settings.shown(decider, kept)

    def change(call: Call) -> dict[str, Any]:
        settings.same(settings.wanted(decider, kept, _json(call.body)))
        return shown()

    async def status(_: Call) -> dict[str, str]:
        said = decider.live.problem or "The key is valid."
        return {"service": "bondhu", "apiStatus": "Valid", "apiStatusMessage": said}

    async def changed(call: Call) -> dict[str, Any]:
        return await asyncio.to_thread(change, call)

    return [
        _reads("/configurations/service", shown, "configuration"),
        Operation(
            "PUT", "/configurations/service", OPERATE, "InvalidServiceConfiguration", 200, changed,
            "Personalizer: change the configuration",
        ),
        _reads("/configurations/policy", lambda: settings.policy(decider), "learning settings"),
        _reads("/model/properties", lambda: settings.model(decider), "when the model was made"),
        _reads("/logs/properties", lambda: settings.dates(decider), "the dates of the log"),
        Operation("GET", "/status/service", DECIDE, "BadRequest", 200, status, "Personalizer: status"),
    ]  # fmt: skip


def _reads(path: str, give: Callable[[], Any], what: str) -> Operation:
    async def run(_: Call) -> Any:
        return await asyncio.to_thread(give)

    return Operation("GET", path, READ, "BadRequest", 200, run, f"Personalizer: {what}")


def _elsewhere() -> list[Operation]:
    """What the service could do by a call, and here is done by a command: said so, rather than not found."""
    evaluate = "`bondhu evaluate` estimates versions on the log, with intervals: docs/evaluation.md."
    let_go = "`bondhu archive` takes old events out of the log: [store] retain_days."
    own = [
        ("PUT", "/configurations/policy", settings.POLICY),
        ("DELETE", "/configurations/policy", settings.POLICY),
        ("POST", "/configurations/applyFromEvaluation", "`bondhu release` puts a version in force: docs/releases.md."),
        ("GET", "/evaluations", evaluate),
        ("POST", "/evaluations", evaluate),
        ("DELETE", "/logs", let_go),
        ("POST", "/logs/interactions", "`bondhu import` reads logs: docs/personalizer.md."),
        ("POST", "/logs/observations", "`bondhu import` reads logs: docs/personalizer.md."),
        ("GET", "/model", "Versions are folders below [store] registry."),
        ("PUT", "/model", "Versions are folders below [store] registry."),
        ("DELETE", "/model", "`bondhu stop` puts the baseline in force: docs/releases.md."),
        ("GET", "/featureImportances", "The audit record of a decision says what moved it: /v1/decisions/{id}."),
    ]

    def refusing(fix: str) -> Callable[[Call], Awaitable[Any]]:
        async def run(_: Call) -> Any:
            raise NotHere("This is not done by a call here.", fix=fix)

        return run

    return [Operation(method, path, READ, "BadRequest", 200, refusing(fix), fix) for method, path, fix in own]


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


# ------------------------------------------------------------------------------------------------------------ described


def _taken(operation: Operation) -> dict[str, Any] | None:
    if operation.takes is None:
        return None
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": inlined(operation.takes)}}}}


def _given(operation: Operation) -> dict[int | str, dict[str, Any]]:
    error = {"application/json": {"schema": inlined(ErrorResponse)}}
    gives = {} if operation.gives is None else {"application/json": {"schema": inlined(operation.gives)}}
    good = {"description": "Done", **({"content": gives} if gives else {})}
    return {operation.status: good, "default": {"description": "An error", "content": error}}
