"""Detects how a model writes calls and reasoning from its chat template, and makes parsers for it."""

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from frontend.parsing.deepseek import DeepSeekV3, DeepSeekV31
from frontend.parsing.deepseek_dsml import DeepSeekV4, DeepSeekV32
from frontend.parsing.events import Parser
from frontend.parsing.glm import Glm45, Glm47
from frontend.parsing.granite import Granite
from frontend.parsing.harmony import Harmony, answer_format, read_messages
from frontend.parsing.hermes import Hermes
from frontend.parsing.kimi_k2 import KimiK2
from frontend.parsing.lfm2 import Lfm2
from frontend.parsing.llama3_json import Llama3Json
from frontend.parsing.minimax import Apriel, MiniMax
from frontend.parsing.minimax_m2 import MiniMaxM2
from frontend.parsing.mistral import Mistral
from frontend.parsing.nemotron_json import NemotronJson
from frontend.parsing.pythonic import Pythonic
from frontend.parsing.qwen3_coder import Qwen3Coder
from frontend.parsing.reasoning import HARMONY, REASONING_FORMATS, ReasoningFormat
from frontend.parsing.scanner import Machine, Program, Reading, Scanner
from frontend.parsing.seed_oss import SeedOss
from frontend.parsing.tool_formats import ParserOptions, Tool, ToolFormat, marks_of
from frontend.structured import Format

OFF = "none"

_MISTRAL_LISTED = Mistral(listed=True)
_TOOL_FORMATS: dict[str, ToolFormat] = {
    form.name: form
    for form in (
        *(Hermes(), Qwen3Coder(), Llama3Json(), Pythonic(), Lfm2(), Mistral(listed=False), Harmony()),
        *(Granite(), NemotronJson(), Glm45(), Glm47(), SeedOss(), KimiK2(), MiniMax(), MiniMaxM2(), Apriel()),
        *(DeepSeekV3(), DeepSeekV31(), DeepSeekV32(), DeepSeekV4()),
    )
}
TOOL_FORMAT_NAMES = (*_TOOL_FORMATS, OFF)
REASONING_FORMAT_NAMES = (*REASONING_FORMATS, OFF)

# Patterns in the source of a template. The order matters, as some families extend another's marks.
_SIGNS = (
    ("harmony", re.compile(r"<\|channel\|>")),
    ("mistral", re.compile(r"\[TOOL_CALLS\]")),
    ("deepseek_v32", re.compile(r"｜DSML｜[\s\S]*function_calls>")),
    ("deepseek_v4", re.compile(r"｜DSML｜[\s\S]*tool_calls>")),
    ("deepseek_v3", re.compile(r"<｜tool▁sep｜>[\s\S]*```json")),
    ("deepseek_v31", re.compile(r"<｜tool▁sep｜>")),
    ("kimi_k2", re.compile(r"<\|tool_calls_section_begin\|>")),
    ("minimax_m2", re.compile(r"<minimax:tool_call>")),
    ("seed_oss", re.compile(r"<seed:tool_call>")),
    ("granite", re.compile(r"<\|tool_call\|>")),
    ("nemotron_json", re.compile(r"<TOOLCALL>")),
    ("lfm2", re.compile(r"<\|tool_call_start\|>|<\|tool_list_start\|>")),
    ("apriel", re.compile(r"<tool_calls>\s*\[")),
    ("minimax", re.compile(r"<tool_calls>")),
    ("glm45", re.compile(r"<tool_call>[\s\S]*(?:\n|\\n)<arg_key>")),
    ("glm47", re.compile(r"<tool_call>[\s\S]*<arg_key>")),
    ("qwen3_coder", re.compile(r"<tool_call>[\s\S]*<function=[\s\S]*<parameter=")),
    ("hermes", re.compile(r"\A(?![\s\S]*\]<\]minimax\[>\[)[\s\S]*<tool_call>")),  # MiniMax M3 nests tags
    ("pythonic", re.compile(r"<\|python_start\|>|\[func\w*\(")),
    # Functionary 3.1 has the tag for Python code alone.
    (
        "llama3_json",
        re.compile(
            r"\A(?![\s\S]*<function=)[\s\S]*<\|python_tag\|>"
            r'|\{\\?"name\\?": function name, \\?"parameters\\?"'
        ),
    ),
    ("lfm2", re.compile(r"List of tools: \[")),
)
_KNOWS_TOOLS = re.compile(r"\b(?:xml_tools|tools|tool_calls)\b")
_TOOLS_VARIABLE = re.compile(r"\b(?:tools|xml_tools)\b")
_MISTRAL_NAMES_CALLS = "[ARGS]"


class Dialect(msgspec.Struct, frozen=True):
    tool_format: ToolFormat | None
    reasoning: ReasoningFormat | None
    is_unread: bool = False  # the template has tools, in a form that no parser reads
    tools_variable: str = "tools"  # the one in which the template expects tools; empty if it ignores them

    @property
    def needs_special_tokens(self) -> bool:
        """Whether the parsers must see special tokens. Without a parser they must not be visible."""
        return any(form.needs_special_tokens for form in (self.tool_format, self.reasoning) if form)

    @property
    def turn_ends(self) -> tuple[str, ...]:
        return tuple(mark for form in (self.tool_format, self.reasoning) if form for mark in form.turn_ends)

    @property
    def reasoning_markers(self) -> list[str]:
        """The marks that begin and end the reasoning; empty if there is no such pair."""
        form = self.reasoning
        return [form.begin, form.end] if form and form.begin else []

    def answer_format(self, output_format: Format) -> Format:
        """The format of the whole text whose content must have `output_format`, both of structural tags."""
        return answer_format(output_format) if self.reasoning is HARMONY else output_format


def tool_format(name: str) -> ToolFormat:
    """The format with this name. Raises KeyError if it does not exist."""
    return _TOOL_FORMATS[name]


@lru_cache(maxsize=64)  # called for every request, with few different templates
def detect(
    chat_template: str, tool_format: str | None = None, reasoning_format: str | None = None
) -> Dialect:
    """The dialect of a model with this chat template source. Named formats override the detected ones.

    Raises KeyError for a name that is not in TOOL_FORMAT_NAMES or REASONING_FORMAT_NAMES.
    """
    form = _detected_tools(chat_template, tool_format)
    return Dialect(
        form,
        _detected_reasoning(chat_template, reasoning_format),
        form is None and tool_format is None and _KNOWS_TOOLS.search(chat_template) is not None,
        _tools_variable(chat_template),
    )


def _tools_variable(template: str) -> str:
    names = _TOOLS_VARIABLE.findall(template)
    if "tools" in names:
        return "tools"
    return "xml_tools" if "xml_tools" in names else ""


def _detected_tools(template: str, named: str | None) -> ToolFormat | None:
    if named == OFF:
        return None
    name = named or next((name for name, sign in _SIGNS if sign.search(template)), None)
    if name == "mistral" and "[TOOL_CALLS]" in template and _MISTRAL_NAMES_CALLS not in template:
        return _MISTRAL_LISTED
    return None if name is None else _TOOL_FORMATS[name]


def _detected_reasoning(template: str, named: str | None) -> ReasoningFormat | None:
    if named is not None:
        return None if named == OFF else REASONING_FORMATS[named]
    if "<|channel|>" in template:
        return HARMONY
    # Some templates only remove the reasoning from earlier turns, and contain no more than its end mark.
    return next((form for form in REASONING_FORMATS.values() if form.end and form.end in template), None)


def _content(turn_ends: tuple[str, ...]) -> Program:
    """Reads text without looking for calls."""
    marks = marks_of((), turn_ends)

    def read(scanner: Scanner) -> Reading[None]:
        yield from scanner.until(marks, scanner.content)

    return read


def parser_for(
    dialect: Dialect,
    *,
    tools: Sequence[Tool] | None,
    prompt_tail: str,
    eager: bool,
    bound: bool = False,
    whole: bool = False,
) -> Parser | None:
    """The parser of one answer; None if all of its text is content.

    `prompt_tail` is the end of the rendered prompt, which may have begun or ended the reasoning. `tools` are
    those that may be called; None if calls are not looked for. `eager` states that, thanks to a grammar,
    whatever begins like a call is one, so that calls can be emitted before they are complete. `bound` states
    that a grammar binds calls, and `whole` that it binds all of the answer after the reasoning: then nothing
    is a call that the grammar has not watched for. Otherwise JSON without marks may be one.
    """
    form = dialect.tool_format if tools is not None else None
    reasoning = dialect.reasoning
    if reasoning is HARMONY:
        calls = isinstance(form, Harmony)
        return Machine(read_messages(prompt_tail, calls=calls, reasons=True, eager=eager, bound=bound))
    if form is None and reasoning is None:
        return None
    turn_ends = dialect.turn_ends
    options = ParserOptions(tools or (), eager, turn_ends, unmarked=True, bound=bound, whole=whole)
    rest = _content(turn_ends) if form is None else form.program(options)
    if reasoning is None:
        return Machine(rest)

    # JSON without marks is a thought in the reasoning. A grammar binds the reasoning only where the model
    # begins it in a text that otherwise is free.
    options = ParserOptions(tools or (), eager=False, turn_ends=turn_ends, unmarked=False, bound=bound)
    watched = not (whole or reasoning.is_begun_by(prompt_tail) or (form is not None and form.beginnings))
    within = form.program(options) if form is not None and (watched or not bound) else None
    late = _content(turn_ends) if bound and not whole and form is not None and form.beginnings else rest

    def read(scanner: Scanner) -> Reading[None]:
        parted = yield from reasoning.read(scanner, prompt_tail, within)
        yield from (late if parted else rest)(scanner)

    return Machine(read)
