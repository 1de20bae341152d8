"""Constraints on an answer: OpenAI's response_format and vLLM's structured_outputs."""

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from frontend.errors import BadRequest
from frontend.shortened import quoted
from frontend.structured import ConstraintError, Format, choice, ebnf, json_object, json_schema, regex


class JsonSchemaBody(msgspec.Struct):
    name: Annotated[str, Meta(max_length=64)] | None = None
    description: str | None = None
    schema: Any = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    type: str
    json_schema: JsonSchemaBody | None = None


class StructuredOutputs(msgspec.Struct):
    """Exactly one of these is given."""

    json: Any = None  # a schema, as an object or as text
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None  # EBNF
    json_object: bool | None = None


@contextlib.contextmanager
def constraint_at(param: str, *, whole: bool = False) -> Iterator[None]:
    """Report a fault in the constraint that the request's parameter `param` contains.

    Raises BadRequest, whose `param` is the path of the fault in the request; with `whole`, `param` itself.
    """
    try:
        yield
    except ConstraintError as error:
        place = param if whole else param + error.path
        raise BadRequest(f"{place}: {error.message}", place) from None


def output_format(
    response_format: ResponseFormat | None, structured: StructuredOutputs | None
) -> Format | None:
    """The format of a structural tag, or None if the answer is unconstrained. Raises BadRequest."""
    asked = _of_response_format(response_format) if response_format is not None else None
    if structured is None:
        return asked
    if asked is not None:
        raise BadRequest(
            "response_format and structured_outputs are mutually exclusive", "structured_outputs"
        )
    return _of_structured_outputs(structured)


def _of_response_format(body: ResponseFormat) -> Format | None:
    where = "response_format.json_schema"
    if body.type == "json_schema" and body.json_schema is None:
        raise BadRequest(f"{where} is missing", where)
    schema = body.json_schema.schema if body.json_schema is not None else None
    return json_format(body.type, schema, "response_format.type", f"{where}.schema")


def json_format(kind: str, schema: Any, kind_where: str, schema_where: str) -> Format | None:
    """The format of a structural tag, or None for text. Raises BadRequest.

    `kind_where` and `schema_where` name the request's parameters.
    """
    match kind:
        case "text":
            return None
        case "json_object":
            return json_object()
        case "json_schema" if schema is None:
            raise BadRequest(f"{schema_where} is missing", schema_where)
        case "json_schema":
            with constraint_at(schema_where):
                return json_schema(schema)
    raise BadRequest(
        f"{kind_where}: must be text, json_object or json_schema, not {quoted(kind)}", kind_where
    )


def _of_structured_outputs(body: StructuredOutputs) -> Format:
    given = [name for name in body.__struct_fields__ if getattr(body, name) not in (None, False)]
    if len(given) != 1:
        raise BadRequest(
            "structured_outputs: exactly one of json, regex, choice, grammar and json_object is required",
            "structured_outputs",
        )
    where = f"structured_outputs.{given[0]}"
    with constraint_at(where):
        if body.json is not None:
            return json_schema(_parsed(body.json, where))
        if body.regex is not None:
            return regex(body.regex)
        if body.choice is not None:
            return choice(body.choice)
        return json_object() if body.grammar is None else ebnf(body.grammar)


def _parsed(schema: Any, where: str) -> Any:
    if not isinstance(schema, str):
        return schema
    try:
        return msgspec.json.decode(schema)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"{where}: invalid JSON: {error}", where) from None
