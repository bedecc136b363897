"""The description of the HTTP interface: one OpenAPI document for all routes, with examples that work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bondhu.ports import Domain
from bondhu.serve.messages import (
    Answer,
    Answers,
    Audit,
    Heard,
    HeardMany,
    Order,
    Refusal,
    Request,
    Requests,
    Said,
    SaidMany,
)

ID = "0199b0a4-7c00-7000-8000-000000000001"
HELD = {400: "Not JSON", 413: "Too large", 422: "Not what was declared", 503: "Busy: try again"}
REFERENCE = "#/components/schemas/{name}"


def document(cold: Mapping[str, Any], domain: Domain) -> dict[str, Any]:
    """The framework's own document of the cold routes with the hot ones and all shapes added."""
    (_, shapes) = msgspec.json.schema_components(
        [Request, Requests, Answers, Said, SaidMany, HeardMany, Audit, Order, Refusal], ref_template=REFERENCE
    )
    shapes["Request"]["properties"]["context"] = context_schema(domain)
    components = {**cold.get("components", {}), "schemas": {**shapes}}
    return {**cold, "paths": {**hot(domain), **cold["paths"]}, "components": components}


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
        "operationId": shape.__name__,
        "requestBody": {"required": True, "content": content(shape, example)},
        "responses": {**responses, **failures({**HELD, **refusals})},
    }
    return {"post": operation}


def answered(description: str, shape: type[msgspec.Struct], example: Any = None) -> dict[str, Any]:
    """One response."""
    return {"description": description, "content": content(shape, example)}


def failures(described: Mapping[int, str]) -> dict[Any, dict[str, Any]]:
    """The responses that carry an error; the default keeps the framework from adding a shape of its own."""
    named = {str(status): answered(each, Refusal) for status, each in sorted(described.items())}
    return {**named, "default": answered("Any other error", Refusal)}


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
    match field["kind"]:
        case "category":
            return {"type": "string", "enum": field["values"], "example": field["values"][0]}
        case "number":
            low, high = field["range"]
            return {"type": "number", "minimum": low, "maximum": high, "example": (low + high) / 2}
        case "vector":
            size = field["size"]
            items = {"type": "number"}
            return {"type": "array", "items": items, "minItems": size, "maxItems": size, "example": [0.0] * size}
        case "candidates":
            size, most, item = field["size"], field["most"], {"type": "number"}
            one = {"type": "array", "items": item, "minItems": size, "maxItems": size}
            example = [[0.0] * size, [1.0] * size]
            return {"type": "array", "items": one, "minItems": 1, "maxItems": most, "example": example}
        case "person":
            return {"type": "string", "example": "customer-7"}
        case _:
            return {"type": "string", "example": "any text"}


def worth(domain: Domain, signal: str) -> float:
    declared = domain.reward.signals.get(signal)
    return declared.high if declared else 1.0
