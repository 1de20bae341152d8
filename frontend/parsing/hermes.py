"""Hermes and Qwen: JSON objects in <tool_call> tags."""

from frontend.parsing.json_blocks import JsonBlocks


class Hermes(JsonBlocks):
    name = "hermes"
    example = '<tool_call>\n{"name": NAME, "arguments": OBJECT}\n</tool_call>'
    starts = ("<tool_call>",)
    end = "</tool_call>"
    written = ("<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>")
    repeated = True
