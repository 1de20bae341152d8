"""Damaged requests: the same from the same seed, bounded in the work that they ask for."""

import json
from random import Random
from typing import Any

import pytest

from bench.mutations import Request, mutated, seeds_of

BODY = {"model": "smollm2", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4}
DOCUMENT: dict[str, Any] = {
    "paths": {
        "/v1/chat/completions": {
            "post": {"requestBody": {"content": {"application/json": {"example": BODY}}}}
        },
        "/ready/{model}": {"get": {}},
        "/admin/hosts/{model}/{replica}/kill": {"post": {}},
        "/v1/audio/transcriptions": {
            "post": {"requestBody": {"content": {"multipart/form-data": {"example": {"model": "whisper"}}}}}
        },
    }
}


def seeds() -> list[Request]:
    return seeds_of(DOCUMENT, {"smollm2": "served"}, b"sound")


def test_there_is_a_valid_request_per_operation_that_does_no_harm():
    chat, ready, form, *_ = seeds()
    assert json.loads(chat.body)["model"] == "served"
    assert (ready.method, ready.path) == ("GET", "/ready/served")
    assert b"sound" in form.body and form.headers[0][1].startswith("multipart/form-data; boundary=")


def test_a_seed_gives_the_same_damage_again():
    def sent() -> list[bytes]:
        return [mutated(chat, Random(f"0/{number}")).encoded() for number in range(100)]

    chat = seeds()[0]
    assert sent() == sent()
    assert len(set(sent())) > 50


def test_damage_never_asks_for_more_tokens():
    chat = seeds()[0]
    for number in range(500):
        damaged = mutated(chat, Random(number))
        if isinstance(damaged.value, dict) and "messages" in damaged.value:
            most = damaged.value.get("max_tokens", "missing")
            assert most == 4 or not isinstance(most, int) or not 4 < most < 2**63, damaged
            assert most not in ("missing", None)


@pytest.mark.parametrize(
    ("headers", "body", "is_cut"),
    [
        ((), b"{}", False),
        ((("Content-Length", "5"),), b"{}", True),
        ((("Content-Length", "5"),), b"[1, 2]", False),
        ((("Content-Length", "-1"),), b"", False),
        ((("Content-Length", "5"), ("Content-Length", "-1")), b"", False),
        ((("Transfer-Encoding", "chunked"),), b"", True),
        ((("Transfer-Encoding", "chunked"),), b"{}", False),
        ((("Expect", "100-continue"),), b"{}", False),
    ],
)
def test_only_a_request_that_announces_more_than_it_sends_may_get_no_answer(
    headers: tuple[tuple[str, str], ...], body: bytes, is_cut: bool
):
    assert Request("POST", "/", headers, body).is_cut == is_cut
