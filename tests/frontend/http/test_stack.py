"""The layers together, around Falcon and around any other ASGI application."""

import asyncio

import falcon
import falcon.asgi
import pytest

from frontend.api.errors import install
from frontend.api.middleware import RouteLabel
from frontend.config import Settings
from frontend.errors import QueueFull
from frontend.http.asgi import Receive, Scope, Send
from frontend.http.exchange import UNKNOWN_ROUTE, exchange_of
from frontend.http.identity import request_id
from frontend.http.stack import with_stack
from frontend.observability.metrics import Metrics
from tests.frontend.http.driving import ask, connect, run


class Thing:
    async def on_get(self, request, response, thing):
        if thing == "full":
            raise QueueFull("full", retry_after=7)
        response.data = thing.encode()


def falcon_app():
    app = falcon.asgi.App(middleware=[RouteLabel()])
    install(app)
    app.add_route("/things/{thing}", Thing())
    return app


@pytest.mark.parametrize("given", ["a", "x" * 128, "4bf92f3577b34da6", "req_{1}/2"])
def test_a_well_formed_id_is_kept(given):
    assert request_id(given) == given


@pytest.mark.parametrize("given", [None, "", " ", "a b", "x" * 129, "é", "a\n", "a\tb"])
def test_any_other_is_replaced_by_a_new_one(given):
    new = [request_id(given) for _ in range(2)]
    assert all(one.startswith("req_") for one in new)
    assert new[0] != new[1]


@pytest.mark.parametrize(
    ("path", "settings", "status"),
    [
        ("/things/7", Settings(), 200),
        ("/things/full", Settings(), 429),
        ("/nothing", Settings(), 404),
        ("/things/7", Settings(api_key="secret"), 401),
    ],
)
def test_every_answer_carries_the_id_of_its_request(path, settings, status):
    answer = ask(with_stack(falcon_app(), settings, Metrics()), path=path, x_request_id="mine")
    assert (answer.status, answer.headers["x-request-id"]) == (status, "mine")


def test_an_answer_to_a_page_may_be_read_whoever_answered():
    origin = "http://localhost:3000"
    for path, status in (("/things/7", 200), ("/things/full", 429), ("/nothing", 404)):
        answer = ask(with_stack(falcon_app(), Settings(), Metrics()), path=path, origin=origin)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, origin)
        assert ("retry-after" in answer.headers) == (status == 429)


@pytest.mark.parametrize(
    ("method", "path", "route", "status", "outcome"),
    [
        ("GET", "/things/7", "/things/{thing}", "200", "ok"),
        ("GET", "/things/full", "/things/{thing}", "429", "queue_full"),
        ("POST", "/things/7", "/things/{thing}", "405", "method_not_allowed"),
        ("GET", "/things/7/8", UNKNOWN_ROUTE, "404", "not_found"),
        ("GET", "/\n", UNKNOWN_ROUTE, "404", "not_found"),
    ],
)
def test_requests_are_labelled_by_template_status_and_outcome(method, path, route, status, outcome):
    metrics = Metrics()
    ask(with_stack(falcon_app(), Settings(), metrics), method, path)
    labels = {"route": route, "status": status, "outcome": outcome}
    assert metrics.registry.get_sample_value("nacelle_requests_total", labels) == 1


async def reporting_its_route(scope: Scope, receive: Receive, send: Send) -> None:
    """A mounted application: it gets a copy of the scope."""
    exchange_of(dict(scope)).route = "/static/{path}"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"file"})


def test_an_application_that_is_not_falcon_passes_the_same_layers():
    metrics = Metrics()
    answer = ask(with_stack(reporting_its_route, Settings(), metrics), path="/static/a.css")
    assert answer.body == b"file"
    assert answer.headers["x-request-id"].startswith("req_")
    labels = {"route": "/static/{path}", "status": "200", "outcome": "ok"}
    assert metrics.registry.get_sample_value("nacelle_requests_total", labels) == 1
    refused = ask(
        with_stack(reporting_its_route, Settings(api_key="secret"), Metrics()), path="/static/a.css"
    )
    assert refused.status == 401


async def accepting(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})


def test_an_accepted_websocket_carries_its_id():
    (accepted,) = connect(with_stack(accepting, Settings(), Metrics()), [], x_request_id="mine")
    assert accepted == {"type": "websocket.accept", "headers": [(b"x-request-id", b"mine")]}


def test_what_is_no_request_is_left_alone():
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await send({"type": "lifespan.startup.complete"})

    stack = with_stack(app, Settings(api_key="secret"), Metrics())
    assert asyncio.run(run(stack, {"type": "lifespan"}, [])) == [{"type": "lifespan.startup.complete"}]
    assert not any(key.startswith("nacelle.") for key in seen[0])
