"""Constraints on a model's output, validated and compiled to formats of XGrammar structural tags.

Pure functions that are fast on any input. They reject constraints that would harm an engine or that cannot be
enforced.
"""

from frontend.structured.cache import Format
from frontend.structured.errors import ConstraintError, faults_below
from frontend.structured.outputs import choice, ebnf, json_object, json_schema, regex, whole_pattern

__all__ = [
    "ConstraintError",
    "Format",
    "choice",
    "ebnf",
    "faults_below",
    "json_object",
    "json_schema",
    "regex",
    "whole_pattern",
]
