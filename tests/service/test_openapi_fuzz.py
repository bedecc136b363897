"""The OpenAPI document is complete and true: whatever fits it, and whatever does not, is answered as it says.

schemathesis makes the requests, the same ones in every run.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from bondhu.access.admission import Rules
from bondhu.serve.replies import Application
from tests.service.shop import decider
from tests.service.web import ADMIN, KEY, Client, opened

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the libraries below it; ours are errors
    import schemathesis
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

EXAMPLES = 15  # for each operation and mode
CONFIG = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
# That keys are needed has a test of its own below; and a decision, key or action that fits may still not be there.
NOT_ASKED = [ignored_auth, positive_data_acceptance]
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def served() -> Iterator[Client]:
    yield from opened(decider(), rules=Rules(KEY, required=True))


def alive(app: Application) -> Application:
    """An application that lives already, whatever the caller says of its lifespan."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await app(scope, receive, send)
            return
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})

    return answer


def operations(client: Client) -> dict[str, Any]:
    """Every operation of the document, by method and path."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", alive(client.app), config=CONFIG)
    found = [each.ok() for each in schema.get_all_operations()]
    return {f"{each.method.upper()} {each.path}": each for each in found}


def fuzzed(operation: Any, mode: Any, statuses: set[int]) -> None:
    """Send what fits the operation, or what does not; note the statuses. Raises where an answer is not as described."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @FUZZ
    def tried(case: Any) -> None:
        answer = case.call(headers=ADMIN)
        case.validate_response(answer, excluded_checks=NOT_ASKED)
        statuses.add(answer.status_code)

    with suppress(Unsatisfiable):  # an operation that takes nothing has nothing that does not fit
        tried()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "unfitting"])
def test_every_operation_answers_as_the_document_says(served: Client, mode: GenerationMode) -> None:
    statuses: dict[str, set[int]] = {}
    for name, operation in operations(served).items():
        statuses[name] = set()
        fuzzed(operation, mode, statuses[name])
    assert len(statuses) >= 16
    assert {status for each in statuses.values() for status in each} <= {200, 202, 400, 404, 409, 413, 422}


def test_what_the_document_says_of_keys_is_so(served: Client) -> None:
    document = served.get("/openapi.json").json()
    schemes = set(document["components"]["securitySchemes"])
    asked = 0
    for path, described in document["paths"].items():
        for method, operation in described.items():
            needed = {name for each in operation["security"] for name in each}
            at = path.replace("{decision_id}", "x").replace("{identity}", "x").replace("{user}", "x")
            status = served((method.upper(), at.replace("{action}", "stop"), {}))[0].status_code
            assert (status == 401) is bool(needed), (method, path)
            assert needed in (set(), schemes)
            assert not needed or {"401", "403", "429"} <= set(operation["responses"]), (method, path)
            assert "requestBody" not in operation or {"400", "408", "413", "422"} <= set(operation["responses"])
            asked += 1
    assert asked >= 16


def test_in_development_the_document_says_that_deciding_needs_no_key() -> None:
    for client in opened(decider()):
        paths = client.get("/openapi.json").json()["paths"]
        assert paths["/v1/decide"]["post"]["security"] == []
        assert paths["/v1/decisions/{decision_id}"]["get"]["security"] == []
        assert len(paths["/api/v1/admin/keys"]["get"]["security"]) == 3
