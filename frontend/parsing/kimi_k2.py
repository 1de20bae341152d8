"""Kimi K2: an id that holds the name, such as functions.f:0, and JSON between marks."""

import re

from frontend.parsing.grammar import constant, regex, sequence
from frontend.parsing.named_calls import NamedCalls, name_before
from frontend.parsing.scanner import Reading, Scanner
from frontend.structured import Format

_SEPARATOR = "<|tool_call_argument_begin|>"
_COUNT = re.compile(r":\d+\Z")


class KimiK2(NamedCalls):
    name = "kimi_k2"
    section = ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>")
    begin, end = "<|tool_call_begin|>", "<|tool_call_end|>"
    starts = (section[0], begin)
    turn_ends = ("<|im_end|>",)

    def read_name(self, scanner: Scanner) -> Reading[str]:
        name = _COUNT.sub("", (yield from name_before(scanner, _SEPARATOR)))
        return name.removeprefix("functions.") or name

    def written(self, name: str, arguments: Format) -> Format:
        return sequence(constant(f"functions.{name}:"), regex("[0-9]"), constant(_SEPARATOR), arguments)
