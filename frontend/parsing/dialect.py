"""Detects how a model writes calls and reasoning from its chat template, and makes parsers for it."""

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from frontend.parsing.events import Parser
from frontend.parsing.harmony import Harmony, answer_format, read_messages
from frontend.parsing.hermes import Hermes
from frontend.parsing.llama3_json import Llama3Json
from frontend.parsing.mistral import Mistral
from frontend.parsing.pythonic import Pythonic
from frontend.parsing.qwen3_coder import Qwen3Coder
from frontend.parsing.reasoning import HARMONY, REASONING_FORMATS, ReasoningFormat
from frontend.parsing.scanner import Machine, Program, Reading, Scanner
from frontend.parsing.tool_formats import ParserOptions, Tool, ToolFormat, marks_of
from frontend.structured import Format

OFF = "none"

_MISTRAL_LISTED = Mistral(listed=True)
_TOOL_FORMATS: dict[str, ToolFormat] = {
    form.name: form
    for form in (Hermes(), Qwen3Coder(), Llama3Json(), Pythonic(), Mistral(listed=False), Harmony())
}
TOOL_FORMAT_NAMES = (*_TOOL_FORMATS, OFF)
REASONING_FORMAT_NAMES = (*REASONING_FORMATS, OFF)

# Patterns in the source of a template. The order matters, as some families extend another's marks.
_SIGNS = (
    ("harmony", re.compile(r"<\|channel\|>")),
    ("mistral", re.compile(r"\[TOOL_CALLS\]")),
    ("qwen3_coder", re.compile(r"<tool_call>[\s\S]*<function=[\s\S]*<parameter=")),
    ("hermes", re.compile(r"\A(?![\s\S]*<arg_key>)[\s\S]*<tool_call>")),  # GLM puts keys and values into tags
    ("pythonic", re.compile(r"<\|python_start\|>|<\|tool_call_start\|>\[|\[func\w*\(")),
    ("llama3_json", re.compile(r'<\|python_tag\|>|\{\\?"name\\?": function name, \\?"parameters\\?"')),
)
_MISTRAL_NAMES_CALLS = "[ARGS]"


class Dialect(msgspec.Struct, frozen=True):
    tool_format: ToolFormat | None
    reasoning: ReasoningFormat | None

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
    return Dialect(
        _detected_tools(chat_template, tool_format), _detected_reasoning(chat_template, reasoning_format)
    )


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
    unmarked: bool = True,
) -> Parser | None:
    """The parser of one answer; None if all of its text is content.

    `prompt_tail` is the end of the rendered prompt, which may have begun or ended the reasoning. `tools` are
    those that may be called; None if calls are not looked for. `eager` states that, thanks to a grammar,
    whatever begins like a call is one, so that calls can be emitted before they are complete. `unmarked`: JSON
    without marks that is nothing but a call of an offered function is one.
    """
    form = dialect.tool_format if tools is not None else None
    reasoning = dialect.reasoning
    if reasoning is HARMONY:
        calls = isinstance(form, Harmony)
        return Machine(read_messages(prompt_tail, calls=calls, reasons=True, eager=eager))
    if form is None and reasoning is None:
        return None
    turn_ends = dialect.turn_ends
    rest = (
        _content(turn_ends)
        if form is None
        else form.program(ParserOptions(tools or (), eager, turn_ends, unmarked))
    )
    if reasoning is None:
        return Machine(rest)

    def read(scanner: Scanner) -> Reading[None]:
        yield from reasoning.read(scanner, prompt_tail)
        yield from rest(scanner)

    return Machine(read)
