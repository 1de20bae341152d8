"""What requests can say beyond OpenAI's basics, and what answers tell beyond their text. A real model."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.e2e.serving import EXACT, MODEL, Serving

PROMPT = "1, 2, 3, 4,"
STORY = "Once upon a time"


@pytest.fixture(scope="module")
def server(smollm2_ir):
    with Serving([str(smollm2_ir), "--name", MODEL], EXACT, {}) as serving:
        yield serving.wait_until_ready()


def ask(server: Serving, path: str, **fields: Any) -> httpx.Response:
    return server.http.post(path, json={"model": MODEL, "temperature": 0, **fields})


def chat(server: Serving, *messages: tuple[str, str], **fields: Any) -> Any:
    said = [{"role": role, "content": content} for role, content in messages]
    answer = ask(server, "/v1/chat/completions", messages=said, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def complete(server: Serving, prompt: Any = PROMPT, **fields: Any) -> Any:
    answer = ask(server, "/v1/completions", prompt=prompt, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_log_probabilities_of_a_completion_add_up_to_its_text(server):
    choice = complete(server, max_tokens=8, logprobs=1)["choices"][0]
    told = choice["logprobs"]
    assert "".join(told["tokens"]) == choice["text"]
    assert len(told["token_logprobs"]) == 8
    assert all(logprob <= 0 for logprob in told["token_logprobs"])
    assert math.exp(told["token_logprobs"][0]) > 0.5  # of course " 5" comes next
    assert told["text_offset"] == [sum(map(len, told["tokens"][:i])) for i in range(8)]


def test_log_probabilities_of_a_chat_hold_the_tokens_bytes(server):
    choice = chat(server, ("user", "Say café."), max_tokens=12, logprobs=True)["choices"][0]
    told = choice["logprobs"]["content"]
    assert b"".join(bytes(token["bytes"]) for token in told).decode() == choice["message"]["content"]


def test_a_stream_tells_the_same_log_probabilities(server, client):
    fields = {"model": MODEL, "prompt": PROMPT, "max_tokens": 8, "logprobs": 0, "temperature": 0}
    whole = client.completions.create(**fields).choices[0].logprobs
    chunks = [chunk.choices[0].logprobs for chunk in client.completions.create(**fields, stream=True)]
    told = [part for part in chunks if part is not None]
    assert [token for part in told for token in part.tokens] == whole.tokens
    assert [offset for part in told for offset in part.text_offset] == whole.text_offset
    logprobs = [logprob for part in told for logprob in part.token_logprobs]
    assert logprobs == pytest.approx(whole.token_logprobs, abs=1e-4)


def test_an_echo_comes_before_the_text_also_of_token_ids_and_in_streams(server, client):
    whole = complete(server, max_tokens=3, echo=True)["choices"][0]["text"]
    assert whole.startswith(PROMPT)
    assert len(whole) > len(PROMPT)
    tokens = ask(server, "/tokenize", prompt=PROMPT).json()["tokens"]
    assert complete(server, tokens, max_tokens=3, echo=True)["choices"][0]["text"] == whole
    stream = client.completions.create(
        model=MODEL, prompt=PROMPT, max_tokens=3, echo=True, temperature=0, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in stream) == whole


def test_a_prompt_is_scored_as_evaluations_ask_for_it(server):
    """Token ids with `echo` and `logprobs`: an entry per token of prompt and answer, each at its place."""
    first = complete(server, "The café 😀 of France", max_tokens=3, return_token_ids=True)["choices"][0]
    tokens = first["prompt_token_ids"]
    for max_tokens in (0, 3):
        answer = complete(server, tokens, max_tokens=max_tokens, logprobs=1, echo=True)
        choice = answer["choices"][0]
        told = choice["logprobs"]
        assert choice["text"] == "The café 😀 of France" + first["text"] * bool(max_tokens)
        assert "".join(told["tokens"]) == choice["text"]
        assert {len(values) for values in told.values()} == {len(tokens) + max_tokens}
        assert told["text_offset"] == [len("".join(told["tokens"][:i])) for i in range(len(told["tokens"]))]
        assert told["token_logprobs"][0] is told["top_logprobs"][0] is None
        assert all(logprob <= 0 for logprob in told["token_logprobs"][1:])
        assert told["top_logprobs"][1] == {told["tokens"][1]: told["token_logprobs"][1]}
        assert answer["usage"]["completion_tokens"] == max_tokens


def test_a_stream_tells_the_scores_of_its_prompt(server, client):
    fields = {"prompt": PROMPT, "max_tokens": 3, "echo": True, "logprobs": 1, "temperature": 0}
    whole = complete(server, **fields)["choices"][0]
    chunks = [chunk.choices[0] for chunk in client.completions.create(model=MODEL, **fields, stream=True)]
    assert "".join(chunk.text for chunk in chunks) == whole["text"]
    told = [chunk.logprobs for chunk in chunks if chunk.logprobs is not None]
    assert [token for part in told for token in part.tokens] == whole["logprobs"]["tokens"]
    assert [at for part in told for at in part.text_offset] == whole["logprobs"]["text_offset"]


def test_a_prompt_goes_to_tokens_and_back(server):
    answer = ask(server, "/tokenize", prompt=PROMPT, return_token_strs=True).json()
    assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"])
    assert "".join(answer["token_strs"]) == PROMPT
    assert answer["max_model_len"] == 8192
    assert ask(server, "/detokenize", tokens=answer["tokens"]).json() == {"prompt": PROMPT}


def test_a_tokenizer_is_described_and_asked_without_a_models_name(server):
    info = server.http.get("/tokenizer_info").json()
    assert (info["bos_token"], info["eos_token"]) == ("<|im_start|>", "<|im_end|>")
    assert (info["model_max_length"], "<|im_start|>" in info["chat_template"]) == (8192, True)
    tokens = server.http.post("/tokenize", json={"prompt": PROMPT}).json()["tokens"]
    assert server.http.post("/detokenize", json={"tokens": tokens}).json() == {"prompt": PROMPT}
    chat = {"messages": [{"role": "user", "content": "Hello"}]}
    assert server.http.post("/tokenize", json=chat).json()["count"] > 5
    assert server.http.get("/tokenizer_info?model=nobody").status_code == 404


def test_the_rendered_prompt_is_the_one_that_is_answered(server):
    messages = [{"role": "user", "content": "Hello"}]
    rendered = ask(server, "/v1/chat/completions/render", messages=messages).json()
    assert rendered["prompt"].endswith("<|im_start|>assistant\n")
    tokenized = ask(server, "/tokenize", messages=messages).json()
    answer = chat(server, ("user", "Hello"), max_tokens=1, return_token_ids=True)
    assert rendered["token_ids"] == tokenized["tokens"] == answer["prompt_token_ids"]


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize", "/v1/chat/completions/render"])
def test_a_question_that_makes_no_sense_is_a_400(server, path):
    assert ask(server, path).status_code == 400
    assert ask(server, path, prompt=5, tokens="x", messages=5).status_code == 400
    assert ask(server, "/detokenize", tokens=[5] * 8193).json()["error"]["param"] == "tokens"
    wrong = ask(server, "/detokenize", tokens=[10**6])
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "tokens")


def test_token_ids_of_prompt_and_answer(server):
    choice = complete(server, max_tokens=4, return_token_ids=True)["choices"][0]
    text = ask(server, "/detokenize", tokens=choice["token_ids"]).json()["prompt"]
    assert text == choice["text"]
    assert choice["prompt_token_ids"] == ask(server, "/tokenize", prompt=PROMPT).json()["tokens"]


def test_stop_tokens_and_stop_strings_say_which_it_was(server):
    plain = complete(server, max_tokens=20, return_token_ids=True)["choices"][0]
    token = plain["token_ids"][5]
    first = plain["token_ids"].index(token)
    stopped = complete(server, max_tokens=20, stop_token_ids=[token], return_token_ids=True)["choices"][0]
    assert (stopped["finish_reason"], stopped["stop_reason"]) == ("stop", token)
    assert stopped["token_ids"] == plain["token_ids"][: first + 1]
    text = complete(server, max_tokens=20, stop=["8,"], include_stop_str_in_output=True)["choices"][0]
    assert (text["stop_reason"], text["text"][-2:]) == ("8,", "8,")


def test_special_tokens_can_be_seen(server):
    fields = {"max_tokens": 16, "stop_at_turns": False, "ignore_eos": True}
    france = ("user", "What is the capital of France?")
    seen = chat(server, france, **fields, skip_special_tokens=False)
    unseen = chat(server, france, **fields)
    assert "<|im_" in seen["choices"][0]["message"]["content"]
    assert "<|" not in unseen["choices"][0]["message"]["content"]
    assert seen["usage"]["completion_tokens"] == unseen["usage"]["completion_tokens"] == 16


def test_the_last_tokens_of_a_prompt_can_be_kept(server):
    tokens = ask(server, "/tokenize", prompt=PROMPT).json()["tokens"]
    answer = complete(server, max_tokens=1, truncate_prompt_tokens=4, return_token_ids=True)
    assert answer["choices"][0]["prompt_token_ids"] == tokens[-4:]
    assert answer["usage"]["prompt_tokens"] == 4
    fits = complete(server, "word " * 9000, max_tokens=8000, truncate_prompt_tokens=-1, stop=[*"aeo "])
    assert fits["usage"]["prompt_tokens"] == 8192 - 8000


def test_a_last_message_can_be_continued(server):
    rendered = ask(
        server,
        "/v1/chat/completions/render",
        messages=[{"role": "user", "content": "Count."}, {"role": "assistant", "content": "1, 2, 3,"}],
        continue_final_message=True,
    ).json()["prompt"]
    assert rendered.endswith("1, 2, 3,")
    turns = ("user", "Count."), ("assistant", "1, 2, 3,")
    text = chat(server, *turns, continue_final_message=True, max_tokens=6)["choices"][0]["message"]["content"]
    assert "4" in text


def test_a_shared_prefix_is_found_in_the_cache(server):
    prefix = "The quick brown fox jumps over the lazy dog. " * 100
    first = complete(server, f"{prefix} One", max_tokens=1)["usage"]
    again = complete(server, f"{prefix} Two", max_tokens=1)["usage"]
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    assert again["prompt_tokens_details"]["cached_tokens"] > 0.9 * again["prompt_tokens"]


def test_a_seed_gives_the_same_text_alone_and_in_company(server):
    def seeded(seed: int) -> str:
        answer = complete(server, STORY, temperature=1, seed=seed, max_tokens=24)
        text: str = answer["choices"][0]["text"]
        return text

    alone = [seeded(seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(seeded, range(6))) == alone
    assert len(set(alone)) == 6


def test_a_fingerprint_stays_the_same(server):
    first, second = (complete(server, max_tokens=1)["system_fingerprint"] for _ in range(2))
    assert first == second != ""


def test_a_session_remembers_and_others_do_not(server):
    def turn(text: str, session: str | None) -> Any:
        return chat(server, ("user", text), max_tokens=8, session_id=session)["usage"]["prompt_tokens"]

    alone = turn("And then?", None)
    turn("Tell a story about a fox.", "one")
    assert turn("And then?", "one") > alone + 10
    assert turn("And then?", "two") == alone


def test_a_streamed_turn_is_remembered_too(server):
    fields = {"model": MODEL, "max_tokens": 8, "session_id": "streamed", "temperature": 0}
    body = {"messages": [{"role": "user", "content": "Tell a story about a fox."}], "stream": True, **fields}
    assert server.http.post("/v1/chat/completions", json=body).text.endswith("data: [DONE]\n\n")
    later = chat(server, ("user", "And then?"), **fields)["usage"]["prompt_tokens"]
    assert later > chat(server, ("user", "And then?"), max_tokens=8)["usage"]["prompt_tokens"] + 10


def test_two_turns_of_one_session_at_once_are_a_conflict(server):
    fields: Any = {"messages": [{"role": "user", "content": "x"}], "session_id": "busy"}
    body = {"model": MODEL, "stream": True, "max_tokens": 400, "ignore_eos": True, **fields}
    with server.http.stream("POST", "/v1/chat/completions", json=body) as stream:
        pieces = stream.iter_bytes()  # to let go of it would end the stream
        next(pieces)
        second = ask(server, "/v1/chat/completions", **fields)
    assert (second.status_code, second.json()["error"]["param"]) == (409, "session_id")


def test_an_answer_as_events_of_plain_text(server):
    fields = {"prompt": "Count from 1 to 5, one number per line.", "max_tokens": 12, "temperature": 0}
    expected = chat(server, ("user", fields["prompt"]), max_tokens=12)["choices"][0]["message"]["content"]
    answer = server.http.post("/v1/inference_sse", json=fields)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.removesuffix("\n\n").split("\n\n")
    lines = [[line.removeprefix("data: ") for line in event.split("\n")] for event in events]
    assert "".join("\n".join(of_event) for of_event in lines) == expected


def test_an_answer_as_named_events(server):
    fields = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4, "temperature": 0}
    answer = server.http.post("/v1/inference_sse", json=fields | {"events": "json"})
    events = [event.split("\n") for event in answer.text.removesuffix("\n\n").split("\n\n")]
    named = [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in events]
    assert [name for name, _ in named] == ["inference_token"] * (len(named) - 1) + ["inference_complete"]
    complete = named[-1][1]
    assert complete["message"] == "".join(data["token"] for _, data in named[:-1])
    assert (complete["model"], complete["usage"]["completion_tokens"]) == (MODEL, 4)
    assert {data["request_id"] for _, data in named} == {answer.headers["x-request-id"]}


@pytest.mark.parametrize("fields", [{}, {"messages": []}, {"prompt": ""}, {"prompt": "a", "n": 2}])
def test_a_prompt_for_plain_events_is_checked(server, fields):
    answer = server.http.post("/v1/inference_sse", json=fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] in ("prompt", "n")
