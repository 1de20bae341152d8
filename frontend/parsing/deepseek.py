"""DeepSeek V3 and R1: the name and fenced JSON between marks; V3.1 leaves out the fence."""

import re

from frontend.parsing.grammar import constant, sequence
from frontend.parsing.named_calls import NamedCalls, name_before
from frontend.parsing.scanner import Malformed, Reading, Scanner
from frontend.structured import Format

_SEPARATOR = "<｜tool▁sep｜>"
_NAME = re.compile(r"[^\s<>{}`]*")


class DeepSeekV31(NamedCalls):
    name = "deepseek_v31"
    section = ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>")
    begin, end = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
    example = f"{section[0]}{begin}NAME{_SEPARATOR}OBJECT{end}{section[1]}"
    starts = (section[0], begin)
    turn_ends = ("<｜end▁of▁sentence｜>",)

    def read_name(self, scanner: Scanner) -> Reading[str]:
        """Read `name` or `function`, the separator, and in the latter case the name. Raises Malformed."""
        first = yield from name_before(scanner, _SEPARATOR)
        yield from scanner.space()
        if (yield from scanner.peek()) in ("{", "`", '"', ""):
            return first
        name = yield from scanner.word(_NAME)
        if not name:
            raise Malformed
        return name

    def written(self, name: str, arguments: Format) -> Format:
        return sequence(constant(f"{name}{_SEPARATOR}"), arguments)


class DeepSeekV3(DeepSeekV31):
    name = "deepseek_v3"
    example = DeepSeekV31.example.replace("NAME", "function").replace("OBJECT", "NAME\n```json\nOBJECT\n```")
    between = "\n"

    def written(self, name: str, arguments: Format) -> Format:
        return sequence(constant(f"function{_SEPARATOR}{name}\n```json\n"), arguments, constant("\n```"))
