"""Constructors of XGrammar's structural tag formats."""

import re
from collections.abc import Sequence

from frontend.structured import Format

ANY_TEXT: Format = {"type": "any_text"}
NOTHING: Format = {"type": "grammar", "grammar": 'root ::= ""'}

# XGrammar misreads such pairs: it writes the first character as an unterminated hexadecimal escape.
_MISREAD = re.compile("[\x80-\xff][0-9a-fA-F]")
_SPECIAL = "\\.^$|?*+()[]{}"  # in a pattern


def constant(text: str) -> Format:
    """Exactly this text, which must not be empty."""
    if _MISREAD.search(text):
        return regex("".join(map(_literally, text)))
    return {"type": "const_string", "value": text}


def regex(pattern: str) -> Format:
    return {"type": "regex", "pattern": pattern}


def ebnf(grammar: str) -> Format:
    """Text of a grammar that `frontend.structured` wrote."""
    return {"type": "grammar", "grammar": grammar}


def tag(begin: str, content: Format, end: str) -> Format:
    return {"type": "tag", "begin": begin, "content": content, "end": end}


def sequence(*elements: Format) -> Format:
    return {"type": "sequence", "elements": list(elements)}


def either(*elements: Format) -> Format:
    """One of the elements, which must be either all bounded or all unbounded.

    `any_text` and repeated tags are unbounded unless they are inside another tag.
    """
    return elements[0] if len(elements) == 1 else {"type": "or", "elements": list(elements)}


def one_or_more(tags: Sequence[Format], separator: str, parallel: bool) -> Format:
    """One of `tags`; with `parallel` several, with `separator` between them."""
    if not parallel:
        return either(*tags)
    return {"type": "tags_with_separator", "tags": list(tags), "separator": separator, "at_least_one": True}


def triggered(
    triggers: Sequence[str], tags: Sequence[Format], *, once: bool, at_once: bool = False
) -> Format:
    """Text in which each trigger must begin one of `tags`.

    `once` ends the text after the first tag, and `at_once` allows no text before it.
    """
    return {
        "type": "triggered_tags",
        "triggers": list(triggers),
        "tags": list(tags),
        "at_least_one": at_once,
        "stop_after_first": once,
    }


def unless_beginning_with(*beginnings: str) -> Format:
    """Text that begins with none of `beginnings`, whose first characters must differ."""
    first = "".join(map(_in_class, (beginning[0] for beginning in beginnings)))
    ways_out = [f"[^{first}]"]
    for beginning in beginnings:
        for length in range(1, len(beginning)):
            same = "".join(map(_literally, beginning[:length]))
            ways_out.append(f"{same}[^{_in_class(beginning[length])}]")
    return sequence(regex("|".join(ways_out)), ANY_TEXT)


def _literally(character: str) -> str:
    return f"\\{character}" if character in _SPECIAL else character


def _in_class(character: str) -> str:
    return f"\\{character}" if character in "\\]^-" else character
