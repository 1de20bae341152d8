"""DeepSeek V3.2 and V4: <invoke> tags whose names have a prefix, with an attribute for strings."""

from frontend.parsing.invocations import Invocations

_DSML = "｜DSML｜"


class DeepSeekV32(Invocations):
    name = "deepseek_v32"
    section = (f"<{_DSML}function_calls>", f"</{_DSML}function_calls>")
    starts = (section[0],)
    prefix = _DSML
    is_typed = True
    turn_ends = ("<｜end▁of▁sentence｜>",)


class DeepSeekV4(DeepSeekV32):
    name = "deepseek_v4"
    section = (f"<{_DSML}tool_calls>", f"</{_DSML}tool_calls>")
    starts = (section[0],)
