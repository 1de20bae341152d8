"""What a request demands of its output's format: by whose name a fault is reported."""

from typing import Any

import msgspec
import pytest

from frontend.api.responses.items import items_of
from frontend.api.responses.request import turn_of
from frontend.api.schema.formats import ResponseFormat, StructuredOutputs, constraint_at, output_format
from frontend.api.schema.responses import ResponsesRequest
from frontend.errors import BadRequest
from frontend.structured import ConstraintError

BAD = {"type": "object", "properties": {"a": {"type": "strnig"}}}


def json_schema(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def assert_reported(error: BadRequest, param: str) -> None:
    assert (error.status, error.code, error.param) == (400, "invalid_value", param)
    assert error.message.startswith(f"{param}: ")


def test_a_fault_is_reported_at_its_place_in_the_request():
    with pytest.raises(BadRequest) as reported, constraint_at("response_format"):
        raise ConstraintError("is wrong", ".x[3]")
    assert_reported(reported.value, "response_format.x[3]")
    assert reported.value.message == "response_format.x[3]: is wrong"


@pytest.mark.parametrize(
    ("schema", "below"), [(BAD, ".properties.a.type"), ({"$ref": "#"}, ""), (5, ""), ([], ""), ("x", "")]
)
def test_a_fault_in_a_response_format_is_reported_below_its_schema(schema, below):
    body = msgspec.convert(json_schema(schema), ResponseFormat)
    with pytest.raises(BadRequest) as reported:
        output_format(body, None)
    assert_reported(reported.value, f"response_format.json_schema.schema{below}")


@pytest.mark.parametrize(
    ("field", "value", "below"),
    [
        ("json", BAD, ".properties.a.type"),
        ("json", msgspec.json.encode(BAD).decode(), ".properties.a.type"),
        ("json", "{", ""),
        ("regex", "(", ""),
        ("regex", "", ""),
        ("choice", ["a", ""], "[1]"),
        ("choice", [], ""),
        ("grammar", "root ::= x", ""),
    ],
)
def test_a_fault_in_structured_outputs_is_reported_below_the_field(field, value, below):
    body = msgspec.convert({field: value}, StructuredOutputs)
    with pytest.raises(BadRequest) as reported:
        output_format(None, body)
    assert_reported(reported.value, f"structured_outputs.{field}{below}")


def test_a_fault_in_the_text_format_of_a_response_is_reported_below_its_schema():
    form = {"type": "json_schema", "name": "x", "schema": BAD}
    body = msgspec.convert({"model": "m", "input": "hi", "text": {"format": form}}, ResponsesRequest)
    with pytest.raises(BadRequest) as reported:
        turn_of(body, items_of(body.input, [], {}, lambda prefix: prefix))
    assert_reported(reported.value, "text.format.schema.properties.a.type")
