"""Parses a model's output into reasoning, content and tool calls, and builds the grammars of tool calls."""

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
