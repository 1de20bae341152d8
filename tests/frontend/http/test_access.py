"""Who may ask."""

import falcon.asgi
import falcon.testing
import pytest
from frontend.api.access import check_host, check_key, origin_allowed

from frontend.api.errors import install
from frontend.api.middleware import Access
from frontend.config import Settings
from frontend.errors import Forbidden, Unauthorized


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic secret", "secret"])
def test_without_the_key_nothing_is_answered(header):
    with pytest.raises(Unauthorized):
        check_key(header, "secret", "/v1/models")


def test_the_key_opens_and_probes_need_none():
    check_key("Bearer secret", "secret", "/v1/models")
    check_key("bearer secret", "secret", "/metrics")
    check_key(None, "secret", "/health")
    check_key(None, "secret", "/ready/smollm2")


@pytest.mark.parametrize("path", ["/healthy", "/readyz", "/v1/ready", "/metrics"])
def test_paths_that_only_look_like_probes_need_the_key(path):
    with pytest.raises(Unauthorized):
        check_key(None, "secret", path)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "192.168.1.9", "LOCALHOST", None]
)
def test_addresses_and_own_names_are_served(host):
    check_host(host, [])


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil"]
)
def test_a_rebound_name_is_refused(host):
    with pytest.raises(Forbidden, match="Host"):
        check_host(host, [])


def test_an_allowed_name_is_served():
    check_host("Models.Example:443", ["models.example"])


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost:3000", True),
        ("http://127.0.0.1:8000", True),
        ("https://[::1]", True),
        ("http://server.example:8000", True),  # the page came from this server
        ("https://chat.example", True),
        ("https://evil.example", False),
        ("http://localhost.evil.example", False),
        ("null", False),
        ("file://", False),
    ],
)
def test_pages_of_other_sites_may_not_call(origin, expected):
    assert origin_allowed(origin, "server.example:8000", ["https://chat.example"]) is expected


def preflight(origin: str) -> falcon.testing.Result:
    app = falcon.asgi.App(middleware=[Access(Settings(allowed_origins=["https://chat.example"]))])
    install(app)
    wanted = {"Access-Control-Request-Headers": "authorization, x-stainless-lang"}
    client = falcon.testing.TestClient(app)
    return client.simulate_options("/v1/models", host="127.0.0.1", headers={"Origin": origin} | wanted)


def test_a_page_of_an_allowed_origin_may_send_the_headers_that_clients_send():
    answer = preflight("https://chat.example")
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://chat.example"
    assert answer.headers["access-control-allow-headers"] == "authorization, x-stainless-lang"


def test_a_page_of_another_origin_may_send_nothing():
    answer = preflight("https://evil.example")
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
