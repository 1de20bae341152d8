"""From a model's text to what it means: reasoning, content, tool calls. Pure machines over text."""

from frontend.parsing.dialect import (
    REASONING_FORMAT_NAMES,
    TOOL_FORMAT_NAMES,
    Dialect,
    detect,
    parser_for,
    tool_format,
)
from frontend.parsing.tool_formats import Tool, ToolFormat

__all__ = [
    "REASONING_FORMAT_NAMES",
    "TOOL_FORMAT_NAMES",
    "Dialect",
    "Tool",
    "ToolFormat",
    "detect",
    "parser_for",
    "tool_format",
]
