"""What the whole application answers on the paths of Anthropic's API. The host is a stand-in."""

import json

import pytest

from frontend.routing.names import Names
from tests.frontend.api.vector_server import VectorServer, run, vector_card

HI = [{"role": "user", "content": "Hi"}]
LARGE = 20 * 1024 * 1024


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("POST", "/v1/messages", b"{", 400, "invalid_request_error"),
        ("POST", "/v1/messages", {"model": "m", "messages": HI}, 400, "invalid_request_error"),
        (
            "POST",
            "/v1/messages",
            {"model": "m", "max_tokens": 1, "messages": HI},
            400,
            "invalid_request_error",
        ),
        ("POST", "/v1/messages", {"model": "x", "max_tokens": 1, "messages": HI}, 404, "not_found_error"),
        ("POST", "/v1/messages/count_tokens", {"model": "x", "messages": HI}, 404, "not_found_error"),
        ("POST", "/v1/messages/batches", {}, 404, "not_found_error"),
        ("GET", "/v1/messages", None, 405, "invalid_request_error"),
        ("POST", "//v1/v1/messages/", b"{", 400, "invalid_request_error"),
        ("POST", "/messages", b"{", 400, "invalid_request_error"),
        ("POST", "/v1/messages", b" " * LARGE, 413, "request_too_large"),
    ],
)
def test_errors_have_that_apis_form_and_the_id_of_the_request(method, path, body, status, kind):
    async def scenario(server: VectorServer) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await server.http.request(method, f"{path}?beta=true", content=content)
        assert answer.status_code == status
        shown = answer.json()
        assert (shown["type"], shown["error"]["type"]) == ("error", kind)
        assert shown["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]

    run(scenario, vector_card(4))


def test_other_paths_have_no_header_of_that_api():
    async def scenario(server: VectorServer) -> None:
        assert "request-id" not in (await server.http.get("/v1/models")).headers

    run(scenario, vector_card(4))


def test_models_have_that_apis_form_where_its_clients_ask():
    async def scenario(server: VectorServer) -> None:
        server.router.names = Names({"claude-sonnet-4-5": "m"}, {})
        headers = {"anthropic-version": "2023-06-01"}
        listed = (await server.http.get("/v1/models?limit=1000", headers=headers)).json()
        assert (listed["first_id"], listed["last_id"], listed["has_more"]) == (
            "m",
            "claude-sonnet-4-5",
            False,
        )
        model = listed["data"][1]
        assert (model["type"], model["id"], model["max_input_tokens"]) == ("model", "claude-sonnet-4-5", 512)
        assert model["created_at"].endswith("Z") and model["display_name"] == model["id"]
        assert (await server.http.get("/v1/models/claude-sonnet-4-5", headers=headers)).json() == model
        assert (await server.http.get("/v1/models")).json()["object"] == "list"
        missing = await server.http.get("/v1/models/x", headers=headers)
        assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")
        assert missing.json()["request_id"] == missing.headers["request-id"]
        assert (await server.http.get("/v1/models/x")).json()["error"]["code"] == "model_not_found"

    run(scenario, vector_card(4))
