"""LFM2: a Python list of calls between special tokens."""

from collections.abc import Mapping

from frontend.parsing.json_blocks import JsonBlocks
from frontend.parsing.pythonic import Pythonic
from frontend.structured import Format

_START, _END = "<|tool_call_start|>", "<|tool_call_end|>"


class Lfm2(Pythonic):
    """Also reads JSON in place of Python: the family was taught that too, and grammars enforce schemas."""

    name = "lfm2"
    starts = (_START,)
    beginnings = ()
    turn_ends = (_END, "<|im_end|>")

    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        return _JSON.grammar(calls, at_least_one=at_least_one, parallel=parallel)


class _Json(JsonBlocks):
    name = Lfm2.name
    starts = (_START,)
    end = _END
    written = (f"{_START}[", ", ", f"]{_END}")


_JSON = _Json()
