"""A TypeScript client of one deployment, written from its OpenAPI document: its own fields and actions are types.

One file that needs nothing but `fetch`: shapes as interfaces, a method for each route, and `runtime.ts` behind them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

Schema = Mapping[str, Any]
METHODS = ("get", "post", "put", "delete")
PLAIN = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}
WORD = re.compile(r"[A-Za-z0-9]+")


def written(document: Mapping[str, Any]) -> str:
    """The client as TypeScript source."""
    shapes = document["components"]["schemas"]
    parts = [
        "// Written by `bondhu client` from the server's OpenAPI document. Write it anew rather than change it.",
        *(interface(name, shape) for name, shape in sorted(shapes.items())),
        "/** The routes as they are. `Client` below is what applications want. */\nclass Bondhu extends Calls {",
        "\n\n".join(methods(document)) + "\n}",
    ]
    shared, client = (
        resources.files("bondhu.client").joinpath("runtime.ts").read_text("utf-8").split("/** The service,")
    )
    head, shapes_of, classes = parts[0], parts[1:-2], "\n".join(parts[-2:])
    return "\n\n".join([head, *shapes_of, shared.rstrip(), classes, f"/** The service,{client}"])


def interface(name: str, shape: Schema) -> str:
    """One schema as a type of its own."""
    comment = f"/** {described(shape['description'])} */\n" if shape.get("description") else ""
    if shape.get("type") != "object" or "properties" not in shape:
        return f"{comment}export type {name} = {type_of(shape)};"
    fields = [f"  {each};" for each in fields_of(shape)]
    return "\n".join([f"{comment}export interface {name} {{", *fields, "}"])


def type_of(shape: Schema) -> str:
    """A schema as it stands in a type."""
    if "$ref" in shape:
        return str(shape["$ref"]).rpartition("/")[2]
    if "enum" in shape:
        return " | ".join(json.dumps(each) for each in shape["enum"])
    several = shape.get("anyOf") or shape.get("oneOf") or ()
    kind = shape.get("type")
    if isinstance(kind, list):
        several = [{**shape, "type": each} for each in kind]
    if several:
        return " | ".join(dict.fromkeys(type_of(each) for each in several))
    if kind == "object":
        return object_of(shape)
    return f"Array<{type_of(shape.get('items', {}))}>" if kind == "array" else PLAIN.get(str(kind), "unknown")


def object_of(shape: Schema) -> str:
    if "properties" in shape:
        return f"{{ {'; '.join(fields_of(shape))} }}"
    inside = shape.get("additionalProperties")
    return f"Record<string, {type_of(inside) if isinstance(inside, Mapping) else 'unknown'}>"


def fields_of(shape: Schema) -> list[str]:
    required = shape.get("required", ())
    properties = shape["properties"].items()
    return [f"{key(name)}{'' if name in required else '?'}: {type_of(each)}" for name, each in properties]


def methods(document: Mapping[str, Any]) -> Iterator[str]:
    """A method for each operation that speaks JSON."""
    shapes = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations and speaks_json(operations[method]):
                yield method_of(path, method, operations[method], shapes)


def method_of(path: str, method: str, operation: Mapping[str, Any], shapes: Mapping[str, Schema]) -> str:
    inside = re.findall(r"{([^}:]+)(?::[^}]*)?}", path)
    queried = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    arguments = [f"{camel(each)}: string" for each in inside]
    arguments += [f"body: {type_of(body)}"] if body else []
    arguments += (
        [f"query: {{ {'; '.join(f'{key(each)}?: string | number' for each in queried)} }} = {{}}"] if queried else []
    )
    where = re.sub(r"{([^}:]+)(?::[^}]*)?}", lambda found: f"${{encodeURIComponent({camel(found[1])})}}", path)
    where = f"`{where}`" + (" + asked(query)" if queried else "")
    sent = f", {with_ids(body, shapes)}" if body else ""
    lines = [
        f"  /** {described(operation.get('summary', operation['operationId']))}. */",
        f"  async {camel(operation['operationId'])}({', '.join(arguments)}): Promise<{answer_of(operation)}> {{",
        f'    return this.call("{method.upper()}", {where}{sent});',
        "  }",
    ]
    return "\n".join(lines)


def with_ids(body: Schema, shapes: Mapping[str, Schema]) -> str:
    """The body with an id in everything that may have one of the caller's own."""
    shape = shapes.get(type_of(body), {})
    properties = shape.get("properties", {})
    if "id" in properties:
        return "withId(body)"
    lists = [name for name, each in properties.items() if "id" in shapes.get(item_of(each), {}).get("properties", {})]
    if not lists:
        return "body"
    return f"{{ ...body, {', '.join(f'{name}: body.{name}.map(withId)' for name in lists)} }}"


def item_of(shape: Schema) -> str:
    return type_of(shape.get("items", {})) if shape.get("type") == "array" else ""


def answer_of(operation: Mapping[str, Any]) -> str:
    """What comes back where all is well."""
    for status, response in operation["responses"].items():
        if str(status).startswith("2"):
            schema = response.get("content", {}).get("application/json", {}).get("schema", {})
            return type_of(schema)
    return "unknown"


def speaks_json(operation: Mapping[str, Any]) -> bool:
    """Whether its answer, if it has one, is JSON."""
    good = [each.get("content", {}) for status, each in operation["responses"].items() if str(status).startswith("2")]
    return all(not content or "application/json" in content for content in good)


def camel(name: str) -> str:
    first, *rest = map(str, WORD.findall(name))
    return first[0].lower() + first[1:] + "".join(each[0].upper() + each[1:] for each in rest)


def key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_$][\w$]*", name) else json.dumps(name)


def described(text: str) -> str:
    """One line that cannot end the comment it stands in."""
    return " ".join(text.split()).replace("*/", "* /").rstrip(".")
