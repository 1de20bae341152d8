"""Malformed requests get a 4xx that names the field; the engine host does not notice."""

import json

import pytest

from tests.e2e.serving import MODEL, Serving

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HI = [{"role": "user", "content": "hi"}]


def chat(**fields: object) -> tuple[str, bytes]:
    return CHAT, json.dumps({"model": MODEL, "messages": HI, **fields}).encode()


def text(**fields: object) -> tuple[str, bytes]:
    return TEXT, json.dumps({"model": MODEL, "prompt": "hi", **fields}).encode()


# name → (path and body, status, the field that the error names)
CASES: dict[str, tuple[tuple[str, bytes], int, str | None]] = {
    "broken JSON": ((CHAT, b'{"model": '), 400, None),
    "no JSON": ((CHAT, b"hello"), 400, None),
    "an empty body": ((CHAT, b""), 400, None),
    "a list": ((CHAT, b"[]"), 400, None),
    "deep JSON": ((CHAT, b'{"messages":' + b"[" * 50_000 + b"]" * 50_000 + b"}"), 400, "messages[0]"),
    "invalid UTF-8": ((CHAT, b'{"model":"\xff","messages":[]}'), 400, None),
    "no messages": ((CHAT, b'{"model":"smollm2"}'), 400, "messages"),
    "empty messages": (chat(messages=[]), 400, "messages"),
    "messages as text": (chat(messages="hi"), 400, "messages"),
    "an unknown role": (chat(messages=[{"role": "alien", "content": "x"}]), 400, "messages[0].role"),
    "a missing content": (chat(messages=[{"role": "user"}]), 400, "messages[0].content"),
    "a picture": (
        chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]),
        400,
        "messages[0].content[0]",
    ),
    "a temperature as text": (chat(temperature="hot"), 400, "temperature"),
    "a temperature of NaN": (chat(temperature=float("nan")), 400, "temperature"),
    "an infinite temperature": (chat(temperature=float("inf")), 400, "temperature"),
    "a huge temperature": (chat(temperature=1e300), 400, "temperature"),
    "a negative top_p": (chat(top_p=-0.5), 400, "top_p"),
    "a negative max_tokens": (chat(max_tokens=-1), 400, "max_tokens"),
    "a huge max_tokens": (chat(max_tokens=10**40), 400, "max_tokens"),
    "a seed beyond 64 bits": (chat(seed=2**64), 400, "seed"),
    "an empty stop": (chat(stop=""), 400, "stop"),
    "too many choices": (chat(n=10_000), 400, "n"),
    "a negative repetition penalty": (chat(repetition_penalty=-1), 400, "repetition_penalty"),
    "min_tokens above max_tokens": (chat(min_tokens=9, max_tokens=3), 400, "min_tokens"),
    "an empty prompt": (text(prompt=""), 400, "prompt"),
    "an empty list of prompts": (text(prompt=[]), 400, "prompt"),
    "a mixed prompt": (text(prompt=["a", 1]), 400, "prompt"),
    "a token id of 10^6": (text(prompt=[10**6]), 400, "prompt"),
    "a token id of 2^40": (text(prompt=[2**40]), 400, "prompt"),
    "a token id of -3": (text(prompt=[5, -3]), 400, "prompt"),
    "a token id beyond 64 bits": (text(prompt=[2**70]), 400, "prompt[0]"),
    "a prompt beyond the context": (text(prompt="word " * 9000), 400, "prompt"),
    "stream_options without a stream": (chat(stream_options={"include_usage": True}), 400, "stream_options"),
    "logprobs": (text(logprobs=2), 400, "logprobs"),
    "no such model": (chat(model="nobody"), 404, "model"),
    "a body above the limit": ((CHAT, b" " * (2 * 1024**2)), 413, None),
}


@pytest.fixture(scope="module")
def server(qwen3_ir):
    with Serving([str(qwen3_ir), "--name", MODEL], ["--max-body-bytes", str(1024**2)], {}) as serving:
        yield serving.wait_until_ready()


@pytest.mark.parametrize("name", CASES)
def test_a_malformed_request_is_refused_and_the_host_lives_on(server: Serving, name):
    (path, body), status, param = CASES[name]
    before = server.host_pid()
    answer = server.http.post(path, content=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["param"] == param, error
    assert error["type"] == "invalid_request_error"
    assert error["message"] and error["code"]
    assert param is None or param in error["message"], error
    assert "/" + "src" not in error["message"]  # no path of the engine's sources
    assert server.host_pid() == before


def test_after_all_of_them_the_model_still_answers(server: Serving):
    assert server.chat().status_code == 200
    assert server.readiness()["replicas"][0]["restarts"] == 0


def test_a_body_above_the_limit_is_refused_also_without_a_length(server: Serving):
    chunks = (b" " * 65536 for _ in range(32))
    assert server.http.post(CHAT, content=chunks).status_code == 413
