"""Limits that a model's settings set for each of its requests."""

import msgspec
import pytest

from frontend.config import ModelSettings
from frontend.errors import BadRequest, HostRefused, QueueFull
from frontend.routing.router import Model, Router, RouterOptions
from frontend.tasks.generation import Generation, generate
from frontend.tasks.text import SequenceSpec
from ipc.messages import ChatMessage, ChatPrompt, Prompt, Sampling, TextPrompt
from tests.frontend.routing.hosts import CARD, History, error_of


def ask(history: History, prompt: Prompt, max_tokens: int | None = None, **limits: int) -> Generation:
    history.route.settings = msgspec.structs.replace(ModelSettings(name="m", source="m"), **limits)
    router = Router(RouterOptions(arena_bytes=2**20, request_timeout_seconds=600))
    router.routes["m"] = history.route
    model = Model(router, history.route, CARD)
    spec = SequenceSpec(prompt, Sampling(max_tokens=max_tokens))
    model.call_when_late = lambda age, cancel: None  # type: ignore[assignment,method-assign,return-value]
    return generate(model, [spec], streaming=False)


def test_an_answer_is_bounded_and_more_may_not_be_asked_for():
    history = History()
    for asked, sent in ((None, 100), (100, 100), (7, 7), (-1, 100)):
        ask(history, TextPrompt("x"), asked, max_output_tokens=100)
        assert history.hosts[0].held()[-1].sampling.max_tokens == sent
    with pytest.raises(
        BadRequest, match="max_tokens is 101, and this model generates at most 100"
    ) as refusal:
        ask(history, TextPrompt("x"), 101, max_output_tokens=100)
    assert refusal.value.param == "max_tokens"


@pytest.mark.parametrize(
    ("prompt", "field"),
    [(TextPrompt("x"), "prompt"), (ChatPrompt(messages=[ChatMessage("user", "x")]), "messages")],
)
def test_a_prompt_that_is_too_long_is_refused_with_its_length(prompt, field):
    history = History()
    generation = ask(history, prompt, max_prompt_tokens=9)
    history.accept()
    error = error_of(generation)
    assert isinstance(error, HostRefused)
    assert error.message == f"{field}: the prompt has 10 tokens, and this model takes at most 9"
    assert (error.param, error.code, error.sizes) == (field, "context_length_exceeded", (10, 9))
    assert not history.hosts[0].held(), "the host need not compute it"
    assert generation.usage.prompt_tokens == 0
    fits = ask(history, prompt, max_prompt_tokens=10)
    history.accept()
    assert error_of(fits) is None


def test_a_model_may_have_a_queue_of_its_own_size():
    history = History(slots=1, max_queue=100)
    for _ in range(3):
        ask(history, TextPrompt("x"), max_waiting=2)
    with pytest.raises(QueueFull):
        ask(history, TextPrompt("x"), max_waiting=2)
    ask(history, TextPrompt("x"))
