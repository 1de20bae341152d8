"""Requests that other servers answer pay for the tokens that these report."""

import json
import time
from typing import Any

import pytest

from frontend.caller import Caller
from frontend.config import Settings
from frontend.errors import RateLimited
from frontend.limits.forwarded import Forwarded, ReadAnswer
from frontend.limits.quotas import Quotas

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
KEY = Caller(key_id="a")
LIMIT = 10_000


def quotas() -> Quotas:
    found = Quotas(lambda: 0.0)
    found.follow(Settings(tokens_per_minute=LIMIT))
    return found


def used(found: Quotas) -> int:
    return LIMIT - found.levels(KEY)[0].remaining


def begun(found: Quotas, path: str = CHAT, **fields: Any) -> Forwarded:
    return Forwarded(found, KEY, path, json.dumps({"x": "a" * 392, **fields}).encode())


def read(*parts: bytes, is_stream: bool = False) -> ReadAnswer:
    answer = ReadAnswer(is_stream)
    for part in parts:
        answer.take(part)
    answer.end()
    return answer


@pytest.mark.parametrize(
    ("path", "fields", "estimate"),
    [
        (CHAT, {}, 100 + 256),
        (CHAT, {"max_tokens": 50}, 106 + 50),
        (CHAT, {"max_tokens": 7, "max_completion_tokens": 50}, 111 + 50),
        ("/v1/responses", {"max_output_tokens": 50}, 107 + 50),
        (CHAT, {"max_tokens": "all"}, 106 + 256),
        (EMBEDDINGS, {}, 100),
        ("/v1/audio/speech", {}, 0),
        ("/v1/messages/count_tokens", {}, 0),
        (CHAT, {"image": "data:image/png;base64," + "iVBORw0K" * 100_000}, 110 + 256),
    ],
)
def test_an_estimate_is_taken_first(path, fields, estimate):
    found = quotas()
    begun(found, path, **fields)
    assert used(found) == pytest.approx(estimate, abs=2)


def reporting(**usage: Any) -> bytes:
    return json.dumps({"usage": usage}).encode()


def event(**fields: Any) -> bytes:
    return b"event: x\ndata: " + json.dumps(fields).encode() + b"\r\n\r\n"


CHAT_USAGE = {"prompt_tokens": 9, "completion_tokens": 4}
NO_CACHE = {"cached_tokens": None}


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        (read(reporting(**CHAT_USAGE)[:20], reporting(**CHAT_USAGE)[20:]), 13),
        (read(reporting(prompt_tokens=8, total_tokens=8)), 8),
        (read(reporting(input_tokens=3, output_tokens=2, cache_read_input_tokens=10)), 15),
        (read(reporting(**CHAT_USAGE, prompt_tokens_details=NO_CACHE)), 13),
        (read(event(usage=None), event(usage=CHAT_USAGE) + b"data: [DONE]\n\n", is_stream=True), 13),
        (
            read(
                event(message={"usage": {"input_tokens": 25, "output_tokens": 1}}),
                event(usage={"output_tokens": 15}),
                is_stream=True,
            ),
            40,
        ),
        (read(event(response={"usage": {"input_tokens": 6, "output_tokens": 2}}), is_stream=True), 8),
        (read(*[b"data: {}\n\n"] * 7, b"data: {}\n\ndata: {}\n\n", is_stream=True), 100 + 9),
        (read(b'{"no":"usage"}'), 100 + 256),
        (read(b'{"usage":"secret"}'), 100 + 256),
    ],
)
def test_what_the_answer_reports_replaces_the_estimate(answer, tokens):
    found = quotas()
    work = begun(found)
    work.answer = answer
    for _ in range(2):  # it is paid once
        work.end(left=False)
    assert used(found) == pytest.approx(tokens, abs=1)


def test_media_are_no_prompt_and_runs_that_are_too_short_for_media_do_not_take_long_to_read():
    found = quotas()
    begun(found, image="A" * 512)
    assert used(found) == pytest.approx(100 + 256, abs=4)
    found.follow(Settings(tokens_per_minute=10**6))
    began = time.process_time()
    Forwarded(found, KEY, EMBEDDINGS, (b"A" * 511 + b" ") * 1000)
    assert time.process_time() - began < 0.1, "half a megabyte"


def test_who_gets_no_answer_pays_nothing_and_who_leaves_what_was_taken():
    found = quotas()
    begun(found).end(left=False)
    assert used(found) == 0
    begun(found).end(left=True)
    assert used(found) == pytest.approx(100 + 256, abs=1)


def test_more_than_is_left_is_refused():
    found = quotas()
    begun(found, max_tokens=9800)
    with pytest.raises(RateLimited, match="10000 tokens per minute"):
        begun(found)
    with pytest.raises(RateLimited, match="never"):
        begun(quotas(), max_tokens=LIMIT)


def test_without_a_limit_nothing_is_counted():
    found = Quotas(lambda: 0.0)
    begun(found).end(left=True)
    assert found.levels(KEY) == []
