"""The `openai` client against a real server with a real model."""

import openai
import pytest

from tests.e2e.serving import MODEL, Serving

PARIS = [{"role": "user", "content": "What is the capital of France?"}]


def test_a_chat_is_answered_with_usage_and_a_finish_reason(client):
    answer = client.chat.completions.create(model=MODEL, messages=PARIS, temperature=0, max_tokens=30)
    assert "Paris" in answer.choices[0].message.content
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.id.startswith("chatcmpl-")
    assert answer.object == "chat.completion"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens > 20  # the template's system prompt counts


def test_a_stream_says_the_same_as_the_whole_answer(client):
    fields = {"model": MODEL, "messages": PARIS, "temperature": 0, "max_tokens": 20}
    whole = client.chat.completions.create(**fields)
    chunks = list(
        client.chat.completions.create(**fields, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_without_asking_for_usage_has_a_choice_in_every_chunk(client):
    stream = client.chat.completions.create(model=MODEL, messages=PARIS, max_tokens=5, stream=True)
    assert all(len(chunk.choices) == 1 for chunk in stream)


def test_the_token_limit_is_the_finish_reason_length(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=PARIS, max_completion_tokens=3, extra_body={"ignore_eos": True}
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


def test_completions_of_text_and_of_token_ids(client):
    answer = client.completions.create(
        model=MODEL, prompt="The capital of France is", temperature=0, max_tokens=5
    )
    assert "Paris" in answer.choices[0].text
    assert answer.object == "text_completion"
    tokens = client.completions.create(
        model=MODEL, prompt=[504, 3575, 282, 4649, 314], temperature=0, max_tokens=5
    )
    assert tokens.usage.prompt_tokens == 5


def test_several_prompts_with_several_choices_each(client):
    answer = client.completions.create(model=MODEL, prompt=["One", "Two"], n=2, max_tokens=4)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]


def test_completions_stream(client):
    fields = {"model": MODEL, "prompt": "1, 2, 3, 4,", "temperature": 0, "max_tokens": 12}
    whole = client.completions.create(**fields)
    chunks = list(client.completions.create(**fields, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_ends_the_answer_and_is_left_out(client, stream):
    fields = {"model": MODEL, "prompt": "1, 2, 3, 4,", "temperature": 0, "max_tokens": 40, "stop": ["7, 8"]}
    answer = client.completions.create(**fields, stream=stream)
    chunks = list(answer) if stream else [answer]
    text = "".join(chunk.choices[0].text for chunk in chunks)
    assert text.endswith("6, ")
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_choices_of_one_request_differ_and_a_seed_repeats_them(client):
    fields = {"model": MODEL, "prompt": "Once upon a time", "temperature": 1.0, "max_tokens": 20, "n": 3}
    texts = [choice.text for choice in client.completions.create(**fields).choices]
    assert len(set(texts)) > 1
    for seed in (0, 7):
        once, again = (
            [choice.text for choice in client.completions.create(**fields, seed=seed).choices]
            for _ in range(2)
        )
        assert once == again


def test_unseeded_requests_differ(client):
    fields = {"model": MODEL, "prompt": "Once upon a time", "temperature": 1.0, "max_tokens": 20}
    assert len({client.completions.create(**fields).choices[0].text for _ in range(3)}) > 1


def test_min_tokens_and_ignore_eos(client):
    fields = {"model": MODEL, "messages": PARIS, "temperature": 0}
    answer = client.chat.completions.create(**fields, max_tokens=40, extra_body={"min_tokens": 30})
    assert answer.usage.completion_tokens >= 30


def test_the_models_are_listed(client):
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).object == "model"


def test_an_unknown_model_is_a_404_that_says_so(client):
    for call in (
        lambda: client.models.retrieve("nobody"),
        lambda: client.chat.completions.create(model="nobody", messages=PARIS),
        lambda: client.completions.create(model="nobody", prompt="x"),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            call()
        assert caught.value.code == "model_not_found"


def test_a_bad_value_is_a_400_that_names_it_also_for_a_stream(client):
    overlong = [{"role": "user", "content": "word " * 9000}]
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model=MODEL, messages=overlong, stream=stream)
        assert caught.value.code == "context_length_exceeded"
        assert caught.value.param == "messages"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_more_tokens_than_the_context_holds_are_as_many_as_it_holds(client, name: str):
    """Coding agents ask for 32000, whatever the model."""
    answer = client.chat.completions.create(model=MODEL, messages=PARIS, temperature=0, **{name: 1_000_000})
    assert "Paris" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"


def test_a_parameter_that_cannot_be_honoured_is_a_400_that_names_it(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=PARIS, logit_bias={"5": 1})
    assert caught.value.param == "logit_bias"


def test_a_request_id_is_given_or_kept(server: Serving):
    assert server.http.get("/health").headers["x-request-id"].startswith("req_")
    kept = server.http.get("/health", headers={"x-request-id": "mine-1"})
    assert kept.headers["x-request-id"] == "mine-1"


def test_an_unknown_path_or_method_is_answered_as_openai_does(server: Serving):
    assert server.http.get("/v1/nothing").json()["error"]["code"] == "not_found"
    assert server.http.put("/v1/chat/completions").status_code == 405


def test_a_large_request_crosses_in_shared_memory_and_the_memory_comes_back(server: Serving):
    kwargs = {"unused": "x" * 100_000}  # the template has no use for it, but it is part of the prompt
    answer = server.http.post(
        "/v1/chat/completions",
        json={"model": MODEL, "messages": PARIS, "max_tokens": 1, "chat_template_kwargs": kwargs},
    )
    assert answer.status_code == 200
    assert server.metric("nacelle_arena_leased_bytes") == 0
