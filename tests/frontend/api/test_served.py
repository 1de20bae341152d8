"""What a request for a model that is not served is told."""

import asyncio
from types import SimpleNamespace

import pytest

from frontend.api.served import model_of
from frontend.routing.router import unknown_model
from tests.frontend.api.vector_server import VectorServer, run, vector_card


def test_what_nobody_waits_for_is_done_for_whoever_asked():
    callers = []

    class Routed:
        def any_key(self):
            return ""

        async def model(self, name, on_leave, key, on_resolved, caller):
            callers.append(caller)
            return SimpleNamespace()

    asyncio.run(model_of(Routed(), "m", None))  # type: ignore[arg-type]
    assert callers == [None]  # by which the router takes whoever asks, instead of anybody


def test_an_unknown_model_is_answered_with_the_models_that_there_are():
    assert (
        unknown_model("gpt-4", ["a", "b"]) == "the model 'gpt-4' does not exist; models served here: 'a', 'b'"
    )
    assert unknown_model("gpt-4", []).endswith("served here: none")


def test_the_list_is_bounded_however_many_models_there_are_and_whatever_was_asked_for():
    message = unknown_model("x" * 10_000, [f"{number}-{'y' * 150}" for number in range(500)])
    assert len(message) < 800
    assert message.endswith("and 492 more, see GET /v1/models")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions/", "/v1//chat/completions?x=1"])
def test_every_spelling_of_an_endpoint_says_so(path):
    async def scenario(server: VectorServer) -> None:
        body = {"model": "gpt-4", "messages": [{"role": "user", "content": "hi"}]}
        answer = await server.http.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
        assert answer.json()["error"]["message"].endswith("models served here: 'm'")
        for other in ("/v1/models/gpt-4", "/models/gpt-4", "/ready/gpt-4/"):
            assert "'m'" in (await server.http.get(other)).json()["error"]["message"]

    run(scenario, vector_card(4))


@pytest.mark.parametrize("depth", range(880, 1000, 4))
def test_deep_values_are_a_400_whichever_step_finds_them_too_deep(depth):
    deep = b'{"a":' * depth + b"1" + b"}" * depth

    async def scenario(server: VectorServer) -> None:
        for fields in (
            b'"background":true,"tools":[{"type":"function","name":"f","parameters":%b}]',
            b'"z":%b',
        ):
            body = b'{"model":"gpt-4","input":"x",' + fields % deep + b"}"
            answer = await server.http.post("/v1/responses", content=body)
            assert answer.status_code in (200, 400, 404), answer.text

    run(scenario, vector_card(4))
