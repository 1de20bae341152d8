"""Every error has a status, and every code a host can send has an error."""

from collections.abc import Iterator

import pytest

from frontend import errors
from frontend.errors import ServerError, from_host
from ipc.errors import ErrorCode, RequestError


def kinds(base: type[ServerError] = ServerError) -> Iterator[type[ServerError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.mark.parametrize("kind", list(kinds()))
def test_every_error_has_a_status_a_type_and_a_code(kind):
    assert kind.status in (400, 401, 403, 404, 405, 409, 410, 413, 422, 429, 500, 502, 503, 504)
    assert kind.type and kind.code


def test_the_picture_at_the_top_shows_every_error_with_its_status():
    for kind in kinds():
        shown = kind.__name__ if kind is errors.HostRefused else f"{kind.__name__} {kind.status}"
        assert shown in (errors.__doc__ or "")


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_that_crosses_becomes_an_error_that_keeps_its_words(code):
    error = from_host(RequestError(code, "why not this top_p", "top_p"))
    assert (error.message, error.param, error.code) == ("why not this top_p", "top_p", code.value)
    assert error.status == (500 if code is ErrorCode.ENGINE_FAILED else 400)


def test_a_refusal_that_does_not_name_the_field_gets_its_name():
    refusal = from_host(RequestError(ErrorCode.INVALID_VALUE, "must be positive", "top_p"))
    assert refusal.message == "top_p: must be positive"
