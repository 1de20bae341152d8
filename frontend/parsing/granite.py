"""Granite 3: <|tool_call|> before a JSON list of calls."""

from frontend.parsing.json_blocks import JsonBlocks


class Granite(JsonBlocks):
    name = "granite"
    starts = ("<|tool_call|>", "<tool_call>")
    written = ("<|tool_call|>[", ", ", "]")
    needs_special_tokens = True
    turn_ends = ("<|end_of_text|>",)
