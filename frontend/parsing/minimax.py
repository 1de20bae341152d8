"""MiniMax M1: JSON objects, one in a line, in <tool_calls> tags. Apriel writes a list there."""

from frontend.parsing.json_blocks import JsonBlocks


class MiniMax(JsonBlocks):
    name = "minimax"
    starts = ("<tool_calls>",)
    end = "</tool_calls>"
    written = ("<tool_calls>\n", "\n", "\n</tool_calls>")


class Apriel(MiniMax):
    name = "apriel"
    written = ("<tool_calls>[", ", ", "]</tool_calls>")
