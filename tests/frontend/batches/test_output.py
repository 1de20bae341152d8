"""What becomes of an answer: a line of output, or another attempt."""

import json

import pytest

from frontend.batches.output import answered, refusal, refused, seconds_to_retry, unanswered
from frontend.usage import TokenUsage, usage_of

CHAT = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def test_an_answer_is_a_line_with_status_request_id_and_body():
    result = answered("a", 200, "req_1", b'{"usage":{"prompt_tokens":7,"completion_tokens":3}}')
    shown = json.loads(result.line)
    assert result.line.endswith(b"\n")
    assert shown.pop("id").startswith("batch_req_")
    assert shown == {
        "custom_id": "a",
        "response": {
            "status_code": 200,
            "request_id": "req_1",
            "body": {"usage": {"prompt_tokens": 7, "completion_tokens": 3}},
        },
        "error": None,
    }
    assert not result.failed
    assert result.usage == TokenUsage(7, 0, 3, 0)


@pytest.mark.parametrize("body", [b'{\n "a": "x\\ny"\n}\n', b'{"a": "x\\ny"}'])
def test_each_answer_is_one_line(body):
    result = answered("a", 200, "r", body)
    assert result.line.count(b"\n") == 1
    assert json.loads(result.line)["response"]["body"] == {"a": "x\ny"}


@pytest.mark.parametrize("body", [b"", b"<html>\n", b"\xff", b"[" * 100_000])
def test_an_answer_that_is_not_json_is_text(body):
    result = answered("a", 200, "r", body)
    assert result.line.count(b"\n") == 1
    assert json.loads(result.line)["response"]["body"] == body.decode(errors="replace")


def test_a_status_from_400_on_is_an_error_that_used_nothing():
    result = answered("a", 400, "r", json.dumps({"error": {"code": "x"}, "usage": CHAT}).encode())
    assert result.failed
    assert result.usage == TokenUsage()
    assert json.loads(result.line)["error"] is None


def test_a_request_without_an_answer_has_an_error():
    shown = json.loads(unanswered("a", "batch_expired", "too late").line)
    assert shown["response"] is None
    assert shown["error"] == {"code": "batch_expired", "message": "too late"}


@pytest.mark.parametrize(
    ("usage", "wanted"),
    [
        (CHAT, (7, 0, 3, 0)),
        (
            {
                **CHAT,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            (7, 4, 3, 2),
        ),
        (
            {
                "input_tokens": 7,
                "output_tokens": 3,
                "input_tokens_details": {"cached_tokens": 4},
                "output_tokens_details": {"reasoning_tokens": 2},
            },
            (7, 4, 3, 2),
        ),
        ({"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 3}, (7, 4, 3, 0)),
        ({"prompt_tokens": 7, "total_tokens": 7}, (7, 0, 0, 0)),
        ({"total_tokens": 7}, (7, 0, 0, 0)),
        (None, None),
        ({"prompt_tokens": "many"}, None),
    ],
)
def test_usage_is_read_under_the_names_of_every_api(usage, wanted):
    assert usage_of(json.dumps({"usage": usage}).encode()) == (wanted and TokenUsage(*wanted))


@pytest.mark.parametrize(("name", "value"), [("stream", True), ("background", True)])
def test_what_makes_no_sense_in_a_batch_is_a_400_that_names_it(name, value):
    error = refusal(json.dumps({name: value}).encode())
    assert error is not None
    shown = json.loads(refused("a", "/v1/chat/completions", error, "req_1").line)["response"]
    assert (shown["status_code"], shown["body"]["error"]["param"]) == (400, name)
    assert refusal(json.dumps({name: False}).encode()) is None
    of_anthropic = json.loads(refused("a", "/v1/messages", error, "req_1").line)["response"]["body"]
    assert of_anthropic["type"] == "error"


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 413, 422, 500])
def test_other_answers_are_final(status):
    assert seconds_to_retry(status, "1", 1) is None


def test_a_busy_server_is_asked_again_after_the_time_it_names():
    assert seconds_to_retry(429, "7", 1) == 7
    assert seconds_to_retry(429, "1", 500) == 1
    first, later = seconds_to_retry(503, None, 1), seconds_to_retry(503, None, 9)
    assert first is not None
    assert later is not None
    assert first < later <= 60
    assert seconds_to_retry(429, "86400", 1) == 60


@pytest.mark.parametrize(("status", "attempts"), [(503, 100), (529, 100), (502, 5), (504, 5)])
def test_attempts_are_bounded_except_for_a_429(status, attempts):
    assert seconds_to_retry(status, None, attempts - 1) is not None
    assert seconds_to_retry(status, None, attempts) is None
    assert seconds_to_retry(429, None, 100_000) is not None
