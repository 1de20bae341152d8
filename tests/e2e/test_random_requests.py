"""A thousand random schemas and prompts: an answer, or a 400 that names the fault; no 5xx, no death."""

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.e2e.serving import Serving
from tests.frontend.structured.strategies import JSON, PATTERNS, SCHEMA, broken

AT_ONCE = 20
MODEL = "qwen3"
TEXT = st.text(max_size=60)


@pytest.fixture(scope="module")
def server(qwen3_ir: Path) -> Iterator[Serving]:
    with Serving([str(qwen3_ir), "--name", MODEL], ["--kv-cache-gib", "0.25"], {}) as serving:
        yield serving.wait_until_ready(MODEL)


def finite(value: Any) -> bool:
    """JSON has neither NaN nor infinities."""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


SCHEMAS = (SCHEMA | broken() | JSON).filter(finite)


def response_format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def tool(schema: Any) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}]


CONSTRAINTS = st.one_of(
    SCHEMAS.map(lambda schema: {"response_format": response_format(schema)}),
    SCHEMAS.map(lambda schema: {"structured_outputs": {"json": schema}}),
    SCHEMAS.map(lambda schema: {"tools": tool(schema), "tool_choice": "required"}),
    (PATTERNS | TEXT).map(lambda pattern: {"structured_outputs": {"regex": pattern}}),
    st.lists(TEXT, max_size=4).map(lambda options: {"structured_outputs": {"choice": options}}),
    TEXT.map(lambda text: {"structured_outputs": {"grammar": f"root ::= {text}"}}),
)
BODIES = st.tuples(TEXT, CONSTRAINTS, st.sampled_from([0, 1.0])).map(
    lambda drawn: {
        "model": MODEL,
        "messages": [{"role": "user", "content": drawn[0]}],
        "max_tokens": 6,
        "temperature": drawn[2],
        **drawn[1],
    }
)


def post(server: Serving, body: dict[str, Any]) -> httpx.Response:
    return server.http.post("/v1/chat/completions", json=body)


@settings(
    max_examples=50,  # of AT_ONCE requests each
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(bodies=st.lists(BODIES, min_size=AT_ONCE, max_size=AT_ONCE))
def test_random_schemas_and_prompts_raise_no_5xx(server: Serving, bodies: list[dict[str, Any]]):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for body, answer in zip(bodies, pool.map(lambda b: post(server, b), bodies), strict=True):
            assert answer.status_code in (200, 400), (json.dumps(body), answer.text)
            if answer.status_code == 400:
                assert answer.json()["error"]["message"]


def test_no_host_died_of_them(server: Serving):
    assert server.metric("nacelle_host_restarts_total") == 0
    assert server.metric("nacelle_generated_tokens_total", model=MODEL) > 500  # many were taken


@pytest.mark.parametrize(
    ("constraint", "param"),
    [
        ({"structured_outputs": {"regex": "^((a|b|c){1,200}){1,200}$"}}, "structured_outputs.regex"),
        (
            {"response_format": response_format({"type": "string", "pattern": "^((a|b|c){1,200}){1,200}$"})},
            "response_format.json_schema.schema.pattern",
        ),
        (
            {"response_format": response_format({"$ref": "#/$defs/nothing"})},
            "response_format.json_schema.schema.$ref",
        ),
        (
            {
                "tools": tool({"type": "object", "properties": {"a": {"type": "strange"}}}),
                "tool_choice": "required",
            },
            "tools[0].function.parameters.properties.a.type",
        ),
        ({"structured_outputs": {"grammar": "root ::= other"}}, "structured_outputs.grammar"),
    ],
)
def test_what_would_harm_the_engine_is_a_400_that_names_its_place(server: Serving, constraint, param):
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], **constraint}
    answer = post(server, body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
