"""The description of the HTTP interface: one OpenAPI document for all routes, with examples that work."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import msgspec

from bondhu.access import DECIDE, PERMISSIONS, WITHOUT_KEYS
from bondhu.access.keys import LONGEST_NAME
from bondhu.ports import Domain
from bondhu.serve.messages import (
    LARGEST_BATCH,
    LONGEST_ID,
    Answer,
    Answers,
    Audit,
    Heard,
    HeardMany,
    MadeKey,
    NewKey,
    Order,
    Problem,
    Request,
    Requests,
    Rotation,
    Said,
    SaidMany,
)
from bondhu.types import SESSION_CUT, SESSION_END

ID = "0199b0a4-7c00-7000-8000-000000000001"
REFUSALS = {401: "No key, or one that is not known", 403: "The key is not for this", 429: "The key sends too much"}
TAKES_JSON = {400: "Not JSON", 408: "Too slow", 413: "Too large", 422: "Not what was declared"}
HELD = {**TAKES_JSON, 503: "Busy: try again"}
SCHEMES = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "bd_..., see docs/security.md"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "The same key"},
    "AdminKey": {"type": "apiKey", "in": "header", "name": "X-Admin-Key", "description": "That of the settings"},
}
KEYED: list[dict[str, list[str]]] = [{name: []} for name in SCHEMES]  # any one of them
PROBLEM = "application/problem+json"
REFERENCE = "#/components/schemas/{name}"


Permissions = Mapping[tuple[str, str], str]  # what a route needs, by method and path


OPERATIONS: Mapping[type[msgspec.Struct], str] = {
    Request: "decide",
    Requests: "decide_batch",
    Said: "feedback",
    SaidMany: "feedback_batch",
}  # of the hot routes, by what they take


def document(
    cold: Mapping[str, Any],
    domain: Domain,
    permissions: Permissions,
    *,
    keys: bool,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The framework's own document of the cold routes with the hot ones and all shapes added; `keys`: whether deciding
    needs one; `more`: other paths that need the same permission."""
    (_, shapes) = msgspec.json.schema_components(
        [Request, Requests, Answers, Said, SaidMany, HeardMany, Audit, Order, NewKey, Rotation, MadeKey, Problem],
        ref_template=REFERENCE,
    )
    shapes["Request"]["properties"]["context"] = context_schema(domain)
    bounded(shapes, domain)
    schemas = {**cold.get("components", {}).get("schemas", {}), **shapes}
    components = {**cold.get("components", {}), "schemas": schemas, "securitySchemes": SCHEMES}
    first = {**hot(domain), **(more or {})}
    paths: dict[str, Any] = {**first, **cold["paths"]}
    for path, operations in paths.items():
        for method, operation in operations.items():
            permission = DECIDE if path in first else permissions.get((method.upper(), path))
            needed = permission is not None and (keys or permission not in WITHOUT_KEYS)
            operation["security"] = KEYED if needed else []
    return {**cold, "paths": paths, "components": components}


def bounded(shapes: dict[str, Any], domain: Domain) -> None:
    """What the server asks of a body beyond its shape, as far as JSON Schema can say it."""
    name = {"type": "string", "minLength": 1, "maxLength": LONGEST_ID, "description": "Printable characters"}
    nullable = {"anyOf": [name, {"type": "null"}], "default": None}
    shapes["SaidAmongMany"] = deepcopy(shapes["Said"])  # each of many is refused for itself, and the rest is stored
    shapes["SaidMany"]["properties"]["feedback"]["items"] = {"$ref": REFERENCE.format(name="SaidAmongMany")}
    for shape, field in (("Request", "id"), ("Request", "session"), ("Request", "user"), ("Said", "id")):
        shapes[shape]["properties"][field] = nullable
    shapes["Said"]["properties"]["replaces"] = shapes["Said"]["properties"]["user"] = nullable
    shapes["Said"]["properties"]["decision_id"] = name
    shapes["Said"]["properties"]["signal"] = {"enum": [*domain.reward.signals, SESSION_END, SESSION_CUT]}
    for shape, field in (("Requests", "requests"), ("SaidMany", "feedback")):
        shapes[shape]["properties"][field]["maxItems"] = LARGEST_BATCH
    key = shapes["NewKey"]["properties"]
    key["role"] = {"enum": list(PERMISSIONS)}
    key["name"] = {**name, "maxLength": LONGEST_NAME}


def hot(domain: Domain) -> dict[str, Any]:
    """The paths of the hot routes."""
    request = {"context": example_context(domain), "user": "user-123"}
    signal = next(iter(domain.reward.signals), "session_end")
    said = {"decision_id": ID, "signal": signal, "value": worth(domain, signal)}
    answer = msgspec.to_builtins(Answer(ID, domain.actions[0], 0.95, "baseline"))
    heard = {"id": ID[:-1] + "2", "decision_id": ID, "status": "stored"}
    taken = {409: "The id is taken"}
    missing = {404: "No such decision"}
    return {
        "/v1/decide": post(Request, request, {200: ("The decision", Answer, answer)}, taken),
        "/v1/decide/batch": post(
            Requests, {"requests": [request]}, {200: ("A decision each", Answers, {"decisions": [answer]})}, taken
        ),
        "/v1/feedback": post(
            Said,
            said,
            {200: ("Stored", Heard, heard), 202: ("Waiting for its decision", Heard, {**heard, "status": "waiting"})},
            {**missing, **taken},
        ),
        "/v1/feedback/batch": post(
            SaidMany, {"feedback": [said]}, {200: ("What became of each", HeardMany, {"results": [heard]})}, {}
        ),
    }


def post(
    shape: type[msgspec.Struct],
    example: Any,
    answers: Mapping[int, tuple[str, type[msgspec.Struct], Any]],
    refusals: Mapping[int, str],
) -> dict[str, Any]:
    """One path that takes a JSON body."""
    responses = {str(status): answered(*each) for status, each in answers.items()}
    operation = {
        "summary": (shape.__doc__ or "").strip().rstrip("."),
        "operationId": OPERATIONS[shape],
        "requestBody": {"required": True, "content": content(shape, example)},
        "responses": {**responses, **failures({**HELD, **REFUSALS, **refusals})},
    }
    return {"post": operation}


def answered(description: str, shape: type[msgspec.Struct], example: Any = None) -> dict[str, Any]:
    """One response."""
    return {"description": description, "content": content(shape, example)}


def something(description: str) -> dict[str, Any]:
    """A response whose fields are for people to look at."""
    return {"description": description, "content": {"application/json": {"schema": {"type": "object"}}}}


def listed(name: str, kind: str = "array") -> dict[str, Any]:
    """A response with one field: a list of objects, or one object."""
    inside = {"type": "object"} if kind == "object" else {"type": "array", "items": {"type": "object"}}
    schema = {"type": "object", "properties": {name: inside}, "required": [name]}
    return {"description": "What is there", "content": {"application/json": {"schema": schema}}}


def failures(described: Mapping[int, str]) -> dict[Any, dict[str, Any]]:
    """The responses that carry an error; the default keeps the framework from adding a shape of its own."""
    named = {str(status): refusal(each) for status, each in sorted(described.items())}
    return {**named, "default": refusal("Any other error")}


def refusal(description: str) -> dict[str, Any]:
    """One response that carries an error."""
    (shape,) = content(Problem).values()
    return {"description": description, "content": {PROBLEM: shape}}


def content(shape: type[msgspec.Struct], example: Any = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"schema": {"$ref": REFERENCE.format(name=shape.__name__)}}
    return {"application/json": schema if example is None else {**schema, "example": example}}


def context_schema(domain: Domain) -> dict[str, Any]:
    """The declared fields as JSON Schema."""
    fields = domain.describe()["fields"]
    return {
        "type": "object",
        "properties": {field["name"]: field_schema(field) for field in fields},
        "required": [field["name"] for field in fields],
        "additionalProperties": False,
    }


def example_context(domain: Domain) -> dict[str, Any]:
    """A context that the domain accepts."""
    return {field["name"]: field_schema(field)["example"] for field in domain.describe()["fields"]}


def field_schema(field: Mapping[str, Any]) -> dict[str, Any]:
    """One declared field as JSON Schema with an example."""
    schema: dict[str, Any] = {"type": "string", "example": "any text"}
    match field["kind"]:
        case "category":
            schema = {"type": "string", "enum": field["values"], "example": field["values"][0]}
        case "number":
            low, high = field["range"]
            schema = {"type": "number", "minimum": low, "maximum": high, "example": (low + high) / 2}
        case "vector":
            schema = {**numbers(field["size"]), "example": [0.0] * field["size"]}
        case "candidates":
            size = field["size"]
            bounds = {"minItems": 1, "maxItems": field["most"], "example": [[0.0] * size, [1.0] * size]}
            schema = {"type": "array", "items": numbers(size), **bounds}
        case "features":
            schema = {"type": "array", "items": {"type": "object"}, "example": [{"device": {"mobile": True}}]}
        case "ranked":
            ranked = [{"id": each, "features": [{"colour": each}]} for each in ("red", "blue")]
            schema = {"type": "array", "items": {"type": "object"}, "maxItems": field["most"], "example": ranked}
        case "person":
            schema = {"type": "string", "example": "customer-7"}
    return schema


def numbers(size: int) -> dict[str, Any]:
    """So many numbers."""
    return {"type": "array", "items": {"type": "number"}, "minItems": size, "maxItems": size}


def worth(domain: Domain, signal: str) -> float:
    declared = domain.reward.signals.get(signal)
    return declared.high if declared else 1.0
