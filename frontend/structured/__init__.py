"""What a client asks its output to be, checked and turned into the format of an XGrammar structural tag.

Pure functions, fast on any input: what would harm an engine, or could not be kept, is refused here.
"""

from frontend.structured.cache import Format
from frontend.structured.errors import ConstraintError, faults_below
from frontend.structured.outputs import choice, ebnf, json_object, json_schema, regex

__all__ = [
    "ConstraintError",
    "Format",
    "choice",
    "ebnf",
    "faults_below",
    "json_object",
    "json_schema",
    "regex",
]
