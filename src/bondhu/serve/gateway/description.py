"""The gateway's routes in the OpenAPI document: OpenAI's own documents say what else a request may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TAKEN = {
    400: "Not JSON, or not what was declared",
    401: "No key, or one that is not known",
    403: "The key is not for this",
    404: "No such model, as the upstream says",
    408: "Too slow",
    413: "Too large",
    422: "Refused by the upstream",
    429: "The key sends too much, the budget is spent, or the upstream is asked too much",
    502: "No upstream gave an answer",
    503: "Busy: try again",
    504: "No upstream answered in time",
}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
ROLES = ["system", "developer", "user", "assistant", "tool", "function"]
CHAT: dict[str, Any] = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        "model": {"type": "string", "description": "The strategy says which model answers"},
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["role"],
                "properties": {
                    "role": {"type": "string", "enum": ROLES},
                    "content": {
                        "anyOf": [
                            {"type": "string"},
                            {"type": "array", "items": {"type": "object"}},
                            {"type": "null"},
                        ]
                    },
                },
            },
        },
        "stream": {"type": ["boolean", "null"]},
        "user": {"type": "string", "minLength": 1, "maxLength": 128, "description": "Who asks"},
        "metadata": {"type": "object", "description": "`session`, and fields of the context that no chat shows"},
    },
    "example": {"model": "bondhu", "messages": [{"role": "user", "content": "What is a list?"}], "user": "user-123"},
}
RESPONSE: dict[str, Any] = {
    "type": "object",
    "required": ["input"],
    "properties": {
        "model": CHAT["properties"]["model"],
        "input": {
            "description": "A text, or messages, calls of functions and what came of them",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "minItems": 1, "items": {"type": "object"}},
            ],
        },
        "instructions": {"type": ["string", "null"]},
        "stream": CHAT["properties"]["stream"],
        "max_output_tokens": {"type": ["integer", "null"], "minimum": 0},
        "tools": {"type": ["array", "null"], "items": {"type": "object"}, "description": "Functions alone"},
        "text": {"type": ["object", "null"]},
        "reasoning": {"type": ["object", "null"]},
        "user": CHAT["properties"]["user"],
        "metadata": CHAT["properties"]["metadata"],
    },
    "example": {"model": "bondhu", "input": "What is a list?", "user": "user-123"},
}
ANSWERED = {
    name: {"description": what, "schema": {"type": "string"}}
    for name, what in (
        ("x-bondhu-decision", "The id of the decision: send it back with each feedback"),
        ("x-bondhu-version", "Which version chose"),
        ("x-bondhu-action", "The strategy"),
        ("x-bondhu-probability", "That the strategy had"),
    )
}


def described(there: bool) -> Mapping[str, Any]:
    """The paths; none where there is no gateway."""
    if not there:
        return {}
    thing = {"application/json": {"schema": {"type": "object"}}}
    streamed = {"text/event-stream": {"schema": {"type": "string"}}}
    answer = {"description": "The answer", "headers": ANSWERED, "content": {**thing, **streamed}}
    chat = {
        "summary": "Answer a chat as the policy chooses, in OpenAI's protocol",
        "operationId": "chat_completions",
        "requestBody": {"required": True, "content": {"application/json": {"schema": CHAT}}},
        "responses": {"200": answer, **refusals()},
    }
    response = {
        "summary": "The same in the words of OpenAI's Responses API, of which nothing is kept to go on from",
        "operationId": "responses",
        "requestBody": {"required": True, "content": {"application/json": {"schema": RESPONSE}}},
        "responses": {"200": answer, **refusals()},
    }
    listed = {"description": "What may be asked for", "content": thing}
    models = {
        "summary": "The models of the gateway",
        "operationId": "models",
        "responses": {"200": listed, **refusals()},
    }
    posts = {"/v1/chat/completions": {"post": chat}, "/v1/responses": {"post": response}}
    return {**posts, "/v1/models": {"get": models}}


def refusals() -> dict[str, Any]:
    content = {"application/json": {"schema": ERROR}}
    told = {str(status): {"description": what, "content": content} for status, what in TAKEN.items()}
    return {**told, "default": {"description": "Any other error", "content": content}}
