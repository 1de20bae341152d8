"""Nemotron Nano v2: a JSON list of calls in <TOOLCALL> tags."""

from frontend.parsing.json_blocks import JsonBlocks


class NemotronJson(JsonBlocks):
    name = "nemotron_json"
    starts = ("<TOOLCALL>",)
    end = "</TOOLCALL>"
    written = ("<TOOLCALL>[", ", ", "]</TOOLCALL>")
    needs_special_tokens = True
    turn_ends = ("<SPECIAL_12>",)
