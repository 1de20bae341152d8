"""Markdown and HTML → the text that they show, line by line.

Each step takes time proportional to the length of the text: patterns never give back what they have matched.
"""

import html
import re
from collections.abc import Callable, Iterator

_CODE_BLOCK = {
    "en": "Code block.",
    "es": "Bloque de código.",
    "fr": "Bloc de code.",
    "hi": "कोड ब्लॉक।",
    "it": "Blocco di codice.",
    "pt": "Bloco de código.",
}

_FENCE = re.compile(r" {0,3}(`{3,}+|~{3,}+)([^`]*+)$")
_RULE = re.compile(r"[ \t]*+(?:[-*_=][ \t]*+){3,}+$")
_TABLE_RULE = re.compile(r"[ \t|]*+(?::?+-++:?+[ \t]*+\|?+[ \t]*+)++$")
_QUOTE = re.compile(r"[ \t]*+(?:>[ \t]?+)++")
_HEADING = re.compile(r"[ \t]*+#{1,6}+[ \t]++")
_BULLET = re.compile(r"[ \t]*+[-*+•‣◦▪●][ \t]++")
_BLANKS = re.compile(r"[ \t]{2,}+")
_TASK = re.compile(r"\[[ xX]\][ \t]++")
_NUMBERED = re.compile(r"[ \t]*+(\d{1,9}+)[.)][ \t]++")
_DEFINITION = re.compile(r" {0,3}\[[^\[\]]{1,999}+\]:[ \t]*+\S++.*+$")

_TARGET = re.compile(r"\]\([^()\n]{0,2000}+(?:\([^()\n]{0,2000}+\)[^()\n]{0,2000}+)*+\)")  # ](url "title")
_REFERENCE = re.compile(r"\]\[[^\[\]\n]{0,999}+\]")  # ][name]
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]{1,100}+\]")
_BRACKET = re.compile(r"!?\[|\]")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^<>\s]{1,2000}+|[^<>\s@]{1,100}+@[^<>\s@]{1,200}+)>")
_COMMENT = re.compile("<!--")
_SCRIPT = re.compile(r"<(script|style)\b", re.IGNORECASE)
_BREAK = re.compile(
    r"</?(?:br|p|div|li|ul|ol|tr|table|h[1-6]|hr|blockquote|pre)\b[^<>]{0,2000}+>", re.IGNORECASE
)
_CELL = re.compile(r"</t[dh]\s*+>", re.IGNORECASE)
_IMAGE = re.compile(r"<img\b([^<>]{0,2000}+)>", re.IGNORECASE)
_ALT = re.compile(r"""\balt\s*+=\s*+(?:"([^"]*+)"|'([^']*+)')""", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,2000}+>|<![^<>]{0,2000}+>")

_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_PRODUCT = re.compile(r"(?<=\w) \*++ (?=\w)")
_MARKS = re.compile(r"\*++|`++|~~++|(?<!\w)_++|_++(?!\w)")
_INLINE_CODE = re.compile(r"`([^`\n]{1,500})`")


def lines_of(text: str, language: str) -> Iterator[str]:
    """The lines of a text that are to be read; `language` is a code such as en."""
    text = _without_html(text)
    fence = ""
    for line in text.split("\n"):
        if not line or line.isspace():
            continue
        match = _FENCE.match(line)
        if fence:
            if match and match[1].startswith(fence) and not match[2].strip():
                fence = ""
        elif match:
            fence = match[1]
            yield _CODE_BLOCK.get(language, "")
        elif not (_RULE.match(line) or _TABLE_RULE.match(line) or _DEFINITION.match(line)):
            yield _shown(_without_block_marks(line))


def _without_html(text: str) -> str:
    if "<" in text:
        text = _INLINE_CODE.sub(lambda code: code[1].replace("<", " ").replace(">", " "), text)
        text = _without_blocks(text, _COMMENT, lambda _: "-->")
        text = _without_blocks(text, _SCRIPT, lambda start: f"</{start[1]}")
        text = _AUTOLINK.sub(r" \1 ", text)
        text = _IMAGE.sub(_alt, text)
        text = _TAG.sub("", _CELL.sub(", ", _BREAK.sub("\n", text)))
    return html.unescape(text) if "&" in text else text


def _without_blocks(text: str, opening: re.Pattern[str], closing_of: Callable[[re.Match[str]], str]) -> str:
    """Leave out what is between an opening and its closing."""
    kept, position = [], 0
    while start := opening.search(text, position):
        end = text.find(closing_of(start), start.end())
        if end < 0:
            break
        kept.append(text[position : start.start()])
        position = end + len(closing_of(start))
    return "".join((*kept, text[position:]))


def _alt(image: re.Match[str]) -> str:
    alt = _ALT.search(image[1])
    return f" {alt[1] or alt[2] or ''} " if alt else " "


def _without_block_marks(line: str) -> str:
    if quote := _QUOTE.match(line):
        line = line[quote.end() :]
    if heading := _HEADING.match(line):
        return line[heading.end() :].rstrip().rstrip("#")
    if bullet := _BULLET.match(line):
        line = line[bullet.end() :]
        if task := _TASK.match(line):
            line = line[task.end() :]
    elif number := _NUMBERED.match(line):
        line = f"{number[1]}: {line[number.end() :]}"
    stripped = _BLANKS.sub(" ", line.strip())
    if stripped.startswith("|") and stripped.count("|") > 1:
        cells = (cell.strip() for cell in stripped.strip("|").split("|"))
        return ", ".join(cell for cell in cells if cell)
    return stripped


def _shown(line: str) -> str:
    if "[" in line or "]" in line:
        line = _FOOTNOTE.sub("", line)
        line = _BRACKET.sub("", _REFERENCE.sub("", _TARGET.sub("", line)))
    line = _ESCAPE.sub(r"\1", line)
    return _MARKS.sub("", _PRODUCT.sub(" × ", line)).replace("|", " ").replace("\\", " ")
