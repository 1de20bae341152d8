"""Plans a turn: from what the client asked for to the prompt and the sampling that hosts receive. Pure."""

import contextlib
import secrets
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from frontend.api.schema.formats import constraint_at
from frontend.api.schema.tools import FunctionTool, ToolUse
from frontend.api.toolless import explain_tools, spell_out_calls
from frontend.media.given import GivenImage
from frontend.parsing import Dialect, ToolFormat, tool_format
from frontend.structured import ConstraintError, Format
from ipc.messages import ChatMessage, ChatPrompt, Sampling

NO_REASONING = "none"
# Arguments of chat templates, which differ in the name of the switch for reasoning.
REASONING_ON: dict[str, Any] = {"enable_thinking": True, "thinking": True}
_REASONING_OFF = dict.fromkeys(REASONING_ON, False)
# Keywords that declare a function's parameters, or allow parameters without declaring them.
_DECLARING = frozenset(
    "properties patternProperties propertyNames minProperties required unevaluatedProperties"
    " $ref allOf anyOf oneOf enum const".split()
)
_FALLBACK_FORMAT = "hermes"  # for models whose chat template does not support tools


class TurnSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asked for in a turn."""

    model: str
    variant_key: str | None = None  # who asks
    messages: list[ChatMessage]
    samplings: list[Sampling]  # one per choice, without a grammar
    tool_use: ToolUse | None = None
    output_format: Format | None = None  # of the answer
    reasoning_effort: str | None = None  # none, minimal, low, medium, high, …
    template_arguments: dict[str, Any] = {}
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    images: list[GivenImage] = []  # of the messages, in their order
    streaming: bool = False  # the client receives events as they occur
    report_ids: bool = False


class AnswerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How hosts are to write an answer, and how it is parsed."""

    dialect: Dialect
    tools: list[FunctionTool] | None  # that may be called; None if calls are not looked for
    calls_are_certain: bool  # a grammar guarantees that whatever begins like a call is one
    grammar: str  # the format of a structural tag, as JSON; empty for none
    calls_are_bound: bool = False  # by the grammar: what it has not watched for is no call
    is_bound: bool = False  # all of the answer, by the grammar
    may_reason: bool = False  # before what the grammar binds

    def new_call_id(self) -> str:
        """An id for a tool call, in the form that the chat template accepts."""
        number = uuid.uuid4().hex
        form = self.dialect.tool_format
        return number[:9] if form is not None and form.name == "mistral" else f"call_{number[:24]}"

    @property
    def is_parsed(self) -> bool:
        """Whether the text may hold more than content."""
        return self.tools is not None or self.dialect.reasoning is not None

    def sampling(self, asked: Sampling) -> Sampling:
        if self.is_parsed and asked.stop:  # which then the reader of the content looks for
            asked = msgspec.structs.replace(asked, stop=[])
        if self.dialect.needs_special_tokens and (self.tools is not None or self.dialect.reasoning):
            asked = msgspec.structs.replace(asked, skip_special_tokens=False)
        if not self.grammar:
            return asked
        bound = with_grammar(asked, self.grammar)
        markers = self.dialect.reasoning_markers
        return msgspec.structs.replace(bound, reasoning_markers=markers, may_reason=self.may_reason)


class Plan(AnswerPlan, frozen=True, kw_only=True):
    """What hosts receive, and how their output is parsed."""

    prompt: ChatPrompt


def encoded(value: object) -> str:
    """JSON text. A grammar may be megabytes long, so encode it only once per request."""
    return msgspec.json.encode(value).decode()


def with_grammar(asked: Sampling, grammar: str) -> Sampling:
    return msgspec.structs.replace(
        asked,
        grammar=grammar,
        # With a seed the text can be generated again if its host dies.
        seed=secrets.randbits(63) if asked.seed is None else asked.seed,
    )


def plan_turn(spec: TurnSpec, dialect: Dialect) -> Plan:
    """Raises BadRequest for a schema that must be enforced but is not supported."""
    use = spec.tool_use if spec.tool_use is not None and spec.tool_use.choice != "none" else None
    form = dialect.tool_format
    messages, offered = spec.messages, use.tools if use is not None else []
    if form is None:
        form = tool_format(_FALLBACK_FORMAT)
        messages, offered = explain_tools(spell_out_calls(messages), offered, form.example), []
    elif not dialect.tools_variable and form.example:  # the template shows calls, but not what can be called
        messages, offered = explain_tools(messages, offered, form.example), []
    answer = None if spec.output_format is None else dialect.answer_format(spec.output_format)
    grammar = _grammar(use, form, answer)
    binds = answer is not None or (use is not None and _is_forced(use))  # the text from its beginning
    if use is not None:
        dialect = msgspec.structs.replace(dialect, tool_format=form)
    return Plan(
        dialect=dialect,
        prompt=ChatPrompt(
            messages,
            tools=encoded([_definition(tool) for tool in offered]) if offered else "",
            template_arguments=_template_arguments(spec, dialect, binds, offered),
            add_generation_prompt=spec.add_generation_prompt,
            continue_final_message=spec.continue_final_message,
        ),
        tools=use.tools if use is not None else None,
        calls_are_certain=use is not None and _is_forced(use),
        grammar=encoded(grammar) if grammar is not None else "",
        calls_are_bound=use is not None and grammar is not None,
        is_bound=use is not None and binds,
        may_reason=binds and _wants_reasoning(spec),
    )


def _grammar(use: ToolUse | None, form: ToolFormat, answer: Format | None) -> Format | None:
    """The format of a forced call, of the answer, or of either; None if the text is unconstrained."""
    if use is None:
        return answer
    several = use.parallel is not False
    if _is_forced(use):
        # One call unless several are requested: a small model may never stop, and its last call be cut off.
        several = use.parallel is True and use.named is None
        return _calls(use, form, at_least_one=True, several=several)
    if answer is not None:
        return {"type": "or", "elements": [_calls(use, form, at_least_one=True, several=several), answer]}
    if several and not any(tool.strict for tool in use.tools):
        return None
    return _calls(use, form, at_least_one=False, several=several)


def _is_forced(use: ToolUse) -> bool:
    return use.choice == "required"


def _calls(use: ToolUse, form: ToolFormat, at_least_one: bool, several: bool) -> Format:
    """The format of calls of the functions in `use`. Raises BadRequest."""
    calls = {
        tool.name: _arguments(
            tool, use.place(tool.name), form, forced=_is_forced(use), made=tool.name in use.made
        )
        for tool in use.tools
        if use.named in (None, tool.name)
    }
    return form.grammar(calls, at_least_one=at_least_one, parallel=several)


def _arguments(tool: FunctionTool, where: str, form: ToolFormat, *, forced: bool, made: bool) -> Format:
    """The format of a call's arguments.

    Those of a strict function validate against its schema, and so do those of others if a call is forced and
    the schema is supported. Otherwise they are any object. Raises BadRequest for a strict function's schema.
    """
    if not (tool.strict or forced):
        return form.arguments_format(None)
    with constraint_at(where, whole=made) if tool.strict else contextlib.suppress(ConstraintError):
        return form.arguments_format(_of_arguments(tool.parameters or {}))
    return form.arguments_format(None)


def _of_arguments(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema restricted to objects, as arguments are never anything else. Raises ConstraintError.

    A function that declares no parameters has none, as in OpenAI's API.
    """
    kinds = schema.get("type", "object")
    if kinds != "object" and not (isinstance(kinds, list) and "object" in kinds):
        raise ConstraintError("must be object, as arguments are always objects", ".type")
    declares = any(schema.get(keyword) for keyword in _DECLARING)
    closed = {} if declares or "additionalProperties" in schema else {"additionalProperties": False}
    return {**schema, **closed, "type": "object"}


def _wants_reasoning(spec: TurnSpec) -> bool:
    if spec.reasoning_effort is not None:
        return spec.reasoning_effort != NO_REASONING
    return bool(spec.template_arguments.get("enable_thinking"))


def _template_arguments(
    spec: TurnSpec, dialect: Dialect, bound: bool, offered: Sequence[FunctionTool]
) -> str:
    """Arguments for the chat template, as JSON. The client's own take precedence."""
    arguments: dict[str, Any] = {}
    if offered and dialect.tools_variable not in ("tools", ""):
        arguments[dialect.tools_variable] = [_definition(tool) for tool in offered]
    if spec.reasoning_effort is not None:
        arguments["reasoning_effort"] = spec.reasoning_effort
    if dialect.reasoning is not None:
        if spec.reasoning_effort == NO_REASONING or (bound and not _wants_reasoning(spec)):
            arguments |= _REASONING_OFF
        elif spec.reasoning_effort is not None:
            arguments |= REASONING_ON
    arguments |= spec.template_arguments
    return encoded(arguments) if arguments else ""


def _definition(tool: FunctionTool) -> dict[str, Any]:
    """The tool in OpenAI's form, which chat templates expect."""
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": function}
