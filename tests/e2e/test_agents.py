"""Agent frameworks as their users have them: a tool loop runs to its end.

The tool must be called with valid arguments, for the server forces that; what the models say at the end is no
matter.
"""

import asyncio
import json
from typing import Any, Literal

import anthropic
import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic import BaseModel, Field, SecretStr
from pydantic_ai import Agent, RunContext, UsageLimits
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

from tests.e2e.serving import Serving

MODELS = pytest.mark.parametrize("model", ["plain", "qwen3"])
QUESTION = "Is it warm on Monday?"
Day = Literal["monday", "sunday"]


@pytest.fixture(autouse=True)
def nothing_is_reported_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.setenv(name, "false")


class Report(BaseModel):
    """What the weather will be."""

    day: Day
    degrees: int = Field(ge=-20, le=40)


# --- LangChain ----------------------------------------------------------------------------------------


@tool
def forecast(day: Day, hours: list[Literal["morning", "evening"]]) -> str:
    """The forecast for hours of a day."""
    return f"{day} {' and '.join(hours)}: warm"


@pytest.fixture
def langchain(tool_server: Serving, model: str) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=f"{tool_server.base_url}/v1",
        api_key=SecretStr("unused"),
        model=model,
        temperature=0,
        max_completion_tokens=200,
        max_retries=0,
        timeout=60,
    )


@MODELS
def test_langchain_calls_a_tool_and_answers(langchain: ChatOpenAI) -> None:
    messages: list[BaseMessage] = [HumanMessage(QUESTION)]
    calling = langchain.bind_tools([forecast], tool_choice="required", parallel_tool_calls=False)
    asked = calling.invoke(messages)
    assert [call["name"] for call in asked.tool_calls] == ["forecast"]
    result = forecast.invoke(asked.tool_calls[0])
    assert isinstance(result, ToolMessage) and result.text.endswith("warm")
    answering = langchain.bind_tools([forecast], tool_choice="none", max_completion_tokens=30)
    answer = answering.invoke([*messages, asked, result])
    assert answer.content
    assert not answer.tool_calls


@MODELS
def test_langchain_streams_a_call(langchain: ChatOpenAI) -> None:
    calling = langchain.bind_tools([forecast], tool_choice="forecast", parallel_tool_calls=False)
    whole: Any = None
    for chunk in calling.stream(QUESTION):
        whole = chunk if whole is None else whole + chunk
    assert isinstance(whole, AIMessage)
    assert forecast.invoke(whole.tool_calls[0]).content.endswith("warm")
    assert whole.response_metadata["finish_reason"] == "tool_calls"


@MODELS
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_langchain_gets_structured_output(langchain: ChatOpenAI, method: Any) -> None:
    assert isinstance(langchain.with_structured_output(Report, method=method).invoke(QUESTION), Report)


# --- Pydantic AI --------------------------------------------------------------------------------------


APIS = pytest.mark.parametrize("api", [OpenAIChatModel, OpenAIResponsesModel], ids=["chat", "responses"])
Calls = list[tuple[Day, int]]


def agent_of(model: Model, output: Any, final: Any) -> tuple[Agent[None, Any], Calls]:
    """An agent that must call its tool and then do as the tool choice `final` says; and its calls."""
    called: Calls = []

    def settings(context: RunContext[None]) -> ModelSettings:
        choice = ["get_weather"] if context.run_step <= 1 else final
        limit = 30 if choice == "none" else 200
        return ModelSettings(temperature=0, max_tokens=limit, parallel_tool_calls=False, tool_choice=choice)

    agent = Agent(model, output_type=output, model_settings=settings, deps_type=type(None))

    @agent.tool_plain
    def get_weather(day: Day, hours: Literal[6, 12, 24]) -> str:
        """The weather in the next hours of a day."""
        called.append((day, hours))
        return "warm"

    return agent, called


def run(server: Serving, api: Any, model: str, output: Any, final: Any) -> tuple[Any, Calls]:
    """What the agent gives in the end, and the calls it made."""

    async def to_the_end() -> tuple[Any, Calls]:
        async with AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="unused", max_retries=0) as client:
            agent, called = agent_of(api(model, provider=OpenAIProvider(openai_client=client)), output, final)
            ended = await agent.run(QUESTION, usage_limits=UsageLimits(request_limit=3))
            return ended.output, called

    return asyncio.run(to_the_end())


@MODELS
@APIS
def test_pydantic_ai_calls_a_tool_and_answers(tool_server: Serving, api: Any, model: str) -> None:
    answer, called = run(tool_server, api, model, str, "none")
    assert len(called) == 1
    assert answer


@MODELS
@APIS
def test_pydantic_ai_calls_a_tool_and_returns_a_typed_result(
    tool_server: Serving, api: Any, model: str
) -> None:
    answer, called = run(tool_server, api, model, Report, ["final_result"])
    assert len(called) == 1
    assert isinstance(answer, Report)


# --- Anthropic's package ------------------------------------------------------------------------------


Asked = list[Any]
RANDOM = "qwen3"
GREEDY = {"temperature": 0}  # the package has no such parameter any more
ASKED: Asked = [{"role": "user", "content": QUESTION}]
FORECAST: Any = {
    "name": "forecast",
    "description": "The forecast for a day.",
    "strict": True,
    "input_schema": {
        "type": "object",
        "properties": {"day": {"enum": ["monday", "sunday"]}},
        "required": ["day"],
        "additionalProperties": False,
    },
}


class Sky(BaseModel):
    """What is to be seen. Without bounds, since the package drops them from schemas."""

    day: Day
    is_clear: bool | None


def test_the_tool_runner_of_anthropics_package_runs_a_tool(anthropic_client: anthropic.Anthropic) -> None:
    called: list[str] = []

    @anthropic.beta_tool
    def get_weather(day: Day) -> str:
        """The weather on a day.

        Args:
            day: The day.
        """
        called.append(day)
        return "warm"

    runner = anthropic_client.beta.messages.tool_runner(
        model=RANDOM,
        messages=ASKED,
        tools=[get_weather],
        tool_choice={"type": "tool", "name": "get_weather"},
        max_tokens=200,
        max_iterations=2,
        extra_body=GREEDY,
    )
    asked, again = runner  # the choice is the same in every turn
    assert [block.type for block in asked.content] == ["tool_use"]
    assert asked.stop_reason == again.stop_reason == "tool_use"
    assert set(called) <= {"monday", "sunday"} and called
    assert again.usage.input_tokens + (again.usage.cache_read_input_tokens or 0) > asked.usage.input_tokens


def test_anthropics_package_streams_a_call(anthropic_client: anthropic.Anthropic) -> None:
    with anthropic_client.messages.stream(
        model=RANDOM,
        messages=ASKED,
        tools=[FORECAST],
        tool_choice={"type": "any"},
        max_tokens=200,
        extra_body=GREEDY,
        system=[{"type": "text", "text": "Call the tool.", "cache_control": {"type": "ephemeral"}}],
    ) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        message = stream.get_final_message()
    [call] = message.content
    assert call.type == "tool_use"
    assert call.name == "forecast"
    assert call.input == json.loads("".join(pieces))
    assert call.input["day"] in ("monday", "sunday")
    assert message.stop_reason == "tool_use"
    answer = anthropic_client.messages.create(
        model=RANDOM,
        messages=[
            *ASKED,
            message.to_param(),
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "warm"}]},
        ],
        tools=[FORECAST],
        tool_choice={"type": "none"},
        max_tokens=10,
    )
    assert {block.type for block in answer.content} <= {"text", "thinking"}


def test_anthropics_package_streams_a_thought_and_sends_it_back(
    anthropic_client: anthropic.Anthropic,
) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    fields: Any = {"model": "qwen3.5", "max_tokens": 12, "extra_body": GREEDY, "thinking": thinking}
    with anthropic_client.messages.stream(messages=ASKED, **fields) as stream:
        events = [event.type for event in stream]
        message = stream.get_final_message()
    [thought] = message.content
    assert thought.type == "thinking"
    assert thought.thinking and thought.signature
    assert events[-4:] == ["signature", "content_block_stop", "message_delta", "message_stop"]
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens_details is not None
    assert message.usage.output_tokens_details.thinking_tokens == message.usage.output_tokens == 12
    more = [*ASKED, message.to_param(), {"role": "user", "content": "And on Sunday?"}]
    assert anthropic_client.messages.create(messages=more, **fields).content
    without: Any = {**fields, "thinking": {"type": "disabled"}}
    assert anthropic_client.messages.create(messages=ASKED, **without).content[0].type == "text"


def test_anthropics_package_gets_typed_output(anthropic_client: anthropic.Anthropic) -> None:
    message = anthropic_client.messages.parse(
        model=RANDOM, messages=ASKED, output_format=Sky, max_tokens=200, extra_body=GREEDY
    )
    assert isinstance(message.parsed_output, Sky)


def test_anthropics_package_counts_tokens_as_answers_do(anthropic_client: anthropic.Anthropic) -> None:
    fields: Any = {"model": "plain", "messages": ASKED, "system": "Be brief.", "tools": [FORECAST]}
    counted = anthropic_client.messages.count_tokens(**fields).input_tokens
    usages = [anthropic_client.messages.create(**fields, max_tokens=limit).usage for limit in (1, 0)]
    assert [u.input_tokens + (u.cache_read_input_tokens or 0) for u in usages] == [counted, counted]
    assert (usages[1].cache_read_input_tokens or 0) > 0


def test_anthropics_package_gets_its_stop_sequence_and_its_errors(
    anthropic_client: anthropic.Anthropic,
) -> None:
    begun: Asked = [
        {"role": "user", "content": "Count."},
        {"role": "assistant", "content": "1, 2, 3, 4, 5,"},
    ]
    undisturbed = anthropic_client.messages.create(
        model="plain", messages=begun, max_tokens=30, extra_body=GREEDY
    )
    text = undisturbed.content[0].text  # type: ignore[union-attr]
    stop = text[20:26]
    message = anthropic_client.messages.create(
        model="plain", messages=begun, stop_sequences=[stop, stop[-3:]], max_tokens=30, extra_body=GREEDY
    )
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", stop)
    assert message.content == [anthropic.types.TextBlock(type="text", text=text[: text.index(stop)])]
    with pytest.raises(anthropic.NotFoundError) as missing:
        anthropic_client.messages.create(model="nobody", messages=ASKED, max_tokens=1)
    assert missing.value.type == "not_found_error"
    assert missing.value.request_id
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > \d+ maximum"):
        anthropic_client.messages.create(
            model="plain", messages=[{"role": "user", "content": "word " * 20_000}], max_tokens=1
        )
    assert "plain" in [model.id for model in anthropic_client.models.list()]
