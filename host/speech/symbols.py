"""Characters that are not read aloud, and those that have a plainer form."""

import unicodedata

_PLAINER = str.maketrans(
    {
        "‘": "'",
        "’": "'",
        "‚": ",",
        "“": '"',
        "”": '"',
        "„": '"',
        "«": '"',
        "»": '"',
        "‐": "-",
        "‑": "-",
        "‒": "–",
        "―": "—",
        "−": "-",
        "…": "...",
        "²": " squared ",
        "³": " cubed ",
        "½": " 1/2",
        "¼": " 1/4",
        "¾": " 3/4",
        "⅓": " 1/3",
        "⅔": " 2/3",
        **{power: f"^{digit}" for digit, power in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹") if power not in "²³"},
        "™": "",
        "®": "",
        "©": "",
    }
)
_BREAKS = str.maketrans(dict.fromkeys("\r\v\f\x85\u2028\u2029", "\n"))
_KEPT = frozenset("°℃℉№→←⇒")  # symbols that are read
# Of Unicode: symbols, controls, formats, surrogates, private use, unassigned, enclosing marks.
_UNSPOKEN = frozenset(("So", "Sk", "Cc", "Cf", "Cs", "Co", "Cn", "Me"))
_JOINERS = frozenset("\u200c\u200d")  # part of the spelling in Indic scripts and Persian
_VARIATIONS = frozenset("\ufe0e\ufe0f")


def plain_breaks(text: str) -> str:
    """Text whose lines end in \\n."""
    return text.replace("\r\n", "\n").translate(_BREAKS)


def without_symbols(line: str) -> str:
    """A line without emoji and other pictures, in compatibility form (NFKC), in which full-width and styled
    letters are plain ones."""
    if line.isascii() and line.isprintable():
        return line
    shown = "".join(_shown(line.translate(_PLAINER)))
    return unicodedata.normalize("NFKC", shown).replace("⁄", "/")


def _shown(text: str) -> list[str]:
    result: list[str] = []
    before = ""
    for character in text:
        if character.isascii() and character.isprintable():
            result.append(character)
        elif character in _JOINERS:
            if before.isalpha() or unicodedata.category(before or " ").startswith("M"):
                result.append(character)
        elif character in _KEPT:
            result.append(character)
        elif character in _VARIATIONS:
            continue
        elif unicodedata.category(character) in _UNSPOKEN:
            result.append(" ")
        else:
            result.append(character)
        before = character
    return result
