"""Limits as clients see them: statuses, error objects and headers."""

import asyncio
import json

import pytest

from frontend.caller import Caller, Limits
from frontend.config import Settings
from frontend.engine_endpoints import ENDPOINTS
from frontend.http import inside
from frontend.http.asgi import Application, Receive, Scope, Send
from frontend.http.inside import Answer
from frontend.http.limiter import duration
from frontend.http.stack import with_stack
from frontend.limits.quotas import Quotas
from frontend.observability.metrics import Metrics
from tests.frontend.http.driving import ask as ask_openly

CHAT = "/v1/chat/completions"


async def answering(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def stack(app: Application = answering, **settings: int) -> Application:
    quotas = Quotas(lambda: 0.0)
    quotas.follow(Settings(**settings))  # type: ignore[arg-type]
    return with_stack(app, Settings(), Metrics(), quotas=quotas)


def ask(app: Application, caller: Caller, path: str = CHAT, method: str = "POST") -> Answer:
    return asyncio.run(inside.ask(app, caller, path, b"{}", method=method))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (0.006, "6ms"),
        (0.9996, "1s"),
        (1, "1s"),
        (1.5, "1.5s"),
        (59.9999, "1m0s"),
        (360, "6m0s"),
        (90.25, "1m30.25s"),
        (3600, "1h0m0s"),
    ],
)
def test_times_are_written_as_openai_writes_them(seconds, shown):
    assert duration(seconds) == shown


def test_each_key_gets_what_it_may_and_then_an_error_object():
    app = stack()
    small, large = (
        Caller(key_id=name, limits=Limits(requests_per_minute=count)) for name, count in (("s", 2), ("l", 4))
    )
    assert [ask(app, small).status for _ in range(4)] == [200, 200, 429, 429]
    assert [ask(app, large).status for _ in range(5)] == [200] * 4 + [429]
    refused = ask(app, small)
    error = json.loads(refused.body)["error"]
    assert (error["type"], error["code"], error["param"]) == ("requests", "rate_limit_exceeded", None)
    assert error["message"] == "this caller may use 2 requests per minute; try again in 30 s"
    assert refused.header(b"retry-after") == b"30"
    assert refused.header(b"retry-after-ms") == b"30000"
    assert refused.header(b"x-ratelimit-remaining-requests") == b"0"


def test_a_refusal_is_counted_for_its_endpoint():
    metrics = Metrics()
    quotas = Quotas(lambda: 0.0)
    quotas.follow(Settings(requests_per_minute=0))
    assert ask(with_stack(answering, Settings(), metrics, quotas=quotas), Caller()).status == 429
    assert f'route="{CHAT}",status="429"'.encode() in metrics.render()


def test_answers_show_what_is_left():
    app = stack(requests_per_minute=3, tokens_per_minute=1000)
    answer = ask(app, Caller())
    names = ("limit", "remaining", "reset")
    shown = [answer.header(f"x-ratelimit-{name}-requests".encode()) for name in names]
    assert shown == [b"3", b"2", b"20s"]
    shown = [answer.header(f"x-ratelimit-{name}-tokens".encode()) for name in names]
    assert shown == [b"1000", b"1000", b"0s"]


def test_on_anthropics_paths_by_its_names():
    app = stack(requests_per_minute=1)
    answer = ask(app, Caller(), "/v1/messages")
    assert answer.header(b"anthropic-ratelimit-requests-remaining") == b"0"
    assert (answer.header(b"anthropic-ratelimit-requests-reset") or b"").endswith(b"Z")
    assert answer.header(b"x-ratelimit-limit-requests") is None
    refused = ask(app, Caller(), "/v1/messages")
    assert refused.status == 429
    assert json.loads(refused.body)["error"]["type"] == "rate_limit_error"
    assert refused.header(b"retry-after") == b"60"


@pytest.mark.parametrize("limit", [0, 1])
def test_what_was_used_before_a_limit_was_lowered_is_shown_within_bounds(limit):
    quotas = Quotas(lambda: 0.0)
    quotas.follow(Settings(tokens_per_minute=10**9))
    quotas.use(Caller(), 10**12)
    quotas.follow(Settings(tokens_per_minute=limit))
    app = with_stack(answering, Settings(), Metrics(), quotas=quotas)
    assert ask(app, Caller(), "/v1/messages").header(b"anthropic-ratelimit-tokens-remaining") == b"0"
    assert (ask(app, Caller()).header(b"x-ratelimit-reset-tokens") == b"0s") == (limit == 0)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health"),
        ("GET", "/metrics"),
        ("GET", "/v1/models"),
        ("GET", "/"),
        ("POST", "/admin/models/load"),
        ("GET", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
    ],
)
def test_only_work_for_models_is_limited(method, path):
    app = stack(requests_per_minute=0)
    answer = ask(app, Caller(), path, method)
    assert answer.status == 200
    assert not any(name.startswith(b"x-ratelimit") for name, _ in answer.headers)


@pytest.mark.parametrize("path", sorted(ENDPOINTS.keys() - {"/v1/realtime"}))
def test_all_work_for_models_is_limited_however_its_path_is_written(path):
    app = stack(requests_per_minute=0)
    assert ask(app, Caller(), path).status == 429
    assert ask_openly(app, "POST", f"{path}/".replace("/v1", "/v1//v1"), host="localhost").status == 429


def test_a_request_counts_as_running_until_its_answer_has_ended():
    async def scenario() -> None:
        entered, finish = asyncio.Event(), asyncio.Event()

        async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
            entered.set()
            await finish.wait()
            await answering(scope, receive, send)

        app = stack(waiting, max_concurrent=1)
        first = asyncio.ensure_future(inside.ask(app, Caller(), CHAT, b"{}"))
        await entered.wait()
        refused = await inside.ask(app, Caller(), CHAT, b"{}")
        assert refused.status == 429
        assert json.loads(refused.body)["error"]["type"] == "concurrency"
        other = asyncio.ensure_future(inside.ask(app, Caller(key_id="b"), CHAT, b"{}"))
        finish.set()
        assert (await first).status == (await other).status == 200
        assert (await inside.ask(app, Caller(), CHAT, b"{}")).status == 200

    asyncio.run(scenario())


def test_a_request_that_fails_frees_its_place():
    async def failing(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("a defect")

    app = stack(failing, max_concurrent=1)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            ask(app, Caller())
