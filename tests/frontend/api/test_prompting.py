"""Planning a turn: the prompt, grammar and sampling that hosts receive."""

import json
from typing import Any

import msgspec
import pytest

from frontend.api.prompting import Plan, TurnSpec, plan_turn
from frontend.api.schema.tools import FunctionTool, ToolUse
from frontend.errors import BadRequest
from frontend.parsing import detect
from ipc.messages import ChatMessage, Sampling, ToolCall

QWEN = detect("{{ tools }} <tool_call> <think> </think>")  # a template with tools and reasoning
PLAIN = detect("{{ messages }}")
HI = [ChatMessage("user", "hi")]
SCHEMA = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
TOOL = FunctionTool(name="f", description="d", parameters=SCHEMA)
STRICT = FunctionTool(name="f", parameters=SCHEMA, strict=True)
IMPOSSIBLE = {"type": "object", "properties": {"x": {"not": {"type": "null"}}}}  # cannot be enforced
FORMAT = {"type": "regex", "pattern": "a"}


def planned(dialect=QWEN, messages=HI, **fields: Any) -> Plan:
    return plan_turn(TurnSpec(model="m", messages=messages, samplings=[Sampling()], **fields), dialect)


def grammar_of(plan: Plan) -> Any:
    return json.loads(plan.grammar or "null")


def arguments(plan: Plan) -> Any:
    return json.loads(plan.prompt.template_arguments or "{}")


def test_a_plain_turn_changes_nothing():
    plan = planned()
    assert (plan.prompt.tools, plan.prompt.template_arguments) == ("", "")
    asked = Sampling(temperature=0.5)
    assert plan.sampling(asked) == asked


def test_the_template_receives_tools_in_the_form_of_openai():
    plan = planned(tool_use=ToolUse(tools=[TOOL]))
    function = {"name": "f", "description": "d", "parameters": SCHEMA}
    assert json.loads(plan.prompt.tools) == [{"type": "function", "function": function}]
    assert plan.prompt.messages == HI
    assert grammar_of(plan) is None
    assert not plan.calls_are_certain


def test_tools_that_must_not_be_called_are_left_out():
    plan = planned(tool_use=ToolUse(tools=[TOOL], choice="none"))
    assert (plan.prompt.tools, plan.tools) == ("", None)


@pytest.mark.parametrize(
    "use",
    [
        ToolUse(tools=[TOOL], choice="required"),
        ToolUse(tools=[TOOL, FunctionTool(name="g")], choice="required", named="f"),
    ],
)
def test_a_forced_call_has_a_grammar_and_can_be_generated_again(use):
    plan = planned(tool_use=use)
    sampling = plan.sampling(Sampling())
    assert plan.calls_are_certain
    assert '\\"f\\"' in sampling.grammar
    assert '\\"g\\"' not in sampling.grammar
    assert sampling.seed is not None
    assert plan.sampling(Sampling(seed=7)).seed == 7


def test_optional_calls_need_a_grammar_only_if_a_function_is_strict_or_calls_are_not_parallel():
    assert grammar_of(planned(tool_use=ToolUse(tools=[STRICT]))) is not None
    assert grammar_of(planned(tool_use=ToolUse(tools=[TOOL], parallel=False))) is not None
    assert grammar_of(planned(tool_use=ToolUse(tools=[TOOL], parallel=True))) is None


def test_an_unsupported_schema_is_reported_with_its_tool():
    bad = FunctionTool(name="g", parameters=IMPOSSIBLE, strict=True)
    use = ToolUse(tools=[TOOL, bad], choice="required", places={"g": "tools[1].function.parameters"})
    with pytest.raises(BadRequest) as caught:
        planned(tool_use=use)
    assert caught.value.param is not None
    assert caught.value.param.startswith("tools[1].function.parameters")


FORMS = [
    detect(template)
    for template in (
        "<tool_call>",
        "<tool_call><function=<parameter=",
        "<|python_start|>",
        "<|python_tag|>",
        "[TOOL_CALLS]",
        "<|channel|>",
    )
]


@pytest.mark.parametrize("dialect", FORMS)
def test_arguments_of_a_forced_call_are_any_object_if_the_schema_is_unsupported_and_not_strict(dialect):
    def forced(**fields: Any) -> Any:
        tools = [FunctionTool(name="f", **fields), FunctionTool(name="g")]
        use = ToolUse(tools=tools, choice="required", places={"f": "tools[0].parameters"})
        return grammar_of(planned(dialect, tool_use=use))

    anything = forced(parameters={"type": "object", "additionalProperties": True})
    assert forced(parameters=IMPOSSIBLE) == anything
    assert forced(parameters={"type": "string"}) == anything
    with pytest.raises(BadRequest) as caught:
        forced(parameters=IMPOSSIBLE, strict=True)
    assert caught.value.param == "tools[0].parameters.properties.x.not"


@pytest.mark.parametrize("dialect", FORMS)
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("parameters", [None, {}, {"type": "object"}, {"type": "object", "properties": {}}])
def test_a_function_without_parameters_is_called_with_none(dialect, strict, parameters):
    def forced(parameters: Any) -> Any:
        tool = FunctionTool(name="f", parameters=parameters, strict=strict)
        return grammar_of(planned(dialect, tool_use=ToolUse(tools=[tool], choice="required")))

    none = {"type": "object", "properties": {}, "additionalProperties": False}
    assert forced(parameters) == forced(none)
    assert forced({**none, "additionalProperties": True}) != forced(none)


def test_arguments_are_objects_even_if_the_schema_does_not_say_so():
    def forced(parameters: Any) -> Any:
        tool = FunctionTool(name="f", parameters=parameters, strict=True)
        use = ToolUse(tools=[tool], choice="required", places={"f": "tools[0].parameters"})
        return grammar_of(planned(tool_use=use))

    untyped = {key: value for key, value in SCHEMA.items() if key != "type"}
    assert forced({}) == forced(None)
    assert forced({"description": "none"}) == forced({"properties": {}}) == forced({"type": "object"})
    assert forced(untyped) == forced({**untyped, "type": ["null", "object"]}) == forced(SCHEMA)
    referring = {"$defs": {"a": {"anyOf": [SCHEMA, {"type": "null"}]}}, "$ref": "#/$defs/a"}
    assert forced(referring) == forced(SCHEMA)
    with pytest.raises(BadRequest) as caught:
        forced({"type": "array"})
    assert caught.value.param == "tools[0].parameters.type"


def test_an_output_format_allows_optional_calls():
    assert grammar_of(planned(output_format=FORMAT)) == FORMAT
    either = grammar_of(planned(output_format=FORMAT, tool_use=ToolUse(tools=[TOOL])))
    assert either["type"] == "or"
    assert FORMAT in either["elements"]


def test_a_template_without_tool_support_has_them_described_in_the_prompt():
    call = ChatMessage("assistant", None, tool_calls=[ToolCall("c", "f", '{"a": 1}')])
    result = ChatMessage("tool", "42", tool_call_id="c")
    plan = planned(PLAIN, [*HI, call, result], tool_use=ToolUse(tools=[TOOL], choice="required"))
    system, _, called, answered = plan.prompt.messages
    assert system.role == "system"
    assert '"f"' in str(system.content)
    assert called.content == '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    assert (answered.role, "42" in str(answered.content)) == ("user", True)
    assert plan.prompt.tools == ""
    assert grammar_of(plan) is not None


def test_an_existing_system_message_is_kept_before_the_tools():
    messages = [ChatMessage("system", "Be brief."), *HI]
    plan = planned(PLAIN, messages, tool_use=ToolUse(tools=[TOOL]))
    assert str(plan.prompt.messages[0].content).startswith("Be brief.")
    assert len(plan.prompt.messages) == 2


@pytest.mark.parametrize(
    ("effort", "thinking"), [("none", False), ("low", True), ("high", True), (None, None)]
)
def test_the_template_receives_the_reasoning_effort_under_every_known_name(effort, thinking):
    given = arguments(planned(reasoning_effort=effort))
    assert given.get("reasoning_effort") == effort
    assert given.get("enable_thinking") is thinking


def test_template_arguments_of_the_client_take_precedence():
    plan = planned(reasoning_effort="high", template_arguments={"enable_thinking": False, "x": 1})
    assert arguments(plan) == {"reasoning_effort": "high", "enable_thinking": False, "thinking": True, "x": 1}


def test_a_constrained_answer_reasons_only_if_the_client_asks_for_it():
    assert arguments(planned(output_format=FORMAT))["enable_thinking"] is False
    plan = planned(output_format=FORMAT, reasoning_effort="high")
    assert arguments(plan)["enable_thinking"] is True
    assert grammar_of(plan) == FORMAT
    sampling = plan.sampling(Sampling())
    assert (sampling.reasoning_markers, sampling.may_reason) == (["<think>", "</think>"], True)
    assert not planned(output_format=FORMAT).sampling(Sampling()).may_reason


def test_optional_calls_do_not_change_the_reasoning():
    for effort in (None, "high"):
        plan = planned(tool_use=ToolUse(tools=[STRICT]), reasoning_effort=effort)
        assert arguments(plan).get("enable_thinking") is (None if effort is None else True)
        assert grammar_of(plan)["type"] == "triggered_tags"
        assert not plan.sampling(Sampling()).may_reason


def test_a_model_without_reasoning_receives_no_arguments_for_it():
    plan = planned(PLAIN, output_format=FORMAT)
    assert arguments(plan) == {}
    assert plan.sampling(Sampling()).reasoning_markers == []


def test_call_ids_have_the_form_that_the_template_accepts():
    assert planned(detect("[TOOL_CALLS]"), tool_use=ToolUse(tools=[TOOL])).new_call_id().isalnum()
    assert len(planned(detect("[TOOL_CALLS]")).new_call_id()) == 9
    assert planned().new_call_id().startswith("call_")


def test_what_is_explained_to_a_model_without_tools_is_not_escaped():
    tool = FunctionTool(name="f", description="Wetter für Zürich 🌦", parameters={"properties": {"größe": {}}})
    history = [*HI, ChatMessage("assistant", None, tool_calls=[ToolCall("c", "f", '{"größe": "ü"}')])]
    plan = planned(PLAIN, history, tool_use=ToolUse(tools=[tool]))
    system, _, called = plan.prompt.messages
    assert '"description": "Wetter für Zürich 🌦"' in system.text
    assert '{"größe": {}}' in system.text
    assert called.text == '<tool_call>\n{"name": "f", "arguments": {"größe": "ü"}}\n</tool_call>'


def test_tools_are_explained_in_the_own_form_of_a_model_whose_template_shows_calls_alone():
    dialect = detect("{{ messages[0].tool_calls }}<｜tool▁calls▁begin｜><｜tool▁call▁begin｜><｜tool▁sep｜>")
    history = [*HI, ChatMessage("assistant", None, tool_calls=[ToolCall("c", "f", "{}")])]
    plan = planned(dialect, history, tool_use=ToolUse(tools=[TOOL]))
    system, *rest = plan.prompt.messages
    assert plan.prompt.tools == ""
    assert rest == history
    assert "<｜tool▁call▁begin｜>NAME<｜tool▁sep｜>OBJECT<｜tool▁call▁end｜>" in system.text


def test_tools_are_given_under_the_name_that_a_template_expects():
    plan = planned(detect("{{ xml_tools }}<tool_call>"), tool_use=ToolUse(tools=[TOOL]))
    (tool,) = arguments(plan)["xml_tools"]
    assert tool["function"]["name"] == "f"
    assert arguments(planned(detect("{{ xml_tools }}<tool_call>"))) == {}


@pytest.mark.parametrize("form", [None, FORMAT])
def test_a_grammar_binds_calls_wherever_there_is_one(form):
    plan = planned(tool_use=ToolUse(tools=[TOOL]), output_format=form)
    assert (plan.calls_are_bound, plan.is_bound) == (form is not None, form is not None)
    strict = planned(tool_use=ToolUse(tools=[msgspec.structs.replace(TOOL, strict=True)]))
    single = planned(tool_use=ToolUse(tools=[TOOL], parallel=False))
    for plan in (strict, single):
        assert plan.calls_are_bound and not plan.is_bound
