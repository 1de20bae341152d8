"""The OpenAPI document of an application, made of its routes and of what its areas state. Pure."""

import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from types import UnionType
from typing import Any

import msgspec

from frontend.api.openapi.operation import EVERYWHERE, WITH_BODY, Operation, operation_of
from frontend.api.openapi.routes import Route
from frontend.http.error_body import AnthropicErrorBody, ErrorBody, OllamaErrorBody, is_anthropic

OPENAPI = "3.1.0"
_EVENTS = "text/event-stream"
_LINES = "application/x-ndjson"
JSON = "application/json"
_FIELD = re.compile(r"\{(\w+)(?::(\w+))?\}")
_REFERENCE = "#/components/schemas/{name}"
_OVERLOADED = (503, 529)  # what is 529 in Anthropic's API
_STATUSES = {
    400: "The request is wrong; `param` names the field.",
    401: "The API key is missing or wrong.",
    403: "The key, the `Host` or the `Origin` of the request does not allow this.",
    404: "There is no such model or object.",
    405: "The path does not allow this method.",
    408: "The body did not arrive in time.",
    409: "Another request is changing the same thing, or its state does not allow this.",
    413: "The request is too large.",
    422: "A similar request recently killed engine processes.",
    429: "A queue is full or a limit is reached; retry after `Retry-After` seconds.",
    500: "The engine failed at this request.",
    502: "Another server, which has the model, failed.",
    503: "The server or the model cannot take the request now; retry after `Retry-After` seconds.",
    504: "The request took longer than allowed.",
    529: "The server or the model cannot take the request now; retry after `Retry-After` seconds.",
}
_SECURITY: list[dict[str, list[str]]] = [{}, {"bearer": []}, {"apiKey": []}]  # {}: a server without keys
_TAGS = (
    ("/admin/", "Administration"),
    ("/internal/", "Other servers"),
    ("/v1/audio/", "Audio"),
    ("/v1/realtime", "Audio"),
    ("/v1/batches", "Batches and files"),
    ("/v1/files", "Batches and files"),
    ("/v1/chat/", "Text"),
    ("/v1/completions", "Text"),
    ("/v1/inference", "Text"),
    ("/v1/responses", "Responses"),
    ("/v1/messages", "Anthropic's API"),
    ("/api/", "Ollama's API"),
    ("/v1/models", "Models"),
    ("/tokenize", "Tokens"),
    ("/detokenize", "Tokens"),
    ("/v1/embeddings", "Embeddings and reranking"),
    ("/rerank", "Embeddings and reranking"),
    ("/v1/rerank", "Embeddings and reranking"),
    ("/v2/rerank", "Embeddings and reranking"),
    ("/score", "Embeddings and reranking"),
    ("/v1/score", "Embeddings and reranking"),
)


def document_of(routes: Iterable[Route]) -> dict[str, Any]:
    """What belongs to no API, such as this document and pages, has no description and is left out."""
    described = [
        (msgspec.structs.replace(route, template=template), found)
        for route in routes
        if (found := operation_of(route.responder)) is not None
        for template in found.paths or (route.template,)
    ]
    schemas = _Schemas(kind for route, operation in described for kind in _types(route, operation))
    paths: dict[str, dict[str, Any]] = {}
    for route, operation in described:
        path = _FIELD.sub(r"{\1}", route.template)
        paths.setdefault(path, {})[route.method.lower()] = _entry(path, route, operation, schemas)
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "Nacelle",
            "version": metadata.version("nacelle-server"),
            "description": "OpenVINO models behind the APIs of OpenAI, Anthropic and Ollama.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": _SECURITY,
        "tags": [{"name": name} for name in dict.fromkeys(_tag(path) for path in paths)],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


class _Schemas:
    """The schemas of all types, which share their components."""

    def __init__(self, kinds: Iterable[Any]) -> None:
        parts = [part for kind in kinds for part in _alternatives(kind)]
        found, self.components = msgspec.json.schema_components(
            parts, schema_hook=_custom, ref_template=_REFERENCE
        )
        for component in self.components.values():
            _drop_placeholders(component.get("properties", {}))
        self._found = dict(zip(map(repr, parts), found, strict=True))

    def of(self, kind: Any) -> dict[str, Any]:
        schemas = [self._found[repr(part)] for part in _alternatives(kind)]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def fields_of(self, kind: Any) -> dict[str, Any]:
        """The schema of a Struct itself, not a reference to it."""
        name = self.of(kind)["$ref"].rpartition("/")[2]
        return dict(self.components[name])


def _drop_placeholders(properties: dict[str, Any]) -> None:
    """An empty text as the default of a field that must not be empty only means that it may be left out."""
    for schema in properties.values():
        if schema.get("default") == "" and schema.get("minLength"):
            del schema["default"]


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The types of a union, which msgspec could not describe: it does not know how to tell Structs apart."""
    return kind.__args__ if isinstance(kind, UnionType) else (kind,)


def _custom(kind: type) -> dict[str, Any]:
    """The schema of a type that msgspec cannot describe. A field that is always unset never occurs."""
    if kind is msgspec.UnsetType:
        return {"not": {}}
    raise NotImplementedError


def _types(route: Route, operation: Operation) -> list[Any]:
    given = [operation.body, operation.form, operation.answer, operation.events, operation.lines]
    kinds = [kind for kind in given if kind is not None]
    return [*kinds, *operation.other.values(), *operation.query.values(), _error_type(route.template)]


def _error_type(path: str) -> Any:
    if is_anthropic(path):
        return AnthropicErrorBody
    return OllamaErrorBody if path.startswith("/api/") else ErrorBody


def _entry(path: str, route: Route, operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    words = re.findall(r"\w+", path) or ["root"]
    entry: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": "_".join((route.method.lower(), *words)),
        "tags": [_tag(path)],
        "responses": _responses(route, operation, schemas),
    }
    if parameters := [*_path_parameters(route.template), *_query_parameters(operation, schemas)]:
        entry["parameters"] = parameters
    if (body := _request_body(operation, schemas)) is not None:
        entry["requestBody"] = body
    if operation.is_open:
        entry["security"] = []
    return entry


def _tag(path: str) -> str:
    return next((tag for prefix, tag in _TAGS if path.startswith(prefix)), "Server")


def _path_parameters(template: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
            **({"description": "May contain slashes."} if converter == "path" else {}),
        }
        for name, converter in _FIELD.findall(template)
    ]


def _query_parameters(operation: Operation, schemas: _Schemas) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "required": name in operation.required_query,
            "schema": schemas.of(kind),
        }
        for name, kind in operation.query.items()
    ]


def _request_body(operation: Operation, schemas: _Schemas) -> dict[str, Any] | None:
    if operation.form is not None:
        media_type, schema = "multipart/form-data", _form_schema(schemas.fields_of(operation.form))
    elif operation.body is not None:
        media_type, schema = JSON, schemas.of(operation.body)
    else:
        return None
    content: dict[str, Any] = {"schema": schema}
    if operation.example is not None:
        content["example"] = operation.example
    return {"required": True, "content": {media_type: content}}


def _form_schema(fields: dict[str, Any]) -> dict[str, Any]:
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    return {
        "type": "object",
        "properties": {"file": file, **fields["properties"]},
        "required": ["file", *fields.get("required", [])],
    }


def _responses(route: Route, operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    has_body = route.method != "HEAD"
    responses: dict[str, Any] = {}
    answer = _answer(operation, schemas)
    if operation.is_websocket:
        responses["101"] = {"description": "The connection becomes a WebSocket."}
    elif answer or operation.is_empty:
        responses[str(operation.status)] = _response("The answer.", answer, has_body)
    for status, kind in operation.other.items():
        responses[str(status)] = _response("The answer.", {JSON: {"schema": schemas.of(kind)}}, has_body)
    errors = {JSON: {"schema": schemas.of(_error_type(route.template))}}
    for status in _error_statuses(route.template, operation):
        responses.setdefault(str(status), _response(_STATUSES[status], errors, has_body))
    return responses


def _response(description: str, content: Mapping[str, Any], has_body: bool) -> dict[str, Any]:
    return {"description": description, **({"content": content} if has_body and content else {})}


def _answer(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    """By type of content."""
    content: dict[str, Any] = {}
    if operation.answer is not None:
        content[JSON] = {"schema": schemas.of(operation.answer)}
    for media_type, item in (
        (_EVENTS, operation.events),
        (_LINES, operation.lines),
    ):
        if item is not None:
            content[media_type] = {"schema": _whole(media_type), "x-item-schema": schemas.of(item)}
    for media_type in operation.media:
        content[media_type] = {"schema": _whole(media_type)}
    return content


def _whole(media_type: str) -> dict[str, Any]:
    """What a body is as a whole. Readers of OpenAPI 3.1 take that of server-sent events for each event's."""
    is_text = media_type.startswith("text/") or media_type == _LINES
    return {"type": "string"} if is_text and media_type != _EVENTS else {}


def _error_statuses(path: str, operation: Operation) -> list[int]:
    statuses = {*EVERYWHERE, *operation.errors}
    if operation.body is not None or operation.form is not None:
        statuses |= set(WITH_BODY)
    if operation.is_open:
        statuses -= {401}
    if is_anthropic(path):
        usual, anthropic = _OVERLOADED
        statuses = {anthropic if status == usual else status for status in statuses}
    return sorted(statuses)
