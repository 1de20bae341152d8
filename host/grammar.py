"""The grammar of a text, as the engine takes it. Pure."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from host.engines.base import RequestRefused, invalid
from host.vocabulary import Vocabulary
from ipc.errors import ErrorCode

_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')  # of EBNF, as the frontend writes it
_ONE = re.compile(r"\[(\\u[0-9A-Fa-f]{4}|\w)\]")  # a class of one character
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_LITERALS = ("value", "begin", "end", "separator")  # fields of formats that hold a literal text
_BLANKS = {"type": "regex", "pattern": "[ \\n]{0,4}"}  # that models write after their reasoning


def structural_tag(
    grammar: str,
    reasoning_markers: Sequence[str],
    prompt_text: str,
    vocabulary: Vocabulary | None = None,
    *,
    may_reason: bool = False,
) -> str:
    """The request's grammar as an XGrammar structural tag, JSON; empty for none.

    Where the prompt leaves the model in its reasoning, the grammar holds after the reasoning's end, and so it
    does after reasoning that the model begins where it `may_reason`. A text has one reasoning. Raises
    RequestRefused if the grammar is not JSON, or if tokens of the vocabulary cannot spell what it forces.
    """
    if not grammar:
        return ""
    try:
        form = json.loads(grammar)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(
            ErrorCode.INVALID_VALUE, "the grammar is not valid JSON", "response_format"
        ) from error
    if vocabulary is not None and not vocabulary.spells_all:
        _check_spelling(form, vocabulary)
    if len(reasoning_markers) == 2:
        form = _with_reasoning(form, reasoning_markers, prompt_text.rstrip(), may_reason)
    return json.dumps({"type": "structural_tag", "format": form})


def _with_reasoning(form: Any, markers: Sequence[str], prompt_text: str, may_reason: bool) -> Any:
    begin, end = (marker.strip() for marker in markers)
    reasoning = {"type": "tag", "begin": "", "content": {"type": "any_text"}, "end": end}
    if prompt_text.endswith(begin):
        return {"type": "sequence", "elements": [reasoning, _BLANKS, form]}
    if may_reason and not prompt_text.endswith(end):
        after_reasoning = {"type": "sequence", "elements": [reasoning | {"begin": begin}, _BLANKS, form]}
        return {"type": "or", "elements": [form, after_reasoning]}
    return form


def _check_spelling(form: Any, vocabulary: Vocabulary) -> None:
    """Raise RequestRefused if no token spells a character of a literal."""
    character = next((found for text in _literals(form) if (found := vocabulary.unspelled(text))), None)
    if character is not None:
        raise invalid(
            f"the vocabulary of this model cannot spell {character!r}, which the format holds; "
            "use another model, or no format, schema or forced call",
            "response_format",
        )


def _literals(form: Any) -> Iterator[str]:
    if isinstance(form, list):
        for one in form:
            yield from _literals(one)
    elif isinstance(form, dict):
        for field, value in form.items():
            if field == "grammar" and isinstance(value, str):
                yield from (
                    _ESCAPE.sub(_unescaped, text) for text in _LITERAL.findall(value) + _ONE.findall(value)
                )
            elif field in _LITERALS and isinstance(value, str):
                yield value
            else:
                yield from _literals(value)


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    return chr(int(code, 16)) if code else {"n": "\n", "r": "\r", "t": "\t"}.get(escape[3], escape[3])
