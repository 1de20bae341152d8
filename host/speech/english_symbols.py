"""Symbols that English reads aloud; the others become blanks."""

import re

_RULES: tuple[tuple[str, str], ...] = (
    (r"\bC\+\+", "C plus plus"),
    (r"\b([CF])#", r"\1 sharp"),
    (r"\b(and|he|his|him|she|her)/(?=(?:or|she|hers?|he|his|him)\b)", r"\1 or "),
    (r"\band or or\b", "and or"),
    (r"\(\s*+\)", " "),
    (r"(?:-|=)++>|→|⇒", " to "),
    (r"<-++|←", " from "),
    (r"[!≠]=++|≠", " is not equal to "),
    (r"<=|≤", " is at most "),
    (r">=|≥", " is at least "),
    (r"=++", " equals "),
    (r"(?<=\w) ?<++ ?(?=\w)", " is less than "),
    (r"(?<=\w) ?>++ ?(?=\w)", " is greater than "),
    (r"&++", " and "),
    (r"(?<!\+)(?:\+++(?=\w)|(?<=\w)\+++|(?<=\s)\+++(?=\s))", " plus "),
    (r"±", " plus or minus "),
    (r"×", " times "),
    (r"÷", " divided by "),
    (r"≈", " approximately "),
    (r"∞", " infinity "),
    (r"√", " square root of "),
    (r"%", " percent "),
    (r"°", " degrees "),
    (r"§++", " section "),
    (r"@(?=\w)|(?<=\s)@(?=\s)", " at "),
    (r"#(?=\w)", " hashtag "),
    (r"\^(?=\w)", " to the power of "),
    (r"(?:(?<=\w)/|/(?=\w))", " slash "),
    (r"\$(?=\W|$)", " dollar "),
    (r"€", " euro "),
    (r"£", " pound "),
    (r"(?<=\w)–(?=\w)", " to "),
    (r"(?:(?<=\s)|^)-(?=\s)|-{2,}+|–", "—"),
    (r"[_*`~^|\\<>{}\[\]#@/$+=]++", " "),
    (r"(?<! ) ++(?=[,.;:!?)])", ""),
)
_COMPILED = tuple((re.compile(pattern), words) for pattern, words in _RULES)


def speak_symbols(line: str) -> str:
    if line.isalnum():
        return line
    for pattern, words in _COMPILED:
        line = pattern.sub(words, line)
    return line
