"""The OpenAPI document against the routes, the Structs and the meta-schema of JSON Schema."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from frontend.api.application import build
from frontend.api.memory import Memory
from frontend.api.openapi.document import document_of
from frontend.api.openapi.operation import OF_ENGINES, operation_of
from frontend.api.openapi.routes import RecordingRouter, Route
from frontend.config import Settings
from frontend.engine_endpoints import ENDPOINTS
from frontend.observability.metrics import Metrics
from frontend.remote.proxying import PATHS
from frontend.replay.asked import RETRIED_PATHS
from frontend.routing.router import Router, RouterOptions

NOT_OF_THE_API = ("/openapi.json", "/docs", "/page/")
# What asks a host for its tokenizer alone.
TOKENIZING = {
    "/tokenize",
    "/detokenize",
    "/v1/chat/completions/render",
    "/v1/messages/count_tokens",
    "/v1/responses/input_tokens",
}


@pytest.fixture(scope="module")
def routes() -> list[Route]:
    found: list[RecordingRouter] = []

    class Noted(RecordingRouter):
        def __init__(self) -> None:
            super().__init__()
            found.append(self)

    settings = Settings()
    router = Router(RouterOptions(settings.arena_bytes, settings.request_timeout_seconds))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("frontend.api.application.RecordingRouter", Noted)
        build(settings, router, Metrics(), Memory(settings, router))
    return list(found[0].routes())


@pytest.fixture(scope="module")
def document(routes: list[Route]) -> dict[str, Any]:
    """As it is on the wire."""
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document_of(routes)))
    return made


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_route_is_described(routes: list[Route]):
    missing = [
        f"{route.method} {route.template}: {route.responder.__qualname__}"
        for route in routes
        if operation_of(route.responder) is None and not route.template.startswith(NOT_OF_THE_API)
    ]
    assert missing == []


def test_all_references_lead_somewhere_and_all_schemas_are_schemas(document: dict[str, Any]):
    components = document["components"]["schemas"]
    references = re.findall(r'"\$ref":"#/components/schemas/([^"]+)"', msgspec.json.encode(document).decode())
    assert set(references) <= components.keys()
    for schema in components.values():
        Draft202012Validator.check_schema(schema)


def test_operations_have_ids_of_their_own(document: dict[str, Any]):
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))


def test_the_parameters_of_a_path_are_described(document: dict[str, Any]):
    for path, _, operation in operations(document):
        described = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert described == set(re.findall(r"\{(\w+)\}", path))


def test_actions_on_hosts_and_requests_are_described_with_their_paths(document: dict[str, Any]):
    assert set(document["paths"]["/admin/requests/{id}"]) == {"get", "delete"}
    assert set(document["paths"]["/admin/requests/{id}/cancel"]) == {"post"}
    of_hosts = {path: set(methods) for path, methods in document["paths"].items() if "/admin/hosts/" in path}
    host = "/admin/hosts/{model}/{replica}"
    assert of_hosts == {host: {"get"}, f"{host}/kill": {"post"}, f"{host}/restart": {"post"}}
    assert "202" in document["paths"][f"{host}/kill"]["post"]["responses"]


def test_examples_are_what_the_server_decodes(routes: list[Route]):
    tried = 0
    for route in routes:
        operation = operation_of(route.responder)
        if operation is None or operation.body is None:
            continue
        assert operation.example is not None, route.template
        kinds = getattr(operation.body, "__args__", (operation.body,))
        msgspec.convert(operation.example, kinds[0])
        tried += 1
    assert tried > 20


def test_errors_have_the_form_of_their_api(document: dict[str, Any]):
    def form(path: str, method: str, status: str) -> str:
        schema = document["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
        reference: str = schema["$ref"]
        return reference.rpartition("/")[2]

    assert form("/v1/chat/completions", "post", "503") == "ErrorBody"
    assert form("/v1/messages", "post", "529") == "AnthropicErrorBody"
    assert form("/api/chat", "post", "503") == "OllamaErrorBody"
    assert "503" not in document["paths"]["/v1/messages"]["post"]["responses"]


def test_probes_and_the_page_need_no_key(document: dict[str, Any]):
    open_paths = {path for path, _, operation in operations(document) if operation.get("security") == []}
    assert open_paths == {"/", "/health", "/ready", "/ready/{model}"}


def test_an_upload_is_a_form_with_its_file(document: dict[str, Any]):
    body = document["paths"]["/v1/audio/transcriptions"]["post"]["requestBody"]["content"]
    schema = body["multipart/form-data"]["schema"]
    assert {"file", "model"} == set(schema["required"])
    assert schema["properties"]["temperature"]["maximum"] == 1


def test_events_are_not_said_to_be_strings(document: dict[str, Any]):
    """Readers of OpenAPI 3.1 apply the schema of a stream of events to each event, which is no string."""
    contents = [
        answer["content"]["text/event-stream"]["schema"]
        for _, _, operation in operations(document)
        for answer in operation["responses"].values()
        if "text/event-stream" in answer.get("content", {})
    ]
    assert contents
    assert all(schema == {} for schema in contents)


def test_all_endpoints_that_make_engines_work_are_in_the_table(routes: list[Route]):
    working = {
        route.template
        for route in routes
        if route.method == "POST"
        and (operation := operation_of(route.responder)) is not None
        and set(OF_ENGINES) <= set(operation.errors)
    }
    assert working - TOKENIZING == ENDPOINTS.keys() - {"/v1/realtime"}


@pytest.mark.parametrize("paths", [ENDPOINTS, RETRIED_PATHS, PATHS])
def test_tables_of_paths_name_routes(paths: Iterable[str], routes: list[Route]):
    assert set(paths) <= {route.template for route in routes}
