"""Who may make requests, and what those get who may not."""

import asyncio
import ipaddress
import json

import falcon.asgi
import pytest

from frontend.access.authentication import Authentication
from frontend.access.keys import unrestricted
from frontend.access.origins import check_host, normalized_host, normalized_origin, origin_allowed
from frontend.access.rules import AccessRules, Asked, access_rules, judge
from frontend.api.errors import install
from frontend.config import ConfigError, Settings
from frontend.errors import Forbidden, Unauthorized
from frontend.http.asgi import Application, Message, Receive, Scope, Send
from frontend.http.gate import Gate
from frontend.http.paths import CanonicalPaths
from tests.frontend.http.driving import Answer, answer_of, ask, connect, run

OPEN = AccessRules(None, frozenset(), frozenset())
KEYS = Authentication([unrestricted("api_key", "secret")])


def check_key(authorization, key, path, x_api_key=None):
    """Raises why a server with this one key refuses."""
    rules = AccessRules(Authentication([unrestricted("api_key", key)]), frozenset(), frozenset())
    verdict = judge(rules, Asked("GET", path, None, None, authorization, api_key=x_api_key))
    if verdict.error is not None:
        raise verdict.error


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic secret", "secret"])
def test_without_the_key_nothing_is_answered(header):
    with pytest.raises(Unauthorized):
        check_key(header, "secret", "/v1/models")


def test_the_key_opens_and_probes_need_none():
    check_key("Bearer secret", "secret", "/v1/models")
    check_key("bearer secret", "secret", "/metrics")
    check_key(None, "secret", "/health")
    check_key(None, "secret", "/ready/smollm2")


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models", "/v1/chat/completions", "/metrics"])
def test_the_key_may_also_come_in_the_header_of_anthropics_clients(path):
    check_key(None, "secret", path, "secret")
    check_key("Bearer of another service", "secret", path, "secret")
    check_key("Bearer secret", "secret", path, "of another service")
    for authorization, key, why in (
        (None, "wrong", "this API key is unknown"),
        ("Bearer wrong", "wrong", "this API key is unknown"),
        (None, "", "X-Api-Key"),
        ("secret", None, "X-Api-Key"),
    ):
        with pytest.raises(Unauthorized, match=why):
            check_key(authorization, "secret", path, key)


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


def preflight(origin: str) -> Answer:
    gate = Gate(unreachable, Settings(allowed_origins=["https://chat.example"]))
    wanted = "authorization, x-stainless-lang"
    return ask(
        gate,
        "OPTIONS",
        "/v1/models",
        host="127.0.0.1",
        origin=origin,
        access_control_request_headers=wanted,
    )


def test_a_page_of_an_allowed_origin_may_send_the_headers_that_clients_send():
    answer = preflight("https://chat.example")
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "https://chat.example"
    assert answer.headers["access-control-allow-headers"] == "authorization, x-stainless-lang"


def test_a_page_of_another_origin_may_send_nothing():
    answer = preflight("https://evil.example")
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers


def asked(method="GET", path="/v1/models", host="localhost", origin=None, authorization=None):
    return Asked(method, path, host, origin, authorization)


def test_a_key_makes_the_host_irrelevant_because_a_rebound_page_does_not_know_it():
    assert isinstance(judge(OPEN, asked(host="evil.example")).error, Forbidden)
    with_key = AccessRules(KEYS, frozenset(), frozenset())
    assert judge(with_key, asked(host="evil.example", authorization="Bearer secret")).error is None
    assert isinstance(judge(with_key, asked(host="evil.example")).error, Unauthorized)


def test_a_preflight_needs_no_key_and_a_page_may_read_why_it_was_refused():
    with_key = AccessRules(KEYS, frozenset(), frozenset())
    preflight = judge(with_key, asked("OPTIONS", origin="http://localhost:3000"))
    assert (preflight.is_preflight, preflight.error) == (True, None)
    refused = judge(with_key, asked(origin="http://localhost:3000"))
    assert isinstance(refused.error, Unauthorized)
    assert refused.shared_with == "http://localhost:3000"
    assert isinstance(judge(with_key, asked("OPTIONS")).error, Unauthorized)  # no page asks


ADMIN_REQUESTS = [
    "/admin",
    "/admin/models",
    "/admin/reload",
    "/internal/work/m",
    "/api/pull",
    "/api/delete",
    "/api/copy",
]
WITH_KEY = AccessRules(KEYS, frozenset(), frozenset(), is_local=False)
WIDE = AccessRules(None, frozenset({"*"}), frozenset({"*"}))  # whatever may call the API
EXPOSED = AccessRules(None, frozenset(), frozenset(), is_local=False)


@pytest.mark.parametrize("path", ADMIN_REQUESTS)
def test_a_program_of_this_machine_may_administer_and_so_may_whoever_has_the_key(path):
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", None, ""):
        assert judge(OPEN, asked("POST", path, host)).error is None
    assert judge(OPEN, asked("POST", path, origin="http://localhost:3000")).error is None
    for site in ("same-origin", "none"):
        assert judge(OPEN, Asked("POST", path, "localhost", None, None, site=site)).error is None
    forwarded = Asked("POST", path, "nacelle.example", None, "Bearer secret", "x-forwarded-for")
    assert judge(WITH_KEY, forwarded).error is None
    assert isinstance(judge(WITH_KEY, asked("POST", path, authorization="Bearer no")).error, Unauthorized)


@pytest.mark.parametrize("path", ADMIN_REQUESTS)
@pytest.mark.parametrize(
    ("rules", "request_of", "why"),
    [
        (EXPOSED, {}, "this server can be reached from other machines"),
        (OPEN, {"forwarded_by": "via"}, "this request was forwarded by a proxy (via)"),
        (
            WIDE,
            {"host": "nacelle.example"},
            "the Host 'nacelle.example' is not an address of this machine alone",
        ),
        (OPEN, {"host": "192.168.1.9:8000"}, "the Host '192.168.1.9' is not an address"),
        (WIDE, {"origin": "https://evil.example"}, "pages of https://evil.example may not administer"),
        (WIDE, {"origin": "null"}, "pages of null may not administer"),
        (OPEN, {"site": "cross-site"}, "pages of other sites may not administer"),
        (WIDE, {"site": "same-site"}, "pages of other sites may not administer"),
        (
            WIDE,  # a page whose name was rebound to our address
            {"host": "evil.example", "origin": "http://evil.example"},
            "the Host 'evil.example' is not an address",
        ),
    ],
)
def test_nobody_else_may_although_all_may_use_the_models(path, rules, request_of, why):
    fields = {"method": "POST", "host": "localhost", "origin": None, "authorization": None} | request_of
    refused = judge(rules, Asked(path=path, **fields)).error
    assert isinstance(refused, Forbidden)
    assert refused.message.startswith(why)
    assert refused.message.endswith("set NACELLE_API_KEY and send it as a bearer token")
    assert judge(rules, Asked(path="/v1/models", **fields)).error is None


@pytest.mark.parametrize(
    "path", ["/administration", "/v1/admin", "/api/tags", "/api/chat", "/api/pull/x", "/"]
)
def test_paths_that_only_look_like_administration_are_open(path):
    assert judge(EXPOSED, asked("POST", path)).error is None


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For",
        "X-Forwarded",
        "Forwarded",
        "Forwarded-For",
        "X-Real-IP",
        "X-ProxyUser-Ip",
        "Client-IP",
        "Fly-Client-IP",
        "Via",
        "CF-Connecting-IP",
    ],
)
def test_a_proxy_is_recognized_by_what_it_adds(header):
    gate = Gate(hello, Settings())
    assert ask(gate, "POST", "/admin/models/load").status == 200
    answer = ask(gate, "POST", "//admin/models/load", **{header.replace("-", "_"): "1.2.3.4"})
    assert answer.status == 200, "the layer outside makes paths canonical"
    answer = ask(CanonicalPaths(gate), "POST", "//admin/models/load", **{header.replace("-", "_"): "1.2.3.4"})
    assert answer.status == 403
    assert header.lower() in json.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_a_page_of_another_site_embeds_administers_nothing(site):
    gate = Gate(hello, Settings())
    assert ask(gate, path="/admin/models", sec_fetch_site=site).status == 403
    assert ask(gate, path="/v1/models", sec_fetch_site=site).status == 200


async def unreachable(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("the application was reached")


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"vary", b"Accept")]})
    await send({"type": "http.response.body", "body": b"hello"})


def test_who_may_pass_reaches_the_application_and_its_answer_may_be_read_by_the_page():
    settings = Settings(api_key="secret", allowed_origins=["https://chat.example"])
    answer = ask(Gate(hello, settings), authorization="Bearer secret", origin="https://chat.example")
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers["access-control-allow-origin"] == "https://chat.example"
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"X-Request-ID", "Request-ID", "X-Nacelle-Model", "Retry-After"} < set(exposed)
    assert {"Retry-After-Ms", "X-Should-Retry", "X-Session-ID", "Idempotency-Replayed"} < set(exposed)
    assert "Anthropic-RateLimit-Tokens-Remaining" in exposed
    assert {"X-RateLimit-Remaining-Tokens", "X-RateLimit-Reset-Requests", "X-Nacelle-Cache"} < set(exposed)
    assert answer.headers["vary"] == "Accept, Origin"
    assert ask(Gate(hello, settings), authorization="Bearer secret").headers == {"vary": "Accept"}


def test_a_refusal_has_the_form_of_the_api_that_was_asked():
    gate = Gate(hello, Settings(api_key="secret"))
    refused = ask(gate, "POST", "/v1/messages", x_api_key="wrong")
    error = json.loads(refused.body)
    assert (refused.status, error["type"], error["error"]["type"]) == (401, "error", "authentication_error")
    assert ask(gate, "POST", "/v1/messages", x_api_key="secret").body == b"hello"
    assert json.loads(ask(gate, path="/v1/models").body)["error"]["code"] == "invalid_api_key"


def test_a_header_that_is_sent_twice_opens_nothing():
    scope = {"type": "http", "method": "GET", "path": "/"}
    for name, values in ((b"host", [b"localhost", b"evil.example"]), (b"origin", [b"http://localhost"] * 2)):
        headers = [(name, value) for value in values]
        sent = drive(Gate(unreachable, Settings()), scope | {"headers": headers})
        assert answer_of(sent).status == 403


def drive(app: Application, scope: Scope) -> list[Message]:
    return asyncio.run(run(app, scope, [{"type": "http.request"}]))


class Refusing:
    """Says on a Falcon route what the gate says outside Falcon."""

    def __init__(self, error):
        self._error = error

    async def on_get(self, request, response):
        raise self._error


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        (Settings(api_key="secret"), {}),
        (Settings(), {"host": "evil.example"}),
        (Settings(), {"host": "localhost", "origin": "https://evil.example"}),
    ],
    ids=["key", "host", "origin"],
)
def test_a_refusal_looks_like_every_other_error(settings, headers):
    refused = ask(Gate(unreachable, settings), path="/v1/models", **headers)
    error = json.loads(refused.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    app = falcon.asgi.App()
    install(app)
    kinds = {401: Unauthorized, 403: Forbidden}
    app.add_route("/v1/models", Refusing(kinds[refused.status](error["message"])))
    assert refused == ask(app, path="/v1/models", **headers)


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        (Settings(api_key="secret"), {"host": "localhost"}),
        (Settings(), {"host": "evil.example"}),
        (Settings(), {"host": "localhost", "origin": "https://evil.example"}),
    ],
    ids=["key", "host", "origin"],
)
def test_a_websocket_passes_the_same_checks(settings, headers):
    expected = 401 if settings.api_key else 403
    refused = answer_of(
        connect(Gate(unreachable, settings), [], "websocket.http.response", **headers), "websocket.http"
    )
    assert refused.status == expected
    assert json.loads(refused.body)["error"]["code"] in ("invalid_api_key", "forbidden")
    assert connect(Gate(unreachable, settings), [], **headers) == [{"type": "websocket.close"}]


def test_a_websocket_that_may_pass_reaches_the_application():
    key = {"authorization": "Bearer secret"}
    for settings, headers in ((Settings(api_key="secret"), key), (Settings(), {"host": "localhost"})):
        assert connect(Gate(hello, settings), [], **headers) == [{"type": "websocket.accept"}]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://a.example", "https://a.example"),
        ("https://a.example/", "https://a.example"),
        (" HTTPS://A.Example:443/ ", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("http://a.example:0080", "http://a.example"),
        ("http://a.example:443", "http://a.example:443"),
        ("http://localhost:3000/", "http://localhost:3000"),
        ("http://[::0:1]:8080", "http://[::1]:8080"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("http://open_webui:8080", "http://open_webui:8080"),
        ("*", "*"),
        ("null", "null"),
    ],
)
def test_an_origin_may_be_written_as_people_write_addresses(given, expected):
    assert normalized_origin(given) == expected
    allowed = access_rules(Settings(allowed_origins=[given])).origins
    assert origin_allowed(expected, "server.example", allowed)


@pytest.mark.parametrize(
    "given",
    [
        "a.example",
        "https://",
        "https://a.example/chat",
        "https://a.example?x",
        "https://user@a.example",
        "https://*.a.example",
        "https://a.example:99999",
        "https://a b",
        "https://$(reboot)",
        "",
        "x" * 100_000,
    ],
)
def test_what_is_no_origin_is_refused_with_what_one_looks_like(given):
    with pytest.raises(ConfigError) as caught:
        access_rules(Settings(allowed_origins=[given]))
    message = str(caught.value)
    assert message.startswith("allowed_origins: ")
    assert "use " in message
    assert len(message) <= 3 * 80 or given.startswith("xxx")
    with pytest.raises(ConfigError):
        Gate(unreachable, Settings(allowed_origins=[given]))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Models.Example.", "models.example"),
        ("models.example:8000", "models.example"),
        ("http://models.example:8000/", "models.example"),
        ("open_webui", "open_webui"),
        ("*", "*"),
    ],
)
def test_a_host_may_be_written_as_people_write_addresses(given, expected):
    assert normalized_host(given) == expected
    check_host("models.example:8000" if "models" in expected else "open_webui:1", {expected})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("fd00::1", "fd00::1"),
        ("[fd00::1]", "fd00::1"),
        ("[FD00:0:0::1]:8000", "fd00::1"),
        ("http://[::1]:8000/", "::1"),
        ("::", "::"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("192.0.2.1:8000", "192.0.2.1"),
    ],
)
def test_a_host_may_be_an_address(given, expected):
    host = normalized_host(given)
    assert ipaddress.ip_address(host) == ipaddress.ip_address(expected)
    assert access_rules(Settings(allowed_hosts=[given])).hosts == {host}
    assert normalized_host(host) == host


@pytest.mark.parametrize("given", ["[:::]", "fd00::1::2", "1:2:3", "[fd00", "fd00::1]", "[server]", "::1:x"])
def test_what_is_not_an_ipv6_address_is_refused_with_what_one_looks_like(given):
    with pytest.raises(ConfigError, match=r"allowed_hosts: .* use"):
        access_rules(Settings(allowed_hosts=[given]))
    with pytest.raises(ConfigError, match=r"allowed_origins: .* use"):
        access_rules(Settings(allowed_origins=[f"http://{given}"]))


@pytest.mark.parametrize("given", ["", "a/b", "*.example", "a b", "-x", "$(reboot)"])
def test_what_is_no_host_is_refused(given):
    with pytest.raises(ConfigError, match=r"allowed_hosts: .* use"):
        access_rules(Settings(allowed_hosts=[given]))


@pytest.mark.parametrize("origin", ["https://server.example", "https://SERVER.example:443"])
@pytest.mark.parametrize("host", ["server.example", "Server.Example:443", "server.example:443"])
def test_a_page_of_this_server_may_call_however_its_name_is_written(origin, host):
    assert origin_allowed(origin, host, [])
    assert not origin_allowed("http://server.example", host if ":" in host else "server.example:443", [])


@pytest.mark.parametrize(
    ("headers", "option"),
    [
        ({"host": "host.docker.internal:8000"}, "--allowed-host host.docker.internal"),
        ({"host": "Open_WebUI"}, "--allowed-host open_webui"),
        ({"host": "$(reboot)"}, "--allowed-host NAME"),
        ({"host": "x" * 101}, "--allowed-host NAME"),  # not the option for a part of it
        ({"host": "localhost", "origin": f"https://{'x' * 101}"}, "--allowed-origin ORIGIN"),
        ({"host": "localhost", "origin": "https://Chat.Example"}, "--allowed-origin https://chat.example"),
        ({"host": "localhost", "origin": "https://`reboot`"}, "--allowed-origin ORIGIN"),
        ({"host": "localhost", "origin": "file://"}, "--allowed-origin file://"),
        ({"host": "localhost", "origin": "app://-"}, "--allowed-origin app://-"),
        ({"host": "localhost", "origin": "http://"}, "--allowed-origin ORIGIN"),
    ],
)
def test_a_refusal_names_the_option_that_would_allow_it(headers, option):
    refused = ask(Gate(unreachable, Settings()), path="/v1/models", **headers)
    assert refused.status == 403
    assert f"{option} to allow" in json.loads(refused.body)["error"]["message"]
    verdict = judge(OPEN, asked(host=headers["host"], origin=headers.get("origin")))
    assert verdict.hint == option


@pytest.mark.parametrize("origin", ["file://", "app://-", "null", "capacitor://localhost"])
def test_pages_of_local_files_and_apps_can_be_allowed(origin):
    rules = access_rules(Settings(allowed_origins=[origin]))
    assert judge(rules, asked(host="localhost", origin=origin)).error is None
    assert judge(OPEN, asked(host="localhost", origin=origin)).error is not None


@pytest.mark.parametrize(
    "settings",
    [
        {"allowed_origins": ["https://*.example"]},
        {"allowed_origins": ["http://localhost:*"]},
        {"allowed_hosts": ["*.example"]},
    ],
)
def test_a_wildcard_in_a_name_is_refused_as_such(settings):
    with pytest.raises(ConfigError, match=r"wildcards are not supported; name each .*, or use \* for all$"):
        access_rules(Settings(**settings))


def test_a_name_that_no_host_can_have_is_not_looked_at():
    for normalized in (normalized_host, normalized_origin):
        with pytest.raises(ValueError, match="exceeds 253 characters"):
            normalized("https://" + "é" * 60_000)
