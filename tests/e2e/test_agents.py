"""Agent frameworks as their users have them: a tool loop runs to its end.

The tool must be called with valid arguments, for the server forces that; what the models say at the end is no
matter.
"""

import asyncio
from typing import Any, Literal

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

MODELS = pytest.mark.parametrize("model", ["smollm2", "qwen3"])
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
