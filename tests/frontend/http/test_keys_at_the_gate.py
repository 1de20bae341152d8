"""Keys and scopes over HTTP: where a key may be, what each scope opens, and what ends up in the log."""

import asyncio
import json
import logging

import pytest

from frontend.access.authentication import Authentication
from frontend.access.keys import KeyRecord, digest
from frontend.access.rules import AccessRules, Asked, judge
from frontend.access.scopes import is_open, needed
from frontend.access.sight import sight
from frontend.caller import ANYBODY
from frontend.caller import Scope as CallerScope
from frontend.config import Settings
from frontend.http.asgi import Receive, Scope, Send
from frontend.http.exchange import exchange_of
from frontend.http.gate import Access
from frontend.http.stack import with_stack
from frontend.observability.metrics import Metrics
from tests.frontend.http.driving import answer_of, ask, connect, run

SCOPES: tuple[CallerScope, ...] = ("inference", "admin", "metrics")
KEYS = Authentication(
    [KeyRecord(id=f"key_{scope}", sha256=digest(scope), scopes=(scope,), models=("m",)) for scope in SCOPES]
)


async def whose(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers who asks."""
    await receive()
    caller = exchange_of(scope).caller
    assert sight().caller is caller
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept", "headers": [(b"whose", str(caller.key_id).encode())]})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(caller.key_id).encode()})


def server():
    access = Access(Settings())
    access.rules = AccessRules(KEYS, frozenset(), frozenset())
    return with_stack(whose, Settings(), Metrics(), access=access)


def test_a_request_carries_its_caller_as_long_as_it_runs():
    assert ask(server(), path="/v1/models", authorization="Bearer inference").body == b"key_inference"
    assert sight().caller is ANYBODY


@pytest.mark.parametrize(
    "value",
    [
        *("Bearer inference", "bearer inference", "BEARER  inference ", "Bearer \tinference"),
    ],
)
def test_a_key_may_be_written_as_clients_write_it(value):
    assert ask(server(), path="/v1/x", authorization=value).body == b"key_inference"


@pytest.mark.parametrize(
    "value",
    [
        *("", "Bearer", "Bearer ", "Basic inference", "inference", "Bearer inference x", "Bearer Inference"),
        *(
            "Bearer inference,Bearer inference",
            "Bearer \xe4",
            "Bearer " + "x" * 60_000,
            "Bearer inference\xa0",
        ),
        *(f"Bearer {digest('inference')}", "Bearer null", "Bearer inference\x00"),
    ],
)
def test_nothing_else_is_a_key(value):
    answer = ask(server(), path="/v1/x", authorization=value)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_header_that_is_sent_twice_opens_nothing():
    for name, value in ((b"authorization", b"Bearer inference"), (b"x-api-key", b"inference")):
        scope = {"type": "http", "method": "GET", "path": "/v1/x", "headers": [(name, value)] * 2}
        sent = asyncio.run(run(server(), scope, [{"type": "http.request"}]))
        assert answer_of(sent).status == 401


def test_of_two_headers_authorization_counts_unless_it_is_for_somebody_else():
    for authorization, expected in (
        ("Bearer inference", b"key_inference"),
        ("Bearer of-a-proxy", b"key_metrics"),
        ("Basic dXNlcg==", b"key_metrics"),
    ):
        path = "/v1/x" if expected == b"key_inference" else "/metrics"
        assert ask(server(), path=path, authorization=authorization, x_api_key="metrics").body == expected


SCOPE_OF_PATH = [
    ("/v1/chat/completions", {"inference"}),
    ("/v1/models", {"inference", "admin"}),
    ("/models/m", {"inference", "admin"}),
    ("/api/chat", {"inference"}),
    ("/api/pull", {"admin"}),
    ("/admin", {"admin"}),
    ("//admin//models/", {"admin"}),
    ("/internal/work/m", {"admin"}),
    ("/metrics", {"metrics", "admin"}),
    ("/metrics/", {"metrics", "admin"}),
    ("/nosuch", {"inference"}),
]


@pytest.mark.parametrize(("path", "scopes"), SCOPE_OF_PATH)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE"])
def test_each_scope_opens_its_own_paths(path, scopes, method):
    for scope in SCOPES:
        answer = ask(server(), method, path, authorization=f"Bearer {scope}")
        assert answer.status == (200 if scope in scopes else 403), scope
    assert ask(server(), method, path).status == 401


@pytest.mark.parametrize(
    ("path", "scope"), [("/v1/x", "inference"), ("/admin/models", "admin"), ("/metrics", "metrics")]
)
def test_a_refusal_names_the_scope_that_is_missing(path, scope):
    other = "metrics" if scope != "metrics" else "inference"
    answer = ask(server(), path=path, authorization=f"Bearer {other}")
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"]) == (403, "forbidden")
    assert f"lacks the scope {scope};" in error["message"]
    assert all(f"--scope {one}" in error["message"] for one in (scope, other))  # it keeps what it has
    assert needed(path)[0] == scope


@pytest.mark.parametrize(
    "path", ["/", "/page/app.js", "/docs", "/docs/a.css", "/openapi.json", "/health", "/ready/m"]
)
def test_pages_and_probes_need_no_key_and_a_wrong_one_closes_none(path):
    assert ask(server(), path=path).body == b"None"
    assert ask(server(), "HEAD", path, authorization="Bearer wrong").status == 200
    assert ask(server(), path=path, authorization="Bearer metrics").body == b"key_metrics"


@pytest.mark.parametrize(
    "path",
    [
        "/page/../admin/models",
        "/docs/..",
        "/page/a\\..\\b",
        "/pages",
        "/docsx",
        "/openapi.json/x",
        "/Page/a",
        "/health/x",
    ],
)
def test_paths_that_only_look_like_pages_need_a_key(path):
    assert not is_open(path, "GET")
    assert ask(server(), path=path).status == 401


def test_pages_are_only_read_without_a_key():
    for method in ("POST", "DELETE", "OPTIONS", "PUT"):
        assert ask(server(), method, "/page/x").status == 401


def test_a_browser_offers_the_key_of_a_websocket_as_a_subprotocol():
    def connected(*protocols: str, **headers: str):
        scope = {"type": "websocket", "path": "/v1/realtime", "headers": [], "subprotocols": list(protocols)}
        return asyncio.run(run(server(), scope, [{"type": "websocket.connect"}]))[0]

    assert (
        dict(connected("realtime", "openai-insecure-api-key.inference")["headers"])[b"whose"]
        == b"key_inference"
    )
    for protocols in (
        (),
        ("realtime",),
        ("openai-insecure-api-key.wrong",),
        ("openai-insecure-api-key.metrics",),
    ):
        assert connected(*protocols)["type"] == "websocket.close"
    assert connect(server(), [], x_api_key="inference")[0]["type"] == "websocket.accept"


def test_the_log_has_the_id_of_the_key_and_never_the_key(caplog):
    caplog.set_level(logging.DEBUG)
    for secret in ("inference", "s3cret-that-is-wrong"):
        ask(server(), path="/v1/x", authorization=f"Bearer {secret}", x_api_key="another-s3cret")
    lines = [one for one in caplog.records if one.name == "nacelle.access"]
    assert [getattr(line, "key_id") for line in lines] == ["key_inference", None]  # noqa: B009
    everything = "".join(str(vars(line)) for line in caplog.records)
    assert "s3cret" not in everything
    assert "Bearer" not in everything


def test_the_log_has_the_id_of_a_key_that_is_refused(caplog):
    caplog.set_level(logging.DEBUG)
    gone = KeyRecord(id="key_gone", sha256=digest("gone"), revoked=1.0)
    late = KeyRecord(id="key_late", sha256=digest("late"), expires=1.0)
    access = Access(Settings())
    access.rules = AccessRules(Authentication([gone, late]), frozenset(), frozenset())
    for secret in ("gone", "late"):
        stack = with_stack(whose, Settings(), Metrics(), access=access)
        assert ask(stack, path="/v1/x", authorization=f"Bearer {secret}").status == 401
    assert ask(server(), path="/admin/models", authorization="Bearer inference").status == 403
    lines = [one for one in caplog.records if one.name == "nacelle.access"]
    assert [vars(line)["key_id"] for line in lines] == ["key_gone", "key_late", "key_inference"]


def test_a_refused_request_has_no_rights():
    asked = Asked("GET", "/admin/models", None, None, "Bearer inference")
    caller = judge(AccessRules(KEYS, frozenset(), frozenset()), asked).caller
    assert caller.key_id == "key_inference"
    assert not caller.scopes and not caller.may_use("m")
