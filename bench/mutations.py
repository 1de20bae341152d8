"""Valid requests of every route, taken from a server's OpenAPI document, and random damage to them. Pure."""

import copy
import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import msgspec

from bench.forms import CONTENT_TYPE, encode_form

Json = Any
# What bounds the work of a request. Damage never makes it larger, since the aim is many requests.
_BOUNDS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "options", "num_predict", "n")
_WRONG_BOUNDS: tuple[Json, ...] = (0, -1, 1.5, 2**70, -(2**70), "4", [], {}, True)
# Routes that are meant to end engine processes, and those that download from other servers.
_LEFT_OUT = ("/kill", "/admin/downloads", "/api/pull", "/internal/")
_RARE = ("/admin/models/unload", "/admin/models/load", "/admin/reload")  # they take seconds
_RARELY = 0.05
_POLLING = "/socket.io/?EIO=4&transport=polling"
_ENDLESS = "a" * 100_000
_VALUES: tuple[Json, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 10**400, 0.5, -0.0, 1e308, 5e-324,
    "", " ", "\x00", "\ud83d", "é", "𝕬", "\u202e", "a\u0301" * 50, "../../etc/passwd", "%00", _ENDLESS,
    [], [[]], [None], {}, {"": None}, [1, "a", None], {"type": "text"}, {"$ref": "#"}, "NaN", ["x"] * 2000,
)  # fmt: skip
_TYPES = (
    "text/plain",
    "application/xml",
    "",
    "multipart/form-data",
    "application/json; charset=utf-16",
    "a" * 500,
)
_HEADERS = (
    ("Accept", "text/html;q=\x7f"), ("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked"),
    ("Content-Length", "5"), ("Content-Length", "-1"), ("Content-Length", "99999999999999"),
    ("Expect", "100-continue"), ("Host", ""), ("Host", "[::1"), ("Cookie", "a" * 5000),
    ("X-Request-ID", "\xff" * 300),
    ("Authorization", "Bearer "), ("X-Api-Key", "é".encode().decode("latin-1")), ("Range", "bytes=0-"),
    ("anthropic-version", "2023-06-01"), ("Upgrade", "h2c"), ("Connection", "Upgrade"),
    ("If-None-Match", "*, \"a"),
)  # fmt: skip
_PATHS = ("/", "//", "/..", "/%2e%2e/", "/%00", "/%ff", "?", "?a", "?model=", "?model=%ff", "?limit=x",
          "?stream=maybe", "?limit=999999999999999999999", "#x",
          ";x", "/" + "a" * 5000, "?" + "a=b&" * 2000)  # fmt: skip


class Request(msgspec.Struct, frozen=True):
    method: str
    path: str  # with its query
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    value: Json = None  # of a JSON body

    def encoded(self) -> bytes:
        """As HTTP/1.1, on a connection of its own."""
        given = {name.lower() for name, _ in self.headers}
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        usual = {"Host": "127.0.0.1", "Connection": "close"}
        if self.body and "transfer-encoding" not in given:
            usual["Content-Length"] = str(len(self.body))
        lines += [f"{name}: {value}" for name, value in usual.items() if name.lower() not in given]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + self.body

    @property
    def is_cut(self) -> bool:
        """Whether the head announces, validly, more body than there is: a server may go on to wait for it."""
        given = [(name.lower(), value) for name, value in self.headers]
        if ("transfer-encoding", "chunked") in given:
            size = self.body.partition(b"\r\n")[0]
            return all(byte in b"0123456789abcdefABCDEF" for byte in size)
        lengths = [value for name, value in given if name == "content-length"]
        return all(value.isdigit() for value in lengths) and any(int(n) > len(self.body) for n in lengths)


def seeds_of(document: Json, models: Mapping[str, str], recording: bytes) -> list[Request]:
    """A valid request per operation, and those of Socket.IO, which the document does not describe.

    `models` are the served models by the names that examples have.
    """
    found = []
    for template, methods in document["paths"].items():
        if any(part in template for part in _LEFT_OUT):
            continue
        path = template.replace("{model}", next(iter(models.values()))).replace("{", "").replace("}", "")
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            found.append(_seed(method.upper(), path, content, models, recording))
    return found + [Request(method, _POLLING) for method in ("GET", "POST")]


def _seed(
    method: str, path: str, content: Mapping[str, Json], models: Mapping[str, str], recording: bytes
) -> Request:
    for media_type, described in content.items():
        value = described.get("example")
        if isinstance(value, dict) and "model" in value:
            value = {**value, "model": models.get(value["model"], value["model"])}
        if media_type == "multipart/form-data":
            body = encode_form(value or {}, "a.wav", recording)
            return Request(method, path, (("Content-Type", CONTENT_TYPE),), body)
        return Request(method, path, (("Content-Type", media_type),), _dumped(value), value)
    return Request(method, path)


def is_rare(request: Request, random: Random) -> bool:
    """Whether the request is to be passed over this time."""
    return request.path.startswith(_RARE) and random.random() > _RARELY


def mutated(request: Request, random: Random) -> Request:
    """The request with one to three kinds of damage; now and then with none."""
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        kinds = _ON_JSON * 3 + _ON_ALL if isinstance(request.value, dict) else _ON_ALL
        request = random.choice(kinds)(request, random)
    return request


def _dumped(value: Json) -> bytes:
    """Also what is no valid JSON text, such as halves of surrogate pairs."""
    return json.dumps(value).encode()


def _places(value: Json, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    found = [path] if path else []
    for key, child in children:
        if len(found) < 200:
            found += _places(child, (*path, key))
    return found


def _changed(request: Request, random: Random, change: Callable[[Json, str | int], None]) -> Request:
    """With a change of one place of the body: `change(container, key)`."""
    value = copy.deepcopy(request.value)
    if not (places := _places(value)):
        return request
    *way, key = random.choice(places)
    container = value
    for step in way:
        container = container[step]
    if any(step in _BOUNDS for step in (*way, key)):
        container[key] = random.choice(_WRONG_BOUNDS)
    else:
        change(container, key)
    return msgspec.structs.replace(request, body=_dumped(value), value=value)


def _swap(request: Request, random: Random) -> Request:
    def change(container: Json, key: str | int) -> None:
        container[key] = copy.deepcopy(random.choice(_VALUES))

    return _changed(request, random, change)


def _drop(request: Request, random: Random) -> Request:
    def change(container: Json, key: str | int) -> None:
        del container[key]

    return _changed(request, random, change)


def _nest(request: Request, random: Random) -> Request:
    def change(container: Json, key: str | int) -> None:
        for _ in range(random.choice((1, 2, 50, 300))):
            container[key] = [container[key]] if random.random() < 0.5 else {"a": container[key]}

    return _changed(request, random, change)


def _repeat(request: Request, random: Random) -> Request:
    def change(container: Json, key: str | int) -> None:
        container[key] = [copy.deepcopy(container[key]) for _ in range(random.choice((0, 2, 300)))]

    return _changed(request, random, change)


def _extra(request: Request, random: Random) -> Request:
    """A field of another endpoint, or one that nobody knows."""
    name = random.choice(_FIELDS)
    value = {**request.value, name: random.choice(_VALUES)}
    return msgspec.structs.replace(request, body=_dumped(value), value=value)


def _duplicate(request: Request, random: Random) -> Request:
    key = random.choice(list(request.value) or ["a"])
    again = f"{json.dumps(key)}: {json.dumps(random.choice(_VALUES))}"
    if key in _BOUNDS:
        return request
    return msgspec.structs.replace(request, body=request.body.removesuffix(b"}") + f", {again}}}".encode())


def _bytes(request: Request, random: Random) -> Request:
    """A body that is cut, or in which bytes are wrong. It is no longer known as JSON."""
    body = bytearray(request.body or b"{}")
    at = random.randrange(len(body))
    match random.randrange(4):
        case 0:
            del body[at:]
        case 1:
            body[at] = random.randrange(256)
        case 2:
            body[at:at] = random.randbytes(random.choice((1, 8, 3000)))
        case _:
            body[at:at] = random.choice(
                (b"[" * 5000, b'{"a":' * 2000, b"\xef\xbb\xbf", b"NaN", b"\\ud800", b"\x00")
            )
    return msgspec.structs.replace(request, body=bytes(body), value=None)


def _content_type(request: Request, random: Random) -> Request:
    others = tuple(pair for pair in request.headers if pair[0] != "Content-Type")
    return msgspec.structs.replace(request, headers=(*others, ("Content-Type", random.choice(_TYPES))))


def _header(request: Request, random: Random) -> Request:
    return msgspec.structs.replace(request, headers=(*request.headers, random.choice(_HEADERS)))


def _path(request: Request, random: Random) -> Request:
    return msgspec.structs.replace(request, path=request.path + random.choice(_PATHS))


def _method(request: Request, random: Random) -> Request:
    method = random.choice(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"))
    return msgspec.structs.replace(request, method=method)


_ON_ALL = (_bytes, _content_type, _header, _path, _method)
_ON_JSON = (_swap, _swap, _drop, _nest, _repeat, _extra, _duplicate)
_FIELDS = (
    "stream", "temperature", "top_p", "stop", "seed", "tools", "tool_choice", "response_format", "logprobs",
    "structured_outputs", "format", "images", "think", "echo", "truncate", "dimensions", "encoding_format",
    "prompt", "keep_alive", "session_id", "store", "previous_response_id", "metadata", "chat_template_kwargs",
    "nosuch", "",
)  # fmt: skip
