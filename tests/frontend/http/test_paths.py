"""What clients write for an endpoint, and the one path by which it is known."""

import json

import pytest

from frontend.config import Settings
from frontend.http.asgi import Receive, Scope, Send
from frontend.http.paths import canonical
from frontend.http.stack import with_stack
from frontend.observability.metrics import Metrics
from tests.frontend.http.driving import ask


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/models", "/v1/models"),
        ("/v1//models", "/v1/models"),
        ("//v1///models//", "/v1/models"),
        ("/v1/models/", "/v1/models"),
        ("/models", "/v1/models"),
        ("/models/org/name", "/v1/models/org/name"),
        ("/chat/completions", "/v1/chat/completions"),
        ("/chat/completions/render/", "/v1/chat/completions/render"),
        ("/completions", "/v1/completions"),
        ("/embeddings", "/v1/embeddings"),
        ("/responses/resp_1/cancel", "/v1/responses/resp_1/cancel"),
        ("/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/v1/v1/messages", "/v1/messages"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/v1/models", "/v1/models"),
        ("/v1/models/v1/models", "/v1/models/v1/models"),  # a model of that name
        ("/modelsx", "/modelsx"),
        ("/rerank/", "/rerank"),
        ("/tokenize", "/tokenize"),
        ("/v1/tokenize", "/tokenize"),
        ("/v1/v1/detokenize/", "/detokenize"),
        ("/v1/tokenizer_info", "/tokenizer_info"),
        ("/v1/tokenizer_info/x", "/v1/tokenizer_info/x"),
        ("/v2/rerank", "/v2/rerank"),
        ("/health/", "/health"),
        ("/", "/"),
        ("//", "/"),
        ("", "/"),
    ],
)
def test_there_is_one_path_per_endpoint(path, expected):
    assert canonical(path) == expected
    assert canonical(canonical(path)) == expected


async def naming_its_path(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def test_access_rules_and_application_see_the_same_path():
    app = with_stack(naming_its_path, Settings(api_key="secret"), Metrics())
    assert ask(app, path="/health/").body == b"/health"
    assert ask(app, path="//ready//m").body == b"/ready/m"
    for path in ("/models", "//v1/models", "/v1/health", "/ready/../v1/models"[6:]):
        assert ask(app, path=path).status == 401
    foreign = ask(app, path="/models", anthropic_version="2023-06-01")
    assert (foreign.status, json.loads(foreign.body)["error"]["type"]) == (401, "authentication_error")
    assert foreign.headers["request-id"] == json.loads(foreign.body)["request_id"]
    assert ask(app, path="/v1//models/", authorization="Bearer secret").body == b"/v1/models"
